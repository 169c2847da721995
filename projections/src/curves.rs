//! Store `curves`: the points of every metric of every run, in compressed columnar blocks.

mod apply;
mod block;
mod pyramid;
mod query;
mod rows;
#[cfg(test)]
mod tests;

pub use crate::attempts::Takeover;
use crate::projection::{Live, Projection};
use cairn_schemas::Timestamp;
use std::sync::Arc;

pub(crate) static PROJECTION: Projection = Projection::new("curves", 1, apply::apply);

/// One value of a metric at a step.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Point {
    pub step: u64,
    /// When the step was taken, as its producer says.
    pub time: Timestamp,
    /// Tokens that the run had seen.
    pub tokens: u64,
    /// May be NaN or infinite; as JSON the strings `"NaN"`, `"Infinity"`, `"-Infinity"`.
    #[serde(serialize_with = "crate::real")]
    pub value: f64,
    /// Which attempt of the run took the step, from 1.
    pub attempt: u32,
}

/// Queries over the points of runs.
#[derive(Clone)]
pub struct Curves(Arc<Live>);

impl Curves {
    pub(crate) fn over(live: Arc<Live>) -> Self {
        Self(live)
    }
}
