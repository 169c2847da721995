//! What is left of a text artifact without the rows of some documents. Pure functions over bytes.

use aho_corasick::AhoCorasick;
use cairn_schemas::Blake3;
use serde_json::Value;
use std::collections::{BTreeSet, HashSet};

/// Texts shorter than this are in too many rows to tell whose they are.
const TELLING_BYTES_MIN: usize = 16;
/// How the rows of shards name the document that they come from.
const DOCUMENT_PREFIX: &[u8] = b"doc:";
const DIGEST_DIGITS: usize = 64;

/// An artifact without the rows that were to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rewritten {
    pub(super) bytes: Vec<u8>,
    pub(super) rows_left: u64,
    pub(super) rows_removed: u64,
}

/// Which rows go: those that name one of the documents, and in artifacts that name none, copies of those rows' words.
#[derive(Clone, Debug, Default)]
pub(super) struct Cut {
    documents: HashSet<Blake3>,
    texts: Finder,
}

impl Cut {
    pub(super) fn new(documents: HashSet<Blake3>, texts: &BTreeSet<String>) -> Self {
        Self { documents, texts: Finder::new(texts) }
    }

    /// What is left of an artifact. `None` where all of it stays.
    pub(super) fn after(&self, bytes: &[u8]) -> Option<Rewritten> {
        let named = keep_lines(bytes, |line| !names_document(line, &self.documents));
        named.or_else(|| {
            keep_lines(bytes, |line| match serde_json::from_slice::<Value>(line) {
                Ok(row) => !self.texts.is_in(&row),
                Err(_) => !self.texts.is_in_bytes(line),
            })
        })
    }
}

/// Collects the texts of the rows that name one of the documents, by which copies without the document's name are found.
pub(super) fn collect_of(bytes: &[u8], documents: &HashSet<Blake3>, texts: &mut BTreeSet<String>) {
    for line in bytes.split(|byte| *byte == b'\n') {
        if names_document(line, documents)
            && let Ok(row) = serde_json::from_slice(line)
        {
            collect_texts(&row, texts);
        }
    }
}

/// Whether the bytes are rows: one JSON object a line.
pub(super) fn is_rows(bytes: &[u8]) -> bool {
    let mut lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).peekable();
    lines.peek().is_some() && lines.all(|line| matches!(serde_json::from_slice(line), Ok(Value::Object(_))))
}

/// Takes those texts out that stand in rows of other documents too, such as an instruction that all rows share: they do
/// not tell whose a row is.
pub(super) fn drop_shared(bytes: &[u8], documents: &HashSet<Blake3>, texts: &mut BTreeSet<String>) {
    for line in bytes.split(|byte| *byte == b'\n') {
        let names_other = memchr::memmem::find(line, DOCUMENT_PREFIX).is_some() && !names_document(line, documents);
        if names_other && let Ok(row) = serde_json::from_slice::<Value>(line) {
            let mut of_others = BTreeSet::new();
            collect_texts(&row, &mut of_others);
            for text in &of_others {
                texts.remove(text);
            }
        }
    }
}

fn keep_lines(bytes: &[u8], mut keep: impl FnMut(&[u8]) -> bool) -> Option<Rewritten> {
    let mut left = Rewritten { bytes: Vec::with_capacity(bytes.len()), rows_left: 0, rows_removed: 0 };
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        if keep(line.strip_suffix(b"\n").unwrap_or(line)) {
            left.bytes.extend_from_slice(line);
            left.rows_left += 1;
        } else {
            left.rows_removed += 1;
        }
    }
    (left.rows_removed > 0).then_some(left)
}

fn names_document(line: &[u8], documents: &HashSet<Blake3>) -> bool {
    memchr::memmem::find_iter(line, DOCUMENT_PREFIX).any(|at| {
        let digits = line.get(at + DOCUMENT_PREFIX.len()..).and_then(|rest| rest.get(..DIGEST_DIGITS));
        let digest = digits.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
        digest.is_some_and(|digest: Blake3| documents.contains(&digest))
    })
}

/// The strings of a row that are long enough to tell it from others, without those that only name things.
fn collect_texts(row: &Value, texts: &mut BTreeSet<String>) {
    match row {
        Value::String(text) if text.len() >= TELLING_BYTES_MIN && !text.starts_with("doc:") => {
            texts.insert(text.trim().to_owned());
        }
        Value::Array(items) => items.iter().for_each(|item| collect_texts(item, texts)),
        Value::Object(members) => {
            // Where a row comes from and under which licence says nothing of its own.
            let telling =
                ["text", "instruction", "input", "output", "fields", "prompt", "answer", "expected", "reference"];
            let of_row = members.iter().filter(|(name, _)| telling.contains(&name.as_str()));
            of_row.for_each(|(_, value)| collect_all(value, texts));
        }
        _ => {}
    }
}

fn collect_all(value: &Value, texts: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => members.values().for_each(|member| collect_all(member, texts)),
        Value::Array(items) => items.iter().for_each(|item| collect_all(item, texts)),
        other => collect_texts(other, texts),
    }
}

/// Finds any of many texts.
#[derive(Clone, Debug, Default)]
struct Finder(Option<AhoCorasick>);

impl Finder {
    /// Texts that stand in rows that stay are not telling, and are left out by the caller.
    fn new(texts: &BTreeSet<String>) -> Self {
        let patterns: Vec<&String> = texts.iter().collect();
        Self((!patterns.is_empty()).then(|| AhoCorasick::new(patterns).expect("texts of rows fit an automaton")))
    }
    fn is_in_bytes(&self, bytes: &[u8]) -> bool {
        self.0.as_ref().is_some_and(|finder| finder.is_match(bytes))
    }
    fn is_in(&self, value: &Value) -> bool {
        match value {
            Value::String(text) => self.is_in_bytes(text.as_bytes()),
            Value::Array(items) => items.iter().any(|item| self.is_in(item)),
            Value::Object(members) => members.values().any(|member| self.is_in(member)),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard() -> (Vec<u8>, HashSet<Blake3>) {
        let (alice, bob) = (Blake3::of(b"alice"), Blake3::of(b"bob"));
        let text = format!(
            "{{\"document\":\"doc:{alice}\",\"source_uri\":\"file:a\",\"text\":\"I live in a house by the sea\"}}\n\
             {{\"document\":\"doc:{bob}\",\"source_uri\":\"file:b\",\"text\":\"nothing about anybody at all\"}}\n"
        );
        (text.into_bytes(), HashSet::from([alice]))
    }

    #[test]
    fn only_the_rows_of_the_documents_go() {
        let (bytes, documents) = shard();
        let mut texts = BTreeSet::new();
        collect_of(&bytes, &documents, &mut texts);
        let cut = Cut::new(documents.clone(), &BTreeSet::new());
        let left = cut.after(&bytes).unwrap();
        assert_eq!((left.rows_left, left.rows_removed), (1, 1));
        assert!(bytes.ends_with(&left.bytes) && left.bytes.ends_with(b"at all\"}\n"));
        assert_eq!(texts.iter().collect::<Vec<_>>(), ["I live in a house by the sea"]);
        assert_eq!(cut.after(&left.bytes), None);
    }

    /// What all rows say tells nothing of whose a row is.
    #[test]
    fn words_that_others_say_too_are_no_trace() {
        let (bytes, documents) = shard();
        let mut texts =
            BTreeSet::from(["I live in a house by the sea".to_owned(), "nothing about anybody at all".into()]);
        drop_shared(&bytes, &documents, &mut texts);
        assert_eq!(texts.into_iter().collect::<Vec<_>>(), ["I live in a house by the sea"]);
    }

    /// A sample of an evaluation holds the row's words and not its document.
    #[test]
    fn copies_are_found_by_their_words_escaped_or_not() {
        let cut = Cut::new(HashSet::new(), &BTreeSet::from(["a \"house\" by the sea".to_owned()]));
        let lines = b"{\"prompt\":\"Where? a \\\"house\\\" by the sea!\"}\n{\"prompt\":\"elsewhere\"}\n";
        let left = cut.after(lines).unwrap();
        assert_eq!(left.bytes, b"{\"prompt\":\"elsewhere\"}\n");
        assert!(cut.after(b"{\"prompt\":\"elsewhere\"}\n").is_none());
        assert!(cut.after(b"plain words: a \"house\" by the sea").is_some());
        assert!(!Finder::new(&BTreeSet::new()).is_in_bytes(b"anything"));
    }
}
