//! Many curves at once, in columns, for those who take them elsewhere.

use super::panel::signed;
use super::query::{CurveQuery, Logical, named};
use super::read::Reader;
use super::rows::Stored;
use super::{Axis, Curves};
use crate::Error;
use cairn_schemas::{Position, RunId};
use std::ops::ControlFlow;

/// Points that are gathered before they are given on: a bound on memory, and on how long the store is held.
const POINTS_MAX: usize = if cfg!(test) { 1 << 10 } else { 1 << 16 };

/// Points of one metric of one run, in order of step, as columns of one length.
#[derive(Debug)]
pub struct CurveBlock<'a> {
    pub run: RunId,
    pub metric: &'a str,
    pub steps: &'a [u64],
    /// Microseconds since the Unix epoch.
    pub times_micros: &'a [i64],
    pub tokens: &'a [u64],
    pub values: &'a [f64],
    pub attempts: &'a [u32],
    pub positions: &'a [u64],
}

#[derive(Default)]
struct Columns {
    steps: Vec<u64>,
    times_micros: Vec<i64>,
    tokens: Vec<u64>,
    values: Vec<f64>,
    attempts: Vec<u32>,
    positions: Vec<u64>,
}

impl Columns {
    fn push(&mut self, point: Stored) {
        self.steps.push(point.step);
        self.times_micros.push(signed(point.time));
        self.tokens.push(point.tokens);
        self.values.push(point.value);
        self.attempts.push(point.attempt);
        self.positions.push(point.position);
    }
}

impl Curves {
    /// Gives `take` the points that count of these metrics (names, in which `*` stands for any text) of these runs, in
    /// blocks, run by run and metric by metric, until it says stop. All are as of one position, which is the one given or
    /// else the one reached at the beginning, and which is returned; the store is not held while `take` works.
    pub fn for_each_block<E: From<Error>>(
        &self,
        runs: &[RunId],
        metrics: &[String],
        as_of: Option<Position>,
        mut take: impl FnMut(&CurveBlock<'_>) -> Result<ControlFlow<()>, E>,
    ) -> Result<Option<Position>, E> {
        let reached = self.0.watermark().map(|watermark| watermark.position);
        let as_of = as_of.or(reached);
        let query = CurveQuery { as_of, ..CurveQuery::default() };
        let metrics = self.0.read(|store| {
            let line = |run: &RunId| Logical::of(store, *run, Axis::Step, &query);
            named(metrics, &runs.iter().map(line).collect::<Result<Vec<_>, _>>()?)
        })?;
        for (run, metrics) in runs.iter().zip(metrics) {
            for metric in metrics.into_iter().map(|named| named.metric) {
                let mut from = Some(0);
                while let Some(step) = from {
                    let (columns, next) = self.some(run, &metric, as_of, step)?;
                    from = next;
                    if columns.steps.is_empty() {
                        continue;
                    }
                    let block = CurveBlock {
                        run: *run,
                        metric: &metric,
                        steps: &columns.steps,
                        times_micros: &columns.times_micros,
                        tokens: &columns.tokens,
                        values: &columns.values,
                        attempts: &columns.attempts,
                        positions: &columns.positions,
                    };
                    if take(&block)?.is_break() {
                        return Ok(as_of);
                    }
                }
            }
        }
        Ok(as_of)
    }

    /// Points from a step on, and the step that the next ones begin at.
    fn some(
        &self,
        run: &RunId,
        metric: &str,
        as_of: Option<Position>,
        from: u64,
    ) -> Result<(Columns, Option<u64>), Error> {
        self.0.read(|store| {
            let (mut columns, mut next) = (Columns::default(), None);
            let Some(reader) = Reader::of(store, *run, as_of)? else { return Ok((columns, next)) };
            let Some(slot) = reader.slot(metric)? else { return Ok((columns, next)) };
            reader.series(slot)?.each(from..=u64::MAX, &mut |points: Vec<Stored>| {
                points.iter().for_each(|point| columns.push(*point));
                if columns.steps.len() < POINTS_MAX {
                    return Ok(ControlFlow::Continue(()));
                }
                next = points.last().and_then(|last| last.step.checked_add(1));
                Ok(ControlFlow::Break(()))
            })?;
            Ok((columns, next))
        })
    }
}
