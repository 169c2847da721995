//! What decides about repeats and expected versions: identities to positions, streams to numbers and versions.
//!
//! Sealed segments are indexed by runs on disk (`docs/format.md`, "Index"), what follows them in memory. All of it is
//! derived: a run that is lost, damaged or another log's is built again from the segments before anything is appended.

pub(crate) mod measure;
mod part;
mod run;
mod shelf;
mod source;
mod table;
#[cfg(test)]
mod tests;

pub(crate) use part::Part;
pub(crate) use shelf::{Base, Shelf, vouched};
pub(crate) use source::{LogSource, PartBuilder};

use crate::entry::Identity;
use crate::error::Error;
use crate::payload::MacKeys;
use cairn_schemas::{Blake3, Position};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::Arc;

/// Keyed MAC of a stream's name, under the tenant's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StreamKey(pub(crate) [u8; 16]);

/// A stream's number in its log, and how many events it holds. Number 0 is a stream that has none yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct StreamState {
    pub(crate) number: u64,
    pub(crate) version: u64,
}

impl Hash for Identity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(u64::from_be_bytes(self.0[..8].try_into().expect("8 of 16 bytes")));
    }
}

impl Hash for StreamKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(u64::from_be_bytes(self.0[..8].try_into().expect("8 of 16 bytes")));
    }
}

/// Keyed MACs are as good a hash as any.
#[derive(Default)]
pub(crate) struct TakeAsIs(u64);

impl Hasher for TakeAsIs {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _: &[u8]) {
        unreachable!("MACs hash as one u64");
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

/// A map by MACs.
pub(crate) type MacMap<K, V> = HashMap<K, V, BuildHasherDefault<TakeAsIs>>;

/// The index as a log's writer has it: its own part, which grows, and the shelf, which it shares with the sealer.
pub(crate) struct Index {
    keys: MacKeys,
    shelf: Arc<Shelf>,
    active: Part,
}

impl Index {
    /// `active` is what the last frames file holds.
    pub(crate) fn new(keys: MacKeys, shelf: Arc<Shelf>, active: Part) -> Self {
        Self { keys, shelf, active }
    }

    /// What a stream of this name is found by.
    pub(crate) fn key(&self, name: &str) -> StreamKey {
        self.keys.stream(name)
    }

    pub(crate) fn shelf(&self) -> &Arc<Shelf> {
        &self.shelf
    }

    /// Where an event was recorded. `Err` where the index can neither be read nor built again.
    pub(crate) fn position(&self, identity: &Identity) -> Result<Option<Position>, Error> {
        match self.active.position(identity) {
            Some(position) => Ok(Some(position)),
            None => self.shelf.position(identity),
        }
    }

    pub(crate) fn stream(&self, key: &StreamKey) -> Result<Option<StreamState>, Error> {
        match self.active.stream(key) {
            Some(state) => Ok(Some(state)),
            None => self.shelf.stream(key),
        }
    }

    /// Number of streams in the log.
    pub(crate) fn streams(&self) -> u64 {
        self.active.streams()
    }

    /// Takes what became durable: new identities with their positions, and the streams they moved.
    pub(crate) fn absorb(
        &mut self,
        identities: impl IntoIterator<Item = (Identity, Position)>,
        streams: impl IntoIterator<Item = (StreamKey, StreamState)>,
    ) {
        for (identity, position) in identities {
            assert!(self.active.insert(identity, position), "only what the index lacked is recorded");
        }
        streams.into_iter().for_each(|(key, state)| self.active.insert_stream(key, state));
    }

    /// A new segment begins at `first`, after chain head `chain`; the part before it waits for the sealer.
    pub(crate) fn rotate(&mut self, first: u64, chain: Blake3) {
        let next = Part::new(first, chain, self.active.streams());
        let full = std::mem::replace(&mut self.active, next);
        self.shelf.take(full.frozen(first - 1, chain));
    }
}
