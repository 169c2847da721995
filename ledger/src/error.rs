//! What can go wrong, with the values that show it. Damage names log, position, file, offset, expected and found.

use cairn_schemas::{Blake3, Position, Sha256, TenantId};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why the ledger refused or failed. See [`Error::is_retryable`] for what a caller may do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("ledger {} is already open ({holder}); stop that process, or talk to it", dir.display())]
    AlreadyOpen { dir: PathBuf, holder: String },
    #[error("{} is not a ledger: {why}", dir.display())]
    NotALedger { dir: PathBuf, why: String },
    #[error("tenant `{tenant}` has no log yet; append an event to it first")]
    NoLog { tenant: TenantId },
    #[error("this ledger was opened read-only; open it for writing to append")]
    ReadOnly,
    #[error("{0}")]
    Damaged(Box<Damage>),
    #[error("{action} {}: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("the disk is full: {bytes} bytes did not fit at {}; nothing of them was kept, free space and retry", path.display())]
    DiskFull { bytes: u64, path: PathBuf },
    #[error(
        "it is unknown whether the events were recorded ({why}); open the ledger again and retry with the same ids"
    )]
    OutcomeUnknown { why: String },
    #[error("the ledger's writer has ended ({why}); open the ledger again and retry")]
    WriterEnded { why: String },

    #[error("more than {bytes_max} bytes of events wait for the disk; nothing of this batch was recorded, retry soon")]
    Busy { bytes_max: usize },
    #[error("the disk did not answer in time; it is unknown whether the events were recorded, retry with the same ids")]
    Deadline,

    #[error("a batch holds 1 to {max} events, this one {given}")]
    BatchLength { given: usize, max: usize },
    #[error("event {index}: {what} takes {given} bytes, at most {max} are allowed")]
    TooLarge { index: usize, what: &'static str, given: usize, max: usize },
    #[error("event {index} names {given} refs, at most {max} are allowed; send longer sets as pages")]
    TooManyRefs { index: usize, given: usize, max: usize },
    #[error("event {index}: {what} is empty; {hint}")]
    Missing { index: usize, what: &'static str, hint: &'static str },
    #[error(
        "event {index} (source `{event_source}`, id `{id}`) was recorded at position {position} with other content"
    )]
    Conflict { index: usize, event_source: String, id: String, position: Position },
    #[error("{} of {events} events of the batch were recorded before, the others not: {}", repeated.len(), list(repeated))]
    PartlyRepeated { events: usize, repeated: Vec<(usize, Position)> },
    #[error("events {first_index} and {index} of the batch have the same source `{event_source}` and id `{id}`")]
    RepeatedInBatch { index: usize, first_index: usize, event_source: String, id: String },
    #[error("event {index}: stream `{stream}` is at version {actual}, not at the expected version {expected}")]
    WrongVersion { index: usize, stream: String, expected: u64, actual: u64 },
    #[error("stream `{stream}` is at version {actual}, not at the version {expected} that the batch rests on")]
    Unexpected { stream: String, expected: u64, actual: u64 },
    #[error("a batch names at most {max} expectations, this one {given}")]
    TooManyExpectations { given: usize, max: usize },
    #[error("event {index} of type {event_type} does not come back from its own encoding: {why}")]
    NotReproducible { index: usize, event_type: &'static str, why: String },
    #[error(transparent)]
    Schemas(#[from] cairn_schemas::Error),

    #[error(
        "position {position} is not covered by the checkpoint of size {size}; ask for one up to {size}, or for a later checkpoint"
    )]
    NotCovered { position: u64, size: u64 },
    #[error("the tree of size {size} has no {what}")]
    NoTile { what: String, size: u64 },
    #[error("the proof does not hold: {why}")]
    Proof { why: String },
    #[error(
        "position {position} is under the legal hold `{hold}` (scope {scope}); nothing of it is erased until that is lifted"
    )]
    Held { position: Position, hold: String, scope: String },
    #[error("position {position} is of type {event_type}, which erasure itself rests on; leave it out")]
    NotRedactable { position: Position, event_type: &'static str },
    #[error("positions {from} to {to} are not in this log, which holds 1 to {head}")]
    NoSuchPosition { from: u64, to: u64, head: u64 },
    #[error(
        "the retention policy at position {position} is not of the form {{\"<family>\": {{\"days\": <number>}}}} but `{config}`; record one that is"
    )]
    Policy { position: Position, config: String },
    #[error("a statement needs {expected}")]
    Statement { expected: String },
    #[error("as of `{given}`: {why}")]
    AsOf { given: String, why: String },
    #[error("there is no artifact {digest}")]
    NoArtifact { digest: Blake3 },
    #[error("{}: {why}", path.display())]
    Key { path: PathBuf, why: String },
    #[error("{} is not a bundle: {why}", dir.display())]
    NotABundle { dir: PathBuf, why: String },

    #[error("backup {}: {why}", dir.display())]
    Backup { dir: PathBuf, why: String },
    #[error("ledger {} was restored and is read-only: {why}", dir.display())]
    RestoredReadOnly { dir: PathBuf, why: String },
    #[error("{0}")]
    Forked(Box<Fork>),
}

impl Error {
    /// Whether the same call, with the same ids, may succeed later or after the ledger was opened again.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Error::AlreadyOpen { .. }
                | Error::DiskFull { .. }
                | Error::OutcomeUnknown { .. }
                | Error::Busy { .. }
                | Error::Deadline
                | Error::WriterEnded { .. }
                | Error::Io { .. }
        )
    }

    /// Whether what failed needs room on the disk.
    pub(crate) fn is_full(&self) -> bool {
        match self {
            Error::DiskFull { .. } => true,
            Error::Io { source, .. } => crate::storage::is_full(source),
            _ => false,
        }
    }

    /// A file where a folder belongs, or the other way round, is damage: trying again does not help. `dir` is the
    /// ledger's or the bundle's directory, `log` what the finding is shown under.
    pub(crate) fn or_damage(self, dir: &Path, log: &str) -> Error {
        let Error::Io { action, path, source } = &self else { return self };
        let is_listing = *action == "listing";
        let (file, expected, found) = match source.kind() {
            io::ErrorKind::NotADirectory if is_listing => (path.as_path(), "a folder", "a file"),
            io::ErrorKind::NotADirectory => (path.parent().unwrap_or(path), "a folder", "a file"),
            io::ErrorKind::IsADirectory => (path.as_path(), "a file", "a folder"),
            // Where a folder may be absent, whoever lists it says so.
            io::ErrorKind::NotFound if is_listing => (path.as_path(), "a folder", "nothing"),
            _ => return self,
        };
        let Ok(file) = file.strip_prefix(dir) else { return self };
        if file.as_os_str().is_empty() {
            return self;
        }
        let (log, file) = (log.to_owned(), file.to_owned());
        Damage { log, position: None, file, offset: 0, expected: expected.into(), found: found.into() }.into()
    }

    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::Io { action, path, source }
    }
}

fn list(repeated: &[(usize, Position)]) -> String {
    const SHOWN_MAX: usize = 8;
    let mut shown: Vec<String> = repeated
        .iter()
        .take(SHOWN_MAX)
        .map(|(index, position)| format!("event {index} at position {position}"))
        .collect();
    if repeated.len() > SHOWN_MAX {
        shown.push(format!("and {} more", repeated.len() - SHOWN_MAX));
    }
    shown.join(", ")
}

/// Stored bytes that are not what was written: where they stand, what was expected there and what was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Which log, as `tenant/kind/shard`; `-` for what belongs to no log.
    pub log: String,
    /// The event that is wrong, or the first that may be where that cannot be told; `None` where the bytes belong to none.
    pub position: Option<u64>,
    /// Relative to the ledger's directory.
    pub file: PathBuf,
    pub offset: u64,
    pub expected: String,
    pub found: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "damaged: log {}, ", self.log)?;
        match self.position {
            Some(position) => write!(f, "position {position}, ")?,
            None => write!(f, "no position, ")?,
        }
        let Damage { file, offset, expected, found, .. } = self;
        write!(f, "file {}, offset {offset}: expected {expected}, found {found}", file.display())
    }
}

/// Two roots of one log's tree at the same size: somebody was shown another history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fork {
    /// As `tenant/kind/shard`.
    pub log: String,
    pub size: u64,
    pub known: Sha256,
    pub found: Sha256,
}

impl fmt::Display for Fork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fork { log, size, known, found } = self;
        write!(f, "log {log} has two histories: at size {size} its root is known to be {known}, here it is {found}; ")?;
        write!(f, "one of them is not what was signed, keep both as they are")
    }
}

impl From<Fork> for Error {
    fn from(fork: Fork) -> Self {
        Error::Forked(Box::new(fork))
    }
}

impl From<Damage> for Error {
    fn from(damage: Damage) -> Self {
        Error::Damaged(Box::new(damage))
    }
}

/// What a pure decoder found wrong; whoever knows the file turns it into [`Damage`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mismatch {
    /// Offset inside the bytes that were being decoded.
    pub(crate) at: usize,
    pub(crate) expected: String,
    pub(crate) found: String,
}

impl Mismatch {
    pub(crate) fn new(at: usize, expected: impl fmt::Display, found: impl fmt::Display) -> Self {
        Self { at, expected: expected.to_string(), found: found.to_string() }
    }

    /// The same finding, seen from a range that begins `by` bytes earlier.
    pub(crate) fn shifted(mut self, by: usize) -> Self {
        self.at += by;
        self
    }
}
