//! Which result of each subject is compared: of one suite, slice and protocol where they have one in common.

use super::Question;
use crate::{Context, Error};
use cairn_projections::evals::{Board, Cell, Filter, Grid, Standing};
use cairn_schemas::events::evaluation::EvaluationCompleted;
use cairn_schemas::{Blake3, Event, Ref};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// Results of one subject that are looked at.
const RESULTS_MAX: usize = 10_000;

/// What is compared: a subject, by its latest result; a checkpoint of one; or one evaluation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contender {
    pub reference: Ref,
    /// The checkpoint's step; the last that has a result where absent.
    pub step: Option<u64>,
}

/// A ref, or a ref and the step of a checkpoint: `run:<uuid>#2000`.
impl FromStr for Contender {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let whole = match text.parse() {
            Ok(reference) => return Ok(Self { reference, step: None }),
            Err(error) => error,
        };
        let Some((reference, step)) = text.rsplit_once('#') else { return Err(Error::Schemas(whole)) };
        let step = step.parse().map_err(|_| {
            Error::refused(format!("`{text}`"), "what follows the # is not a step; write it as run:<uuid>#2000")
        })?;
        Ok(Self { reference: reference.parse()?, step: Some(step) })
    }
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.step {
            None => write!(f, "{}", self.reference),
            Some(step) => write!(f, "{}#{step}", self.reference),
        }
    }
}

/// What must be the same for results to be comparable.
type Group = (String, String, Blake3);

fn group_of(standing: &Standing) -> Group {
    (standing.suite.clone(), standing.slice.clone(), standing.protocol_digest)
}

/// The metric, and a result for each subject.
pub(super) fn find(ctx: &Context, question: &Question) -> Result<(String, Vec<Standing>), Error> {
    ctx.projections().catch_up()?;
    let metric = match &question.metric {
        Some(metric) => metric.clone(),
        None => only_metric(ctx, question)?,
    };
    let candidates = question.subjects.iter().map(|subject| candidates(ctx, question, subject, &metric));
    let candidates = candidates.collect::<Result<Vec<Vec<Standing>>, Error>>()?;
    let common = common_group(&candidates);
    let best = |of_one: Vec<Standing>| {
        let wanted = |standing: &Standing| common.as_ref().is_none_or(|group| group_of(standing) == *group);
        let order = |standing: &Standing| (standing.step, standing.occurred_at, standing.position, standing.ordinal);
        of_one.into_iter().filter(wanted).max_by_key(order).expect("a subject without results was refused")
    };
    Ok((metric, candidates.into_iter().map(best).collect()))
}

/// What all subjects have results of; of several, what was used last.
fn common_group(candidates: &[Vec<Standing>]) -> Option<Group> {
    let mut groups: BTreeMap<Group, (usize, u64)> = BTreeMap::new();
    for of_one in candidates {
        let mut latest: BTreeMap<Group, u64> = BTreeMap::new();
        for standing in of_one {
            let known = latest.entry(group_of(standing)).or_default();
            *known = standing.position.get().max(*known);
        }
        for (group, position) in latest {
            let known = groups.entry(group).or_default();
            *known = (known.0 + 1, known.1.max(position));
        }
    }
    let in_all = groups.into_iter().filter(|(_, (sides, _))| *sides == candidates.len());
    in_all.max_by_key(|(_, (_, position))| *position).map(|(group, _)| group)
}

fn only_metric(ctx: &Context, question: &Question) -> Result<String, Error> {
    let tasks = ctx.projections().evals().tasks(&question.at)?;
    let of_task = tasks.into_iter().filter(|known| known.task == question.task);
    let mut metrics: Vec<String> = of_task.map(|known| known.metric).collect();
    metrics.sort();
    metrics.dedup();
    match metrics.as_slice() {
        [] => Err(Error::refused(format!("task `{}`", question.task), "nothing was measured on it")),
        [only] => Ok(only.clone()),
        several => {
            let why = format!("it has {}; name one as the metric", several.join(", "));
            Err(Error::refused(format!("task `{}`", question.task), why))
        }
    }
}

/// The results of one subject that stand; at least one.
fn candidates(ctx: &Context, question: &Question, subject: &Contender, metric: &str) -> Result<Vec<Standing>, Error> {
    let evals = ctx.projections().evals();
    let filter = Filter {
        task: Some(question.task.clone()),
        metric: Some(metric.to_owned()),
        subject: None,
        from_step: subject.step,
        to_step: subject.step,
        ..question.filter.clone()
    };
    if subject.reference.kind() == "evaluation" {
        let all = evals.of_evaluation(&subject.reference, &question.at)?;
        let mine: Vec<Standing> = all.into_iter().filter(|standing| filter.takes(standing)).collect();
        if mine.is_empty() {
            return Err(Error::refused(
                format!("`{subject}`"),
                format!("{} has no such result", described(question, metric)),
            ));
        }
        if let Some(s) = mine.iter().find_map(|standing| standing.superseded.as_ref()) {
            let by = s.by.as_ref().map(|by| format!("; `{by}` takes its place")).unwrap_or_default();
            let why = format!("it was superseded at position {} ({}){by}", s.position, s.reason);
            return Err(Error::refused(format!("`{subject}`"), why));
        }
        return Ok(mine);
    }
    let of_one = Filter { subject: Some(subject.reference.to_string()), ..filter };
    let board = Board { task: question.task.clone(), metric: metric.to_owned(), filter: of_one, at: question.at };
    let page = evals.leaderboard(&board, None, RESULTS_MAX)?;
    if page.items.is_empty() {
        return Err(Error::refused(format!("`{subject}`"), why_missing(ctx, question, subject, &board)?));
    }
    Ok(page.items.into_iter().map(|item| item.standing).collect())
}

fn described(question: &Question, metric: &str) -> String {
    let as_of = question.at.as_of.map(|position| format!(" as of position {position}")).unwrap_or_default();
    format!("`{metric}` of `{}`{as_of}", question.task)
}

/// In words, why a subject has no result to compare.
fn why_missing(ctx: &Context, question: &Question, subject: &Contender, board: &Board) -> Result<String, Error> {
    let filter = Filter {
        task: Some(board.task.clone()),
        metric: Some(board.metric.clone()),
        from_step: None,
        to_step: None,
        ..board.filter.clone()
    };
    let grid = Grid { subjects: vec![subject.reference.clone()], by_step: false, filter, at: board.at };
    let matrix = ctx.projections().evals().matrix(&grid, None, 1)?;
    let what = described(question, &board.metric);
    let cells: Vec<&Cell> = matrix.rows.iter().flat_map(|row| &row.cells).collect();
    let said = cells.iter().find_map(|cell| match cell {
        Cell::Failed(missing) => Some(format!("the evaluation `{}` failed: {}", missing.evaluation, missing.error)),
        Cell::Superseded(standing) => {
            let reason = standing.superseded.as_ref().map(|s| s.reason.clone()).unwrap_or_default();
            Some(format!("its result of {what} was superseded: {reason}"))
        }
        Cell::Value(_) if subject.step.is_some() => Some(format!("it has results of {what}, but none at that step")),
        _ => None,
    });
    Ok(said.unwrap_or_else(|| format!("it was never evaluated for {what}; evaluate it, or name another")))
}

/// The event that a result is from.
pub(super) fn event(ctx: &Context, standing: &Standing) -> Result<EvaluationCompleted, Error> {
    let found = ctx.ledger().read(ctx.tenant(), standing.position, 1)?;
    match found.into_iter().next().map(|recorded| recorded.event) {
        Some(Event::EvaluationCompleted(event)) => Ok(event),
        _ => Err(Error::Stored {
            what: format!("position {}", standing.position),
            why: format!("the evaluation `{}` is not there", standing.evaluation),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contender_is_a_ref_or_one_of_its_checkpoints() {
        const RUN: &str = "run:018f4e9a-7c3b-7def-8123-456789abcdef";
        for (text, step) in [(RUN.to_owned(), None), (format!("{RUN}#2000"), Some(2000)), ("eval:a".into(), None)] {
            let contender: Contender = text.parse().unwrap();
            assert_eq!((contender.step, contender.to_string()), (step, text));
        }
        for (text, said) in [("thing", "a ref is"), ("thing#5", "a ref is"), (&format!("{RUN}#x"), "not a step")] {
            let error = text.parse::<Contender>().unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
