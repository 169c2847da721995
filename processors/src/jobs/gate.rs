//! The `gate` job: whether a subject may go on, by thresholds and by paired comparison with a baseline. What is missing,
//! of something else, or measured otherwise never passes, and the gate says so.

mod evidence;
mod paired;

use crate::job::{Blocked, Job, JobContext, Output, Resolved, Scope};
use crate::jobs::evaluate;
use crate::pipeline::{Condition, GateSpec, JobKind, OnBlock, Target};
use crate::{Context, Error};
use cairn_schemas::events::evaluation::Measure;
use cairn_schemas::events::judgment::{GateCheck, GateEvaluated, GateOutcome};
use cairn_schemas::{RawJson, Real, Ref};
use evidence::Evidence;
use serde_json::json;

/// Inputs of a gate: only the subject must exist, for everything else its absence is a finding.
struct Inputs {
    subject: Ref,
    baseline: Option<Ref>,
    evaluations: Vec<Ref>,
    baseline_evaluations: Vec<Ref>,
    /// What could not be found, in words.
    missing: Vec<String>,
}

impl Inputs {
    /// The evaluations that no longer count: one that is superseded later makes the gate be evaluated again.
    fn superseded(&self, ctx: &Context) -> Result<Vec<&Ref>, Error> {
        let mut superseded = Vec::new();
        for evaluation in self.evaluations.iter().chain(&self.baseline_evaluations) {
            if evaluate::find_evaluation(ctx, evaluation)?.superseded.is_some() {
                superseded.push(evaluation);
            }
        }
        Ok(superseded)
    }
}

impl Job for GateSpec {
    fn kind(&self) -> JobKind {
        JobKind::Gate
    }

    fn settings(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("a spec serialises")
    }

    fn resolve(&self, scope: &Scope<'_>) -> Result<Resolved, Error> {
        let found = inputs(self, scope)?;
        let identity = json!({ "missing": found.missing, "superseded": found.superseded(scope.ctx)? });
        let mut inputs = vec![found.subject];
        inputs.extend(found.baseline);
        inputs.extend(found.evaluations);
        inputs.extend(found.baseline_evaluations);
        Ok(Resolved { inputs, identity })
    }

    fn run(&self, job: &JobContext<'_>) -> Result<Output, Error> {
        let inputs = inputs(self, &job.scope)?;
        let evidence = Evidence::read(job.ctx(), &inputs.evaluations)?;
        let baseline_evidence = Evidence::read(job.ctx(), &inputs.baseline_evaluations)?;
        let mut checks: Vec<GateCheck> =
            self.require.iter().map(|condition| required(condition, &inputs, &evidence)).collect();
        for compare in &self.compare {
            checks.push(paired::compared(job.ctx(), compare, &inputs, &evidence, &baseline_evidence)?);
        }
        let outcome = overall(&checks);
        let judgment = Ref::judgment(&job.run().to_string())?;
        let mut evaluations = inputs.evaluations.clone();
        evaluations.extend(inputs.baseline_evaluations.iter().cloned());
        let event = GateEvaluated {
            judgment: judgment.clone(),
            gate: job.info.name.clone(),
            subject: inputs.subject.clone(),
            baseline: inputs.baseline.clone(),
            run: Some(job.run()),
            evaluations,
            outcome,
            checks: checks.clone(),
            config: RawJson::of(self),
        };
        job.record_one("gate", event)?;
        let summary = json!({
            "outcome": outcome,
            "judgment": judgment,
            "subject": inputs.subject,
            "baseline": inputs.baseline,
            "checks": checks,
            "missing": inputs.missing,
        });
        let mut output = Output::new(vec![judgment], summary);
        if outcome != GateOutcome::Pass {
            output.blocked = Some(Blocked { reason: reason(&checks), stops: self.on_block == OnBlock::Stop });
        }
        Ok(output)
    }
}

fn inputs(spec: &GateSpec, scope: &Scope<'_>) -> Result<Inputs, Error> {
    let mut missing = Vec::new();
    let subject = evaluate::subject(scope, &spec.subject)?;
    let baseline = match spec.baseline.as_ref().map(|target| evaluate::subject(scope, target)) {
        Some(Err(error)) => {
            missing.push(format!("baseline: {error}"));
            None
        }
        Some(Ok(found)) => Some(found),
        None => None,
    };
    let mut all = |targets: &[Target]| {
        let mut found = Vec::new();
        for target in targets {
            match scope.refs(target, "evaluation") {
                Ok(refs) => found.extend(refs),
                Err(error) => missing.push(format!("evaluation {error}")),
            }
        }
        found
    };
    let evaluations = all(&spec.evaluations);
    let baseline_evaluations = all(&spec.baseline_evaluations);
    Ok(Inputs { subject, baseline, evaluations, baseline_evaluations, missing })
}

/// One condition on the subject's own figures.
fn required(condition: &Condition, inputs: &Inputs, evidence: &Evidence) -> GateCheck {
    let text = condition.to_string();
    let measure = match evidence.measure(&condition.metric, &inputs.subject) {
        Ok((_, measure)) => measure,
        Err(why) => return insufficient(text, Some(condition.threshold), with_missing(why, &inputs.missing)),
    };
    let holds = condition.comparison.holds(measure.value.0, condition.threshold);
    GateCheck {
        condition: text,
        outcome: if holds { GateOutcome::Pass } else { GateOutcome::Block },
        observed: Some(measure.value),
        threshold: Some(Real(condition.threshold)),
        n: Some(measure.n),
        standard_error: measure.standard_error,
        detail: observed(measure),
    }
}

fn observed(measure: &Measure) -> String {
    let error = measure.standard_error.map_or(String::new(), |error| format!(" ± {:.4}", error.0));
    format!("observed {:.4}{error} over n = {}", measure.value.0, measure.n)
}

/// A check that could not be made, and why.
fn insufficient(condition: String, threshold: Option<f64>, why: String) -> GateCheck {
    GateCheck {
        condition,
        outcome: GateOutcome::InsufficientEvidence,
        observed: None,
        threshold: threshold.map(Real),
        n: None,
        standard_error: None,
        detail: why,
    }
}

fn with_missing(why: String, missing: &[String]) -> String {
    match missing.is_empty() {
        true => why,
        false => format!("{why} ({})", missing.join("; ")),
    }
}

/// One block blocks; without one, missing evidence does not pass either; nothing checked is no evidence.
fn overall(checks: &[GateCheck]) -> GateOutcome {
    let any = |outcome: GateOutcome| checks.iter().any(|check| check.outcome == outcome);
    match () {
        () if any(GateOutcome::Block) => GateOutcome::Block,
        () if checks.is_empty() || any(GateOutcome::InsufficientEvidence) => GateOutcome::InsufficientEvidence,
        () => GateOutcome::Pass,
    }
}

fn reason(checks: &[GateCheck]) -> String {
    let failed = checks.iter().filter(|check| check.outcome != GateOutcome::Pass);
    let said: Vec<String> = failed.map(|check| format!("{}: {}", check.condition, check.detail)).collect();
    match said.is_empty() {
        true => "no condition was checked".to_owned(),
        false => said.join("; "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(outcome: GateOutcome) -> GateCheck {
        GateCheck { outcome, ..insufficient("c".into(), None, "why".into()) }
    }

    #[test]
    fn only_all_passing_passes() {
        use GateOutcome::{Block, InsufficientEvidence, Pass};
        assert_eq!(overall(&[]), InsufficientEvidence);
        assert_eq!(overall(&[check(Pass), check(Pass)]), Pass);
        assert_eq!(overall(&[check(Pass), check(InsufficientEvidence)]), InsufficientEvidence);
        assert_eq!(overall(&[check(InsufficientEvidence), check(Block)]), Block);
    }
}
