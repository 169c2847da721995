//! Checks what a backup holds of a log: chain, tree, commitments, and that they lead to the signed size and root.

use crate::bundle::Entries;
use crate::chain;
use crate::entry::Entry;
use crate::error::{Error, Fork, Mismatch};
use crate::layout::{LogId, SegmentPart};
use crate::payload::RecordKind;
use crate::scan::LogFiles;
use crate::segment::entries::EntriesFooter;
use crate::segment::frames::FramesFile;
use crate::segment::{Files, FoundRecord, Sealed, found_records};
use crate::site::Site;
use crate::tree::Tree;
use cairn_schemas::{Blake3, Sha256};
use std::sync::Weak;

/// A log after its first `tree.size()` events.
#[derive(Clone)]
struct State {
    chain: Blake3,
    tree: Tree,
}

/// A size and the root that the tree must have there.
pub(crate) type Promise = (u64, Sha256);

pub(crate) struct LogCheck<'a> {
    pub(crate) files: &'a LogFiles,
    pub(crate) id: &'a LogId,
    pub(crate) origin: &'a str,
    /// What is known of the log from elsewhere, and last its own checkpoint, where it ends.
    pub(crate) promises: &'a [Promise],
}

impl LogCheck<'_> {
    /// Reads the segments that `fresh` chooses by their first position, and of the others what joins them.
    pub(crate) fn run(&self, segments: &[Files], fresh: &dyn Fn(u64) -> bool) -> Result<(), Error> {
        let mut state = Some(State { chain: chain::genesis(self.origin), tree: Tree::default() });
        let mut before: Option<&Files> = None;
        for files in segments {
            if fresh(files.first) || !files.entries {
                let mut begun = match state.take() {
                    Some(state) => state,
                    None => self.after(before.expect("the first segment has a state before it"))?,
                };
                self.check_first(files, &begun)?;
                self.kept(&begun)?;
                self.walk(files, &mut begun)?;
                state = Some(begun);
            } else if let Some(begun) = state.take() {
                self.check_joins(files, &begun)?;
            }
            before = Some(files);
        }
        let end = match (state, before) {
            (Some(state), _) => state,
            (None, before) => self.after(before.expect("a state is taken at a segment only"))?,
        };
        self.kept(&end)?;
        self.check_end(&end)
    }

    fn site(&self, first: u64, part: SegmentPart) -> Site {
        self.files.at(self.files.layout.segment(first, part))
    }

    fn sealed(&self, files: &Files) -> Result<Sealed, Error> {
        Sealed::open(self.files, *files, Weak::new())
    }

    /// What a sealed segment's footer says of the log after it.
    fn after(&self, files: &Files) -> Result<State, Error> {
        let sealed = self.sealed(files)?;
        let EntriesFooter { first, count, chain_after, subtrees, .. } = &sealed.entries.footer;
        let tree = Tree::from_parts(first + count - 1, subtrees.clone()).ok_or_else(|| {
            let mismatch = Mismatch::new(0, "the subtrees of its last position", "others");
            self.site(files.first, SegmentPart::Entries).damage(None, 0, mismatch)
        })?;
        Ok(State { chain: *chain_after, tree })
    }

    fn check_first(&self, files: &Files, state: &State) -> Result<(), Error> {
        let next = state.tree.size() + 1;
        match files.first == next {
            true => Ok(()),
            false => {
                let mismatch = Mismatch::new(0, format!("a segment that begins at position {next}"), files.first);
                let part = if files.entries { SegmentPart::Entries } else { SegmentPart::Frames };
                Err(self.site(files.first, part).damage(Some(next), 0, mismatch))
            }
        }
    }

    fn check_joins(&self, files: &Files, state: &State) -> Result<(), Error> {
        self.check_first(files, state)?;
        let before = self.sealed(files)?.entries.footer.chain_before;
        match before == state.chain {
            true => Ok(()),
            false => {
                let mismatch = Mismatch::new(32, format!("chain head {}", state.chain), before);
                Err(self.site(files.first, SegmentPart::Entries).damage(Some(files.first), 0, mismatch))
            }
        }
    }

    fn walk(&self, files: &Files, state: &mut State) -> Result<(), Error> {
        if files.entries {
            let sealed = self.sealed(files)?;
            sealed.walk(&mut |_| true, |found| {
                self.frame(state, found.entries, (found.entries_site, found.entries_at))?;
                found.records.iter().try_for_each(check_record)
            })?;
            let after = self.after(files)?;
            return match (after.chain, after.tree.root()) == (state.chain, state.tree.root()) {
                true => Ok(()),
                false => {
                    let mismatch = Mismatch::new(0, "a footer that its entries lead to", "another");
                    Err(sealed.entries.site.damage(None, sealed.entries.footer.body_bytes, mismatch))
                }
            };
        }
        let site = self.site(files.first, SegmentPart::Frames);
        let file = self.files.disk.open(site.path()).map_err(site.io("opening"))?;
        let file = FramesFile { site, file, first: files.first };
        let walked = file.walk(|at, frame| {
            let entries_at = at.offset + frame.header.entries_at() as u64;
            self.frame(state, frame.entries, (&file.site, entries_at))?;
            found_records(&file.site, at.offset, frame, &mut |_| true)?.iter().try_for_each(check_record)
        })?;
        match walked.broken {
            None => Ok(()),
            Some(broken) => Err(file.damage_at(walked.end, state.tree.size() + 1, broken.mismatch)),
        }
    }

    fn frame(&self, state: &mut State, entries: &[u8], (site, entries_at): (&Site, u64)) -> Result<(), Error> {
        let mut chain_before = Some(state.chain);
        for item in Entries::new(entries) {
            let position = state.tree.size() + 1;
            let damage = |m: Mismatch| site.damage(Some(position), entries_at, m);
            let (at, raw) = item.map_err(damage)?;
            let entry = Entry::decode(raw).map_err(|m| damage(m.shifted(at + 2)))?;
            let expected = (position, chain_before.take());
            if (entry.position.get(), entry.chain_before) != expected {
                let found = format!("{:?}", (entry.position.get(), entry.chain_before));
                return Err(damage(Mismatch::new(at + 4, format!("position and chain head {expected:?}"), found)));
            }
            state.tree.push(raw);
            self.kept(state)?;
        }
        state.chain = chain::next(&state.chain, entries);
        Ok(())
    }

    /// Where the tree has a promised size, it has the promised root.
    fn kept(&self, state: &State) -> Result<(), Error> {
        let size = state.tree.size();
        for (index, (_, known)) in self.promises.iter().enumerate().filter(|(_, (promised, _))| *promised == size) {
            let found = state.tree.root();
            if *known == found {
                continue;
            }
            if index + 1 < self.promises.len() {
                return Err(Fork { log: self.id.to_string(), size, known: *known, found }.into());
            }
            let expected = format!("tree root {known} at size {size}, as the checkpoint has it");
            let mismatch = Mismatch::new(0, expected, format!("{found} over the stored entries"));
            return Err(self.files.at(self.files.layout.segments()).damage(Some(size), 0, mismatch));
        }
        Ok(())
    }

    fn check_end(&self, end: &State) -> Result<(), Error> {
        let size = self.promises.last().map_or(0, |(size, _)| *size);
        match end.tree.size() == size {
            true => Ok(()),
            false => {
                let mismatch = Mismatch::new(0, format!("{size} events, as the checkpoint has it"), end.tree.size());
                Err(self.files.at(self.files.layout.segments()).damage(Some(size), 0, mismatch))
            }
        }
    }
}

/// Whose authority a replacement needs is for verification to judge, which reads the whole log.
fn check_record(found: &FoundRecord<'_>) -> Result<(), Error> {
    let commitment = found.record.commitment();
    if found.record.kind == RecordKind::Replacement || commitment == found.entry.commitment {
        return Ok(());
    }
    let mismatch = Mismatch::new(0, format!("payload commitment {}", found.entry.commitment), commitment);
    Err(found.site.damage(Some(found.entry.position.get()), found.at, mismatch))
}
