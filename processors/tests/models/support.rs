//! A tiny pipeline over generated sums, and what the tests ask of the ledger.

use cairn_processors::{
    Cancel, Context, JobInfo, JobOutcome, Observer, Pipeline, PipelineReport, RunOptions, run_pipeline,
};
use cairn_schemas::{Event, Position, Recorded, RunId};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Ingestion, dataset and tokenizer, and a base model of 20 steps with a checkpoint every 5.
pub(crate) const BASE: &str = r#"
project: tiny
seed: 3
jobs:
  - name: sums
    ingest:
      paths: [sums.jsonl]
      author: test
      access_policy: public
      language: en
      text: "{{ question }} {{ answer }}"
      dedup: off
      quality: { min_chars: 1, max_chars: 1000 }
  - name: corpus
    dataset:
      version: 1.0.0
      description: sums
      rows:
        - from: sums
          instruction: "{{ question }}"
          output: "{{ answer }}"
          text: "{{ question }} {{ answer }}"
          split: { train: 0.7, validation: 0.1, test: 0.2 }
  - name: vocabulary
    tokenizer: { dataset: corpus, split: train, vocabulary: 300 }
  - name: base
    train:
      method: pretrain
      base_model: "scratch:layers=2,width=32,heads=2,feed_forward=64,context=48"
      dataset: corpus
      tokenizer: vocabulary
      steps: 20
      batch_size: 4
      micro_batches: 2
      sequence_length: 48
      learning_rate: 1.0e-2
      schedule: { kind: cosine, warmup_steps: 3, final_fraction: 0.1 }
      checkpoint_every: 5
      register: base
"#;

/// Fine-tuning and an exam of both models, to stand after `BASE`.
pub(crate) const TUNED: &str = r#"
  - name: tuned
    train:
      method: sft
      base_model: base
      dataset: corpus
      steps: 30
      batch_size: 8
      sequence_length: 48
      learning_rate: 1.0e-2
      register: tuned
  - name: base-exam
    evaluate:
      subject: base
      suite: sums
      dataset: corpus
      split: test
      limit: 12
      tasks: &tasks
        - { name: loss, kind: perplexity }
        - { name: answers, kind: generate, max_new_tokens: 8, metrics: [exact_match, f1, format_validity], format: '^\d+ ok$' }
  - name: tuned-exam
    evaluate: { subject: tuned, suite: sums, dataset: corpus, split: test, limit: 12, tasks: *tasks }
"#;

/// A folder with a data file; the pipeline's base.
pub(crate) fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut text = String::new();
    for left in 0..12 {
        for right in 0..12 {
            let line = serde_json::json!({
                "question": format!("what is {left} plus {right}"),
                "answer": format!("{} ok", left + right),
                "timestamp": "2026-01-01T00:00:00Z",
            });
            text.push_str(&format!("{line}\n"));
        }
    }
    std::fs::write(dir.path().join("sums.jsonl"), text).unwrap();
    dir
}

pub(crate) fn open(dir: &Path) -> Context {
    Context::open(&dir.join("data")).unwrap()
}

pub(crate) fn pipeline(dir: &Path, text: &str) -> Pipeline {
    Pipeline::parse(text, dir).unwrap()
}

/// Runs to the end; whatever fails says so.
pub(crate) fn run(ctx: &Context, dir: &Path, text: &str) -> PipelineReport {
    let report = run_pipeline(ctx, &pipeline(dir, text), &RunOptions::default(), &cairn_processors::Quiet).unwrap();
    for (info, outcome) in &report.jobs {
        if let JobOutcome::Failed { error } = outcome {
            panic!("{}: {}", info.name, error.chain());
        }
    }
    report
}

pub(crate) fn outcome<'a>(report: &'a PipelineReport, job: &str) -> &'a (JobInfo, JobOutcome) {
    report.jobs.iter().find(|(info, _)| info.name == job).unwrap_or_else(|| panic!("no job `{job}` in the report"))
}

pub(crate) fn run_of(report: &PipelineReport, job: &str) -> RunId {
    outcome(report, job).0.run
}

pub(crate) fn summary(report: &PipelineReport, job: &str) -> serde_json::Value {
    match &outcome(report, job).1 {
        JobOutcome::Done { summary } | JobOutcome::Skipped { summary, .. } | JobOutcome::Blocked { summary, .. } => {
            summary.clone()
        }
        other => panic!("{job}: {other:?}"),
    }
}

pub(crate) fn events(ctx: &Context) -> Vec<Recorded> {
    let mut all: Vec<Recorded> = Vec::new();
    let mut next = Some(Position::FIRST);
    while let Some(from) = next {
        let batch = ctx.ledger().read(ctx.tenant(), from, 1000).unwrap();
        next = batch.last().and_then(|recorded| recorded.position.next());
        all.extend(batch);
    }
    all
}

/// Step and state digest of every checkpoint of a run, in order of recording.
pub(crate) fn checkpoints(ctx: &Context, run: RunId) -> Vec<(u64, String)> {
    let of = |recorded: Recorded| match recorded.event {
        Event::CheckpointSaved(event) if event.run == run => Some((event.step, event.state_digest.to_string())),
        _ => None,
    };
    events(ctx).into_iter().filter_map(of).collect()
}

/// Step, attempt and loss of every step of a run, in order of recording.
pub(crate) fn steps(ctx: &Context, run: RunId) -> Vec<(u64, u32, f64)> {
    let of = |recorded: Recorded| match recorded.event {
        Event::StepLogged(event) if event.run == run => {
            let loss = event.metrics.iter().find(|metric| metric.name == "loss").unwrap().value.0;
            Some((event.step, event.attempt, loss))
        }
        _ => None,
    };
    events(ctx).into_iter().filter_map(of).collect()
}

/// Does something once, when a job has taken a step.
pub(crate) struct AtStep<'a> {
    pub(crate) job: &'a str,
    pub(crate) step: u64,
    pub(crate) then: &'a (dyn Fn() + Sync),
    pub(crate) seen: AtomicU64,
}

impl Observer for AtStep<'_> {
    fn job_started(&self, _: &JobInfo) {}
    fn progress(&self, job: &JobInfo, done: u64, _: u64, _: &str) {
        if job.name == self.job && done == self.step && self.seen.swap(done, Ordering::Relaxed) != done {
            (self.then)();
        }
    }
    fn job_finished(&self, _: &JobInfo, _: &JobOutcome) {}
}

/// Runs `text`, asking it to stop after a step of a job.
pub(crate) fn run_cancelled_at(ctx: &Context, dir: &Path, text: &str, job: &str, step: u64) -> PipelineReport {
    let cancel = Cancel::default();
    let options = RunOptions { cancel: cancel.clone(), ..RunOptions::default() };
    let observer = AtStep { job, step, then: &|| cancel.cancel(), seen: AtomicU64::new(0) };
    run_pipeline(ctx, &pipeline(dir, text), &options, &observer).unwrap()
}
