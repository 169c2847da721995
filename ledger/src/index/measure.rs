//! An index of many events without their log, for the bench of lookups.

use super::source::Source;
use super::{Base, Part, Shelf};
use crate::entry::Identity;
use crate::error::Error;
use crate::layout::LogLayout;
use crate::scan::LogFiles;
use crate::storage::FileSystem;
use cairn_schemas::{Blake3, Position};
use std::path::Path;
use std::sync::Arc;

/// Events of one sealed segment: as many of 512 bytes as 64 MiB hold.
const SEGMENT_EVENTS: u64 = 106_000;

/// The index of a log with this many sealed events.
pub struct ManyIdentities {
    shelf: Shelf,
    seed: u64,
    next: u64,
}

struct NoSegments;

impl Source for NoSegments {
    fn part(&self, first: u64, _: u64) -> Result<Part, Error> {
        Err(Error::WriterEnded { why: format!("there is no segment at {first} to build an index from") })
    }
    fn chain(&self, first: u64) -> Result<(Blake3, Blake3), Error> {
        self.part(first, 0).map(|part| (part.chain_before, part.chain_before))
    }
}

fn identity(seed: u64, n: u64) -> Identity {
    let mut bytes = [0; 16];
    blake3::Hasher::new().update(&seed.to_be_bytes()).update(&n.to_be_bytes()).finalize_xof().fill(&mut bytes);
    Identity(bytes)
}

impl ManyIdentities {
    /// Writes the runs below `dir`, segment by segment, merging as a log that grows does.
    pub fn new(dir: &Path, events: u64) -> Result<Self, Error> {
        let files = LogFiles::new(Arc::new(FileSystem), dir, "bench", LogLayout { dir: dir.to_owned() });
        let chain = Blake3::of(b"bench");
        let shelf = Shelf::open(files, Box::new(NoSegments), &[], chain, Base { head: 0, chain })?;
        let mut first = 1;
        while first <= events {
            let last = events.min(first + SEGMENT_EVENTS - 1);
            let mut part = Part::new(first, chain, 0);
            for position in (first..=last).filter_map(Position::new) {
                part.insert(identity(0, position.get()), position);
            }
            shelf.take(part.frozen(last, chain));
            shelf.publish(last)?;
            shelf.compact(last + 1)?;
            first = last + 1;
        }
        Ok(Self { shelf, seed: 1, next: 0 })
    }

    /// Makes `count` identities: those of new events, or those of recorded ones all over the log.
    pub fn identities(&mut self, count: u64, recorded_of: Option<u64>) -> Vec<[u8; 16]> {
        let from = self.next;
        self.next += count;
        let one = |n: u64| match recorded_of {
            None => identity(self.seed, n).0,
            Some(events) => identity(0, n.wrapping_mul(7_368_787) % events + 1).0,
        };
        (from..from + count).map(one).collect()
    }

    /// How many of these are known.
    pub fn look_up(&self, identities: &[[u8; 16]]) -> Result<usize, Error> {
        let mut known = 0;
        for identity in identities {
            known += usize::from(self.shelf.position(&Identity(*identity))?.is_some());
        }
        Ok(known)
    }
}
