//! Tables of `lineage`. A thing is known by a number, given in order of first mention, so that links are short. Links lie
//! in blocks: a row holds those of 32 things in a row, both ways, in order of position; what a thing has beyond 64 one
//! way goes on in chunks of its own. Rows only grow, and at one end, whatever batches the events came in.

use crate::Error;
use crate::key::{Fields, Key};
use bincode::de::Decoder;
use bincode::enc::Encoder;
use bincode::error::{DecodeError, EncodeError};
use bincode::{Decode, Encode};
use cairn_schemas::Ref;

const NUMBER: u8 = 1;
const NAMES: u8 = 2;
const BLOCK: u8 = 3;
const CHUNK: u8 = 4;
const NODES: u8 = 5;
const REPEATS: u8 = 6;
const REPEATED_AT: u8 = 7;
const CODE: u8 = 8;

/// Things whose links share a row.
const BLOCK_NODES: u32 = 32;
/// Things whose names share a row.
const NAMES_BLOCK: u32 = 64;
/// Links that a thing has in its block, one way.
const BLOCK_LINKS: u32 = 64;
/// Links of a chunk.
const CHUNK_LINKS: u32 = 1_024;
/// Positions of a row of repeats.
pub(super) const REPEATED_POSITIONS: u64 = 256;

/// Bits of a neighbour that are its number; those above are its rank.
const NUMBER_BITS: u32 = 29;
pub(super) const NODES_MAX: u32 = 1 << NUMBER_BITS;

/// Kinds in the order in which neighbours are shown.
pub(super) const KINDS: [&str; 8] =
    ["deployment", "model", "run", "dataset", "evaluation", "judgment", "artifact", "document"];

pub(super) const RUN_RANK: u8 = 2;
pub(super) const DOCUMENT_RANK: u8 = 7;

pub(super) fn rank(reference: &Ref) -> u8 {
    match reference {
        Ref::Deployment(_) => 0,
        Ref::Model { .. } => 1,
        Ref::Run(_) => RUN_RANK,
        Ref::Dataset { .. } => 3,
        Ref::Eval(_) => 4,
        Ref::Judgment(_) => 5,
        Ref::Artifact(_) => 6,
        Ref::Doc(_) => DOCUMENT_RANK,
    }
}

/// A thing's number and the rank of its kind, in 32 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Place(u32);

impl Place {
    pub(super) fn new(number: u32, rank: u8) -> Self {
        debug_assert!(number < NODES_MAX && rank < 8);
        Self(u32::from(rank) << NUMBER_BITS | number)
    }
    pub(super) fn number(self) -> u32 {
        self.0 & (NODES_MAX - 1)
    }
    pub(super) fn rank(self) -> u8 {
        (self.0 >> NUMBER_BITS) as u8
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Up,
    Down,
}

/// A thing's name, and the position of the first event that mentions it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(super) struct Named {
    pub(super) reference: Ref,
    pub(super) first: u64,
}

/// One end of an edge, as the other end has it. An edge that events of several types say has a link for each type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link {
    /// Which of the block's things has it, and which way; 0 in a chunk.
    pub(super) slot: u8,
    /// Whether an earlier link says the same edge by another type.
    pub(super) also: bool,
    pub(super) to: Place,
    /// Position of the first event of the type.
    pub(super) first: u64,
    /// The type's code.
    pub(super) event: u16,
}

/// A block's links, or a chunk's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Links {
    pub(super) links: Vec<Link>,
    /// How many links of a slot lie in chunks.
    beyond: Vec<(u8, u32)>,
}

impl Links {
    pub(super) fn beyond(&self, slot: u8) -> u32 {
        self.beyond.iter().find(|(of, _)| *of == slot).map_or(0, |(_, count)| *count)
    }

    pub(super) fn of(&self, slot: u8) -> impl Iterator<Item = &Link> {
        self.links.iter().filter(move |link| link.slot == slot)
    }

    pub(super) fn total(&self, slot: u8) -> u32 {
        match self.beyond(slot) {
            0 => self.of(slot).count() as u32,
            beyond => BLOCK_LINKS + beyond,
        }
    }

    /// Takes a link, or says in which chunk it goes.
    pub(super) fn push(&mut self, link: Link) -> Option<u32> {
        if self.total(link.slot) < BLOCK_LINKS {
            self.links.push(link);
            return None;
        }
        match self.beyond.iter_mut().find(|(of, _)| *of == link.slot) {
            Some((_, count)) => {
                *count += 1;
                Some((*count - 1) / CHUNK_LINKS)
            }
            None => {
                self.beyond.push((link.slot, 1));
                Some(0)
            }
        }
    }
}

/// How many chunks so many links fill.
pub(super) fn chunks(beyond: u32) -> u32 {
    beyond.div_ceil(CHUNK_LINKS)
}

const SLOT_MASK: u8 = 0x3f;
const ALSO: u8 = 0x40;
const SAME_EVENT: u8 = 0x80;

/// A link takes some six bytes: slot and flags, the step to the neighbour from the one before with its rank, the step to
/// the position, and the type where it changes.
impl Encode for Links {
    fn encode<E: Encoder>(&self, to: &mut E) -> Result<(), EncodeError> {
        self.beyond.encode(to)?;
        (self.links.len() as u64).encode(to)?;
        let mut before = Link { slot: 0, also: false, to: Place(0), first: 0, event: 0 };
        for link in &self.links {
            let same = if link.event == before.event { SAME_EVENT } else { 0 };
            (link.slot | if link.also { ALSO } else { 0 } | same).encode(to)?;
            let step = i64::from(link.to.number()) - i64::from(before.to.number());
            let zigzag = (step << 1 ^ step >> 63) as u64;
            (zigzag << 3 | u64::from(link.to.rank())).encode(to)?;
            link.first.wrapping_sub(before.first).encode(to)?;
            if same == 0 {
                link.event.encode(to)?;
            }
            before = *link;
        }
        Ok(())
    }
}

impl Decode<()> for Links {
    fn decode<D: Decoder<Context = ()>>(from: &mut D) -> Result<Self, DecodeError> {
        let beyond = Vec::decode(from)?;
        let count = u64::decode(from)?;
        let mut links = Vec::with_capacity(count.min(u64::from(BLOCK_NODES * 2 * BLOCK_LINKS)) as usize);
        let (mut number, mut first, mut event) = (0i64, 0u64, 0u16);
        for _ in 0..count {
            let head = u8::decode(from)?;
            let step = u64::decode(from)?;
            let (rank, zigzag) = (step as u8 & 7, step >> 3);
            number += (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64);
            if !(0..i64::from(NODES_MAX)).contains(&number) {
                return Err(DecodeError::OtherString(format!("a neighbour's number is {number}")));
            }
            first = first.wrapping_add(u64::decode(from)?);
            if head & SAME_EVENT == 0 {
                event = u16::decode(from)?;
            }
            let (slot, also) = (head & SLOT_MASK, head & ALSO != 0);
            links.push(Link { slot, also, to: Place::new(number as u32, rank), first, event });
        }
        Ok(Self { links, beyond })
    }
}

/// What is known of events that say of an edge what one of their type said before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub(super) struct Repeats {
    pub(super) events: u64,
    pub(super) last: u64,
}

/// The row of a thing's number by its name.
pub(super) fn number(reference: &Ref) -> Vec<u8> {
    let name = bincode::encode_to_vec(reference, bincode::config::standard()).expect("encoding to memory cannot fail");
    Key::of(NUMBER).bytes(&name).done()
}
/// The row of a thing's name, and where in it the name is.
pub(super) fn names(number: u32) -> (Vec<u8>, usize) {
    (Key::of(NAMES).u32(number / NAMES_BLOCK).done(), (number % NAMES_BLOCK) as usize)
}
/// How many things there are.
pub(super) fn nodes() -> Vec<u8> {
    Key::of(NODES).done()
}
/// The row of a thing's links, and its slot there.
pub(super) fn block(number: u32, way: Way) -> (Vec<u8>, u8) {
    let slot = (number % BLOCK_NODES) as u8 * 2 + u8::from(way == Way::Down);
    (Key::of(BLOCK).u32(number / BLOCK_NODES).done(), slot)
}
pub(super) fn blocks() -> Vec<u8> {
    Key::of(BLOCK).done()
}
/// Whose links a block's slot holds.
pub(super) fn of_slot(key: &[u8], slot: u8) -> Result<(u32, Way), Error> {
    let block = Fields::of("lineage.block", key).u32()?;
    let number = block.checked_mul(BLOCK_NODES).map(|first| first + u32::from(slot / 2));
    let number = number.filter(|number| *number < NODES_MAX);
    let number = number.ok_or_else(|| Error::row("lineage.block", format!("its number is {block}")))?;
    Ok((number, if slot % 2 == 1 { Way::Down } else { Way::Up }))
}
pub(super) fn chunk(number: u32, way: Way, chunk: u32) -> Vec<u8> {
    Key::of(CHUNK).u32(number).byte(u8::from(way == Way::Down)).u32(chunk).done()
}
pub(super) fn all_chunks() -> Vec<u8> {
    Key::of(CHUNK).done()
}
/// Whose links a chunk holds.
pub(super) fn of_chunk(key: &[u8]) -> Result<(u32, Way), Error> {
    let mut fields = Fields::of("lineage.chunk", key);
    let number = fields.u32()?;
    Ok((number, if fields.byte()? == 1 { Way::Down } else { Way::Up }))
}
pub(super) fn repeats(from: u32, to: u32, event: u16) -> Vec<u8> {
    Key::of(REPEATS).u32(from).u32(to).bytes(&event.to_be_bytes()).done()
}
/// The positions of repeats from `number * REPEATED_POSITIONS` on.
pub(super) fn repeated_at(from: u32, to: u32, event: u16, number: u64) -> Vec<u8> {
    Key::of(REPEATED_AT).u32(from).u32(to).bytes(&event.to_be_bytes()).u64(number).done()
}
/// Runs of code that begins so.
pub(super) fn code_prefix(code: &str) -> Vec<u8> {
    Key::of(CODE).text_prefix(code).done()
}
pub(super) fn code(code: &str, run: u32) -> Vec<u8> {
    Key::of(CODE).text(code).u32(run).done()
}
/// The code and the run's number of such a row.
pub(super) fn of_code(key: &[u8]) -> Result<(String, u32), Error> {
    let mut fields = Fields::of("lineage.code", key);
    Ok((fields.text()?, fields.u32()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::projection::{decode, encode};
    use crate::testing::Random;

    #[test]
    fn links_come_back_and_are_short() {
        for seed in 0..50 {
            println!("seed {seed}");
            let mut random = Random::new(seed);
            let mut row = Links::default();
            let mut first = random.below(1 << 40);
            for _ in 0..random.below(2_000) {
                first += random.below(3);
                let to = Place::new(random.below(u64::from(NODES_MAX)) as u32, random.below(8) as u8);
                let event = [0x0103, 0x0301][random.below(2) as usize];
                let link = Link { slot: random.below(64) as u8, also: random.below(9) == 0, to, first, event };
                row.push(link);
            }
            assert_eq!(decode::<Links>("test", &encode(&row)).unwrap(), row);
        }
        // A page of documents: consecutive things, one event.
        let mut row = Links::default();
        for number in 0..64 {
            row.push(Link { slot: 1, also: false, to: Place::new(900_000 + number, 7), first: 1_000_000, event: 7 });
        }
        assert!(encode(&row).len() <= 64 * 3 + 16, "{}", encode(&row).len());
    }

    #[test]
    fn what_a_thing_has_too_much_of_goes_into_chunks() {
        let mut row = Links::default();
        let link = |slot| Link { slot, also: false, to: Place::new(1, 2), first: 3, event: 4 };
        let chunks_of: Vec<Option<u32>> = (0..64 + 1_024 + 1).map(|_| row.push(link(5))).collect();
        assert_eq!(chunks_of[63], None);
        assert_eq!((chunks_of[64], chunks_of[64 + 1_023], chunks_of[64 + 1_024]), (Some(0), Some(0), Some(1)));
        assert_eq!((row.total(5), row.beyond(5), chunks(row.beyond(5))), (64 + 1_025, 1_025, 2));
        assert_eq!(row.push(link(4)), None, "another's links are not in its way");
        assert_eq!(row.of(4).count(), 1);
    }

    #[test]
    fn keys_name_whose_they_are() {
        for number in [0, 31, 32, 999_999, NODES_MAX - 1] {
            for way in [Way::Up, Way::Down] {
                let (key, slot) = block(number, way);
                assert_eq!(of_slot(&key, slot).unwrap(), (number, way));
                assert_eq!(of_chunk(&chunk(number, way, 7)).unwrap(), (number, way));
            }
        }
        assert_eq!(of_code(&code("0a1b", 9)).unwrap(), ("0a1b".to_owned(), 9));
        assert!(code("0a1b", 9).starts_with(&code_prefix("0a1")));
    }
}
