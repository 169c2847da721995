//! The `judge` job: rule-based judges over the samples of an evaluation; one judgment a sample and rule.

use crate::job::{Job, JobContext, Output, Resolved, Scope};
use crate::jobs::evaluate::{Sample, find_evaluation, read_samples};
use crate::pipeline::{JobKind, JudgeSpec};
use crate::validators::{self, Validator};
use crate::{Context, Error};
use cairn_schemas::events::evaluation::EvaluationCompleted;
use cairn_schemas::events::judgment::{Judge, JudgeKind, JudgmentRecorded, Verdict};
use cairn_schemas::{Event, Real, Ref};
use serde_json::json;

/// Judgments between two looks at a request to stop.
const CHUNK: usize = 500;

/// How often a judge passed, failed, and could not say.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Tally {
    pass: u64,
    fail: u64,
    unscored: u64,
}

impl Tally {
    fn add(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Pass => self.pass += 1,
            Verdict::Fail => self.fail += 1,
            Verdict::Unscored => self.unscored += 1,
        }
    }

    /// Of those that were scored; none where none was.
    fn pass_rate(self) -> Option<f64> {
        let scored = self.pass + self.fail;
        (scored > 0).then(|| self.pass as f64 / scored as f64)
    }

    /// Of a proportion, by the sample variance; none of fewer than two.
    fn standard_error(self) -> Option<f64> {
        let n = (self.pass + self.fail) as f64;
        let rate = self.pass_rate()?;
        (n > 1.0).then(|| (rate * (1.0 - rate) / (n - 1.0)).sqrt())
    }
}

impl Job for JudgeSpec {
    fn kind(&self) -> JobKind {
        JobKind::Judge
    }

    fn settings(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("a spec serialises")
    }

    fn resolve(&self, scope: &Scope<'_>) -> Result<Resolved, Error> {
        judges(self)?;
        let evaluation = evaluation(self, scope)?;
        let mut inputs = vec![evaluation.evaluation];
        inputs.extend(evaluation.samples);
        Ok(Resolved { inputs, identity: json!(null) })
    }

    fn run(&self, job: &JobContext<'_>) -> Result<Output, Error> {
        let judges = judges(self)?;
        let evaluation = evaluation(self, &job.scope)?;
        let samples = samples(job.ctx(), &evaluation)?;
        let mut tallies = vec![Tally::default(); judges.len()];
        let total = (samples.len() * judges.len()) as u64;
        let mut events: Vec<(String, Event)> = Vec::new();
        let mut done = 0;
        for (number, sample) in samples.iter().enumerate() {
            for (judge, tally) in judges.iter().zip(&mut tallies) {
                let event = judged(job, &evaluation, judge, number + 1, sample)?;
                tally.add(event.verdict);
                events.push((format!("{}/{}", judge.name(), number + 1), event.into()));
            }
            if events.len() >= CHUNK || number + 1 == samples.len() {
                job.check_cancelled()?;
                done += events.len() as u64;
                job.record_once(std::mem::take(&mut events))?;
                job.progress(done, total, "judged");
            }
        }
        let by_judge: serde_json::Map<String, serde_json::Value> = judges
            .iter()
            .zip(&tallies)
            .map(|(judge, tally)| (judge.name().to_owned(), summary(judge, tally)))
            .collect();
        let summary = json!({
            "subject": evaluation.subject,
            "evaluation": evaluation.evaluation,
            "task": evaluation.task,
            "samples": samples.len(),
            "judges": by_judge,
        });
        Ok(Output::new(Vec::new(), summary))
    }
}

fn judges(spec: &JudgeSpec) -> Result<Vec<Validator>, Error> {
    let mut judges: Vec<Validator> = Vec::new();
    for validator in &spec.validators {
        let refused = |e: validators::Error| Error::refused("`validators`", e.to_string());
        let validator = Validator::new(validator.clone()).map_err(refused)?;
        // Judgments are numbered under the judge's name.
        if judges.iter().any(|other| other.name() == validator.name()) {
            return Err(Error::refused(
                format!("two validators are named `{}`", validator.name()),
                "give each its own name",
            ));
        }
        judges.push(validator);
    }
    Ok(judges)
}

/// The evaluation of the task that is to be judged.
fn evaluation(spec: &JudgeSpec, scope: &Scope<'_>) -> Result<EvaluationCompleted, Error> {
    let mut tasks = Vec::new();
    for reference in scope.refs(&spec.evaluation, "evaluation")? {
        let found = find_evaluation(scope.ctx, &reference)?;
        if let Some(why) = found.superseded {
            return Err(Error::refused(format!("`{reference}`"), format!("was superseded {why}")));
        }
        match found.completed {
            Some(completed) if completed.task == spec.task => return Ok(completed),
            Some(completed) => tasks.push(completed.task),
            None => {}
        }
    }
    let there =
        if tasks.is_empty() { "none is completed".to_owned() } else { format!("its tasks are {}", tasks.join(", ")) };
    Err(Error::refused(format!("task `{}` of `{}`", spec.task, spec.evaluation), format!("was not evaluated; {there}")))
}

fn samples(ctx: &Context, evaluation: &EvaluationCompleted) -> Result<Vec<Sample>, Error> {
    let refused = |why: &str| Error::refused(format!("`{}`", evaluation.evaluation), why);
    let artifact = evaluation.samples.as_ref().ok_or_else(|| refused("kept no samples to judge"))?;
    let samples = read_samples(ctx, artifact)?;
    if !samples.iter().any(|sample| sample.answer.is_some()) {
        return Err(refused("holds no answers; judge a task of kind generate"));
    }
    Ok(samples)
}

fn judged(
    job: &JobContext<'_>,
    evaluation: &EvaluationCompleted,
    judge: &Validator,
    number: usize,
    sample: &Sample,
) -> Result<JudgmentRecorded, Error> {
    let found = match &sample.answer {
        Some(answer) => judge.judge(validators::Sample { answer, expected: sample.reference.as_deref() }),
        None => validators::Verdict::Unscored { reason: "the sample has no answer".to_owned() },
    };
    let (verdict, score, reason) = match found {
        validators::Verdict::Pass => (Verdict::Pass, Some(1.0), None),
        validators::Verdict::Fail { reason } => (Verdict::Fail, Some(0.0), Some(reason)),
        validators::Verdict::Unscored { reason } => (Verdict::Unscored, None, Some(reason)),
    };
    Ok(JudgmentRecorded {
        judgment: Ref::judgment(&format!("{}/{}/{number}", job.run(), judge.name()))?,
        subject: evaluation.subject.clone(),
        evaluation: Some(evaluation.evaluation.clone()),
        sample: Some(sample.sample.clone()),
        criterion: judge.name().to_owned(),
        judge: Judge {
            kind: JudgeKind::Rule,
            name: judge.name().to_owned(),
            version: judge.version().to_string(),
            digest: Some(judge.digest()),
        },
        verdict,
        score: score.map(Real),
        reason,
        supersedes: None,
    })
}

fn summary(judge: &Validator, tally: &Tally) -> serde_json::Value {
    json!({
        "version": judge.version(),
        "digest": judge.digest(),
        "pass": tally.pass,
        "fail": tally.fail,
        "unscored": tally.unscored,
        "pass_rate": tally.pass_rate(),
        "standard_error": tally.standard_error(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unscored_count_neither_for_nor_against() {
        let mut tally = Tally::default();
        assert_eq!(tally.pass_rate(), None);
        for verdict in [Verdict::Pass, Verdict::Pass, Verdict::Fail, Verdict::Pass, Verdict::Unscored] {
            tally.add(verdict);
        }
        assert_eq!(tally.pass_rate(), Some(0.75));
        assert_eq!(tally.standard_error(), Some(0.25));
    }
}
