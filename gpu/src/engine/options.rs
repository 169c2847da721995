//! What an engine is opened with, and what it planned to use.

use std::sync::Arc;

use crate::{DecoderConfig, Detokenizer, Error, Weights};

const SLOTS_MAX: usize = 256;
const QUEUE_MAX: usize = 65_536;
const CHUNK_MAX: usize = 4_096;

/// How an engine divides its device. Every number is a bound.
#[derive(Clone, PartialEq, Debug)]
pub struct EngineOptions {
    /// Answers that advance together.
    pub slots: usize,
    /// Bytes for weights, keys and values, and working memory together; on the CPU no more than nine tenths of what the
    /// system has to give when the engine is opened.
    pub memory_bytes_max: u64,
    /// Requests that may wait for a place.
    pub queue_max: usize,
    /// Prompt tokens read between two steps of the running answers.
    pub prompt_chunk: usize,
    /// Most positions of one answer with its prompt; the model's context where absent.
    pub context_max: Option<usize>,
    /// Matrices in fewer bits.
    pub quantise: Option<Quantisation>,
    /// Whether prompts that begin alike are read once.
    pub prefix_cache: bool,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            slots: 16,
            memory_bytes_max: 8 << 30,
            queue_max: 256,
            prompt_chunk: 256,
            context_max: None,
            quantise: None,
            prefix_cache: true,
        }
    }
}

impl EngineOptions {
    /// Refuses values without a meaning, naming the key.
    pub fn validate(&self) -> Result<(), Error> {
        let within = |key: &str, found: usize, most: usize| match (1..=most).contains(&found) {
            true => Ok(()),
            false => Err(Error::invalid(key, found, format!("1 to {most}"))),
        };
        within("slots", self.slots, SLOTS_MAX)?;
        within("queue_max", self.queue_max, QUEUE_MAX)?;
        within("prompt_chunk", self.prompt_chunk, CHUNK_MAX)?;
        match self.context_max {
            Some(context) if context < 2 => Err(Error::invalid("context_max", context, "at least 2")),
            _ => Ok(()),
        }
    }
}

/// Weight-only quantisation in blocks of 32 along the input, each with its own scale and zero point.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Quantisation {
    Bits4,
    Bits8,
}

impl Quantisation {
    pub fn bits(self) -> usize {
        match self {
            Self::Bits4 => 4,
            Self::Bits8 => 8,
        }
    }
}

/// A decoder in parts.
#[derive(Clone)]
pub struct DecoderParts {
    pub config: DecoderConfig,
    pub weights: Arc<Weights>,
    /// Without one there is no text, only tokens.
    pub detokenizer: Option<Detokenizer>,
}

/// What an engine uses, decided when it was opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plan {
    /// Weights as they lie in memory.
    pub weight_bytes: u64,
    /// Keys and values of one position.
    pub position_bytes: u64,
    /// Working memory of the largest run.
    pub working_bytes: u64,
    /// Positions that all admitted answers may hold together.
    pub positions: usize,
    /// Positions of one answer with its prompt.
    pub context: usize,
    pub slots: usize,
}

/// How busy an engine is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Load {
    pub running: usize,
    pub waiting: usize,
    /// Positions promised to running answers.
    pub positions: usize,
}
