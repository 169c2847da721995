//! From dataset rows to packed token rows. Pure: the same rows, tokenizer and length give the same packing.

use crate::Error;
use crate::dataset_reader::Row;
use crate::pipeline::Method;
use cairn_gpu::{Example, Overlong, Tokenizer, pack};
use cairn_schemas::Blake3;
use serde::Serialize;

/// Rows ready for training, and what became of those that are not.
pub(crate) struct Packed {
    pub(crate) rows: Vec<cairn_gpu::Row>,
    pub(crate) counts: Counts,
}

/// What packing did, for the run's summary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize)]
pub(crate) struct Counts {
    /// Rows of the split.
    pub(crate) split_rows: u64,
    /// Rows that were trained on.
    pub(crate) examples: u64,
    /// Rows without a text (pretraining) or without prompt and answer (fine-tuning).
    pub(crate) without_content: u64,
    /// Texts that went on in further rows because they were longer than one.
    pub(crate) overlong_split: u64,
    /// Exchanges whose end was cut off.
    pub(crate) overlong_truncated: u64,
    /// Exchanges whose answer was cut off entirely: their prompt alone fills a row.
    pub(crate) without_target: u64,
    pub(crate) packed_rows: u64,
    pub(crate) tokens: u64,
    pub(crate) supervised_tokens: u64,
}

/// Tokenises and packs rows for `method` into rows of `length` tokens.
pub(crate) fn pack_rows(rows: &[Row], method: Method, tokenizer: &Tokenizer, length: usize) -> Result<Packed, Error> {
    let mut counts = Counts { split_rows: rows.len() as u64, ..Counts::default() };
    let mut examples = Vec::with_capacity(rows.len());
    for row in rows {
        let Some(example) = example(row, method, tokenizer) else {
            counts.without_content += 1;
            continue;
        };
        counts.examples += 1;
        // A row of `length` positions predicts as many tokens: an example has one more than it has inputs.
        let overlong = example.tokens.len() > length + 1;
        let reached = example.supervised.iter().take(length + 1).skip(1).any(|supervised| *supervised);
        match method {
            Method::Pretrain => counts.overlong_split += u64::from(overlong),
            Method::Sft if reached => counts.overlong_truncated += u64::from(overlong),
            Method::Sft => counts.without_target += 1,
        }
        examples.push(example);
    }
    let overlong = match method {
        Method::Pretrain => Overlong::Split,
        Method::Sft => Overlong::Truncate,
    };
    let rows = pack(&examples, length, overlong)?;
    counts.packed_rows = rows.len() as u64;
    counts.tokens = rows.iter().map(|row| row.tokens.len() as u64).sum();
    counts.supervised_tokens = rows.iter().map(cairn_gpu::Row::supervised_tokens).sum();
    Ok(Packed { rows, counts })
}

/// One row as tokens; `None` where it has nothing that `method` learns from.
pub(crate) fn example(row: &Row, method: Method, tokenizer: &Tokenizer) -> Option<Example> {
    match method {
        Method::Pretrain => row.document().map(|text| Example::plain(tokenizer.render_document(text))),
        Method::Sft => row
            .exchange()
            .map(|(prompt, answer)| Example::answered(&tokenizer.render(&prompt), &tokenizer.render_answer(answer))),
    }
}

/// Identity of the data in the order that training sees it: the packed rows, and the seed that shuffles them.
pub(crate) fn order_digest(rows: &[cairn_gpu::Row], length: usize, seed: u64) -> Blake3 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"cairn data order v1");
    for number in [length as u64, seed, rows.len() as u64] {
        hasher.update(&number.to_le_bytes());
    }
    for row in rows {
        hasher.update(&(row.tokens.len() as u64).to_le_bytes());
        for at in 0..row.tokens.len() {
            hasher.update(&row.tokens[at].to_le_bytes());
            hasher.update(&row.targets[at].to_le_bytes());
            hasher.update(&row.segments[at].to_le_bytes());
        }
    }
    Blake3::from_bytes(*hasher.finalize().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_gpu::IGNORE;

    fn tokenizer() -> Tokenizer {
        Tokenizer::train(["one two three four five six".to_owned()].into_iter(), 280).unwrap()
    }

    fn row(text: &str, prompt: &str, answer: &str) -> Row {
        Row { text: text.into(), instruction: prompt.into(), output: answer.into(), ..Row::default() }
    }

    #[test]
    fn pretraining_keeps_every_token_and_counts_what_it_splits() {
        let tokenizer = tokenizer();
        let text = "one two three four five six ".repeat(8);
        let packed = pack_rows(&[row(&text, "", ""), row("", "q", "a")], Method::Pretrain, &tokenizer, 16).unwrap();
        let tokens = tokenizer.render_document(&text).len() as u64;
        assert_eq!(packed.counts.supervised_tokens, tokens - 1);
        assert_eq!((packed.counts.examples, packed.counts.without_content, packed.counts.overlong_split), (1, 1, 1));
        assert_eq!(packed.rows[0].tokens[0], Tokenizer::BOS);
    }

    #[test]
    fn fine_tuning_supervises_the_answer_and_its_end_only() {
        let tokenizer = tokenizer();
        let packed = pack_rows(&[row("", "one", "two")], Method::Sft, &tokenizer, 32).unwrap();
        let answer = tokenizer.render_answer("two");
        assert_eq!(packed.counts.supervised_tokens, answer.len() as u64);
        let targets: Vec<i64> = packed.rows[0].targets.iter().copied().filter(|target| *target != IGNORE).collect();
        assert_eq!(targets, answer.iter().map(|id| i64::from(*id)).collect::<Vec<_>>());
    }

    #[test]
    fn fine_tuning_counts_truncated_and_unreached_answers() {
        let tokenizer = tokenizer();
        let long = "one two three ".repeat(20);
        let rows = [row("", "one", &long), row("", &long, "one"), row("", "one", "two")];
        let counts = pack_rows(&rows, Method::Sft, &tokenizer, 16).unwrap().counts;
        assert_eq!((counts.examples, counts.overlong_truncated, counts.without_target), (3, 1, 1));
        assert_eq!(counts.packed_rows, 2);
    }

    #[test]
    fn the_order_digest_depends_on_content_and_seed() {
        let tokenizer = tokenizer();
        let rows = |text: &str| pack_rows(&[row(text, "", "")], Method::Pretrain, &tokenizer, 16).unwrap().rows;
        let digest = order_digest(&rows("one two"), 16, 1);
        assert_eq!(digest, order_digest(&rows("one two"), 16, 1));
        assert_ne!(digest, order_digest(&rows("one two"), 16, 2));
        assert_ne!(digest, order_digest(&rows("one six"), 16, 1));
    }
}
