//! What one segment adds to the index, in memory.

use super::{MacMap, StreamKey, StreamState};
use crate::entry::Identity;
use cairn_schemas::{Blake3, Position};

/// Identities and streams of one segment. Grows with the segment, which is bounded.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) first: u64,
    pub(crate) chain_before: Blake3,
    /// Last position and the chain head after it; only where the segment is full.
    pub(crate) end: Option<(u64, Blake3)>,
    pub(crate) identities: MacMap<Identity, Position>,
    /// Streams that the segment's events belong to, as they were after the last of them.
    pub(crate) streams: MacMap<StreamKey, StreamState>,
    /// Streams of the whole log, up to and with this segment.
    count: u64,
}

impl Part {
    /// `streams_before`: streams of the log before this segment.
    pub(crate) fn new(first: u64, chain_before: Blake3, streams_before: u64) -> Self {
        let (identities, streams) = (MacMap::default(), MacMap::default());
        Self { first, chain_before, end: None, identities, streams, count: streams_before }
    }

    pub(crate) fn frozen(self, last: u64, chain_after: Blake3) -> Self {
        Self { end: Some((last, chain_after)), ..self }
    }

    /// The same part, after this chain head and this many streams.
    pub(crate) fn after(self, chain_before: Blake3, streams_before: u64) -> Self {
        Self { chain_before, count: self.count.max(streams_before), ..self }
    }

    pub(crate) fn position(&self, identity: &Identity) -> Option<Position> {
        self.identities.get(identity).copied()
    }

    pub(crate) fn stream(&self, key: &StreamKey) -> Option<StreamState> {
        self.streams.get(key).copied()
    }

    pub(crate) fn streams(&self) -> u64 {
        self.count
    }

    /// `false` if the identity was known already.
    pub(crate) fn insert(&mut self, identity: Identity, position: Position) -> bool {
        self.identities.insert(identity, position).is_none()
    }

    pub(crate) fn insert_stream(&mut self, key: StreamKey, state: StreamState) {
        self.count = self.count.max(state.number);
        self.streams.insert(key, state);
    }
}
