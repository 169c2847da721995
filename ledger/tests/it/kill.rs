//! Processes that really die: killed while several threads append, and whatever they were told was recorded is there.
//!
//! `CAIRN_KILLS` says how often; `make soak` does it hundreds of times.

use crate::common::in_memory;
use crate::sim_disk::choose::{Seed, Seeded};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

#[path = "../../examples/append_under_faults.rs"]
#[allow(dead_code, reason = "its main() is for the example")]
mod append_under_faults;

const ARGS: &str = "CAIRN_TEST_UNDER_FAULTS";
const THREADS: usize = 3;
const BATCHES: usize = 40;

/// The test's own binary, which runs the program where it is told to.
fn program(command: &str, dir: &Path, first: usize) -> Command {
    let mut program = Command::new(std::env::current_exe().unwrap());
    program.args(["kill::what_was_acknowledged_before_a_kill_is_there", "--exact", "--nocapture"]);
    program.env(ARGS, format!("{command}\n{}\n{first}\n{THREADS}\n{BATCHES}", dir.display()));
    program
}

/// Lets a process append until it has said so many lines, kills it a moment later, and gives what it said until then.
fn killed_after(dir: &Path, first: usize, lines: usize, moment: Duration) -> String {
    let mut child = program("append", dir, first).stdout(Stdio::piped()).spawn().unwrap();
    let (mut out, mut said) = (BufReader::new(child.stdout.take().unwrap()), String::new());
    // Ends early where it was done.
    while said.matches("acknowledged").count() < lines && out.read_line(&mut said).unwrap() > 0 {}
    std::thread::sleep(moment);
    child.kill().unwrap();
    child.wait().unwrap();
    out.read_to_string(&mut said).unwrap();
    said
}

fn check(dir: &Path, first: usize, told: &str) {
    let mut child = program("check", dir, first).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(told.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "see above; the process had said\n{told}");
}

/// Several times the same ledger: each time a process appends and is killed, once or twice, before all is checked.
fn kill_and_check(kills: usize, mut numbers: Seeded) -> usize {
    let (mut acknowledged, mut first, mut dir) = (0, 0, in_memory());
    for n in 0..kills {
        if n % 20 == 0 {
            (dir, first) = (in_memory(), 0);
        }
        let mut told = String::new();
        for _ in 0..1 + numbers.below(2) {
            // From before the ledger is open to after the last event; the first one not before something was said.
            let lines = if acknowledged == 0 && told.is_empty() { 1 } else { numbers.below(90) };
            told += &killed_after(dir.path(), first, lines, Duration::from_micros(numbers.next() % 3_000));
        }
        check(dir.path(), first, &told);
        acknowledged += told.matches("acknowledged").count();
        first += BATCHES;
    }
    acknowledged
}

#[test]
fn what_was_acknowledged_before_a_kill_is_there() {
    if let Ok(args) = std::env::var(ARGS) {
        let args: Vec<String> = args.split('\n').map(str::to_owned).collect();
        std::process::exit(append_under_faults::run(&args).into());
    }
    let seed = Seed::of_test();
    let given = std::env::var("CAIRN_KILLS").ok().map(|text| text.parse().expect("CAIRN_KILLS is a number"));
    let kills = given.unwrap_or(8);
    let acknowledged = kill_and_check(kills, seed.numbers());
    println!("{kills} kills, {acknowledged} events acknowledged before them");
    assert!(acknowledged > 0);
}
