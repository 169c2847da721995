//! What `docs/guides` shows is run, in a folder of its own, and compared with what it says: commands of `console` blocks,
//! `python` with the `text` after it, `graphql` with the `json` after it. `CAIRN_UPDATE=1` writes the answers anew.
//!
//! A line `…` stands for any number of lines, `…` in a line for any text. `plots/*.svg` are compared with `tests/guides/plots`,
//! but for their numbers.

mod guide;
mod session;

use guide::{Guide, Language};
use session::Session;
use std::path::{Path, PathBuf};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Runs a guide from its first step to its last, in one shell; its Python has the libraries of `client`.
fn run(name: &str, client: &str) {
    let path = repository().join("docs/guides").join(name);
    let mut guide = Guide::read(&path);
    let session = Session::new(&repository());
    let needs_python = guide.steps.iter().any(|step| step.language == Language::Python);
    let python = if needs_python { session.python(client) } else { Ok(()) };
    if let Err(why) = &python {
        cairn_tests::outside::skipped(&format!("the Python of {name}"), why);
    }
    guide.steps.retain(|step| python.is_ok() || step.language != Language::Python);
    let answers = session.run(&guide.steps);
    let update = std::env::var_os("CAIRN_UPDATE").is_some();
    let mut wrong = Vec::new();
    for (step, answer) in guide.steps.iter().zip(&answers) {
        let expected = &guide.lines[step.expected.clone()];
        if answer.code != 0 && !answer.lines.iter().any(|line| line.starts_with("error: ")) {
            wrong.push(format!("{}:{}: ended with {}:\n{}", name, step.line, answer.code, answer.lines.join("\n")));
        } else if !guide::matches(expected, &answer.lines) && !update {
            let told = format!("expected\n{}\nfound\n{}", expected.join("\n"), answer.lines.join("\n"));
            wrong.push(format!("{}:{}: {}\n{told}", name, step.line, step.script.lines().next().unwrap_or_default()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert_eq!(answers.len(), guide.steps.len(), "the shell ended early");
    let plots = repository().join("tests/guides/plots");
    for (file, drawn) in session.plots() {
        match update {
            true => std::fs::write(plots.join(&file), drawn).unwrap(),
            false => {
                let committed =
                    std::fs::read(plots.join(&file)).unwrap_or_else(|e| panic!("tests/guides/plots/{file}: {e}"));
                assert!(shape(&committed) == shape(&drawn), "tests/guides/plots/{file} is not what {name} draws now");
            }
        }
    }
    if update {
        guide.write(&path, &answers);
    }
}

/// A picture without its numbers and its lines: what is trained here comes out a little different on another processor.
fn shape(picture: &[u8]) -> String {
    let text = String::from_utf8_lossy(picture);
    let mut parts = text.split(" d=\"");
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        kept.push_str(part.split_once('"').map_or("", |(_, rest)| rest));
    }
    kept.retain(|c| !c.is_ascii_digit() && !matches!(c, '.' | '-' | '\u{2212}'));
    kept
}

#[test]
fn comparing_runs() {
    run("comparing-runs.md", "clients");
}

#[test]
fn pretraining_and_post_training() {
    run("pretraining-and-post-training.md", "clients");
}

#[test]
fn audit_questions() {
    run("audit-questions.md", "clients");
}

#[test]
fn serving_models() {
    run("serving-models.md", "openai");
}
