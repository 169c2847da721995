//! Comparisons over a ledger of evaluations whose samples came as artifacts and as events.

use super::{Compared, Contender, Method, Question, Verdict, compare};
use crate::Context;
use cairn_schemas::events::evaluation::{
    EvaluationCompleted, EvaluationFailed, EvaluationSuperseded, Measure, SampleScored,
};
use cairn_schemas::events::training::MetricValue;
use cairn_schemas::{Blake3, Event, NewEvent, Position, RawJson, Real, Ref};

/// A ledger in a folder of its own.
struct Told {
    ctx: Context,
    count: u64,
    _folder: tempfile::TempDir,
}

impl Told {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ctx = Context::open(&folder.path().join("data")).unwrap();
        Self { ctx, count: 0, _folder: folder }
    }
    fn tell(&mut self, event: impl Into<Event>) {
        self.count += 1;
        let event = NewEvent::new("test", &self.count.to_string(), event);
        self.ctx.ledger().append(self.ctx.tenant(), vec![event]).unwrap();
    }
    fn artifact(&self, scores: &[f64]) -> Ref {
        let line = |(i, score): (usize, &f64)| format!("{{\"sample\":\"s{i:03}\",\"scores\":{{\"em\":{score}}}}}\n");
        let text: String = scores.iter().enumerate().map(line).collect();
        Ref::Artifact(self.ctx.ledger().artifacts(self.ctx.tenant()).put_bytes(text.as_bytes()).unwrap().blake3)
    }
    fn evaluated(&mut self, id: &str, version: u64, scores: &[f64], change: impl FnOnce(&mut EvaluationCompleted)) {
        let mut event = completed(id, version, scores);
        event.samples = Some(self.artifact(scores));
        change(&mut event);
        self.tell(event);
    }
    fn compare(&self, versions: &[u64]) -> Compared {
        compare(&self.ctx, &question(versions)).unwrap()
    }
    fn refusal(&self, question: &Question) -> String {
        compare(&self.ctx, question).unwrap_err().to_string()
    }
}

fn model(version: u64) -> Ref {
    format!("model://team/chat@{version}").parse().unwrap()
}

fn question(versions: &[u64]) -> Question {
    let subjects = versions.iter().map(|version| Contender { reference: model(*version), step: None }).collect();
    Question { resamples: 500, ..Question::new(subjects, "gsm8k", Some("em".into())) }
}

fn completed(id: &str, version: u64, scores: &[f64]) -> EvaluationCompleted {
    let value = scores.iter().sum::<f64>() / scores.len() as f64;
    let measure = Measure {
        name: "em".into(),
        value: Real(value),
        n: scores.len() as u64,
        standard_error: None,
        higher_is_better: true,
        unit: None,
    };
    let protocol = serde_json::json!({ "how": { "max_new_tokens": 256, "shots": 0 }, "rows": { "used": version } });
    EvaluationCompleted {
        evaluation: Ref::eval(id).unwrap(),
        subject: model(version),
        run: None,
        suite: "core".into(),
        task: "gsm8k".into(),
        dataset: Some("ds://team/test@1.0.0".parse().unwrap()),
        slice: "all".into(),
        metrics: vec![measure],
        protocol_digest: Blake3::of(b"zero-shot"),
        protocol: RawJson::of(&protocol),
        samples: None,
        step: None,
    }
}

fn right(count: usize) -> Vec<f64> {
    (0..100).map(|i| f64::from(u8::from(i < count))).collect()
}

#[test]
fn samples_of_artifacts_and_of_events_are_paired() {
    let mut told = Told::new();
    told.evaluated("a", 1, &right(40), |_| {});
    told.tell(completed("b", 2, &right(70)));
    for (i, score) in right(70).into_iter().enumerate() {
        let metrics = vec![MetricValue { name: "em".into(), value: Real(score) }];
        told.tell(SampleScored { evaluation: Ref::eval("b").unwrap(), sample: format!("s{i:03}"), metrics });
    }
    let found = told.compare(&[1, 2]);
    assert_eq!((found.paired, found.method, found.no_verdict), (100, Some(Method::Mcnemar), None));
    let [pair] = &found.pairs[..] else { panic!("one pair") };
    assert_eq!((pair.higher, pair.lower, pair.verdict), (Some(30), Some(0), Some(Verdict::SecondIsBetter)));
    let back = told.compare(&[2, 1]);
    assert_eq!((back.pairs[0].verdict, back.pairs[0].higher), (Some(Verdict::FirstIsBetter), Some(0)));

    let shown = compare(&told.ctx, &Question { samples_max: 2, ..question(&[1, 2]) }).unwrap().samples;
    assert_eq!((shown.len(), shown[0].sample.as_str(), &shown[0].scores[..]), (2, "s040", &[0.0, 1.0][..]));
    // Before the events there were no samples of the second.
    let mut before = question(&[1, 2]);
    before.at.as_of = Position::new(2);
    let found = compare(&told.ctx, &before).unwrap();
    assert!(found.no_verdict.unwrap().contains("`eval:b` kept no samples"));
    assert!((found.pairs[0].difference - 0.3).abs() < 1e-12 && found.pairs[0].verdict.is_none());
}

#[test]
fn unlike_protocols_are_refused_by_what_differs() {
    let mut told = Told::new();
    told.evaluated("a", 1, &right(40), |_| {});
    told.evaluated("b", 2, &right(70), |e| {
        let other = serde_json::json!({ "how": { "max_new_tokens": 512, "shots": 0, "chat": true } });
        (e.protocol, e.protocol_digest) = (RawJson::of(&other), Blake3::of(b"other"));
    });
    told.evaluated("c", 3, &right(70), |e| e.slice = "hard".into());
    told.evaluated("d", 4, &right(70), |e| e.protocol_digest = Blake3::of(b"unsaid"));
    let said = told.refusal(&question(&[1, 2]));
    for part in ["protocol.how.max_new_tokens (256, 512)", "protocol.how.chat (none, true)", "side by side"] {
        assert!(said.contains(part), "`{part}` is not in: {said}");
    }
    assert!(!said.contains("shots") && !said.contains("rows"), "{said}");
    assert!(told.refusal(&question(&[1, 3])).contains("slice (all, hard)"));
    assert!(told.refusal(&question(&[1, 4])).contains("protocol_digest ("));
    let beside = compare(&told.ctx, &Question { side_by_side: true, ..question(&[1, 2]) }).unwrap();
    assert_eq!((beside.method, beside.pairs[0].verdict, beside.differences.len()), (None, None, 2));
    assert!((beside.pairs[0].difference - 0.3).abs() < 1e-12 && beside.no_verdict.is_some());
    // Where there is a protocol that all were measured by, its results are compared.
    told.evaluated("e", 2, &right(50), |_| {});
    let found = told.compare(&[1, 2]);
    assert_eq!((found.sides[1].evaluation.to_string().as_str(), found.paired), ("eval:e", 100));
}

#[test]
fn the_past_is_compared_as_it_was_and_what_is_missing_is_said() {
    let mut told = Told::new();
    told.evaluated("a", 1, &right(40), |_| {});
    told.evaluated("b", 2, &right(70), |_| {});
    told.tell(EvaluationSuperseded {
        evaluation: Ref::eval("b").unwrap(),
        superseded_by: Some(Ref::eval("c").unwrap()),
        reason: "the answers leaked".into(),
    });
    told.tell(EvaluationFailed {
        evaluation: Ref::eval("d").unwrap(),
        subject: model(3),
        suite: "core".into(),
        task: "gsm8k".into(),
        error: "out of memory".into(),
    });
    assert!(told.refusal(&question(&[1, 2])).contains("superseded: the answers leaked"));
    assert!(told.refusal(&question(&[1, 3])).contains("`eval:d` failed: out of memory"));
    assert!(told.refusal(&question(&[1, 4])).contains("never evaluated"));
    let mut before = question(&[1, 2]);
    before.at.as_of = Position::new(2);
    assert_eq!(compare(&told.ctx, &before).unwrap().pairs[0].verdict, Some(Verdict::SecondIsBetter));

    let of = |contenders: &[&str]| Question {
        subjects: contenders.iter().map(|text| text.parse().unwrap()).collect(),
        ..question(&[])
    };
    let said = told.refusal(&of(&["model://team/chat@1", "eval:b"]));
    assert!(said.contains("at position 3") && said.contains("`eval:c` takes its place"), "{said}");
    assert!(told.refusal(&of(&["model://team/chat@1#7", "model://team/chat@1"])).contains("none at that step"));
    assert!(told.refusal(&of(&["eval:a"])).contains("2 to 4"));
    assert!(told.refusal(&of(&["eval:a", "eval:a"])).contains("twice"));
    assert!(told.refusal(&Question { metric: Some("f1".into()), ..question(&[1, 2]) }).contains("it has em"));
    assert!(told.refusal(&Question { task: "none".into(), ..question(&[1, 2]) }).contains("the tasks are gsm8k"));
    assert!(told.refusal(&Question { confidence: 1.0, ..question(&[1, 2]) }).contains("0.95 is usual"));
    assert!(told.refusal(&Question { resamples: 1, ..question(&[1, 2]) }).contains("from 100"));
}

#[test]
fn samples_that_are_not_the_same_give_no_verdict() {
    let mut told = Told::new();
    told.evaluated("a", 1, &right(40), |_| {});
    told.evaluated("b", 2, &right(70)[..98], |_| {});
    told.evaluated("c", 3, &right(70), |e| e.metrics[0].name = "f1".into());
    told.evaluated("d", 4, &right(70), |e| e.samples = Some(Ref::Artifact(Blake3::of(b"lost"))));
    let why = |found: Compared| {
        assert!(found.method.is_none() && found.pairs.iter().all(|pair| pair.verdict.is_none()));
        found.no_verdict.unwrap()
    };
    assert!(why(told.compare(&[1, 2])).contains("100 and 98, of which 98 are shared"));
    assert!(why(told.compare(&[1, 4])).contains("is not in this ledger"));
    told.tell(EvaluationCompleted { metrics: completed("e", 5, &right(1)).metrics, ..completed("c", 3, &right(70)) });
    told.evaluated("f", 6, &[0.25, 0.5], |_| {});
    told.evaluated("g", 7, &[0.5, 0.5], |_| {});
    let numbers = told.compare(&[6, 7]);
    assert_eq!((numbers.method, numbers.pairs[0].verdict), (Some(Method::Permutation), Some(Verdict::Undecided)));
}
