//! Tests across crates; the scenarios lie in `tests/tests`, one file each, and in folders beside it.

pub mod outside;

use std::path::{Path, PathBuf};

/// The checkout's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the checkout").to_owned()
}
