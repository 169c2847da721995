//! What a log itself says about erasing from it: legal holds, and how long each family of events is kept.

use crate::entry::Entry;
use crate::error::Error;
use crate::payload::Record;
use crate::reader::{View, walk};
use cairn_schemas::{Blake3, Event, Position, RawJson, StoredPayload, Timestamp};
use parking_lot::RwLock;
use std::collections::BTreeMap;

/// Name of the policy that says how long payloads are kept.
const RETENTION: &str = "retention";
const DAY_MICROS: i64 = 24 * 60 * 60 * 1_000_000;

/// A legal hold that is in force: nothing that it covers may be erased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    pub hold: String,
    /// `tenant`, `project:<name>`, `stream:<name>` or `data-subject:<digest>`. What is none of these covers everything.
    pub scope: String,
    pub position: Position,
}

impl Hold {
    /// Whether it covers an event. Where it is not known whom the event is about, a hold on a person covers it.
    pub fn covers(&self, project: &str, stream: &str, data_subject: Option<&Blake3>) -> bool {
        match self.scope.split_once(':') {
            Some(("project", name)) => name == project,
            Some(("stream", name)) => name == stream,
            Some(("data-subject", digest)) => match (digest.parse::<Blake3>(), data_subject) {
                (Ok(held), Some(person)) => held == *person,
                _ => true,
            },
            _ => true,
        }
    }

    /// Whether a text is a scope.
    pub fn is_scope(text: &str) -> bool {
        match text.split_once(':') {
            None => text == "tenant",
            Some(("project" | "stream", name)) => !name.is_empty(),
            Some(("data-subject", digest)) => digest.parse::<Blake3>().is_ok(),
            Some(_) => false,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn hold(scope: &str) -> Hold {
        Hold { hold: "h".into(), scope: scope.into(), position: Position::FIRST }
    }

    #[test]
    fn a_hold_on_a_person_covers_them_however_the_digest_is_written_and_whoever_is_not_known() {
        let (held, other) = (Blake3::of(b"held"), Blake3::of(b"other"));
        for digest in [held.to_hex(), held.to_hex().to_uppercase()] {
            let hold = hold(&format!("data-subject:{digest}"));
            assert!(Hold::is_scope(&hold.scope));
            assert!(hold.covers("p", "s", Some(&held)) && hold.covers("p", "s", None));
            assert!(!hold.covers("p", "s", Some(&other)));
        }
    }

    /// A log may have holds that this version did not place.
    #[test]
    fn a_hold_whose_scope_cannot_be_read_covers_everything() {
        for scope in ["", "tenants", "data-subject:alice", "model:m"] {
            assert!(!Hold::is_scope(scope), "{scope}");
            assert!(hold(scope).covers("p", "s", Some(&Blake3::of(b"other"))), "{scope}");
        }
        assert!(hold("project:p").covers("p", "s", None) && !hold("project:p").covers("q", "p", None));
        assert!(hold("stream:s").covers("p", "s", None) && !hold("stream:s").covers("s", "t", None));
    }
}
