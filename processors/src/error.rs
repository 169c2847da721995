//! The one error of this crate: what was asked for and cannot be done, and what would be right.

use std::io;
use std::path::{Path, PathBuf};

/// Why a pipeline, a job or a question was refused or failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Text of a pipeline or training config that is not as it should be. Line and column count from 1.
    #[error("{origin}:{line}:{column}: {why}")]
    Config { origin: String, line: u64, column: u64, why: String },
    #[error("cannot {action} {}: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("{} is not UTF-8: byte {offset} begins no character; save it as UTF-8", path.display())]
    NotUtf8 { path: PathBuf, offset: u64 },
    #[error("there is no data directory at {}; `cairn run` makes one, `--data DIR` names another", path.display())]
    NoData { path: PathBuf },
    /// A setting, argument or input that cannot be used.
    #[error("{what}: {why}")]
    Refused { what: String, why: String },
    /// A prompt that leaves no room for an answer.
    #[error("the prompt has {tokens} tokens; the model reads at most {most} with room for an answer: shorten it")]
    PromptTooLong { tokens: usize, most: usize },
    /// Files to import that are not as they should be: nothing of them was recorded.
    #[error("nothing was imported: {}", listed(problems, *more))]
    Import { problems: Vec<crate::import::Problem>, more: u64 },
    #[error("there is no {kind} `{reference}` in this ledger; {hint}")]
    UnknownRef { kind: &'static str, reference: String, hint: String },
    #[error("template `{template}`: {why}")]
    Template { template: String, why: String },
    #[error("dataset {dataset} exists with other content (manifest {recorded}, this one {found}); commit it as {next}")]
    VersionExists { dataset: String, recorded: String, found: String, next: String },
    #[error("{0}")]
    Leak(Box<Leak>),
    #[error("stored bytes of {what} are not what they should be: {why}")]
    Stored { what: String, why: String },
    #[error("job `{job}`: the same work is being done by this process now; wait for it to end")]
    AlreadyRunning { job: String },
    #[error("panicked: {message}")]
    Panicked { message: String },
    #[error("stopped on request")]
    Cancelled,
    #[error("{doing} failed, and so did recording that: {recording}")]
    NotRecorded { doing: String, recording: Box<Error>, source: Box<Error> },
    #[error(transparent)]
    Schemas(#[from] cairn_schemas::Error),
    #[error(transparent)]
    Ledger(#[from] cairn_ledger::Error),
    #[error(transparent)]
    Projections(#[from] cairn_projections::Error),
    #[error(transparent)]
    Gpu(#[from] cairn_gpu::Error),
    #[error(transparent)]
    Read(#[from] crate::readers::Error),
}

/// Rows that stand in two splits of a dataset.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{count} rows stand in two splits, the first in `{left}` and `{right}`: {document} ({source_uri}); ingest their \
     sources in one job, which removes duplicates, or send them to one split"
)]
pub struct Leak {
    pub count: u64,
    /// The first one: the split it was seen in, and the split it came to.
    pub left: String,
    pub right: String,
    pub document: String,
    pub source_uri: String,
}

/// The problems, one a line, and how many more there are.
fn listed(problems: &[crate::import::Problem], more: u64) -> String {
    let mut lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    if more > 0 {
        lines.push(format!("and {more} more like these"));
    }
    lines.join("\n  ")
}

impl Error {
    /// Something given that cannot be used, and what would be right.
    pub(crate) fn refused(what: impl Into<String>, why: impl Into<String>) -> Self {
        Error::Refused { what: what.into(), why: why.into() }
    }

    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::Io { action, path, source }
    }

    /// The message with those of its sources that it does not already hold: what is recorded of a failure.
    pub fn chain(&self) -> String {
        let mut whole = self.to_string();
        let mut next = std::error::Error::source(self);
        while let Some(source) = next {
            let text = source.to_string();
            if !whole.contains(&text) {
                whole.push_str(": ");
                whole.push_str(&text);
            }
            next = source.source();
        }
        whole
    }
}
