//! After a crash: what is cut, what is kept, what is refused. A crash is a copy of the directory of an open ledger.

use crate::common::*;
use cairn_ledger::{Error, Ledger, VerifyOptions, verify};
use cairn_schemas::Position;
use std::path::{Path, PathBuf};

/// An open ledger's directory as a crash leaves it, with `ends[n]` the length of the log after its nth frame.
struct Crashed {
    dir: tempfile::TempDir,
    ends: Vec<usize>,
    log: Vec<u8>,
}

impl Crashed {
    /// `events` events of some 1.5 KiB, with a checkpoint over the first `covered`.
    fn new(events: u64, covered: u64) -> Self {
        let (live, dir) = (in_memory(), in_memory());
        let ledger = Ledger::open(live.path(), options()).unwrap();
        let mut ends = vec![0];
        for n in 1..=events {
            ledger.append(&tenant(), vec![event(&format!("e{n}"), &format!("{n}").repeat(1200))]).unwrap();
            ends.push(std::fs::metadata(active_file(live.path())).unwrap().len() as usize);
            if n == covered {
                ledger.checkpoint(&tenant()).unwrap();
            }
        }
        copy(live.path(), dir.path());
        let log = std::fs::read(active_file(dir.path())).unwrap();
        assert_eq!(log.len(), ends[events as usize]);
        Self { dir, ends, log }
    }

    /// The same ledger with other bytes in its log.
    fn with_log(&self, log: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let dir = in_memory();
        copy(self.dir.path(), dir.path());
        let file = active_file(dir.path());
        std::fs::write(&file, log).unwrap();
        (dir, file)
    }
}

fn quarantined(dir: &Path) -> Vec<Vec<u8>> {
    let folder = dir.join("logs/default/main/0/quarantine");
    if folder.exists() { files(&folder).into_iter().map(|(_, bytes)| bytes).collect() } else { Vec::new() }
}

fn assert_goes_on_from(dir: &Path, head: u64) {
    let ledger = Ledger::open(dir, options()).unwrap();
    assert_eq!(ledger.head(&tenant()), Position::new(head));
    let again = ledger.append(&tenant(), vec![event("e1", &"1".repeat(1200))]).unwrap();
    assert!(again[0].duplicate && again[0].position == Position::FIRST);
    append_each(&ledger, 900..902);
    drop(ledger);
    let report = verify(dir, &VerifyOptions::default()).unwrap();
    assert!(report.is_intact() && report.logs[0].events == head + 2, "{:?}", report.damage);
}

#[test]
fn an_incomplete_last_frame_is_cut_at_every_length_and_kept_aside() {
    let crashed = Crashed::new(3, 2);
    let (start, end) = (crashed.ends[2], crashed.ends[3]);
    // Around header and trailer every length, between them some.
    for length in (start..end).filter(|at| at - start < 80 || end - at < 80 || at % 512 < 2 || at % 23 == 0) {
        let (dir, _) = crashed.with_log(&crashed.log[..length]);
        let before = verify(dir.path(), &VerifyOptions::default()).unwrap();
        assert!(before.is_intact(), "what nobody was told of may be missing: {:?}", before.damage);
        assert_eq!(before.logs[0].unfinished_bytes as usize, length - crashed.ends[2]);
        assert_eq!(read_all(&Ledger::open_read_only(dir.path()).unwrap()).len(), 2, "a reader ignores the tail");
        let ledger = Ledger::open(dir.path(), options()).unwrap();
        assert_eq!(ledger.head(&tenant()), Position::new(2), "length {length}");
        let cut = &crashed.log[crashed.ends[2]..length];
        let expected: &[&[u8]] = if cut.is_empty() { &[] } else { &[cut] };
        assert_eq!(quarantined(dir.path()), expected, "length {length}");
        let retried = ledger.append(&tenant(), vec![event("e3", &"3".repeat(1200))]).unwrap();
        assert!(!retried[0].duplicate);
        drop(ledger);
        assert!(verify(dir.path(), &VerifyOptions::default()).unwrap().is_intact());
    }
}

/// Pages of one write may reach the disk in any order: a sector that reads as zeros was never written.
#[test]
fn a_last_frame_with_any_sector_missing_is_cut() {
    let crashed = Crashed::new(3, 2);
    let (start, end) = (crashed.ends[2], crashed.ends[3]);
    for sector in start / 512..=(end - 1) / 512 {
        let mut log = crashed.log.clone();
        log[(sector * 512).max(start)..((sector + 1) * 512).min(end)].fill(0);
        let (dir, _) = crashed.with_log(&log);
        assert_goes_on_from(dir.path(), 2);
        assert_eq!(quarantined(dir.path()), [&log[start..]]);
    }
}

#[test]
fn a_first_frame_that_is_incomplete_leaves_an_empty_log() {
    let crashed = Crashed::new(1, 0);
    let (dir, _) = crashed.with_log(&crashed.log[..crashed.ends[1] - 1]);
    let ledger = Ledger::open(dir.path(), options()).unwrap();
    assert_eq!(ledger.head(&tenant()), None);
    append_each(&ledger, 0..1);
}

#[test]
fn a_whole_frame_beyond_the_checkpoint_is_kept() {
    let crashed = Crashed::new(4, 2);
    let (dir, _) = crashed.with_log(&crashed.log);
    assert_goes_on_from(dir.path(), 4);
    assert!(quarantined(dir.path()).is_empty());
}

#[test]
fn space_reserved_and_never_written_is_no_frame() {
    let crashed = Crashed::new(2, 2);
    let (dir, _) = crashed.with_log(&[&crashed.log[..], &[0; 5000]].concat());
    assert_goes_on_from(dir.path(), 2);
    assert!(quarantined(dir.path()).is_empty(), "there is nothing to keep of it");
}

fn assert_refused(crashed: &Crashed, log: &[u8], position: u64, offset: Option<usize>) {
    let (dir, file) = crashed.with_log(log);
    let refused = Ledger::open(dir.path(), options()).map(drop).unwrap_err();
    let Error::Damaged(damage) = refused else { panic!("{refused}") };
    assert_eq!((damage.position, damage.log.as_str()), (Some(position), "default/main/0"), "{damage}");
    assert_eq!(damage.file, file.strip_prefix(dir.path()).unwrap());
    if let Some(offset) = offset {
        assert_eq!(damage.offset, offset as u64, "{damage}");
    }
    assert_eq!(std::fs::read(&file).unwrap(), log, "a refused ledger is left as it is");
    assert!(quarantined(dir.path()).is_empty());
    assert!(matches!(Ledger::open_read_only(dir.path()), Err(Error::Damaged(_))));
    let report = verify(dir.path(), &VerifyOptions::default()).unwrap();
    assert_eq!(report.damage, [*damage], "verification says the same");
}

#[test]
fn what_a_checkpoint_covers_is_never_cut() {
    let crashed = Crashed::new(3, 3);
    for length in (crashed.ends[2]..crashed.ends[3]).step_by(97).chain([crashed.ends[3] - 1]) {
        assert_refused(&crashed, &crashed.log[..length], 3, Some(crashed.ends[2]));
    }
    let mut blank = crashed.log.clone();
    blank[crashed.ends[2]..].fill(0);
    assert_refused(&crashed, &blank, 3, Some(crashed.ends[2]));
    assert_refused(&crashed, &[], 1, Some(0));
}

/// Frame 4 was written when frame 3 was durable, and says so.
#[test]
fn what_a_later_frame_knows_to_be_durable_is_never_cut() {
    let crashed = Crashed::new(4, 2);
    let mut log = crashed.log.clone();
    let sector = (crashed.ends[2] / 512 + 2) * 512;
    log[sector..sector + 512].fill(0);
    assert_refused(&crashed, &log, 3, None);
}

/// A frame that is all there, with a byte changed, was not torn by a crash.
#[test]
fn a_changed_byte_is_refused_wherever_it_stands() {
    let crashed = Crashed::new(3, 2);
    for at in (0..crashed.log.len()).step_by(53) {
        let mut log = crashed.log.clone();
        log[at] ^= 0x10;
        let frame = crashed.ends.iter().rposition(|&end| end <= at).unwrap();
        assert_refused(&crashed, &log, frame as u64 + 1, None);
    }
}

#[test]
fn an_older_state_of_the_log_is_refused_by_a_newer_checkpoint() {
    let crashed = Crashed::new(4, 4);
    assert_refused(&crashed, &crashed.log[..crashed.ends[2]], 3, Some(crashed.ends[2]));
}

/// Killed between any two steps of a seal, a segment has leftovers of one form or the other, never of both.
#[test]
fn a_seal_cut_short_is_finished_or_begun_again() {
    let sealing = || cairn_ledger::Options { segment_bytes_max: 1 << 10, ..options() };
    let dir = in_memory();
    let ledger = Ledger::open(dir.path(), options()).unwrap();
    append_each(&ledger, 0..12);
    drop(ledger);
    let frames = std::fs::read(active_file(dir.path())).unwrap();
    let ledger = Ledger::open(dir.path(), sealing()).unwrap();
    append_each(&ledger, 12..13);
    drop(ledger);
    let segments = segments_dir(dir.path());
    let first = |suffix: &str| segments.join(format!("{:020}.{suffix}", 1));
    assert!(first("entries").exists() && !first("frames").exists(), "the first segment is sealed");
    for leftovers in [&["frames"][..], &["frames", "-entries"], &["frames", "-entries", "-g0.payloads"]] {
        let crashed = in_memory();
        copy(dir.path(), crashed.path());
        let at = |suffix: &str| segments_dir(crashed.path()).join(format!("{:020}.{suffix}", 1));
        for leftover in leftovers {
            match leftover.strip_prefix('-') {
                Some(removed) => std::fs::rename(at(removed), at(&format!("{removed}.tmp"))).unwrap(),
                None => std::fs::write(at(leftover), &frames).unwrap(),
            }
        }
        assert!(verify(crashed.path(), &VerifyOptions::default()).unwrap().is_intact(), "{leftovers:?}");
        let ledger = Ledger::open(crashed.path(), sealing()).unwrap();
        assert_eq!(read_all(&ledger).len(), 13, "{leftovers:?}");
        drop(ledger);
        assert!(at("entries").exists() && at("g0.payloads").exists() && !at("frames").exists(), "{leftovers:?}");
        assert!(files(&segments_dir(crashed.path())).iter().all(|(path, _)| path.extension().unwrap() != "tmp"));
        assert!(verify(crashed.path(), &VerifyOptions::default()).unwrap().is_intact(), "{leftovers:?}");
    }
}
