//! Tables of `curves`. A run's points lie in panels: its latest ones in its own row, full ones of that in fragments,
//! and fragments that add up to enough in sealed panels, each of whose metrics has an entry in an index. So a point is
//! written a bounded number of times, and a sparse metric is found without reading what lies between its points.

use super::Point;
use super::column::Effort;
use super::panel::{Coordinates, Head, Panel, signed};
use super::pyramid::Kept;
use crate::Error;
use crate::attempts::{self, Takeover};
use crate::key::Key;
use crate::projection::{decode, encode};
use bincode::de::Decoder;
use bincode::enc::Encoder;
use bincode::error::{DecodeError, EncodeError};
use bincode::{Decode, Encode};
use cairn_schemas::{Position, RunId, ShortText, Timestamp};
use std::collections::HashMap;

const RUN: u8 = 1;
const FRAGMENT: u8 = 2;
const SEALED: u8 = 3;
const INDEX: u8 = 4;
const NAME: u8 = 5;
const NUMBER: u8 = 6;
const NAMES: u8 = 7;
const TOKENS: u8 = 8;

pub(super) const RUN_TABLE: &str = "curves.run";
pub(super) const INDEX_TABLE: &str = "curves.index";
pub(super) const NAME_TABLE: &str = "curves.name";
pub(super) const TOKENS_TABLE: &str = "curves.tokens";

/// Sealed panels whose entries share a row of the index.
const INDEX_PANELS: u32 = 64;
/// Rows of a run's own row that are written as they are; more are compressed.
pub(super) const TAIL_ROWS: usize = 64;

/// A point as it is worked with.
#[derive(Clone, Copy, Debug, PartialEq, Encode, Decode)]
pub(super) struct Stored {
    pub(super) step: u64,
    /// As in [`Coordinates`].
    pub(super) time: u64,
    pub(super) tokens: u64,
    pub(super) value: f64,
    pub(super) attempt: u32,
    pub(super) position: u64,
}

impl Stored {
    pub(super) fn of(axis: Coordinates, value: f64) -> Self {
        let Coordinates { step, time, tokens, attempt, position } = axis;
        Self { step, time, tokens, value, attempt, position }
    }
    /// The point, where it lies at `x` on the axis that was asked for.
    pub(super) fn shown(self, x: f64) -> Point {
        let Self { step, time, tokens, value, attempt, position } = self;
        let time = Timestamp::from_micros(signed(time));
        Point { x, step, time, tokens, value, attempt, position: Position::new(position).unwrap_or(Position::FIRST) }
    }
}

/// One run.
#[derive(Clone, Debug, Default)]
pub(super) struct Run {
    pub(super) header: Header,
    /// The latest points as stored; out of date once they are `open`.
    pub(super) tail: Head,
    /// The latest points while events are applied.
    pub(super) open: Option<Box<Open>>,
}

/// What a run's row says apart from its latest points.
#[derive(Clone, Debug, Default, Encode, Decode)]
pub(super) struct Header {
    /// Its metrics in the order in which they were first logged: runs of consecutive numbers of names (first, count).
    /// A metric's place in that order is its slot.
    metrics: Vec<(u32, u32)>,
    takeovers: Vec<Said>,
    /// What it was begun from, as said by its start and by a fork.
    pub(super) origins: Vec<Origin>,
    /// Points of all metrics and attempts.
    pub(super) points: u64,
    /// How many panels are sealed.
    pub(super) sealed: u32,
    /// Panels after the sealed ones, in order of arrival.
    pub(super) fragments: Vec<Fragment>,
    pub(super) fragments_made: u32,
}

/// An attempt that took over, as an event said so.
#[derive(Clone, Debug, Encode, Decode)]
struct Said {
    attempt: u32,
    from_step: Option<u64>,
    position: u64,
}

/// Another run that a run went on from.
#[derive(Clone, Copy, Debug, Encode, Decode)]
pub(super) struct Origin {
    pub(super) run: RunId,
    /// `None`: from its end.
    pub(super) from_step: Option<u64>,
    pub(super) position: u64,
}

/// A panel that is not sealed yet.
#[derive(Clone, Copy, Debug, Encode, Decode)]
pub(super) struct Fragment {
    pub(super) number: u32,
    pub(super) rows: u32,
    pub(super) values: u32,
    pub(super) segments: u32,
}

impl Header {
    /// How many metrics the run has.
    pub(super) fn slots(&self) -> u32 {
        self.metrics.iter().map(|(_, count)| count).sum()
    }
    /// Numbers of the names of its metrics, by slot.
    pub(super) fn names(&self) -> impl Iterator<Item = u32> {
        self.metrics.iter().flat_map(|(first, count)| *first..first + count)
    }
    pub(super) fn slot_of(&self, name: u32) -> Option<u32> {
        let mut before = 0;
        for (first, count) in &self.metrics {
            if (*first..first + count).contains(&name) {
                return Some(before + name - first);
            }
            before += count;
        }
        None
    }
    /// Gives a metric that the run has not had so far its slot.
    pub(super) fn add(&mut self, name: u32) -> u32 {
        let slot = self.slots();
        match self.metrics.last_mut() {
            Some((first, count)) if *first + *count == name => *count += 1,
            _ => self.metrics.push((name, 1)),
        }
        slot
    }
    pub(super) fn take_over(&mut self, attempt: u32, from_step: Option<u64>, position: u64) {
        self.takeovers.push(Said { attempt, from_step, position });
    }
    /// Which attempts had taken over as of a position.
    pub(super) fn takeovers(&self, as_of: u64) -> Vec<Takeover> {
        let mut takeovers = Vec::new();
        for said in self.takeovers.iter().filter(|said| said.position <= as_of) {
            attempts::take_over(&mut takeovers, said.attempt, said.from_step);
        }
        takeovers
    }
    /// What events said of the run, without how its points lie.
    pub(super) fn said(&self) -> impl Encode {
        (self.metrics.clone(), self.takeovers.clone(), self.origins.clone(), self.points)
    }
    pub(super) fn fragments_size(&self) -> (usize, usize) {
        let add =
            |(rows, values), fragment: &Fragment| (rows + fragment.rows as usize, values + fragment.values as usize);
        self.fragments.iter().fold((0, 0), add)
    }
}

/// Points that are being added to a run, and what makes adding fast. None of it is stored but the points.
#[derive(Clone, Debug, Default)]
pub(super) struct Open {
    pub(super) panel: Panel,
    /// Rows and values in fragments.
    pub(super) before: (usize, usize),
    /// Slots of the metrics that were met since it was opened.
    pub(super) slots: HashMap<ShortText, u32>,
    /// The metrics of the latest event: the next has mostly the same, in the same order.
    pub(super) pattern: Vec<(ShortText, u32)>,
}

impl Encode for Run {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        self.header.encode(encoder)?;
        match &self.open {
            None => self.tail.encode(encoder),
            Some(open) => {
                let is_small = open.panel.rows() < TAIL_ROWS;
                open.panel.to_head(if is_small { Effort::Quick } else { Effort::Full }).encode(encoder)
            }
        }
    }
}

impl Decode<()> for Run {
    fn decode<D: Decoder<Context = ()>>(decoder: &mut D) -> Result<Self, DecodeError> {
        Ok(Self { header: Decode::decode(decoder)?, tail: Decode::decode(decoder)?, open: None })
    }
}

/// What can be said of a metric's part of a sealed panel without reading it. Ranges are least and greatest.
#[derive(Clone, Debug, Encode, Decode)]
pub(super) struct Entry {
    pub(super) panel: u32,
    /// One a step: those that count where nothing else has one of the panel's steps.
    pub(super) points: u32,
    pub(super) steps: (u64, u64),
    pub(super) times: (u64, u64),
    pub(super) tokens: (u64, u64),
    pub(super) attempts: (u32, u32),
    pub(super) positions: (u64, u64),
    /// `None` where the points are so few that they are read instead.
    pub(super) kept: Option<Kept<Stored>>,
}

/// A row of the index.
#[derive(Clone, Debug, Default, Encode, Decode)]
pub(super) struct Entries(pub(super) Vec<Entry>);

fn of(table: u8, run: &RunId) -> Key {
    Key::of(table).bytes(&encode(run))
}
pub(super) fn run(run: &RunId) -> Vec<u8> {
    of(RUN, run).done()
}
/// Rows of all runs.
pub(super) fn runs() -> Vec<u8> {
    Key::of(RUN).done()
}
/// The run whose row has this key.
pub(super) fn run_of(key: &[u8]) -> Result<RunId, Error> {
    decode(RUN_TABLE, key.get(1..).unwrap_or_default())
}
/// A fragment's head is its part 0, its segments follow.
pub(super) fn fragment(run: &RunId, number: u32, part: u32) -> Vec<u8> {
    of(FRAGMENT, run).u32(number).u32(part).done()
}
/// The same of a sealed panel.
pub(super) fn sealed(run: &RunId, number: u32, part: u32) -> Vec<u8> {
    of(SEALED, run).u32(number).u32(part).done()
}
pub(super) fn index_of(run: &RunId, slot: u32) -> Vec<u8> {
    of(INDEX, run).u32(slot).done()
}
pub(super) fn index(run: &RunId, slot: u32, panel: u32) -> Vec<u8> {
    of(INDEX, run).u32(slot).u32(panel / INDEX_PANELS).done()
}
/// The number of a metric's name.
pub(super) fn name(name: &str) -> Vec<u8> {
    Key::of(NAME).text(name).done()
}
pub(super) fn name_prefix() -> Vec<u8> {
    Key::of(NAME).done()
}
/// The name of a number.
pub(super) fn number(number: u32) -> Vec<u8> {
    Key::of(NUMBER).u32(number).done()
}
/// How many names there are.
pub(super) fn names() -> Vec<u8> {
    Key::of(NAMES).done()
}
pub(super) fn tokens_prefix() -> Vec<u8> {
    Key::of(TOKENS).done()
}
/// Tokens that checkpoints and ends of a run name.
pub(super) fn tokens_of(run: &RunId) -> Vec<u8> {
    of(TOKENS, run).done()
}
pub(super) fn tokens(run: &RunId, step: u64, position: u64) -> Vec<u8> {
    of(TOKENS, run).u64(step).u64(position).done()
}
