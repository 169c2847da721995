//! Metrics: pure functions from answers to numbers, each with its source, and what their sampling error is.

pub mod compare;
pub mod format;
pub mod squad;
pub mod stats;

pub use stats::Estimate;
