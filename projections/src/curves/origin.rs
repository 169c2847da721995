//! Runs that went on from other runs: what a run's steps and tokens are to be counted from, so that a pretraining and
//! what was made of it lie on one axis.

use super::pyramid::Kept;
use super::read::{Reader, Visitor};
use super::rows::{self, Entry, Origin, Stored, TOKENS_TABLE};
use crate::Error;
use crate::key::Fields;
use crate::projection::decode;
use crate::store::{Order, Store, scan_prefix};
use cairn_schemas::{Position, RunId};
use std::ops::ControlFlow;

/// Ancestors that are followed.
const ANCESTORS_MAX: usize = 64;
/// Metrics of a run that are looked through for its tokens at a step.
const METRICS_READ: u32 = 8;

/// What a count along the parents begins with.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case", tag = "is", content = "value")]
pub enum Offset {
    Known(u64),
    /// Between two logged steps, on the straight line.
    Estimated(u64),
    /// Why it cannot be said.
    Unknown(String),
}

impl Offset {
    pub fn value(&self) -> Option<u64> {
        match self {
            Offset::Known(value) | Offset::Estimated(value) => Some(*value),
            Offset::Unknown(_) => None,
        }
    }
    /// Both together: no more certain than either.
    fn plus(&self, more: &Offset) -> Offset {
        match (self, more) {
            (Offset::Unknown(why), _) | (_, Offset::Unknown(why)) => Offset::Unknown(why.clone()),
            (Offset::Known(a), Offset::Known(b)) => Offset::Known(a.saturating_add(*b)),
            (a, b) => Offset::Estimated(a.value().unwrap_or(0).saturating_add(b.value().unwrap_or(0))),
        }
    }
}

/// One run of a logical run.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Part {
    pub run: RunId,
    /// The last step that the next run went on from; `None` in the last run.
    pub to_step: Option<u64>,
    /// Steps, and tokens, that its ancestors had taken.
    pub steps_before: Offset,
    pub tokens_before: Offset,
}

/// A run and what it was begun from, the oldest first.
pub(super) fn line(store: &dyn Store, run: RunId, as_of: Option<Position>) -> Result<Vec<Part>, Error> {
    // From the run back to its oldest ancestor: each with the step that was gone on from, and the tokens until then.
    let mut back: Vec<(RunId, Option<(Offset, Offset)>)> = vec![(run, None)];
    let mut at = run;
    while let Some(origin) = Reader::of(store, at, as_of)?.and_then(|reader| origin(&reader)) {
        if back.len() > ANCESTORS_MAX || back.iter().any(|(known, _)| *known == origin.run) {
            let why = format!("the parents of run:{run} go on for more than {ANCESTORS_MAX} runs or in a circle");
            back.push((origin.run, Some((Offset::Unknown(why.clone()), Offset::Unknown(why)))));
            break;
        }
        back.push((origin.run, Some(end(store, &origin, as_of)?)));
        at = origin.run;
    }
    let mut parts: Vec<Part> = Vec::with_capacity(back.len());
    let (mut steps_before, mut tokens_before) = (Offset::Known(0), Offset::Known(0));
    for (run, end) in back.into_iter().rev() {
        let to_step = end.as_ref().and_then(|(steps, _)| steps.value());
        parts.push(Part { run, to_step, steps_before: steps_before.clone(), tokens_before: tokens_before.clone() });
        if let Some((steps, tokens)) = end {
            (steps_before, tokens_before) = (steps_before.plus(&steps), tokens_before.plus(&tokens));
        }
    }
    Ok(parts)
}

/// What the run was begun from: a fork says more than a start.
fn origin(reader: &Reader<'_>) -> Option<Origin> {
    let known = || reader.header.origins.iter().filter(|origin| origin.position <= reader.as_of);
    known().filter(|origin| origin.from_step.is_some()).last().or_else(|| known().last()).copied()
}

/// The step that was gone on from, and the tokens that the parent had seen by then.
fn end(store: &dyn Store, origin: &Origin, as_of: Option<Position>) -> Result<(Offset, Offset), Error> {
    let parent = origin.run;
    let mut near = Near::of(origin.from_step);
    marks(store, parent, as_of, &mut near)?;
    if let Some(reader) = Reader::of(store, parent, as_of)? {
        for slot in 0..reader.header.slots().min(METRICS_READ) {
            let series = reader.series(slot)?;
            let to = origin.from_step.unwrap_or(u64::MAX);
            series.each(0..=to, &mut Last(&mut near))?;
            series.each(to..=u64::MAX, &mut |points: Vec<Stored>| {
                near.add(points[0].step, points[0].tokens);
                Ok(ControlFlow::Break(()))
            })?;
        }
    }
    let unknown = |what: &str| Offset::Unknown(format!("no event says {what} of run:{parent}"));
    let steps = match (origin.from_step, near.before) {
        (Some(step), _) | (None, Some((step, _))) => Offset::Known(step),
        (None, None) => unknown("the last step"),
    };
    let tokens = match (origin.from_step, near.before, near.after) {
        (Some(0), ..) => Offset::Known(0),
        (None, Some((_, tokens)), _) => Offset::Known(tokens),
        (Some(at), Some((step, tokens)), _) if step == at => Offset::Known(tokens),
        (Some(at), Some(before), Some(after)) => Offset::Estimated(between(before, after, at)),
        (Some(at), ..) => unknown(&format!("the tokens by step {at}")),
        (None, None, _) => unknown("the tokens"),
    };
    Ok((steps, tokens))
}

fn between(before: (u64, u64), after: (u64, u64), at: u64) -> u64 {
    let along = u128::from(at - before.0) * u128::from(after.1.saturating_sub(before.1));
    before.1 + (along / u128::from(after.0 - before.0)) as u64
}

/// The nearest steps whose tokens are known; where no step is asked for, the last one.
struct Near {
    at: Option<u64>,
    before: Option<(u64, u64)>,
    after: Option<(u64, u64)>,
}

impl Near {
    fn of(at: Option<u64>) -> Self {
        Self { at, before: None, after: None }
    }
    /// A step with 0 tokens says that its producer does not count them.
    fn add(&mut self, step: u64, tokens: u64) {
        if tokens == 0 {
            return;
        }
        if self.at.is_none_or(|at| step <= at) {
            if self.before.is_none_or(|(known, _)| known <= step) {
                self.before = Some((step, tokens));
            }
        } else if self.after.is_none_or(|(known, _)| known > step) {
            self.after = Some((step, tokens));
        }
    }
}

/// Takes note of the last point.
struct Last<'a>(&'a mut Near);

impl Visitor for Last<'_> {
    fn takes_whole(&mut self, _: &Entry, kept: &Kept<Stored>) -> bool {
        kept.last().into_iter().for_each(|point| self.0.add(point.step, point.tokens));
        true
    }
    fn take(&mut self, points: Vec<Stored>) -> Result<ControlFlow<()>, Error> {
        points.last().into_iter().for_each(|point| self.0.add(point.step, point.tokens));
        Ok(ControlFlow::Continue(()))
    }
}

/// What checkpoints and the end of the run say.
fn marks(store: &dyn Store, run: RunId, as_of: Option<Position>, near: &mut Near) -> Result<(), Error> {
    let prefix = rows::tokens_of(&run);
    scan_prefix(store, &prefix, Order::Ascending, &mut |key, row| {
        let mut fields = Fields::of(TOKENS_TABLE, &key[prefix.len() - 1..]);
        let (step, position) = (fields.u64()?, fields.u64()?);
        if as_of.is_none_or(|as_of| position <= as_of.get()) {
            near.add(step, decode(TOKENS_TABLE, row)?);
        }
        Ok(ControlFlow::Continue(()))
    })
}
