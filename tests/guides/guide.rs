//! A guide: its lines, and the steps in them with the lines that each is expected to print.

use crate::session::Answer;
use std::ops::Range;
use std::path::Path;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    Shell,
    Python,
    Graphql,
}

/// Something to run.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) language: Language,
    /// Where it begins, from 1.
    pub(crate) line: usize,
    pub(crate) script: String,
    /// Lines of the guide that it is expected to print.
    pub(crate) expected: Range<usize>,
}

pub(crate) struct Guide {
    pub(crate) lines: Vec<String>,
    pub(crate) steps: Vec<Step>,
}

impl Guide {
    pub(crate) fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let steps = steps(&lines);
        assert!(!steps.is_empty(), "{} holds nothing to run", path.display());
        Self { lines, steps }
    }

    /// The guide with the answers of its steps where they are not as expected.
    pub(crate) fn write(&self, path: &Path, answers: &[Answer]) {
        let mut lines = self.lines.clone();
        for (step, answer) in self.steps.iter().zip(answers).rev() {
            if !matches(&self.lines[step.expected.clone()], &answer.lines) {
                lines.splice(step.expected.clone(), answer.lines.iter().map(|line| masked(line)));
            }
        }
        std::fs::write(path, lines.join("\n") + "\n").unwrap();
    }
}

fn steps(lines: &[String]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let Some(word) = lines[at].strip_prefix("```") else {
            at += 1;
            continue;
        };
        let end = (at + 1..lines.len()).find(|end| lines[*end] == "```").expect("every fence is closed");
        let inside = at + 1..end;
        match word {
            "console" => console(lines, inside, &mut steps),
            "python" | "graphql" => {
                let language = if word == "python" { Language::Python } else { Language::Graphql };
                let script = lines[inside].join("\n");
                steps.push(Step { language, line: at + 1, script, expected: end + 1..end + 1 });
            }
            "text" | "json" => {
                let step = steps.last_mut().expect("an answer follows a question");
                step.expected = inside;
            }
            _ => {}
        }
        at = end + 1;
    }
    steps
}

/// Commands after `$ `, gone on with after `> `, each followed by what it prints.
fn console(lines: &[String], inside: Range<usize>, steps: &mut Vec<Step>) {
    for at in inside {
        if let Some(command) = lines[at].strip_prefix("$ ") {
            let (script, expected) = (command.to_owned(), at + 1..at + 1);
            steps.push(Step { language: Language::Shell, line: at + 1, script, expected });
            continue;
        }
        let step = steps.last_mut().expect("a console block begins with a command");
        match lines[at].strip_prefix("> ") {
            Some(more) if step.expected.is_empty() => {
                step.script.push('\n');
                step.script.push_str(more);
                step.expected = at + 1..at + 1;
            }
            _ => step.expected.end = at + 1,
        }
    }
}

/// Whether lines are as expected; `…` alone is any number of lines.
pub(crate) fn matches(expected: &[String], found: &[String]) -> bool {
    let Some((first, rest)) = expected.split_first() else { return found.is_empty() };
    if first.trim() == "…" {
        return (0..=found.len()).any(|skipped| matches(rest, &found[skipped..]));
    }
    let Some((line, after)) = found.split_first() else { return false };
    line_matches(first.trim_end(), line.trim_end()) && matches(rest, after)
}

/// Whether a line is as expected; `…` in it is any text.
fn line_matches(expected: &str, found: &str) -> bool {
    let Some((before, after)) = expected.split_once('…') else { return expected == found };
    let Some(rest) = found.strip_prefix(before) else { return false };
    rest.char_indices().map(|(at, _)| at).chain([rest.len()]).any(|at| line_matches(after, &rest[at..]))
}

/// A line without what is another each time: ids made from the clock, and times.
fn masked(line: &str) -> String {
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | ':' | '.');
    let (mut out, mut rest) = (String::new(), line.trim_end());
    while let Some(start) = rest.find(word) {
        let length = rest[start..].find(|c| !word(c)).unwrap_or(rest.len() - start);
        out.push_str(&rest[..start]);
        out.push_str(&masked_word(&rest[start..start + length]));
        rest = &rest[start + length..];
    }
    out + rest
}

fn masked_word(word: &str) -> String {
    let bare = word.rsplit_once(':').map_or(word, |(_, id)| id);
    let parts: Vec<&str> = bare.split('-').collect();
    if parts.iter().map(|part| part.len()).eq([8, 4, 4, 4, 12]) && parts[2].starts_with('7') {
        return word.replace(bare, "…");
    }
    let is_time = word.len() >= 20 && word.ends_with('Z') && word.as_bytes().get(10) == Some(&b'T');
    if is_time { "…".to_owned() } else { word.to_owned() }
}

#[test]
fn what_stands_for_anything_matches_it() {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    for (expected, found, is_match) in [
        ("a\nb", "a\nb", true),
        ("a\n…\nd", "a\nb\nc\nd", true),
        ("a\n…\nd", "a\nd", true),
        ("a\n…\nd", "a\nb", false),
        ("run:… x", "run:018f4e9a x", true),
        ("run:… x", "run:018f4e9a y", false),
        ("", "a", false),
    ] {
        assert_eq!(matches(&lines(expected), &lines(found)), is_match, "{expected} / {found}");
    }
    assert_eq!(masked("run:018f4e9a-7c3b-7def-8123-456789abcdef at 2026-01-01T00:00:00Z"), "run:… at …");
    assert_eq!(masked("run:018f4e9a-7c3b-8def-8123-456789abcdef"), "run:018f4e9a-7c3b-8def-8123-456789abcdef");
}

#[test]
fn steps_are_found_with_what_they_print() {
    let text = "x\n```console\n$ a \\\n> b\n1\n2\n$ c\n```\n```python\np\n```\n```text\n3\n```\n";
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let found: Vec<(String, Vec<String>)> =
        steps(&lines).into_iter().map(|step| (step.script, lines[step.expected].to_vec())).collect();
    let expected = [("a \\\nb", vec!["1", "2"]), ("c", vec![]), ("p", vec!["3"])];
    let expected = expected.map(|(script, lines)| (script.to_owned(), lines.into_iter().map(str::to_owned).collect()));
    assert_eq!(found, expected);
}
