//! The `evaluate` job: a model on a split, by tasks; each metric with n and standard error, every sample kept.

mod generation;
mod perplexity;
mod sample;

pub use sample::{Sample, read as read_samples};

use crate::dataset_reader::{DatasetVersion, Row};
use crate::job::{Job, JobContext, Output, Resolved, Scope, canonical_json};
use crate::metrics::Estimate;
use crate::model::{LoadedModel, Model};
use crate::pipeline::{EvaluateSpec, JobKind, Target, TaskKind, TaskSpec};
use crate::{Context, Error, cpu, history, provenance};
use cairn_schemas::events::dataset::Split;
use cairn_schemas::events::evaluation::{EvaluationCompleted, EvaluationFailed, Measure};
use cairn_schemas::{Blake3, Event, RawJson, Real, Ref, RunId};
use serde_json::json;

/// Unit of `cost_per_1k_tokens`.
pub(crate) const COST_UNIT: &str = "cpu_second";

/// What a task came to.
pub(crate) struct Measured {
    pub(crate) metrics: Vec<Measure>,
    /// What, beside data and task, makes two results comparable.
    protocol: serde_json::Value,
    /// What became of the rows.
    counts: serde_json::Value,
    pub(crate) samples: Vec<Sample>,
    work: Option<Work>,
}

/// What answering, or scoring where nothing is answered, took. Measured, so never part of samples or protocol.
struct Work {
    tokens: u64,
    cpu_seconds: f64,
    latency_ms: Option<f64>,
    latencies: u64,
}

impl Job for EvaluateSpec {
    fn kind(&self) -> JobKind {
        JobKind::Evaluate
    }

    fn settings(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("a spec serialises")
    }

    fn resolve(&self, scope: &Scope<'_>) -> Result<Resolved, Error> {
        let model = Model::find(scope.ctx, &subject(scope, &self.subject)?)?;
        let dataset = scope.dataset(&self.dataset)?;
        DatasetVersion::find(scope.ctx, &dataset)?.split(&self.split)?;
        let mut inputs = vec![model.reference, model.weights, dataset];
        inputs.extend(model.run.map(Ref::Run));
        inputs.dedup();
        Ok(Resolved { inputs, identity: json!({ "seed": scope.seed }) })
    }

    fn run(&self, job: &JobContext<'_>) -> Result<Output, Error> {
        // All tasks are recorded at once: an earlier attempt recorded all of them or none.
        let recorded = evaluations_of_run(job.ctx(), &job.run())?;
        if !recorded.is_empty() {
            return Ok(output(self, &recorded));
        }
        let exam = Exam::open(self, job)?;
        let mut events: Vec<(String, Event)> = Vec::new();
        let mut completed = Vec::new();
        for task in &self.tasks {
            let cpu_before = cpu::seconds();
            let evaluation = Ref::eval(&format!("{}/{}", job.run(), task.name))?;
            let measured = match exam.measure(job, task, true) {
                Err(error) if !matches!(error, Error::Cancelled) => {
                    let event = exam.failed(self, task, &evaluation, &error);
                    job.record_one(&format!("task_failed/{}", task.name), event)?;
                    return Err(error);
                }
                other => other?,
            };
            let samples = Ref::Artifact(job.put_artifact(&sample::to_lines(&measured.samples))?.blake3);
            let event = exam.completed(self, job, task, &evaluation, &samples, &measured);
            completed.push(event.clone());
            events.push((format!("task/{}", task.name), event.into()));
            let cost = cpu::cost(evaluation, "evaluation", cpu::seconds() - cpu_before);
            events.push((format!("cost/{}", task.name), cost.into()));
        }
        job.record(events)?;
        let mut output = output(self, &completed);
        output.summary["environment"] = provenance::environment(job.ctx().runtime()?).to_value();
        Ok(output)
    }
}

fn output(spec: &EvaluateSpec, completed: &[EvaluationCompleted]) -> Output {
    let outputs =
        completed.iter().flat_map(|event| std::iter::once(event.evaluation.clone()).chain(event.samples.clone()));
    let tasks: serde_json::Map<String, serde_json::Value> =
        completed.iter().map(|event| (event.task.clone(), summary(event))).collect();
    let (subject, dataset) =
        (completed.first().map(|event| &event.subject), completed.first().map(|event| &event.dataset));
    let mut whole = json!({ "subject": subject, "dataset": dataset, "suite": spec.suite, "tasks": tasks });
    let too_long: u64 = completed.iter().filter_map(prompts_too_long).sum();
    if too_long > 0 {
        whole["prompts_too_long"] = too_long.into();
    }
    Output::new(outputs.collect(), whole)
}

fn prompts_too_long(event: &EvaluationCompleted) -> Option<u64> {
    event.protocol.to_value().pointer("/rows/prompts_too_long")?.as_u64()
}

fn summary(event: &EvaluationCompleted) -> serde_json::Value {
    let metric = |measure: &Measure| {
        let value = json!({ "value": measure.value, "n": measure.n, "standard_error": measure.standard_error });
        (measure.name.clone(), value)
    };
    let metrics: serde_json::Map<String, serde_json::Value> = event.metrics.iter().map(metric).collect();
    json!({
        "evaluation": event.evaluation,
        "protocol": event.protocol_digest,
        "samples": event.samples,
        "metrics": metrics,
        "rows": event.protocol.to_value().get("rows"),
    })
}

/// An evaluation as the ledger has it.
#[derive(Clone, Debug, Default)]
pub(crate) struct FoundEvaluation {
    pub(crate) completed: Option<EvaluationCompleted>,
    /// By what, where it is no longer to be relied on.
    pub(crate) superseded: Option<String>,
}

/// Reads what was recorded of an evaluation.
pub(crate) fn find_evaluation(ctx: &Context, reference: &Ref) -> Result<FoundEvaluation, Error> {
    ctx.projections().catch_up()?;
    let Some(entity) = ctx.projections().catalog().get(&reference.to_string())? else {
        return Ok(FoundEvaluation::default());
    };
    let completed = history::first(ctx, entity.created_position, &mut |recorded| match &recorded.event {
        Event::EvaluationCompleted(event) if event.evaluation == *reference => Some(event.clone()),
        _ => None,
    })?;
    let superseded = (entity.state == "superseded").then(|| {
        let by = entity.attributes.get("superseded_by").and_then(|by| by.as_str());
        by.map_or("by none".to_owned(), |by| format!("by {by}"))
    });
    Ok(FoundEvaluation { completed, superseded })
}

/// The evaluations that a run recorded, in order.
pub(crate) fn evaluations_of_run(ctx: &Context, run: &RunId) -> Result<Vec<EvaluationCompleted>, Error> {
    let mut found = Vec::new();
    history::all(ctx, history::first_heard(ctx, &Ref::Run(*run))?, &mut |recorded| match &recorded.event {
        Event::EvaluationCompleted(event) if event.run == Some(*run) => found.push(event.clone()),
        _ => {}
    })?;
    Ok(found)
}

/// The model that a target names: the one a train job registered, else its run's weights.
pub(crate) fn subject(scope: &Scope<'_>, target: &Target) -> Result<Ref, Error> {
    match target {
        Target::Job(name) => {
            let result = scope.job(name)?;
            Ok(result.outputs_of("model").next().cloned().unwrap_or(Ref::Run(result.run)))
        }
        Target::Ref(reference) => {
            scope.must_exist(reference)?;
            Ok(reference.clone())
        }
    }
}

/// A model and the rows it is examined on.
pub(crate) struct Exam {
    split: Split,
    subject: Model,
    model: LoadedModel,
    dataset: DatasetVersion,
    rows: Vec<Row>,
}

impl Exam {
    pub(crate) fn open(spec: &EvaluateSpec, job: &JobContext<'_>) -> Result<Self, Error> {
        let subject = Model::find(job.ctx(), &subject(&job.scope, &spec.subject)?)?;
        let dataset = DatasetVersion::find(job.ctx(), &job.scope.dataset(&spec.dataset)?)?;
        let split = dataset.split(&spec.split)?.clone();
        let rows = dataset.rows(job.ctx(), &split.name, spec.limit.map(|limit| limit as usize))?;
        let model = subject.load(job.ctx())?;
        Ok(Self { split, subject, model, dataset, rows })
    }

    /// `timed` also measures latency and CPU time; a replay has no use for them.
    pub(crate) fn measure(&self, job: &JobContext<'_>, task: &TaskSpec, timed: bool) -> Result<Measured, Error> {
        match task.kind {
            TaskKind::Perplexity => perplexity::run(job, &self.rows, &self.subject, &self.model, timed),
            TaskKind::Generate => generation::run(job, &self.rows, &self.subject, &self.model, task, timed),
        }
    }

    /// Everything that makes two results comparable; never the model, nor what was measured of time.
    fn protocol(&self, spec: &EvaluateSpec, task: &TaskSpec, measured: &Measured) -> serde_json::Value {
        let samples: Vec<&str> = measured.samples.iter().map(|sample| sample.sample.as_str()).collect();
        json!({
            "suite": spec.suite,
            "task": task.name,
            "kind": task.kind,
            "dataset": self.dataset.reference,
            "split": self.split.name,
            "split_digest": self.split.digest,
            "limit": spec.limit,
            "samples": Blake3::of(samples.join("\n").as_bytes()),
            "how": measured.protocol,
        })
    }

    fn completed(
        &self,
        spec: &EvaluateSpec,
        job: &JobContext<'_>,
        task: &TaskSpec,
        evaluation: &Ref,
        samples: &Ref,
        measured: &Measured,
    ) -> EvaluationCompleted {
        let mut protocol = self.protocol(spec, task, measured);
        let protocol_digest = Blake3::of(canonical_json(&protocol).as_bytes());
        // Kept with the protocol, but what became of the rows depends on the model: not part of the digest.
        protocol["rows"] = measured.counts.clone();
        let mut metrics = measured.metrics.clone();
        metrics.extend(measured.work.iter().flat_map(work_measures));
        EvaluationCompleted {
            evaluation: evaluation.clone(),
            subject: self.subject.reference.clone(),
            run: Some(job.run()),
            suite: spec.suite.clone(),
            task: task.name.clone(),
            dataset: Some(self.dataset.reference.clone()),
            slice: "all".to_owned(),
            metrics,
            protocol_digest,
            protocol: RawJson::of(&protocol),
            samples: Some(samples.clone()),
            step: None,
        }
    }

    fn failed(&self, spec: &EvaluateSpec, task: &TaskSpec, evaluation: &Ref, error: &Error) -> EvaluationFailed {
        EvaluationFailed {
            evaluation: evaluation.clone(),
            subject: self.subject.reference.clone(),
            suite: spec.suite.clone(),
            task: task.name.clone(),
            error: error.chain(),
        }
    }
}

fn work_measures(work: &Work) -> Vec<Measure> {
    let mut measures = Vec::new();
    let plain = |name: &str, value: f64, n: u64, unit: &str| {
        measure(name, Estimate { value, standard_error: None, n }, false, Some(unit))
    };
    if let Some(latency) = work.latency_ms {
        measures.push(plain("latency_ms", latency, work.latencies, "ms"));
    }
    if work.tokens > 0 {
        let per_thousand = work.cpu_seconds / work.tokens as f64 * 1e3;
        measures.push(plain("cost_per_1k_tokens", per_thousand, work.tokens, COST_UNIT));
    }
    measures
}

fn measure(name: &str, estimate: Estimate, higher_is_better: bool, unit: Option<&str>) -> Measure {
    Measure {
        name: name.to_owned(),
        value: Real(estimate.value),
        n: estimate.n,
        standard_error: estimate.standard_error.map(Real),
        higher_is_better,
        unit: unit.map(str::to_owned),
    }
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }
}
