//! One shell in a folder of its own: the binary as `cairn`, the checkout's data under `tests/data`, a server's port.

use crate::guide::{Language, Step};
use cairn_tests::outside;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Ends well once all projections cover what is recorded: a server that has just begun answers before.
const CAUGHT_UP: &str =
    r#"import json, sys; r = json.load(sys.stdin); sys.exit(any(at != r["head"] for at in r["projections"].values()))"#;
/// The address that guides show.
const SHOWN: &str = "127.0.0.1:8470";
/// What ends each step's output.
const MARK: &str = "@@guide@@";
/// A guide that takes longer hangs.
const SECONDS_MAX: &str = "1500";

pub(crate) struct Session {
    folder: tempfile::TempDir,
    repository: PathBuf,
    address: String,
}

/// What a step printed, and how it ended.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) lines: Vec<String>,
    pub(crate) code: i32,
}

impl Session {
    pub(crate) fn new(repository: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let link = |from: &Path, to: &str| std::os::unix::fs::symlink(from, folder.path().join(to)).unwrap();
        for name in ["bin", "plots"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        link(Path::new(env!("CARGO_BIN_EXE_cairn")), "bin/cairn");
        link(&repository.join("tests"), "tests");
        link(&repository.join(".cache/models"), "models");
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        Self { folder, repository: repository.to_owned(), address: free.to_string() }
    }

    /// Puts a Python with a client's libraries on the path: of `tests/<client>`. `Err` says what this machine lacks.
    pub(crate) fn python(&self, client: &str) -> Result<(), String> {
        let requirements = self.repository.join("tests").join(client).join("requirements.txt");
        let python = outside::python(&format!("python-{client}"), 11, &requirements)?;
        let script = self.folder.path().join("bin/python3");
        let source = self.repository.join("clients/python/src");
        let text = format!(
            "#!/bin/sh\nPYTHONPATH={} MPLBACKEND=agg CAIRN_URL=http://{} exec {} -B \"$@\"\n",
            source.display(),
            self.address,
            python.display()
        );
        std::fs::write(&script, text).map_err(|e| e.to_string())?;
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&script, mode).map_err(|e| e.to_string())
    }

    /// Runs the steps one after another; fewer answers than steps mean that the shell ended.
    pub(crate) fn run(&self, steps: &[Step]) -> Vec<Answer> {
        let mut script = String::from("exec 2>&1\ntrap 'kill $(jobs -p) 2>/dev/null' EXIT\n");
        for step in steps {
            script.push_str(&self.scripted(step));
            script.push_str(&format!("\nprintf '\\n{MARK} %s\\n' $?\n"));
        }
        let path =
            format!("{}:{}", self.folder.path().join("bin").display(), std::env::var("PATH").unwrap_or_default());
        let file = self.folder.path().join("guide.sh");
        std::fs::write(&file, script).unwrap();
        let output = Command::new("timeout")
            .args([SECONDS_MAX, "bash"])
            .arg(&file)
            .current_dir(self.folder.path())
            .env("PATH", path)
            .env("CAIRN_ORT_LIB", self.repository.join(".cache/onnxruntime/libonnxruntime.so"))
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).replace(&self.address, SHOWN);
        let mut answers = Vec::new();
        let mut lines = Vec::new();
        for line in text.lines() {
            match line.strip_prefix(MARK) {
                Some(code) => {
                    let code = code.trim().parse().unwrap_or(-1);
                    answers.push(answer(std::mem::take(&mut lines), code, steps.get(answers.len())));
                }
                None => lines.push(line.to_owned()),
            }
        }
        if answers.len() < steps.len() {
            println!("after the last step that ended:\n{}", lines.join("\n"));
        }
        answers
    }

    fn scripted(&self, step: &Step) -> String {
        let script = match step.language {
            Language::Python => format!("python3 - <<'END_OF_PYTHON'\n{}\nEND_OF_PYTHON", step.script),
            Language::Graphql => {
                let body = serde_json::json!({ "query": step.script });
                format!(
                    "curl -sS -H 'content-type: application/json' --data-binary @- http://{SHOWN}/graphql <<'END_OF_QUERY'\n{body}\nEND_OF_QUERY"
                )
            }
            Language::Shell if step.script.starts_with("cairn serve") => {
                // Whoever reads the guide waits for the server too, without knowing it.
                let waiting =
                    format!("until curl -sf http://{SHOWN}/readyz | python3 -c '{CAUGHT_UP}' 2>&-; do sleep 0.1; done");
                let command = step.script.replacen("cairn serve", &format!("cairn serve --listen {SHOWN}"), 1);
                format!("{command}\n{waiting}")
            }
            Language::Shell => step.script.clone(),
        };
        script.replace(SHOWN, &self.address)
    }

    /// The pictures that were drawn.
    pub(crate) fn plots(&self) -> Vec<(String, Vec<u8>)> {
        let folder = std::fs::read_dir(self.folder.path().join("plots")).unwrap();
        let files = folder.map(|file| file.unwrap());
        files.map(|file| (file.file_name().into_string().unwrap(), std::fs::read(file.path()).unwrap())).collect()
    }
}

fn answer(mut lines: Vec<String>, code: i32, step: Option<&Step>) -> Answer {
    // The mark stands on a line of its own, which adds an empty one where the output ended its last.
    if lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    if step.is_some_and(|step| step.language == Language::Graphql) {
        let whole = lines.join("\n");
        let value: serde_json::Value = serde_json::from_str(&whole).unwrap_or_else(|e| panic!("{e}: {whole}"));
        let shown = if value["errors"].is_null() { &value["data"] } else { &value["errors"] };
        lines = serde_json::to_string_pretty(shown).unwrap().lines().map(str::to_owned).collect();
    }
    Answer { lines, code }
}
