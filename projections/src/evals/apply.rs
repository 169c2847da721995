//! Events to results, tallies and gates.

use super::rows::{self, Corrected, Evaluated, Failed, Given, Known, Measured, Scores, Superseded, When};
use crate::Error;
use crate::projection::Rows;
use cairn_schemas::events::evaluation::{
    EvaluationCompleted, EvaluationFailed, EvaluationSuperseded, Measure, SampleScored,
};
use cairn_schemas::events::judgment::{GateEvaluated, JudgeKind, JudgmentRecorded, Verdict};
use cairn_schemas::events::training::CheckpointSaved;
use cairn_schemas::{Event, RawJson, Recorded, Ref};

/// What points to a result, and to a failure.
pub(super) const IS_RESULT: u8 = 0;
pub(super) const IS_FAILURE: u8 = 1;
/// Verdicts in their rows.
pub(super) const PASSED: u8 = 0;
pub(super) const FAILED: u8 = 1;
const UNSCORED: u8 = 2;

pub(super) fn apply(recorded: &Recorded, rows: &mut Rows<'_>) -> Result<(), Error> {
    let when = When {
        position: recorded.position.get(),
        recorded_micros: recorded.recorded_at.as_micros(),
        occurred_micros: recorded.occurred_at.as_micros(),
    };
    match &recorded.event {
        Event::EvaluationCompleted(e) => completed(e, when, rows),
        Event::EvaluationSuperseded(e) => superseded(e, when, rows),
        Event::EvaluationFailed(e) => {
            failed(e, when, rows);
            Ok(())
        }
        Event::SampleScored(e) => scored(e, when, rows),
        Event::CheckpointSaved(e) => checkpoint(e, when, rows),
        Event::JudgmentRecorded(e) => judged(e, when, rows),
        Event::GateEvaluated(e) => {
            gate(e, when, rows);
            Ok(())
        }
        _ => Ok(()),
    }
}

fn completed(e: &EvaluationCompleted, when: When, rows: &mut Rows<'_>) -> Result<(), Error> {
    let (subject, evaluation) = (e.subject.to_string(), e.evaluation.to_string());
    let measured = |measure: &Measure| Measured {
        metric: measure.name.clone(),
        value: measure.value.0,
        n: measure.n,
        standard_error: measure.standard_error.map(|error| error.0),
        unit: measure.unit.clone(),
        higher_is_better: measure.higher_is_better,
    };
    rows.put(rows::by_subject(&subject).u64(when.position).done(), vec![IS_RESULT]);
    let known: &mut Known = rows.edit("evals.evaluation", &rows::evaluation(&evaluation))?;
    known.results.push(when.position);
    if !known.superseded.is_empty() {
        let corrected = corrected(known);
        rows.write(rows::corrected(&evaluation), &corrected);
    }
    let row = Evaluated {
        evaluation,
        subject,
        suite: e.suite.clone(),
        task: e.task.clone(),
        slice: e.slice.clone(),
        step: e.step,
        dataset: e.dataset.as_ref().map(Ref::to_string),
        run: e.run.map(|run| run.to_string()),
        protocol_digest: *e.protocol_digest.as_bytes(),
        when,
        measures: e.metrics.iter().map(measured).collect(),
    };
    rows.write(rows::result(when.position), &row);
    Ok(())
}

fn superseded(e: &EvaluationSuperseded, when: When, rows: &mut Rows<'_>) -> Result<(), Error> {
    let evaluation = e.evaluation.to_string();
    let known: &mut Known = rows.edit("evals.evaluation", &rows::evaluation(&evaluation))?;
    let by = e.superseded_by.as_ref().map(Ref::to_string);
    known.superseded.push(Superseded { by, reason: e.reason.clone(), when });
    let corrected = corrected(known);
    rows.write(rows::corrected(&evaluation), &corrected);
    Ok(())
}

fn corrected(known: &Known) -> Corrected {
    let supersessions = known.superseded.iter().map(|s| (s.when.position, s.when.occurred_micros)).collect();
    Corrected { results: known.results.clone(), supersessions }
}

fn failed(e: &EvaluationFailed, when: When, rows: &mut Rows<'_>) {
    let row = Failed {
        evaluation: e.evaluation.to_string(),
        subject: e.subject.to_string(),
        suite: e.suite.clone(),
        task: e.task.clone(),
        error: e.error.clone(),
        when,
    };
    rows.put(rows::by_subject(&row.subject).u64(when.position).done(), vec![IS_FAILURE]);
    rows.write(rows::failed(when.position), &row);
}

fn scored(e: &SampleScored, when: When, rows: &mut Rows<'_>) -> Result<(), Error> {
    let key = rows::samples(&e.evaluation.to_string()).text(&e.sample).done();
    let scores: &mut Scores = rows.edit("evals.sample", &key)?;
    scores.0.extend(e.metrics.iter().map(|metric| (metric.name.to_string(), metric.value.0, when.position)));
    Ok(())
}

/// A checkpoint saved again, by a later attempt, stood there before.
fn checkpoint(e: &CheckpointSaved, when: When, rows: &mut Rows<'_>) -> Result<(), Error> {
    let key = rows::checkpoint(&Ref::Run(e.run).to_string(), e.step);
    if !rows.contains(&key)? {
        rows.write(key, &(when.position, when.occurred_micros));
    }
    Ok(())
}

fn judged(e: &JudgmentRecorded, when: When, rows: &mut Rows<'_>) -> Result<(), Error> {
    for earlier in [Some(&e.judgment), e.supersedes.as_ref()].into_iter().flatten() {
        take_out(&earlier.to_string(), when, rows)?;
    }
    let kind = match e.judge.kind {
        JudgeKind::Human => "human",
        JudgeKind::Rule => "rule",
        JudgeKind::Llm => "llm",
    };
    let judge = format!("{}@{}", e.judge.name, e.judge.version);
    let of_judge = rows::verdicts(&e.subject.to_string()).text(&e.criterion).text(kind).text(&judge);
    let key = of_judge.u64(when.position).done();
    let verdict = match e.verdict {
        Verdict::Pass => PASSED,
        Verdict::Fail => FAILED,
        Verdict::Unscored => UNSCORED,
    };
    rows.write(key.clone(), &Given { verdict, taken_out: None });
    rows.write(rows::judged(&e.judgment.to_string()), &key);
    Ok(())
}

/// A superseded judgment is no longer counted; nor is an earlier one under the same id.
fn take_out(judgment: &str, when: When, rows: &mut Rows<'_>) -> Result<(), Error> {
    let Some(key) = rows.read::<Vec<u8>>("evals.judged", &rows::judged(judgment))? else { return Ok(()) };
    let given: &mut Given = rows.edit("evals.verdict", &key)?;
    given.taken_out.get_or_insert(when.position);
    Ok(())
}

/// The event itself is the row, without its configuration: it holds everything a reader asks for.
fn gate(e: &GateEvaluated, when: When, rows: &mut Rows<'_>) {
    let key = rows::gates(&e.subject.to_string()).u64(when.position).done();
    let kept = GateEvaluated { config: RawJson::default(), ..e.clone() };
    rows.write(key, &(kept, when));
}
