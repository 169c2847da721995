//! What a caller hands to the ledger at once: events, and what it takes for granted about streams that they leave alone.

use cairn_schemas::NewEvent;

/// Events that are recorded together, or not at all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    pub events: Vec<NewEvent>,
    /// Streams whose version must be as said, where the batch rests on what they hold: read, not written.
    pub expectations: Vec<Expectation>,
}

/// That a stream holds exactly so many events. Checked where the batch is placed, after repeats are recognised; of a
/// stream that the batch writes to, the version before the batch is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation {
    pub stream: String,
    /// Events that the stream holds; 0 for a stream that nothing was recorded on.
    pub version: u64,
}

impl Batch {
    /// Adds an expectation.
    pub fn expecting(mut self, stream: &str, version: u64) -> Self {
        self.expectations.push(Expectation { stream: stream.to_owned(), version });
        self
    }
}

impl From<Vec<NewEvent>> for Batch {
    fn from(events: Vec<NewEvent>) -> Self {
        Self { events, expectations: Vec::new() }
    }
}
