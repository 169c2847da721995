//! Rows of the printed table.

use std::time::Duration;

pub(crate) fn header() {
    row("what", "figure", "device in the same run", "goal");
    println!("{}", "-".repeat(150));
}

pub(crate) fn row(what: &str, figure: &str, device: &str, goal: &str) {
    println!("{what:<58} {figure:<40} {device:<34} {goal}");
}

pub(crate) fn micros(time: Duration) -> String {
    match time.as_micros() {
        us @ 0..10_000 => format!("{us} µs"),
        us => format!("{:.1} ms", us as f64 / 1e3),
    }
}

pub(crate) fn per_second(count: u64, time: Duration) -> String {
    format!("{:.0}/s", count as f64 / time.as_secs_f64())
}

pub(crate) fn megabytes(bytes: f64) -> String {
    format!("{:.0} MB/s", bytes / 1e6)
}

/// Of sorted times, the one that so many hundredths are below.
pub(crate) fn percentile(times: &[Duration], percent: usize) -> Duration {
    times[(times.len() * percent / 100).min(times.len() - 1)]
}

/// Most memory that the process ever held, in bytes.
pub(crate) fn resident_bytes_max() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").trim().parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// Forgets the most memory held so far, where the system lets us.
pub(crate) fn reset_resident_max() {
    // Without it the figure is that of the whole run.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// Bytes that this process handed to the system for writing.
pub(crate) fn written_bytes() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = io.lines().find_map(|line| line.strip_prefix("wchar:"));
    line.and_then(|line| line.trim().parse().ok()).unwrap_or(0)
}
