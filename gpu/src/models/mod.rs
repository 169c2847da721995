//! Model shapes and the graphs that compute them.

mod config;
pub(crate) mod decoder;
pub(crate) mod inference;

pub use config::DecoderConfig;
