//! What the device does by itself: sequential writes, and writes with a sync behind each, growing a file as a log does.

use crate::table::{megabytes, micros, percentile, row};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Bytes of one write of the sequential figure, synced like the rest.
const WRITE_BYTES: usize = 4 << 20;
const MEASURED_FOR: Duration = Duration::from_secs(2);

/// Where the rows keep their ledgers: on the device that is built on, not in memory.
pub(crate) fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary directory")
}

pub(crate) struct Device {
    /// Bytes a second of 4 MiB writes, each synced.
    pub(crate) sequential: f64,
    /// The same, with one sync at the end.
    unsynced: f64,
}

/// Sorted times of one write and one fdatasync.
pub(crate) struct Synced(Vec<Duration>);

impl Device {
    pub(crate) fn measure() -> Self {
        let dir = scratch();
        let sequential = stream(&dir.path().join("synced"), true);
        Self { sequential, unsynced: stream(&dir.path().join("unsynced"), false) }
    }

    pub(crate) fn show(&self) {
        let synced = format!("{}, one sync at the end {}", megabytes(self.sequential), megabytes(self.unsynced));
        row("device: sequential writes of 4 MiB, fdatasync after each", "", &synced, "");
    }
}

fn stream(path: &Path, sync_each: bool) -> f64 {
    let (file, buffer) = (File::create(path).expect("a file"), vec![7; WRITE_BYTES]);
    let (mut at, begun) = (0, Instant::now());
    while begun.elapsed() < MEASURED_FOR && at < 4 << 30 {
        file.write_all_at(&buffer, at).expect("room");
        at += WRITE_BYTES as u64;
        if sync_each {
            file.sync_data().expect("a sync");
        }
    }
    file.sync_data().expect("a sync");
    at as f64 / begun.elapsed().as_secs_f64()
}

impl Synced {
    /// Writes and syncs so many bytes again and again for a while, into as many files in turn.
    pub(crate) fn measure(bytes: usize, files: usize) -> Self {
        let dir = scratch();
        let files: Vec<_> = (0..files).map(|n| File::create(dir.path().join(n.to_string())).expect("a file")).collect();
        let (buffer, mut times, begun) = (vec![7; bytes], Vec::new(), Instant::now());
        for round in 0.. {
            for file in &files {
                let start = Instant::now();
                file.write_all_at(&buffer, round * bytes as u64).expect("room");
                file.sync_data().expect("a sync");
                times.push(start.elapsed());
                if begun.elapsed() > MEASURED_FOR {
                    times.sort_unstable();
                    return Self(times);
                }
            }
        }
        unreachable!("the loop ends with the time")
    }

    pub(crate) fn show(&self) -> String {
        format!("p50 {}, p99 {}", micros(percentile(&self.0, 50)), micros(percentile(&self.0, 99)))
    }
}
