//! The unmodified `openai` client of Python against `cairn serve` with folders, and `cairn infer` on the same folders.

#[path = "../clients/server.rs"]
mod server;

mod infer;

use cairn_tests::outside::{python, run, skipped};
use server::Server;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The real MiniLM, which the set-up fetches.
fn minilm() -> PathBuf {
    cairn_tests::root().join(".cache/models/all-MiniLM-L6-v2")
}

/// A folder of random weights, made by the script that the guide shows.
fn made(kind: &str, dir: &Path) {
    let script = cairn_tests::root().join("tests/models/make_model.py");
    run(Command::new("python3").arg("-B").arg(script).arg(kind).arg(dir)).unwrap_or_else(|e| panic!("{e}"));
}

#[test]
fn the_openai_client_gets_what_it_expects() {
    let requirements = cairn_tests::root().join("tests/openai/requirements.txt");
    let python = match python("python-openai", 11, &requirements) {
        Ok(python) => python,
        Err(why) => return skipped("the openai client", &why),
    };
    let folder = tempfile::tempdir().unwrap();
    let model = |name: &str, dir: &Path| ["--model".to_owned(), format!("{name}={}", dir.display())];
    let (llama, judge) = (folder.path().join("llama"), folder.path().join("judge"));
    made("llama", &llama);
    made("reranker", &judge);
    let loops = folder.path().join("loops");
    made("llama", &loops);
    let for_ever = "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}";
    std::fs::write(loops.join("chat_template.jinja"), for_ever).unwrap();
    let serves =
        [model("llama", &llama), model("judge", &judge), model("minilm", &minilm()), model("loops", &loops)].concat();
    let server = Server::start(&[], &serves);
    let busy = Server::start(&[], &[&model("llama", &llama)[..], &["--prompts-max".into(), "1".into()]].concat());
    let mut command = Command::new(python);
    command.arg("-B").arg(cairn_tests::root().join("tests/openai/test_openai.py"));
    command
        .env("CAIRN_URL", &server.url)
        .env("CAIRN_BUSY_URL", &busy.url)
        .env("CAIRN_MODELS", "llama,judge,minilm,loops");
    run(&mut command).unwrap_or_else(|e| panic!("{e}"));
}
