//! `init_pipeline`: what it writes is read back, and its data jobs run as they are.

mod common;

use cairn_processors::pipeline::{JobKind, JobSpec, SplitSpec};
use cairn_processors::{Pipeline, RunOptions, init_pipeline, run_pipeline};
use common::{Place, Watcher, gsm8k, summary};
use std::path::{Path, PathBuf};

/// Runs the jobs that need no model; every split that is used has rows.
fn run_data_jobs(text: &str) -> cairn_processors::PipelineReport {
    let place = Place::new();
    let ctx = place.open();
    let pipeline = Pipeline::parse(text, Path::new(".")).unwrap();
    let data = [JobKind::Ingest, JobKind::Dataset, JobKind::Tokenizer];
    let names = pipeline.jobs.iter().filter(|job| data.contains(&job.spec.kind())).map(|job| job.name.clone());
    let options = RunOptions { only: Some(names.collect()), ..RunOptions::default() };
    let report = run_pipeline(&ctx, &pipeline, &options, &Watcher::default()).unwrap();
    assert!(report.complete, "{text}\n{:?}", report.jobs);
    report
}

fn kinds(text: &str) -> Vec<&'static str> {
    Pipeline::parse(text, Path::new(".")).unwrap().jobs.iter().map(|job| job.spec.kind().as_str()).collect()
}

fn head(lines: usize) -> String {
    std::fs::read_to_string(gsm8k("train.jsonl")).unwrap().lines().take(lines).map(|line| format!("{line}\n")).collect()
}

#[test]
fn questions_and_answers_become_a_pipeline_with_tuning() {
    let place = Place::new();
    let train = place.write("gsm8k/train.jsonl", head(400));
    let text = init_pipeline(&[train]).unwrap();
    let expected =
        ["ingest", "dataset", "tokenizer", "train", "train", "evaluate", "evaluate", "judge", "gate", "gate", "deploy"];
    assert_eq!(kinds(&text), expected, "{text}");
    assert!(
        text.contains("project: gsm8k") && text.contains("{{ question }}") && text.contains("format_validity"),
        "{text}"
    );
    let report = run_data_jobs(&text);
    let splits = summary(&report, "corpus")["splits"].clone();
    assert!(
        splits["train"].as_u64() > Some(300)
            && splits["test"].as_u64() >= Some(5)
            && splits["validation"].as_u64() >= Some(2)
    );
}

#[test]
fn a_file_that_says_test_is_held_out_unless_it_repeats_the_others() {
    let place = Place::new();
    let lines = head(120);
    let (train, test) = lines.split_at(lines.lines().take(100).map(|line| line.len() + 1).sum());
    let paths = [place.write("sums/train.jsonl", train), place.write("sums/test.jsonl", test)];
    let text = init_pipeline(&paths).unwrap();
    let report = run_data_jobs(&text);
    assert_eq!(summary(&report, "corpus")["splits"]["test"], 20);

    place.write("sums/test.jsonl", format!("{test}{}\n", train.lines().next().unwrap()));
    let text = init_pipeline(&paths).unwrap();
    let pipeline = Pipeline::parse(&text, Path::new(".")).unwrap();
    let JobSpec::Ingest(ingest) = &pipeline.jobs[0].spec else { panic!() };
    assert_eq!(ingest.paths.len(), 2, "{text}");
    let report = run_data_jobs(&text);
    assert_eq!(summary(&report, "corpus")["documents"], 120);
}

#[test]
fn folders_of_texts_have_no_pairs_and_mixed_ones_become_several_jobs() {
    let place = Place::new();
    for n in 0..60 {
        let words: Vec<String> = (0..80).map(|w| format!("word{}", (n * 37 + w * 11) % 997)).collect();
        place.write(&format!("pages/{n:02}.md"), format!("# Page {n}\n\n{}\n", words.join(" ")));
    }
    let text = init_pipeline(&[place.path("pages")]).unwrap();
    assert_eq!(kinds(&text), ["ingest", "dataset", "tokenizer", "train", "evaluate", "gate", "deploy"], "{text}");
    run_data_jobs(&text);

    place.write(
        "pages/qa.csv",
        "prompt,completion\nWhat is stacked?,Stones are stacked.\nBy whom?,By those who pass.\n",
    );
    let text = init_pipeline(&[place.path("pages")]).unwrap();
    assert_eq!(kinds(&text)[..3], ["ingest", "ingest", "dataset"], "{text}");
    run_data_jobs(&text);
}

#[test]
fn too_little_to_split_is_said_and_runs() {
    let place = Place::new();
    let note = place.write("note.txt", "Stones are put on stones so that those who follow find the way in fog.\n");
    let text = init_pipeline(&[note]).unwrap();
    assert!(text.contains("Too few documents"), "{text}");
    let pipeline = Pipeline::parse(&text, Path::new(".")).unwrap();
    let rows = pipeline.jobs.iter().find_map(|job| match &job.spec {
        JobSpec::Dataset(spec) => Some(spec.rows[0].split.clone()),
        _ => None,
    });
    assert_eq!(rows, Some(SplitSpec::One("train".into())));
    run_data_jobs(&text);
}

#[test]
fn what_cannot_be_used_is_refused() {
    let place = Place::new();
    let error = |paths: &[PathBuf]| init_pipeline(paths).unwrap_err().to_string();
    assert!(error(&[]).contains("name 1 to"));
    assert!(error(&[place.path("none")]).contains("there is no file or folder"));
    assert!(error(&[place.write("a.mp4", "x")]).contains("not supported"));
    assert!(error(&[place.write("n.jsonl", "{\"a\": 1, \"b\": 2}\n")]).contains("the fields are a, b"));
    assert!(error(&[place.write("e.jsonl", "")]).contains("no record could be read"));
}
