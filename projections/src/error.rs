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
    #[error("{doing}: {source}; if it persists, `cairn rebuild` makes the store anew from the ledger")]
    Store { doing: &'static str, source: sled::Error },
    #[error("a row of `{table}` cannot be read: {why}; `cairn rebuild` makes the store anew from the ledger")]
    Row { table: &'static str, why: String },
    #[error("reading the ledger: {0}")]
    Ledger(#[from] cairn_ledger::Error),
    #[error("projection `{projection}` stopped at position {position}, at an event it cannot apply: {source}")]
    Apply { projection: &'static str, position: Position, source: Box<Error> },
    #[error("there is no projection `{given}`; the projections are {}", known.join(", "))]
    UnknownProjection { given: String, known: Vec<&'static str> },
    #[error("the cursor `{given}` does not belong to this query; use the `next` of a page of the same query")]
    Cursor { given: String },
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
    #[error(transparent)]
    Schemas(#[from] cairn_schemas::Error),
}

impl Error {
    pub(crate) fn io(doing: &'static str, path: &Path, source: std::io::Error) -> Self {
        Error::Io { doing, path: path.to_owned(), source }
    }
    pub(crate) fn row(table: &'static str, why: impl ToString) -> Self {
        Error::Row { table, why: why.to_string() }
    }
}
