//! Batched generation with a key/value cache. Prompts of similar length are read together, then all rows advance one
//! token at a time; a finished row's place goes to the next prompt. Only a few fixed shapes ever run.

mod cache;
mod decoding;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::loaded::Loaded;
use crate::models::inference::{prompt_graph, token_graph};
use crate::{DecoderConfig, Error, Feed, Outputs, Runtime, Sampling, Session, Weights};
use decoding::Decoding;

/// Rows that advance together.
const ROWS_MAX: usize = 32;
/// Bytes of keys and values at full context, which bounds the rows of large models.
const CACHE_BYTES_MAX: usize = 1 << 30;
/// Prompts read together, and their tokens with padding.
const PROMPTS_MAX: usize = 8;
const PROMPT_TOKENS_MAX: usize = 4_096;
/// Sessions kept; one holds no weights, only a graph and its working memory.
const SESSIONS_MAX: usize = 64;

/// Why a row ended.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// One of the stop tokens came.
    Stop,
    /// As many tokens as allowed.
    Length,
    /// The model's context is full.
    Context,
    /// The receiver of the tokens wanted no more.
    Cancelled,
}

/// What came after one prompt, without the stop token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Generated {
    pub tokens: Vec<u32>,
    pub finish: Finish,
}

/// Generates under fixed weights. Calls from several threads take turns, step by step.
pub struct Generator {
    runtime: Runtime,
    config: DecoderConfig,
    weights: Loaded,
    sessions: Mutex<HashMap<Stage, Session>>,
}

/// A graph in one of its shapes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Stage {
    Prompt { rows: usize, length: usize },
    Token { rows: usize, capacity: usize },
}

impl Generator {
    pub fn new(runtime: &Runtime, config: &DecoderConfig, weights: &Weights) -> Result<Self, Error> {
        let weights = Loaded::new(runtime, config, weights)?;
        Ok(Self { runtime: runtime.clone(), config: config.clone(), weights, sessions: Mutex::default() })
    }

    /// Continues each prompt; answers come in the order of the prompts.
    pub fn generate(&self, prompts: &[Vec<u32>], sampling: &Sampling) -> Result<Vec<Generated>, Error> {
        self.generate_with(prompts, sampling, &mut |_, _| ControlFlow::Continue(()))
    }

    /// As `generate`, giving each token (row, token) as soon as it is chosen, a row's tokens in order. `Break` ends
    /// that row.
    pub fn generate_with(
        &self,
        prompts: &[Vec<u32>],
        sampling: &Sampling,
        on_token: &mut dyn FnMut(usize, u32) -> ControlFlow<()>,
    ) -> Result<Vec<Generated>, Error> {
        sampling.validate()?;
        prompts.iter().enumerate().try_for_each(|(row, prompt)| self.check_prompt(row, prompt))?;
        // Taken from the end: the shortest first, so that the cache seldom has to shrink.
        let mut waiting: Vec<usize> = (0..prompts.len()).collect();
        waiting.sort_by_key(|&row| Reverse(prompts[row].len()));
        let rows_max = self.rows_max().min(prompts.len().max(1));
        let mut batch = Running {
            generator: self,
            sampling,
            on_token,
            decoding: Decoding::new(self, rows_max),
            rows: Vec::new(),
            pending: Vec::new(),
            results: vec![Generated { tokens: Vec::new(), finish: Finish::Length }; prompts.len()],
        };
        loop {
            let chosen = self.admissible(prompts, &waiting);
            let free = rows_max - batch.rows.len();
            if chosen > 0 && (free >= chosen || batch.rows.is_empty()) {
                let taken = waiting.split_off(waiting.len() - chosen.min(free));
                batch.admit(&taken, prompts)?;
            } else if batch.rows.is_empty() {
                return Ok(batch.results);
            } else {
                batch.advance()?;
            }
        }
    }

    /// How many of the waiting prompts to read next.
    fn admissible(&self, prompts: &[Vec<u32>], waiting: &[usize]) -> usize {
        let mut count = 0;
        for &row in waiting.iter().rev().take(PROMPTS_MAX) {
            if count > 0 && (count + 1) * prompts[row].len() > PROMPT_TOKENS_MAX {
                break;
            }
            count += 1;
        }
        count
    }

    fn rows_max(&self) -> usize {
        let floats = 2 * self.config.layers * self.config.width * self.config.context;
        let most = (CACHE_BYTES_MAX / (4 * floats)).clamp(1, ROWS_MAX);
        // Slots come in powers of two.
        1 << most.ilog2()
    }

    fn check_prompt(&self, row: usize, prompt: &[u32]) -> Result<(), Error> {
        let context = self.config.context;
        if prompt.is_empty() || prompt.len() >= context {
            let expected = format!("1 to {} tokens, so that one more fits into the model's context", context - 1);
            return Err(Error::invalid(&format!("prompts[{row}]"), format!("{} tokens", prompt.len()), expected));
        }
        match prompt.iter().find(|&&token| token as usize >= self.config.vocabulary) {
            Some(token) => {
                let expected = format!("tokens below the model's vocabulary ({})", self.config.vocabulary);
                Err(Error::invalid(&format!("prompts[{row}]"), format!("token {token}"), expected))
            }
            None => Ok(()),
        }
    }

    fn run(&self, stage: Stage, feeds: &[(&str, Feed<'_>)]) -> Result<Outputs, Error> {
        let mut inputs = self.weights.feeds();
        inputs.extend_from_slice(feeds);
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        if !sessions.contains_key(&stage) {
            if sessions.len() >= SESSIONS_MAX {
                sessions.clear();
            }
            let graph = match stage {
                Stage::Prompt { rows, length } => prompt_graph(&self.config, rows, length),
                Stage::Token { rows, capacity } => token_graph(&self.config, rows, capacity),
            };
            sessions.insert(stage, self.runtime.session(&graph)?);
        }
        sessions.get_mut(&stage).expect("inserted above").run(&inputs)
    }
}

/// One call of `generate_with`.
struct Running<'a> {
    generator: &'a Generator,
    sampling: &'a Sampling,
    on_token: &'a mut dyn FnMut(usize, u32) -> ControlFlow<()>,
    decoding: Decoding<'a>,
    /// The prompt's number, per slot.
    rows: Vec<usize>,
    /// The token chosen and not yet fed, per slot.
    pending: Vec<u32>,
    results: Vec<Generated>,
}

impl Running<'_> {
    fn admit(&mut self, rows: &[usize], prompts: &[Vec<u32>]) -> Result<(), Error> {
        let chosen: Vec<&[u32]> = rows.iter().map(|&row| prompts[row].as_slice()).collect();
        let logits = self.decoding.admit(&chosen)?;
        let first = self.rows.len();
        self.rows.extend_from_slice(rows);
        self.pending.resize(self.rows.len(), 0);
        self.settle(first, &logits)
    }

    fn advance(&mut self) -> Result<(), Error> {
        let logits = self.decoding.advance(&self.pending)?;
        self.settle(0, &logits)
    }

    /// Chooses a token for each slot from `first` on and frees the slots of rows that ended.
    fn settle(&mut self, first: usize, logits: &[f32]) -> Result<(), Error> {
        let mut ended = Vec::new();
        for (slot, logits) in (first..).zip(logits.chunks_exact(self.generator.config.vocabulary)) {
            if let Some(finish) = self.choose(slot, logits)? {
                self.results[self.rows[slot]].finish = finish;
                ended.push(slot);
            }
        }
        for slot in ended.into_iter().rev() {
            self.decoding.retire(slot);
            self.rows.swap_remove(slot);
            self.pending.swap_remove(slot);
        }
        Ok(())
    }

    fn choose(&mut self, slot: usize, logits: &[f32]) -> Result<Option<Finish>, Error> {
        let (row, position) = (self.rows[slot], self.decoding.length(slot));
        let token = self.sampling.choose(logits, row, position).ok_or_else(|| Error::Tensor {
            name: "logits".to_owned(),
            problem: format!("no finite number for row {row} at position {position}: the weights are unusable"),
        })?;
        if self.sampling.stop.contains(&token) {
            return Ok(Some(Finish::Stop));
        }
        self.pending[slot] = token;
        let result = &mut self.results[row].tokens;
        result.push(token);
        if (self.on_token)(row, token).is_break() {
            return Ok(Some(Finish::Cancelled));
        }
        if result.len() == self.sampling.max_new_tokens {
            return Ok(Some(Finish::Length));
        }
        Ok((position + 1 == self.generator.config.context).then_some(Finish::Context))
    }
}
