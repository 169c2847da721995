//! `cairn verify [DIR|FILE]`: check every stored byte of the ledger, of an exported bundle, or a proof.

use super::{Outcome, done, print_json};
use crate::{Globals, exit};
use cairn_ledger::{Damage, Depth, Erased, Verdict, VerifyOptions, VerifyReport};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Sources whose artifacts are always stored before they are named.
const OWN_SOURCES: &str = "cairn://";
/// Events that are listed of those that authorised erasures.
const EVENTS_SHOWN: usize = 10;
/// Absent artifacts that are listed.
const ABSENT_SHOWN: usize = 10;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// An exported bundle, a data directory (the one given with --data by default), or a file that `cairn prove` wrote.
    #[arg(value_name = "DIR|FILE")]
    dir: Option<PathBuf>,
    /// Whose signature a proof or a bundle must bear: the log's verifier key as its owner published it.
    #[arg(long, value_name = "VERIFIER_KEY")]
    key: Option<String>,
    /// The older checkpoint that a proof of consistency begins at.
    #[arg(long, value_name = "CHECKPOINT")]
    since: Option<PathBuf>,
    /// Leave the artifacts out.
    #[arg(long)]
    no_artifacts: bool,
    /// Look for what a disk did, not for tampering: checksums of every stored byte, the chain, positions, times and
    /// versions. Tree, commitments, MACs, erasures and artifacts are left out.
    #[arg(long)]
    chain_only: bool,
}

pub(crate) fn run(globals: &Globals, args: &Args) -> Outcome {
    let dir = args.dir.as_ref().unwrap_or(&globals.data);
    if dir.is_file() {
        return super::proof::verify(globals, dir, args.key.as_deref(), args.since.as_ref());
    }
    if !dir.is_dir() {
        let what = "name a data directory, a bundle or a proof";
        return Err(exit::not_found(format!("there is no {}; {what}", dir.display())));
    }
    if cairn_ledger::looks_like_bundle(dir) {
        return bundle(globals, dir, args.key.as_deref());
    }
    let depth = if args.chain_only { Depth::Chain } else { Depth::Everything };
    let artifacts = !(args.no_artifacts || args.chain_only);
    let options = VerifyOptions { artifacts, depth, ..VerifyOptions::default() };
    let report = cairn_ledger::verify(dir, &options)?;
    if globals.json {
        print_json(&json(dir, &report));
    } else {
        print(dir, &report, !artifacts);
    }
    Ok(ExitCode::from(if report.is_intact() && !lost(&report) { 0 } else { exit::DIFFERS }))
}

/// Whether an artifact is gone that a job of Cairn's stored. Other producers may keep theirs elsewhere.
fn lost(report: &VerifyReport) -> bool {
    report.absent.iter().any(|absent| absent.source.starts_with(OWN_SOURCES))
}

fn bundle(globals: &Globals, dir: &Path, key: Option<&str>) -> Outcome {
    let bundle = match cairn_ledger::verify_bundle(dir) {
        Ok(bundle) => bundle,
        Err(cairn_ledger::Error::Damaged(damage)) => {
            if globals.json {
                print_json(&serde_json::json!({ "verdict": "tampered", "damage": [damage_json(&damage)] }));
            } else {
                say!("TAMPERED\n  {damage}");
            }
            return Ok(ExitCode::from(exit::DIFFERS));
        }
        Err(other) => return Err(other.into()),
    };
    if let Some(key) = key.filter(|key| *key != bundle.verifier_key) {
        return Err(exit::differs(format!("the bundle is signed by {}, not by {key}", bundle.verifier_key)));
    }
    let size = bundle.checkpoint.checkpoint.size;
    let verdict = if bundle.erased.is_nothing() { Verdict::Intact } else { Verdict::ErasedWithAuthority }.name();
    if globals.json {
        print_json(&serde_json::json!({
            "verdict": verdict, "erased": erased_json(&bundle.erased), "origin": bundle.origin, "events": size, "artifacts": bundle.artifacts.len(),
            "artifacts_named": bundle.artifacts_named.len(), "root": bundle.checkpoint.checkpoint.root,
            "chain_head": bundle.chain_head, "verifier_key": bundle.verifier_key,
        }));
        return done();
    }
    say!("{verdict}: bundle {}", dir.display());
    print_erased(&bundle.erased);
    say!(
        "  {size} events of {}, {} artifacts, {} of them named by an event",
        bundle.origin,
        bundle.artifacts.len(),
        bundle.artifacts_named.len()
    );
    say!("  root {}", bundle.checkpoint.checkpoint.root);
    say!("  signed by {}", bundle.verifier_key);
    say!("  (compare that key with the one its owner published)");
    done()
}

fn print(dir: &Path, report: &VerifyReport, without_artifacts: bool) {
    let verdict = verdict(report);
    let shown = if verdict == Verdict::Tampered.name() { verdict.to_uppercase() } else { verdict.to_owned() };
    say!("{shown}: {}", dir.display());
    for damage in &report.damage {
        say!("  {damage}");
    }
    for log in &report.logs {
        say!(
            "  log {}: {} events in {} frames, {} bytes, {} segments",
            log.log,
            log.events,
            log.frames,
            log.bytes,
            log.segments
        );
        say!("    chain head {}", log.chain_head);
        match log.root {
            Some(root) => say!("    tree root  {root}"),
            None => say!("    tree root  not computed"),
        }
        match &log.checkpoint {
            Some(signed) if log.root.is_none() => {
                say!("    all there up to the checkpoint of size {}; its root was not compared", signed.checkpoint.size)
            }
            Some(signed) => {
                say!("    checkpoint of size {} signed by {}", signed.checkpoint.size, log.verifier_key)
            }
            None => say!("    no checkpoint yet"),
        }
        print_erased(&log.erased);
        if log.unfinished_bytes > 0 {
            say!("    {} bytes of a write that never ended follow; opening puts them aside", log.unfinished_bytes);
        }
    }
    for absent in report.absent.iter().take(ABSENT_SHOWN) {
        say!(
            "  not stored here: artifact:{}, named by position {} of {} ({})",
            absent.artifact,
            absent.position,
            absent.log,
            absent.source
        );
    }
    if report.absent_count > ABSENT_SHOWN as u64 {
        say!("  … and {} more that are not stored here", report.absent_count - ABSENT_SHOWN as u64);
    }
    if report.depth == Depth::Chain {
        say!("  checksums and chain alone: tampering and erasures were not looked for");
    }
    if without_artifacts {
        say!("  artifacts were not read");
    } else {
        say!("  {} artifacts, {} bytes", report.artifacts, report.artifact_bytes);
    }
}

fn print_erased(erased: &Erased) {
    if erased.is_nothing() {
        return;
    }
    say!(
        "    erased with authority: {} payloads, {} keys, {} artifacts",
        erased.payloads,
        erased.keys,
        erased.artifacts.len()
    );
    if erased.by_register > 0 {
        say!("      {} payloads by the word of the register alone", erased.by_register);
    }
    let events: Vec<String> = erased.events.iter().take(EVENTS_SHOWN).map(ToString::to_string).collect();
    if !events.is_empty() {
        let more = erased.events.len() - events.len();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        say!("      authorised at positions {}{more}", events.join(", "));
    }
}

fn erased_json(erased: &Erased) -> serde_json::Value {
    serde_json::json!({
        "payloads": erased.payloads, "by_register": erased.by_register, "keys": erased.keys,
        "artifacts": erased.artifacts, "events": erased.events.iter().map(|event| event.get()).collect::<Vec<_>>(),
    })
}

fn verdict(report: &VerifyReport) -> &'static str {
    match report.is_intact() && lost(report) {
        true => "incomplete",
        false => report.verdict().name(),
    }
}

fn json(dir: &Path, report: &VerifyReport) -> serde_json::Value {
    let log = |log: &cairn_ledger::VerifiedLog| {
        serde_json::json!({
            "log": log.log, "origin": log.origin, "events": log.events, "frames": log.frames, "bytes": log.bytes,
            "chain_head": log.chain_head, "root": log.root, "verifier_key": log.verifier_key,
            "verdict": log.verdict().name(), "erased": erased_json(&log.erased),
            "checkpoint": log.checkpoint.as_ref().map(|signed| &signed.note), "unfinished_bytes": log.unfinished_bytes,
        })
    };
    serde_json::json!({
        "verdict": verdict(report), "dir": dir,
        "logs": report.logs.iter().map(log).collect::<Vec<_>>(),
        "artifacts": report.artifacts, "artifact_bytes": report.artifact_bytes,
        "absent": report.absent.iter().map(absent_json).collect::<Vec<_>>(), "absent_count": report.absent_count,
        "damage": report.damage.iter().map(damage_json).collect::<Vec<_>>(),
    })
}

fn damage_json(damage: &Damage) -> serde_json::Value {
    serde_json::json!({
        "log": damage.log, "position": damage.position, "file": damage.file, "offset": damage.offset,
        "expected": damage.expected, "found": damage.found,
    })
}

fn absent_json(absent: &cairn_ledger::Absent) -> serde_json::Value {
    serde_json::json!({
        "artifact": absent.artifact, "log": absent.log, "position": absent.position, "source": absent.source,
    })
}
