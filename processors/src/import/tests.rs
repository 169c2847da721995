//! The importers on the real files, and on files with one thing wrong.

use super::ladder::Evaluations;
use super::olmo::Told;
use super::*;
use cairn_schemas::events::training::{CheckpointListed, RunForked, RunStarted, StepLogged};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashSet};

fn data(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data").join(name)
}

fn folder(name: &str, endings: &[&str]) -> Vec<File> {
    let mut paths: Vec<_> = std::fs::read_dir(data(name)).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| endings.iter().any(|ending| path.extension().is_some_and(|e| e == *ending)));
    paths.sort();
    paths.iter().map(|path| File::read(path).unwrap()).collect()
}

fn file(name: &str, text: &str) -> File {
    File { name: name.into(), bytes: text.as_bytes().to_vec() }
}

fn project() -> ProjectName {
    "real".parse().unwrap()
}

fn of<T: Clone>(import: &Import, pick: impl Fn(&Event) -> Option<&T>) -> Vec<T> {
    import.events.iter().filter_map(|event| pick(&event.event).cloned()).collect()
}

fn started(import: &Import) -> Vec<RunStarted> {
    of(import, |e| if let Event::RunStarted(e) = e { Some(e) } else { None })
}
fn steps(import: &Import) -> Vec<StepLogged> {
    of(import, |e| if let Event::StepLogged(e) = e { Some(e) } else { None })
}
fn listed(import: &Import) -> Vec<CheckpointListed> {
    of(import, |e| if let Event::CheckpointListed(e) = e { Some(e) } else { None })
}
fn forks(import: &Import) -> Vec<RunForked> {
    of(import, |e| if let Event::RunForked(e) = e { Some(e) } else { None })
}
fn taken(import: &Import) -> Vec<RunImported> {
    of(import, |e| if let Event::RunImported(e) = e { Some(e) } else { None })
}

/// Each source and id once, no event over its bounds, and every artifact that is named at hand.
fn is_well_formed(import: &Import) {
    let mut ids = HashSet::new();
    let stored: BTreeSet<Ref> = import.artifacts.iter().map(|bytes| Ref::Artifact(Blake3::of(bytes))).collect();
    for event in &import.events {
        assert!(ids.insert(event.envelope.id.clone()), "{} twice", event.envelope.id);
        assert!(event.event.encode().len() < 1 << 20);
        let links = event.event.links();
        assert!(links.len() <= 1024);
        for reference in links.used.iter().chain(&links.produced) {
            assert!(!matches!(reference, Ref::Artifact(_)) || stored.contains(reference), "{reference}");
        }
    }
}

fn refused(result: Result<Import, Error>) -> String {
    match result {
        Err(error) => error.to_string(),
        Ok(import) => panic!("it was taken: {:?}", import.summary),
    }
}

#[test]
fn the_ladder_is_eight_runs_with_every_value_of_every_column() {
    let files = folder("olmo/ladder", &["csv"]);
    let import = ladder::read(&files, &project(), Evaluations::Last).unwrap();
    is_well_formed(&import);
    assert_eq!((import.summary.runs, import.summary.steps), (8, 1932));
    let runs = started(&import);
    let small = runs.iter().find(|run| run.name.as_deref() == Some("190M-1xC")).unwrap();
    let config = small.config.to_value();
    assert_eq!((&config["size"], &config["chinchilla_multiple"]), (&Value::from("190M"), &Value::from(1)));
    assert_eq!(config["batch_size_in_tokens"], 524_288);
    let of_small: Vec<StepLogged> = steps(&import).into_iter().filter(|step| step.run == small.run).collect();
    let first = &of_small[0];
    assert_eq!((of_small.len(), first.step, first.tokens, first.metrics.len()), (37, 200, 104_857_600, 105));
    // Read by another reader: the whole file, split at commas.
    let text = std::fs::read_to_string(data("olmo/ladder/190M-1xC.csv")).unwrap();
    let names: Vec<&str> = text.lines().next().unwrap().split(',').collect();
    for (line, step) in text.lines().skip(1).zip(&of_small) {
        let fields: Vec<&str> = line.split(',').collect();
        assert_eq!(fields[0], step.tokens.to_string());
        let metrics: Vec<(&str, f64)> = step.metrics.iter().map(|m| (m.name.as_str(), m.value.0)).collect();
        let expected: Vec<(&str, f64)> =
            names.iter().zip(&fields).skip(1).map(|(name, field)| (*name, field.parse().unwrap())).collect();
        assert_eq!(metrics, expected);
    }
    assert!(taken(&import).iter().all(|e| e.unknown.contains(&"seed".to_owned()) && e.files.len() == 1));
}

#[test]
fn downstream_scores_of_the_ladder_are_evaluations() {
    let files = [File::read(&data("olmo/ladder/370M-10xC.csv")).unwrap()];
    let count = |evaluations| ladder::read(&files, &project(), evaluations).unwrap().summary.evaluations;
    assert_eq!(count(Evaluations::None), 0);
    let import = ladder::read(&files, &project(), Evaluations::Last).unwrap();
    is_well_formed(&import);
    let completed = of(&import, |e| if let Event::EvaluationCompleted(e) = e { Some(e) } else { None });
    assert_eq!(completed.len() * 709, count(Evaluations::All) as usize);
    let task = completed.iter().find(|e| e.task == "hellaswag_rc_5shot").unwrap();
    let names: BTreeMap<&str, bool> = task.metrics.iter().map(|m| (m.name.as_str(), m.higher_is_better)).collect();
    assert_eq!(names, BTreeMap::from([("accuracy_length_normalized", true), ("bits_per_byte", false)]));
    assert_eq!((task.step, task.metrics[0].n), (Some(141_636), 0));
    let other = folder("olmo/ladder", &["csv"]);
    let other = ladder::read(&other, &project(), Evaluations::Last).unwrap();
    let digests: BTreeSet<Blake3> = of(&other, |e| if let Event::EvaluationCompleted(e) = e { Some(e) } else { None })
        .iter()
        .filter(|e| e.task == task.task)
        .map(|e| e.protocol_digest)
        .collect();
    assert_eq!(digests.len(), 1, "one task is one protocol over all runs");
}

#[test]
fn a_wrong_row_of_the_ladder_is_refused_with_its_place() {
    let head = "throughput/total_tokens,batch_size_in_tokens,loss\n";
    let read = |name: &str, rows: &str| {
        refused(ladder::read(&[file(name, &format!("{head}{rows}"))], &project(), Evaluations::Last))
    };
    let good = "100,100,2.5\n";
    for (rows, expected) in [
        ("100,100,high\n", "190M-1xC.csv:2:3: `loss` is `high`; expected a number"),
        ("100,100,2.5\n50,100,2.5\n", "190M-1xC.csv:3:1: 50 tokens are no whole number of steps of 100"),
        ("200,100,2.5\n100,100,2.5\n", "190M-1xC.csv:3:1: 100 tokens after 200 in the row before"),
        ("0,100,2.5\n", "190M-1xC.csv:2:1"),
        ("1e3,100,2.5\n", "190M-1xC.csv:2:1: `throughput/total_tokens` is `1e3`"),
        ("100,100\n", "190M-1xC.csv:2:3: the row has 2 fields, where the first row names 3"),
        (
            "100,100,2.5\n200,50,2.5\n",
            "190M-1xC.csv:3:2: `batch_size_in_tokens` is `50`, where the first row has `100`",
        ),
        ("", "190M-1xC.csv:2:1: no rows"),
    ] {
        let told = read("190M-1xC.csv", rows);
        assert!(told.contains(expected) && told.contains("nothing was imported"), "{rows}: {told}");
    }
    assert!(read("curve.csv", good).contains("expected <size>-<multiple>xC.csv"));
    let other = [file("190M-1xC.csv", "step,loss\n1,2\n")];
    assert!(refused(ladder::read(&other, &project(), Evaluations::Last)).contains("no column is called"));
    let missing = format!("{head}100,100,\n200,100,nan\n");
    let import = ladder::read(&[file("190M-1xC.csv", &missing)], &project(), Evaluations::Last).unwrap();
    let lengths: Vec<usize> = steps(&import).iter().map(|step| step.metrics.len()).collect();
    assert_eq!(lengths, [1, 2], "an empty field is no point, and NaN is one");
    let many: String = (0..50).map(|_| "x,100,1\n").collect();
    assert!(read("190M-1xC.csv", &many).contains("and 30 more like these"));
}

#[test]
fn datadecide_is_every_model_and_every_checkpoint() {
    let import = datadecide::read(&folder("datadecide", &["jsonl"]), &project()).unwrap();
    is_well_formed(&import);
    assert_eq!((import.summary.runs, import.summary.checkpoints), (1_103, 31_491));
    let runs = started(&import);
    let values = |name: &str| -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        runs.iter().for_each(|run| *counts.entry(run.config.to_value()[name].to_string()).or_default() += 1);
        counts
    };
    assert_eq!(values("size").len(), 14);
    let seeds: Vec<(u64, u64)> = values("seed").into_iter().map(|(seed, runs)| (seed.parse().unwrap(), runs)).collect();
    assert_eq!(BTreeMap::from_iter(seeds), BTreeMap::from([(4, 25), (5, 25), (14, 350), (15, 350), (6198, 353)]));
    assert_eq!(values("tokens_multiple"), BTreeMap::from([("\"5xC\"".into(), 1_103)]));
    assert!(runs.iter().all(|run| run.seed == run.config.to_value()["seed"]));
    assert_eq!(values("recipe").len(), 29);
    assert_eq!(values("recipe_title").remove("null"), Some(7), "seven models name no recipe of the list's README");
    assert_eq!(import.summary.notes.len(), 4, "{:?}", import.summary.notes);
    let checkpoints = listed(&import);
    assert!(checkpoints.iter().all(|c| c.tokens.is_none() && c.description.is_none()));
    assert!(checkpoints.iter().any(|c| {
        c.location == "weka://oe-eval-default/ai2-llm/checkpoints/OLMo-ladder/davidh/falcon_and_cc_tulu_qc_top10-60M-5xC-14/step6250-unsharded-hf"
    }));
}

#[test]
fn what_a_datadecide_line_leaves_open_is_refused_by_name() {
    let read = |name: &str, folder: &str, revision: &str| {
        let line = serde_json::json!({
            "model_name": name, "checkpoints_location": format!("weka://x/{folder}"), "revisions": [revision],
        });
        datadecide::read(&[file("list.jsonl", &format!("\n{line}\n"))], &project())
    };
    let step = "step5-unsharded-hf";
    for (name, folder) in [("c4-4M-14", "c4-4M-5xC-14"), ("c4-4M-6198", "c4-4M-5xC"), ("c4-4M-6198", "c4-4M-5xC-2")] {
        assert_eq!(read(name, folder, step).unwrap().summary.runs, 1, "{name} {folder}");
    }
    for (name, folder, revision, expected) in [
        ("c4-4M-14", "c4-4M-5xC-15", step, "list.jsonl:2:1: checkpoints_location ends in `c4-4M-5xC-15`"),
        ("c4-4M-14", "c4-4M-5xC", step, "asks for c4-4M-<multiple>xC[-14]"),
        ("c4-4M-14", "c4-6M-5xC-14", step, "asks for c4-4M"),
        ("c4-4M-14", "falcon-4M-5xC-14", step, "asks for c4-4M"),
        ("c4-4M", "c4-4M-5xC", step, "model_name `c4-4M` is not <recipe>-<size>-<seed>"),
        ("c4-big-14", "c4-big-5xC-14", step, "is not <recipe>-<size>-<seed>"),
        ("c4-4M-014", "c4-4M-5xC-014", step, "is not <recipe>-<size>-<seed>"),
        ("c4-4M-14", "c4-4M-5xC-14", "main", "revision `main` of `c4-4M-14` is not step<number>"),
    ] {
        let told = refused(read(name, folder, revision));
        assert!(told.contains(expected), "{name} {folder}: {told}");
    }
    let told = refused(datadecide::read(&[file("list.jsonl", "{\"model_name\": 3}\n")], &project()));
    assert!(told.contains("list.jsonl:1:16: invalid type"), "{told}");
    let line = std::fs::read_to_string(data("datadecide/weka_paths.jsonl")).unwrap().lines().next().unwrap().to_owned();
    let told = refused(datadecide::read(&[file("list.jsonl", &format!("{line}\n{line}\n"))], &project()));
    assert!(told.contains("list.jsonl:2:1: a second line for"), "{told}");
}

fn told<'a>(ingredients: &'a BTreeMap<String, String>, is_known: &'a dyn Fn(&RunId) -> bool) -> Told<'a> {
    Told { ingredients, is_known }
}

fn nothing() -> BTreeMap<String, String> {
    BTreeMap::new()
}

#[test]
fn olmo_is_a_pretraining_and_three_runs_from_its_last_checkpoint() {
    let files = folder("olmo/official-1124", &["yaml", "csv"]);
    let ingredients = BTreeMap::from([
        ("1".to_owned(), "OLMo2-7B-stage2-seed42".to_owned()),
        ("2".to_owned(), "OLMo2-7B-stage2-seed42069".to_owned()),
        ("3".to_owned(), "OLMo2-7B-stage2-seed666".to_owned()),
    ]);
    let import = olmo::read(&files, &project(), &told(&ingredients, &|_| false)).unwrap();
    is_well_formed(&import);
    assert_eq!((import.summary.runs, import.summary.placeholders, import.summary.checkpoints), (4, 0, 935 + 36 + 1));
    let runs = started(&import);
    let first = runs.iter().find(|run| run.method == "pretrain").unwrap();
    assert_eq!((first.name.as_deref(), first.seed), (Some("OLMo2-7B-stage1"), 6198));
    assert_eq!(first.config.to_value()["optimizer"]["learning_rate"], 3.0e-4);
    assert_eq!(first.config.to_value()["data"]["paths"].as_array().unwrap().len(), 1_122);
    let forks = forks(&import);
    assert_eq!(forks.len(), 3);
    for fork in &forks {
        assert_eq!((fork.from_run, fork.from_step), (first.run, 928_646));
        assert_eq!(fork.checkpoint, forks[0].checkpoint);
    }
    let named = listed(&import).into_iter().find(|c| c.description.is_some()).unwrap();
    assert_eq!((named.run, named.tokens), (first.run, Some(928_646 * 1024 * 4096)));
    let text = import.artifacts.iter().find(|bytes| Some(Ref::Artifact(Blake3::of(bytes))) == named.description);
    assert!(std::str::from_utf8(text.unwrap()).unwrap().contains("peteish7/step928646-unsharded"));
    let seconds: Vec<&RunStarted> = runs.iter().filter(|run| run.method == "midtrain").collect();
    assert_eq!(seconds.iter().map(|run| run.seed).collect::<BTreeSet<_>>(), BTreeSet::from([42, 666, 42_069]));
    for run in seconds {
        assert_eq!((run.parent, run.steps_planned), (Some(first.run), Some(11_931)));
        assert_eq!(listed(&import).iter().filter(|c| c.run == run.run).count(), 12);
    }
    let about = taken(&import).into_iter().find(|e| e.run == first.run).unwrap();
    assert_eq!(about.about.to_value()["data"]["files_by_dataset"]["starcoder"], 100);
    assert_eq!(about.files.len(), 3, "config, provenance and list");
}

#[test]
fn a_parent_that_was_not_read_is_a_placeholder_until_it_is() {
    let all = folder("olmo/official-1124", &["yaml", "csv"]);
    let second: Vec<File> = all.iter().filter(|file| file.name.contains("seed42.")).cloned().collect();
    let import = olmo::read(&second, &project(), &told(&nothing(), &|_| false)).unwrap();
    is_well_formed(&import);
    assert_eq!((import.summary.runs, import.summary.placeholders), (1, 1));
    let placeholder = taken(&import).into_iter().find(|e| e.is_placeholder).unwrap();
    assert!(placeholder.notes[0].contains("only named, by OLMo2-7B-stage2-seed42.yaml"), "{placeholder:?}");
    assert!(placeholder.unknown.contains(&"method".to_owned()));
    assert_eq!(forks(&import)[0].from_run, placeholder.run);
    assert_eq!(listed(&import)[0].tokens, None, "tokens are not known without the parent's config");
    let again = olmo::read(&second, &project(), &told(&nothing(), &|run| *run == placeholder.run)).unwrap();
    assert_eq!(again.summary.placeholders, 0, "the ledger knows it");
    let whole = olmo::read(&all, &project(), &told(&nothing(), &|_| false)).unwrap();
    is_well_formed(&whole);
    let first = started(&whole).into_iter().find(|run| run.method == "pretrain").unwrap();
    assert_eq!(first.run, placeholder.run, "what is read later takes the placeholder's place");
    assert_eq!(whole.summary.placeholders, 3, "ingredients of which nobody says which config they are");
    assert_eq!(whole.summary.notes.len(), 3);
}

#[test]
fn wrong_files_beside_olmo_are_refused_with_their_place() {
    let read = |files: &[File]| refused(olmo::read(files, &project(), &told(&nothing(), &|_| false)));
    for (name, text, expected) in [
        (
            "a.yaml",
            "run_name: a\nload_path: /x/latest\n",
            "a.yaml:2:1: load_path is \"/x/latest\"; expected a place that ends in",
        ),
        ("a.yaml", "seed: 1\n", "a.yaml:1:1: run_name is null"),
        ("a.yaml", "run_name: a\nseed: -1\n", "a.yaml:2:1: seed is -1; expected a whole number"),
        ("a.yaml", "run_name: [a\n", "a.yaml:"),
        ("a.csv", "Steps,Where\n1,x\n", "a.csv:1:1: columns are Steps,Where"),
        (
            "a.csv",
            "Step,Checkpoint Directory\n1,s3://x/step2-unsharded/\n",
            "a.csv:2:2: `s3://x/step2-unsharded/` is of step 2, where the row says 1",
        ),
        (
            "a.csv",
            "Step,Checkpoint Directory\n1,s3://x/step1-unsharded\n2,s3://y/step2-unsharded\n",
            "a.csv:3:2: `s3://y/step2-unsharded` is not in s3://x",
        ),
        (
            "a.csv",
            "Step,Checkpoint Directory\n1,s3://x/step1-unsharded\n1,s3://x/step1-unsharded\n",
            "a.csv:3:1: step 1 a second time",
        ),
        ("a.csv", "Step,Checkpoint Directory\nx,s3://x/step1-unsharded\n", "a.csv:2:1: step `x`"),
        ("a.csv", "Dataset,Data Directory\n", "no config and no list"),
    ] {
        let told = read(&[file(name, text)]);
        assert!(told.contains(expected), "{text}: {told}");
    }
    let twice = [file("a.yaml", "run_name: a\n"), file("b.yaml", "run_name: a\n")];
    assert!(read(&twice).contains("b.yaml:1:1: a second config with run_name `a`"));
    let list = file("l.csv", "Ingredient,Step,Checkpoint Directory\n1,1,s3://x/step1-unsharded\n");
    let ingredients = BTreeMap::from([("1".to_owned(), "b".to_owned())]);
    let files = [file("a.yaml", "run_name: a\n"), list];
    let error = olmo::read(&files, &project(), &told(&ingredients, &|_| false)).unwrap_err().to_string();
    assert!(error.contains("ingredient 1, `b`: no config that was read has this run_name; they are a"), "{error}");
    let broken = File { name: "a.yaml".into(), bytes: b"run_name: a\nx: \xff\n".to_vec() };
    assert!(read(&[broken]).contains("a.yaml:2:4: is not UTF-8"));
}

#[test]
fn an_import_recorded_twice_changes_nothing() {
    let place = tempfile::tempdir().unwrap();
    let context = crate::Context::open(place.path()).unwrap();
    let files = folder("olmo/ladder", &["csv"]);
    let first = ladder::read(&files[..2], &project(), Evaluations::Last).unwrap();
    let all = ladder::read(&files[..3], &project(), Evaluations::Last).unwrap();
    let (some, whole) = (first.events.len() as u64, all.events.len() as u64);
    let recorded = record(&context, first).unwrap();
    assert_eq!((recorded.appended, recorded.repeated), (some, 0));
    let recorded = record(&context, all.clone()).unwrap();
    assert_eq!((recorded.appended, recorded.repeated), (whole - some, some));
    let recorded = record(&context, all).unwrap();
    assert_eq!((recorded.appended, recorded.repeated), (0, whole));
    context.projections().catch_up().unwrap();
    let catalog = context.projections().catalog();
    let run = started(&ladder::read(&files[..1], &project(), Evaluations::None).unwrap())[0].run;
    let entity = catalog.get(&Ref::Run(run).to_string()).unwrap().unwrap();
    assert_eq!((entity.state.as_str(), entity.project.as_str()), ("imported", "real"));
    let training = &entity.attributes["training"];
    assert!(training.get("seed").is_none(), "a seed that no file gives is none: {training}");
    assert_eq!(training["config"]["size"], "190M");
}

#[test]
fn what_is_read_later_is_said_beside_what_was_read_before() {
    let place = tempfile::tempdir().unwrap();
    let context = crate::Context::open(place.path()).unwrap();
    let all = folder("olmo/official-1124", &["yaml", "csv"]);
    let named = |part: &str| -> Vec<File> { all.iter().filter(|file| file.name.contains(part)).cloned().collect() };
    let mut first = None;
    for files in [named("seed42."), named("OLMo-2-1124-7B.csv"), all.clone(), all.clone()] {
        context.projections().catch_up().unwrap();
        let catalog = context.projections().catalog();
        let is_known = |run: &RunId| catalog.get(&Ref::Run(*run).to_string()).unwrap().is_some();
        let import = olmo::read(&files, &project(), &told(&nothing(), &is_known)).unwrap();
        first = started(&import).into_iter().find(|run| run.method == "pretrain").or(first);
        let recorded = record(&context, import).unwrap();
        assert!(files.len() < all.len() || recorded.summary.runs == 4, "{recorded:?}");
    }
    context.projections().catch_up().unwrap();
    let catalog = context.projections().catalog();
    let run = first.unwrap().run;
    let checkpoints = catalog.checkpoints(&run).unwrap();
    assert_eq!(checkpoints.len(), 936, "each step once, however often it was listed");
    assert!(checkpoints.iter().all(|c| c.tokens.is_some()) && checkpoints.last().unwrap().checkpoint.is_some());
    let entity = catalog.get(&Ref::Run(run).to_string()).unwrap().unwrap();
    assert_eq!((entity.name.as_str(), entity.state.as_str()), ("OLMo2-7B-stage1", "imported"));
}

#[test]
fn checkpoints_kept_elsewhere_are_known_without_digests() {
    let place = tempfile::tempdir().unwrap();
    let context = crate::Context::open(place.path()).unwrap();
    let files = folder("olmo/official-1124", &["yaml", "csv"]);
    record(&context, olmo::read(&files, &project(), &told(&nothing(), &|_| false)).unwrap()).unwrap();
    context.projections().catch_up().unwrap();
    let import = olmo::read(&files, &project(), &told(&nothing(), &|_| false)).unwrap();
    let first = started(&import).into_iter().find(|run| run.method == "pretrain").unwrap().run;
    let checkpoints = context.projections().catalog().checkpoints(&first).unwrap();
    assert_eq!(checkpoints.len(), 936);
    assert!(checkpoints.iter().all(|c| c.weights_digest.is_none() && c.location.is_some()));
    let last = checkpoints.last().unwrap();
    assert_eq!((last.step, last.tokens), (928_646, Some(3_895_023_632_384)));
}
