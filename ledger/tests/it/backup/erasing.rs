//! What was erased after a backup was taken is erased again before what is restored answers.

use super::*;
use cairn_ledger::{Redaction, RegisterChoice, Selection, Verdict, restore};
use std::path::PathBuf;

const CANARY: &str = "content 4";

/// A backup of 12 events that holds the canary, one of its vault, and the register after the canary was redacted.
struct Erased {
    dir: TempDir,
    dest: TempDir,
    vault: TempDir,
}

fn erased() -> (Erased, Ledger) {
    let (dir, dest, vault) = (in_memory(), in_memory(), in_memory());
    let ledger = ledger_of(dir.path(), 12);
    take(&ledger, dest.path());
    take_vault(&ledger, vault.path());
    let redaction = Redaction {
        selection: Selection::Positions(vec![5..=5]),
        request: "request-1".into(),
        basis: "a mistake".into(),
        artifacts: vec![cairn_schemas::Blake3::of(b"weights")],
    };
    ledger.redact(&tenant(), &redaction).unwrap();
    (Erased { dir, dest, vault }, ledger)
}

impl Erased {
    fn register(&self) -> PathBuf {
        self.dir.path().join("register")
    }
    fn options(&self) -> RestoreOptions {
        let vault = Some(self.vault.path().to_owned());
        RestoreOptions { vault, register: RegisterChoice::At(self.register()), ..RestoreOptions::default() }
    }
}

fn holds_canary(dir: &Path) -> bool {
    let within = |bytes: &[u8], what: &[u8]| bytes.windows(what.len()).any(|window| window == what);
    files(dir).iter().any(|(_, bytes)| within(bytes, CANARY.as_bytes()) || within(bytes, b"weights"))
}

fn assert_erased(dir: &Path, position_of: u64) {
    assert!(!holds_canary(dir));
    assert_eq!(assert_intact(dir).verdict(), Verdict::ErasedWithAuthority);
    let events = read_all(&Ledger::open_read_only(dir).unwrap());
    let redacted = events.iter().find(|event| event.position.get() == position_of).unwrap();
    assert_eq!((redacted.id.as_str(), redacted.redacted_by.as_deref()), ("e4", Some("request-1")));
    assert_eq!(events.iter().filter(|event| event.redacted_by.is_some()).count(), 1);
}

#[test]
fn a_restored_backup_is_erased_again() {
    let (erased, ledger) = erased();
    assert!(holds_canary(erased.dest.path()), "the backup is older than the redaction");
    let to = in_memory();
    let report = restore(erased.dest.path(), to.path(), &erased.options()).unwrap();
    assert_eq!((report.erased.redactions, report.erased.artifacts), (1, 1));
    assert!(report.behind.is_empty(), "the register knows of no checkpoint past the backup's");
    assert_erased(to.path(), 5);
    let again = Ledger::open(to.path(), small_segments()).unwrap();
    append_each(&again, 12..20);
    drop(again);
    assert_erased(to.path(), 5);

    // The next run takes what was redacted out of the backup too.
    take(&ledger, erased.dest.path());
    assert!(!holds_canary(erased.dest.path()));
}

#[test]
fn behind_what_the_register_knows_it_is_erased_and_read_only_or_goes_on() {
    let (erased, ledger) = erased();
    let later = in_memory();
    take(&ledger, later.path());
    let size = ledger.head(&tenant()).unwrap().get();
    let to = in_memory();
    let report = restore(erased.dest.path(), to.path(), &erased.options()).unwrap();
    assert_eq!((report.behind[0].size, report.behind[0].known_size), (12, size), "the later backup is noted there");
    Ledger::open(to.path(), small_segments()).map(drop).unwrap_err();
    assert_erased(to.path(), 5);

    let next = in_memory();
    let options = RestoreOptions { new_origin: Some("log.example.com/2".into()), ..erased.options() };
    restore(erased.dest.path(), next.path(), &options).unwrap();
    assert_erased(next.path(), 6);
    append_each(&Ledger::open(next.path(), small_segments()).unwrap(), 12..20);
    assert_erased(next.path(), 6);

    let whole = in_memory();
    restore(later.path(), whole.path(), &erased.options()).unwrap();
    assert_erased(whole.path(), 5);
}

#[test]
fn a_register_needs_the_vault_and_no_register_cannot_stand_for_one_that_the_log_names() {
    let (erased, ledger) = erased();
    let options = RestoreOptions { vault: None, ..erased.options() };
    let refused = restore(erased.dest.path(), in_memory().path(), &options).unwrap_err();
    assert!(refused.to_string().contains("give the backup of the vault too"), "{refused}");
    take(&ledger, erased.dest.path());
    let options = RestoreOptions { register: RegisterChoice::NoRegister, ..erased.options() };
    let found = restore(erased.dest.path(), in_memory().path(), &options).unwrap_err();
    assert!(found.to_string().contains("a line about the redaction of position 5"), "{found}");
    let soon = SystemClock.now();
    let expires = Timestamp::from_micros(soon.as_micros() + 1);
    let expired = in_memory();
    let backup = VaultBackup { taken: soon, expires };
    backup_vault(&cairn_ledger::FileSystem, ledger.dir(), expired.path(), backup).unwrap();
    let options = RestoreOptions { vault: Some(expired.path().to_owned()), ..options };
    let refused = restore(erased.dest.path(), in_memory().path(), &options).unwrap_err();
    assert!(refused.to_string().contains("expired at"), "{refused}");
}
