//! Tests through the public face: one binary, one module a theme.

mod append;
mod common;
mod faults;
mod golden;
mod groups;
mod kill;
mod locate;
mod missing;
mod model;
mod proofs;
mod recovery;
mod sealing;
mod storage;
mod tamper;
