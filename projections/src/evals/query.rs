//! Questions to the results.

use super::rows::{self, Counts, Failed, Measured, Superseded, Task, When};
use super::{Evals, Gate, Missing, Standing, Supersession, Tally, TaskSummary};
use crate::Error;
use crate::key::Fields;
use crate::projection::{collect, decode};
use crate::store::{Order, Store};
use cairn_schemas::events::judgment::GateEvaluated;
use cairn_schemas::{Position, Ref, Timestamp};
use std::cmp::Ordering;
use std::collections::BTreeMap;

impl Evals {
    /// The subjects' latest results on a metric of a task, best first, as they stood at the recorded time `as_of`
    /// (now where absent). A subject stands once for each suite, slice, step and protocol; results superseded by then
    /// are left out; NaN comes last; equal values in order of position.
    pub fn leaderboard(&self, task: &str, metric: &str, as_of: Option<Timestamp>) -> Result<Vec<Standing>, Error> {
        self.0.read(|store| {
            let mut latest = BTreeMap::new();
            for standing in results(store, &rows::results(task, metric))? {
                if !counts(&standing, as_of) {
                    continue;
                }
                let Standing { subject, step, suite, slice, protocol_digest, .. } = &standing;
                let place = (subject.clone(), *step, suite.clone(), slice.clone(), *protocol_digest);
                // Rows of one place come in order of position.
                latest.insert(place, standing);
            }
            let mut standings: Vec<Standing> = latest.into_values().collect();
            let newest = standings.iter().max_by_key(|standing| standing.position);
            let higher_is_better = newest.is_none_or(|standing| standing.higher_is_better);
            standings.sort_by(|a, b| best_first(a, b, higher_is_better));
            Ok(standings)
        })
    }

    /// Every result of a subject in order of position, superseded ones marked.
    pub fn of_subject(&self, subject: &Ref) -> Result<Vec<Standing>, Error> {
        self.0.read(|store| pointed(store, &rows::by_subject(&subject.to_string()).done()))
    }

    /// The results of one evaluation, in the order in which it gave them.
    pub fn of_evaluation(&self, evaluation: &Ref) -> Result<Vec<Standing>, Error> {
        self.0.read(|store| pointed(store, &rows::by_evaluation(&evaluation.to_string()).done()))
    }

    /// What results exist for, sorted by suite, task, metric and slice.
    pub fn tasks(&self) -> Result<Vec<TaskSummary>, Error> {
        self.0.read(|store| {
            collect(store, &rows::tasks(), Order::Ascending, |key, row| {
                let mut fields = Fields::of("evals.task", key);
                let row: Task = decode("evals.task", row)?;
                let zero = || Error::row("evals.task", "it says position 0");
                Ok(Some(TaskSummary {
                    suite: fields.text()?,
                    task: fields.text()?,
                    metric: fields.text()?,
                    slice: fields.text()?,
                    higher_is_better: row.higher_is_better,
                    unit: row.unit,
                    results: row.results,
                    last_position: Position::new(row.last_position).ok_or_else(zero)?,
                }))
            })
        })
    }

    /// Evaluations of a subject that ended by an error, in order of position.
    pub fn missing(&self, subject: &Ref) -> Result<Vec<Missing>, Error> {
        let prefix = rows::missing(&subject.to_string()).done();
        self.0.read(|store| {
            collect(store, &prefix, Order::Ascending, |key, row| {
                rows::missing_of(key, decode::<Failed>("evals.missing", row)?).map(Some)
            })
        })
    }

    /// Verdicts on a subject by criterion and judge.
    pub fn judgments(&self, subject: &Ref) -> Result<Vec<Tally>, Error> {
        let prefix = rows::tallies(&subject.to_string()).done();
        self.0.read(|store| {
            collect(store, &prefix, Order::Ascending, |key, row| {
                rows::tally_of(key, decode::<Counts>("evals.tally", row)?).map(Some)
            })
        })
    }

    /// Gates' decisions on a subject, in order of position.
    pub fn gates(&self, subject: &Ref) -> Result<Vec<Gate>, Error> {
        let prefix = rows::gates(&subject.to_string()).done();
        self.0.read(|store| {
            collect(store, &prefix, Order::Ascending, |_, row| {
                let (event, when): (GateEvaluated, When) = decode("evals.gate", row)?;
                Ok(Some(Gate {
                    judgment: event.judgment,
                    gate: event.gate,
                    subject: event.subject,
                    baseline: event.baseline,
                    run: event.run,
                    evaluations: event.evaluations,
                    outcome: event.outcome,
                    checks: event.checks,
                    position: when.position()?,
                    recorded_at: when.recorded_at(),
                }))
            })
        })
    }

    /// Scores of an evaluation's samples, as far as they came as events: (sample, metric, value), sorted.
    pub fn samples(&self, evaluation: &Ref) -> Result<Vec<(String, String, f64)>, Error> {
        let prefix = rows::samples(&evaluation.to_string()).done();
        self.0.read(|store| {
            collect(store, &prefix, Order::Ascending, |key, row| {
                let mut fields = Fields::of("evals.sample", key);
                fields.text()?;
                let (value, _): (f64, u64) = decode("evals.sample", row)?;
                Ok(Some((fields.text()?, fields.text()?, value)))
            })
        })
    }
}

fn results(store: &dyn Store, prefix: &[u8]) -> Result<Vec<Standing>, Error> {
    collect(store, prefix, Order::Ascending, |key, row| standing(store, key, row).map(Some))
}

/// The results that rows under `prefix` hold the keys of.
fn pointed(store: &dyn Store, prefix: &[u8]) -> Result<Vec<Standing>, Error> {
    let keys = collect(store, prefix, Order::Ascending, |_, key| Ok(Some(key.to_vec())))?;
    let one = |key: Vec<u8>| {
        let row = store.get(&key)?.ok_or_else(|| Error::row("evals.result", "a result is missing"))?;
        standing(store, &key, &row)
    };
    keys.into_iter().map(one).collect()
}

fn standing(store: &dyn Store, key: &[u8], row: &[u8]) -> Result<Standing, Error> {
    let row: Measured = decode("evals.result", row)?;
    let superseded = superseded(store, &row.evaluation)?;
    rows::standing(key, row, superseded)
}

fn superseded(store: &dyn Store, evaluation: &str) -> Result<Option<Supersession>, Error> {
    let Some(row) = store.get(&rows::superseded(evaluation))? else { return Ok(None) };
    rows::supersession(decode::<Superseded>("evals.superseded", &row)?).map(Some)
}

/// Whether a result was recorded, and not yet superseded, at a recorded time.
fn counts(standing: &Standing, as_of: Option<Timestamp>) -> bool {
    let by_then = |time: Timestamp| as_of.is_none_or(|as_of| time <= as_of);
    by_then(standing.recorded_at) && !standing.superseded.as_ref().is_some_and(|s| by_then(s.recorded_at))
}

fn best_first(a: &Standing, b: &Standing, higher_is_better: bool) -> Ordering {
    let by_value = match higher_is_better {
        true => b.value.partial_cmp(&a.value),
        false => a.value.partial_cmp(&b.value),
    };
    let by_nan = || a.value.is_nan().cmp(&b.value.is_nan());
    by_value.unwrap_or_else(by_nan).then(a.position.cmp(&b.position))
}
