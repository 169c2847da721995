//! `cairn vault backup DIR` and `cairn vault restore DIR`: keys and vault, apart from all other backups.

use super::{Outcome, done, print_json};
use crate::{Globals, exit};
use cairn_ledger::{FileSystem, VaultBackup};
use cairn_schemas::{Clock, SystemClock, Timestamp};
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Copy keys and vault, for their owner alone. Take it after `cairn backup`: it then has every key that one needs.
    Backup {
        /// An absent or empty folder, or the one that earlier backups of this vault went to.
        #[arg(value_name = "DIR")]
        to: PathBuf,
        /// From when on no copy of it may be left, such as 2026-12-31. What is erased today is gone for good then.
        #[arg(long, value_name = "DATE")]
        expires: Timestamp,
    },
    /// Give keys and vault to a ledger that was restored without them.
    Restore {
        /// What `cairn vault backup` wrote.
        #[arg(value_name = "DIR")]
        from: PathBuf,
        #[command(flatten)]
        register: super::restore::RegisterArgs,
    },
}

pub(crate) fn run(globals: &Globals, args: &Args) -> Outcome {
    match &args.command {
        Command::Backup { to, expires } => backup(globals, to, *expires),
        Command::Restore { from, register } => restore(globals, from, register),
    }
}

fn backup(globals: &Globals, to: &Path, expires: Timestamp) -> Outcome {
    let backup = VaultBackup { taken: SystemClock.now(), expires };
    cairn_ledger::backup_vault(&FileSystem, &globals.data, to, backup)?;
    if globals.json {
        print_json(&serde_json::json!({ "to": to, "taken": backup.taken, "expires": backup.expires }));
    } else {
        say!("keys and vault of {} backed up to {}", globals.data.display(), to.display());
        say!("whoever holds it holds the keys: keep it apart from the ledger's backup, and destroy it by {expires}");
    }
    done()
}

fn restore(globals: &Globals, from: &Path, register: &super::restore::RegisterArgs) -> Outcome {
    if !globals.data.is_dir() {
        return Err(exit::not_found(format!("{} is no folder; name the restored ledger", globals.data.display())));
    }
    cairn_ledger::restore_vault(from, &globals.data, &register.choice()?, &(Arc::new(FileSystem) as _))?;
    if globals.json {
        print_json(&serde_json::json!({ "from": from, "data": globals.data }));
    } else {
        say!("{} has its keys and its vault again", globals.data.display());
    }
    done()
}
