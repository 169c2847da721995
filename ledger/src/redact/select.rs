//! Which events a redaction means, whether it may have them, and what will stand in their place.

use super::Redaction;
use super::form::Replaced;
use super::governance::Governance;
use crate::entry::Entry;
use crate::error::Error;
use crate::payload::{MacKeys, RecordKind};
use crate::reader::{View, walk};
use cairn_schemas::events::governance::Replacement;
use cairn_schemas::{StoredPayload, Timestamp};
use parking_lot::RwLock;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// What erasure rests on: these say what may be erased, or that it was. Nothing may erase them.
const KEPT: [&str; 6] = [
    "legal_hold_placed",
    "legal_hold_lifted",
    "policy_changed",
    "payloads_redacted",
    "subject_erased",
    "log_continued",
];

/// Which events to redact.
#[derive(Clone, Debug)]
pub enum Selection {
    Positions(Vec<RangeInclusive<u64>>),
    Stream(String),
    /// Events of a family that were recorded before a time, by family.
    OlderThan(BTreeMap<String, Timestamp>),
}

#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) replacements: Vec<Replacement>,
    pub(super) already: u64,
    pub(super) kept: u64,
}

/// Reads the log twice: for what is meant and for what is held, and then each event that is meant.
pub(super) fn plan(view: &RwLock<View>, keys: &MacKeys, redaction: &Redaction) -> Result<Plan, Error> {
    let head = view.read().head;
    if let Selection::Positions(ranges) = &redaction.selection
        && let Some(wrong) = ranges.iter().find(|range| *range.start() == 0 || *range.end() > head || range.is_empty())
    {
        return Err(Error::NoSuchPosition { from: *wrong.start(), to: *wrong.end(), head });
    }
    let (mut governance, mut chosen, mut stream) = (Governance::default(), Vec::new(), None);
    walk(view, 1, &mut |entry, record| {
        governance.take(&entry, record)?;
        if let Selection::Stream(name) = &redaction.selection
            && entry.stream_version == 1
            && StoredPayload::decode(record.bytes)?.stream == *name
        {
            stream = Some(entry.stream);
        }
        if is_chosen(&redaction.selection, &entry, stream) {
            chosen.push(entry.position.get());
        }
        Ok(true)
    })?;
    let mut plan = Plan::default();
    let mut chosen = chosen.into_iter().peekable();
    while let Some(&from) = chosen.peek() {
        // A gap in what is chosen ends the walk: what lies between need not be read.
        walk(view, from, &mut |entry, record| {
            if chosen.next_if_eq(&entry.position.get()).is_none() {
                return Ok(false);
            }
            match record.kind {
                RecordKind::Replacement => plan.already += 1,
                RecordKind::Original => choose(&mut plan, &governance, keys, redaction, &entry, record.bytes)?,
            }
            Ok(chosen.peek().is_some())
        })?;
    }
    Ok(plan)
}

fn is_chosen(selection: &Selection, entry: &Entry, stream: Option<crate::entry::StreamNumber>) -> bool {
    match selection {
        Selection::Positions(ranges) => ranges.iter().any(|range| range.contains(&entry.position.get())),
        Selection::Stream(_) => stream == Some(entry.stream),
        Selection::OlderThan(families) => {
            let family = entry.event_type.name().and_then(|name| name.split('.').nth(1)).unwrap_or_default();
            families.get(family).is_some_and(|before| entry.recorded_at < *before)
        }
    }
}

fn choose(
    plan: &mut Plan,
    governance: &Governance,
    keys: &MacKeys,
    redaction: &Redaction,
    entry: &Entry,
    payload: &[u8],
) -> Result<(), Error> {
    let (position, name) = (entry.position, entry.event_type.name().unwrap_or_default());
    if name.starts_with("cairn.governance.") && KEPT.iter().any(|kept| name.split('.').nth(2) == Some(kept)) {
        plan.kept += 1;
        return match redaction.selection {
            Selection::Positions(_) => Err(Error::NotRedactable { position, event_type: name }),
            Selection::Stream(_) | Selection::OlderThan(_) => Ok(()),
        };
    }
    let stored = StoredPayload::decode(payload)?;
    if let Some(held) = governance.holds.iter().find(|hold| hold.covers(&stored.project, &stored.stream, None)) {
        return Err(Error::Held { position, hold: held.hold.clone(), scope: held.scope.clone() });
    }
    let commitment = Replaced::of(keys, &redaction.request, entry, stored)?.commitment();
    plan.replacements.push(Replacement { position: position.get(), commitment });
    Ok(())
}
