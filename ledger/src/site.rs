//! Where bytes stand, for saying so when they are not what they should be.

use crate::error::{Damage, Error, Mismatch};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file of a log: its path, and how both are named in findings.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    log: Arc<str>,
    shown: PathBuf,
    path: PathBuf,
}

impl Site {
    /// `root` is the ledger's directory, to which findings are relative.
    pub(crate) fn new(log: &str, root: &Path, path: PathBuf) -> Self {
        let shown = path.strip_prefix(root).unwrap_or(&path).to_owned();
        Self { log: log.into(), shown, path }
    }
    /// Another file of the same log.
    pub(crate) fn file(&self, root: &Path, path: PathBuf) -> Self {
        Self::new(&self.log, root, path)
    }
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A finding at `base` plus the mismatch's own offset.
    pub(crate) fn damage(&self, position: Option<u64>, base: u64, mismatch: Mismatch) -> Error {
        let Mismatch { at, expected, found } = mismatch;
        let (log, file) = (self.log.to_string(), self.shown.clone());
        Damage { log, position, file, offset: base + at as u64, expected, found }.into()
    }

    pub(crate) fn io(&self, action: &'static str) -> impl FnOnce(io::Error) -> Error {
        Error::io(action, &self.path)
    }
}
