//! How surprised a model is by given text: summed negative log-likelihood, per document.

use std::sync::{Mutex, PoisonError};

use crate::loaded::Loaded;
use crate::models::inference::score_graph;
use crate::{Batch, DecoderConfig, Error, Example, Feed, IGNORE, Overlong, Runtime, Session, Weights, batches, pack};

/// One document's part of a row.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct RowScore {
    /// Row of the batch.
    pub row: usize,
    /// Number of the document in the row, from 1.
    pub segment: u64,
    /// Sum of -log p over the supervised tokens, in nats.
    pub nll_sum: f64,
    /// How many were supervised.
    pub tokens: u64,
}

/// One example's score, in the order in which the examples were given.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct ExampleScore {
    /// Sum of -log p over the supervised tokens, in nats.
    pub nll_sum: f64,
    /// How many were supervised; 0 leaves nothing to average.
    pub tokens: u64,
}

/// Scores batches of one shape under fixed weights.
pub struct Scorer {
    rows: usize,
    length: usize,
    vocabulary: usize,
    weights: Loaded,
    session: Mutex<Session>,
}

impl Scorer {
    /// For batches of `rows` x `length` tokens.
    pub fn new(
        runtime: &Runtime,
        config: &DecoderConfig,
        weights: &Weights,
        rows: usize,
        length: usize,
    ) -> Result<Self, Error> {
        let loaded = Loaded::new(runtime, config, weights)?;
        if rows == 0 {
            return Err(Error::invalid("rows", rows, "at least 1"));
        }
        if length == 0 || length > config.context {
            return Err(Error::invalid(
                "length",
                length,
                format!("from 1 to the model's context ({})", config.context),
            ));
        }
        let session = Mutex::new(runtime.session(&score_graph(config, rows, length))?);
        Ok(Self { rows, length, vocabulary: config.vocabulary, weights: loaded, session })
    }

    /// A score for every document with a supervised token, in order of rows and segments.
    pub fn score(&self, batch: &Batch) -> Result<Vec<RowScore>, Error> {
        self.check(batch)?;
        let mut feeds = self.weights.feeds();
        feeds.extend([
            ("tokens", Feed::I64(&batch.tokens)),
            ("targets", Feed::I64(&batch.targets)),
            ("positions", Feed::I64(&batch.positions)),
            ("segments", Feed::I64(&batch.segments)),
        ]);
        let surprise = {
            let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
            session.run(&feeds)?.take_f32("surprise")?
        };
        let mut scores: Vec<RowScore> = Vec::new();
        for (at, &surprise) in surprise.iter().enumerate() {
            if batch.targets[at] == IGNORE {
                continue;
            }
            let (row, segment) = (at / self.length, batch.segments[at] as u64);
            match scores.last_mut() {
                Some(score) if (score.row, score.segment) == (row, segment) => {
                    score.nll_sum += f64::from(surprise);
                    score.tokens += 1;
                }
                _ => scores.push(RowScore { row, segment, nll_sum: f64::from(surprise), tokens: 1 }),
            }
        }
        Ok(scores)
    }

    /// Packs the examples and scores each one whole; one longer than a row is read in pieces of a row's length.
    pub fn score_examples(&self, examples: &[Example]) -> Result<Vec<ExampleScore>, Error> {
        let rows = pack(examples, self.length, Overlong::Split)?;
        let mut scores = vec![ExampleScore::default(); examples.len()];
        for (number, batch) in batches(&rows, self.rows, self.length)?.iter().enumerate() {
            for part in self.score(batch)? {
                let row = &rows[number * self.rows + part.row];
                let score = &mut scores[row.examples[part.segment as usize - 1]];
                score.nll_sum += part.nll_sum;
                score.tokens += part.tokens;
            }
        }
        Ok(scores)
    }

    fn check(&self, batch: &Batch) -> Result<(), Error> {
        if (batch.rows, batch.length) != (self.rows, self.length) {
            let found = format!("{} x {}", batch.rows, batch.length);
            return Err(Error::invalid("batch", found, format!("{} x {} (rows x tokens)", self.rows, self.length)));
        }
        let known = |token: i64| (0..self.vocabulary as i64).contains(&token);
        let tokens = batch.tokens.iter().chain(batch.targets.iter().filter(|&&target| target != IGNORE));
        match tokens.copied().find(|&token| !known(token)) {
            Some(token) => Err(Error::invalid("token", token, format!("below the vocabulary ({})", self.vocabulary))),
            None => Ok(()),
        }
    }
}
