//! The rows: each opens a ledger of its own, loads it, and prints what came of it.

use crate::device::{Device, Synced, scratch};
use crate::load::{CALLERS, EVENT_BYTES, blocking, event, open, paced, proven, tenant, windowed};
use crate::table::{
    megabytes, micros, per_second, percentile, reset_resident_max, resident_bytes_max, row, written_bytes,
};
use cairn_ledger::{VerifyOptions, VerifyReport, verify};
use parking_lot::Mutex;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const MEASURED_FOR: Duration = Duration::from_secs(5);
/// What the headers of a frame and of its first entry take.
const FRAME_BYTES: u64 = 92;
/// What an entry takes with its length, and its record before the payload.
const BESIDE_PAYLOAD: u64 = 92 + 37;

fn verified(dir: &Path) -> VerifyReport {
    let report = verify(dir, &VerifyOptions::default()).expect("a readable ledger");
    assert!(report.is_intact(), "{:?}", report.damage);
    report
}

fn stored_bytes(dir: &Path) -> u64 {
    let items = std::fs::read_dir(dir).expect("a folder").map(|item| item.expect("an item"));
    items.map(|item| if item.path().is_dir() { stored_bytes(&item.path()) } else { length(&item) }).sum()
}

fn length(item: &std::fs::DirEntry) -> u64 {
    // The space held in reserve is for all events together.
    let is_reserve = item.file_name().to_string_lossy().starts_with("reserve");
    if is_reserve { 0 } else { item.metadata().expect("a file").len() }
}

/// Events of one frame, which is what one write and one sync carry or more, as verification counts them.
fn per_frame(report: &VerifyReport) -> f64 {
    let sum = |of: fn(&cairn_ledger::VerifiedLog) -> u64| report.logs.iter().map(of).sum::<u64>() as f64;
    sum(|log| log.events) / sum(|log| log.frames)
}

fn frame_bytes(events: f64) -> usize {
    (events * (EVENT_BYTES as u64 + BESIDE_PAYLOAD) as f64) as usize + FRAME_BYTES as usize
}

pub(crate) fn callers(device: &Device) {
    let dir = scratch();
    let ledger = open(dir.path());
    blocking(&ledger, 1, Duration::from_millis(200));
    let begun = Instant::now();
    let done = blocking(&ledger, 1, MEASURED_FOR);
    let time = begun.elapsed();
    drop(ledger);
    let per_frame = per_frame(&verified(dir.path()));
    let figure = format!("{} events, {per_frame:.0} a frame", per_second(done, time));
    row(
        "append, 64 blocking callers, one 512-byte event a call",
        &figure,
        &format!(
            "{}-byte write+fdatasync {}",
            frame_bytes(per_frame),
            Synced::measure(frame_bytes(per_frame), 1).show()
        ),
        &goal(device),
    );
}

fn goal(device: &Device) -> String {
    let half = device.sequential / 2.0 / EVENT_BYTES as f64;
    format!("{:.0}/s, half the device's bytes, or 400000/s", half)
}

/// Appends to a new ledger and says when each thousand events were acknowledged.
fn fill(dir: &Path, events: u64, window: usize) -> Vec<Instant> {
    let ledger = open(dir);
    let ticks = Mutex::new(vec![Instant::now()]);
    windowed(&ledger, events, window, &|_| ticks.lock().push(Instant::now()));
    ticks.into_inner()
}

pub(crate) fn window(device: &Device, events: u64) {
    let dir = scratch();
    reset_resident_max();
    let (written, begun) = (written_bytes(), Instant::now());
    let ticks = fill(dir.path(), events, 64);
    let whole = begun.elapsed();
    let written = written_bytes() - written;
    let resident = resident_bytes_max();
    let time = ticks[ticks.len() - 1] - ticks[0];
    let tenth = (ticks.len() - 1) / 10;
    let (first, last) = (ticks[tenth] - ticks[0], ticks[ticks.len() - 1] - ticks[ticks.len() - 1 - tenth]);
    let begun = Instant::now();
    let report = verified(dir.path());
    let verifying = begun.elapsed();
    let log = &report.logs[0];
    let payload = log.bytes - log.events * (BESIDE_PAYLOAD - 37) - log.frames * 32;
    let payload_each = payload as f64 / events as f64;
    let bytes_per_second = payload as f64 / time.as_secs_f64();
    let name = format!("append, 64 callers with 64 pending each, {events} events");
    let figure = format!(
        "{} events, {}, {:.0} a frame",
        per_second(events, time),
        megabytes(bytes_per_second),
        per_frame(&report)
    );
    let of_device = format!("{} ({:.0}%)", megabytes(device.sequential), 100.0 * bytes_per_second / device.sequential);
    row(&name, &figure, &of_device, &goal(device));
    let rate = |time: Duration| per_second(tenth as u64 * 1_000, time);
    let ratio = first.as_secs_f64() / last.as_secs_f64();
    row("  first tenth, last tenth", &format!("{}, {}: {ratio:.2}", rate(first), rate(last)), "", "at least 0.8");
    let stored_first = payload + events * BESIDE_PAYLOAD + log.frames * (FRAME_BYTES - 32);
    let amplification = format!(
        "{:.2} a byte of payload, {:.2} a byte first stored",
        written as f64 / payload as f64,
        written as f64 / stored_first as f64
    );
    row("  bytes written (payload here is the stored payload)", &amplification, "", "at most 1.6");
    let stored = stored_bytes(dir.path()) as f64 / events as f64;
    let beyond = format!("{stored:.0} stored, {payload_each:.0} payload: {:+.0}", stored - payload_each);
    row("  bytes an event at rest", &beyond, "", "at most 256 beyond the payload");
    row("  until all was sealed and closed", &micros(whole), "", "");
    row("  resident at most", &format!("{} MiB", resident >> 20), "", "at most 512 MiB");
    let verified =
        format!("{} events, {}", per_second(events, verifying), megabytes(log.bytes as f64 / verifying.as_secs_f64()));
    row("verify everything, page-cached", &verified, "", "1000 MB/s on 2 cores");
}

pub(crate) fn latency(tenants: u64) {
    let (dir, measured) = (scratch(), scratch());
    let ledger = open(dir.path());
    for n in 0..tenants {
        ledger.append(&tenant(n), vec![event()]).expect("room");
    }
    let begun = Instant::now();
    let max = blocking(&ledger, tenants, Duration::from_secs(2)) as f64 / begun.elapsed().as_secs_f64();
    drop(ledger);
    let ledger = open(measured.path());
    for n in 0..tenants {
        ledger.append(&tenant(n), vec![event()]).expect("room");
    }
    let times = paced(&ledger, max / 2.0, tenants, MEASURED_FOR);
    let proof = (tenants == 1).then(|| proven(&ledger));
    drop(ledger);
    let per_frame = per_frame(&verified(measured.path()));
    let bytes = frame_bytes(per_frame);
    let figure = format!("p50 {}, p99 {}", micros(percentile(&times, 50)), micros(percentile(&times, 99)));
    row(
        &format!(
            "acknowledgement, {tenants} tenants, {CALLERS} callers, {:.0}/s of {max:.0}/s",
            times.len() as f64 / MEASURED_FOR.as_secs_f64()
        ),
        &figure,
        &format!("{bytes} bytes {}", Synced::measure(bytes, tenants as usize).show()),
        "p50 2 times, p99 2.5 times, and 1 ms",
    );
    if let Some(proof) = proof {
        row("  proof and signed checkpoint after it, p99", &micros(proof), "", "at most 50 ms");
    }
}

pub(crate) fn kill(events: u64) {
    let dir = scratch();
    fill(dir.path(), events, 64);
    let mut child = Command::new(std::env::current_exe().expect("this program"));
    child.env(crate::CHILD, dir.path()).stdout(Stdio::piped());
    let mut child = child.spawn().expect("a child");
    let mut said = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut said).expect("a line");
    std::thread::sleep(Duration::from_millis(300));
    let begun = Instant::now();
    child.kill().expect("a child to kill");
    child.wait().expect("its end");
    let ledger = open(dir.path());
    let opened = begun.elapsed();
    ledger.append(&tenant(0), vec![event()]).expect("room");
    let answered = begun.elapsed();
    let name = format!("SIGKILL to first acknowledgement, {events} events");
    row(
        &name,
        &format!("{} (open after {})", micros(answered), micros(opened)),
        "",
        "1 s at 10 M, within 10% of that at 100 k",
    );
}
