//! Why the server could not begin, or ended.

use std::io;
use std::net::SocketAddr;

/// What a caller of [`crate::serve`] can meet. What a client of the server can meet is a problem in its answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("cannot listen on {address}: {source}; name a free address, port 0 for any free port")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("cannot start the thread `{name}`: {source}")]
    Thread { name: &'static str, source: io::Error },
    #[error("cannot tell others where the server is: {0}")]
    Ledger(#[from] cairn_ledger::Error),
    #[error("traces cannot be sent as {variable} has it: {why}")]
    Traces { variable: String, why: String },
    #[error("cannot serve the folder {} as `{name}`: {}", dir.display(), source.chain())]
    Model { name: String, dir: std::path::PathBuf, source: Box<cairn_processors::Error> },
    #[error("the server ended: {source}")]
    Serve { source: io::Error },
}
