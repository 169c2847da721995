//! A process that really dies: killed while it appends, and whatever it had been told was recorded is there.

use crate::common::*;
use cairn_ledger::{Ledger, Options, VerifyOptions, verify};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

const DIR: &str = "CAIRN_TEST_KILL_DIR";
const BEGIN: &str = "CAIRN_TEST_KILL_BEGIN";

fn small_segments() -> Options {
    Options { segment_bytes_max: 4 << 10, checkpoint_delay: std::time::Duration::from_millis(1), ..options() }
}

/// Appends until it is killed, and prints each id once it was acknowledged.
fn append_for_ever(dir: &Path, begin: u64) -> ! {
    let ledger = Ledger::open(dir, small_segments()).unwrap();
    for id in begin.. {
        append_each(&ledger, [id]);
        println!("acknowledged {id}");
    }
    unreachable!("numbers do not end");
}

#[test]
fn what_was_acknowledged_before_a_kill_is_there() {
    if let (Ok(dir), Ok(begin)) = (std::env::var(DIR), std::env::var(BEGIN)) {
        append_for_ever(Path::new(&dir), begin.parse().unwrap());
    }
    let dir = in_memory();
    let mut acknowledged = 0;
    for round in 0..4 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["kill::what_was_acknowledged_before_a_kill_is_there", "--exact", "--nocapture"])
            .env(DIR, dir.path())
            // Ids that no earlier child can have used without being told.
            .env(BEGIN, (round * 1_000_000).to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let told =
            lines.filter_map(|line| line.strip_prefix("acknowledged ")?.parse::<u64>().ok()).take(25 + round as usize);
        let told: Vec<u64> = told.collect();
        child.kill().unwrap();
        child.wait().unwrap();
        acknowledged += told.len();
        let ledger = Ledger::open(dir.path(), small_segments()).unwrap();
        let found = ids(&read_all(&ledger));
        for id in told {
            assert!(found.contains(&format!("e{id}")), "e{id} was acknowledged in round {round}");
        }
        assert!(found.len() >= acknowledged);
        drop(ledger);
        let report = verify(dir.path(), &VerifyOptions::default()).unwrap();
        assert!(report.is_intact(), "{:?}", report.damage);
    }
}
