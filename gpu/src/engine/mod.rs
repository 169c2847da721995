//! Inference: generation with a key/value cache for many requests at once, on one device that one thread owns.

mod admission;
mod batch;
mod detokenise;
mod embed;
#[allow(clippy::module_inception)]
mod engine;
mod fused;
mod options;
mod place;
mod quantise;
mod request;
mod session;
mod slots;
#[cfg(test)]
mod tests;
mod worker;

pub use embed::{EncoderEngine, EncoderOptions};
pub use engine::Engine;
pub(crate) use fused::exported;
pub use options::{DecoderParts, EngineOptions, Load, Plan, Quantisation};
pub(crate) use place::{INLINE_BYTES_MAX, Places, WeightSource};
pub use request::{Answer, Canceller, Chunk, Handle, Output, Request, TokenLogprob, Usage};
