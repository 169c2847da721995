//! From token sequences to fixed-shape batches: packing, shuffling, padding. Pure and deterministic.
//! Position i of a row holds an input token and, where supervised, the token that follows it in the same
//! document as its target. Documents in one row have their own segment number and restart their positions.

use serde::{Deserialize, Serialize};

use crate::{CounterRng, Error};

/// The target of a position that does not count, as in PyTorch's cross-entropy.
pub const IGNORE: i64 = -100;

/// Rows that packing keeps open for shorter documents to come: bounds its work per document.
const OPEN_ROWS_MAX: usize = 64;

/// One document or conversation.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Example {
    pub tokens: Vec<u32>,
    /// Whether the token at i is to be predicted. As long as `tokens`; the first token never is a target.
    pub supervised: Vec<bool>,
}

impl Example {
    /// Every token is a target: pretraining.
    pub fn plain(tokens: Vec<u32>) -> Self {
        Self { supervised: vec![true; tokens.len()], tokens }
    }

    /// Only the answer's tokens are targets: supervised fine-tuning.
    pub fn answered(prompt: &[u32], answer: &[u32]) -> Self {
        let mut supervised = vec![false; prompt.len()];
        supervised.resize(prompt.len() + answer.len(), true);
        Self { tokens: [prompt, answer].concat(), supervised }
    }
}

/// What packing does with a document longer than a row.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "snake_case")]
pub enum Overlong {
    /// Goes on in further rows as further documents; every target is kept exactly once.
    Split,
    /// Its end is cut off.
    Truncate,
}

/// A packed row: inputs, their targets, and which documents they come from.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Row {
    pub tokens: Vec<u32>,
    /// `IGNORE` where the next token is not a target.
    pub targets: Vec<i64>,
    /// Restart at 0 in every document.
    pub positions: Vec<u32>,
    /// Number of the document in this row, from 1.
    pub segments: Vec<u32>,
    /// For each segment, the index of the example it comes from.
    pub examples: Vec<usize>,
}

impl Row {
    fn push(&mut self, example: usize, piece: &Piece<'_>) {
        let segment = self.examples.len() as u32 + 1;
        self.examples.push(example);
        for at in 0..piece.inputs() {
            let target = if piece.supervised[at + 1] { i64::from(piece.tokens[at + 1]) } else { IGNORE };
            self.tokens.push(piece.tokens[at]);
            self.targets.push(target);
            self.positions.push(at as u32);
            self.segments.push(segment);
        }
    }

    /// Positions that count in the loss.
    pub fn supervised_tokens(&self) -> u64 {
        self.targets.iter().filter(|&&target| target != IGNORE).count() as u64
    }
}

/// Inputs and targets of a stretch of an example: one token more than it has inputs.
struct Piece<'a> {
    tokens: &'a [u32],
    supervised: &'a [bool],
}

impl Piece<'_> {
    fn inputs(&self) -> usize {
        self.tokens.len() - 1
    }
}

/// Packs examples into rows of at most `length` positions: each piece goes into the first open row with room.
/// A piece without a single target takes no room: a row of it would teach nothing. Same input, same rows.
pub fn pack(examples: &[Example], length: usize, overlong: Overlong) -> Result<Vec<Row>, Error> {
    if length == 0 {
        return Err(Error::invalid("length", 0, "at least 1 position a row"));
    }
    let mut rows: Vec<Row> = Vec::new();
    let mut open: Vec<usize> = Vec::new();
    for (index, example) in examples.iter().enumerate() {
        for piece in pieces(index, example, length, overlong)? {
            let fits = |row: &Row| row.tokens.len() + piece.inputs() <= length;
            let row = match open.iter().find(|&&row| fits(&rows[row])) {
                Some(&row) => row,
                None => {
                    if open.len() == OPEN_ROWS_MAX {
                        let fullest = (0..open.len()).rev().max_by_key(|&at| rows[open[at]].tokens.len());
                        open.remove(fullest.expect("rows are open"));
                    }
                    rows.push(Row::default());
                    open.push(rows.len() - 1);
                    rows.len() - 1
                }
            };
            rows[row].push(index, &piece);
            if rows[row].tokens.len() == length {
                open.retain(|&other| other != row);
            }
        }
    }
    Ok(rows)
}

fn pieces<'a>(index: usize, example: &'a Example, length: usize, overlong: Overlong) -> Result<Vec<Piece<'a>>, Error> {
    let (tokens, supervised) = (&example.tokens, &example.supervised);
    if tokens.len() != supervised.len() {
        let expected = format!("as many marks as tokens ({})", tokens.len());
        return Err(Error::invalid(&format!("examples[{index}].supervised"), supervised.len(), expected));
    }
    let inputs = tokens.len().saturating_sub(1);
    let count = match overlong {
        Overlong::Split => inputs.div_ceil(length),
        Overlong::Truncate => inputs.min(1),
    };
    let piece = |number: usize| {
        let start = number * length;
        let end = (start + length).min(inputs);
        Piece { tokens: &tokens[start..=end], supervised: &supervised[start..=end] }
    };
    Ok((0..count).map(piece).filter(|piece| piece.supervised[1..].contains(&true)).collect())
}

/// Fixed-shape tensors of one micro-batch, row-major [rows, length]. Padding has segment 0, token 0,
/// position 0 and an ignored target.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Batch {
    pub rows: usize,
    pub length: usize,
    pub tokens: Vec<i64>,
    pub targets: Vec<i64>,
    pub positions: Vec<i64>,
    pub segments: Vec<i64>,
    pub supervised_tokens: u64,
}

impl Batch {
    /// Lays out `chosen` rows, padding each to `length` and the batch to `rows`.
    pub fn assemble(chosen: &[&Row], rows: usize, length: usize) -> Result<Self, Error> {
        if chosen.len() > rows {
            return Err(Error::invalid("rows", rows, format!("at least the {} rows given", chosen.len())));
        }
        let size = rows * length;
        let (zeros, ignored) = (vec![0i64; size], vec![IGNORE; size]);
        let mut batch = Self {
            rows,
            length,
            tokens: zeros.clone(),
            targets: ignored,
            positions: zeros.clone(),
            segments: zeros,
            supervised_tokens: 0,
        };
        for (at, row) in chosen.iter().enumerate() {
            if row.tokens.len() > length {
                let expected = format!("at least the longest row ({})", row.tokens.len());
                return Err(Error::invalid("length", length, expected));
            }
            for (offset, slot) in (at * length..).take(row.tokens.len()).enumerate() {
                batch.tokens[slot] = i64::from(row.tokens[offset]);
                batch.targets[slot] = row.targets[offset];
                batch.positions[slot] = i64::from(row.positions[offset]);
                batch.segments[slot] = i64::from(row.segments[offset]);
            }
            batch.supervised_tokens += row.supervised_tokens();
        }
        Ok(batch)
    }

    /// Positions that hold a token.
    pub fn tokens_present(&self) -> u64 {
        self.segments.iter().filter(|&&segment| segment != 0).count() as u64
    }
}

/// Rows in their own order, in batches of one shape: for evaluation.
pub fn batches(rows: &[Row], rows_per_batch: usize, length: usize) -> Result<Vec<Batch>, Error> {
    if rows_per_batch == 0 {
        return Err(Error::invalid("rows_per_batch", 0, "at least 1"));
    }
    let assemble = |chunk: &[Row]| Batch::assemble(&chunk.iter().collect::<Vec<_>>(), rows_per_batch, length);
    rows.chunks(rows_per_batch).map(assemble).collect()
}

/// Where a loader stands: the next row is number `cursor` of the order of `epoch` under `seed`.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
#[serde(deny_unknown_fields)]
pub struct LoaderState {
    pub epoch: u64,
    pub cursor: u64,
    pub seed: u64,
}

/// Packed rows for ever, in an order of their own each epoch. The order of an epoch depends on the seed, the
/// epoch and the number of rows; a batch never crosses an epoch's end, the last one of it is padded.
#[derive(Clone, Debug)]
pub struct Loader {
    rows: Vec<Row>,
    length: usize,
    state: LoaderState,
    order: Vec<usize>,
}

impl Loader {
    pub fn new(rows: Vec<Row>, length: usize, seed: u64) -> Result<Self, Error> {
        Self::restore(rows, length, LoaderState { seed, ..LoaderState::default() })
    }

    /// Continues from a recorded state over the same rows.
    pub fn restore(rows: Vec<Row>, length: usize, state: LoaderState) -> Result<Self, Error> {
        if rows.is_empty() {
            return Err(Error::invalid("rows", 0, "at least 1 row with a supervised token"));
        }
        if let Some(row) = rows.iter().find(|row| row.tokens.len() > length) {
            let expected = format!("at least the longest row ({})", row.tokens.len());
            return Err(Error::invalid("length", length, expected));
        }
        if state.cursor >= rows.len() as u64 {
            return Err(Error::invalid("loader.cursor", state.cursor, format!("below the {} rows", rows.len())));
        }
        let order = order_of(state, rows.len());
        Ok(Self { rows, length, state, order })
    }

    /// The next `rows` rows of this epoch, padded with ignored rows where it has fewer left.
    pub fn next_batch(&mut self, rows: usize) -> Result<Batch, Error> {
        if rows == 0 {
            return Err(Error::invalid("rows", 0, "at least 1"));
        }
        let start = self.state.cursor as usize;
        let end = (start + rows).min(self.rows.len());
        let chosen: Vec<&Row> = self.order[start..end].iter().map(|&row| &self.rows[row]).collect();
        let batch = Batch::assemble(&chosen, rows, self.length)?;
        self.state.cursor = end as u64;
        if end == self.rows.len() {
            self.state = LoaderState { epoch: self.state.epoch + 1, cursor: 0, ..self.state };
            self.order = order_of(self.state, self.rows.len());
        }
        Ok(batch)
    }

    pub fn state(&self) -> LoaderState {
        self.state
    }

    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Batches of this size in one epoch.
    pub fn batches_per_epoch(&self, rows: usize) -> u64 {
        self.rows.len().div_ceil(rows.max(1)) as u64
    }
}

fn order_of(state: LoaderState, rows: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..rows).collect();
    CounterRng::new(state.seed, state.epoch).shuffle(&mut order);
    order
}
