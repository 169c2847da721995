//! Tables of `lineage`. A thing is known by a number, given in order of first mention, so that edges are short. A
//! node's neighbours are sorted by kind, documents last: there may be thousands of them, and of nothing else.

use crate::Error;
use crate::key::{Fields, Key};
use bincode::{Decode, Encode};
use cairn_schemas::Ref;

const NUMBER: u8 = 1;
const NODE: u8 = 2;
const UP: u8 = 3;
const DOWN: u8 = 4;
const NODES: u8 = 5;

/// Kinds in the order in which neighbours are shown.
pub(super) const KINDS: [&str; 8] =
    ["deployment", "model", "run", "dataset", "evaluation", "judgment", "artifact", "document"];

pub(super) fn rank(reference: &Ref) -> u8 {
    match reference {
        Ref::Deployment(_) => 0,
        Ref::Model { .. } => 1,
        Ref::Run(_) => 2,
        Ref::Dataset { .. } => 3,
        Ref::Eval(_) => 4,
        Ref::Judgment(_) => 5,
        Ref::Artifact(_) => 6,
        Ref::Doc(_) => 7,
    }
}

#[derive(Clone, Debug, Encode, Decode)]
pub(super) struct NodeRow {
    pub(super) reference: String,
    /// Neighbours up and down, by rank of their kind.
    pub(super) up: [u64; 8],
    pub(super) down: [u64; 8],
}

/// What events of one type say of an edge.
#[derive(Clone, Debug, Encode, Decode)]
pub(super) struct Said {
    pub(super) event_type: String,
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) events: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Up,
    Down,
}

impl NodeRow {
    pub(super) fn degrees(&self, way: Way) -> &[u64; 8] {
        match way {
            Way::Up => &self.up,
            Way::Down => &self.down,
        }
    }
}

pub(super) fn number(reference: &str) -> Vec<u8> {
    Key::of(NUMBER).text(reference).done()
}
pub(super) fn node(number: u64) -> Vec<u8> {
    Key::of(NODE).u64(number).done()
}
/// How many nodes there are.
pub(super) fn nodes() -> Vec<u8> {
    Key::of(NODES).done()
}
pub(super) fn neighbours(way: Way, number: u64) -> Key {
    let table = match way {
        Way::Up => UP,
        Way::Down => DOWN,
    };
    Key::of(table).u64(number)
}
pub(super) fn edge(way: Way, of: u64, rank: u8, neighbour: u64) -> Vec<u8> {
    neighbours(way, of).byte(rank).u64(neighbour).done()
}
/// Rank and number of the neighbour in an edge's key.
pub(super) fn neighbour(key: &[u8]) -> Result<(u8, u64), Error> {
    let mut fields = Fields::of("lineage.edge", key);
    fields.u64()?;
    Ok((fields.byte()?, fields.u64()?))
}
