//! Tables of `curves`. A series grows in three levels, so that each point is written a bounded number of times: its
//! latest points stand in its own row, full tails become chunks, and full sets of chunks one sealed block.

use super::Point;
use crate::key::Key;
use bincode::{Decode, Encode};
use cairn_schemas::Timestamp;

/// Points in a series' own row before they become a chunk.
pub(super) const TAIL_POINTS: usize = 32;
/// Chunks before they become a block.
pub(super) const CHUNKS_MAX: u32 = 32;

const SERIES: u8 = 1;
const CHUNK: u8 = 2;
const BLOCK: u8 = 3;
const SUMMARY: u8 = 4;
const TAKEOVERS: u8 = 5;

/// A point as rows hold it.
#[derive(Clone, Copy, Debug, Encode, Decode)]
pub(super) struct Stored {
    pub(super) step: u64,
    pub(super) time_micros: i64,
    pub(super) tokens: u64,
    pub(super) value: f64,
    pub(super) attempt: u32,
}

impl From<Stored> for Point {
    fn from(stored: Stored) -> Point {
        let Stored { step, time_micros, tokens, value, attempt } = stored;
        Point { step, time: Timestamp::from_micros(time_micros), tokens, value, attempt }
    }
}

/// One metric of one run.
#[derive(Clone, Debug, Default, Encode, Decode)]
pub(super) struct Series {
    /// All points, hidden ones and repeats among them.
    pub(super) points: u64,
    pub(super) step_min: u64,
    pub(super) step_max: u64,
    pub(super) blocks: u32,
    /// Chunks that are not in a block yet.
    pub(super) chunks: u32,
    /// In order of arrival.
    pub(super) tail: Vec<Stored>,
}

/// What can be said of a block without reading it.
#[derive(Clone, Copy, Debug, Encode, Decode)]
pub(super) struct Summary {
    pub(super) step_min: u64,
    pub(super) step_max: u64,
    pub(super) attempt_min: u32,
    pub(super) attempt_max: u32,
    /// The extremes, where the block is of one attempt.
    pub(super) kept: super::pyramid::Kept,
}

pub(super) fn series_of(run: &str) -> Vec<u8> {
    Key::of(SERIES).text(run).done()
}
pub(super) fn series(run: &str, metric: &str) -> Vec<u8> {
    Key::of(SERIES).text(run).text(metric).done()
}
pub(super) fn chunk(run: &str, metric: &str, number: u32) -> Vec<u8> {
    Key::of(CHUNK).text(run).text(metric).u32(number).done()
}
pub(super) fn block(run: &str, metric: &str, number: u32) -> Vec<u8> {
    Key::of(BLOCK).text(run).text(metric).u32(number).done()
}
pub(super) fn summaries(run: &str, metric: &str) -> Vec<u8> {
    Key::of(SUMMARY).text(run).text(metric).done()
}
pub(super) fn summary(run: &str, metric: &str, number: u32) -> Vec<u8> {
    Key::of(SUMMARY).text(run).text(metric).u32(number).done()
}
pub(super) fn takeovers(run: &str) -> Vec<u8> {
    Key::of(TAKEOVERS).text(run).done()
}
