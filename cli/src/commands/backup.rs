//! `cairn backup DIR`: everything but keys, vault and register, up to a signed size, beside whoever writes.

use super::{Outcome, done, print_json};
use crate::Globals;
use cairn_ledger::{BackupOptions, BackupReport};
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// An absent or empty folder on another disk, or the one that earlier backups of this ledger went to.
    #[arg(value_name = "DIR")]
    to: PathBuf,
    /// Read again what earlier backups copied, and copy anew what is no longer as it was.
    #[arg(long)]
    full: bool,
}

pub(crate) fn run(globals: &Globals, args: &Args) -> Outcome {
    let options = BackupOptions { full: args.full, ..BackupOptions::default() };
    let report = cairn_ledger::backup(&globals.data, &args.to, &options)?;
    if globals.json {
        print_json(&json(args, &report));
        return done();
    }
    say!("backed up {} to {}", globals.data.display(), args.to.display());
    for log in &report.logs {
        say!("  log {}: {} events, root {}", log.log, log.checkpoint.checkpoint.size, log.checkpoint.checkpoint.root);
        if log.later_events > 0 {
            say!("    {} later events are durable but not signed yet: the next backup has them", log.later_events);
        }
    }
    say!(
        "  {} files, {} bytes; of them copied now: {} files, {} bytes",
        report.files,
        report.bytes,
        report.copied_files,
        report.copied_bytes
    );
    if report.removed_files > 0 {
        say!("  {} files of earlier backups were removed: sealed, redacted or erased since", report.removed_files);
    }
    for path in &report.repaired {
        say!("  {path} of an earlier backup was damaged or gone, and was copied anew: look after that disk");
    }
    say!("keys and vault are not in it: `cairn vault backup`");
    done()
}

fn json(args: &Args, report: &BackupReport) -> serde_json::Value {
    let log = |log: &cairn_ledger::BackedUpLog| {
        serde_json::json!({
            "log": log.log, "size": log.checkpoint.checkpoint.size, "root": log.checkpoint.checkpoint.root,
            "checkpoint": log.checkpoint.note, "later_events": log.later_events,
        })
    };
    serde_json::json!({
        "to": args.to, "origin": report.origin, "taken": report.taken, "logs": report.logs.iter().map(log).collect::<Vec<_>>(),
        "files": report.files, "bytes": report.bytes, "copied_files": report.copied_files,
        "copied_bytes": report.copied_bytes, "removed_files": report.removed_files, "repaired": report.repaired,
    })
}
