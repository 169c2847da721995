//! What fuzzing feeds: every reader of stored bytes, behind the feature `fuzzing`. None may panic, hang or take memory
//! without bound, whatever it is given; and what a decoder accepts must encode to the same bytes.

use crate::bundle::Entries;
use crate::checkpoint::{LogVerifier, SignedCheckpoint};
use crate::entry::Entry;
use crate::frame::{Frame, FrameHeader, HEADER_BYTES};
use crate::payload::{Records, commitment};
use crate::segment::entries::EntriesFooter;
use crate::segment::payloads::PayloadsFooter;
use crate::storage::{Access, Storage, StoredFile};
use crate::verify::{VerifyOptions, verify};
use cairn_schemas::{Event, StoredPayload, TypeCode};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// A reader's name, the reader, and examples that it accepts.
pub type Target = (&'static str, fn(&[u8]), Vec<Vec<u8>>);

pub fn targets() -> Vec<Target> {
    let frames = files_named(".frames");
    let entries = files_named(".entries");
    let note = golden().iter().find(|(path, _)| path.ends_with("checkpoint")).expect("a golden checkpoint").1.clone();
    vec![
        ("entry", entry, frames.iter().flat_map(|file| entries_of_frames(file)).collect()),
        ("frame", frame, frames.clone()),
        ("footer", footer, entries.into_iter().chain(files_named(".payloads")).map(|file| footer_of(&file)).collect()),
        ("checkpoint", checkpoint, vec![note, verifier().encode().into_bytes()]),
        ("payload", payload, frames.iter().flat_map(|file| payloads_of_frames(file)).collect()),
        ("segment", segment, (0..segment_files().len()).map(segment_example).collect()),
    ]
}

/// Entries one after another, and one alone.
pub fn entry(bytes: &[u8]) {
    if let Ok(entry) = Entry::decode(bytes) {
        assert_eq!(entry.encode(), bytes, "an entry has one encoding");
    }
    for (at, entry) in Entries::new(bytes).map_while(Result::ok) {
        assert!(at + 2 + entry.len() <= bytes.len());
        // Whether it decodes is not the question here.
        let _ = Entry::decode(entry);
    }
}

/// A frame with its checksums put right, so that what stands behind them is reached too.
pub fn frame(bytes: &[u8]) {
    let _ = Frame::decode(bytes);
    let mut bytes = bytes.to_vec();
    if bytes.len() >= HEADER_BYTES {
        let checksum = crc32c::crc32c(&bytes[..HEADER_BYTES - 4]);
        bytes[HEADER_BYTES - 4..HEADER_BYTES].copy_from_slice(&checksum.to_be_bytes());
    }
    let Ok(header) = FrameHeader::decode(&bytes) else { return };
    if let Some(at) = header.frame_bytes().checked_sub(12).filter(|at| bytes.len() >= at + 12) {
        bytes.truncate(at + 12);
        let checksum = crc32c::crc32c(&bytes[..at]);
        bytes[at..at + 4].copy_from_slice(&checksum.to_be_bytes());
    }
    let Ok(frame) = Frame::decode(&bytes) else { return };
    entry(frame.entries);
    for (_, record) in Records::new(frame.payloads).map_while(Result::ok) {
        let _ = commitment(&record.salt, record.bytes);
        payload(record.bytes);
    }
    let mut again = Vec::new();
    frame.push(&mut again);
    assert_eq!(again, bytes, "a frame has one encoding");
}

/// The footer of either object of a sealed segment.
pub fn footer(bytes: &[u8]) {
    if let Ok(footer) = EntriesFooter::decode(bytes) {
        assert_eq!(footer.encode(), bytes, "a footer has one encoding");
    }
    if let Ok(footer) = PayloadsFooter::decode(bytes) {
        assert_eq!(footer.encode(), bytes, "a footer has one encoding");
    }
}

/// A checkpoint, and the key that checks it.
pub fn checkpoint(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(signed) = SignedCheckpoint::parse(text, verifier()) {
        assert_eq!(signed.checkpoint.origin, verifier().origin(), "a log signs for itself");
    }
    if let Ok(verifier) = LogVerifier::decode(text) {
        assert_eq!(verifier.encode(), text, "a key has one encoding");
    }
}

/// A stored payload, and the event in it under each type.
pub fn payload(bytes: &[u8]) {
    let Ok(stored) = StoredPayload::decode(bytes) else { return };
    for code in (0x0100..0x0c00).filter(|code| code & 0xff < 0x20) {
        for version in 1..3 {
            let _ = Event::decode(TypeCode { code, version }, &stored.data);
        }
    }
}

/// A ledger one of whose segment files is replaced: the first byte says which, the rest is its content. The checksum of
/// a footer is put right, so that what it describes is reached too.
pub fn segment(bytes: &[u8]) {
    let Some((which, content)) = bytes.split_first() else { return };
    let files = segment_files();
    let path = &files[usize::from(*which) % files.len()];
    let mut content = content.to_vec();
    reseal(&mut content);
    let mut all = golden().clone();
    all.insert(path.clone(), content);
    let options = VerifyOptions { storage: Arc::new(ReadOnly(Arc::new(all))), ..VerifyOptions::default() };
    let report = verify(Path::new("/"), &options).expect("everything can be read");
    assert!(report.logs.len() <= 1);
}

/// Puts the tail of an object right: where its footer begins, and the footer's checksum.
fn reseal(object: &mut [u8]) {
    let Some(tail) = object.len().checked_sub(16) else { return };
    let length = u32::from_be_bytes(object[tail..tail + 4].try_into().expect("4 bytes")) as usize;
    if let Some(at) = tail.checked_sub(length) {
        let checksum = crc32c::crc32c(&object[at..tail]);
        object[tail + 4..tail + 8].copy_from_slice(&checksum.to_be_bytes());
    }
}

type Files = BTreeMap<PathBuf, Vec<u8>>;

/// The committed ledger that the golden tests read, by path below its directory.
fn golden() -> &'static Files {
    static GOLDEN: OnceLock<Files> = OnceLock::new();
    GOLDEN.get_or_init(|| {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/ledger");
        let (mut found, mut folders) = (Files::new(), vec![dir.clone()]);
        while let Some(folder) = folders.pop() {
            for item in std::fs::read_dir(&folder).expect("the golden ledger") {
                let path = item.expect("the golden ledger").path();
                match path.is_dir() {
                    true => folders.push(path),
                    false => {
                        let name = Path::new("/").join(path.strip_prefix(&dir).expect("below it"));
                        drop(found.insert(name, std::fs::read(&path).expect("the golden ledger")));
                    }
                }
            }
        }
        found
    })
}

fn verifier() -> &'static LogVerifier {
    static VERIFIER: OnceLock<LogVerifier> = OnceLock::new();
    VERIFIER.get_or_init(|| {
        let (_, key) = golden().iter().find(|(path, _)| path.ends_with("verifier.key")).expect("a golden key");
        LogVerifier::decode(std::str::from_utf8(key).expect("text").trim_end()).expect("a key")
    })
}

fn segment_files() -> Vec<PathBuf> {
    golden().keys().filter(|path| path.components().any(|part| part.as_os_str() == "segments")).cloned().collect()
}

fn segment_example(which: usize) -> Vec<u8> {
    let content = &golden()[&segment_files()[which]];
    [&[u8::try_from(which).expect("few files")], &content[..]].concat()
}

fn files_named(suffix: &str) -> Vec<Vec<u8>> {
    let named = |path: &Path| path.to_str().is_some_and(|path| path.ends_with(suffix));
    golden().iter().filter(|(path, _)| named(path)).map(|(_, bytes)| bytes.clone()).collect()
}

fn footer_of(object: &[u8]) -> Vec<u8> {
    let tail = object.len() - 16;
    let length = u32::from_be_bytes(object[tail..tail + 4].try_into().expect("4 bytes")) as usize;
    object[tail - length..tail].to_vec()
}

fn frames_in(mut file: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    while let Ok(header) = FrameHeader::decode(file) {
        let (frame, rest) = file.split_at(header.frame_bytes());
        found.push(frame);
        file = rest;
    }
    found
}

fn entries_of_frames(file: &[u8]) -> Vec<Vec<u8>> {
    let frames = frames_in(file).into_iter().map(|frame| Frame::decode(frame).expect("a golden frame"));
    frames.flat_map(|frame| Entries::new(frame.entries).map(|entry| entry.expect("whole").1.to_vec())).collect()
}

fn payloads_of_frames(file: &[u8]) -> Vec<Vec<u8>> {
    let frames = frames_in(file).into_iter().map(|frame| Frame::decode(frame).expect("a golden frame"));
    frames
        .flat_map(|frame| Records::new(frame.payloads).map(|record| record.expect("whole").1.bytes.to_vec()))
        .collect()
}

/// Files in memory that cannot be changed.
struct ReadOnly(Arc<Files>);

struct OpenFile(Arc<Files>, PathBuf);

fn refused<T>() -> io::Result<T> {
    Err(io::ErrorKind::ReadOnlyFilesystem.into())
}

impl Storage for ReadOnly {
    fn create_new(&self, _: &Path, _: Access) -> io::Result<Arc<dyn StoredFile>> {
        refused()
    }
    fn open(&self, path: &Path) -> io::Result<Arc<dyn StoredFile>> {
        match self.0.contains_key(path) {
            true => Ok(Arc::new(OpenFile(self.0.clone(), path.to_owned()))),
            false => Err(io::ErrorKind::NotFound.into()),
        }
    }
    fn open_writable(&self, _: &Path) -> io::Result<Arc<dyn StoredFile>> {
        refused()
    }
    fn lock(&self, _: &Path) -> io::Result<Option<Arc<dyn StoredFile>>> {
        refused()
    }
    fn create_dirs(&self, _: &Path) -> io::Result<()> {
        refused()
    }
    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        refused()
    }
    fn remove(&self, _: &Path) -> io::Result<()> {
        refused()
    }
    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        refused()
    }
    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let below = self.0.keys().filter_map(|file| file.strip_prefix(path).ok()?.components().next());
        let names: BTreeSet<_> = below.map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
        if names.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(names.into_iter().collect()) }
    }
}

impl StoredFile for OpenFile {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.0[&self.1].len() as u64)
    }
    fn read_exact_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        let bytes = self.0[&self.1].get(offset as usize..).and_then(|rest| rest.get(..into.len()));
        into.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
    fn write_all_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        refused()
    }
    fn set_bytes(&self, _: u64) -> io::Result<()> {
        refused()
    }
    fn sync(&self) -> io::Result<()> {
        refused()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus as Numbers};
    use std::time::{Duration, Instant};

    /// Mutations of each example in an ordinary test run; `CAIRN_SOAK` (seconds) gives each target longer.
    const MUTATIONS: usize = 400;
    /// More than everything here can need, and far less than a length read from garbage may ask for.
    const MEMORY_GROWTH_BYTES_MAX: u64 = 1 << 30;

    /// Address space that the process ever used.
    fn peak_bytes() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmPeak:"));
        line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok()).unwrap_or(0) << 10
    }

    fn mutate(example: &[u8], others: &[Vec<u8>], numbers: &mut Numbers) -> Vec<u8> {
        const LENGTHS: [u32; 8] = [0, 1, 0x7f, 0xff, 0xffff, 0x00ff_ffff, 0x7fff_ffff, u32::MAX];
        let mut bytes = example.to_vec();
        for _ in 0..numbers.random_range(1..5) {
            let at = numbers.random_range(0..bytes.len() + 1);
            match numbers.random_range(0..7) {
                0 if at < bytes.len() => bytes[at] ^= 1 << numbers.random_range(0..8),
                1 if at < bytes.len() => bytes[at] = numbers.random(),
                2 => bytes.truncate(at),
                3 => bytes.insert(at, numbers.random()),
                4 if at + 4 <= bytes.len() => {
                    let length = LENGTHS[numbers.random_range(0..LENGTHS.len())];
                    bytes[at..at + 4].copy_from_slice(&length.to_be_bytes());
                }
                5 => drop(bytes.drain(at..(at + numbers.random_range(0..9)).min(bytes.len()))),
                _ => {
                    let other = &others[numbers.random_range(0..others.len())];
                    let from = numbers.random_range(0..other.len() + 1);
                    bytes.splice(at..at, other[from..(from + numbers.random_range(0..64)).min(other.len())].to_vec());
                }
            }
        }
        bytes
    }

    /// A short run of what cargo-fuzz does for long.
    #[test]
    fn no_reader_of_stored_bytes_can_be_brought_down() {
        let seed = std::env::var("CAIRN_SEED").ok().map(|text| text.parse().expect("CAIRN_SEED is a number"));
        let seed: u64 = seed.unwrap_or_else(rand::random);
        println!("to repeat this: CAIRN_SEED={seed}");
        let mut numbers = Numbers::seed_from_u64(seed);
        let soak =
            std::env::var("CAIRN_SOAK").ok().map(|text| text.parse().expect("CAIRN_SOAK is a number of seconds"));
        let before = peak_bytes();
        for (name, read, examples) in targets() {
            let (end, mut tried) = (soak.map(|seconds| Instant::now() + Duration::from_secs(seconds)), 0);
            loop {
                for example in &examples {
                    read(example);
                    (0..MUTATIONS).for_each(|_| read(&mutate(example, &examples, &mut numbers)));
                    tried += MUTATIONS;
                }
                if end.is_none_or(|end| Instant::now() >= end) {
                    break;
                }
            }
            println!("{name}: {tried} mutations of {} examples", examples.len());
        }
        assert!(peak_bytes() - before < MEMORY_GROWTH_BYTES_MAX, "from {before} to {}", peak_bytes());
    }
}
