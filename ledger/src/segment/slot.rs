//! A sealed segment by its name: its footers are read, and its files opened, when somebody reads it.

use super::{Files, Sealed};
use crate::error::Error;
use crate::lru::Owner;
use crate::scan::LogFiles;
use std::io;
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
        let sealed = Arc::new(self.open_newest()?);
        cache.put(self.owner.key(0), 1, sealed.clone());
        Ok(sealed)
    }

    /// Opens the payloads that are known of, or the generation that took their place: a redaction deletes what it replaces.
    fn open_newest(&self) -> Result<Sealed, Error> {
        let is_gone = |e: &Error| matches!(e, Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound);
        let mut files = self.files;
        loop {
            match Sealed::open(&self.log, files, Arc::downgrade(&self.owner)) {
                Err(e) if is_gone(&e) => {
                    let listed = self.log.listing()?.segments;
                    let newer = listed.into_iter().find(|listed| {
                        listed.first == files.first && listed.is_sealed() && listed.generation > files.generation
                    });
                    files = newer.ok_or(e)?;
                }
                other => return other,
            }
        }
    }
}
