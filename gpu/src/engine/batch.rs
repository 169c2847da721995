//! Continuous batching: between two steps of the running answers, waiting prompts are read in chunks; an answer joins
//! and leaves at any token. What an answer says depends on its own request alone, for the kernels compute each row by
//! itself (docs/performance.md says how that is known) and draws are keyed by seed, answer and position.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::detokenise::AnswerText;
use super::options::Plan;
use super::request::TokenLogprob;
use super::session::{DecoderSession, Step};
use super::slots::Slots;
use super::worker::{Asked, Counters};
use super::{Chunk, Output, Request};
use crate::{Detokenizer, Error, Finish};

/// Chunks of prompts read between two steps of running answers: more, and those wait longer; fewer, and steps of few
/// rows, which cost almost as much as those of many, become more.
const CHUNKS_BETWEEN_STEPS: usize = 4;

/// Rows from which on drawing is divided among threads: below, starting them costs more.
const DRAWS_APART_MIN: usize = 4;

/// All that runs on one device.
pub(super) struct Batch {
    pub(super) session: DecoderSession,
    plan: Plan,
    chunk: usize,
    detokenizer: Option<Detokenizer>,
    counters: Arc<Counters>,
    waiting: VecDeque<Waiting>,
    reading: Option<Reading>,
    /// Row `i` is in slot `i`.
    running: Vec<Row>,
    slots: Slots,
    threads: usize,
}

/// An answer not begun.
struct Waiting {
    asked: Rc<Asked>,
    choice: usize,
}

/// A prompt being read.
struct Reading {
    of: Waiting,
    slot: usize,
    done: usize,
}

/// An answer under way.
struct Row {
    asked: Rc<Asked>,
    choice: usize,
    answer: Vec<u32>,
    text: AnswerText,
    /// Positions in the cache.
    length: usize,
    /// Chosen and not fed yet.
    pending: u32,
}

impl Batch {
    pub(super) fn new(
        session: DecoderSession,
        (plan, chunk): (Plan, usize),
        keeps: bool,
        detokenizer: Option<Detokenizer>,
        counters: Arc<Counters>,
        threads: usize,
    ) -> Self {
        Self {
            session,
            plan,
            chunk,
            detokenizer,
            counters,
            waiting: VecDeque::new(),
            reading: None,
            running: Vec::new(),
            slots: Slots::new(plan.slots, chunk, keeps),
            threads,
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.reading.is_none() && self.running.is_empty()
    }

    pub(super) fn ask(&mut self, asked: Asked) {
        let asked = Rc::new(asked);
        self.waiting.extend((0..asked.request.n).map(|choice| Waiting { asked: asked.clone(), choice }));
    }

    /// Reads some of what waits and advances what runs by a token. Without `begins`, no prompt is begun, so that a slot
    /// becomes free for something else.
    pub(super) fn step(&mut self, begins: bool) -> Result<(), Error> {
        self.drop_cancelled();
        let mut chunks = 0;
        while (begins || self.reading.is_some())
            && (chunks < CHUNKS_BETWEEN_STEPS || self.running.is_empty())
            && self.read_chunk()?
        {
            chunks += 1;
        }
        self.advance()?;
        self.count();
        Ok(())
    }

    /// Logits after each token of `tokens`, [tokens, vocabulary]. None while every slot is taken.
    pub(super) fn logits(&mut self, tokens: &[u32]) -> Option<Result<Vec<f32>, Error>> {
        let slot = self.running.len();
        if self.reading.is_some() || slot == self.slots.count() || self.promised() + tokens.len() > self.plan.positions
        {
            return None;
        }
        self.slots.forget(slot);
        let mut promised = self.promises();
        promised.push(tokens.len());
        self.slots.trim(&mut self.session, &promised, self.plan.positions);
        self.slots.grown(slot, tokens.len());
        let mut logits = Vec::new();
        for (start, chunk) in (0..).step_by(self.chunk).zip(tokens.chunks(self.chunk)) {
            let read: Vec<usize> = (0..chunk.len()).collect();
            let step = Step { first: slot, tokens: chunk, starts: &[start], read: &read };
            match self.session.run(&step) {
                Ok(found) => logits.extend_from_slice(found),
                Err(error) => return Some(Err(error)),
            }
        }
        Some(Ok(logits))
    }

    /// Ends everything with an error.
    pub(super) fn fail(&mut self, error: &Error) {
        let rows = self.running.drain(..).map(|row| row.asked);
        let others = self.waiting.drain(..).chain(self.reading.take().map(|reading| reading.of)).map(|of| of.asked);
        for asked in rows.chain(others) {
            asked.fail(match error {
                Error::Stopped => Error::Stopped,
                other => Error::Failed { reason: other.to_string() },
            });
        }
        (0..self.slots.count()).for_each(|slot| self.slots.forget(slot));
        self.count();
    }

    fn count(&self) {
        self.counters.running.store(self.running.len() + usize::from(self.reading.is_some()), Ordering::Relaxed);
        self.counters.positions.store(self.promised(), Ordering::Relaxed);
    }

    /// Positions that each row may come to, by slot.
    fn promises(&self) -> Vec<usize> {
        let of_running = self.running.iter().map(|row| self.needed(&row.asked));
        of_running.chain(self.reading.iter().map(|reading| self.needed(&reading.of.asked))).collect()
    }

    fn promised(&self) -> usize {
        self.promises().iter().sum()
    }

    fn needed(&self, asked: &Asked) -> usize {
        needed(&self.plan, asked.request.prompt.len(), asked.request.sampling.max_new_tokens)
    }

    fn drop_cancelled(&mut self) {
        let counters = self.counters.clone();
        self.waiting.retain(|of| {
            let cancelled = of.asked.is_cancelled();
            if cancelled {
                of.asked.begin(&counters);
                of.asked.end(of.choice, Finish::Cancelled, String::new());
            }
            !cancelled
        });
        if self.reading.as_ref().is_some_and(|reading| reading.of.asked.is_cancelled()) {
            let reading = self.reading.take().expect("seen above");
            reading.of.asked.end(reading.of.choice, Finish::Cancelled, String::new());
        }
        for slot in (0..self.running.len()).rev() {
            if self.running[slot].asked.is_cancelled() {
                self.end(slot, Finish::Cancelled);
            }
        }
    }

    /// Reads a chunk of the prompt at hand, or of the next one if there is room. Whether there was anything to read.
    fn read_chunk(&mut self) -> Result<bool, Error> {
        if self.reading.is_none() && !self.begin_reading() {
            return Ok(false);
        }
        let reading = self.reading.as_mut().expect("begun above");
        let asked = reading.of.asked.clone();
        let prompt = &asked.request.prompt;
        let end = ((reading.done / self.chunk + 1) * self.chunk).min(prompt.len());
        let tokens = &prompt[reading.done..end];
        let read = if end == prompt.len() { vec![tokens.len() - 1] } else { Vec::new() };
        let step = Step { first: reading.slot, tokens, starts: &[reading.done], read: &read };
        let logits = self.session.run(&step)?;
        reading.done = end;
        self.slots.note(reading.slot, prompt, end);
        if end == prompt.len() {
            let logits = logits.to_vec();
            let reading = self.reading.take().expect("begun above");
            self.join(reading.of, reading.slot, &logits);
            while self.waiting.front().is_some_and(|next| Rc::ptr_eq(&next.asked, &asked)) && self.fits(&asked) {
                let next = self.waiting.pop_front().expect("seen above");
                let (from, to) = (self.running.len().checked_sub(1), self.running.len());
                // The first answer may be over already; then its slot, the first free one, still has the prompt.
                let from = from.filter(|&slot| Rc::ptr_eq(&self.running[slot].asked, &asked));
                if let Some(from) = from {
                    let promises = [self.promises(), vec![self.needed(&asked)]].concat();
                    self.slots.trim(&mut self.session, &promises, self.plan.positions);
                    self.slots.fork(&mut self.session, from, to, prompt.len());
                }
                self.join(next, to, &logits);
            }
        }
        Ok(true)
    }

    fn fits(&self, asked: &Asked) -> bool {
        self.running.len() + usize::from(self.reading.is_some()) < self.slots.count()
            && self.promised() + self.needed(asked) <= self.plan.positions
    }

    fn begin_reading(&mut self) -> bool {
        let Some(next) = self.waiting.front() else { return false };
        if !self.fits(&next.asked) {
            return false;
        }
        let of = self.waiting.pop_front().expect("seen above");
        of.asked.begin(&self.counters);
        let slot = self.running.len();
        let prompt = &of.asked.request.prompt;
        let promises = [self.promises(), vec![self.needed(&of.asked)]].concat();
        let done = self.slots.prepare(&mut self.session, slot, prompt);
        self.slots.trim(&mut self.session, &promises, self.plan.positions);
        of.asked.cached(done);
        self.reading = Some(Reading { of, slot, done });
        true
    }

    /// A prompt was read: its answer takes the next place among the running ones and gets its first token.
    fn join(&mut self, of: Waiting, slot: usize, logits: &[f32]) {
        let place = self.running.len();
        let request = &of.asked.request;
        let length = request.prompt.len();
        self.slots.bring(&mut self.session, slot, place, length);
        let text = AnswerText::new(self.detokenizer.as_ref(), &request.stop, &request.prompt);
        let row = Row { choice: of.choice, answer: Vec::new(), text, length, pending: 0, asked: of.asked };
        self.running.push(row);
        let drawn = self.running[place].draw(logits).choose();
        if let Some(finish) = self.running[place].take(drawn, self.plan.context) {
            self.end(place, finish);
        }
    }

    fn advance(&mut self) -> Result<(), Error> {
        let rows = self.running.len();
        if rows == 0 {
            return Ok(());
        }
        let tokens: Vec<u32> = self.running.iter().map(|row| row.pending).collect();
        let starts: Vec<usize> = self.running.iter().map(|row| row.length).collect();
        let read: Vec<usize> = (0..rows).collect();
        let logits = self.session.run(&Step { first: 0, tokens: &tokens, starts: &starts, read: &read })?;
        let rows_of_logits: Vec<&[f32]> = logits.chunks_exact(logits.len() / rows).collect();
        self.running.iter_mut().for_each(|row| row.length += 1);
        let draws: Vec<Draw<'_>> =
            self.running.iter().zip(&rows_of_logits).map(|(row, logits)| row.draw(logits)).collect();
        let drawn = draw_all(&draws, self.threads);
        drop(draws);
        let mut ended = Vec::new();
        for (slot, (row, drawn)) in self.running.iter_mut().zip(drawn).enumerate() {
            self.slots.grown(slot, row.length);
            if let Some(finish) = row.take(drawn, self.plan.context) {
                ended.push((slot, finish));
            }
        }
        for (slot, finish) in ended.into_iter().rev() {
            self.end(slot, finish);
        }
        Ok(())
    }

    /// Frees a slot; the last running answer takes its place.
    fn end(&mut self, slot: usize, finish: Finish) {
        let mut row = self.running.swap_remove(slot);
        let last = self.running.len();
        if slot < last {
            self.slots.bring(&mut self.session, last, slot, self.running[slot].length);
        }
        let (text, stopped) = match finish {
            // What was held back came before a stop text, or is of no use to anyone.
            Finish::Cancelled => (String::new(), false),
            _ => row.text.finish(),
        };
        self.count();
        row.asked.end(row.choice, if stopped { Finish::Stop } else { finish }, text);
    }
}

/// Positions that an answer may come to.
pub(super) fn needed(plan: &Plan, prompt: usize, max_new_tokens: usize) -> usize {
    prompt.saturating_add(max_new_tokens).min(plan.context)
}

/// What a row's next token depends on.
struct Draw<'a> {
    logits: &'a [f32],
    request: &'a Request,
    choice: usize,
    answer: &'a [u32],
    position: usize,
}

/// A row's next token; none if no logit is a number.
struct Drawn {
    token: Option<u32>,
    logprob: Option<TokenLogprob>,
}

impl Draw<'_> {
    fn choose(&self) -> Drawn {
        let sampling = &self.request.sampling;
        let token = match sampling.penalises() {
            true => {
                let mut logits = self.logits.to_vec();
                sampling.penalise(&mut logits, &self.request.prompt, self.answer);
                sampling.choose(&logits, self.choice, self.position)
            }
            false => sampling.choose(self.logits, self.choice, self.position),
        };
        let logprob = token.zip(self.request.logprobs).map(|(token, count)| logprob(self.logits, token, count));
        Drawn { token, logprob }
    }
}

/// Each row's token, some rows on every thread: with a large vocabulary, drawing for many costs as much as a step.
fn draw_all(draws: &[Draw<'_>], threads: usize) -> Vec<Drawn> {
    let each = draws.len().div_ceil(threads).max(1);
    if draws.len() < DRAWS_APART_MIN || each == draws.len() {
        return draws.iter().map(Draw::choose).collect();
    }
    std::thread::scope(|scope| {
        let (own, others) = draws.split_at(each);
        let others: Vec<_> = others
            .chunks(each)
            .map(|part| scope.spawn(move || part.iter().map(Draw::choose).collect::<Vec<_>>()))
            .collect();
        let mut drawn: Vec<Drawn> = own.iter().map(Draw::choose).collect();
        drawn.extend(others.into_iter().flat_map(|other| other.join().expect("drawing does not panic")));
        drawn
    })
}

impl Row {
    fn draw<'a>(&'a self, logits: &'a [f32]) -> Draw<'a> {
        let request = &self.asked.request;
        Draw { logits, request, choice: self.choice, answer: &self.answer, position: self.length }
    }

    /// Says the next token. Why the answer ends, if it does.
    fn take(&mut self, drawn: Drawn, context: usize) -> Option<Finish> {
        let asked = self.asked.clone();
        let sampling = &asked.request.sampling;
        let Some(token) = drawn.token else {
            asked.fail(Error::Tensor {
                name: "logits".to_owned(),
                problem: format!("no finite number at position {}: the weights are unusable", self.length),
            });
            return Some(Finish::Cancelled);
        };
        if sampling.stop.contains(&token) {
            return Some(Finish::Stop);
        }
        self.pending = token;
        self.answer.push(token);
        let (text, stopped) = self.text.push(token);
        asked.send(Output::Token(Chunk { choice: self.choice, token, text, logprob: drawn.logprob }));
        if stopped {
            return Some(Finish::Stop);
        }
        if self.answer.len() == sampling.max_new_tokens {
            return Some(Finish::Length);
        }
        (self.length + 1 >= context).then_some(Finish::Context)
    }
}

/// Of the chosen token and the `count` likeliest, under the model itself.
fn logprob(logits: &[f32], token: u32, count: usize) -> TokenLogprob {
    let highest = logits.iter().copied().filter(|logit| logit.is_finite()).fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&logit| f64::from(logit - highest).exp()).sum();
    let of = |logit: f32| (f64::from(logit - highest) - sum.ln()) as f32;
    let mut ids: Vec<u32> = (0..logits.len() as u32).collect();
    let likelier = |a: &u32, b: &u32| logits[*b as usize].total_cmp(&logits[*a as usize]).then(a.cmp(b));
    let count = count.min(ids.len());
    if count > 0 && count < ids.len() {
        ids.select_nth_unstable_by(count - 1, likelier);
    }
    ids.truncate(count);
    ids.sort_unstable_by(likelier);
    let top = ids.into_iter().map(|id| (id, of(logits[id as usize]))).collect();
    TokenLogprob { logprob: of(logits[token as usize]), top }
}
