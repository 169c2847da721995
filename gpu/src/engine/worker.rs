//! The thread that owns a device: takes commands, runs steps, answers. It waits only when there is nothing to do.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TryRecvError};

use super::batch::Batch;
use super::{Output, Request, Usage};
use crate::{Error, Finish};

/// What others may see of a working engine.
#[derive(Default)]
pub(super) struct Counters {
    pub(super) waiting: AtomicUsize,
    pub(super) running: AtomicUsize,
    pub(super) positions: AtomicUsize,
}

pub(super) enum Command {
    Generate { request: Request, outputs: Sender<Result<Output, Error>>, cancelled: Arc<AtomicBool> },
    Logits { tokens: Vec<u32>, answer: SyncSender<Result<Vec<f32>, Error>> },
}

/// A request on the worker's side. Its stream holds at most as many pieces as its answers may have tokens, and two.
pub(super) struct Asked {
    pub(super) request: Request,
    outputs: Sender<Result<Output, Error>>,
    cancelled: Arc<AtomicBool>,
    begun: Cell<bool>,
    failed: Cell<bool>,
    ended: Cell<usize>,
    usage: RefCell<Usage>,
}

impl Asked {
    fn new(request: Request, outputs: Sender<Result<Output, Error>>, cancelled: Arc<AtomicBool>) -> Self {
        let usage = Usage { prompt_tokens: request.prompt.len(), ..Usage::default() };
        Self {
            request,
            outputs,
            cancelled,
            begun: Cell::new(false),
            failed: Cell::new(false),
            ended: Cell::new(0),
            usage: RefCell::new(usage),
        }
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.failed.get() || self.cancelled.load(Ordering::Acquire)
    }

    /// The request no longer waits.
    pub(super) fn begin(&self, counters: &Counters) {
        if !self.begun.replace(true) {
            counters.waiting.fetch_sub(1, Ordering::AcqRel);
        }
    }

    pub(super) fn cached(&self, tokens: usize) {
        let mut usage = self.usage.borrow_mut();
        usage.cached_tokens = usage.cached_tokens.max(tokens);
    }

    /// A reader that has gone away has cancelled.
    pub(super) fn send(&self, output: Output) {
        if matches!(output, Output::Token(_)) {
            self.usage.borrow_mut().completion_tokens += 1;
        }
        if !self.failed.get() && self.outputs.send(Ok(output)).is_err() {
            self.cancelled.store(true, Ordering::Release);
        }
    }

    pub(super) fn end(&self, choice: usize, finish: Finish, text: String) {
        self.send(Output::End { choice, finish, text });
        self.ended.set(self.ended.get() + 1);
        if self.ended.get() == self.request.n {
            self.send(Output::Done(*self.usage.borrow()));
        }
    }

    /// Ends the whole request with an error, once.
    pub(super) fn fail(&self, error: Error) {
        if !self.failed.replace(true) {
            // Nobody may be listening any more.
            let _ = self.outputs.send(Err(error));
        }
    }
}

/// Tokens to give logits of, and where to.
type Scoring = (Vec<u32>, SyncSender<Result<Vec<f32>, Error>>);

/// Works until the sender of commands is gone.
pub(super) fn work(mut batch: Batch, commands: &Receiver<Command>, counters: &Counters) {
    let mut scoring: VecDeque<Scoring> = VecDeque::new();
    loop {
        loop {
            let next = match batch.is_idle() && scoring.is_empty() {
                true => commands.recv().map_err(|_| TryRecvError::Disconnected),
                false => commands.try_recv(),
            };
            match next {
                Ok(Command::Generate { request, outputs, cancelled }) => {
                    batch.ask(Asked::new(request, outputs, cancelled));
                }
                Ok(Command::Logits { tokens, answer }) => scoring.push_back((tokens, answer)),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return batch.fail(&Error::Stopped),
            }
        }
        if let Some((tokens, _)) = scoring.front()
            && let Some(logits) = batch.logits(tokens)
        {
            let (_, answer) = scoring.pop_front().expect("seen above");
            counters.waiting.fetch_sub(1, Ordering::AcqRel);
            // Nobody may be listening any more.
            let _ = answer.send(logits);
        }
        if let Err(error) = batch.step(scoring.is_empty()) {
            tracing::error!(%error, "a step failed");
            batch.fail(&error);
        }
    }
}
