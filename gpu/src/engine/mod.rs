//! Inference: generation with a key/value cache for many requests at once, on one device that one thread owns.

mod options;
mod request;

pub use options::{DecoderParts, EngineOptions, Load, Plan, Quantisation};
pub use request::{Answer, Canceller, Chunk, Handle, Output, Request, TokenLogprob, Usage};
