//! `cairn init` on data of one's own writes a pipeline that runs unedited.

use crate::support::{Place, repository};

#[test]
fn init_writes_a_pipeline_that_runs_unedited() {
    let place = Place::new();
    let problems = std::fs::read_to_string(repository().join("tests/data/gsm8k/train.jsonl")).unwrap();
    place.write("mine/problems.jsonl", problems.lines().take(60).collect::<Vec<_>>().join("\n"));
    place.write("mine/notes.md", "# Notes\n\nA page about counting apples and pears, long enough to be kept.\n");
    place.cairn(&["init", "mine"]).ok();
    place.cairn(&["init", "mine"]).refuses(4, &["exists", "--force"]);
    let yaml = std::fs::read_to_string(place.path("pipeline.yaml")).unwrap();
    assert!(yaml.lines().filter(|line| line.trim_start().starts_with('#')).count() > 5, "it is commented:\n{yaml}");
    let said = place.cairn(&["run", "pipeline.yaml"]);
    assert!(said.code == 0, "{said:?}\n{yaml}");
    assert!(!place.events("training.run_completed").is_empty());
    assert!(!place.events("evaluation.completed").is_empty());
    place.cairn(&["init", "nowhere", "--force"]).refuses(4, &["nowhere"]);
}
