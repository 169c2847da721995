//! Finds an event that was recorded twice, however long the log: the first 8 bytes of identities are collected and
//! sorted, in as many passes over the entries as their number needs. The index is not asked: it is derived.

use crate::bundle::Entries;
use crate::entry::{self, Identity};
use crate::error::{Error, Mismatch};
use crate::scan::LogFiles;
use crate::segment::Segment;
use crate::site::Site;
use std::collections::HashMap;

/// Beginnings kept at once, 8 bytes each: 64 MiB. A longer log takes another pass for each 8 million events.
const ROOM: usize = 8 << 20;
/// Of beginnings that come twice, so many are looked at: one event that was recorded twice is a finding.
const SUSPECTS_MAX: usize = 1024;

/// The beginnings of identities, of a range that shrinks when there are too many.
pub(crate) struct Repeats {
    room: usize,
    kept: Vec<u64>,
    from: u64,
    /// Last beginning of the range.
    to: u64,
}

impl Default for Repeats {
    fn default() -> Self {
        Self::with_room(ROOM)
    }
}

impl Repeats {
    fn with_room(room: usize) -> Self {
        Self { room, kept: Vec::new(), from: 0, to: u64::MAX }
    }

    pub(crate) fn add(&mut self, identity: &Identity) {
        let beginning = beginning(identity);
        if !(self.from..=self.to).contains(&beginning) {
            return;
        }
        if self.kept.len() == self.room {
            self.shrink();
            return self.add(identity);
        }
        self.kept.push(beginning);
    }

    /// Leaves the upper half to a later pass. A beginning that comes so often that no half is left stays one suspect.
    fn shrink(&mut self) {
        self.kept.sort_unstable();
        let middle = self.kept[self.kept.len() / 2];
        if middle > self.from {
            self.to = middle - 1;
            self.kept.truncate(self.kept.partition_point(|kept| *kept <= self.to));
        } else {
            self.to = self.from;
            self.kept.truncate(2);
        }
    }

    /// Looks at what was added, and at the rest of the log if there was more. The log must have been read whole before.
    pub(crate) fn find(mut self, files: &LogFiles) -> Result<(), Error> {
        loop {
            let suspects = self.suspects();
            if !suspects.is_empty() {
                locate(files, &suspects)?;
            }
            if self.to == u64::MAX {
                return Ok(());
            }
            self.from = self.to + 1;
            self.to = u64::MAX;
            self.kept.clear();
            each_identity(files, |identity, _, _, _| {
                self.add(&identity);
                Ok(())
            })?;
        }
    }

    fn suspects(&mut self) -> Vec<u64> {
        self.kept.sort_unstable();
        let twice = self.kept.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]);
        let mut suspects: Vec<u64> = twice.take(SUSPECTS_MAX).collect();
        suspects.dedup();
        suspects
    }
}

fn beginning(identity: &Identity) -> u64 {
    u64::from_be_bytes(identity.0[..8].try_into().expect("8 of 16 bytes"))
}

/// Names the first event whose identity begins as suspected and came before, if one does.
fn locate(files: &LogFiles, suspects: &[u64]) -> Result<(), Error> {
    let mut first_at: HashMap<[u8; 16], u64> = HashMap::new();
    each_identity(files, |identity, position, site, offset| {
        if suspects.binary_search(&beginning(&identity)).is_err() {
            return Ok(());
        }
        match first_at.insert(identity.0, position) {
            None => Ok(()),
            Some(first) => {
                let mismatch =
                    Mismatch::new(0, "an event not recorded before", format!("the identity of position {first}"));
                Err(site.damage(Some(position), offset, mismatch))
            }
        }
    })
}

/// Hands out every identity with its position and where its frame's or bundle's entries stand.
fn each_identity(
    files: &LogFiles,
    mut each: impl FnMut(Identity, u64, &Site, u64) -> Result<(), Error>,
) -> Result<(), Error> {
    for listed in files.listing()?.segments {
        let mut take = |entries: &[u8], site: &Site, base: u64, mut position: u64| {
            for item in Entries::new(entries) {
                let damage = |m: Mismatch| site.damage(Some(position), base, m);
                let (_, raw) = item.map_err(damage)?;
                each(entry::identity_of(raw).map_err(damage)?, position, site, base)?;
                position += 1;
            }
            Ok::<(), Error>(())
        };
        match files.open_segment(listed)?.0 {
            Segment::Sealed(slot) => {
                let sealed = slot.open()?;
                for index in 0..sealed.entries.footer.bundles.len() {
                    let (at, bytes) = sealed.entries.bundle(index).map_err(|fault| sealed.explain(fault))?;
                    take(&bytes, &sealed.entries.site, at, sealed.entries.bundle_first(index))?;
                }
            }
            Segment::Frames(file) => {
                file.walk(|at, frame| {
                    take(frame.entries, &file.site, at.offset + frame.header.entries_at() as u64, at.first)
                })?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Batch;
    use crate::continuity::Continuity;
    use crate::event::{Preparing, prepare};
    use crate::index::{Base, Index, LogSource, Part, Shelf};
    use crate::layout::{LogLayout, SegmentPart};
    use crate::options::SystemRandom;
    use crate::payload::MacKeys;
    use crate::placement::{Edge, Group};
    use crate::storage::FileSystem;
    use cairn_schemas::events::custom::CustomRecorded;
    use cairn_schemas::{NewEvent, Timestamp};
    use std::sync::Arc;

    /// The beginnings that come twice among these, found with room for few.
    fn found(beginnings: &[u64], room: usize) -> Vec<u64> {
        let identity = |beginning: &u64| {
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&beginning.to_be_bytes());
            Identity(bytes)
        };
        let (mut repeats, mut all) = (Repeats::with_room(room), Vec::new());
        loop {
            beginnings.iter().for_each(|beginning| repeats.add(&identity(beginning)));
            all.extend(repeats.suspects());
            if repeats.to == u64::MAX {
                return all;
            }
            repeats = Repeats { from: repeats.to + 1, ..Repeats::with_room(room) };
        }
    }

    #[test]
    fn ranges_lose_nothing() {
        let mut numbers: Vec<u64> = (0..1000u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
        for room in [4, 7, 100, 5000] {
            assert_eq!(found(&numbers, room), [0; 0], "room {room}");
        }
        numbers.extend([numbers[3], numbers[999], numbers[0], numbers[0]]);
        let mut expected = vec![numbers[3], numbers[999], numbers[0]];
        expected.sort_unstable();
        for room in [4, 7, 100, 5000] {
            assert_eq!(found(&numbers, room), expected, "room {room}");
        }
        assert_eq!(found(&[5; 50], 4), [5]);
    }

    fn batch(ids: &[&str], keys: &MacKeys) -> crate::event::PreparedBatch {
        let event = |id: &&str| {
            let data = serde_json::from_str("1").unwrap();
            let fact = CustomRecorded { kind: "k".into(), about: None, used: vec![], produced: vec![], data };
            NewEvent::new("test", id, fact)
        };
        let batch = Batch::from(ids.iter().map(event).collect::<Vec<_>>());
        let vault = crate::vault::absent();
        let with = Preparing { keys, vault: &vault, now: Timestamp::from_micros(0), random: &SystemRandom };
        prepare(batch, &with).unwrap()
    }

    /// A log to which somebody wrote these batches who did not ask whether their events were recorded before.
    fn unasked(batches: &[&[&str]]) -> (tempfile::TempDir, LogFiles) {
        let (dir, keys) = (tempfile::tempdir().unwrap(), MacKeys::derive(&[1; 32]));
        let layout = LogLayout { dir: dir.path().join("log") };
        std::fs::create_dir_all(layout.segments()).unwrap();
        let files = LogFiles::new(Arc::new(FileSystem), dir.path(), "t/main/0", layout);
        let start = Continuity::new("o");
        let source = Box::new(LogSource { files: files.clone(), mac_keys: keys.clone() });
        let base = Base { head: 0, chain: start.chain };
        let shelf = Shelf::open(files.clone(), source, &[], start.chain, base).unwrap();
        let index = Index::new(keys.clone(), Arc::new(shelf), Part::new(1, start.chain, 0));
        let (mut edge, mut bytes) = (Edge::of(&start, 0), Vec::new());
        for ids in batches {
            let batch = batch(ids, &keys);
            let mut group = Group::new(edge.clone(), bytes.len() as u64, Timestamp::from_micros(1), Vec::new());
            group.place(&batch, &index, &|_, _| unreachable!("nothing is known")).unwrap();
            group.finish();
            bytes.extend_from_slice(&group.bytes);
            edge = group.edge.clone();
        }
        std::fs::write(files.layout.segment(1, SegmentPart::Frames), bytes).unwrap();
        (dir, files)
    }

    fn repeated(files: &LogFiles, room: usize) -> Result<(), Error> {
        let mut repeats = Repeats::with_room(room);
        each_identity(files, |identity, _, _, _| {
            repeats.add(&identity);
            Ok(())
        })?;
        repeats.find(files)
    }

    #[test]
    fn an_event_that_was_recorded_twice_is_named() {
        let batches: [&[&str]; 3] = [&["a", "b"], &["c", "d", "e"], &["f", "g"]];
        for room in [4, 100] {
            let (_dir, files) = unasked(&batches);
            repeated(&files, room).unwrap();
            let (_dir, files) = unasked(&[batches[0], batches[1], &["x", "b"], batches[2]]);
            match repeated(&files, room) {
                Err(Error::Damaged(damage)) => {
                    assert_eq!((damage.position, damage.found.as_str()), (Some(7), "the identity of position 2"));
                    assert!(damage.file.ends_with("segments/00000000000000000001.frames"), "{damage}");
                }
                other => panic!("{other:?}"),
            }
        }
    }
}
