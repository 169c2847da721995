//! Redaction: payloads are replaced by what may stay of them, with an event that says so, and nothing older is kept.
//!
//! Order: register, event, checkpoint, new generations of the payloads, older ones deleted, register. A crash at any
//! point leaves a ledger that opens, and opening for writing finishes what was begun.

pub(crate) mod form;
mod governance;
mod select;
pub(crate) mod swap;

pub use governance::{Hold, Retention};
pub use select::Selection;

use crate::artifacts::Artifacts;
use crate::error::Error;
use crate::ledger::Ledger;
use crate::log::Log;
use crate::payload::{ArtifactMac, MacKeys};
use crate::register::{Line, Register, Unit, Units};
use cairn_schemas::events::governance::{PayloadsRedacted, Replacement};
use cairn_schemas::{Blake3, KeyId, NewEvent, Position, Ref, TenantId};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// Replacements that one event, and one line of the register, lists.
const PAGE_REPLACEMENTS: usize = 10_000;
/// Artifacts that one event lists.
const PAGE_ARTIFACTS: usize = 1_000;
/// Events appended at once: they take at most half a MiB each.
const BATCH_PAGES: usize = 8;
const REQUEST_BYTES_MAX: usize = 256;
const BASIS_BYTES_MAX: usize = 4096;
/// Who reports redactions.
const SOURCE: &str = "cairn://ledger";

/// What is to be redacted, and why.
#[derive(Clone, Debug)]
pub struct Redaction {
    pub selection: Selection,
    /// The request's own id: a number in some register of requests. It is kept for ever and must name nobody.
    pub request: String,
    /// Why it may be done. Kept for ever; must name nobody.
    pub basis: String,
    /// Artifacts that are destroyed with the payloads.
    pub artifacts: Vec<Blake3>,
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Redacted {
    /// Events whose payloads were replaced.
    pub positions: Vec<Position>,
    /// Events that say so.
    pub events: Vec<Position>,
    /// Selected events that were redacted before.
    pub already: u64,
    /// Selected events that authorise or forbid erasure themselves, and stay; only a stream or a rule may select such.
    pub kept: u64,
    pub artifacts: Vec<Blake3>,
}

impl Ledger {
    /// Replaces payloads. What was in them is gone from this ledger for good once this returns.
    ///
    /// Refused where a legal hold covers one of them. Repeating a call that was cut short finishes it.
    pub fn redact(&self, tenant: &TenantId, redaction: &Redaction) -> Result<Redacted, Error> {
        check_text("the request", &redaction.request, REQUEST_BYTES_MAX)?;
        check_text("the basis", &redaction.basis, BASIS_BYTES_MAX)?;
        let log = self.writable_log(tenant)?;
        let keys = &log.writing.as_ref().expect("open for writing").mac_keys;
        let _alone = self.redacting();
        let mut register = self.register(tenant, keys)?;
        self.finish(&log, &mut register)?;
        let plan = select::plan(&log.view, keys, redaction)?;
        let stored = self.artifacts(tenant);
        let artifacts: Vec<_> = redaction.artifacts.iter().filter(|digest| stored.contains(digest)).copied().collect();
        let units =
            pages(log.verifier.origin(), &redaction.request, &redaction.basis, &plan.replacements, &artifacts, keys);
        let begun: Vec<_> = units.iter().cloned().map(Line::Redact).collect();
        self.with_reserve(|| register.add(&begun))?;
        let events = self.with_reserve(|| self.carry_out(&log, &mut register, &units, &units, true))?;
        let positions = plan.replacements.iter().filter_map(|put| Position::new(put.position)).collect();
        Ok(Redacted { positions, events, already: plan.already, kept: plan.kept, artifacts })
    }

    /// Legal holds of a tenant that are in force.
    pub fn holds(&self, tenant: &TenantId) -> Result<Vec<Hold>, Error> {
        Ok(self.governance(tenant)?.holds)
    }

    /// A tenant's retention rules, as its last policy of that name has them.
    pub fn retention(&self, tenant: &TenantId) -> Result<Retention, Error> {
        Ok(self.governance(tenant)?.retention)
    }

    fn governance(&self, tenant: &TenantId) -> Result<governance::Governance, Error> {
        match self.log(tenant) {
            Some(log) => governance::read(&log.view),
            None => Ok(governance::Governance::default()),
        }
    }

    /// Notes in the tenant's register that keys and artifacts were, or are about to be, destroyed on a request.
    pub fn register_destroyed(
        &self,
        tenant: &TenantId,
        request: &str,
        key_ids: &[String],
        artifacts: &[Blake3],
    ) -> Result<(), Error> {
        check_text("the request", request, REQUEST_BYTES_MAX)?;
        let log = self.writable_log(tenant)?;
        let keys = &log.writing.as_ref().expect("open for writing").mac_keys;
        let _alone = self.redacting();
        let request = || request.to_owned();
        let of_keys =
            key_ids.chunks(PAGE_REPLACEMENTS).map(|ids| Line::Keys { request: request(), keys: ids.to_vec() });
        let of_artifacts = artifacts.chunks(PAGE_REPLACEMENTS).map(|digests| Line::Artifacts {
            request: request(),
            artifacts: digests.iter().map(|digest| keys.artifact(digest)).collect(),
        });
        let lines: Vec<_> = of_keys.chain(of_artifacts).collect();
        let mut register = self.register(tenant, keys)?;
        self.with_reserve(|| register.add(&lines))
    }

    /// Says of a log that continues another, and came with that one's replacements, that they are authorised.
    pub(crate) fn record_redacted(
        &self,
        tenant: &TenantId,
        request: &str,
        basis: &str,
        replacements: &[Replacement],
    ) -> Result<(), Error> {
        let log = self.writable_log(tenant)?;
        let keys = &log.writing.as_ref().expect("open for writing").mac_keys;
        let _alone = self.redacting();
        let mut register = self.register(tenant, keys)?;
        let units = pages(log.verifier.origin(), request, basis, replacements, &[], keys);
        register.add(&units.iter().cloned().map(Line::Redact).collect::<Vec<_>>())?;
        self.append_events(&log, &units, &HashMap::new())?;
        register.add(&units.iter().map(|unit| Line::Done { unit: unit.id() }).collect::<Vec<_>>())
    }

    /// Keys that the tenant's register names for a request: what an erasure that was cut short had destroyed, or was about to.
    pub fn registered_keys(&self, tenant: &TenantId, request: &str) -> Result<Vec<KeyId>, Error> {
        let Some(log) = self.log(tenant) else { return Ok(Vec::new()) };
        let Some(writing) = log.writing.as_ref() else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        self.register(tenant, &writing.mac_keys)?.each(&mut |line| {
            if let Line::Keys { request: of, keys } = line
                && of == request
            {
                for key in keys {
                    found.push(key.parse()?);
                }
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// Finishes what the tenants' registers say was begun. Part of opening for writing.
    pub(crate) fn finish_redactions(&self) -> Result<(), Error> {
        for tenant in self.tenants() {
            let log = self.writable_log(&tenant)?;
            let keys = &log.writing.as_ref().expect("open for writing").mac_keys;
            let mut register = self.register(&tenant, keys)?;
            match self.finish(&log, &mut register) {
                // What waits for room, waits; whoever redacts next, or opens, tries again.
                Err(e @ Error::DiskFull { .. }) => tracing::warn!(%tenant, error = %e, "a redaction is not finished"),
                other => other?,
            }
        }
        Ok(())
    }

    /// Destroys again the keys that the tenants' registers name. Part of opening for writing.
    pub(crate) fn finish_erasures(&self) -> Result<(), Error> {
        for tenant in self.tenants() {
            let log = self.writable_log(&tenant)?;
            let keys = &log.writing.as_ref().expect("open for writing").mac_keys;
            let mut ids = BTreeSet::new();
            self.register(&tenant, keys)?.each(&mut |line| {
                if let Line::Keys { keys, .. } = line {
                    ids.extend(keys.iter().filter_map(|key| key.parse::<KeyId>().ok()));
                }
                Ok(())
            })?;
            self.destroy_again(&tenant, &ids)?;
        }
        Ok(())
    }

    fn finish(&self, log: &Arc<Log>, register: &mut Register) -> Result<(), Error> {
        if register.unfinished() == 0 {
            return Ok(());
        }
        let mut units = Units::default();
        register.each(&mut |line| {
            units.take(line);
            Ok(())
        })?;
        let begun = units.begun;
        tracing::warn!(log = %log.id, units = begun.len(), "finishing a redaction that was cut short");
        self.carry_out(log, register, &begun, &begun, true).map(drop)
    }

    /// Does what the register says of these units, as often as need be, and then says so of those that are not done.
    /// Where `record` is false the log gets no event.
    pub(crate) fn carry_out(
        &self,
        log: &Arc<Log>,
        register: &mut Register,
        units: &[Unit],
        unfinished: &[Unit],
        record: bool,
    ) -> Result<Vec<Position>, Error> {
        let keys = &log.writing.as_ref().expect("open for writing").mac_keys;
        let stored = self.artifacts(&log.id.tenant);
        let macs: Vec<_> = units.iter().flat_map(|unit| unit.artifacts.iter().copied()).collect();
        let to_destroy = stored_of(&stored, &macs, keys)?;
        let mut events = Vec::new();
        if record && !units.is_empty() {
            events = self.append_events(log, units, &to_destroy)?;
            // Signed before anything is destroyed, so that the authority cannot be lost behind it.
            self.checkpoint(&log.id.tenant)?;
        }
        let ours = units.iter().filter(|unit| unit.origin == log.verifier.origin());
        let changed = swap::put(self, log, keys, &ours.collect::<Vec<_>>())?;
        for digest in to_destroy.values() {
            stored.destroy(digest)?;
        }
        let mut lines: Vec<_> = changed.iter().cloned().map(Line::Redact).collect();
        lines.extend(unfinished.iter().map(|unit| Line::Done { unit: unit.id() }));
        register.add(&lines)?;
        if !changed.is_empty() {
            // Announced by another version of Cairn: what it would have left of them is not what we would.
            events.extend(self.carry_out(log, register, &changed, &changed, record)?);
        }
        Ok(events)
    }

    fn append_events(
        &self,
        log: &Log,
        units: &[Unit],
        artifacts: &HashMap<ArtifactMac, Blake3>,
    ) -> Result<Vec<Position>, Error> {
        let mut positions = Vec::new();
        for pages in units.chunks(BATCH_PAGES) {
            let batch: Vec<_> = pages.iter().map(|unit| event(unit, artifacts)).collect();
            match self.append(&log.id.tenant, batch) {
                Ok(appended) => positions.extend(appended.iter().map(|appended| appended.position)),
                // Cut short in between: some were recorded, perhaps when artifacts were stored that are not any more.
                Err(Error::PartlyRepeated { .. } | Error::Conflict { .. }) => {
                    for unit in pages {
                        positions.push(match self.append(&log.id.tenant, vec![event(unit, artifacts)]) {
                            Ok(appended) => appended[0].position,
                            Err(Error::Conflict { position, .. }) => position,
                            Err(e) => return Err(e),
                        });
                    }
                }
                Err(e) => return Err(e),
            }
        }
        Ok(positions)
    }
}

fn check_text(what: &'static str, text: &str, max: usize) -> Result<(), Error> {
    match text.trim().len() {
        0 => Err(Error::Missing { index: 0, what, hint: "an erasure names the request and its basis" }),
        _ if text.len() > max => Err(Error::TooLarge { index: 0, what, given: text.len(), max }),
        _ => Ok(()),
    }
}

fn event(unit: &Unit, artifacts: &HashMap<ArtifactMac, Blake3>) -> NewEvent {
    let payload = PayloadsRedacted {
        request: unit.request.clone(),
        basis: unit.basis.clone(),
        origin: unit.origin.clone(),
        page: unit.page,
        pages: unit.pages,
        replacements: unit.replacements.clone(),
        artifacts: unit.artifacts.iter().filter_map(|mac| artifacts.get(mac)).copied().map(Ref::Artifact).collect(),
    };
    NewEvent::new(SOURCE, &format!("redaction:{}", unit.id()), payload)
}

/// Cuts what one event cannot list into several.
fn pages(
    origin: &str,
    request: &str,
    basis: &str,
    replacements: &[Replacement],
    artifacts: &[Blake3],
    keys: &MacKeys,
) -> Vec<Unit> {
    let count = replacements.len().div_ceil(PAGE_REPLACEMENTS).max(artifacts.len().div_ceil(PAGE_ARTIFACTS));
    let (mut replacements, mut artifacts) = (replacements.chunks(PAGE_REPLACEMENTS), artifacts.chunks(PAGE_ARTIFACTS));
    let unit = |page| Unit {
        origin: origin.to_owned(),
        request: request.to_owned(),
        basis: basis.to_owned(),
        page,
        pages: count as u32,
        replacements: replacements.next().unwrap_or_default().to_vec(),
        artifacts: artifacts.next().unwrap_or_default().iter().map(|digest| keys.artifact(digest)).collect(),
    };
    (1..=count as u32).map(unit).collect()
}

/// Which stored artifacts a register means.
pub(crate) fn stored_of(
    stored: &Artifacts,
    macs: &[ArtifactMac],
    keys: &MacKeys,
) -> Result<HashMap<ArtifactMac, Blake3>, Error> {
    if macs.is_empty() {
        return Ok(HashMap::new());
    }
    let wanted: HashSet<&ArtifactMac> = macs.iter().collect();
    let all = stored.iter()?.map(|digest| (keys.artifact(&digest), digest));
    Ok(all.filter(|(mac, _)| wanted.contains(mac)).collect())
}
