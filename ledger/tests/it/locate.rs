//! Damage is named by the event whose bytes were changed, wherever entries and payloads can tell it.
//!
//! Where each event's bytes stand is worked out here from docs/format.md, not by the code under test.

use crate::common::*;
use cairn_ledger::{Damage, Error, Ledger, Options, VerifyOptions, verify};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Entry fields, counted from the 2-byte length on, that nothing but the checksum vouches for: time, type and stream,
/// then identity and chain head.
const UNVOUCHED: [Range<usize>; 2] = [12..40, 76..124];

/// What the report of a changed byte must say.
#[derive(Clone, Debug, PartialEq)]
enum Told {
    /// This event; where an offset is given, the record there and its commitment.
    Event(u64, Option<usize>),
    /// Some event of those that the checksum covers.
    Within(Range<u64>),
}

fn number(bytes: &[u8]) -> usize {
    bytes.iter().fold(0, |number, &byte| number << 8 | usize::from(byte))
}

/// What each byte of entries, which begin at position `first`, must tell.
fn entries(bytes: &[u8], first: u64) -> Vec<Told> {
    let (mut told, mut position) = (Vec::new(), first);
    while told.len() < bytes.len() {
        let length = 2 + number(&bytes[told.len()..][..2]);
        told.extend((0..length).map(|at| match UNVOUCHED.iter().any(|range| range.contains(&at)) {
            true => Told::Within(0..0),
            false => Told::Event(position, None),
        }));
        position += 1;
    }
    let positions = first..position;
    told.iter_mut().filter(|told| matches!(told, Told::Within(_))).for_each(|t| *t = Told::Within(positions.clone()));
    told
}

/// What each byte of payload records, which stand at `base` and begin at position `first`, must tell.
fn records(bytes: &[u8], base: usize, first: u64) -> Vec<Told> {
    let (mut told, mut position) = (Vec::new(), first);
    while told.len() < bytes.len() {
        let start = told.len();
        let length = number(&bytes[start + 1..][..4]);
        told.extend(std::iter::repeat_n(Told::Event(position, None), 5));
        told.extend(std::iter::repeat_n(Told::Event(position, Some(base + start)), 32 + length));
        position += 1;
    }
    told
}

/// What each byte of the frame at `at` must tell, and the position after the frame.
fn frame(bytes: &[u8], at: usize, first: u64) -> (Vec<Told>, u64) {
    let header = &bytes[at..][..48];
    let after = first + number(&header[12..16]) as u64;
    let (entries_bytes, payloads_bytes) = (number(&header[36..40]), number(&header[40..44]));
    let (entries_at, payloads_at) = (at + 48, at + 48 + entries_bytes);
    let whole = vec![Told::Within(first..after); 48];
    let entries = entries(&bytes[entries_at..][..entries_bytes], first);
    let records = records(&bytes[payloads_at..][..payloads_bytes], payloads_at, first);
    ([whole, entries, records, vec![Told::Within(first..after); 12]].concat(), after)
}

/// Changes a byte and compares what verification, or opening, says of it.
fn assert_told(dir: &Path, path: &Path, bytes: &[u8], at: usize, told: &Told, find: fn(&Path) -> Damage) {
    for mask in [0x01, 0x80, 0xff] {
        let mut changed = bytes.to_vec();
        changed[at] ^= mask;
        std::fs::write(path, &changed).unwrap();
        let found = find(dir);
        let says = format!("byte {at} ^ {mask:#04x} is {told:?}: {found}");
        assert_eq!(found.file, path.strip_prefix(dir).unwrap(), "{says}");
        assert!(found.offset <= bytes.len() as u64, "{says}");
        let position = found.position.unwrap();
        match told {
            Told::Within(positions) => assert!(positions.contains(&position), "{says}"),
            Told::Event(event, record) => {
                assert_eq!(position, *event, "{says}");
                if let Some(record) = record {
                    assert_eq!(found.offset, *record as u64, "{says}");
                    assert!(found.expected.starts_with("payload commitment "), "{says}");
                    assert!(found.found.len() == 64 && !found.expected.ends_with(&found.found), "{says}");
                }
            }
        }
    }
    std::fs::write(path, bytes).unwrap();
}

fn verified(dir: &Path) -> Damage {
    verify(dir, &VerifyOptions::default()).unwrap().damage.remove(0)
}

fn opened(dir: &Path) -> Damage {
    match Ledger::open(dir, options()) {
        Err(Error::Damaged(damage)) => *damage,
        other => panic!("opened {:?}", other.map(|_| ())),
    }
}

fn batch(ids: Range<u64>, content: &str) -> Vec<cairn_schemas::NewEvent> {
    ids.map(|id| event(&format!("e{id}"), &format!("{content} {id}"))).collect()
}

/// Events of text that does not compress, so that their records are stored as they are.
fn noise(ids: Range<u64>) -> Vec<cairn_schemas::NewEvent> {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-";
    let text = |id: u64| {
        let mut bytes = [0; 1000];
        blake3::Hasher::new().update(&id.to_be_bytes()).finalize_xof().fill(&mut bytes);
        bytes.map(|byte| char::from(LETTERS[usize::from(byte) % LETTERS.len()])).iter().collect::<String>()
    };
    ids.map(|id| event(&format!("e{id}"), &text(id))).collect()
}

fn sealed_file(dir: &Path, suffix: &str) -> (PathBuf, Vec<u8>) {
    let name = format!("{:020}.{suffix}", 1);
    files(&segments_dir(dir)).into_iter().find(|(path, _)| path.ends_with(&name)).unwrap()
}

#[test]
fn every_changed_byte_of_a_frame_is_told_of_its_event() {
    let dir = in_memory();
    let ledger = Ledger::open(dir.path(), options()).unwrap();
    for ids in [0..1, 1..5, 5..6] {
        ledger.append(&tenant(), batch(ids, "content")).unwrap();
    }
    drop(ledger);
    let path = active_file(dir.path());
    let bytes = std::fs::read(&path).unwrap();
    let mut told = Vec::new();
    let mut position = 1;
    while told.len() < bytes.len() {
        let (more, after) = frame(&bytes, told.len(), position);
        told.extend(more);
        position = after;
    }
    assert_eq!((told.len(), position), (bytes.len(), 7));
    for (at, told) in told.iter().enumerate() {
        assert_told(dir.path(), &path, &bytes, at, told, verified);
    }
    for (at, told) in told.iter().enumerate().step_by(41) {
        assert_told(dir.path(), &path, &bytes, at, told, opened);
    }
}

#[test]
fn every_changed_byte_of_a_sealed_segment_is_told_of_its_event() {
    let dir = in_memory();
    let ledger = Ledger::open(dir.path(), Options { segment_bytes_max: 1_500, ..options() }).unwrap();
    for ids in [0..1, 1..5, 5..6] {
        ledger.append(&tenant(), noise(ids)).unwrap();
    }
    drop(ledger);
    assert_sealed(dir.path(), 5, 1, 7);
}

/// A compressed block: the record at which it stops unpacking to what was put in, or the block's first event.
#[test]
fn every_changed_byte_of_a_compressed_block_is_told_of_an_event_in_it() {
    let dir = in_memory();
    let ledger = Ledger::open(dir.path(), Options { segment_bytes_max: 900, ..options() }).unwrap();
    ledger.append(&tenant(), batch(0..600, &"long ".repeat(200))).unwrap();
    append_each(&ledger, 600..601);
    drop(ledger);
    let (path, bytes) = sealed_file(dir.path(), "g0.payloads");
    assert!(bytes.len() < 600 * 300, "{} bytes of 600 events of 1,000 bytes", bytes.len());
    let footer_at = bytes.len() - 16 - number(&bytes[bytes.len() - 16..][..4]);
    for at in (0..footer_at).step_by(997) {
        assert_told(dir.path(), &path, &bytes, at, &Told::Within(1..601), verified);
    }
}

/// 600 events in three bundles and several blocks, and only some of their bytes.
#[test]
fn an_event_is_told_in_later_bundles_and_blocks_too() {
    let dir = in_memory();
    let ledger = Ledger::open(dir.path(), Options { segment_bytes_max: 900, ..options() }).unwrap();
    ledger.append(&tenant(), noise(0..600)).unwrap();
    append_each(&ledger, 600..601);
    drop(ledger);
    assert_sealed(dir.path(), 600, 2_003, 19_997);
}

/// The first segment holds this many events; changes every so many bytes of its entries and of its payloads.
fn assert_sealed(dir: &Path, count: u64, entries_step: usize, payloads_step: usize) {
    let body = |bytes: &[u8]| bytes.len() - 16 - number(&bytes[bytes.len() - 16..][..4]);
    let (path, bytes) = sealed_file(dir, "entries");
    let told = entries(&bytes[..body(&bytes)], 1);
    assert_eq!(told.last(), Some(&Told::Within(1..count + 1)));
    for (at, told) in told.iter().enumerate().step_by(entries_step) {
        assert_told(dir, &path, &bytes, at, told, verified);
    }
    let (path, bytes) = sealed_file(dir, "g0.payloads");
    let told = records(&bytes[..body(&bytes)], 0, 1);
    assert!(matches!(told.last(), Some(Told::Event(last, Some(_))) if *last == count), "{:?}", told.last());
    for (at, told) in told.iter().enumerate().step_by(payloads_step) {
        assert_told(dir, &path, &bytes, at, told, verified);
    }
}
