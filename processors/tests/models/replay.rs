//! A replay of a recorded run gives the same digests, and names what does not.

use crate::support::{BASE, TUNED, events, folder, open, run, run_cancelled_at, run_of};
use cairn_processors::reproduce::{Manner, RunBy, provenance_of};
use cairn_processors::{Quiet, reproduce};
use cairn_schemas::events::training::CheckpointSaved;
use cairn_schemas::{Blake3, Event, NewEvent};

#[test]
fn every_kind_that_can_be_replayed_is_equal_and_leaves_no_second_truth() {
    let dir = folder();
    let ctx = open(dir.path());
    let gate =
        "  - name: gate\n    gate: { subject: tuned, evaluations: [tuned-exam], require: ['answers.f1 >= 0'] }\n";
    let judge = "  - name: judge\n    judge: { evaluation: tuned-exam, task: answers, validators: [ { name: form, kind: regex, pattern: '^\\d' } ] }\n";
    let live = "  - name: live\n    deploy: { model: tuned, gate: gate, deployment: helper }\n";
    let report = run(&ctx, dir.path(), &format!("{BASE}{TUNED}{judge}{gate}{live}"));
    let before = events(&ctx).len();
    let replayed = ["sums", "corpus", "vocabulary", "base", "tuned", "tuned-exam", "judge", "gate", "live"];
    for job in replayed {
        let run = run_of(&report, job);
        let whole = provenance_of(&ctx, &run, None).unwrap();
        assert!(whole.is_complete && whole.by == RunBy::Cairn, "{job}: {whole:#?}");
        let found = reproduce(&ctx, &run, dir.path(), &Quiet).unwrap();
        assert!(found.equal, "{job}: {found:#?}");
        assert_eq!(Some(found.manner), whole.manner, "{job}");
        assert_eq!(found.manner, if job == "live" { Manner::Checked } else { Manner::Replayed }, "{job}");
        assert!(found.environment_differences.is_empty(), "{job}: {found:#?}");
        if job == "base" {
            let checkpoints = found.compared.iter().filter(|c| c.what.starts_with("checkpoint at step")).count();
            assert_eq!(checkpoints, 4);
        }
    }
    let added: Vec<Event> = events(&ctx).into_iter().skip(before).map(|r| r.event).collect();
    assert_eq!(added.len(), 2 * replayed.len());
    for pair in added.chunks(2) {
        assert!(matches!(&pair[0], Event::JobStarted(started) if started.reproduces.is_some()), "{pair:?}");
        assert!(matches!(&pair[1], Event::JobCompleted(_)), "{pair:?}");
    }
}

#[test]
fn a_stopped_run_is_compared_as_far_as_it_came() {
    let dir = folder();
    let ctx = open(dir.path());
    let report = run_cancelled_at(&ctx, dir.path(), BASE, "base", 7);
    let found = reproduce(&ctx, &run_of(&report, "base"), dir.path(), &Quiet).unwrap();
    assert!(found.equal, "{found:#?}");
    let compared: Vec<&str> = found.compared.iter().map(|c| c.what.as_str()).collect();
    assert!(compared.contains(&"checkpoint at step 7"), "{compared:?}");
}

#[test]
fn what_differs_is_named() {
    let dir = folder();
    let ctx = open(dir.path());
    let report = run(&ctx, dir.path(), BASE);
    let base = run_of(&report, "base");
    let saved = events(&ctx).into_iter().find_map(|r| match r.event {
        Event::CheckpointSaved(event) if event.step == 5 => Some(event),
        _ => None,
    });
    // A record of the same step with another state: no replay can give both.
    let wrong = CheckpointSaved { state_digest: Blake3::of(b"other"), ..saved.unwrap() };
    ctx.ledger().append(ctx.tenant(), vec![NewEvent::new("test", "checkpoint", wrong)]).unwrap();
    let found = reproduce(&ctx, &base, dir.path(), &Quiet).unwrap();
    assert!(!found.equal);
    let differing: Vec<&str> = found.compared.iter().filter(|c| !c.is_equal()).map(|c| c.what.as_str()).collect();
    assert_eq!(differing, ["checkpoint at step 5"]);
}
