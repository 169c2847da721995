//! The verifiers that are programs: in Go and in Python. Where the machine lacks one, the reason is printed.

use crate::fixture::{committed, copy, files};
use cairn_tests::outside::{python, run, skipped};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Files that are changed to see that a program refuses: one of each kind.
const CHANGED: [&str; 7] = [
    "verifier.key",
    "log/checkpoint",
    "log/tile/0/000",
    "log/tile/entries/001.p/44",
    "older",
    "consistency",
    "proofs/100.tlog-proof",
];

/// Runs a verifier on the committed log, and on copies of which each has one byte changed.
fn assert_verifies(verifier: impl Fn(&Path) -> Result<Vec<u8>, String>) {
    let said = String::from_utf8(verifier(&committed()).unwrap_or_else(|e| panic!("{e}"))).unwrap();
    assert!(said.contains("300 entries") && said.contains("6 proofs"), "{said}");
    let dir = tempfile::tempdir().unwrap();
    copy(&committed(), dir.path());
    let all = files(dir.path());
    for path in CHANGED {
        let (path, mut bytes) = (dir.path().join(path), all[Path::new(path)].clone());
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert!(verifier(dir.path()).is_err(), "{} was changed and accepted", path.display());
        bytes[middle] ^= 1;
        std::fs::write(&path, bytes).unwrap();
    }
}

fn interop() -> PathBuf {
    cairn_tests::root().join("tests/interop")
}

#[test]
fn go_accepts_the_committed_log_and_its_proofs() {
    let binary = cairn_tests::root().join(".cache/go-interop");
    let mut build = Command::new("go");
    build.args(["build", "-mod=readonly", "-o"]).arg(&binary).arg(".").current_dir(interop().join("go"));
    // Only a missing tool or module may be passed over, never a program that does not compile.
    let modules = run(Command::new("go").args(["mod", "download"]).current_dir(interop().join("go")));
    if let Err(why) = modules {
        return skipped("the verifier in Go", &why);
    }
    run(build.env("CGO_ENABLED", "0")).unwrap();
    assert_verifies(|dir| run(Command::new(&binary).arg(dir)));
}

#[test]
fn aics_tlog_accepts_the_committed_log_and_its_proofs() {
    let python = match python("python-interop", 12, &interop().join("requirements.txt")) {
        Ok(python) => python,
        Err(why) => return skipped("aics-tlog", &why),
    };
    assert_verifies(|dir| run(Command::new(&python).arg("-B").arg(interop().join("aics.py")).arg(dir)));
}
