//! Verification from the page cache, beside what the processor needs for the hashes alone.

use crate::device::scratch;
use crate::load::{event, open, tenant};
use crate::table::{megabytes, per_second, reset_resident_max, resident_bytes_max, row};
use cairn_ledger::{Depth, VerifyOptions, verify};
use cairn_schemas::{Event, NewEvent, RawJson};
use std::path::Path;
use std::time::{Duration, Instant};

/// Events of one batch, which is one frame or part of one.
const BATCH: u64 = 256;
const TIMES: usize = 3;

/// Everything, and the chain alone, over blocks that compress and blocks that do not.
pub(crate) fn verification(events: u64) {
    for (what, compresses) in [("words, compressed blocks", true), ("noise, plain blocks", false)] {
        let dir = scratch();
        let ledger = open(dir.path());
        for _ in 0..events.div_ceil(BATCH) {
            let batch = (0..BATCH).map(|_| if compresses { event() } else { noise(event()) }).collect::<Vec<_>>();
            ledger.append(&tenant(0), batch).expect("room");
        }
        drop(ledger);
        for (depth, name, goal) in
            [(Depth::Everything, "everything", "1000 MB/s on 2 cores"), (Depth::Chain, "the chain", "2000 MB/s a core")]
        {
            measured(dir.path(), depth, &format!("verify {name}, {events} events of {what}"), goal);
        }
    }
}

fn measured(dir: &Path, depth: Depth, name: &str, goal: &str) {
    let options = VerifyOptions { artifacts: false, depth, ..VerifyOptions::default() };
    reset_resident_max();
    let run = |_| {
        let (cpu, begun) = (processor_time(), Instant::now());
        let report = verify(dir, &options).expect("a readable ledger");
        assert!(report.is_intact(), "{:?}", report.damage);
        (begun.elapsed(), processor_time() - cpu, report)
    };
    let (time, cpu, report) = (0..TIMES).map(run).min_by_key(|run| run.0).expect("several runs");
    let log = &report.logs[0];
    let (rate, alone) =
        (megabytes(log.bytes as f64 / time.as_secs_f64()), megabytes(log.bytes as f64 / cpu.as_secs_f64()));
    row(
        name,
        &format!("{rate}, {} events", per_second(log.events, time)),
        &format!("{:.2} cores, {alone} a core", cores(cpu, time)),
        goal,
    );
    row("  resident at most", &format!("{} MiB", resident_bytes_max() >> 20), "", "flat, at most 512 MiB");
}

fn cores(cpu: Duration, time: Duration) -> f64 {
    cpu.as_secs_f64() / time.as_secs_f64()
}

/// What the scheduler says that this process's threads ran, those that ended included.
fn processor_time() -> Duration {
    const TICKS_PER_SECOND: u64 = 100;
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(") ").next().unwrap_or_default().split(' ');
    let ticks: u64 = after_name.skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND)
}

/// The same event with data that no codec makes smaller.
fn noise(mut event: NewEvent) -> NewEvent {
    if let Event::CustomRecorded(payload) = &mut event.event {
        let mut bytes = vec![0; payload.data.as_str().len() - 2];
        let mut hasher = blake3::Hasher::new();
        hasher.update(event.envelope.id.as_bytes()).finalize_xof().fill(&mut bytes);
        // Letters, digits and two more: 6 bits a byte.
        const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let text: String = bytes.iter().map(|byte| char::from(LETTERS[usize::from(byte % 64)])).collect();
        payload.data = RawJson::parse(&format!("\"{text}\"")).expect("JSON");
    }
    event
}
