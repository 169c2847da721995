//! Tests through the public face: one binary, one module a theme.

mod append;
mod backup;
mod client;
mod common;
mod crashes;
mod disk_faults;
mod every_byte;
mod faults;
mod following;
mod golden;
mod groups;
mod index;
mod index_crashes;
mod kill;
mod locate;
mod missing;
mod model;
mod producers;
mod proofs;
mod recovery;
mod redact;
mod run;
mod sealing;
mod sim_disk;
mod storage;
mod tamper;
