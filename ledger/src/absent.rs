//! Artifacts that events name and that are not stored: no damage, since a producer may keep them elsewhere.

use crate::artifacts::Artifacts;
use cairn_schemas::{Blake3, BorrowedPayload, Position, Ref};
use std::collections::{BTreeSet, HashSet};

/// Most absent artifacts that a report lists.
pub(crate) const ABSENT_MAX: usize = 1_000;

/// An artifact that is not stored, and the first event of the log that names it as used or produced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Absent {
    pub artifact: Blake3,
    /// The log that names it, as `tenant/kind/shard`.
    pub log: String,
    pub position: Position,
    /// The event's source: who reported it.
    pub source: String,
}

/// Looks artifacts up as they are first named. Grows with the number of artifacts named, 32 bytes each.
pub(crate) struct AbsentFinder {
    log: String,
    stored: Artifacts,
    seen: HashSet<Blake3>,
    pub(crate) first: Vec<Absent>,
    pub(crate) count: u64,
}

impl AbsentFinder {
    pub(crate) fn new(log: &str, stored: Artifacts) -> Self {
        Self { log: log.to_owned(), stored, seen: HashSet::new(), first: Vec::new(), count: 0 }
    }

    /// Takes back those that were destroyed with authority.
    pub(crate) fn forget(&mut self, erased: &BTreeSet<Blake3>) {
        let was_counted = |digest: &&Blake3| self.seen.contains(*digest) && !self.stored.contains(digest);
        self.count = self.count.saturating_sub(erased.iter().filter(was_counted).count() as u64);
        self.first.retain(|absent| !erased.contains(&absent.artifact));
    }

    pub(crate) fn look(&mut self, position: Position, event: &BorrowedPayload<'_>) {
        for reference in event.used.iter().chain(&event.produced) {
            let Ref::Artifact(artifact) = *reference else { continue };
            if !self.seen.insert(artifact) || self.stored.contains(&artifact) {
                continue;
            }
            self.count += 1;
            if self.first.len() < ABSENT_MAX {
                let (log, source) = (self.log.clone(), event.source.to_owned());
                self.first.push(Absent { artifact, log, position, source });
            }
        }
    }
}
