//! What the tests share: a seeded generator, events as readers get them, and a log in memory.

use crate::Error;
use crate::events::Events;
use crate::projection::{Filled, Live, Projection};
use crate::store::Memory;
use cairn_schemas::events::data::{
    DocumentIngested, DocumentRejected, IngestionCompleted, IngestionStarted, SourceRegistered,
};
use cairn_schemas::events::dataset::{DocumentsAdded, Split, VersionCommitted};
use cairn_schemas::events::deployment::{DeploymentCreated, Promoted, ResponseGenerated, RolledBack};
use cairn_schemas::events::evaluation::{EvaluationCompleted, EvaluationSuperseded, Measure, SampleScored};
use cairn_schemas::events::job::{JobCompleted, JobFailed, JobStarted};
use cairn_schemas::events::judgment::{GateEvaluated, GateOutcome, Judge, JudgeKind, JudgmentRecorded, Verdict};
use cairn_schemas::events::model::{AliasAssigned, VersionRegistered};
use cairn_schemas::events::training::{CheckpointSaved, MetricValue, RunResumed, RunStarted, StepLogged};
use cairn_schemas::{Blake3, Event, Position, RawJson, Real, Recorded, Ref, RunId, Sha256, Timestamp};
use parking_lot::{Condvar, Mutex};
use std::sync::Arc;
use std::time::Duration;

/// SplitMix64.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// 2026-01-01T00:00:00Z; event n is recorded n milliseconds later.
pub(crate) const START_MICROS: i64 = 1_767_225_600_000_000;

pub(crate) fn recorded_at(position: u64) -> Timestamp {
    Timestamp::from_micros(START_MICROS + position as i64 * 1_000)
}

pub(crate) fn recorded(position: u64, event: impl Into<Event>) -> Recorded {
    let event = event.into();
    let links = event.links();
    Recorded {
        position: Position::new(position).unwrap(),
        recorded_at: recorded_at(position),
        stream_version: 1,
        source: "test".into(),
        id: position.to_string(),
        stream: event.default_stream(),
        project: "default".into(),
        occurred_at: recorded_at(position),
        causation: None,
        extensions: Default::default(),
        used: links.used,
        produced: links.produced,
        redacted_by: None,
        event,
        erased: Vec::new(),
        sealed: Vec::new(),
    }
}

/// A log in memory that can grow.
#[derive(Clone, Default)]
pub(crate) struct List(Arc<(Mutex<Vec<Recorded>>, Condvar)>);

impl List {
    pub(crate) fn of(events: impl IntoIterator<Item = Event>) -> Self {
        let list = Self::default();
        list.extend(events);
        list
    }
    pub(crate) fn extend(&self, events: impl IntoIterator<Item = Event>) {
        let mut all = self.0.0.lock();
        for event in events {
            let position = all.len() as u64 + 1;
            all.push(recorded(position, event));
        }
        self.0.1.notify_all();
    }
    pub(crate) fn all(&self) -> Vec<Recorded> {
        self.0.0.lock().clone()
    }
}

impl Events for List {
    fn head(&self) -> Option<Position> {
        Position::new(self.0.0.lock().len() as u64)
    }
    fn read(&self, from: Position, count_max: usize) -> Result<Vec<Recorded>, Error> {
        let all = self.0.0.lock();
        let from = (from.leaf_index() as usize).min(all.len());
        Ok(all[from..(from + count_max).min(all.len())].to_vec())
    }
    fn wait_past(&self, head: Option<Position>, timeout: Duration) -> Option<Position> {
        let mut all = self.0.0.lock();
        if Position::new(all.len() as u64) <= head {
            self.0.1.wait_for(&mut all, timeout);
        }
        Position::new(all.len() as u64)
    }
}

/// A projection of these events, in memory.
pub(crate) fn live(projection: &'static Projection, events: impl IntoIterator<Item = Event>) -> Arc<Live> {
    let live = Live::new(projection, Filled::over(Box::new(Memory::default())).unwrap());
    live.apply(&List::of(events).all()).unwrap();
    Arc::new(live)
}

pub(crate) fn run_id(number: u64) -> RunId {
    format!("018f4e9a-7c3b-7def-8123-{number:012x}").parse().unwrap()
}

pub(crate) fn document(number: u64) -> Ref {
    Ref::Doc(Blake3::of(&number.to_le_bytes()))
}

pub(crate) fn artifact(name: &str) -> Ref {
    Ref::Artifact(Blake3::of(name.as_bytes()))
}

pub(crate) fn reference(text: &str) -> Ref {
    text.parse().unwrap()
}

pub(crate) fn ingested(number: u64) -> Event {
    DocumentIngested {
        run: run_id(1),
        source: "web".into(),
        document: document(number),
        sha256: Sha256::from_bytes([number as u8; 32]),
        source_uri: format!("file:///docs/{number}.txt"),
        timestamp: recorded_at(number),
        author: "someone".into(),
        access_policy: "public".into(),
        content_type: "text/plain".into(),
        language: "en".into(),
        bytes: 100 + number,
        fingerprint: Blake3::of(&number.to_be_bytes()),
        redactions: None,
    }
    .into()
}

pub(crate) fn job_started(run: u64, attempt: u32, kind: &str, inputs: Vec<Ref>) -> JobStarted {
    JobStarted {
        run: run_id(run),
        kind: kind.into(),
        name: format!("{kind}-job"),
        pipeline: Some("demo".into()),
        attempt,
        key: Blake3::of(format!("{kind}/{inputs:?}").as_bytes()),
        spec: RawJson::parse(r#"{"b": 1, "a": {"lr": 4e-3}}"#).unwrap(),
        inputs,
        resolved_at: None,
        reproduces: None,
    }
}

pub(crate) fn job_completed(run: u64, attempt: u32, outputs: Vec<Ref>) -> Event {
    let summary = RawJson::parse(r#"{"rows": 3}"#).unwrap();
    JobCompleted { run: run_id(run), attempt, outputs, duration_ms: 12, summary }.into()
}

pub(crate) fn training_started(run: u64, attempt: u32) -> Event {
    RunStarted {
        run: run_id(run),
        method: "pretrain".into(),
        name: None,
        attempt,
        dataset: Some(reference("ds://team/web@1.0.0")),
        tokenizer: Some(artifact("tokenizer")),
        base_model: None,
        parent: None,
        code: RawJson::default(),
        config: RawJson::parse(r#"{"lr": 0.004}"#).unwrap(),
        environment: RawJson::default(),
        seed: 1,
        graphs: vec![artifact("graph")],
        identity: None,
        steps_planned: Some(100),
    }
    .into()
}

pub(crate) fn step(run: u64, attempt: u32, step: u64, metrics: &[(&str, f64)]) -> Event {
    let value = |(name, value): &(&str, f64)| MetricValue { name: (*name).into(), value: Real(*value) };
    let metrics = metrics.iter().map(value).collect();
    StepLogged { run: run_id(run), attempt, step, tokens: step * 2_048, time: Some(recorded_at(step)), metrics }.into()
}

pub(crate) fn resumed(run: u64, attempt: u32, from_step: u64) -> Event {
    let (checkpoint, environment) = (None, RawJson::default());
    RunResumed { run: run_id(run), attempt, from_step, checkpoint, environment }.into()
}

pub(crate) fn checkpoint(run: u64, attempt: u32, step: u64) -> Event {
    CheckpointSaved {
        run: run_id(run),
        attempt,
        step,
        tokens: step * 2_048,
        checkpoint: artifact(&format!("checkpoint {run} {attempt} {step}")),
        state_digest: Blake3::of(b"state"),
        weights_digest: Blake3::of(b"weights"),
    }
    .into()
}

pub(crate) fn model(version: u64, run: u64) -> Event {
    VersionRegistered {
        model: reference(&format!("model://team/chat@{version}")),
        run: Some(run_id(run)),
        weights: Some(artifact(&format!("weights {version}"))),
        weights_digest: Some(Blake3::of(&version.to_le_bytes())),
        tokenizer: Some(artifact("tokenizer")),
        architecture: RawJson::default(),
        dataset: Some(reference("ds://team/web@1.0.0")),
        base_model: None,
        parameters: Some(1_000),
        training_samples: None,
        metadata: RawJson::default(),
    }
    .into()
}

pub(crate) fn evaluation(id: &str, subject: &Ref, metrics: &[(&str, f64)]) -> EvaluationCompleted {
    let measure = |(name, value): &(&str, f64)| Measure {
        name: (*name).into(),
        value: Real(*value),
        n: 200,
        standard_error: Some(Real(0.01)),
        higher_is_better: *name != "loss",
        unit: None,
    };
    EvaluationCompleted {
        evaluation: Ref::eval(id).unwrap(),
        subject: subject.clone(),
        run: None,
        suite: "core".into(),
        task: "gsm8k".into(),
        dataset: None,
        slice: "all".into(),
        metrics: metrics.iter().map(measure).collect(),
        protocol_digest: Blake3::of(b"protocol"),
        protocol: RawJson::default(),
        samples: Some(artifact(&format!("samples {id}"))),
        step: None,
    }
}

pub(crate) fn judgment(id: &str, subject: &Ref, verdict: Verdict, supersedes: Option<&str>) -> Event {
    JudgmentRecorded {
        judgment: Ref::judgment(id).unwrap(),
        subject: subject.clone(),
        evaluation: None,
        sample: None,
        criterion: "format".into(),
        judge: Judge { kind: JudgeKind::Rule, name: "validator".into(), version: "1".into(), digest: None },
        verdict,
        score: None,
        reason: None,
        supersedes: supersedes.map(|id| Ref::judgment(id).unwrap()),
    }
    .into()
}

pub(crate) fn promoted(deployment: &str, version: u64) -> Event {
    Promoted {
        deployment: Ref::deployment(deployment).unwrap(),
        model: reference(&format!("model://team/chat@{version}")),
        weights_digest: Blake3::of(&version.to_le_bytes()),
        gate: Some(Ref::judgment("gate-1").unwrap()),
        previous: None,
        reason: None,
    }
    .into()
}

pub(crate) fn rolled_back(deployment: &str, version: u64, from: u64) -> Event {
    RolledBack {
        deployment: Ref::deployment(deployment).unwrap(),
        model: reference(&format!("model://team/chat@{version}")),
        weights_digest: Blake3::of(&version.to_le_bytes()),
        from: reference(&format!("model://team/chat@{from}")),
        reason: "worse".into(),
    }
    .into()
}

/// A history in which every table of every projection gets rows, `length` events or a few more.
pub(crate) fn history(seed: u64, length: usize) -> Vec<Event> {
    let mut random = Random::new(seed);
    let dataset = reference("ds://team/web@1.0.0");
    let mut events: Vec<Event> = vec![
        SourceRegistered {
            source: "web".into(),
            uri: "file:///docs".into(),
            kind: "folder".into(),
            owner: None,
            licence: Some("MIT".into()),
            access_policy: "public".into(),
        }
        .into(),
        job_started(1, 1, "ingest", vec![]).into(),
        IngestionStarted { run: run_id(1), source: "web".into(), rules: RawJson::default() }.into(),
    ];
    let documents = length as u64 / 4;
    for number in 0..documents {
        events.push(ingested(number));
        if random.below(5) == 0 {
            events.push(rejected(number));
        }
    }
    events.push(
        IngestionCompleted {
            run: run_id(1),
            source: "web".into(),
            files: documents,
            ingested: documents,
            rejected: 0,
            rejected_by_rule: RawJson::default(),
            shards: vec![artifact("documents")],
        }
        .into(),
    );
    events.push(job_completed(1, 1, vec![artifact("documents")]));
    let all: Vec<Ref> = (0..documents).map(document).collect();
    for (page, documents) in (1..).zip(all.chunks(50)) {
        events.push(DocumentsAdded { dataset: dataset.clone(), page, documents: documents.to_vec() }.into());
    }
    events.push(committed(&dataset));
    events.push(job_started(2, 1, "train", vec![dataset]).into());
    events.push(training_started(2, 1));
    events.push(model(1, 2));
    events.push(
        DeploymentCreated {
            deployment: reference("deployment:prod"),
            target: "local".into(),
            config: RawJson::default(),
        }
        .into(),
    );
    let (mut attempt, mut at, mut version) = (1, 0, 1);
    while events.len() < length {
        at += 1;
        let value = if random.below(30) == 0 { f64::NAN } else { random.below(1_000) as f64 / 100.0 };
        events.push(step(2, attempt, at, &[("loss", value), ("grad_norm", value * 2.0)]));
        let subject = reference(&format!("model://team/chat@{version}"));
        let id = events.len().to_string();
        match random.below(24) {
            0 => events.push(checkpoint(2, attempt, at)),
            1 => {
                attempt += 1;
                at = random.below(at + 1);
                events.push(job_started(2, attempt, "train", vec![reference("ds://team/web@1.0.0")]).into());
                events.push(resumed(2, attempt, at));
            }
            2 => {
                version += 1;
                events.push(model(version, 2));
                let alias = AliasAssigned { alias: "production".into(), model: subject, reason: None };
                events.push(alias.into());
            }
            3 => events.push(evaluation(&id, &subject, &[("exact_match", value), ("loss", value)]).into()),
            4 => events.push(
                EvaluationSuperseded {
                    evaluation: Ref::eval(&id).unwrap(),
                    superseded_by: None,
                    reason: "wrong".into(),
                }
                .into(),
            ),
            5 => events.push(judgment(&id, &subject, Verdict::Pass, None)),
            6 => events.push(gate(&id, &subject)),
            7 => events.push(promoted("prod", version)),
            8 => events.push(rolled_back("prod", 1, version)),
            9 => events.push(response(version)),
            10 => events.push(
                SampleScored {
                    evaluation: Ref::eval(&id).unwrap(),
                    sample: "s".into(),
                    metrics: vec![MetricValue { name: "em".into(), value: Real(1.0) }],
                }
                .into(),
            ),
            _ => {}
        }
    }
    events.push(JobFailed { run: run_id(2), attempt, error: "the disk is full".into() }.into());
    events
}

fn rejected(number: u64) -> Event {
    DocumentRejected {
        run: run_id(1),
        source: "web".into(),
        source_uri: format!("file:///docs/{number}-copy.txt"),
        rule: "near_duplicate".into(),
        detail: "jaccard 0.9, at most 0.8".into(),
        duplicate_of: Some(document(number)),
        jaccard: Some(Real(0.9)),
        offset: None,
        match_digest: None,
    }
    .into()
}

pub(crate) fn committed(dataset: &Ref) -> Event {
    VersionCommitted {
        dataset: dataset.clone(),
        run: Some(run_id(1)),
        manifest: artifact("manifest"),
        splits: vec![Split {
            name: "train".into(),
            rows: 3,
            shards: vec![artifact("train")],
            digest: Blake3::of(b"rows"),
        }],
        rows: 3,
        pages: 1,
        parents: vec![],
        config: RawJson::default(),
    }
    .into()
}

pub(crate) fn gate(id: &str, subject: &Ref) -> Event {
    GateEvaluated {
        judgment: Ref::judgment(id).unwrap(),
        gate: "release".into(),
        subject: subject.clone(),
        baseline: None,
        run: None,
        evaluations: vec![],
        outcome: GateOutcome::Block,
        checks: vec![],
        config: RawJson::default(),
    }
    .into()
}

pub(crate) fn response(version: u64) -> Event {
    ResponseGenerated {
        deployment: reference("deployment:prod"),
        model: reference(&format!("model://team/chat@{version}")),
        weights_digest: Blake3::of(&version.to_le_bytes()),
        response: "r".into(),
        prompt: None,
        answer: None,
        prompt_tokens: 1,
        answer_tokens: 2,
        latency_ms: Real(3.0),
        sampling: RawJson::default(),
        finish: "stop".into(),
    }
    .into()
}
