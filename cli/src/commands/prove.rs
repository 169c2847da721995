//! `cairn prove`: a proof that an event is in the log, or that the log still begins with what an older checkpoint signs.

use super::{Outcome, done, print_json};
use crate::{Globals, exit};
use anyhow::Context as _;
use cairn_ledger::{Ledger, LogVerifier, SignedCheckpoint};
use cairn_schemas::{Position, TenantId};
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The event's position.
    #[arg(value_name = "POSITION", required_unless_present = "since", conflicts_with = "since")]
    position: Option<Position>,
    /// A checkpoint of this log that was kept: prove that the log still begins with it.
    #[arg(long, value_name = "CHECKPOINT")]
    since: Option<PathBuf>,
    /// Where to write the proof; `-` for standard output.
    #[arg(short, long, default_value = "-", value_name = "FILE")]
    output: PathBuf,
    #[arg(long, default_value_t, value_name = "T")]
    tenant: TenantId,
}

pub(crate) fn run(globals: &Globals, args: &Args) -> Outcome {
    if !globals.data.is_dir() {
        return Err(cairn_processors::Error::NoData { path: globals.data.clone() }.into());
    }
    let ledger = Ledger::open_read_only(&globals.data)?;
    let (text, told) = match (&args.since, args.position) {
        (Some(since), _) => consistency(&ledger, args, since)?,
        (None, Some(position)) => {
            let published = ledger.published_checkpoint(&args.tenant)?;
            let covered = published.checkpoint.size >= position.get();
            let proof = ledger.prove(&args.tenant, position, covered.then_some(&published))?;
            (proof.encode(), format!("proof of position {position}"))
        }
        (None, None) => unreachable!("clap asks for one of them"),
    };
    if args.output.as_os_str() == "-" {
        say_raw!("{text}");
        return done();
    }
    std::fs::write(&args.output, &text).with_context(|| format!("cannot write {}", args.output.display()))?;
    let (to, key) = (args.output.display(), ledger.verifier_key(&args.tenant).unwrap_or_default());
    if globals.json {
        print_json(&serde_json::json!({ "proof": args.output, "verifier_key": key }));
    } else {
        let since = args.since.as_ref().map(|since| format!(" --since {}", since.display())).unwrap_or_default();
        say!("{told} written to {to}");
        say!("whoever gets it checks it with: cairn verify {to}{since} --key {key}");
    }
    done()
}

fn consistency(ledger: &Ledger, args: &Args, since: &PathBuf) -> anyhow::Result<(String, String)> {
    let note = std::fs::read_to_string(since).with_context(|| format!("cannot read {}", since.display()))?;
    let key = ledger.verifier_key(&args.tenant).and_then(|key| LogVerifier::decode(&key).ok());
    let key = key.ok_or_else(|| exit::not_found(format!("tenant `{}` has no log here", args.tenant)))?;
    let old = SignedCheckpoint::parse(&note, &key).map_err(|expected| {
        exit::wrong_input(format!("{} is no checkpoint of this log: it lacks {expected}", since.display()))
    })?;
    let published = ledger.published_checkpoint(&args.tenant)?;
    let (root, proof) = ledger.prove_consistency(&args.tenant, old.checkpoint.size, Some(&published))?;
    if root != old.checkpoint.root {
        return Err(exit::differs(format!(
            "this log does NOT begin with what {} signs: at size {} its root is {root}, there it is {}",
            since.display(),
            old.checkpoint.size,
            old.checkpoint.root
        )));
    }
    let told = format!("proof from size {} to {}", old.checkpoint.size, published.checkpoint.size);
    Ok((proof.encode(), told))
}
