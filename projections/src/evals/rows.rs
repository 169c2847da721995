//! Tables of `evals`. An evaluation's results are one row, found by position; other tables point to it.

use super::{Missing, Standing, Supersession, Tally};
use crate::Error;
use crate::key::{Fields, Key};
use bincode::{Decode, Encode};
use cairn_schemas::{Blake3, Position, Ref, Timestamp};

/// Position → what was measured.
pub(super) const RESULT: u8 = 1;
/// Subject and position of what was measured, or failed.
const BY_SUBJECT: u8 = 2;
/// Evaluation → where its results stand, and its supersessions.
const EVALUATION: u8 = 3;
/// Evaluation, where it is superseded → what the view needs of that.
pub(super) const CORRECTED: u8 = 4;
/// Position → an evaluation that ended by an error.
pub(super) const FAILED: u8 = 5;
/// Run and step → the first checkpoint that was saved there.
pub(super) const CHECKPOINT: u8 = 6;
/// Subject, criterion, kind of judge, judge and position → the verdict.
const VERDICT: u8 = 7;
/// Judgment → its row of `VERDICT`.
const JUDGED: u8 = 8;
const GATE: u8 = 9;
/// Evaluation and sample → its scores.
const SAMPLE: u8 = 10;

/// Where and when an event stands.
#[derive(Clone, Copy, Debug, Default, Encode, Decode)]
pub(super) struct When {
    pub(super) position: u64,
    pub(super) recorded_micros: i64,
    pub(super) occurred_micros: i64,
}

impl When {
    pub(super) fn position(&self) -> Result<Position, Error> {
        position(self.position)
    }
    pub(super) fn recorded_at(&self) -> Timestamp {
        Timestamp::from_micros(self.recorded_micros)
    }
}

pub(super) fn position(number: u64) -> Result<Position, Error> {
    Position::new(number).ok_or_else(|| Error::row("evals", "it says position 0"))
}

/// What one evaluation measured.
#[derive(Clone, Debug, Default, Encode, Decode)]
pub(super) struct Evaluated {
    pub(super) evaluation: String,
    pub(super) subject: String,
    pub(super) suite: String,
    pub(super) task: String,
    pub(super) slice: String,
    pub(super) step: Option<u64>,
    pub(super) dataset: Option<String>,
    pub(super) run: Option<String>,
    pub(super) protocol_digest: [u8; 32],
    pub(super) when: When,
    pub(super) measures: Vec<Measured>,
}

/// One metric of it.
#[derive(Clone, Debug, Default, Encode, Decode)]
pub(super) struct Measured {
    pub(super) metric: String,
    pub(super) value: f64,
    pub(super) n: u64,
    pub(super) standard_error: Option<f64>,
    pub(super) unit: Option<String>,
    pub(super) higher_is_better: bool,
}

/// What is known of an evaluation under its name.
#[derive(Clone, Debug, Default, Encode, Decode)]
pub(super) struct Known {
    /// Positions of its results.
    pub(super) results: Vec<u64>,
    /// In order of position.
    pub(super) superseded: Vec<Superseded>,
}

impl Known {
    /// The first supersession that is known then: a later one does not change an answer about the past.
    pub(super) fn superseded(&self, at: &super::At) -> Option<&Superseded> {
        self.superseded.iter().find(|s| at.holds(s.when.position, s.when.occurred_micros))
    }
}

#[derive(Clone, Debug, Default, Encode, Decode)]
pub(super) struct Superseded {
    pub(super) by: Option<String>,
    pub(super) reason: String,
    pub(super) when: When,
}

/// Of a superseded evaluation: where its results stand, and position and occurred time of each supersession.
#[derive(Clone, Debug, Default, Encode, Decode)]
pub(super) struct Corrected {
    pub(super) results: Vec<u64>,
    pub(super) supersessions: Vec<(u64, i64)>,
}

#[derive(Clone, Debug, Default, Encode, Decode)]
pub(super) struct Failed {
    pub(super) evaluation: String,
    pub(super) subject: String,
    pub(super) suite: String,
    pub(super) task: String,
    pub(super) error: String,
    pub(super) when: When,
}

/// Scores of a sample: metric, value, position, in order of position. A sample scored again keeps its earlier scores.
#[derive(Clone, Debug, Default, Encode, Decode)]
pub(super) struct Scores(pub(super) Vec<(String, f64, u64)>);

/// A judge's verdict, and where it was taken out by a later one.
#[derive(Clone, Debug, Default, Encode, Decode)]
pub(super) struct Given {
    pub(super) verdict: u8,
    pub(super) taken_out: Option<u64>,
}

pub(super) fn table(number: u8) -> Vec<u8> {
    Key::of(number).done()
}
pub(super) fn result(position: u64) -> Vec<u8> {
    Key::of(RESULT).u64(position).done()
}
pub(super) fn by_subject(subject: &str) -> Key {
    Key::of(BY_SUBJECT).text(subject)
}
pub(super) fn evaluation(evaluation: &str) -> Vec<u8> {
    Key::of(EVALUATION).text(evaluation).done()
}
pub(super) fn corrected(evaluation: &str) -> Vec<u8> {
    Key::of(CORRECTED).text(evaluation).done()
}
pub(super) fn failed(position: u64) -> Vec<u8> {
    Key::of(FAILED).u64(position).done()
}
pub(super) fn checkpoint(run: &str, step: u64) -> Vec<u8> {
    Key::of(CHECKPOINT).text(run).u64(step).done()
}
pub(super) fn verdicts(subject: &str) -> Key {
    Key::of(VERDICT).text(subject)
}
pub(super) fn judged(judgment: &str) -> Vec<u8> {
    Key::of(JUDGED).text(judgment).done()
}
pub(super) fn gates(subject: &str) -> Key {
    Key::of(GATE).text(subject)
}
pub(super) fn samples(evaluation: &str) -> Key {
    Key::of(SAMPLE).text(evaluation)
}

/// The position that ends a key of `BY_SUBJECT`.
pub(super) fn subject_position(key: &[u8]) -> Result<u64, Error> {
    let mut fields = Fields::of("evals.subject", key);
    fields.text()?;
    fields.u64()
}

pub(super) fn parse(reference: &str) -> Result<Ref, Error> {
    reference.parse().map_err(|e| Error::row("evals", e))
}

pub(super) fn parse_some(reference: Option<&str>) -> Result<Option<Ref>, Error> {
    reference.map(parse).transpose()
}

pub(super) fn supersession(row: &Superseded) -> Result<Supersession, Error> {
    Ok(Supersession {
        by: parse_some(row.by.as_deref())?,
        position: row.when.position()?,
        recorded_at: row.when.recorded_at(),
        reason: row.reason.clone(),
    })
}

/// The result of metric number `ordinal`.
pub(super) fn standing(row: &Evaluated, ordinal: u32, superseded: Option<Supersession>) -> Result<Standing, Error> {
    let measure = row.measures.get(ordinal as usize);
    let measure = measure.ok_or_else(|| Error::row("evals.result", format!("it has no metric number {ordinal}")))?;
    let run = row.run.as_deref().map(str::parse).transpose().map_err(|e| Error::row("evals.result", e))?;
    Ok(Standing {
        subject: parse(&row.subject)?,
        step: row.step,
        suite: row.suite.clone(),
        slice: row.slice.clone(),
        task: row.task.clone(),
        metric: measure.metric.clone(),
        value: measure.value,
        n: measure.n,
        standard_error: measure.standard_error,
        unit: measure.unit.clone(),
        higher_is_better: measure.higher_is_better,
        evaluation: parse(&row.evaluation)?,
        dataset: parse_some(row.dataset.as_deref())?,
        run,
        protocol_digest: Blake3::from_bytes(row.protocol_digest),
        position: row.when.position()?,
        ordinal,
        recorded_at: row.when.recorded_at(),
        occurred_at: Timestamp::from_micros(row.when.occurred_micros),
        superseded,
    })
}

pub(super) fn missing_of(row: Failed) -> Result<Missing, Error> {
    Ok(Missing {
        evaluation: parse(&row.evaluation)?,
        subject: parse(&row.subject)?,
        position: row.when.position()?,
        recorded_at: row.when.recorded_at(),
        suite: row.suite,
        task: row.task,
        error: row.error,
    })
}

/// Whose verdict on what a row is, and the position that it was given at.
pub(super) fn verdict_of(key: &[u8]) -> Result<(Tally, u64), Error> {
    let mut fields = Fields::of("evals.verdict", key);
    let tally = Tally {
        subject: parse(&fields.text()?)?,
        criterion: fields.text()?,
        judge_kind: fields.text()?,
        judge: fields.text()?,
        passed: 0,
        failed: 0,
        unscored: 0,
    };
    Ok((tally, fields.u64()?))
}
