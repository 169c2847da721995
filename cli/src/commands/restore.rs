//! `cairn restore BACKUP --to DIR`: a ledger from its backups, verified, erased again, and never a second history.

use super::{Outcome, done, print_json};
use crate::{Globals, exit};
use anyhow::Context as _;
use cairn_ledger::{RegisterChoice, RestoreOptions, RestoreReport};
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// What `cairn backup` wrote.
    #[arg(value_name = "BACKUP")]
    from: PathBuf,
    /// An absent or empty folder.
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// What `cairn vault backup` wrote. Without it the ledger can be read and takes no events.
    #[arg(long, value_name = "VAULT_BACKUP")]
    vault: Option<PathBuf>,
    #[command(flatten)]
    register: RegisterArgs,
    /// A signed checkpoint that is known of a log, from whoever kept it; may be given several times.
    #[arg(long, value_name = "CHECKPOINT")]
    known: Vec<PathBuf>,
    /// Where the backup is behind what is known: go on under this origin, such as log.example.com/team-2.
    #[arg(long, value_name = "ORIGIN")]
    new_origin: Option<String>,
}

/// What was erased since a backup must be erased again: it takes a word to do without.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct RegisterArgs {
    /// The erasure register: the file of a tenant, or the folder with those of all.
    #[arg(long, value_name = "FILE_OR_DIR")]
    register: Option<PathBuf>,
    /// Nothing was ever erased from this ledger, or its register is lost.
    #[arg(long)]
    no_register: bool,
}

impl RegisterArgs {
    pub(crate) fn choice(&self) -> anyhow::Result<RegisterChoice> {
        match &self.register {
            None => Ok(RegisterChoice::NoRegister),
            Some(path) if path.exists() => Ok(RegisterChoice::At(path.clone())),
            Some(path) => Err(exit::not_found(format!("there is no register at {}", path.display()))),
        }
    }
}

pub(crate) fn run(globals: &Globals, args: &Args) -> Outcome {
    if !args.from.is_dir() {
        return Err(exit::not_found(format!("{} is no folder; name what `cairn backup` wrote", args.from.display())));
    }
    let read =
        |path: &PathBuf| std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()));
    let options = RestoreOptions {
        vault: args.vault.clone(),
        register: args.register.choice()?,
        known: args.known.iter().map(read).collect::<anyhow::Result<_>>()?,
        new_origin: args.new_origin.clone(),
        ..RestoreOptions::default()
    };
    let report = cairn_ledger::restore(&args.from, &args.to, &options)?;
    if globals.json {
        print_json(&json(args, &report));
    } else {
        print(args, &report);
    }
    done()
}

fn print(args: &Args, report: &RestoreReport) {
    say!("restored {} of {} to {}", report.origin, report.taken, args.to.display());
    for log in &report.verified.logs {
        let root = log.root.map(|root| root.to_string()).unwrap_or_default();
        say!("  log {}: {} events, root {root}", log.log, log.events);
    }
    say!("  {} files, {} bytes; every byte was verified", report.files, report.bytes);
    let erased = &report.erased;
    if erased.keys + erased.redactions + erased.artifacts > 0 {
        let (keys, redactions, artifacts) = (erased.keys, erased.redactions, erased.artifacts);
        say!("  erased again: {keys} keys of people, {redactions} redactions, {artifacts} artifacts");
    }
    if let Some(origin) = &report.continued_as {
        say!("  goes on as {origin}: each log begins by naming the one before");
    }
    for behind in &report.behind {
        say!(
            "  READ-ONLY: {} holds {} events and is known to have held {}",
            behind.origin,
            behind.size,
            behind.known_size
        );
    }
    if !report.has_keys {
        say!("  READ-ONLY: it has no keys; `cairn vault restore` gives them");
    }
}

fn json(args: &Args, report: &RestoreReport) -> serde_json::Value {
    let behind = |behind: &cairn_ledger::Behind| {
        serde_json::json!({
            "origin": behind.origin, "size": behind.size, "known_size": behind.known_size,
            "known_root": behind.known_root,
        })
    };
    let log = |log: &cairn_ledger::VerifiedLog| serde_json::json!({ "log": log.log, "origin": log.origin, "events": log.events, "root": log.root });
    serde_json::json!({
        "to": args.to, "origin": report.origin, "taken": report.taken, "files": report.files, "bytes": report.bytes,
        "logs": report.verified.logs.iter().map(log).collect::<Vec<_>>(), "has_keys": report.has_keys,
        "behind": report.behind.iter().map(behind).collect::<Vec<_>>(), "continued_as": report.continued_as,
        "erased_keys": report.erased.keys,
        "erased_redactions": report.erased.redactions, "erased_artifacts": report.erased.artifacts, "read_only": !report.has_keys || !report.behind.is_empty(),
    })
}
