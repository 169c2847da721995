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

fn squad() -> serde_json::Value {
    let words = |n: usize, count: usize| {
        let word = |w: usize| format!("word{}", (n * 41 + w * 13) % 1009);
        (0..count).map(word).collect::<Vec<_>>().join(" ")
    };
    let paragraph = |n: usize| {
        let question = |q: usize| {
            let (asked, said) = (words(n * 7 + q, 9), words(n + q, 3));
            serde_json::json!({"id": format!("{n}-{q}"), "question": asked, "answers": [{"text": said, "answer_start": q}]})
        };
        serde_json::json!({"context": words(n, 120), "qas": (0..5).map(question).collect::<Vec<_>>()})
    };
    let article = |a: usize| {
        let paragraphs: Vec<_> = (0..4).map(|p| paragraph(a * 4 + p)).collect();
        serde_json::json!({"title": format!("Article {a}"), "paragraphs": paragraphs})
    };
    serde_json::json!({"version": "1.1", "data": (0..10).map(article).collect::<Vec<_>>()})
}

#[test]
fn questions_inside_paragraphs_are_found_with_what_they_are_about() {
    let place = Place::new();
    let text = init_pipeline(&[place.write("squad/train.json", squad().to_string())]).unwrap();
    let pipeline = Pipeline::parse(&text, Path::new(".")).unwrap();
    let (JobSpec::Ingest(questions), JobSpec::Ingest(contexts)) = (&pipeline.jobs[0].spec, &pipeline.jobs[1].spec)
    else {
        panic!("{text}")
    };
    assert_eq!(questions.records.as_deref(), Some("data.paragraphs.qas"));
    assert_eq!(questions.text.as_deref(), Some("{{ question }}\n{{ answers[0].text }}"));
    assert_eq!(
        (contexts.records.as_deref(), contexts.text.as_deref()),
        (Some("data.paragraphs"), Some("{{ context }}"))
    );
    assert!(text.contains("input: \"{{ context }}\"") && !text.contains("Look here first"), "{text}");
    let report = run_data_jobs(&text);
    assert_eq!(summary(&report, "train")["documents"], 200);
    assert_eq!(summary(&report, "train-contexts")["documents"], 40);
    assert_eq!(summary(&report, "corpus")["rows"], 240);
}

#[test]
fn a_level_is_chosen_for_its_text_and_a_small_part_is_said() {
    let place = Place::new();
    let posts: Vec<_> = (0..30)
        .map(|n| serde_json::json!({"heading": format!("A heading {n}"), "said": format!("some words about thing {n} ").repeat(9)}))
        .collect();
    let file = serde_json::json!([{"name": "A forum thread", "posts": posts}]).to_string();
    let text = init_pipeline(&[place.write("forum.json", file)]).unwrap();
    assert!(text.contains("records: \"posts\"") && text.contains("{{ said }}"), "{text}");
    run_data_jobs(&text);

    let line = |n: usize| {
        let fields = serde_json::json!({"a note": format!("a short note {n}"), "raw\nlog": vec!["x1f"; 90]});
        format!("{fields}\n")
    };
    let text = init_pipeline(&[place.write("notes.jsonl", (0..40).map(line).collect::<String>())]).unwrap();
    assert!(
        text.contains("Look here first: documents hold")
            && text.contains(r#"Left out, with their bytes: "raw\nlog" ("#),
        "{text}"
    );
    assert!(text.contains(r#"{{ record[\"a note\"] }}"#), "{text}");
    run_data_jobs(&text);
}

#[test]
fn tables_of_numbers_are_refused_with_their_columns() {
    let place = Place::new();
    let table = place.write(
        "runs/loss.csv",
        "step,learning_rate_peak,where\n1,0.0004,https://example.org/1\n2,0.0003,https://example.org/2\n",
    );
    for path in [table.clone(), place.path("runs")] {
        let error = init_pipeline(&[path]).unwrap_err().to_string();
        let expected = format!("{}: it holds no text worth training on", table.display());
        assert!(error.contains(&expected), "{error}");
        assert!(error.contains("step (number), learning_rate_peak (number), where (code or address)"), "{error}");
        assert_eq!(error.matches("loss.csv").count(), 1, "{error}");
    }
}

#[test]
fn what_cannot_be_used_is_refused() {
    let place = Place::new();
    let error = |paths: &[PathBuf]| init_pipeline(paths).unwrap_err().to_string();
    assert!(error(&[]).contains("name 1 to"));
    assert!(error(&[place.path("none")]).contains("there is no file or folder"));
    assert!(error(&[place.write("a.mp4", "x")]).contains("not supported"));
    assert!(
        error(&[place.write("n.jsonl", "{\"a\": 1, \"b\": 2}\n")]).contains("the fields are a (number), b (number)")
    );
    assert!(error(&[place.write("e.jsonl", "")]).contains("no record could be read"));
}
