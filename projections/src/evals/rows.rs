//! Tables of `evals`. A result is found by task and metric; other tables point to it.

use super::{Missing, Standing, Supersession, Tally};
use crate::Error;
use crate::key::{Fields, Key};
use bincode::{Decode, Encode};
use cairn_schemas::{Blake3, Position, Ref, Timestamp};

const RESULT: u8 = 1;
const BY_SUBJECT: u8 = 2;
const SUPERSEDED: u8 = 3;
const TASK: u8 = 4;
const MISSING: u8 = 5;
const TALLY: u8 = 6;
const JUDGED: u8 = 7;
const GATE: u8 = 8;
const SAMPLE: u8 = 9;
const BY_EVALUATION: u8 = 10;

/// Where and when an event stands.
#[derive(Clone, Copy, Debug, Encode, Decode)]
pub(super) struct When {
    pub(super) position: u64,
    pub(super) recorded_micros: i64,
    pub(super) occurred_micros: i64,
}

impl When {
    pub(super) fn position(&self) -> Result<Position, Error> {
        Position::new(self.position).ok_or_else(|| Error::row("evals", "it says position 0"))
    }
    pub(super) fn recorded_at(&self) -> Timestamp {
        Timestamp::from_micros(self.recorded_micros)
    }
}

/// One metric of one evaluation; task, metric, subject, suite and slice stand in the key.
#[derive(Clone, Debug, Encode, Decode)]
pub(super) struct Measured {
    pub(super) value: f64,
    pub(super) n: u64,
    pub(super) standard_error: Option<f64>,
    pub(super) unit: Option<String>,
    pub(super) higher_is_better: bool,
    pub(super) step: Option<u64>,
    pub(super) evaluation: String,
    pub(super) dataset: Option<String>,
    pub(super) run: Option<String>,
    pub(super) protocol_digest: [u8; 32],
    pub(super) when: When,
}

#[derive(Clone, Debug, Encode, Decode)]
pub(super) struct Superseded {
    pub(super) by: Option<String>,
    pub(super) reason: String,
    pub(super) when: When,
}

#[derive(Clone, Debug, Encode, Decode)]
pub(super) struct Task {
    pub(super) higher_is_better: bool,
    pub(super) unit: Option<String>,
    pub(super) results: u64,
    pub(super) last_position: u64,
}

#[derive(Clone, Debug, Encode, Decode)]
pub(super) struct Failed {
    pub(super) evaluation: String,
    pub(super) suite: String,
    pub(super) task: String,
    pub(super) error: String,
    pub(super) when: When,
}

#[derive(Clone, Debug, Default, Encode, Decode)]
pub(super) struct Counts {
    pub(super) passed: u64,
    pub(super) failed: u64,
    pub(super) unscored: u64,
}

/// Where a judgment is counted, so that it can be taken out again.
#[derive(Clone, Debug, Encode, Decode)]
pub(super) struct Judged {
    pub(super) tally: Vec<u8>,
    pub(super) verdict: u8,
    pub(super) is_superseded: bool,
}

pub(super) struct ResultKey<'a> {
    pub(super) task: &'a str,
    pub(super) metric: &'a str,
    pub(super) subject: &'a str,
    pub(super) suite: &'a str,
    pub(super) slice: &'a str,
    pub(super) position: u64,
    /// Number of the metric in its event: a name may be given twice.
    pub(super) ordinal: u32,
}

impl ResultKey<'_> {
    pub(super) fn done(&self) -> Vec<u8> {
        let key = Key::of(RESULT).text(self.task).text(self.metric).text(self.subject).text(self.suite);
        key.text(self.slice).u64(self.position).u32(self.ordinal).done()
    }
}

pub(super) fn results(task: &str, metric: &str) -> Vec<u8> {
    Key::of(RESULT).text(task).text(metric).done()
}
pub(super) fn by_subject(subject: &str) -> Key {
    Key::of(BY_SUBJECT).text(subject)
}
pub(super) fn by_evaluation(evaluation: &str) -> Key {
    Key::of(BY_EVALUATION).text(evaluation)
}
pub(super) fn superseded(evaluation: &str) -> Vec<u8> {
    Key::of(SUPERSEDED).text(evaluation).done()
}
pub(super) fn tasks() -> Vec<u8> {
    Key::of(TASK).done()
}
pub(super) fn task(suite: &str, task: &str, metric: &str, slice: &str) -> Vec<u8> {
    Key::of(TASK).text(suite).text(task).text(metric).text(slice).done()
}
pub(super) fn missing(subject: &str) -> Key {
    Key::of(MISSING).text(subject)
}
pub(super) fn tallies(subject: &str) -> Key {
    Key::of(TALLY).text(subject)
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

pub(super) fn parse(reference: &str) -> Result<Ref, Error> {
    reference.parse().map_err(|e| Error::row("evals", e))
}

pub(super) fn parse_some(reference: Option<String>) -> Result<Option<Ref>, Error> {
    reference.as_deref().map(parse).transpose()
}

pub(super) fn supersession(row: Superseded) -> Result<Supersession, Error> {
    Ok(Supersession {
        by: parse_some(row.by)?,
        position: row.when.position()?,
        recorded_at: row.when.recorded_at(),
        reason: row.reason,
    })
}

pub(super) fn standing(key: &[u8], row: Measured, superseded: Option<Supersession>) -> Result<Standing, Error> {
    let mut fields = Fields::of("evals.result", key);
    let (task, metric, subject) = (fields.text()?, fields.text()?, parse(&fields.text()?)?);
    Ok(Standing {
        subject,
        step: row.step,
        suite: fields.text()?,
        slice: fields.text()?,
        task,
        metric,
        value: row.value,
        n: row.n,
        standard_error: row.standard_error,
        unit: row.unit,
        higher_is_better: row.higher_is_better,
        evaluation: parse(&row.evaluation)?,
        dataset: parse_some(row.dataset)?,
        run: row.run.map(|run| run.parse()).transpose().map_err(|e| Error::row("evals.result", e))?,
        protocol_digest: Blake3::from_bytes(row.protocol_digest),
        position: row.when.position()?,
        recorded_at: row.when.recorded_at(),
        occurred_at: Timestamp::from_micros(row.when.occurred_micros),
        superseded,
    })
}

pub(super) fn missing_of(key: &[u8], row: Failed) -> Result<Missing, Error> {
    Ok(Missing {
        evaluation: parse(&row.evaluation)?,
        subject: parse(&Fields::of("evals.missing", key).text()?)?,
        position: row.when.position()?,
        recorded_at: row.when.recorded_at(),
        suite: row.suite,
        task: row.task,
        error: row.error,
    })
}

pub(super) fn tally_of(key: &[u8], row: Counts) -> Result<Tally, Error> {
    let mut fields = Fields::of("evals.tally", key);
    Ok(Tally {
        subject: parse(&fields.text()?)?,
        criterion: fields.text()?,
        judge_kind: fields.text()?,
        judge: fields.text()?,
        passed: row.passed,
        failed: row.failed,
        unscored: row.unscored,
    })
}
