//! Killed and stopped in the middle of training: the record says so, and the work goes on where it was.

use crate::support::Place;
use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

const STEPS: u32 = 1500;

/// Waits until training is well under way.
fn wait_for_checkpoint(place: &Place) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while Instant::now() < deadline {
        if place.data().join("ledger").exists()
            && place.cairn(&["--json", "log", "--type", "checkpoint_saved"]).out.lines().count() >= 3
        {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("no checkpoint was saved in time");
}

/// State digests of the base run's checkpoints, by step; a later attempt's word replaces an earlier one's.
fn checkpoints(place: &Place) -> BTreeMap<u64, String> {
    let saved = place.events("checkpoint_saved");
    let run = saved[0]["data"]["run"].clone();
    let of_base = saved.iter().filter(|e| e["data"]["run"] == run);
    of_base
        .map(|e| (e["data"]["step"].as_u64().unwrap(), e["data"]["state_digest"].as_str().unwrap().to_owned()))
        .collect()
}

#[test]
fn a_killed_run_resumes_bitwise_and_the_ledger_verifies() {
    let whole = Place::with_pipeline(STEPS);
    whole.cairn(&["run", "pipeline.yaml", "--only", "problems,pages,corpus,vocabulary,base"]).ok();

    let killed = Place::with_pipeline(STEPS);
    let args = ["run", "pipeline.yaml", "--only", "problems,pages,corpus,vocabulary,base"];
    let mut child = killed.start(&args);
    wait_for_checkpoint(&killed);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(killed.events("run_completed").is_empty(), "it was done before it was killed");
    killed.cairn(&["verify"]).ok();

    killed.cairn(&args).ok();
    let resumed = killed.events("run_resumed");
    assert_eq!(resumed.len(), 1);
    assert!(resumed[0]["data"]["from_step"].as_u64().unwrap() >= 10);
    let completed = killed.events("run_completed");
    assert_eq!(completed[0]["data"]["attempt"], 2);
    assert_eq!(completed[0]["data"]["divergences"], serde_json::json!([]));
    assert_eq!(checkpoints(&killed), checkpoints(&whole), "the same state at each checkpoint as without the kill");
    let run = completed[0]["data"]["run"].as_str().unwrap().to_owned();
    let csv = killed.cairn(&["curves", &run, "--csv"]).ok().out;
    assert_eq!(csv.lines().count() as u32, STEPS + 1, "each step once");
    killed.cairn(&["verify"]).ok();
}

#[test]
fn an_interrupt_is_recorded_and_the_run_can_go_on() {
    let place = Place::with_pipeline(STEPS);
    let args = ["run", "pipeline.yaml", "--only", "problems,pages,corpus,vocabulary,base"];
    let mut child = place.start(&args);
    wait_for_checkpoint(&place);
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let cancelled = place.events("run_cancelled");
    assert_eq!(cancelled.len(), 1);
    let stopped_at = cancelled[0]["data"]["step"].as_u64().unwrap();
    let logged = place.events("step_logged").iter().map(|e| e["data"]["step"].as_u64().unwrap()).max();
    assert_eq!(logged, Some(stopped_at), "every step taken is recorded");
    place.cairn(&args).ok();
    assert_eq!(place.events("run_completed").len(), 1);
    place.cairn(&["verify"]).ok();
}
