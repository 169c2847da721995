//! Questions to the results of one subject or one evaluation, and to all results in order of position.

use super::columns::{Columns, Series};
use super::filter::{At, Filter, Sieve};
use super::rows::{self, Evaluated, Failed, Given, Known, Scores, When};
use super::{Evals, Gate, Missing, Standing, Tally, TaskSummary, apply};
use crate::Error;
use crate::key::Fields;
use crate::projection::{collect, decode};
use crate::store::{Order, Store, scan_prefix};
use cairn_schemas::events::judgment::GateEvaluated;
use cairn_schemas::{Position, Ref};
use std::collections::HashSet;
use std::ops::ControlFlow;

/// Where a reader of all results stands: behind one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub position: Position,
    pub ordinal: u32,
}

impl Place {
    pub fn of(standing: &Standing) -> Self {
        Self { position: standing.position, ordinal: standing.ordinal }
    }
}

impl Evals {
    pub(super) fn read<T>(&self, query: impl FnOnce(&Columns, &dyn Store) -> Result<T, Error>) -> Result<T, Error> {
        self.0.read_view::<Columns, T>(query)
    }

    /// Every result of a subject in order of position, superseded ones marked.
    pub fn of_subject(&self, subject: &Ref, at: &At) -> Result<Vec<Standing>, Error> {
        self.0.read(|store| {
            let mut found = Vec::new();
            for position in of_subject(store, subject, apply::IS_RESULT)? {
                found.extend(results_at(store, position, at)?);
            }
            Ok(found)
        })
    }

    /// The results of one evaluation in order of position, marked where it is superseded. Of one that was completed again
    /// the last of each task, metric and slice, as grids have it.
    pub fn of_evaluation(&self, evaluation: &Ref, at: &At) -> Result<Vec<Standing>, Error> {
        self.0.read(|store| {
            let mut found = Vec::new();
            for position in known(store, &evaluation.to_string())?.results {
                found.extend(results_at(store, position, at)?);
            }
            if at.valid_at.is_some() {
                // A later measurement stands before a later record.
                found.sort_by_key(|standing: &Standing| (standing.occurred_at, standing.position, standing.ordinal));
            }
            let mut seen = HashSet::new();
            found.reverse();
            found.retain(|one| {
                let names = [&one.suite, &one.task, &one.metric, &one.slice];
                seen.insert(names.map(String::clone))
            });
            found.sort_by_key(|standing| (standing.position, standing.ordinal));
            Ok(found)
        })
    }

    /// Evaluations of a subject that ended by an error, in order of position.
    pub fn missing(&self, subject: &Ref, at: &At) -> Result<Vec<Missing>, Error> {
        self.0.read(|store| {
            let mut found = Vec::new();
            for position in of_subject(store, subject, apply::IS_FAILURE)? {
                let row = failed_at(store, position)?;
                if at.holds(row.when.position, row.when.occurred_micros) {
                    found.push(rows::missing_of(row)?);
                }
            }
            Ok(found)
        })
    }

    /// What results exist for, sorted by suite, task, metric and slice.
    pub fn tasks(&self, at: &At) -> Result<Vec<TaskSummary>, Error> {
        self.read(|columns, store| {
            let mut found = Vec::new();
            for series in &columns.series {
                found.extend(summary(columns, store, series, at)?);
            }
            let key = |task: &TaskSummary| (task.suite.clone(), task.task.clone(), task.metric.clone());
            found.sort_by(|a: &TaskSummary, b| (key(a), &a.slice).cmp(&(key(b), &b.slice)));
            Ok(found)
        })
    }

    /// Hands the results to `visit` in order of position, those behind `after`, superseded ones marked, until it breaks
    /// off. The store is held meanwhile: a slow reader takes some and comes again.
    pub fn bulk(
        &self,
        filter: &Filter,
        at: &At,
        after: Option<Place>,
        visit: &mut dyn FnMut(&Standing) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        filter.check()?;
        self.read(|columns, store| {
            each_chosen(columns, filter, at, after, &mut |position, chosen| {
                let row = result_at(store, position)?;
                let superseded = match columns.is_superseded(position, at) {
                    true => known(store, &row.evaluation)?.superseded(at).map(rows::supersession).transpose()?,
                    false => None,
                };
                for ordinal in chosen {
                    if visit(&rows::standing(&row, ordinal, superseded.clone())?).is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                }
                Ok(ControlFlow::Continue(()))
            })
        })
    }

    /// How many results [`bulk`](Self::bulk) gives in all. No row is read for it.
    pub fn results_total(&self, filter: &Filter, at: &At) -> Result<u64, Error> {
        filter.check()?;
        let mut total = 0;
        self.read(|columns, _| {
            each_chosen(columns, filter, at, None, &mut |_, chosen| {
                total += chosen.len() as u64;
                Ok(ControlFlow::Continue(()))
            })
        })?;
        Ok(total)
    }

    /// A page of what [`bulk`](Self::bulk) gives, and whether more follow.
    pub fn results(
        &self,
        filter: &Filter,
        at: &At,
        after: Option<Place>,
        first: usize,
    ) -> Result<(Vec<Standing>, bool), Error> {
        let (mut found, mut more) = (Vec::new(), false);
        self.bulk(filter, at, after, &mut |standing| {
            if found.len() == first {
                more = true;
                return ControlFlow::Break(());
            }
            found.push(standing.clone());
            ControlFlow::Continue(())
        })?;
        Ok((found, more))
    }

    /// Verdicts on a subject by criterion and judge. It takes as long as there are verdicts on it.
    pub fn judgments(&self, subject: &Ref, as_of: Option<Position>) -> Result<Vec<Tally>, Error> {
        let prefix = rows::verdicts(&subject.to_string()).done();
        let by_then = |position: u64| as_of.is_none_or(|as_of| position <= as_of.get());
        let mut tallies: Vec<Tally> = Vec::new();
        self.0.read(|store| {
            scan_prefix(store, &prefix, Order::Ascending, &mut |key, row| {
                let (tally, position) = rows::verdict_of(key)?;
                let given: Given = decode("evals.verdict", row)?;
                if !by_then(position) || given.taken_out.is_some_and(by_then) {
                    return Ok(ControlFlow::Continue(()));
                }
                // Verdicts of one judge on one criterion stand together.
                let same = |known: &Tally| {
                    (&known.criterion, &known.judge_kind, &known.judge)
                        == (&tally.criterion, &tally.judge_kind, &tally.judge)
                };
                if !tallies.last().is_some_and(same) {
                    tallies.push(tally);
                }
                if let Some(tally) = tallies.last_mut() {
                    match given.verdict {
                        apply::PASSED => tally.passed += 1,
                        apply::FAILED => tally.failed += 1,
                        _ => tally.unscored += 1,
                    }
                }
                Ok(ControlFlow::Continue(()))
            })
        })?;
        Ok(tallies)
    }

    /// Gates' decisions on a subject, in order of position.
    pub fn gates(&self, subject: &Ref, at: &At) -> Result<Vec<Gate>, Error> {
        let prefix = rows::gates(&subject.to_string()).done();
        self.0.read(|store| {
            collect(store, &prefix, Order::Ascending, |_, row| {
                let (event, when): (GateEvaluated, When) = decode("evals.gate", row)?;
                if !at.holds(when.position, when.occurred_micros) {
                    return Ok(None);
                }
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

    /// Scores of an evaluation's samples, as far as they came as events: (sample, metric, value), sorted. A sample scored
    /// again holds the scores it was given last by then.
    pub fn samples(&self, evaluation: &Ref, as_of: Option<Position>) -> Result<Vec<(String, String, f64)>, Error> {
        let prefix = rows::samples(&evaluation.to_string()).done();
        let rows = self.0.read(|store| {
            collect(store, &prefix, Order::Ascending, |key, row| {
                let mut fields = Fields::of("evals.sample", key);
                fields.text()?;
                Ok(Some((fields.text()?, decode::<Scores>("evals.sample", row)?)))
            })
        })?;
        let mut found = Vec::new();
        for (sample, Scores(scores)) in rows {
            let by_then = scores.into_iter().filter(|(.., at)| as_of.is_none_or(|as_of| *at <= as_of.get()));
            let latest: std::collections::BTreeMap<String, f64> =
                by_then.map(|(metric, value, _)| (metric, value)).collect();
            found.extend(latest.into_iter().map(|(metric, value)| (sample.clone(), metric, value)));
        }
        Ok(found)
    }
}

/// Shows the results that a filter takes, behind `after`: the position of their event and their places in it.
fn each_chosen(
    columns: &Columns,
    filter: &Filter,
    at: &At,
    after: Option<Place>,
    visit: &mut dyn FnMut(u64, Vec<u32>) -> Result<ControlFlow<()>, Error>,
) -> Result<(), Error> {
    filter.check_names(columns)?;
    let mut sieve = Sieve::new(columns, filter);
    // By series, whether it is wanted, and which of its groups.
    let wanted: Vec<Option<Vec<bool>>> =
        columns.series.iter().map(|series| sieve.takes_series(series).then(|| sieve.groups(series))).collect();
    let after = after.map(|after| (after.position.get(), after.ordinal));
    for (position, entries) in columns.events_from(after.map_or(0, |(position, _)| position)) {
        if at.as_of.is_some_and(|as_of| position > as_of.get()) {
            break;
        }
        let chosen: Vec<u32> = entries
            .iter()
            .filter_map(|&(number, index)| {
                let (series, index) = (&columns.series[number as usize], index as usize);
                let place = series.place_of(index);
                let takes = wanted[number as usize].as_ref()?[place.group as usize]
                    && at.holds(position, series.occurred[index])
                    && after.is_none_or(|after| (position, series.ordinal(index)) > after)
                    && sieve.takes_place(place)
                    && sieve.takes_dataset(series.dataset[index]);
                takes.then(|| series.ordinal(index))
            })
            .collect();
        if !chosen.is_empty() && visit(position, chosen)?.is_break() {
            break;
        }
    }
    Ok(())
}

fn summary(columns: &Columns, store: &dyn Store, series: &Series, at: &At) -> Result<Option<TaskSummary>, Error> {
    let by_then = series.recorded_by(at);
    let held = |index: &usize| at.holds(series.position[*index], series.occurred[*index]);
    let Some(last) = (0..by_then).rev().find(held) else { return Ok(None) };
    let results = match at.valid_at {
        None => by_then as u64,
        Some(_) => (0..by_then).filter(held).count() as u64,
    };
    let standing = standing_at(store, series.position[last], series.ordinal(last), at)?;
    debug_assert_eq!(columns.texts.text(series.key.task), standing.task);
    Ok(Some(TaskSummary {
        suite: standing.suite,
        task: standing.task,
        metric: standing.metric,
        slice: standing.slice,
        higher_is_better: standing.higher_is_better,
        unit: standing.unit,
        results,
        last_position: standing.position,
    }))
}

/// Positions of a subject's results, or of its failures.
fn of_subject(store: &dyn Store, subject: &Ref, which: u8) -> Result<Vec<u64>, Error> {
    let prefix = rows::by_subject(&subject.to_string()).done();
    collect(store, &prefix, Order::Ascending, |key, row| {
        (row == [which]).then(|| rows::subject_position(key)).transpose()
    })
}

fn known(store: &dyn Store, evaluation: &str) -> Result<Known, Error> {
    let row = store.get(&rows::evaluation(evaluation))?;
    Ok(row.map(|row| decode("evals.evaluation", &row)).transpose()?.unwrap_or_default())
}

fn result_at(store: &dyn Store, position: u64) -> Result<Evaluated, Error> {
    let row = store.get(&rows::result(position))?;
    decode("evals.result", &row.ok_or_else(|| Error::row("evals.result", format!("position {position} is missing")))?)
}

pub(super) fn failed_at(store: &dyn Store, position: u64) -> Result<Failed, Error> {
    let row = store.get(&rows::failed(position))?;
    decode("evals.failed", &row.ok_or_else(|| Error::row("evals.failed", format!("position {position} is missing")))?)
}

/// All results that an event recorded; none where it is not part of the answer.
fn results_at(store: &dyn Store, position: u64, at: &At) -> Result<Vec<Standing>, Error> {
    let row = result_at(store, position)?;
    if !at.holds(position, row.when.occurred_micros) {
        return Ok(Vec::new());
    }
    let superseded = known(store, &row.evaluation)?.superseded(at).map(rows::supersession).transpose()?;
    (0..row.measures.len() as u32).map(|ordinal| rows::standing(&row, ordinal, superseded.clone())).collect()
}

/// One result of an event.
pub(super) fn standing_at(store: &dyn Store, position: u64, ordinal: u32, at: &At) -> Result<Standing, Error> {
    let row = result_at(store, position)?;
    let superseded = known(store, &row.evaluation)?.superseded(at).map(rows::supersession).transpose()?;
    rows::standing(&row, ordinal, superseded)
}
