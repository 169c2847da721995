//! What answers: only what a gate let pass, the weights that are recorded, and after a change the other ones.

use crate::support::{BASE, TUNED, events, folder, open, outcome, pipeline, run};
use cairn_processors::chat::Message;
use cairn_processors::serving::Answerer;
use cairn_processors::{Error, JobOutcome, RunOptions, deployments, run_pipeline};
use cairn_schemas::{Blake3, Event, Ref};

const GATED: &str = r#"
  - name: base-gate
    gate: { subject: base, evaluations: [base-exam], require: ['answers.f1 >= 0'] }
  - name: tuned-gate
    gate: { subject: tuned, evaluations: [tuned-exam], require: ['answers.f1 >= 0'] }
  - name: first
    deploy: { model: base, gate: base-gate, deployment: helper }
  - name: second
    deploy: { model: tuned, gate: tuned-gate, deployment: helper }
"#;

fn greedy() -> cairn_gpu::Sampling {
    cairn_gpu::Sampling::greedy(8, Vec::new())
}

fn weights_of(ctx: &cairn_processors::Context, model: &str) -> Blake3 {
    let found = events(ctx).into_iter().find_map(|r| match r.event {
        Event::VersionRegistered(event) if event.model.to_string() == model => event.weights_digest,
        _ => None,
    });
    found.unwrap()
}

#[test]
fn answers_come_from_the_active_models_weights_and_say_so() {
    let dir = folder();
    let ctx = open(dir.path());
    run(&ctx, dir.path(), &format!("{BASE}{TUNED}{GATED}"));
    let created = events(&ctx).iter().filter(|r| matches!(r.event, Event::DeploymentCreated(_))).count();
    assert_eq!(created, 1);
    let answerer = Answerer::new(ctx.clone());
    let question = [Message::user("what is 3 plus 4")];
    let mut streamed = String::new();
    let tuned = answerer.answer("helper", &question, &greedy(), Some(&mut |text| streamed.push_str(text))).unwrap();
    assert_eq!(tuned.model.to_string(), "model://tiny/tuned@1");
    assert_eq!(tuned.weights_digest, weights_of(&ctx, "model://tiny/tuned@1"));
    assert_eq!(streamed, tuned.text);

    let back = deployments::roll_back(&ctx, "helper", "test").unwrap();
    assert_eq!(back.model.to_string(), "model://tiny/base@1");
    let base = answerer.answer("deployment:helper", &question, &greedy(), None).unwrap();
    assert_eq!(
        (base.model.to_string(), base.weights_digest),
        ("model://tiny/base@1".into(), weights_of(&ctx, "model://tiny/base@1"))
    );
    let nothing_before = deployments::roll_back(&ctx, "helper", "again").unwrap_err().to_string();
    assert!(nothing_before.contains("no earlier model"), "{nothing_before}");

    let tuned_ref: Ref = "model://tiny/tuned@1".parse().unwrap();
    let forward = deployments::promote(&ctx, "helper", &tuned_ref, Some("test")).unwrap();
    assert_eq!(forward.previous.unwrap().to_string(), "model://tiny/base@1");
    let again = answerer.answer("helper", &question, &greedy(), None).unwrap();
    assert_eq!((again.weights_digest, again.text.clone()), (tuned.weights_digest, tuned.text.clone()));

    let recorded: Vec<_> = events(&ctx)
        .into_iter()
        .filter_map(|r| match r.event {
            Event::ResponseGenerated(event) => Some((event.response, event.weights_digest)),
            _ => None,
        })
        .collect();
    let given: Vec<_> = [&tuned, &base, &again].map(|answer| (answer.response.clone(), answer.weights_digest)).into();
    assert_eq!(recorded, given);
}

#[test]
fn what_no_gate_let_pass_is_not_deployed() {
    let dir = folder();
    let ctx = open(dir.path());
    let blocked = GATED.replace("gate: { subject: tuned,", "gate: { on_block: continue, subject: tuned,").replace(
        "evaluations: [tuned-exam], require: ['answers.f1 >= 0']",
        "evaluations: [tuned-exam], require: ['answers.f1 > 1']",
    );
    let refused = |text: &str, job: &str| {
        let report =
            run_pipeline(&ctx, &pipeline(dir.path(), text), &RunOptions::default(), &cairn_processors::Quiet).unwrap();
        match &outcome(&report, job).1 {
            JobOutcome::Failed { error } => error.chain(),
            other => panic!("{other:?}"),
        }
    };
    let error = refused(&format!("{BASE}{TUNED}{blocked}"), "second");
    assert!(error.contains("did not let") && error.contains("answers.f1 > 1"), "{error}");
    let error = refused(
        &format!("{BASE}{TUNED}{}", GATED.replace("model: tuned, gate: tuned-gate", "model: tuned, gate: base-gate")),
        "second",
    );
    assert!(error.contains("judged `model://tiny/base@1`, not `model://tiny/tuned@1`"), "{error}");
    let tuned: Ref = "model://tiny/tuned@1".parse().unwrap();
    assert_eq!(deployments::active(&ctx, "helper").unwrap().model.to_string(), "model://tiny/base@1");
    // The latest gate on the tuned model passed in the second pipeline, so a person may promote it now.
    assert_eq!(deployments::promote(&ctx, "helper", &tuned, None).unwrap().model, tuned);
    let unknown = deployments::active(&ctx, "nobody").unwrap_err().to_string();
    assert!(unknown.contains("deployment:nobody"), "{unknown}");
}

#[test]
fn a_model_whose_parts_are_gone_or_changed_is_not_promoted() {
    let dir = folder();
    let ctx = open(dir.path());
    run(&ctx, dir.path(), &format!("{BASE}{TUNED}{}", GATED.split("  - name: second").next().unwrap()));
    let tuned: Ref = "model://tiny/tuned@1".parse().unwrap();
    let registered = events(&ctx).into_iter().find_map(|r| match r.event {
        Event::VersionRegistered(event) if event.model == tuned => Some(event),
        _ => None,
    });
    let registered = registered.unwrap();
    let promotions = || events(&ctx).iter().filter(|r| matches!(r.event, Event::Promoted(_))).count();
    for (part, artifact) in [("weights", registered.weights.unwrap()), ("tokenizer", registered.tokenizer.unwrap())] {
        let Ref::Artifact(digest) = &artifact else { panic!("{artifact}") };
        let path = ctx.ledger().artifacts(ctx.tenant()).path(digest);
        let whole = std::fs::read(&path).unwrap();
        let aside = dir.path().join("aside");
        std::fs::rename(&path, &aside).unwrap();
        for broken in [None, Some(&whole[..whole.len() / 2])] {
            if let Some(bytes) = broken {
                std::fs::write(&path, bytes).unwrap();
            }
            let error = deployments::promote(&ctx, "helper", &tuned, None).unwrap_err().to_string();
            assert!(error.contains(&format!("the {part} of `{tuned}`")), "{error}");
            // Weights that are gone are made again by their job before any deployment; cut ones are found by it.
            if broken.is_some() {
                let text = format!("{BASE}{TUNED}{GATED}");
                let report =
                    run_pipeline(&ctx, &pipeline(dir.path(), &text), &RunOptions::default(), &cairn_processors::Quiet);
                let report = report.unwrap();
                assert!(matches!(outcome(&report, "second").1, JobOutcome::Failed { .. }), "{part}: {report:?}");
            }
            assert_eq!(promotions(), 1, "{part}");
        }
        std::fs::remove_file(&path).unwrap();
        std::fs::rename(&aside, &path).unwrap();
    }
    assert_eq!(deployments::promote(&ctx, "helper", &tuned, None).unwrap().model, tuned);
}

#[test]
fn sampling_and_messages_are_checked_before_anything_is_recorded() {
    let dir = folder();
    let ctx = open(dir.path());
    run(&ctx, dir.path(), &format!("{BASE}{TUNED}{GATED}"));
    let answerer = Answerer::new(ctx.clone());
    let hot = cairn_gpu::Sampling { temperature: f32::NAN, ..greedy() };
    let none = cairn_gpu::Sampling { top_k: Some(0), ..greedy() };
    let wide = cairn_gpu::Sampling { top_p: Some(1.5), ..greedy() };
    for (messages, sampling, why) in [
        (vec![Message::user("x")], hot, "`temperature` is NaN"),
        (vec![Message::user("x")], none, "`top_k` is 0"),
        (vec![Message::user("x")], wide, "`top_p` is 1.5"),
        (vec![], greedy(), "0 messages"),
        (vec![Message::user("plus ".repeat(99))], greedy(), "reads at most"),
    ] {
        let error = answerer.answer("helper", &messages, &sampling, None).unwrap_err();
        let of_what_was_asked = matches!(
            error,
            Error::Refused { .. } | Error::PromptTooLong { .. } | Error::Gpu(cairn_gpu::Error::Invalid { .. })
        );
        assert!(of_what_was_asked && error.to_string().contains(why), "{error}");
    }
    assert!(!events(&ctx).iter().any(|r| matches!(r.event, Event::ResponseGenerated(_))));
}
