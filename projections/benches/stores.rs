//! The storage engines behind their seam, at many keys: how fast rows go in and come out, the space and the memory they
//! take, and what is there after the process is killed.
//!
//! CAIRN_BENCH_KEYS: keys (1,000,000; the decision file has 10,000,000). CAIRN_BENCH_ENGINES: sled,fjall. Each engine
//! runs in a process of its own, so that the memory is its own. Keys are 40 bytes, half of them in the order in which
//! they are written, as positions are, half scattered, as digests are; values are 100 bytes that a third of compresses.

use cairn_projections::Engine;
use cairn_projections::measure::{Change, Rows};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// As the program has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Rows of a commit: what a batch of a projection has while it catches up.
const BATCH: u64 = 10_000;
/// Commits between syncs.
const SYNC_EVERY: u64 = 10;
const READS: u64 = 100_000;
const CHILD: &str = "CAIRN_BENCH_CHILD";

fn main() {
    let keys: u64 = std::env::var("CAIRN_BENCH_KEYS").ok().and_then(|n| n.parse().ok()).unwrap_or(1_000_000);
    let engines = std::env::var("CAIRN_BENCH_ENGINES").unwrap_or_else(|_| "sled,fjall".into());
    match std::env::var(CHILD) {
        Ok(task) => child(&task, keys),
        Err(_) => {
            println!("{keys} keys of 40 bytes, values of 100, {BATCH} rows a commit");
            engines.split(',').for_each(one);
        }
    }
}

fn one(engine: &str) {
    println!("{engine}");
    let dir = tempfile::tempdir().expect("a temporary directory");
    let run = |task: &str| {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.env(CHILD, task).env("CAIRN_BENCH_ENGINE", engine).env("CAIRN_BENCH_DIR", dir.path());
        command
    };
    assert!(run("measure").status().expect("a process").success());
    killed(run("write").stdout(Stdio::piped()), run("count"));
}

/// Has a process write on, kills it, and opens what it left.
fn killed(writing: &mut Command, mut counting: Command) {
    let mut child = writing.spawn().expect("a process");
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let mut committed = String::new();
    for _ in 0..SYNC_EVERY * 3 + 5 {
        committed = lines.next().expect("it writes on").expect("text");
    }
    child.kill().expect("it runs");
    child.wait().expect("it ran");
    // It may have committed more than was read of what it says.
    let said = lines.map_while(Result::ok).last().unwrap_or(committed);
    println!("  killed with -9 after commit {said}");
    let output = counting.output().expect("a process");
    print!("{}", String::from_utf8_lossy(&output.stdout));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn child(task: &str, keys: u64) {
    let engine = match std::env::var("CAIRN_BENCH_ENGINE").expect("set by the parent").as_str() {
        "sled" => Engine::Sled,
        _ => Engine::Fjall,
    };
    let dir = PathBuf::from(std::env::var("CAIRN_BENCH_DIR").expect("set by the parent"));
    match task {
        "measure" => measure(engine, &dir, keys),
        "write" => write_on(engine, &dir, keys),
        _ => count(engine, &dir, keys),
    }
}

fn measure(engine: Engine, dir: &Path, keys: u64) {
    let rows = Rows::open(engine, dir).expect("a store");
    let (mut slowest, began) = (Duration::ZERO, now());
    let mut marks = vec![];
    for batch in 0..keys / BATCH {
        let one = Instant::now();
        rows.commit(changes(batch)).expect("room");
        if batch % SYNC_EVERY == 0 {
            rows.sync().expect("synced");
        }
        slowest = slowest.max(one.elapsed());
        if (batch + 1) % (keys / BATCH / 10).max(1) == 0 {
            marks.push(began.0.elapsed());
        }
    }
    rows.sync().expect("synced");
    let took = began.0.elapsed();
    let tenth = keys as f64 / 10.0;
    let last = marks.windows(2).last().map_or(took, |pair| pair[1] - pair[0]);
    say("inserts", keys, began);
    println!(
        "  {:<34} {:>10.0} /s, the last {:.0} /s, slowest commit {:.0} ms",
        "  the first tenth of them",
        tenth / marks[0].as_secs_f64(),
        tenth / last.as_secs_f64(),
        slowest.as_secs_f64() * 1e3
    );
    println!("  {:<34} {:>10} MiB, at most {} MiB", "memory", status("VmRSS:"), status("VmHWM:"));
    let reads = READS.min(keys);
    let began = now();
    for number in 0..reads {
        assert!(rows.get(&key(mix(number) % keys)).expect("readable").is_some());
    }
    say("reads of scattered keys", reads, began);
    let began = now();
    for number in 0..reads {
        assert!(rows.get(&key(keys + number)).expect("readable").is_none());
    }
    say("reads of keys that are not there", reads, began);
    let began = now();
    let (found, bytes) = rows.scan(&[], usize::MAX).expect("readable");
    assert_eq!(found as u64, keys / BATCH * BATCH);
    say("rows scanned", keys, began);
    let began = now();
    for batch in 0..keys / BATCH / 10 {
        let all = changes(batch).into_iter().map(|(key, _)| (key, Some(vec![batch as u8; 100])));
        rows.commit(all.collect()).expect("room");
    }
    rows.sync().expect("synced");
    say("rows written again", keys / 10, began);
    drop(rows);
    let opening = Instant::now();
    let rows = Rows::open(engine, dir).expect("a store");
    println!("  {:<34} {:>10.0} ms", "opened again", opening.elapsed().as_secs_f64() * 1e3);
    drop(rows);
    let on_disk = size(dir);
    println!("  {:<34} {:>10} MiB, {:.2} of the rows' bytes", "on disk", on_disk >> 20, on_disk as f64 / bytes as f64);
}

/// Commits further batches, and says after each that it is committed. Every tenth is synced.
fn write_on(engine: Engine, dir: &Path, keys: u64) {
    let rows = Rows::open(engine, dir).expect("a store");
    for batch in keys / BATCH.. {
        rows.commit(changes(batch)).expect("room");
        let is_synced = (batch + 1) % SYNC_EVERY == 0;
        if is_synced {
            rows.sync().expect("synced");
        }
        println!("{}{}", batch - keys / BATCH + 1, if is_synced { " (synced)" } else { "" });
    }
}

/// Which of the further batches are there: whole ones only, and none after one that is missing.
fn count(engine: Engine, dir: &Path, keys: u64) {
    let began = Instant::now();
    let rows = Rows::open(engine, dir).expect("it opens after a kill");
    let opened = began.elapsed();
    let first = keys / BATCH;
    let held = |batch: u64| {
        let there = changes(batch).iter().filter(|(key, _)| rows.get(key).expect("readable").is_some()).count();
        assert!(there == 0 || there as u64 == BATCH, "batch {batch} is there in part: {there} rows");
        there > 0
    };
    let whole = (first..).take_while(|batch| held(*batch)).count() as u64;
    assert!(
        (first + whole..first + whole + 30).all(|batch| !held(batch)),
        "a later batch is there without an earlier one"
    );
    println!("  opened in {:.0} ms: {whole} whole commits, none in part", opened.as_secs_f64() * 1e3);
}

fn changes(batch: u64) -> Vec<Change> {
    (batch * BATCH..(batch + 1) * BATCH).map(|number| (key(number), Some(value(number)))).collect()
}

fn key(number: u64) -> Vec<u8> {
    let mut key = Vec::with_capacity(40);
    match number % 2 {
        0 => key.extend(format!("\u{1}run/metric/{number:020}").bytes()),
        _ => {
            key.push(2);
            (0..4).for_each(|part| key.extend(mix(number * 4 + part).to_be_bytes()));
        }
    }
    key.resize(40, 0);
    key
}

fn value(number: u64) -> Vec<u8> {
    let mut value: Vec<u8> = (0..8).flat_map(|part| mix(number ^ part << 56).to_le_bytes()).collect();
    value.resize(100, 7);
    value
}

/// SplitMix64's mixing of a number.
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// What was done since `began`: by the clock, and in processor time, which a busy machine does not change.
fn say(what: &str, rows: u64, began: (Instant, f64)) {
    let (took, cpu) = (began.0.elapsed().as_secs_f64(), cpu_seconds() - began.1);
    let per_row = cpu * 1e6 / rows as f64;
    println!("  {what:<34} {:>10.0} /s   {took:>8.2} s   {per_row:>6.2} µs of processors each", rows as f64 / took);
}

fn now() -> (Instant, f64) {
    (Instant::now(), cpu_seconds())
}

/// Seconds that all threads of this process have run, in the system and outside it.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let ticks = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    ticks.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

fn status(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1_024
}

fn size(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    let one = |entry: std::fs::DirEntry| match entry.path().is_dir() {
        true => size(&entry.path()),
        false => entry.metadata().map_or(0, |found| found.len()),
    };
    entries.flatten().map(one).sum()
}
