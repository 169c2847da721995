//! Whether the same row stands in two splits, which would make what is measured on one a memory of the other.

use crate::dataset_reader::Row;
use crate::dedup::fingerprint;
use crate::error::{Error, Leak};
use crate::jobs::ingest::StoredDocument;
use cairn_schemas::Blake3;
use std::collections::HashMap;

/// Rows by what they say, with the split that each stands in.
#[derive(Default)]
pub(super) struct Leaks {
    /// Splits by number.
    names: Vec<String>,
    /// Whole rows, and texts alone.
    contents: HashMap<Blake3, u32>,
    prompts: HashMap<Blake3, u32>,
    found: u64,
    first: Option<Leak>,
    shared_prompts: u64,
}

impl Leaks {
    pub(super) fn note(&mut self, split: &str, row: &Row, stored: &StoredDocument) {
        let here = self.number_of(split);
        let exchange = row.exchange().map(|(prompt, answer)| format!("{prompt}\n{answer}"));
        let contents: Vec<Blake3> = row.document().into_iter().chain(exchange.as_deref()).map(fingerprint).collect();
        // A row whose text is its exchange is one content.
        let leaked = contents.iter().filter_map(|content| {
            let there = *self.contents.entry(*content).or_insert(here);
            (there != here).then_some(there)
        });
        let leaked: Vec<u32> = leaked.collect();
        if let Some(there) = leaked.first() {
            self.found += 1;
            self.first.get_or_insert_with(|| Leak {
                count: 0,
                left: self.names[*there as usize].clone(),
                right: split.to_owned(),
                document: stored.document.to_string(),
                source_uri: stored.source_uri.clone(),
            });
        }
        if let Some(prompt) = row.prompt() {
            let there = *self.prompts.entry(fingerprint(&prompt)).or_insert(here);
            self.shared_prompts += u64::from(there != here);
        }
    }

    fn number_of(&mut self, split: &str) -> u32 {
        let known = self.names.iter().position(|name| name == split);
        let number = known.unwrap_or_else(|| {
            self.names.push(split.to_owned());
            self.names.len() - 1
        });
        u32::try_from(number).expect("splits are few")
    }

    /// Rows whose prompt stands in another split with another answer: allowed, and reported.
    pub(super) fn shared_prompts(&self) -> u64 {
        self.shared_prompts
    }

    /// Refuses the version where a row stands in two splits.
    pub(super) fn refuse(&self) -> Result<(), Error> {
        let Some(first) = &self.first else { return Ok(()) };
        Err(Error::Leak(Box::new(Leak { count: self.found, ..first.clone() })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_schemas::Ref;
    use serde_json::Map;

    fn stored(uri: &str) -> StoredDocument {
        let document = Ref::Doc(Blake3::of(uri.as_bytes()));
        StoredDocument { document, source_uri: uri.into(), text: String::new(), fields: Map::new() }
    }

    fn row(text: &str, instruction: &str, output: &str) -> Row {
        Row { text: text.into(), instruction: instruction.into(), output: output.into(), ..Row::default() }
    }

    #[test]
    fn the_same_content_in_two_splits_is_refused_and_named() {
        let mut leaks = Leaks::default();
        leaks.note("train", &row("one  two", "", ""), &stored("a#L1"));
        leaks.note("train", &row("one two", "", ""), &stored("a#L2"));
        leaks.note("train", &row("", "ask", "answer"), &stored("a#L3"));
        leaks.refuse().unwrap();
        leaks.note("test", &row("one two\n", "", ""), &stored("b#L1"));
        leaks.note("test", &row("", "ask", " answer"), &stored("b#L2"));
        let error = leaks.refuse().unwrap_err().to_string();
        assert!(error.starts_with("2 rows stand in two splits, the first in `train` and `test`"), "{error}");
        assert!(error.contains("b#L1"), "{error}");
    }

    #[test]
    fn a_prompt_with_another_answer_is_counted_only() {
        let mut leaks = Leaks::default();
        leaks.note("train", &row("", "write a poem", "roses"), &stored("a#L1"));
        leaks.note("test", &row("", "write a poem", "violets"), &stored("b#L1"));
        leaks.refuse().unwrap();
        assert_eq!(leaks.shared_prompts(), 1);
    }
}
