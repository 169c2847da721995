//! Where events come from: one tenant's log, or in tests a list.

use crate::Error;
use cairn_ledger::Ledger;
use cairn_schemas::{Position, Recorded, TenantId};
use std::time::Duration;

/// A source of events in order of position, without gaps.
pub(crate) trait Events: Send + Sync {
    /// The last position; `None` while there is no event.
    fn head(&self) -> Option<Position>;
    /// At most `count_max` events from `from` on, at least one unless `from` is past the head.
    fn read(&self, from: Position, count_max: usize) -> Result<Vec<Recorded>, Error>;
    /// Whether the disk has room for what can be derived again. Events come first.
    fn has_room(&self) -> bool {
        true
    }
    /// Waits until the head is past `head`, at most `timeout`.
    fn wait_past(&self, head: Option<Position>, timeout: Duration) -> Option<Position>;
}

/// One tenant's log.
pub(crate) struct Log {
    pub(crate) ledger: Ledger,
    pub(crate) tenant: TenantId,
}

impl Events for Log {
    fn head(&self) -> Option<Position> {
        self.ledger.head(&self.tenant)
    }
    fn read(&self, from: Position, count_max: usize) -> Result<Vec<Recorded>, Error> {
        Ok(self.ledger.read(&self.tenant, from, count_max)?)
    }
    fn has_room(&self) -> bool {
        self.ledger.has_room_for_derived()
    }
    fn wait_past(&self, head: Option<Position>, timeout: Duration) -> Option<Position> {
        self.ledger.wait_past(&self.tenant, head, timeout)
    }
}
