//! Entities, lists and the indexes that processors ask.

use super::{Catalog, PROJECTION, RunState, family_of};
use crate::testing::{
    artifact, checkpoint, committed, document, gate, history, ingested, job_completed, job_started, judgment, live,
    model, promoted, reference, resumed, rolled_back, run_id, step, training_started,
};
use crate::{Curves, Error};
use cairn_schemas::events::dataset::{DocumentsAdded, VersionWithdrawn};
use cairn_schemas::events::deployment::Retired;
use cairn_schemas::events::job::{JobCancelled, JobFailed};
use cairn_schemas::events::judgment::Verdict;
use cairn_schemas::events::model::{AliasAssigned, AliasCleared};
use cairn_schemas::events::training::{MetricValue, RunCompleted, RunForked, RunStarted};
use cairn_schemas::{Event, Position, ProjectName, Real, Ref};

pub(super) fn catalog(events: Vec<Event>) -> Catalog {
    let curves = Curves::over(live(&crate::curves::PROJECTION, events.clone()));
    Catalog::over(live(&PROJECTION, events), curves)
}

fn team() -> ProjectName {
    "team".parse().unwrap()
}

fn failed(run: u64, attempt: u32) -> Event {
    JobFailed { run: run_id(run), attempt, error: "the disk is full".into() }.into()
}

#[test]
fn a_job_is_found_by_its_key_in_the_state_its_latest_attempt_left_it() {
    let start = |run, attempt| Event::from(job_started(run, attempt, "train", vec![document(1)]));
    let key = job_started(1, 1, "train", vec![document(1)]).key;
    let mut events = Vec::new();
    let mut after = |event: Event| {
        events.push(event);
        let catalog = catalog(events.clone());
        let job = catalog.job_by_key(&key).unwrap().unwrap();
        (job.run == run_id(1), job.attempt, job.state, catalog.unfinished_jobs().unwrap().len())
    };
    assert_eq!(after(start(1, 1)), (true, 1, RunState::Running, 1));
    assert_eq!(after(failed(1, 1)), (true, 1, RunState::Failed, 0));
    assert_eq!(after(start(1, 2)), (true, 2, RunState::Running, 1));
    assert_eq!(after(failed(1, 1)), (true, 2, RunState::Running, 1), "a late word of an earlier attempt");
    let cancelled = JobCancelled { run: run_id(1), attempt: 2, reason: "ctrl-C".into() };
    assert_eq!(after(cancelled.into()), (true, 2, RunState::Cancelled, 0));
    assert_eq!(after(start(1, 3)), (true, 3, RunState::Running, 1));
    assert_eq!(after(job_completed(1, 3, vec![artifact("w")])), (true, 3, RunState::Completed, 0));
    // The same work begun again under another run counts once it is done.
    assert_eq!(after(start(5, 1)), (true, 3, RunState::Completed, 1));
    assert_eq!(after(job_completed(5, 1, vec![])), (false, 1, RunState::Completed, 0));
    let mut replay = job_started(6, 1, "train", vec![document(1)]);
    replay.reproduces = Some(run_id(5));
    assert_eq!(after(replay.into()), (false, 1, RunState::Completed, 1));

    let catalog = catalog(events);
    assert_eq!(catalog.job_by_key(&key).unwrap().unwrap().run, run_id(5));
    let job = catalog.job(&run_id(1)).unwrap().unwrap();
    assert_eq!((job.outputs, job.duration_ms, job.started_position.get()), (vec![artifact("w")], Some(12), 1));
    assert_eq!((job.summary["rows"].as_u64(), job.spec["a"]["lr"].as_f64()), (Some(3), Some(4e-3)));
    assert_eq!(job.error, None);
    assert_eq!(catalog.job(&run_id(6)).unwrap().unwrap().reproduces, Some(run_id(5)));
    assert_eq!(catalog.job_by_key(&cairn_schemas::Blake3::of(b"no")).unwrap(), None);
}

#[test]
fn a_training_job_is_one_run_with_its_progress() {
    let completed = RunCompleted {
        run: run_id(2),
        attempt: 2,
        steps: 8,
        tokens: 16_384,
        duration_ms: 5,
        weights: Some(artifact("weights")),
        weights_digest: None,
        metrics: vec![MetricValue { name: "loss".into(), value: Real(0.5) }],
        divergences: vec![],
    };
    let mut events = vec![job_started(2, 1, "train", vec![]).into(), training_started(2, 1)];
    events.push(step(2, 1, 9, &[("loss", 2.0), ("lr", 0.1)]));
    events.push(failed(2, 1));
    events.extend([job_started(2, 2, "train", vec![]).into(), resumed(2, 2, 4)]);
    events.push(step(2, 2, 5, &[("loss", f64::NAN)]));
    events.push(step(2, 1, 10, &[("loss", 7.0)]));
    events.push(completed.into());
    let running = catalog(events.clone()).get(&Ref::Run(run_id(2)).to_string()).unwrap().unwrap();
    assert_eq!((running.state.as_str(), running.name.as_str()), ("running", "train-job"), "the job goes on");
    let training = &running.attributes["training"];
    assert_eq!((training["state"].as_str(), training["steps"].as_u64()), (Some("completed"), Some(8)));
    assert_eq!((training["metrics"]["loss"].as_f64(), training["config"]["lr"].as_f64()), (Some(0.5), Some(0.004)));
    assert_eq!((training["attempt"].as_u64(), training["resumes"][0]["from_step"].as_u64()), (Some(2), Some(4)));
    let progress = &running.attributes["progress"];
    assert_eq!((progress["step"].as_u64(), progress["attempt"].as_u64()), (Some(5), Some(2)));
    assert_eq!((progress["metrics"]["loss"].as_str(), progress["metrics"]["lr"].as_f64()), (Some("NaN"), Some(0.1)));

    events.push(job_completed(2, 2, vec![]));
    let catalog = catalog(events);
    assert_eq!(catalog.get(&Ref::Run(run_id(2)).to_string()).unwrap().unwrap().state, "completed");
    assert_eq!((catalog.count("run").unwrap(), catalog.count("training").unwrap()), (1, 1));
    let weights = catalog.get(&artifact("weights").to_string()).unwrap().unwrap();
    assert_eq!((weights.kind.as_str(), weights.name.as_str()), ("artifact", "weights"));
}

#[test]
fn checkpoints_that_a_resume_left_behind_do_not_count() {
    let events = vec![
        checkpoint(2, 1, 100),
        checkpoint(2, 1, 200),
        checkpoint(2, 1, 300),
        resumed(2, 2, 200),
        checkpoint(2, 2, 250),
        checkpoint(3, 1, 900),
    ];
    let catalog = catalog(events);
    let kept: Vec<_> =
        catalog.checkpoints(&run_id(2)).unwrap().into_iter().map(|c| (c.step, c.attempt, c.tokens.unwrap())).collect();
    assert_eq!(kept, [(100, 1, 204_800), (200, 1, 409_600), (250, 2, 512_000)]);
    assert!(catalog.checkpoints(&run_id(9)).unwrap().is_empty());
}

#[test]
fn versions_and_aliases_resolve() {
    let alias = |name: &str, version: u64| {
        let model = reference(&format!("model://team/chat@{version}"));
        Event::from(AliasAssigned { alias: name.into(), model, reason: None })
    };
    let cleared = |version: u64| {
        let model = reference(&format!("model://team/chat@{version}"));
        Event::from(AliasCleared { alias: "production".into(), model, reason: Some("gone".into()) })
    };
    let withdrawn = VersionWithdrawn { dataset: reference("ds://team/web@10.0.0"), reason: "wrong".into() };
    let page = DocumentsAdded { dataset: reference("ds://team/web@11.0.0"), page: 1, documents: vec![document(1)] };
    let mut events: Vec<Event> = ["ds://team/web@2.0.0", "ds://team/web@9.1.0", "ds://team/web@10.0.0"]
        .map(|text| committed(&reference(text)))
        .into();
    events.extend([withdrawn.into(), page.into()]);
    events.extend([
        model(1, 1),
        model(3, 1),
        alias("production", 1),
        alias("production", 3),
        alias("best", 3),
        cleared(1),
    ]);
    let catalog = catalog(events.clone());
    let resolve = |text: &str| catalog.resolve(text).unwrap().map(|found| found.to_string());
    for (given, expected) in [
        ("ds://team/web", Some("ds://team/web@9.1.0")),
        ("ds://team/web@latest", Some("ds://team/web@9.1.0")),
        ("ds://team/web@10.0.0", Some("ds://team/web@10.0.0")),
        ("ds://team/web@3.0.0", None),
        ("ds://team/none", None),
        ("model://team/chat", Some("model://team/chat@3")),
        ("model://team/chat@production", Some("model://team/chat@3")),
        ("model://team/chat@nothing", None),
        ("model://team/none", None),
        ("mistral-7b", None),
    ] {
        assert_eq!(resolve(given).as_deref(), expected, "{given}");
    }
    assert_eq!(catalog.next_model_version(&team(), "chat").unwrap(), 4);
    assert_eq!(catalog.next_model_version(&team(), "none").unwrap(), 1);
    let states: Vec<_> =
        catalog.dataset_versions(&team(), "web").unwrap().into_iter().map(|(_, state)| state).collect();
    assert_eq!(states, ["committed", "committed", "withdrawn", "building"]);
    assert_eq!(catalog.latest_dataset(&team(), "web").unwrap(), Some(reference("ds://team/web@9.1.0")));
    assert_eq!(
        catalog.alias(&team(), "chat", "production").unwrap(),
        Some(reference("model://team/chat@3")),
        "not cleared by 1"
    );
    assert_eq!(catalog.aliases(&team(), "chat").unwrap().len(), 2);
    let carried = |reference: &str| catalog.get(reference).unwrap().unwrap().attributes["aliases"].to_string();
    assert_eq!(
        (carried("model://team/chat@1"), carried("model://team/chat@3")),
        ("[]".into(), r#"["production","best"]"#.into())
    );

    events.push(cleared(3));
    let catalog = self::catalog(events.clone());
    assert_eq!(catalog.alias(&team(), "chat", "production").unwrap(), None);
    let was: Vec<_> =
        catalog.alias_history(&team(), "chat", "production", None).unwrap().into_iter().map(|c| c.model).collect();
    assert_eq!(was, [Some(reference("model://team/chat@1")), Some(reference("model://team/chat@3")), None]);

    // What each name meant after each event is what a catalog of those events says.
    for length in 1..=events.len() {
        let (then, position) = (self::catalog(events[..length].to_vec()), Position::new(length as u64));
        for name in ["ds://team/web", "ds://team/web@2.0.0", "model://team/chat", "model://team/chat@production", "x"] {
            assert_eq!(catalog.resolve_at(name, position).unwrap(), then.resolve(name).unwrap(), "{name} at {length}");
        }
        let alias = catalog.alias_at(&team(), "chat", "production", position.unwrap()).unwrap();
        assert_eq!(alias, then.alias(&team(), "chat", "production").unwrap(), "at {length}");
    }
    assert_eq!(family_of("model://team/chat").unwrap(), (team(), "chat"));
    for wrong in ["model://team/chat@3", "team/chat", "model://team", "model:///chat"] {
        assert!(family_of(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_deployment_goes_forward_and_back() {
    let mut events = vec![promoted("prod", 1), promoted("prod", 2), promoted("prod", 3)];
    let now = |events: &[Event]| {
        let deployment = catalog(events.to_vec()).deployment("prod").unwrap().unwrap();
        let version = |active: Option<super::ActiveModel>| active.map(|active| active.model.to_string());
        (version(deployment.active), version(deployment.previous))
    };
    let named = |version: u64| Some(format!("model://team/chat@{version}"));
    assert_eq!(now(&events), (named(3), named(2)));
    events.push(rolled_back("prod", 2, 3));
    assert_eq!(now(&events), (named(2), named(1)));
    events.push(rolled_back("prod", 1, 2));
    assert_eq!(now(&events), (named(1), None));
    events.push(promoted("prod", 4));
    assert_eq!(now(&events), (named(4), named(1)));
    events.push(rolled_back("prod", 9, 4));
    assert_eq!(now(&events), (named(9), None), "one that it never answered with");

    let catalog = catalog(events.clone());
    let active = catalog.active("deployment:prod").unwrap().unwrap();
    assert_eq!(active.weights_digest, cairn_schemas::Blake3::of(&9u64.to_le_bytes()));
    let changes = catalog.deployment_history("prod", None).unwrap();
    let shown: Vec<_> = changes.iter().map(|c| (c.change.as_str(), c.from.as_ref().map(Ref::to_string))).collect();
    assert_eq!(shown[..2], [("promoted", None), ("promoted", named(1))]);
    assert_eq!(shown[3], ("rolled_back", named(3)));
    assert_eq!(catalog.get("deployment:prod").unwrap().unwrap().state, "active");
    assert_eq!(catalog.deployment("other").unwrap(), None);
    assert!(matches!(catalog.active("two words"), Err(Error::Schemas(_))));

    events.push(Retired { deployment: reference("deployment:prod"), reason: "old".into() }.into());
    let catalog = self::catalog(events);
    assert_eq!(catalog.active("prod").unwrap(), None);
    assert_eq!(catalog.deployment("prod").unwrap().unwrap().state, "retired");
}

#[test]
fn lists_go_both_ways_in_pages() {
    let mut events: Vec<Event> = (0..25).map(ingested).collect();
    events.push(ingested(3));
    events.extend([
        gate("g", &document(1)),
        judgment("a", &document(1), Verdict::Pass, None),
        judgment("b", &document(1), Verdict::Fail, Some("a")),
    ]);
    let catalog = catalog(events);
    let all = |newest_first: bool| {
        let (mut after, mut found) = (None, Vec::new());
        loop {
            let page = catalog.list("document", after.as_deref(), 4, newest_first).unwrap();
            assert!(page.items.len() == 4 || page.next.is_none());
            found.extend(page.items.into_iter().map(|entity| entity.reference));
            after = page.next;
            if after.is_none() {
                return found;
            }
        }
    };
    let expected: Vec<String> = (0..25).map(|number| document(number).to_string()).collect();
    assert_eq!(all(false), expected, "one said twice is there once");
    assert_eq!(all(true), expected.iter().rev().cloned().collect::<Vec<_>>());
    assert_eq!(catalog.count("document").unwrap(), 25);

    let [all, gates] = ["judgment", "gate"].map(|kind| catalog.list(kind, None, 10, false).unwrap().items);
    let states: Vec<_> = all.iter().map(|entity| (entity.reference.as_str(), entity.state.as_str())).collect();
    assert_eq!(states, [("judgment:g", "block"), ("judgment:a", "superseded"), ("judgment:b", "fail")]);
    assert_eq!(gates, all[..1]);

    let error = catalog.list("documents", None, 1, false).unwrap_err().to_string();
    assert!(error.contains("`documents`") && error.contains("document"), "{error}");
    let other = catalog.list("judgment", None, 1, false).unwrap().next;
    let error = catalog.list("document", other.as_deref(), 1, false).unwrap_err();
    assert!(matches!(error, Error::Cursor { .. }), "{error}");
}

#[test]
fn documents_of_a_version_come_in_pages() {
    let dataset = reference("ds://team/web@1.0.0");
    let pages = [0..7, 7..8, 8..20];
    let events = (1..).zip(pages).map(|(page, numbers)| {
        DocumentsAdded { dataset: dataset.clone(), page, documents: numbers.map(document).collect() }.into()
    });
    let catalog = catalog(events.collect());
    for limit in [1, 3, 7, 8, 20, 1_000] {
        let (mut after, mut found) = (None, Vec::new());
        loop {
            let page = catalog.documents(&dataset, None, after.as_deref(), limit).unwrap();
            assert!(page.items.len() == limit || page.next.is_none(), "limit {limit}");
            found.extend(page.items.into_iter().map(|named| named.document));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(found, (0..20).map(document).collect::<Vec<_>>(), "limit {limit}");
    }
    assert!(matches!(catalog.documents(&dataset, None, Some("x"), 1), Err(Error::Cursor { .. })));
    assert_eq!(catalog.get(&dataset.to_string()).unwrap().unwrap().attributes["documents"], 20);
}

#[test]
fn a_history_leaves_every_kind_with_its_state() {
    let catalog = catalog(history(21, 1_500));
    for (kind, state) in [
        ("source", "registered"),
        ("document", "ingested"),
        ("dataset", "committed"),
        ("model", "registered"),
        ("deployment", "active"),
        ("run", "completed"),
        ("artifact", "stored"),
        ("gate", "block"),
        ("judgment", "block"),
        ("training", "failed"),
    ] {
        let page = catalog.list(kind, None, 1_000, false).unwrap();
        assert!(page.items.iter().any(|entity| entity.state == state), "no {kind} is {state}");
        assert!(catalog.count(kind).unwrap() >= page.items.len() as u64);
        assert!(page.items.iter().all(|entity| entity.project == "default" && entity.attributes.is_object()));
    }
    let run = catalog.get(&Ref::Run(run_id(1)).to_string()).unwrap().unwrap();
    assert_eq!(
        (run.attributes["job"]["state"].as_str(), run.attributes["ingestion"]["source"].as_str()),
        (Some("completed"), Some("web"))
    );
    let page = catalog.rejections(&run_id(1), None, 5).unwrap();
    assert_eq!((page.items.len(), page.items[0].rule.as_str()), (5, "near_duplicate"));
    assert!(page.next.is_some());
    assert!(catalog.get("source:web").unwrap().unwrap().attributes["latest_ingestion"]["ingested"].is_u64());
}

#[test]
fn a_run_is_known_from_the_first_event_about_it_on() {
    let run = |number: u64| Ref::Run(run_id(number)).to_string();
    let mut events = vec![step(1, 1, 5, &[("loss", 2.0)]), checkpoint(2, 1, 9), step(1, 1, 6, &[("loss", 1.0)])];
    let before = catalog(events.clone());
    for number in [1, 2] {
        let met = before.get(&run(number)).unwrap().unwrap();
        assert_eq!((met.state.as_str(), met.name.as_str()), ("running", run(number).as_str()));
        assert_eq!(met.created_position.get(), number);
    }
    assert_eq!((before.count("run").unwrap(), before.count("training").unwrap()), (2, 2));
    assert_eq!(before.count_where("training", Some("metrics.loss = 1 AND seed IS NULL"), None).unwrap(), 1);
    events.extend([training_started(1, 1), training_started(2, 1)]);
    let after = catalog(events);
    let filled = after.get(&run(1)).unwrap().unwrap();
    assert_eq!((filled.state.as_str(), filled.attributes["progress"]["step"].as_u64()), ("running", Some(6)));
    assert!(filled.name != run(1) && filled.attributes["training"]["config"]["lr"].is_number());
    assert_eq!((after.count("run").unwrap(), after.count("training").unwrap()), (2, 2));
    assert_eq!(after.state(&run(1), Position::new(3)).unwrap(), before.get(&run(1)).unwrap());
}

#[test]
fn a_late_start_does_not_begin_what_has_ended() {
    let completed = |attempt| RunCompleted {
        run: run_id(1),
        attempt,
        steps: 8,
        tokens: 16,
        duration_ms: 5,
        weights: None,
        weights_digest: None,
        metrics: vec![],
        divergences: vec![],
    };
    let mut events = vec![completed(1).into(), training_started(1, 1)];
    let state = |events: &[Event]| {
        let run = catalog(events.to_vec()).get(&Ref::Run(run_id(1)).to_string()).unwrap().unwrap();
        (
            run.state,
            run.attributes["training"]["state"].as_str().unwrap().to_owned(),
            run.attributes["training"]["config"]["lr"].is_number(),
        )
    };
    let is = |state: &str| (state.to_owned(), state.to_owned(), true);
    assert_eq!(state(&events), is("completed"));
    // A later attempt begins it again, and its own end ends it; a late word of the first changes nothing.
    events.push(training_started(1, 2));
    assert_eq!(state(&events), is("running"));
    events.extend([completed(2).into(), resumed(1, 2, 4), training_started(1, 1)]);
    assert_eq!(state(&events), is("completed"));
}

#[test]
fn a_fork_is_a_parent() {
    let forked = RunForked { run: run_id(2), from_run: run_id(1), from_step: 3, checkpoint: artifact("c") };
    let Event::RunStarted(started) = training_started(3, 1) else { unreachable!() };
    let begun = RunStarted { parent: Some(run_id(2)), ..started };
    let other = RunForked { run: run_id(3), from_run: run_id(1), from_step: 3, checkpoint: artifact("c") };
    let parents = |events: Vec<Event>, run: u64| {
        let filter = format!("parent = 'run:{}'", run_id(run));
        catalog(events).matching_refs("run", &filter, None, 9).unwrap().refs
    };
    let events = vec![training_started(1, 1), training_started(2, 1), forked.into(), begun.into()];
    assert_eq!(parents(events.clone(), 1), [Ref::Run(run_id(2))]);
    assert_eq!(parents(events.clone(), 2), [Ref::Run(run_id(3))]);
    // A fork says more than a start, as along the axes of a lineage.
    assert_eq!(parents([events, vec![other.into()]].concat(), 1), [Ref::Run(run_id(2)), Ref::Run(run_id(3))]);
}
