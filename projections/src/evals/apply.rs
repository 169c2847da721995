//! Events to results, tallies and gates.

use super::rows::{self, Counts, Failed, Judged, Measured, ResultKey, Superseded, Task, When};
use crate::Error;
use crate::projection::Rows;
use cairn_schemas::events::evaluation::{EvaluationCompleted, EvaluationFailed, EvaluationSuperseded, SampleScored};
use cairn_schemas::events::judgment::{GateEvaluated, JudgeKind, JudgmentRecorded, Verdict};
use cairn_schemas::{Event, RawJson, Recorded, Ref};

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
        Event::SampleScored(e) => {
            scored(e, when, rows);
            Ok(())
        }
        Event::JudgmentRecorded(e) => judged(e, rows),
        Event::GateEvaluated(e) => {
            gate(e, when, rows);
            Ok(())
        }
        _ => Ok(()),
    }
}

fn completed(e: &EvaluationCompleted, when: When, rows: &mut Rows<'_>) -> Result<(), Error> {
    let (subject, evaluation) = (e.subject.to_string(), e.evaluation.to_string());
    for (ordinal, measure) in (0..).zip(&e.metrics) {
        let key = ResultKey {
            task: &e.task,
            metric: &measure.name,
            subject: &subject,
            suite: &e.suite,
            slice: &e.slice,
            position: when.position,
            ordinal,
        };
        let key = key.done();
        let result = Measured {
            value: measure.value.0,
            n: measure.n,
            standard_error: measure.standard_error.map(|error| error.0),
            unit: measure.unit.clone(),
            higher_is_better: measure.higher_is_better,
            step: e.step,
            evaluation: evaluation.clone(),
            dataset: e.dataset.as_ref().map(Ref::to_string),
            run: e.run.map(|run| run.to_string()),
            protocol_digest: *e.protocol_digest.as_bytes(),
            when,
        };
        rows.put(rows::by_subject(&subject).u64(when.position).u32(ordinal).done(), key.clone());
        rows.put(rows::by_evaluation(&evaluation).u64(when.position).u32(ordinal).done(), key.clone());
        rows.write(key, &result);

        let key = rows::task(&e.suite, &e.task, &measure.name, &e.slice);
        let known: Option<Task> = rows.read("evals.task", &key)?;
        let task = Task {
            higher_is_better: measure.higher_is_better,
            unit: measure.unit.clone(),
            results: known.map_or(0, |task| task.results) + 1,
            last_position: when.position,
        };
        rows.write(key, &task);
    }
    Ok(())
}

/// The first supersession stands: an answer about the past must not change by a later one.
fn superseded(e: &EvaluationSuperseded, when: When, rows: &mut Rows<'_>) -> Result<(), Error> {
    let key = rows::superseded(&e.evaluation.to_string());
    if !rows.contains(&key)? {
        let by = e.superseded_by.as_ref().map(Ref::to_string);
        rows.write(key, &Superseded { by, reason: e.reason.clone(), when });
    }
    Ok(())
}

fn failed(e: &EvaluationFailed, when: When, rows: &mut Rows<'_>) {
    let row = Failed {
        evaluation: e.evaluation.to_string(),
        suite: e.suite.clone(),
        task: e.task.clone(),
        error: e.error.clone(),
        when,
    };
    rows.write(rows::missing(&e.subject.to_string()).u64(when.position).done(), &row);
}

/// A sample scored again holds its latest scores.
fn scored(e: &SampleScored, when: When, rows: &mut Rows<'_>) {
    for metric in &e.metrics {
        let key = rows::samples(&e.evaluation.to_string()).text(&e.sample).text(&metric.name).done();
        rows.write(key, &(metric.value.0, when.position));
    }
}

fn judged(e: &JudgmentRecorded, rows: &mut Rows<'_>) -> Result<(), Error> {
    for earlier in [Some(&e.judgment), e.supersedes.as_ref()].into_iter().flatten() {
        take_out(&earlier.to_string(), rows)?;
    }
    let kind = match e.judge.kind {
        JudgeKind::Human => "human",
        JudgeKind::Rule => "rule",
        JudgeKind::Llm => "llm",
    };
    let judge = format!("{}@{}", e.judge.name, e.judge.version);
    let tally = rows::tallies(&e.subject.to_string()).text(&e.criterion).text(kind).text(&judge).done();
    let verdict = match e.verdict {
        Verdict::Pass => 0,
        Verdict::Fail => 1,
        Verdict::Unscored => 2,
    };
    let mut counts: Counts = rows.read("evals.tally", &tally)?.unwrap_or_default();
    *count_of(&mut counts, verdict) += 1;
    rows.write(tally.clone(), &counts);
    rows.write(rows::judged(&e.judgment.to_string()), &Judged { tally, verdict, is_superseded: false });
    Ok(())
}

/// A superseded judgment is no longer counted; nor is an earlier one under the same id.
fn take_out(judgment: &str, rows: &mut Rows<'_>) -> Result<(), Error> {
    let key = rows::judged(judgment);
    let Some(mut judged) = rows.read::<Judged>("evals.judged", &key)? else { return Ok(()) };
    if judged.is_superseded {
        return Ok(());
    }
    let mut counts: Counts = rows.read("evals.tally", &judged.tally)?.unwrap_or_default();
    let count = count_of(&mut counts, judged.verdict);
    *count = count.saturating_sub(1);
    rows.write(judged.tally.clone(), &counts);
    judged.is_superseded = true;
    rows.write(key, &judged);
    Ok(())
}

fn count_of(counts: &mut Counts, verdict: u8) -> &mut u64 {
    match verdict {
        0 => &mut counts.passed,
        1 => &mut counts.failed,
        _ => &mut counts.unscored,
    }
}

/// The event itself is the row, without its configuration: it holds everything a reader asks for.
fn gate(e: &GateEvaluated, when: When, rows: &mut Rows<'_>) {
    let key = rows::gates(&e.subject.to_string()).u64(when.position).done();
    let kept = GateEvaluated { config: RawJson::default(), ..e.clone() };
    rows.write(key, &(kept, when));
}
