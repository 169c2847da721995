//! What decides about repeats and expected versions: identities to positions, stream names to numbers and versions.
//!
//! Rebuilt from entries (and the payload that first names each stream) when a ledger is opened; held in memory.

use crate::entry::Identity;
use cairn_schemas::Position;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};

impl Hash for Identity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(u64::from_be_bytes(self.0[..8].try_into().expect("8 of 16 bytes")));
    }
}

/// Identities are keyed MACs, so their bytes are as good a hash as any.
#[derive(Default)]
pub(crate) struct TakeAsIs(u64);

impl Hasher for TakeAsIs {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _: &[u8]) {
        unreachable!("identities hash as one u64");
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

/// A stream's number, and how many events it holds. Number 0 is a stream that has none yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct StreamState {
    pub(crate) number: u64,
    pub(crate) version: u64,
}

#[derive(Default)]
pub(crate) struct Index {
    positions: HashMap<Identity, Position, BuildHasherDefault<TakeAsIs>>,
    streams: HashMap<String, StreamState>,
}

impl Index {
    pub(crate) fn position(&self, identity: &Identity) -> Option<Position> {
        self.positions.get(identity).copied()
    }
    pub(crate) fn stream(&self, name: &str) -> Option<StreamState> {
        self.streams.get(name).copied()
    }
    /// `false` if the identity was known already.
    pub(crate) fn insert(&mut self, identity: Identity, position: Position) -> bool {
        self.positions.insert(identity, position).is_none()
    }
    /// `false` if the name was known already.
    pub(crate) fn insert_stream(&mut self, name: String, number: u64) -> bool {
        self.streams.insert(name, StreamState { number, version: 0 }).is_none()
    }
    /// Takes the version of each stream, by its number less one.
    pub(crate) fn set_versions(&mut self, versions: &[u64]) {
        for state in self.streams.values_mut() {
            state.version = versions[state.number as usize - 1];
        }
    }
    pub(crate) fn set_stream(&mut self, name: &str, state: StreamState) {
        match self.streams.get_mut(name) {
            Some(known) => *known = state,
            None => drop(self.streams.insert(name.to_owned(), state)),
        }
    }
}
