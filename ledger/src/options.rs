//! How a ledger is opened: its bounds, and the seams by which disk, clock and randomness are injected.

use crate::storage::{FileSystem, Storage};
use cairn_schemas::{Clock, SystemClock};
use rand::Rng;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Where salts and keys come from; tests inject their own.
pub trait Random: Send + Sync {
    fn fill(&self, bytes: &mut [u8]);
}

/// A generator in each thread (ChaCha12), seeded by the operating system and again after every 64 KiB: a call to the
/// system for each event's salt would cost more than all else that is done for the event.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) {
        rand::rng().fill_bytes(bytes);
    }
}

/// How to open a ledger. `Options::default()` suits production.
#[derive(Clone)]
pub struct Options {
    /// Shown to others who find the ledger locked: who holds it, and where to reach them.
    pub note: String,
    /// Origin of a new ledger: a URL without scheme and trailing slash. Drawn at random where `None`.
    pub origin: Option<String>,
    /// Whether logs that are created sign their checkpoints a second time, with ML-DSA-44. A log keeps what it has.
    pub ml_dsa: bool,
    /// A segment is sealed once it holds this many bytes.
    pub segment_bytes_max: u64,
    /// Bytes of events that may wait for the writers: beyond them `append` waits, and `submit` says that it is busy.
    pub queue_bytes_max: usize,
    /// How long `append` waits for room and for its answer.
    pub deadline: Duration,
    /// How long after a commit the checkpoint may still lack it.
    pub checkpoint_delay: Duration,
    /// Room on the disk kept for recovery, sealing and erasure when it is full. As much again must be free for artifacts
    /// to be stored, so that appends go on when they have stopped. 0 keeps none.
    pub reserve_bytes: u64,
    pub storage: Arc<dyn Storage>,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            note: String::new(),
            origin: None,
            ml_dsa: false,
            segment_bytes_max: 64 << 20,
            queue_bytes_max: 64 << 20,
            deadline: Duration::from_secs(30),
            checkpoint_delay: Duration::from_millis(500),
            reserve_bytes: 64 << 20,
            storage: Arc::new(FileSystem),
            clock: Arc::new(SystemClock),
            random: Arc::new(SystemRandom),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("note", &self.note)
            .field("origin", &self.origin)
            .field("ml_dsa", &self.ml_dsa)
            .field("segment_bytes_max", &self.segment_bytes_max)
            .field("queue_bytes_max", &self.queue_bytes_max)
            .field("deadline", &self.deadline)
            .field("checkpoint_delay", &self.checkpoint_delay)
            .field("reserve_bytes", &self.reserve_bytes)
            .finish_non_exhaustive()
    }
}
