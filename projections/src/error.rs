//! What can go wrong in the projections. They are derived data: what is damaged here is rebuilt from the ledger.

use cairn_schemas::Position;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// An error of the projections' boundary.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error(
        "the projections in {} are held by another process; ask that process, or stop it",
        dir.display()
    )]
    Held { dir: PathBuf },
    #[error("{} {}: {source}", doing, path.display())]
    Io { doing: &'static str, path: PathBuf, source: std::io::Error },
    #[error("{doing} ({engine}): {source}; if it persists, `cairn rebuild` makes the store anew from the ledger")]
    Store {
        engine: &'static str,
        doing: &'static str,
        /// Set where the disk refused.
        io: Option<std::io::ErrorKind>,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("a row of `{table}` cannot be read: {why}; `cairn rebuild` makes the store anew from the ledger")]
    Row { table: &'static str, why: String },
    #[error("reading the ledger: {0}")]
    Ledger(#[from] cairn_ledger::Error),
    #[error("projection `{projection}` stopped at position {position}, at an event it cannot apply: {why}")]
    Stopped { projection: &'static str, position: Position, why: String },
    #[error(
        "projection `{projection}` is being rebuilt, {done} of {total} events so far; ask again when it is done \
         (`cairn status` and /metrics show how far it is)"
    )]
    Rebuilding { projection: &'static str, done: u64, total: u64 },
    #[error("`{given}` is not a storage engine; expected sled, fjall or auto (CAIRN_STORE, --engine)")]
    UnknownEngine { given: String },
    #[error("there is no projection `{given}`; the projections are {}", known.join(", "))]
    UnknownProjection { given: String, known: Vec<&'static str> },
    #[error("the cursor `{given}` does not belong to this query; use one that a page of the same query gave")]
    Cursor { given: String },
    /// What nothing is known of, and what there is instead.
    #[error("{what}: {why}")]
    Unknown { what: String, why: String },
    /// A question that cannot be answered as it was put.
    #[error("{what}: {why}")]
    Question { what: String, why: String },
    #[error("`{given}` is not a kind of entity; the kinds are {}", known.join(", "))]
    UnknownKind { given: String, known: Vec<&'static str> },
    #[error("`{given}` is not a commit; a commit or digest, or its beginning, is {chars_min} to 64 hexadecimal digits")]
    Commit { given: String, chars_min: usize },
    #[error(
        "the ledger goes on to {head} where position {position} was waited for ({waited:?}); is that position right?"
    )]
    Beyond { position: Position, head: String, waited: Duration },
    #[error("the projections reached {reached} in {waited:?}, position {position} was waited for")]
    Late { position: Position, reached: String, waited: Duration },
    #[error("`{given}` is not a model without its version; one is like model://project/name")]
    Family { given: String },
    #[error(transparent)]
    Filter(#[from] crate::catalog::filter::FilterError),
    #[error(transparent)]
    Schemas(#[from] cairn_schemas::Error),
}

impl Error {
    pub(crate) fn io(doing: &'static str, path: &Path, source: std::io::Error) -> Self {
        Error::Io { doing, path: path.to_owned(), source }
    }
    /// Whether the disk or the log failed, and not the rows or the event: it may go another time.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self, Error::Io { .. } | Error::Store { io: Some(_), .. } | Error::Ledger(_))
    }
    /// Whether a store could not be used for a reason that a new store has too.
    pub(crate) fn is_of_the_disk(&self) -> bool {
        use std::io::ErrorKind as Kind;
        let kind = match self {
            Error::Store { io: Some(kind), .. } => *kind,
            Error::Io { source, .. } => source.kind(),
            _ => return false,
        };
        // What damaged and half-made files make of themselves; everything else is the disk's.
        let of_the_files = matches!(
            kind,
            Kind::InvalidData
                | Kind::UnexpectedEof
                | Kind::InvalidInput
                | Kind::NotFound
                | Kind::AlreadyExists
                | Kind::NotADirectory
                | Kind::IsADirectory
                | Kind::Other
        );
        !of_the_files
    }
    pub(crate) fn question(what: impl Into<String>, why: impl Into<String>) -> Self {
        Error::Question { what: what.into(), why: why.into() }
    }
    pub(crate) fn row(table: &'static str, why: impl ToString) -> Self {
        Error::Row { table, why: why.to_string() }
    }
}

/// What a panic said.
pub(crate) fn panicked(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    format!("it panicked: {}", text.unwrap_or("without a message"))
}
