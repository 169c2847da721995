//! A sealed segment by its name: its footers are read, and its files opened, when somebody reads it.

use super::{Files, Sealed};
use crate::error::Error;
use crate::lru::Owner;
use crate::scan::LogFiles;
use std::sync::Arc;

/// A sealed segment that is opened when it is needed, and closed again when many others were needed since.
pub(crate) struct SealedSlot {
    log: LogFiles,
    files: Files,
    owner: Arc<Owner>,
}

impl SealedSlot {
    pub(crate) fn new(log: &LogFiles, files: Files) -> Self {
        Self { log: log.clone(), files, owner: Arc::new(Owner::new(&log.caches)) }
    }

    /// First position, as the files' names have it.
    pub(crate) fn first(&self) -> u64 {
        self.files.first
    }

    /// The segment, its footers checked against their checksums and its name.
    pub(crate) fn open(&self) -> Result<Arc<Sealed>, Error> {
        let cache = &self.log.caches.sealed;
        if let Some(sealed) = cache.get(self.owner.key(0)) {
            return Ok(sealed);
        }
        let sealed = Arc::new(Sealed::open(&self.log, self.files, Arc::downgrade(&self.owner))?);
        cache.put(self.owner.key(0), 1, sealed.clone());
        Ok(sealed)
    }
}
