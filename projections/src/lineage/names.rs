//! Between refs and the numbers that the graph knows them by; cursors of pages.

use super::rows::{self, KINDS, Named};
use super::view::AsOf;
use crate::Error;
use crate::projection::decode;
use crate::store::Store;
use cairn_schemas::{Blake3, Position, Ref, TypeCode};
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// Names of things, of which those that share a row are read together and once a question.
pub(super) struct Names<'a> {
    store: &'a dyn Store,
    blocks: HashMap<Vec<u8>, Vec<Named>>,
}

impl<'a> Names<'a> {
    pub(super) fn of(store: &'a dyn Store) -> Self {
        Self { store, blocks: HashMap::new() }
    }

    fn named(&mut self, number: u32) -> Result<&Named, Error> {
        let (key, at) = rows::names(number);
        let block = match self.blocks.entry(key) {
            Entry::Occupied(block) => block.into_mut(),
            Entry::Vacant(place) => {
                let row = self.store.get(place.key())?;
                place.insert(row.map_or(Ok(Vec::new()), |row| decode("lineage.names", &row))?)
            }
        };
        block.get(at).ok_or_else(|| Error::row("lineage.names", format!("thing {number} is missing")))
    }

    pub(super) fn get(&mut self, number: u32) -> Result<Ref, Error> {
        Ok(self.named(number)?.reference.clone())
    }

    pub(super) fn all(&mut self, numbers: impl IntoIterator<Item = u32>) -> Result<Vec<Ref>, Error> {
        numbers.into_iter().map(|number| self.get(number)).collect()
    }

    /// A thing's number; `None` where no event up to then mentions it.
    pub(super) fn number(&mut self, reference: &Ref, as_of: AsOf) -> Result<Option<u32>, Error> {
        let Some(row) = self.store.get(&rows::number(reference))? else { return Ok(None) };
        let number = decode("lineage.number", &row)?;
        Ok((self.named(number)?.first <= as_of.0).then_some(number))
    }
}

/// What a question sees: up to a position, or all there is.
pub(super) fn as_of(position: Option<Position>) -> AsOf {
    AsOf(position.map_or(u64::MAX, Position::get))
}

pub(super) fn position(value: u64) -> Result<Position, Error> {
    Position::new(value).ok_or_else(|| Error::row("lineage.block", "it says position 0"))
}

pub(super) fn event_type(code: u16) -> Result<&'static str, Error> {
    let name = TypeCode { code, version: 1 }.name();
    name.ok_or_else(|| Error::row("lineage.block", format!("{code:#06x} is no type of event")))
}

/// The rank of a kind by its name.
pub(super) fn rank_of(kind: &str) -> Result<u8, Error> {
    let found = KINDS.iter().position(|known| *known == kind);
    let unknown = || Error::UnknownKind { given: kind.to_owned(), known: KINDS.to_vec() };
    found.map(|rank| rank as u8).ok_or_else(unknown)
}

/// Some kinds, by rank; none named: all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kinds(u8);

impl Kinds {
    pub(super) fn named(kinds: &[String]) -> Result<Self, Error> {
        let mut mask = 0;
        for kind in kinds {
            mask |= 1 << rank_of(kind)?;
        }
        Ok(Self(if mask == 0 { u8::MAX } else { mask }))
    }
    pub(super) fn has(self, rank: u8) -> bool {
        self.0 >> rank & 1 == 1
    }
    pub(super) fn is_all(self) -> bool {
        self.0 == u8::MAX
    }
}

/// Where the items of a page stand. The pages of a question are of one state of the graph, that of its first page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursors {
    /// Of the question: a cursor of another one is refused.
    print: [u8; 8],
    as_of: AsOf,
    /// How many items came before the page.
    done: u64,
}

impl Cursors {
    /// Of the page after the one given, or of the first, as of a position or of now. `question` is all that decides the
    /// answer but the page.
    pub(super) fn of(question: &str, after: Option<&str>, as_of: Option<Position>, now: AsOf) -> Result<Self, Error> {
        let print = Blake3::of(question.as_bytes()).as_bytes()[..8].try_into().expect("a digest is longer");
        let Some(given) = after else {
            return Ok(Self { print, as_of: as_of.map_or(now, |position| AsOf(position.get())), done: 0 });
        };
        let parsed = hex::decode(given).ok().and_then(|bytes| <[u8; 24]>::try_from(bytes).ok());
        let number = |bytes: &[u8]| u64::from_be_bytes(bytes.try_into().expect("eight bytes"));
        let cursor = parsed.filter(|bytes| bytes[..8] == print).map(|bytes| Self {
            print,
            as_of: AsOf(number(&bytes[8..16])),
            done: number(&bytes[16..]),
        });
        cursor.ok_or_else(|| Error::Cursor { given: given.to_owned() })
    }

    pub(super) fn as_of(&self) -> AsOf {
        self.as_of
    }
    pub(super) fn done(&self) -> usize {
        self.done as usize
    }

    /// The position that the answer is of; `None` before the first event.
    pub fn position(&self) -> Option<Position> {
        Position::new(self.as_of.0)
    }

    /// What to give as `after` to go on behind the page's item of this index.
    pub fn after(&self, index: usize) -> String {
        let done = self.done + index as u64 + 1;
        hex::encode([self.print, self.as_of.0.to_be_bytes(), done.to_be_bytes()].concat())
    }

    /// Whether items come before the page.
    pub fn is_later(&self) -> bool {
        self.done > 0
    }

    /// The cursor of the next page, after a page of so many of `total` items.
    pub(super) fn next(&self, items: usize, total: u64) -> Option<String> {
        (items > 0 && self.done + (items as u64) < total).then(|| self.after(items - 1))
    }
}
