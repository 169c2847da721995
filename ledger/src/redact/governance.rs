//! What a log itself says about erasing from it: legal holds, and how long each family of events is kept.

use crate::entry::Entry;
use crate::error::Error;
use crate::payload::Record;
use crate::reader::{View, walk};
use cairn_schemas::{Event, Position, RawJson, StoredPayload, Timestamp};
use parking_lot::RwLock;
use std::collections::BTreeMap;

/// Name of the policy that says how long payloads are kept.
const RETENTION: &str = "retention";
const DAY_MICROS: i64 = 24 * 60 * 60 * 1_000_000;

/// A legal hold that is in force: nothing that it covers may be erased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    pub hold: String,
    /// `tenant`, `project:<name>` or `stream:<name>`. What is none of these covers everything.
    pub scope: String,
    pub position: Position,
}

impl Hold {
    pub fn covers(&self, project: &str, stream: &str) -> bool {
        match self.scope.split_once(':') {
            Some(("project", name)) => name == project,
            Some(("stream", name)) => name == stream,
            _ => true,
        }
    }
}

/// For how many days the payloads of each family of events are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    pub days: BTreeMap<String, u32>,
}

impl Retention {
    /// Which events are older than they may be, at a time: recorded before, by family.
    pub fn older_than(&self, now: Timestamp) -> BTreeMap<String, Timestamp> {
        let before = |days: u32| Timestamp::from_micros(now.as_micros().saturating_sub(i64::from(days) * DAY_MICROS));
        self.days.iter().map(|(family, days)| (family.clone(), before(*days))).collect()
    }

    /// Reads the policy's config: `{"<family>": {"days": N}}`.
    fn parse(config: &RawJson) -> Option<Self> {
        let config = config.to_value();
        let mut days = BTreeMap::new();
        for (family, rule) in config.as_object()? {
            let of_family = rule.get("days")?.as_u64().and_then(|days| days.try_into().ok())?;
            days.insert(family.clone(), of_family);
        }
        Some(Self { days })
    }
}

#[derive(Debug, Default)]
pub(crate) struct Governance {
    pub(crate) holds: Vec<Hold>,
    pub(crate) retention: Retention,
}

impl Governance {
    /// Takes what an event says, if it is one of those that do.
    pub(crate) fn take(&mut self, entry: &Entry, record: &Record<'_>) -> Result<(), Error> {
        let name = entry.event_type.name().unwrap_or_default();
        if !name.starts_with("cairn.governance.legal_hold_") && !name.starts_with("cairn.governance.policy_") {
            return Ok(());
        }
        match Event::decode(entry.event_type, &StoredPayload::decode(record.bytes)?.data)? {
            Event::LegalHoldPlaced(placed) => {
                self.holds.push(Hold { hold: placed.hold, scope: placed.scope, position: entry.position });
            }
            Event::LegalHoldLifted(lifted) => self.holds.retain(|hold| hold.hold != lifted.hold),
            Event::PolicyChanged(policy) if policy.policy == RETENTION => {
                let wrong = || Error::Policy { position: entry.position, config: policy.config.as_str().to_owned() };
                self.retention = Retention::parse(&policy.config).ok_or_else(wrong)?;
            }
            _ => {}
        }
        Ok(())
    }
}

/// Reads a whole log for what it says.
pub(crate) fn read(view: &RwLock<View>) -> Result<Governance, Error> {
    let mut found = Governance::default();
    walk(view, 1, &mut |entry, record| {
        found.take(&entry, record)?;
        Ok(true)
    })?;
    Ok(found)
}
