//! Leaderboards and tallies, and how they stood before.

use super::{Evals, PROJECTION, Standing};
use crate::testing::{evaluation, gate, judgment, live, recorded_at, reference};
use cairn_schemas::events::evaluation::{EvaluationCompleted, EvaluationFailed, EvaluationSuperseded, SampleScored};
use cairn_schemas::events::judgment::{GateOutcome, Verdict};
use cairn_schemas::events::training::MetricValue;
use cairn_schemas::{Blake3, Event, Real, Ref};

fn evals(events: Vec<Event>) -> Evals {
    Evals::over(live(&PROJECTION, events))
}

fn model(version: u64) -> Ref {
    reference(&format!("model://team/chat@{version}"))
}

fn of(id: &str, version: u64, value: f64) -> Event {
    evaluation(id, &model(version), &[("exact_match", value), ("loss", 1.0 - value)]).into()
}

fn superseded(id: &str) -> Event {
    EvaluationSuperseded { evaluation: Ref::eval(id).unwrap(), superseded_by: None, reason: "leaked".into() }.into()
}

fn shown(standings: &[Standing]) -> Vec<(String, f64)> {
    standings.iter().map(|s| (s.evaluation.to_string(), s.value)).collect()
}

#[test]
fn the_best_stands_first_and_the_past_does_not_change() {
    let evals = evals(vec![of("a", 1, 0.2), of("b", 2, 0.9), of("c", 1, 0.5), superseded("b"), of("d", 3, f64::NAN)]);
    let board = |at: Option<u64>| shown(&evals.leaderboard("gsm8k", "exact_match", at.map(recorded_at)).unwrap());
    let row = |id: &str, value: f64| (format!("eval:{id}"), value);
    assert_eq!(board(Some(0)), []);
    assert_eq!(board(Some(1)), [row("a", 0.2)]);
    assert_eq!(board(Some(2)), [row("b", 0.9), row("a", 0.2)]);
    assert_eq!(board(Some(3)), [row("b", 0.9), row("c", 0.5)]);
    assert_eq!(board(Some(4)), [row("c", 0.5)]);
    let now = board(None);
    assert_eq!(now[0], row("c", 0.5));
    assert!(now[1].0 == "eval:d" && now[1].1.is_nan(), "what is not a number comes last");

    let losses = evals.leaderboard("gsm8k", "loss", Some(recorded_at(3))).unwrap();
    assert_eq!(shown(&losses), [row("b", 1.0 - 0.9), row("c", 0.5)], "lower is better");
    assert!(evals.leaderboard("gsm8k", "speed", None).unwrap().is_empty());
    assert!(evals.leaderboard("gsm", "exact_match", None).unwrap().is_empty());
}

#[test]
fn results_of_other_protocols_slices_and_steps_stand_for_themselves() {
    let with = |id: &str, change: &dyn Fn(&mut EvaluationCompleted)| {
        let mut completed = evaluation(id, &model(1), &[("exact_match", 0.5)]);
        change(&mut completed);
        Event::from(completed)
    };
    let evals = evals(vec![
        with("a", &|_| {}),
        with("b", &|e| e.protocol_digest = Blake3::of(b"another")),
        with("c", &|e| e.slice = "hard".into()),
        with("d", &|e| e.step = Some(7)),
        with("e", &|_| {}),
    ]);
    let board = evals.leaderboard("gsm8k", "exact_match", None).unwrap();
    let ids: Vec<_> = board.iter().map(|s| s.evaluation.to_string()).collect();
    assert_eq!(ids, ["eval:b", "eval:c", "eval:d", "eval:e"], "equal values in order of position");
    let slices: Vec<_> = evals.tasks().unwrap().into_iter().map(|t| (t.metric, t.slice, t.results)).collect();
    assert_eq!(slices, [("exact_match".into(), "all".into(), 4), ("exact_match".into(), "hard".into(), 1)]);
}

#[test]
fn a_subject_shows_all_it_got_and_what_is_missing() {
    let failed = EvaluationFailed {
        evaluation: Ref::eval("f").unwrap(),
        subject: model(1),
        suite: "core".into(),
        task: "squad".into(),
        error: "out of memory".into(),
    };
    let score = |value| SampleScored {
        evaluation: Ref::eval("a").unwrap(),
        sample: "s1".into(),
        metrics: vec![MetricValue { name: "em".into(), value: Real(value) }],
    };
    let evals = evals(vec![
        of("a", 1, 0.2),
        of("b", 2, 0.9),
        failed.into(),
        superseded("a"),
        superseded("a"),
        score(0.0).into(),
        score(1.0).into(),
    ]);
    let mine = evals.of_subject(&model(1)).unwrap();
    assert_eq!(mine.iter().map(|s| s.metric.as_str()).collect::<Vec<_>>(), ["exact_match", "loss"]);
    let superseded = mine[0].superseded.as_ref().unwrap();
    assert_eq!((superseded.reason.as_str(), superseded.position.get()), ("leaked", 4));
    assert_eq!((mine[0].n, mine[0].standard_error, mine[0].position.get()), (200, Some(0.01), 1));
    assert_eq!(evals.of_evaluation(&Ref::eval("b").unwrap()).unwrap().len(), 2);
    let missing = evals.missing(&model(1)).unwrap();
    assert_eq!((missing.len(), missing[0].task.as_str(), missing[0].error.as_str()), (1, "squad", "out of memory"));
    assert_eq!(evals.samples(&Ref::eval("a").unwrap()).unwrap(), [("s1".into(), "em".into(), 1.0)]);
}

#[test]
fn a_superseded_judgment_is_not_counted() {
    let subject = model(1);
    let evals = evals(vec![
        judgment("a", &subject, Verdict::Pass, None),
        judgment("b", &subject, Verdict::Fail, None),
        judgment("c", &subject, Verdict::Unscored, None),
        judgment("d", &subject, Verdict::Pass, Some("b")),
        judgment("e", &subject, Verdict::Pass, Some("b")),
        judgment("f", &model(2), Verdict::Fail, None),
        gate("g", &subject),
    ]);
    let tallies = evals.judgments(&subject).unwrap();
    let [tally] = &tallies[..] else { panic!("one judge, one criterion: {tallies:?}") };
    assert_eq!((tally.passed, tally.failed, tally.unscored, tally.n()), (3, 0, 1, 3));
    assert_eq!(
        (tally.judge.as_str(), tally.judge_kind.as_str(), tally.pass_rate()),
        ("validator@1", "rule", Some(1.0))
    );
    assert_eq!(evals.judgments(&model(3)).unwrap(), []);
    let gates = evals.gates(&subject).unwrap();
    assert_eq!((gates.len(), gates[0].outcome, gates[0].position.get()), (1, GateOutcome::Block, 7));
}
