//! Dynamic batching for encoders: rows that wait, whoever asked for them, are run together with others of about their
//! length. One thread owns the device; the queue is bounded by rows; a caller that goes away is not computed for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TryRecvError, channel, sync_channel};
use std::thread::JoinHandle;

use crate::models::check_tokens;
use crate::{Encoded, Encoder, EncoderConfig, EncoderInput, Error};

/// Tokens of one run, padding included. Products of so many rows use the processor fully; more would only leave its
/// caches.
const RUN_TOKENS_MAX: usize = 1_024;
/// Of a run's tokens, the most that may be padding.
const PADDING_SHARE_MAX: f64 = 0.08;

/// How an encoder's queue is bounded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EncoderOptions {
    /// Rows that may wait, of all callers together.
    pub queue_rows_max: usize,
    /// Tokens of one row.
    pub row_tokens_max: usize,
}

impl Default for EncoderOptions {
    fn default() -> Self {
        Self { queue_rows_max: 65_536, row_tokens_max: 8_192 }
    }
}

/// Runs an encoder for many at once. Cheap to share behind an `Arc`.
pub struct EncoderEngine {
    config: EncoderConfig,
    options: EncoderOptions,
    waiting: Arc<AtomicUsize>,
    asked: Option<Sender<Asked>>,
    worker: Option<JoinHandle<()>>,
}

/// Rows of one caller.
struct Asked {
    rows: Vec<Encoded>,
    answer: SyncSender<Result<Vec<Vec<f32>>, Error>>,
}

/// A caller's rows on the worker's side.
struct Pending {
    asked: Asked,
    /// Filled row by row.
    found: Vec<Vec<f32>>,
    left: usize,
    /// Rows not run yet, as (tokens, place).
    own: BTreeSet<(usize, usize)>,
}

impl EncoderEngine {
    /// Gives the encoder to a thread of its own.
    pub fn new(encoder: Encoder, options: EncoderOptions) -> Result<Self, Error> {
        let config = encoder.config().clone();
        let waiting = Arc::new(AtomicUsize::new(0));
        let (asked, received) = channel();
        let counter = waiting.clone();
        let thread = std::thread::Builder::new().name("cairn-encoder".to_owned());
        let worker = thread.spawn(move || work(encoder, &received, &counter));
        let worker =
            worker.map_err(|error| Error::Failed { reason: format!("no thread could be started: {error}") })?;
        Ok(Self { config, options, waiting, asked: Some(asked), worker: Some(worker) })
    }

    pub fn config(&self) -> &EncoderConfig {
        &self.config
    }

    /// Rows that wait or run.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// The encoder's output for each row, in order. Blocks; rows of several callers run together.
    pub fn run(&self, rows: Vec<Encoded>) -> Result<Vec<Vec<f32>>, Error> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let most = self.options.row_tokens_max.min(self.config.context);
        for row in &rows {
            check_tokens("text", &row.tokens, self.config.vocabulary, most)?;
        }
        let count = rows.len();
        let place = |waiting: usize| (waiting + count <= self.options.queue_rows_max).then_some(waiting + count);
        let taken = self.waiting.fetch_update(Ordering::AcqRel, Ordering::Acquire, place);
        taken.map_err(|waiting| Error::Busy { waiting })?;
        let (answer, received) = sync_channel(1);
        let asked = self.asked.as_ref().expect("there until dropped");
        asked.send(Asked { rows, answer }).map_err(|_| Error::Stopped)?;
        received.recv().map_err(|_| Error::Stopped)?
    }
}

impl Drop for EncoderEngine {
    fn drop(&mut self) {
        drop(self.asked.take());
        if let Some(worker) = self.worker.take() {
            // A panic there was reported when it happened.
            let _ = worker.join();
        }
    }
}

/// All that waits. A row is (its tokens, its caller's number, its place); callers are numbered as they come.
#[derive(Default)]
struct Waiting {
    callers: BTreeMap<u64, Pending>,
    rows: BTreeSet<(usize, u64, usize)>,
    count: u64,
}

impl Waiting {
    fn add(&mut self, asked: Asked) {
        let number = self.count;
        self.count += 1;
        let own: BTreeSet<(usize, usize)> =
            asked.rows.iter().enumerate().map(|(at, row)| (row.tokens.len(), at)).collect();
        self.rows.extend(own.iter().map(|&(length, at)| (length, number, at)));
        let found = vec![Vec::new(); asked.rows.len()];
        self.callers.insert(number, Pending { left: found.len(), asked, found, own });
    }

    /// The rows to run next, as (caller, row): the longest of the caller who has waited longest, with others of about
    /// its length from all callers.
    fn choose(&mut self) -> Vec<(u64, usize)> {
        let (&oldest, caller) = self.callers.first_key_value().expect("someone waits");
        let &(longest, at) = caller.own.last().expect("a caller who waits has a row left");
        let first = (longest, oldest, at);
        let mut batch = vec![first];
        let mut tokens = longest;
        for &row in self.rows.range(..(longest + 1, 0, 0)).rev().filter(|&&row| row != first) {
            let padded = (batch.len() + 1) * longest;
            let padding = padded - tokens - row.0;
            if padded > RUN_TOKENS_MAX || padding as f64 > PADDING_SHARE_MAX * padded as f64 {
                break;
            }
            batch.push(row);
            tokens += row.0;
        }
        for row in &batch {
            self.rows.remove(row);
            self.callers.get_mut(&row.1).expect("its rows were there").own.remove(&(row.0, row.2));
        }
        batch.into_iter().map(|(_, caller, at)| (caller, at)).collect()
    }

    /// Takes a caller out, whatever was left of it.
    fn remove(&mut self, caller: u64) -> Option<Pending> {
        let gone = self.callers.remove(&caller)?;
        gone.own.iter().for_each(|&(length, at)| {
            self.rows.remove(&(length, caller, at));
        });
        Some(gone)
    }
}

fn work(mut encoder: Encoder, asked: &Receiver<Asked>, counter: &AtomicUsize) {
    let mut waiting = Waiting::default();
    loop {
        loop {
            let next = match waiting.callers.is_empty() {
                true => asked.recv().map_err(|_| TryRecvError::Disconnected),
                false => asked.try_recv(),
            };
            match next {
                Ok(asked) => waiting.add(asked),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return,
            }
        }
        let batch = waiting.choose();
        let row = |&(caller, at): &(u64, usize)| {
            let row = &waiting.callers[&caller].asked.rows[at];
            EncoderInput { tokens: &row.tokens, types: &row.types }
        };
        let inputs: Vec<EncoderInput<'_>> = batch.iter().map(row).collect();
        let outcome = encoder.run(&inputs);
        let mut finished = Vec::new();
        match outcome {
            Ok(found) => {
                for ((caller, at), numbers) in batch.into_iter().zip(found) {
                    let of = waiting.callers.get_mut(&caller).expect("taken out only when done");
                    of.found[at] = numbers;
                    of.left -= 1;
                    if of.left == 0 {
                        finished.push((caller, None));
                    }
                }
            }
            // All whose rows were in this run hear of it, nobody else.
            Err(error) => {
                finished.extend(batch.into_iter().map(|(caller, _)| (caller, Some(error.to_string()))));
            }
        }
        for (caller, failure) in finished {
            let Some(done) = waiting.remove(caller) else { continue };
            counter.fetch_sub(done.asked.rows.len(), Ordering::AcqRel);
            let answer = failure.map_or(Ok(done.found), |reason| Err(Error::Failed { reason }));
            // Nobody may be listening any more.
            let _ = done.asked.answer.send(answer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(callers: &[&[usize]]) -> Waiting {
        let row = |&length: &usize| Encoded { tokens: vec![1; length], types: Vec::new(), is_cut: false };
        let mut waiting = Waiting::default();
        for lengths in callers {
            let (answer, _) = sync_channel(1);
            waiting.add(Asked { rows: lengths.iter().map(row).collect(), answer });
        }
        waiting
    }

    #[test]
    fn a_run_is_of_rows_of_about_one_length() {
        let mut rows = waiting(&[&[100, 20], &[98, 300, 97], &[60, 100]]).choose();
        rows.sort_unstable();
        assert_eq!(rows, [(0, 0), (1, 0), (1, 2), (2, 1)]);
        assert_eq!(waiting(&[&[200; 30]]).choose().len(), RUN_TOKENS_MAX / 200);
        assert_eq!(waiting(&[&[5_000, 5_000]]).choose().len(), 1, "one row always runs");
    }

    /// Everyone's rows are run in the end, each once, the first caller's first.
    #[test]
    fn no_row_is_left() {
        let mut waiting = waiting(&[&[7, 300, 12, 12], &[300, 5], &[1]]);
        let mut seen = Vec::new();
        while !waiting.callers.is_empty() {
            for (caller, at) in waiting.choose() {
                seen.push((caller, at));
                let of = waiting.callers.get_mut(&caller).unwrap();
                of.left -= 1;
                if of.left == 0 {
                    waiting.remove(caller).unwrap();
                }
            }
        }
        assert_eq!(seen[0], (0, 1));
        seen.sort_unstable();
        assert_eq!(seen, [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (1, 1), (2, 0)]);
        assert!(waiting.rows.is_empty());
    }
}
