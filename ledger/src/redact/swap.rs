//! Puts replacements where payloads stood: a new generation of each segment concerned, durable before the old one goes.

use super::form::Replaced;
use crate::error::Error;
use crate::layout::SegmentPart;
use crate::ledger::Ledger;
use crate::log::Log;
use crate::payload::{MacKeys, RecordKind};
use crate::reader::LiveSegment;
use crate::register::Unit;
use crate::seal::seal_full;
use crate::segment::payloads_writer::PayloadsWriter;
use crate::segment::{Files, Sealed, SealedSlot};
use crate::storage::list_if_any;
use cairn_schemas::events::governance::Replacement;
use cairn_schemas::{Blake3, StoredPayload};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is to stand at each position: the request's unit, and the commitment that was announced.
type Wanted<'a> = BTreeMap<u64, (&'a Unit, Blake3)>;

/// Replaces every payload that the units list and that is still the one first stored.
///
/// Where what would be left differs from what was announced, nothing is replaced; units that announce what is are given
/// back, by which it can be done after all.
pub(crate) fn put(ledger: &Ledger, log: &Arc<Log>, keys: &MacKeys, units: &[&Unit]) -> Result<Vec<Unit>, Error> {
    let wanted: Wanted<'_> = units
        .iter()
        .flat_map(|unit| unit.replacements.iter().map(|put| (put.position, (*unit, put.commitment))))
        .collect();
    let Some((&last, _)) = wanted.last_key_value() else { return Ok(Vec::new()) };
    remove_quarantine(log)?;
    ledger.rotate_past(log, last)?;
    let _sealing = log.writing.as_ref().expect("open for writing").sealing.lock();
    seal_full(log)?;
    let segments = log.view.read().segments.clone();
    let mut changed = BTreeMap::new();
    for (index, segment) in segments.iter().enumerate() {
        let end = segments.get(index + 1).map_or(u64::MAX, |next| next.first());
        let here: Wanted<'_> = wanted.range(segment.first()..end).map(|(at, wanted)| (*at, *wanted)).collect();
        if let (LiveSegment::Sealed(slot), false) = (&**segment, here.is_empty()) {
            put_in_segment(log, keys, &*slot.open()?, &here, &mut changed)?;
        }
    }
    Ok(announce_anew(units, &changed))
}

fn put_in_segment(
    log: &Log,
    keys: &MacKeys,
    sealed: &Sealed,
    wanted: &Wanted<'_>,
    changed: &mut BTreeMap<u64, Blake3>,
) -> Result<(), Error> {
    let (files, first) = (&log.files, sealed.entries.footer.first);
    let generation = sealed.payloads.footer.generation + 1;
    let mut writer = PayloadsWriter::create(&*files.disk, &files.layout, first, generation)?;
    let mut replaced = 0;
    sealed.walk(&mut |_| true, |found| {
        for found in &found.records {
            crate::scan::check_record(found)?;
            let entry = &found.entry;
            let wanted = wanted.get(&entry.position.get()).filter(|_| found.record.kind == RecordKind::Original);
            let Some((unit, commitment)) = wanted else {
                writer.record(&found.record)?;
                continue;
            };
            let stored = StoredPayload::decode(found.record.bytes)?;
            let left = Replaced::of(keys, &unit.request, entry, stored)?;
            match left.commitment() == *commitment {
                true => {
                    replaced += 1;
                    writer.record(&left.record())?;
                }
                false => {
                    changed.insert(entry.position.get(), left.commitment());
                    writer.record(&found.record)?;
                }
            }
        }
        Ok(())
    })?;
    if replaced == 0 {
        return writer.abandon();
    }
    writer.finish()?;
    writer.publish()?;
    let part = Files { first, frames: false, entries: true, generation: Some(generation) };
    let new = SealedSlot::new(files, part);
    check_against(&*new.open()?, wanted, changed)?;
    {
        let mut view = log.view.write();
        let index = view.segments.partition_point(|segment| segment.first() < first);
        view.segments[index] = Arc::new(LiveSegment::Sealed(new));
    }
    remove_older(log, first, generation)
}

/// Reads back what was written before the older generation is given up.
fn check_against(new: &Sealed, wanted: &Wanted<'_>, changed: &BTreeMap<u64, Blake3>) -> Result<(), Error> {
    new.walk(&mut |_| true, |found| {
        for found in &found.records {
            crate::scan::check_record(found)?;
            let position = found.entry.position.get();
            let is_wanted = wanted.contains_key(&position) && !changed.contains_key(&position);
            assert!(!is_wanted || found.record.kind == RecordKind::Replacement, "{position} must be replaced");
        }
        Ok(())
    })
}

/// Deletes every generation below one.
fn remove_older(log: &Log, first: u64, generation: u32) -> Result<(), Error> {
    let (disk, folder) = (&*log.files.disk, log.files.layout.segments());
    for name in disk.list(&folder).map_err(Error::io("listing", &folder))? {
        match SegmentPart::parse(&name) {
            Some((of, SegmentPart::Payloads { generation: older })) if of == first && older < generation => {
                let path = folder.join(name);
                disk.remove(&path).map_err(Error::io("removing", &path))?;
            }
            _ => {}
        }
    }
    disk.sync_dir(&folder).map_err(Error::io("syncing", &folder))
}

/// What recovery once cut may be the first try of an event that is redacted now.
fn remove_quarantine(log: &Log) -> Result<(), Error> {
    let (disk, folder) = (&*log.files.disk, log.files.layout.quarantine());
    let names = list_if_any(disk, &folder)?;
    for name in &names {
        let path = folder.join(name);
        disk.remove(&path).map_err(Error::io("removing", &path))?;
    }
    match names.is_empty() {
        true => Ok(()),
        false => disk.sync_dir(&folder).map_err(Error::io("syncing", &folder)),
    }
}

fn announce_anew(units: &[&Unit], changed: &BTreeMap<u64, Blake3>) -> Vec<Unit> {
    let anew = |unit: &&Unit| {
        let announce = |put: &Replacement| {
            let commitment = *changed.get(&put.position)?;
            Some(Replacement { position: put.position, commitment })
        };
        let replacements: Vec<_> = unit.replacements.iter().filter_map(announce).collect();
        (!replacements.is_empty()).then(|| Unit { replacements, artifacts: Vec::new(), ..(*unit).clone() })
    };
    units.iter().filter_map(anew).collect()
}
