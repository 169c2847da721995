//! Tells what was erased with authority from what was tampered with: replacements against the events that list them.
//!
//! Grows with the number of replaced payloads, some 150 bytes each, and with nothing else.

use crate::error::{Error, Mismatch};
use crate::layout::{Layout, SegmentPart};
use crate::log::FoundLog;
use crate::payload::{ArtifactMac, MacKeys, RecordKind};
use crate::register::{Line, read_only};
use crate::scan::LogFiles;
use crate::segment::{FoundFrame, FoundRecord};
use crate::site::Site;
use crate::storage::Storage;
use crate::verify::people::DestroyedIds;
use cairn_schemas::{Blake3, Event, Position, Ref};
use std::collections::{BTreeMap, BTreeSet, HashSet};

const UNFINISHED: &str = "(redaction not finished: open the ledger for writing)";

/// What is gone from a log, and by whose word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    /// Payloads that were replaced.
    pub payloads: u64,
    /// Those of them that the register vouches for, and no event: a backup that was erased again and opens read-only.
    pub by_register: u64,
    /// Events that authorised replacements or erased data subjects.
    pub events: Vec<Position>,
    /// Keys of data subjects that were destroyed.
    pub keys: u64,
    /// Artifacts that were destroyed.
    pub artifacts: BTreeSet<Blake3>,
}

impl Erased {
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// Gathers what a log holds and what it says about it.
#[derive(Default)]
pub(crate) struct Authority {
    origin: String,
    /// Files of payloads in order, with the first position found in each.
    files: Vec<(u64, Site)>,
    /// By position: commitment and offset.
    found: BTreeMap<u64, (Blake3, u64)>,
    /// By position: commitment, and the last event that lists it.
    listed: BTreeMap<u64, (Blake3, Position)>,
    keys: BTreeMap<String, Position>,
    erased: Erased,
}

/// What a tenant's register says of one log.
#[derive(Default)]
struct Registered {
    listed: BTreeMap<u64, Blake3>,
    keys: HashSet<String>,
    artifacts: HashSet<ArtifactMac>,
}

impl Authority {
    pub(crate) fn new(origin: &str) -> Self {
        Self { origin: origin.to_owned(), ..Self::default() }
    }

    /// Takes note of the file in which a frame's payloads stand.
    pub(crate) fn frame(&mut self, found: &FoundFrame<'_>) {
        if let Some(record) = found.records.first() {
            self.file(record);
        }
    }

    /// Takes note of the file in which a record stands, the first of several.
    pub(crate) fn file(&mut self, first: &FoundRecord<'_>) {
        if self.files.last().is_none_or(|(_, site)| site.path() != first.site.path()) {
            self.files.push((first.entry.position.get(), first.site.clone()));
        }
    }

    pub(crate) fn look(&mut self, found: &FoundRecord<'_>, data: &[u8]) -> Result<(), Error> {
        let (entry, record) = (&found.entry, &found.record);
        if record.kind == RecordKind::Replacement {
            self.found.insert(entry.position.get(), (record.commitment(), found.at));
            return Ok(());
        }
        // Family 8 is governance.
        if entry.event_type.code >> 8 != 8 {
            return Ok(());
        }
        let by = entry.position;
        match Event::decode(entry.event_type, data)? {
            Event::PayloadsRedacted(redacted) if redacted.origin == self.origin => {
                self.erased.events.push(by);
                self.listed.extend(redacted.replacements.iter().map(|put| (put.position, (put.commitment, by))));
                self.artifacts(&redacted.artifacts);
            }
            Event::SubjectErased(erased) => {
                self.erased.events.push(by);
                self.artifacts(&erased.artifacts);
                self.keys.extend(erased.keys.into_iter().map(|key| (key, by)));
            }
            _ => {}
        }
        Ok(())
    }

    fn artifacts(&mut self, refs: &[Ref]) {
        self.erased.artifacts.extend(refs.iter().filter_map(|named| match named {
            Ref::Artifact(digest) => Some(*digest),
            _ => None,
        }));
    }

    /// What was erased with authority, and whose keys; damage where something was replaced without it, or not replaced
    /// that should be.
    pub(crate) fn settle(
        mut self,
        disk: &dyn Storage,
        layout: &Layout,
        log: &FoundLog,
        keys: &MacKeys,
    ) -> Result<(Erased, DestroyedIds), Error> {
        let path = layout.register(&log.id.tenant);
        let registered = self.read_register(disk, layout, &path, keys)?;
        self.check_replacements(&registered.listed)?;
        self.check_register(&Site::new("-", &layout.dir, path), &registered, keys)?;
        self.finish();
        let mut destroyed: DestroyedIds = registered.keys.into_iter().map(|key| (key, None)).collect();
        destroyed.extend(self.keys.into_iter().map(|(key, by)| (key, Some(by))));
        Ok((self.erased, destroyed))
    }

    /// Where there is no register, as in a bundle.
    pub(crate) fn settle_alone(mut self) -> Result<Erased, Error> {
        self.check_replacements(&BTreeMap::new())?;
        self.finish();
        Ok(self.erased)
    }

    fn finish(&mut self) {
        self.erased.payloads = self.found.len() as u64;
        self.erased.by_register = self.found.keys().filter(|at| !self.listed.contains_key(at)).count() as u64;
        self.erased.keys = self.keys.len() as u64;
    }

    fn read_register(
        &self,
        disk: &dyn Storage,
        layout: &Layout,
        path: &std::path::Path,
        keys: &MacKeys,
    ) -> Result<Registered, Error> {
        let mut registered = Registered::default();
        read_only(disk, &layout.dir, path, keys, &mut |line| {
            match line {
                Line::Redact(unit) => {
                    if unit.origin == self.origin {
                        registered.listed.extend(unit.replacements.iter().map(|put| (put.position, put.commitment)));
                    }
                    registered.artifacts.extend(unit.artifacts);
                }
                Line::Keys { keys, .. } => registered.keys.extend(keys),
                Line::Artifacts { artifacts, .. } => registered.artifacts.extend(artifacts),
                Line::Done { .. } | Line::Checkpoint { .. } => {}
            }
            Ok(())
        })?;
        Ok(registered)
    }

    /// In order of position: every replacement is listed as it is, every one that is listed is there.
    fn check_replacements(&self, registered: &BTreeMap<u64, Blake3>) -> Result<(), Error> {
        let positions: BTreeSet<u64> = self.found.keys().chain(self.listed.keys()).copied().collect();
        for position in positions {
            let listed = self.listed.get(&position);
            let (expected, found, at) = match (self.found.get(&position), listed) {
                (Some((found, at)), Some((listed, by))) if found != listed => {
                    let expected =
                        format!("a replacement of commitment {listed}, which the event at position {by} lists");
                    (expected, format!("one of commitment {found}"), *at)
                }
                (Some((found, at)), None) if registered.get(&position) != Some(found) => {
                    let expected = "the payload first stored, since no event authorises a replacement".to_owned();
                    (expected, format!("a replacement of commitment {found}"), *at)
                }
                (None, Some((listed, by))) => {
                    let expected = format!(
                        "a replacement of commitment {listed}, which the event at position {by} lists {UNFINISHED}"
                    );
                    (expected, "the payload first stored".to_owned(), 0)
                }
                _ => continue,
            };
            let file = self.files.partition_point(|(first, _)| *first <= position).saturating_sub(1);
            let (_, site) = self.files.get(file).expect("a log with events has files");
            return Err(site.damage(Some(position), at, Mismatch::new(0, expected, found)));
        }
        Ok(())
    }

    /// A register that lacks what the log says was lost, or cut.
    fn check_register(&self, site: &Site, registered: &Registered, keys: &MacKeys) -> Result<(), Error> {
        let lacks = |what: String, by: Option<Position>| {
            let said = by.map_or(String::new(), |by| format!(", which the event at position {by} says"));
            let mismatch = Mismatch::new(0, format!("a line about {what}{said}"), "none");
            Err(site.damage(by.map(Position::get), 0, mismatch))
        };
        for (position, (commitment, by)) in &self.listed {
            if registered.listed.get(position) != Some(commitment) {
                return lacks(format!("the redaction of position {position}"), Some(*by));
            }
        }
        if let Some((key, by)) = self.keys.iter().find(|(key, _)| !registered.keys.contains(*key)) {
            return lacks(format!("key {key}"), Some(*by));
        }
        let is_missing = |digest: &&Blake3| !registered.artifacts.contains(&keys.artifact(digest));
        match self.erased.artifacts.iter().find(is_missing) {
            Some(digest) => lacks(format!("artifact {digest}"), None),
            None => Ok(()),
        }
    }
}

/// What a redaction replaced must not lie beside what took its place.
pub(crate) fn check_superseded(files: &LogFiles, leftover: &[(u64, SegmentPart)]) -> Result<(), Error> {
    let older = leftover.iter().find(|(_, part)| matches!(part, SegmentPart::Payloads { .. }));
    let Some(&(first, part)) = older.filter(|(first, _)| {
        // Beside a frames file, payloads are those of a seal that was cut short.
        files.disk.open(&files.layout.segment(*first, SegmentPart::Entries)).is_ok()
    }) else {
        return Ok(());
    };
    let site = files.at(files.layout.segment(first, part));
    let expected = format!("no older generation of a segment's payloads {UNFINISHED}");
    Err(site.damage(Some(first), 0, Mismatch::new(0, expected, part.file_name(first))))
}
