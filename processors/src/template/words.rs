//! The filters and tests that a template uses, wherever in it. The engine looks them up only when it comes to them, and
//! a branch may not be come to for a long time.

use minijinja::{Environment, Error, ErrorKind};

/// The error of the first filter or test that is not there. The template is one that the engine could read.
pub(super) fn unknown(source: &str, environment: &Environment<'_>) -> Option<Error> {
    expressions(source).into_iter().find_map(|expression| {
        let error = environment.compile_expression(&expression).and_then(|e| e.eval(())).err()?;
        matches!(error.kind(), ErrorKind::UnknownFilter | ErrorKind::UnknownTest).then_some(error)
    })
}

/// A small expression for each use of a filter or test.
fn expressions(source: &str) -> Vec<String> {
    let (mut found, mut rest) = (Vec::new(), source);
    while let Some(at) = rest.find('{') {
        let (mark, inside) = (rest[at..].chars().nth(1), &rest[at + 1..]);
        rest = match mark {
            Some('#') => inside.find("#}").map_or("", |end| &inside[end + 2..]),
            Some('{' | '%') => {
                let (words, after) = tag(&inside[1..], if mark == Some('{') { "}}" } else { "%}" });
                found.extend(uses(&words, mark == Some('%')));
                match words.iter().find(|word| **word != "-" && **word != "+") {
                    Some(&"raw") if mark == Some('%') => after_raw(after),
                    _ => after,
                }
            }
            _ => inside,
        };
    }
    found
}

fn uses(words: &[&str], is_block: bool) -> Vec<String> {
    let mut found = Vec::new();
    let mut before = "";
    for (at, word) in words.iter().enumerate() {
        let next = |skipped: usize| words.get(at + 1 + skipped).copied().filter(|word| is_name(word));
        let opens = is_block && words[..at].iter().all(|word| matches!(*word, "-" | "+"));
        match *word {
            "|" => found.extend(next(0).map(|filter| format!("'' | {filter}"))),
            "filter" if opens => found.extend(next(0).map(|filter| format!("'' | {filter}"))),
            "is" if before != "." => {
                let test = if next(0) == Some("not") { next(1) } else { next(0) };
                found.extend(test.map(|test| format!("'' is {test}")));
            }
            _ => {}
        }
        before = word;
    }
    found
}

/// The words and signs of a tag without its texts, and what follows its end.
fn tag<'t>(inside: &'t str, end: &str) -> (Vec<&'t str>, &'t str) {
    let (mut words, mut rest) = (Vec::new(), inside);
    let mut braces = 0_usize;
    while let Some(first) = rest.chars().next() {
        if braces == 0 && rest.starts_with(end) {
            return (words, &rest[end.len()..]);
        }
        let length = match first {
            '"' | '\'' => quoted_length(rest, first),
            c if is_of_name(c) => rest.find(|c| !is_of_name(c)).unwrap_or(rest.len()),
            c => c.len_utf8(),
        };
        match first {
            '{' => braces += 1,
            '}' => braces = braces.saturating_sub(1),
            _ => {}
        }
        if !matches!(first, '"' | '\'') && !first.is_whitespace() {
            words.push(&rest[..length]);
        }
        rest = &rest[length..];
    }
    (words, "")
}

/// Bytes of the text that `rest` begins with, its quotes included.
fn quoted_length(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

fn after_raw(rest: &str) -> &str {
    let end = rest.find("endraw").map_or("", |at| &rest[at..]);
    end.find("%}").map_or("", |at| &end[at + 2..])
}

fn is_of_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_alphabetic() || c == '_')
}
