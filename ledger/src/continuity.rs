//! What must hold from one entry to the next. Opening, verification and bundles all check it with this code.

use crate::bundle::Entries;
use crate::chain;
use crate::entry::Entry;
use crate::error::Mismatch;
use crate::segment::entries::EntriesFooter;
use crate::tree::Tree;
use cairn_schemas::{Blake3, Sha256};

/// State of a log after the entries seen so far.
#[derive(Clone, Debug)]
pub(crate) struct Continuity {
    pub(crate) head: u64,
    pub(crate) recorded_at_micros: i64,
    pub(crate) chain: Blake3,
    pub(crate) tree: Tree,
    /// Whether the tree is left as it is, and the chain is all that is computed.
    chain_alone: bool,
    /// Frames taken since [`Continuity::new`] or [`Continuity::after`].
    pub(crate) frames: u64,
    /// Version of each stream, by its number less one: 8 bytes a stream. `None` where the index answers for streams.
    stream_versions: Option<Vec<u64>>,
    /// Roots over the bundles of 256 entries that were completed since this state began: 32 bytes for 256 events,
    /// until whoever keeps them takes them.
    pub(crate) bundle_roots: Vec<Sha256>,
    /// Signed sizes and roots that the tree must pass through.
    promised: Vec<(u64, Sha256)>,
}

/// A mismatch, and the position it concerns.
pub(crate) type At = (u64, Mismatch);

impl Continuity {
    pub(crate) fn new(origin: &str) -> Self {
        Self {
            head: 0,
            recorded_at_micros: i64::MIN,
            chain: chain::genesis(origin),
            tree: Tree::default(),
            chain_alone: false,
            frames: 0,
            stream_versions: Some(Vec::new()),
            bundle_roots: Vec::new(),
            promised: Vec::new(),
        }
    }

    /// The state after a sealed segment, as its footer has it, without knowledge of streams.
    pub(crate) fn after(footer: &EntriesFooter) -> Self {
        let head = footer.after() - 1;
        let tree = Tree::from_parts(head, footer.subtrees.clone()).expect("a decoded footer was checked");
        Self {
            head,
            recorded_at_micros: footer.last_recorded_at_micros,
            chain: footer.chain_after,
            tree,
            chain_alone: false,
            frames: 0,
            stream_versions: None,
            bundle_roots: Vec::new(),
            promised: Vec::new(),
        }
    }

    /// Leaves the numbers and versions of streams to the index.
    pub(crate) fn without_streams(self) -> Self {
        Self { stream_versions: None, ..self }
    }

    /// Leaves the tree out, and with it what was promised of its root.
    pub(crate) fn chain_alone(self) -> Self {
        Self { chain_alone: true, promised: Vec::new(), ..self }
    }

    /// The edge of the tree; `None` where it was left out.
    pub(crate) fn subtrees(&self) -> Option<&[Sha256]> {
        (!self.chain_alone).then(|| self.tree.subtrees())
    }

    pub(crate) fn promised(mut self, size: u64, root: Sha256) -> Self {
        self.promised.push((size, root));
        self
    }

    /// Takes the entries of one whole frame, and gives them decoded, each with its offset.
    pub(crate) fn frame(&mut self, entries: &[u8], mut each: impl FnMut(usize, Entry)) -> Result<(), At> {
        let mut first = true;
        for item in Entries::new(entries) {
            let expected = self.head + 1;
            let (at, bytes) = item.map_err(|m| (expected, m))?;
            let entry = Entry::decode(bytes).map_err(|m| (expected, m.shifted(at + 2)))?;
            self.entry(&entry, first).map_err(|m| (expected, m.shifted(at + 2)))?;
            first = false;
            if !self.chain_alone {
                self.bundle_roots.extend(self.tree.push(bytes));
            }
            self.head = expected;
            self.check_promise().map_err(|m| (expected, m.shifted(at)))?;
            each(at, entry);
        }
        self.chain = chain::next(&self.chain, entries);
        self.frames += 1;
        Ok(())
    }

    fn entry(&mut self, entry: &Entry, first_of_frame: bool) -> Result<(), Mismatch> {
        if entry.position.get() != self.head + 1 {
            return Err(Mismatch::new(2, format!("position {}", self.head + 1), entry.position));
        }
        let micros = entry.recorded_at.as_micros();
        if micros < self.recorded_at_micros {
            return Err(Mismatch::new(
                10,
                format!("a time from {} µs", self.recorded_at_micros),
                format!("{micros} µs"),
            ));
        }
        self.recorded_at_micros = micros;
        self.stream(entry)?;
        let expected = first_of_frame.then_some(self.chain);
        if entry.chain_before != expected {
            let shown = |head: Option<Blake3>| head.map_or("none".to_owned(), |head| head.to_hex());
            return Err(Mismatch::new(90, format!("chain head {}", shown(expected)), shown(entry.chain_before)));
        }
        Ok(())
    }

    fn stream(&mut self, entry: &Entry) -> Result<(), Mismatch> {
        let Some(versions) = &mut self.stream_versions else { return Ok(()) };
        let streams = versions.len() as u64;
        let (number, version) = (entry.stream.0, entry.stream_version);
        if number > streams + 1 {
            return Err(Mismatch::new(22, format!("a stream number up to {}", streams + 1), number));
        }
        if number == streams + 1 {
            versions.push(0);
        }
        let current = &mut versions[usize::try_from(number - 1).expect("fewer streams than memory")];
        if version != *current + 1 {
            return Err(Mismatch::new(30, format!("version {} of stream {number}", *current + 1), version));
        }
        *current = version;
        Ok(())
    }

    /// Where the state is at a promised size, its root must be the promised one.
    pub(crate) fn check_promise(&self) -> Result<(), Mismatch> {
        for (size, root) in &self.promised {
            if *size == self.head && *root != self.tree.root() {
                return Err(Mismatch::new(
                    0,
                    format!("tree root {root} at size {size}, as the checkpoint has it"),
                    format!("{} over the stored entries", self.tree.root()),
                ));
            }
        }
        Ok(())
    }
}
