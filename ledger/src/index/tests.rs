//! The index against plain maps, under any order of events, rotations, publishing, merging, damage and reopening.

use super::*;
use crate::layout::LogLayout;
use crate::scan::LogFiles;
use crate::storage::FileSystem;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::path::Path;

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
    /// Keys of which many begin with the same 8 bytes.
    fn key(&mut self, prefixes: u64) -> [u8; 16] {
        let prefix = self.below(prefixes).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        [prefix.to_be_bytes(), self.next().to_be_bytes()].concat().try_into().unwrap()
    }
}

/// Full segments, as a log would have them.
#[derive(Clone, Default)]
struct Segments(Arc<Mutex<Vec<Part>>>);

impl source::Source for Segments {
    fn part(&self, first: u64, streams_before: u64) -> Result<Part, Error> {
        let found = self.0.lock().iter().find(|part| part.first == first).cloned();
        let part = found.ok_or_else(|| Error::WriterEnded { why: format!("no segment begins at {first}") })?;
        let chain = part.chain_before;
        Ok(part.after(chain, streams_before))
    }
    fn chain(&self, first: u64) -> Result<(Blake3, Blake3), Error> {
        let part = self.part(first, 0)?;
        Ok((part.chain_before, part.end.unwrap().1))
    }
}

/// The index of a log, and beside it all that it must know.
struct Pair {
    dir: tempfile::TempDir,
    segments: Segments,
    index: Index,
    positions: HashMap<[u8; 16], u64>,
    streams: HashMap<[u8; 16], StreamState>,
    head: u64,
    /// First position of the active segment, and the chain head before it.
    active: (u64, Blake3),
}

fn keys() -> MacKeys {
    MacKeys::derive(&[7; 32])
}

fn chain_at(first: u64) -> Blake3 {
    Blake3::of(&first.to_be_bytes())
}

fn files(dir: &Path) -> LogFiles {
    let layout = LogLayout { dir: dir.join("log") };
    LogFiles::new(Arc::new(FileSystem), dir, "default/main/0", layout)
}

fn open(dir: &Path, segments: &Segments) -> Shelf {
    let parts = segments.0.lock();
    let firsts: Vec<u64> = parts.iter().map(|part| part.first).collect();
    let (head, chain) = parts.last().map_or((0, chain_at(1)), |part| part.end.unwrap());
    drop(parts);
    Shelf::open(files(dir), Box::new(segments.clone()), &firsts, chain_at(1), Base { head, chain }).unwrap()
}

impl Pair {
    fn new() -> Self {
        let (dir, segments) = (tempfile::tempdir().unwrap(), Segments::default());
        let shelf = Arc::new(open(dir.path(), &segments));
        let index = Index::new(keys(), shelf, Part::new(1, chain_at(1), 0));
        let (positions, streams) = (HashMap::new(), HashMap::new());
        Self { dir, segments, index, positions, streams, head: 0, active: (1, chain_at(1)) }
    }

    fn record(&mut self, identity: [u8; 16], stream: [u8; 16]) {
        if self.index.position(&Identity(identity)).unwrap().is_some() {
            assert!(self.positions.contains_key(&identity));
            return;
        }
        let before = self.index.stream(&StreamKey(stream)).unwrap();
        assert_eq!(before, self.streams.get(&stream).copied());
        assert_eq!(self.index.streams(), self.streams.len() as u64);
        self.head += 1;
        let number = before.map_or(self.index.streams() + 1, |state| state.number);
        let state = StreamState { number, version: before.map_or(0, |state| state.version) + 1 };
        let position = Position::new(self.head).unwrap();
        self.index.absorb([(Identity(identity), position)], [(StreamKey(stream), state)]);
        self.positions.insert(identity, self.head);
        self.streams.insert(stream, state);
    }

    /// Ends the segment, as the writer does.
    fn rotate(&mut self) {
        if self.head < self.active.0 {
            return;
        }
        let next = (self.head + 1, chain_at(self.head + 1));
        let full = self.index.active.clone().frozen(self.head, next.1);
        self.segments.0.lock().push(full);
        self.index.rotate(next.0, next.1);
        self.active = next;
    }

    fn reopen(&mut self) {
        let shelf = open(self.dir.path(), &self.segments);
        let active = std::mem::replace(&mut self.index.active, Part::new(1, chain_at(1), 0));
        self.index = Index::new(keys(), Arc::new(shelf), active);
    }

    fn run_files(&self) -> Vec<std::path::PathBuf> {
        let folder = std::fs::read_dir(files(self.dir.path()).layout.index()).unwrap();
        let mut found: Vec<_> = folder.map(|item| item.unwrap().path()).collect();
        found.sort();
        found
    }

    fn damage(&self, dice: &mut Dice) {
        let found = self.run_files();
        if found.is_empty() {
            return;
        }
        let path = &found[dice.below(found.len() as u64) as usize];
        match dice.below(4) {
            0 => std::fs::remove_file(path).unwrap(),
            1 => {
                let length = std::fs::metadata(path).unwrap().len();
                std::fs::OpenOptions::new().write(true).open(path).unwrap().set_len(dice.below(length)).unwrap();
            }
            _ => {
                let mut bytes = std::fs::read(path).unwrap();
                let at = dice.below(bytes.len() as u64) as usize;
                bytes[at] ^= 1 << dice.below(8);
                std::fs::write(path, bytes).unwrap();
            }
        }
    }

    fn assert_same(&self, dice: &mut Dice) {
        for (identity, position) in &self.positions {
            assert_eq!(self.index.position(&Identity(*identity)).unwrap().map(Position::get), Some(*position));
        }
        for (key, state) in &self.streams {
            assert_eq!(self.index.stream(&StreamKey(*key)).unwrap(), Some(*state));
        }
        for _ in 0..200 {
            let absent = dice.key(40);
            assert_eq!(self.index.position(&Identity(absent)).unwrap().map(Position::get), None);
            assert_eq!(self.index.stream(&StreamKey(absent)).unwrap(), None);
        }
    }
}

#[test]
fn agrees_with_maps() {
    let seed = std::env::var("CAIRN_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| u64::from_be_bytes(std::array::from_fn(|_| rand::random())));
    println!("CAIRN_SEED={seed}");
    let mut dice = Dice(seed);
    for _ in 0..4 {
        let mut pair = Pair::new();
        let streams: Vec<_> = (0..300).map(|_| dice.key(20)).collect();
        for _ in 0..400 {
            match dice.below(20) {
                0..6 => {
                    for _ in 0..dice.below(150) {
                        let stream = streams[dice.below(300) as usize];
                        pair.record(dice.key(40), stream);
                    }
                }
                6..10 => pair.rotate(),
                10..14 => pair.index.shelf.publish(pair.active.0 - 1).unwrap(),
                14..17 => pair.index.shelf.compact(pair.active.0).unwrap(),
                17 => pair.damage(&mut dice),
                18 => pair.reopen(),
                _ => pair.assert_same(&mut dice),
            }
        }
        pair.assert_same(&mut dice);
        pair.reopen();
        pair.assert_same(&mut dice);
    }
}

/// One segment after the other, each sealed at once, as a log that grows does.
fn grown(segments: u64, events_each: u64) -> Pair {
    let (mut pair, mut dice) = (Pair::new(), Dice(7));
    for _ in 0..segments {
        for _ in 0..events_each {
            pair.record(dice.key(u64::MAX), dice.key(100));
        }
        pair.rotate();
        pair.index.shelf.publish(pair.active.0 - 1).unwrap();
        pair.index.shelf.compact(pair.active.0).unwrap();
    }
    pair
}

#[test]
fn runs_are_merged_and_stay_few() {
    let mut pair = grown(8 * 8 + 8 + 3, 5);
    let names: Vec<_> = pair.run_files().iter().map(|path| path.file_name().unwrap().to_owned()).collect();
    let lengths: Vec<u64> = names
        .iter()
        .map(|name| name.to_str().unwrap().trim_end_matches(".run").split_once('-').unwrap())
        .map(|(first, last)| last.parse::<u64>().unwrap() - first.parse::<u64>().unwrap() + 1)
        .collect();
    assert_eq!(lengths, [320, 40, 5, 5, 5]);
    pair.reopen();
    pair.assert_same(&mut Dice(1));
}

/// What another log's index says, or an older one's of the same log, is not believed.
#[test]
fn runs_of_another_history_are_built_again() {
    let (mut pair, other) = (grown(20, 5), grown(20, 6));
    let folder = files(pair.dir.path()).layout.index();
    for path in other.run_files() {
        std::fs::copy(&path, folder.join(path.file_name().unwrap())).unwrap();
    }
    pair.reopen();
    pair.assert_same(&mut Dice(2));
    // Segments of the same lengths with other events: only the chain heads tell.
    let renamed = |chain: Blake3| Blake3::of(chain.as_bytes());
    let other = |key: &Identity| Identity(key.0.map(|byte| !byte));
    for part in pair.segments.0.lock().iter_mut() {
        part.chain_before = if part.first == 1 { part.chain_before } else { renamed(part.chain_before) };
        part.end = part.end.map(|(last, chain)| (last, renamed(chain)));
        part.identities = part.identities.iter().map(|(key, at)| (other(key), *at)).collect();
    }
    pair.reopen();
    for (key, position) in &pair.positions {
        assert_eq!(pair.index.position(&Identity(*key)).unwrap(), None);
        assert_eq!(pair.index.position(&other(&Identity(*key))).unwrap().map(Position::get), Some(*position));
    }
}

/// More records than one partition holds: several filters, and every key is found.
#[test]
fn a_run_of_several_partitions_finds_every_key() {
    let dir = tempfile::tempdir().unwrap();
    let files = files(dir.path());
    std::fs::create_dir_all(files.layout.index()).unwrap();
    let (mut part, mut dice) = (Part::new(1, chain_at(1), 0), Dice(3));
    let count = 600_000;
    for position in 1..=count {
        part.insert(Identity(dice.key(u64::MAX)), Position::new(position).unwrap());
    }
    let run = run::Run::write(&files, &part.frozen(count, chain_at(2))).unwrap();
    let length = std::fs::metadata(files.layout.index().join(run::file_name(1, count))).unwrap().len();
    assert!(length < count * 215 / 10, "{length} bytes for {count} identities of 20 bytes");
    let mut dice = Dice(3);
    for position in 1..=count {
        let key = dice.key(u64::MAX);
        if position % 7 == 0 {
            assert_eq!(run.position(&Identity(key)).unwrap().map(Position::get), Some(position));
        }
    }
    for _ in 0..20_000 {
        assert_eq!(run.position(&Identity(dice.key(u64::MAX))).unwrap().map(Position::get), None);
    }
}

/// What cannot be built again is an error, not an answer: nothing may be recorded twice because a disk failed.
#[test]
fn an_index_that_cannot_be_built_again_refuses_instead_of_guessing() {
    let mut pair = grown(3, 5);
    pair.reopen();
    pair.segments.0.lock().clear();
    for path in pair.run_files() {
        std::fs::write(path, b"no run").unwrap();
    }
    pair.index.position(&Identity([7; 16])).unwrap_err();
    pair.index.stream(&StreamKey([7; 16])).unwrap_err();
}
