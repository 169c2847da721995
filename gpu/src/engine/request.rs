//! What is asked of an engine and what comes back: a request, the stream of its outputs, and the handle that reads it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;

use crate::{Error, Finish, Sampling};

/// Answers to one prompt.
const ANSWERS_MAX: usize = 128;
/// Alternatives reported beside a chosen token.
const LOGPROBS_MAX: usize = 20;
const STOP_STRINGS_MAX: usize = 16;
const STOP_STRING_BYTES_MAX: usize = 1_024;

/// A prompt to continue.
#[derive(Clone, PartialEq, Debug)]
pub struct Request {
    pub prompt: Vec<u32>,
    /// How tokens are chosen, how many at most, and which tokens end an answer. Answer `i` of `n` draws from stream
    /// `i` of the seed.
    pub sampling: Sampling,
    /// Texts that end an answer and are not part of it. They need a tokenizer.
    pub stop: Vec<String>,
    /// Answers to the prompt.
    pub n: usize,
    /// With each token, its log-probability and this many of the likeliest.
    pub logprobs: Option<usize>,
}

impl Request {
    /// One answer, ended by tokens only.
    pub fn new(prompt: Vec<u32>, sampling: Sampling) -> Self {
        Self { prompt, sampling, stop: Vec::new(), n: 1, logprobs: None }
    }

    /// Refuses values without a meaning, naming the key. What depends on the model is checked by the engine.
    pub fn validate(&self) -> Result<(), Error> {
        self.sampling.validate()?;
        if self.n == 0 || self.n > ANSWERS_MAX {
            return Err(Error::invalid("n", self.n, format!("1 to {ANSWERS_MAX}")));
        }
        if let Some(count) = self.logprobs
            && count > LOGPROBS_MAX
        {
            return Err(Error::invalid("logprobs", count, format!("0 to {LOGPROBS_MAX}")));
        }
        if self.stop.len() > STOP_STRINGS_MAX {
            return Err(Error::invalid(
                "stop",
                format!("{} texts", self.stop.len()),
                format!("up to {STOP_STRINGS_MAX}"),
            ));
        }
        match self.stop.iter().find(|text| text.is_empty() || text.len() > STOP_STRING_BYTES_MAX) {
            Some(text) => {
                let expected = format!("texts of 1 to {STOP_STRING_BYTES_MAX} bytes");
                Err(Error::invalid("stop", format!("a text of {} bytes", text.len()), expected))
            }
            None => Ok(()),
        }
    }
}

/// One piece of a stream. Pieces of different answers are interleaved; those of one answer are in order.
#[derive(Clone, PartialEq, Debug)]
pub enum Output {
    Token(Chunk),
    /// The last piece of an answer: why it ended, and the text that was held back until then.
    End {
        choice: usize,
        finish: Finish,
        text: String,
    },
    /// The last piece of a request.
    Done(Usage),
}

/// A token of an answer.
#[derive(Clone, PartialEq, Debug)]
pub struct Chunk {
    /// Which of the `n` answers.
    pub choice: usize,
    pub token: u32,
    /// The text that became certain with this token: whole characters, and nothing that may yet turn out to be the
    /// beginning of a stop text. Empty without a tokenizer.
    pub text: String,
    pub logprob: Option<TokenLogprob>,
}

/// Natural logarithms of probabilities under the model itself, before temperature and limits.
#[derive(Clone, PartialEq, Debug)]
pub struct TokenLogprob {
    pub logprob: f32,
    /// The likeliest tokens, the likeliest first.
    pub top: Vec<(u32, f32)>,
}

/// Tokens of a whole request.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    pub prompt_tokens: usize,
    /// Tokens of the prompt that were not computed again because an earlier prompt began with them.
    pub cached_tokens: usize,
    /// Of all answers.
    pub completion_tokens: usize,
}

/// A whole answer.
#[derive(Clone, PartialEq, Debug)]
pub struct Answer {
    pub tokens: Vec<u32>,
    pub text: String,
    pub logprobs: Vec<TokenLogprob>,
    pub finish: Finish,
}

/// Reads the outputs of one request as they come. Dropping it cancels the request.
pub struct Handle {
    outputs: Receiver<Result<Output, Error>>,
    cancelled: Arc<AtomicBool>,
    answers: usize,
    ended: bool,
}

impl Handle {
    pub(super) fn new(outputs: Receiver<Result<Output, Error>>, cancelled: Arc<AtomicBool>, answers: usize) -> Self {
        Self { outputs, cancelled, answers, ended: false }
    }

    /// Ends the request: its answers finish as `Cancelled` at the next token.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
    }

    /// Cancels from elsewhere, while another thread reads.
    pub fn canceller(&self) -> Canceller {
        Canceller(self.cancelled.clone())
    }

    /// Waits for everything.
    pub fn collect_answers(mut self) -> Result<(Vec<Answer>, Usage), Error> {
        let empty = Answer { tokens: Vec::new(), text: String::new(), logprobs: Vec::new(), finish: Finish::Cancelled };
        let mut answers = vec![empty; self.answers];
        let mut usage = Usage::default();
        for output in self.by_ref() {
            match output? {
                Output::Token(chunk) => {
                    let answer = &mut answers[chunk.choice];
                    answer.tokens.push(chunk.token);
                    answer.text.push_str(&chunk.text);
                    answer.logprobs.extend(chunk.logprob);
                }
                Output::End { choice, finish, text } => {
                    answers[choice].finish = finish;
                    answers[choice].text.push_str(&text);
                }
                Output::Done(total) => usage = total,
            }
        }
        Ok((answers, usage))
    }
}

/// Blocks until the next piece is there.
impl Iterator for Handle {
    type Item = Result<Output, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.outputs.recv().unwrap_or(Err(Error::Stopped));
        self.ended = !matches!(next, Ok(Output::Token(_) | Output::End { .. }));
        Some(next)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.cancel();
    }
}

/// Ends a request whose handle is elsewhere.
#[derive(Clone)]
pub struct Canceller(Arc<AtomicBool>);

impl Canceller {
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Release);
    }
}
