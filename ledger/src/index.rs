//! What decides about repeats and expected versions: identities to positions, stream names to numbers.
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

#[derive(Default)]
pub(crate) struct Index {
    positions: HashMap<Identity, Position, BuildHasherDefault<TakeAsIs>>,
    /// Number of each stream, by name.
    streams: HashMap<String, u64>,
}

impl Index {
    pub(crate) fn position(&self, identity: &Identity) -> Option<Position> {
        self.positions.get(identity).copied()
    }
    pub(crate) fn stream(&self, name: &str) -> Option<u64> {
        self.streams.get(name).copied()
    }
    /// `false` if the identity was known already.
    pub(crate) fn insert(&mut self, identity: Identity, position: Position) -> bool {
        self.positions.insert(identity, position).is_none()
    }
    /// `false` if the name was known already.
    pub(crate) fn insert_stream(&mut self, name: String, number: u64) -> bool {
        self.streams.insert(name, number).is_none()
    }
}
