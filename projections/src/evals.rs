//! Store `evals`: results by task, metric, subject and time; and the judgments and gates that rest on them.

mod apply;
mod board;
mod columns;
mod cursor;
mod filter;
mod matrix;
#[cfg(test)]
mod model;
mod query;
mod rows;
#[cfg(test)]
mod tests;

pub use board::{Best, Board, BoardPage, Ranked};
pub use filter::{At, Filter};
pub use matrix::{Cell, Column, Grid, GridRow, Matrix};
pub use query::Place;

use crate::projection::{Live, Projection};
use cairn_schemas::events::judgment::{GateCheck, GateOutcome};
use cairn_schemas::{Blake3, Position, Ref, RunId, Timestamp};
use std::sync::Arc;

pub(crate) static PROJECTION: Projection = Projection::new("evals", 2, apply::apply).viewed(columns::load);

/// One result of one subject.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Standing {
    pub subject: Ref,
    /// The checkpoint's step, where the subject is a run.
    pub step: Option<u64>,
    pub suite: String,
    pub task: String,
    pub metric: String,
    pub slice: String,
    /// May be NaN or infinite; as JSON the strings `"NaN"`, `"Infinity"`, `"-Infinity"`.
    #[serde(serialize_with = "crate::real")]
    pub value: f64,
    /// Samples that it is over.
    pub n: u64,
    pub standard_error: Option<f64>,
    pub unit: Option<String>,
    pub higher_is_better: bool,
    pub evaluation: Ref,
    /// The dataset that it was measured on.
    pub dataset: Option<Ref>,
    pub run: Option<RunId>,
    /// Results are comparable where this is equal.
    pub protocol_digest: Blake3,
    pub position: Position,
    /// Number of the metric in its evaluation, from 0.
    pub ordinal: u32,
    pub recorded_at: Timestamp,
    pub occurred_at: Timestamp,
    /// Set where the evaluation is no longer to be relied on.
    pub superseded: Option<Supersession>,
}

/// Why an evaluation no longer counts, and since when.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Supersession {
    pub by: Option<Ref>,
    pub reason: String,
    pub position: Position,
    pub recorded_at: Timestamp,
}

/// A metric of a task that results exist for.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct TaskSummary {
    pub suite: String,
    pub task: String,
    pub metric: String,
    pub slice: String,
    pub higher_is_better: bool,
    pub unit: Option<String>,
    /// Results recorded, superseded ones among them.
    pub results: u64,
    pub last_position: Position,
}

/// An evaluation that ended by an error: a result that is missing, and why.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Missing {
    pub evaluation: Ref,
    pub subject: Ref,
    pub suite: String,
    pub task: String,
    pub error: String,
    pub position: Position,
    pub recorded_at: Timestamp,
}

/// Verdicts of one judge on one criterion of one subject; superseded judgments are not counted.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Tally {
    pub subject: Ref,
    pub criterion: String,
    /// `human`, `rule` or `llm`.
    pub judge_kind: String,
    /// Name and version: `format@1`.
    pub judge: String,
    pub passed: u64,
    pub failed: u64,
    pub unscored: u64,
}

impl Tally {
    /// Judgments with a verdict.
    pub fn n(&self) -> u64 {
        self.passed + self.failed
    }
    /// Passed among those with a verdict; `None` where there is none.
    pub fn pass_rate(&self) -> Option<f64> {
        (self.n() > 0).then(|| self.passed as f64 / self.n() as f64)
    }
}

/// A gate's decision on a subject.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Gate {
    pub judgment: Ref,
    pub gate: String,
    pub subject: Ref,
    pub baseline: Option<Ref>,
    pub run: Option<RunId>,
    pub evaluations: Vec<Ref>,
    pub outcome: GateOutcome,
    pub checks: Vec<GateCheck>,
    pub position: Position,
    pub recorded_at: Timestamp,
}

/// Queries over results and judgments.
#[derive(Clone)]
pub struct Evals(Arc<Live>);

impl Evals {
    pub(crate) fn over(live: Arc<Live>) -> Self {
        Self(live)
    }
}
