//! The jobs, one module a kind; each implements `Job` for its spec.

pub(crate) mod dataset;
mod deploy;
pub(crate) mod evaluate;
mod gate;
pub(crate) mod ingest;
mod judge;
mod tokenizer;
pub(crate) mod train;
