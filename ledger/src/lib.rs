//! The log: append, read, follow, verify, export; and artifacts. Knows only schemas. Format: `docs/format.md`.

mod absent;
mod artifacts;
mod as_of;
mod backup;
mod batch;
mod bundle;
mod chain;
mod checkpoint;
mod continued;
mod continuity;
mod cosignature;
mod entry;
mod error;
mod event;
mod export;
mod frame;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(test)]
mod golden;
mod index;
mod keys;
mod layout;
mod ledger;
mod log;
mod lru;
mod many;
mod opening;
mod options;
mod payload;
mod pending;
mod personal;
mod placement;
mod proof;
mod queue;
mod reader;
mod records;
mod recovery;
mod redact;
mod register;
mod repeats;
mod reserve;
mod restore;
mod restored;
mod scan;
mod seal;
mod segment;
mod sequencer;
mod signing;
mod site;
mod statement;
mod storage;
mod tiles;
mod tree;
mod vault;
mod verify;
mod wire;
mod witness;
mod witnessed;
mod writer;

pub use absent::Absent;
pub use artifacts::{Artifact, Artifacts};
pub use as_of::AsOf;
pub use backup::{BackedUpLog, BackupOptions, BackupReport, VaultBackup, backup, backup_vault, vault_backups};
pub use batch::{Batch, Expectation};
pub use checkpoint::{Checkpoint, LogVerifier, SignedCheckpoint};
pub use cosignature::CosignerKey;
pub use error::{Damage, Error, Fork};
pub use export::{Bundle, export_bundle, looks_like_bundle, verify_bundle};
pub use ledger::{DestroyedKeys, Ledger};
/// For the bench of lookups in the index; nothing else should use it.
#[doc(hidden)]
pub mod measure {
    pub use crate::index::measure::ManyIdentities;
}
pub use options::{Options, Random, SystemRandom};
pub use pending::{Pending, PendingFuture};
pub use placement::Appended;
pub use proof::{Consistency, ConsistencyProof, EntryFacts, InclusionProof, verify_consistency, verify_inclusion};
pub use reader::SealedPage;
pub use redact::{Hold, Redacted, Redaction, Retention, Selection};
pub use register::Applied;
pub use restore::{ErasedAgain, RegisterChoice, RestoreOptions, RestoreReport, restore, restore_vault};
pub use restored::Behind;
pub use statement::{looks_like_statement, verify_statement};
pub use storage::{Access, FileSystem, ObjectStoreConfig, Storage, StoredFile};
pub use tiles::{Tile, TilePath, export_tiles};
pub use tree::leaf_hash;
pub use verify::{Depth, Erased, Verdict, VerifiedLog, VerifyOptions, VerifyReport, verify};
pub use witness::{REQUEST_BYTES_MAX, Refusal, Witness, WitnessOptions};
