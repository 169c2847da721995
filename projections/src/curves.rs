//! Store `curves`: the points of every metric of every run, in compressed columnar panels, from which any zoom of any
//! curve is answered in few points with no spike lost, as of any position.

mod aggregate;
mod apply;
mod bulk;
mod column;
mod curve;
mod digest;
mod origin;
mod panel;
mod pyramid;
mod query;
mod read;
mod rows;
mod smooth;
#[cfg(test)]
mod tests;

pub use aggregate::{Aggregate, AggregatePoint, AggregateQuery};
pub use bulk::CurveBlock;
pub use origin::{Offset, Part};
pub use query::{CurveAnswer, CurveQuery, MetricSummary, Pattern};
pub use smooth::Smoothing;

pub use crate::attempts::Takeover;
use crate::projection::{Live, Projection};
use cairn_schemas::{Position, Timestamp};
use std::sync::Arc;

pub(crate) static PROJECTION: Projection = Projection::new("curves", 3, apply::apply).digested(digest::digest);

/// What a curve is drawn along.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Axis {
    /// Optimizer steps of the run itself.
    #[default]
    Step,
    /// When steps were taken, in seconds since the Unix epoch.
    Time,
    /// Tokens that the run itself had seen.
    Tokens,
    /// Steps, those of the runs it went on from counted in.
    LineageSteps,
    /// Tokens, those of the runs it went on from counted in.
    LineageTokens,
}

/// One value of a metric at a step.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Point {
    /// Where it lies on the axis that was asked for.
    pub x: f64,
    pub step: u64,
    /// When the step was taken, as its producer says.
    pub time: Timestamp,
    /// Tokens that the run had seen; 0 where its producer does not count them.
    pub tokens: u64,
    /// May be NaN or infinite; as JSON the strings `"NaN"`, `"Infinity"`, `"-Infinity"`.
    #[serde(serialize_with = "crate::real")]
    pub value: f64,
    /// Which attempt of the run took the step, from 1.
    pub attempt: u32,
    /// Of the event that says so.
    pub position: Position,
}

/// Queries over the points of runs.
#[derive(Clone)]
pub struct Curves(Arc<Live>);

impl Curves {
    pub(crate) fn over(live: Arc<Live>) -> Self {
        Self(live)
    }
}
