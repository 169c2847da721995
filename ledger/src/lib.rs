//! The log: append, read, follow, verify, export; and artifacts. Knows only schemas. Format: `docs/format.md`.

mod absent;
mod artifacts;
mod bundle;
mod chain;
mod checkpoint;
mod continuity;
mod entry;
mod error;
mod event;
mod export;
mod frame;
#[cfg(test)]
mod golden;
mod index;
mod keys;
mod layout;
mod ledger;
mod log;
mod options;
mod payload;
mod placement;
mod queue;
mod reader;
mod recovery;
mod scan;
mod seal;
mod segment;
mod sequencer;
mod site;
mod storage;
mod tree;
mod verify;
mod wire;
mod writer;

pub use absent::Absent;
pub use artifacts::{Artifact, Artifacts};
pub use checkpoint::{Checkpoint, SignedCheckpoint};
pub use error::{Damage, Error};
pub use export::{Bundle, export_bundle, looks_like_bundle, verify_bundle};
pub use ledger::Ledger;
pub use options::{Options, Random, SystemRandom};
pub use placement::Appended;
pub use storage::{Access, FileSystem, Storage, StoredFile};
pub use verify::{VerifiedLog, VerifyOptions, VerifyReport, verify};
