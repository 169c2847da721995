//! A gate passes only what was shown, on the subject itself, by the same protocol.

use crate::support::{BASE, TUNED, events, folder, open, outcome, run, summary};
use cairn_processors::JobOutcome;
use cairn_schemas::events::evaluation::EvaluationSuperseded;
use cairn_schemas::events::judgment::{GateOutcome, Verdict};
use cairn_schemas::{Event, NewEvent, Ref};

fn gate(name: &str, rest: &str) -> String {
    format!("  - name: {name}\n    gate: {{ on_block: continue, {rest} }}\n")
}

#[test]
fn gates_pass_block_and_say_what_is_missing() {
    let dir = folder();
    let ctx = open(dir.path());
    let own = "subject: tuned, evaluations: [tuned-exam]";
    let paired = "baseline: base, baseline_evaluations: [base-exam]";
    let gates = [
        gate("passes", &format!("{own}, require: ['answers.f1 >= 0', 'loss.perplexity < 1000000']")),
        gate("blocks", &format!("{own}, require: ['answers.f1 >= 0', 'answers.exact_match > 1']")),
        gate("no-metric", &format!("{own}, require: ['answers.rouge >= 0']")),
        gate("no-task", &format!("{own}, require: ['reasoning.f1 >= 0']")),
        gate("of-another", "subject: base, evaluations: [tuned-exam], require: ['answers.f1 >= 0']"),
        gate(
            "no-baseline",
            &format!(
                "{own}, baseline: 'model://tiny/absent@1', baseline_evaluations: ['eval:absent'], compare: [{{ metric: answers.f1, test: bootstrap }}]"
            ),
        ),
        gate(
            "unlike",
            &format!(
                "{own}, baseline: base, baseline_evaluations: [other-exam], compare: [{{ metric: answers.f1, test: bootstrap, better_by: -1 }}]"
            ),
        ),
        gate(
            "not-worse",
            &format!("{own}, {paired}, compare: [{{ metric: answers.f1, test: bootstrap, better_by: -1.5 }}]"),
        ),
        gate(
            "far-better",
            &format!("{own}, {paired}, compare: [{{ metric: answers.exact_match, test: mcnemar, better_by: 2 }}]"),
        ),
        gate(
            "lower-is-better",
            &format!("{own}, {paired}, compare: [{{ metric: loss.loss, test: bootstrap, better_by: -1000 }}]"),
        ),
    ];
    let other = "  - name: other-exam\n    evaluate: { subject: base, suite: sums, dataset: corpus, split: test, limit: 5, tasks: [ { name: answers, kind: generate, max_new_tokens: 8, metrics: [f1] } ] }\n";
    let text = format!("{BASE}{TUNED}{other}{}", gates.concat());
    let report = run(&ctx, dir.path(), &text);
    let found: Vec<(String, GateOutcome, String)> = events(&ctx)
        .into_iter()
        .filter_map(|r| match r.event {
            Event::GateEvaluated(event) => {
                let details: Vec<String> = event.checks.iter().map(|check| check.detail.clone()).collect();
                Some((event.gate, event.outcome, details.join("; ")))
            }
            _ => None,
        })
        .collect();
    let expected = [
        ("passes", GateOutcome::Pass, "observed"),
        ("blocks", GateOutcome::Block, "observed"),
        ("no-metric", GateOutcome::InsufficientEvidence, "no metric `rouge`"),
        ("no-task", GateOutcome::InsufficientEvidence, "no evaluation has a task `reasoning`"),
        ("of-another", GateOutcome::InsufficientEvidence, "not of `model://tiny/base@1`"),
        ("no-baseline", GateOutcome::InsufficientEvidence, "there is no baseline"),
        ("unlike", GateOutcome::InsufficientEvidence, "unlike protocols"),
        ("not-worse", GateOutcome::Pass, "interval"),
        ("far-better", GateOutcome::Block, "p ="),
        ("lower-is-better", GateOutcome::Pass, "interval"),
    ];
    assert_eq!(found.len(), expected.len());
    for ((gate, outcome, details), (name, wanted, said)) in found.iter().zip(expected) {
        assert_eq!((gate.as_str(), *outcome), (name, wanted), "{details}");
        assert!(details.contains(said), "{gate}: {details}");
    }
    for (name, wanted, _) in expected {
        let blocked = matches!(&outcome(&report, name).1, JobOutcome::Blocked { stops: false, .. });
        assert_eq!(blocked, wanted != GateOutcome::Pass, "{name}");
    }
}

#[test]
fn a_gate_that_blocks_stops_the_pipeline_unless_told_otherwise() {
    let dir = folder();
    let ctx = open(dir.path());
    let gate =
        "  - name: gate\n    gate: { subject: base, evaluations: [base-exam], require: ['answers.exact_match > 1'] }\n";
    let deploy = "  - name: live\n    deploy: { model: base, gate: gate, deployment: helper }\n";
    let report = run(&ctx, dir.path(), &format!("{BASE}{TUNED}{gate}{deploy}"));
    assert!(!report.complete);
    assert!(matches!(&report.jobs.last().unwrap().1, JobOutcome::Blocked { stops: true, .. }));
    assert!(!events(&ctx).iter().any(|r| matches!(r.event, Event::Promoted(_))));
}

#[test]
fn a_gate_is_evaluated_again_when_its_evidence_is_withdrawn() {
    let dir = folder();
    let ctx = open(dir.path());
    let gate = "  - name: gate\n    gate: { on_block: continue, subject: base, evaluations: [base-exam], require: ['answers.f1 >= 0'] }\n";
    let text = format!("{BASE}{TUNED}{gate}");
    let report = run(&ctx, dir.path(), &text);
    assert_eq!(summary(&report, "gate")["outcome"], "pass");
    let evaluation: Ref =
        summary(&report, "base-exam")["tasks"]["answers"]["evaluation"].as_str().unwrap().parse().unwrap();
    let event = EvaluationSuperseded { evaluation, superseded_by: None, reason: "a leak".into() };
    ctx.ledger().append(ctx.tenant(), vec![NewEvent::new("test", "superseded", event)]).unwrap();
    let again = run(&ctx, dir.path(), &text);
    assert_eq!(summary(&again, "gate")["outcome"], "insufficient_evidence", "{again:?}");
}

#[test]
fn judges_record_one_judgment_a_sample_and_rule() {
    let dir = folder();
    let ctx = open(dir.path());
    let judge = "  - name: judge\n    judge: { evaluation: tuned-exam, task: answers, validators: [ { name: form, kind: regex, pattern: '^\\d' }, { name: short, kind: length, max_chars: 60 } ] }\n";
    let report = run(&ctx, dir.path(), &format!("{BASE}{TUNED}{judge}"));
    let judgments: Vec<_> = events(&ctx)
        .into_iter()
        .filter_map(|r| match r.event {
            Event::JudgmentRecorded(event) => Some(event),
            _ => None,
        })
        .collect();
    assert_eq!(judgments.len(), 24);
    assert!(judgments.iter().all(|j| j.subject.to_string() == "model://tiny/tuned@1" && j.sample.is_some()));
    let passed = judgments.iter().filter(|j| j.criterion == "form" && j.verdict == Verdict::Pass).count();
    let form = &summary(&report, "judge")["judges"]["form"];
    assert_eq!(form["pass"], passed);
    assert_eq!(form["pass_rate"].as_f64().unwrap(), passed as f64 / 12.0);
}
