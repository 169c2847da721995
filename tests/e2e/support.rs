//! The binary on a data directory of its own, and a pipeline small enough for a test.

use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// A folder that goes away, with a data directory in it.
pub(crate) struct Place {
    folder: tempfile::TempDir,
}

/// What a command said and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("output is UTF-8");
        Self { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
    }
    /// The last line of standard output as JSON.
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.code, 0, "{self:?}");
        serde_json::from_str(self.out.lines().last().unwrap_or_default()).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }
    /// Ends with this code and names each of these in its error.
    pub(crate) fn refuses(self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        for word in words {
            assert!(self.err.contains(word), "`{word}` is not in: {}", self.err);
        }
    }
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
    pub(crate) fn data(&self) -> PathBuf {
        self.path("data")
    }
    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }
    pub(crate) fn command<S: AsRef<std::ffi::OsStr>>(&self, args: &[S]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cairn"));
        command.current_dir(self.folder.path()).arg("--data").arg(self.data()).args(args);
        command.env("CAIRN_ORT_LIB", library()).stdin(Stdio::null());
        command
    }
    pub(crate) fn cairn<S: AsRef<std::ffi::OsStr>>(&self, args: &[S]) -> Said {
        Said::of(self.command(args).output().unwrap())
    }
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let mut with_json = vec!["--json"];
        with_json.extend(args);
        self.cairn(&with_json).json()
    }
    pub(crate) fn start<S: AsRef<std::ffi::OsStr>>(&self, args: &[S]) -> Child {
        self.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }
    /// `cairn append` with this on standard input.
    pub(crate) fn append(&self, input: &str) -> Said {
        let mut child = self
            .command(&["append"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        Said::of(child.wait_with_output().unwrap())
    }
    /// What `log` prints, as events.
    pub(crate) fn events(&self, event_type: &str) -> Vec<Value> {
        let said = self.cairn(&["--json", "log", "--type", event_type]).ok();
        said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
    /// The jobs of the small pipeline by name, with what each said of itself.
    pub(crate) fn jobs(&self) -> serde_json::Map<String, Value> {
        let report = self.json(&["run", "pipeline.yaml"]);
        let jobs = report["jobs"].as_array().unwrap().iter();
        jobs.map(|job| (job["name"].as_str().unwrap().to_owned(), job.clone())).collect()
    }
    /// Writes problems, pages and the small pipeline.
    pub(crate) fn with_pipeline(steps: u32) -> Self {
        let place = Self::new();
        let problems = std::fs::read_to_string(repository().join("tests/data/gsm8k/train.jsonl")).unwrap();
        let line = |range: std::ops::Range<usize>| {
            problems.lines().skip(range.start).take(range.len()).collect::<Vec<_>>().join("\n")
        };
        place.write("problems.jsonl", line(0..200));
        place.write("exam.jsonl", line(200..216));
        place.write("pages/about.md", std::fs::read(repository().join("docs/glossary.md")).unwrap());
        place.write("pipeline.yaml", PIPELINE.replace("STEPS", &steps.to_string()));
        place
    }
}

pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// ONNX Runtime as `make setup` fetched it.
fn library() -> PathBuf {
    let path = repository().join(".cache/onnxruntime/libonnxruntime.so");
    assert!(path.exists(), "{} is missing: run `make setup`", path.display());
    path
}

/// All stages; a model that trains in seconds.
const PIPELINE: &str = r#"
project: small
seed: 7
jobs:
  - name: problems
    ingest: { paths: [problems.jsonl], author: A, access_policy: public, language: en, text: "{{ question }}\n{{ answer }}" }
  - name: pages
    ingest: { paths: [pages], author: A, access_policy: public, language: en }
  - name: held-out
    ingest: { paths: [exam.jsonl], author: A, access_policy: public, language: en, dedup: off, text: "{{ question }}\n{{ answer }}" }
  - name: corpus
    dataset:
      version: 1.0.0
      rows:
        - { from: problems, instruction: "{{ question }}", output: "{{ answer }}", text: "{{ question }}", split: { train: 0.9, validation: 0.1 } }
        - { from: pages, text: "{{ text }}", split: train }
  - name: exam
    dataset:
      version: 1.0.0
      rows: [{ from: held-out, instruction: "{{ question }}", output: "{{ answer }}", text: "{{ question }}", split: test }]
  - name: vocabulary
    tokenizer: { dataset: corpus, vocabulary: 320 }
  - name: base
    train:
      method: pretrain
      base_model: "scratch:layers=1,width=16,heads=2,feed_forward=32,vocabulary=320,context=256"
      dataset: corpus
      tokenizer: vocabulary
      steps: STEPS
      batch_size: 2
      sequence_length: 64
      learning_rate: 3.0e-3
      checkpoint_every: 10
      register: small-base
  - name: tuned
    train: { method: sft, base_model: base, dataset: corpus, steps: 20, batch_size: 2, sequence_length: 128, learning_rate: 1.0e-3, checkpoint_every: 10, register: small-tuned }
  - name: base-exam
    evaluate:
      subject: base
      suite: small
      dataset: exam
      split: test
      tasks: &tasks
        - { name: language, kind: perplexity }
        - { name: answers, kind: generate, max_new_tokens: 8, metrics: [exact_match, f1, format_validity], format: '\d', extract: '####\s*(-?[\d,.]+)' }
  - name: tuned-exam
    evaluate:
      subject: tuned
      suite: small
      dataset: exam
      split: test
      tasks: *tasks
  - name: review
    judge: { evaluation: tuned-exam, task: answers, validators: [{ name: private, kind: no_pii }] }
  - name: strict
    gate: { subject: base, evaluations: [base-exam], require: ["answers.exact_match >= 0.9"], on_block: continue }
  - name: base-gate
    gate: { subject: base, evaluations: [base-exam], require: ["language.perplexity <= 1000"] }
  - name: tuned-gate
    gate: { subject: tuned, evaluations: [tuned-exam], require: ["language.perplexity <= 1000"] }
  - name: first
    deploy: { model: base, gate: base-gate, deployment: helper }
  - name: second
    deploy: { model: tuned, gate: tuned-gate, deployment: helper }
"#;
