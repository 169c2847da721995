//! A panel: some points of all metrics of a run, in order of arrival. What they share (step, time, tokens, attempt,
//! position) stands once a row, however many metrics the row has; each metric is a column of its values.

use super::column::{self, Effort};
use crate::Error;
use bincode::{Decode, Encode};
use std::ops::Range;

pub(super) const TABLE: &str = "curves.panel";
/// A panel's columns are cut into stored rows of about this many bytes, so that one metric is read without the others.
const SEGMENT_BYTES: usize = 16 << 10;
/// Rows of a panel, at most: several times what is ever sealed.
const ROWS_MAX: u32 = 1 << 20;

/// What the metrics of one row share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Coordinates {
    pub(super) step: u64,
    /// Microseconds, with the order of signed numbers kept: see [`ordered`].
    pub(super) time: u64,
    pub(super) tokens: u64,
    pub(super) attempt: u32,
    pub(super) position: u64,
}

/// A signed number as an unsigned one that sorts the same.
pub(super) fn ordered(micros: i64) -> u64 {
    micros as u64 ^ (1 << 63)
}
pub(super) fn signed(ordered: u64) -> i64 {
    (ordered ^ (1 << 63)) as i64
}

/// What [`Coordinates`] says of every row of a panel.
#[derive(Clone, Debug, Default)]
pub(super) struct Axes {
    steps: Vec<u64>,
    times: Vec<u64>,
    tokens: Vec<u64>,
    attempts: Vec<u64>,
    positions: Vec<u64>,
}

impl Axes {
    pub(super) fn at(&self, row: usize) -> Coordinates {
        let attempt = self.attempts[row] as u32;
        let (step, time) = (self.steps[row], self.times[row]);
        Coordinates { step, time, tokens: self.tokens[row], attempt, position: self.positions[row] }
    }
    pub(super) fn len(&self) -> usize {
        self.steps.len()
    }
    fn push(&mut self, row: Coordinates) {
        self.steps.push(row.step);
        self.times.push(row.time);
        self.tokens.push(row.tokens);
        self.attempts.push(u64::from(row.attempt));
        self.positions.push(row.position);
    }
    fn columns(&self) -> [&Vec<u64>; 5] {
        [&self.steps, &self.times, &self.tokens, &self.attempts, &self.positions]
    }
    fn columns_mut(&mut self) -> [&mut Vec<u64>; 5] {
        [&mut self.steps, &mut self.times, &mut self.tokens, &mut self.attempts, &mut self.positions]
    }
}

/// Which rows have a value of a metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// As many as there are values, from this one on.
    From(u32),
    Listed(Vec<u32>),
}

impl Presence {
    pub(super) fn row(&self, at: usize) -> usize {
        match self {
            Presence::From(first) => *first as usize + at,
            Presence::Listed(rows) => rows[at] as usize,
        }
    }
}

/// The values of one metric.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) presence: Presence,
    pub(super) values: Vec<f64>,
}

impl Default for Column {
    fn default() -> Self {
        Self { presence: Presence::From(0), values: Vec::new() }
    }
}

impl Column {
    fn last_row(&self) -> Option<usize> {
        self.values.len().checked_sub(1).map(|last| self.presence.row(last))
    }
    fn push(&mut self, row: u32, value: f64) {
        match &mut self.presence {
            Presence::From(first) if self.values.is_empty() => *first = row,
            Presence::From(first) if *first as usize + self.values.len() == row as usize => {}
            Presence::From(first) => {
                let mut rows: Vec<u32> = (*first..).take(self.values.len()).collect();
                rows.push(row);
                self.presence = Presence::Listed(rows);
            }
            Presence::Listed(rows) => rows.push(row),
        }
        self.values.push(value);
    }
}

/// A panel in memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Panel {
    pub(super) axes: Axes,
    /// By the metric's slot in its run; a slot without values is absent from the panel.
    pub(super) columns: Vec<Column>,
    values: usize,
    columns_filled: usize,
}

impl Panel {
    pub(super) fn rows(&self) -> usize {
        self.axes.len()
    }
    pub(super) fn values(&self) -> usize {
        self.values
    }
    /// How many metrics have values.
    pub(super) fn width(&self) -> usize {
        self.columns_filled
    }
    pub(super) fn present(&self) -> impl Iterator<Item = (u32, &Column)> {
        (0..).zip(&self.columns).filter(|(_, column)| !column.values.is_empty())
    }

    /// Adds the metrics of one event, by slot. A metric that is there twice begins another row, so that both count.
    pub(super) fn push(&mut self, axis: Coordinates, metrics: impl Iterator<Item = (u32, f64)>) {
        let mut row = None;
        for (slot, value) in metrics {
            let slot = slot as usize;
            if slot >= self.columns.len() {
                self.columns.resize_with(slot + 1, Column::default);
            }
            let column = &mut self.columns[slot];
            let at = match row {
                Some(at) if column.last_row() != Some(at) => at,
                _ => {
                    self.axes.push(axis);
                    self.axes.len() - 1
                }
            };
            row = Some(at);
            self.columns_filled += usize::from(column.values.is_empty());
            column.push(at as u32, value);
            self.values += 1;
        }
    }

    /// Adds what came after it.
    pub(super) fn append(&mut self, other: &Panel) {
        let before = self.rows() as u32;
        for (mine, theirs) in self.axes.columns_mut().into_iter().zip(other.axes.columns()) {
            mine.extend(theirs);
        }
        self.columns.resize_with(self.columns.len().max(other.columns.len()), Column::default);
        for (slot, column) in other.present() {
            let mine = &mut self.columns[slot as usize];
            self.columns_filled += usize::from(mine.values.is_empty());
            for (at, value) in column.values.iter().enumerate() {
                mine.push(before + column.presence.row(at) as u32, *value);
            }
        }
        self.values += other.values;
    }

    /// The panel as one piece.
    pub(super) fn to_head(&self, effort: Effort) -> Head {
        let (mut head, columns) = self.parts(effort);
        head.inline = columns.concat();
        head
    }

    /// The panel as a head, and as many segments as its columns need.
    pub(super) fn to_rows(&self, effort: Effort) -> (Head, Vec<Vec<u8>>) {
        let (mut head, columns) = self.parts(effort);
        let bytes: usize = columns.iter().map(Vec::len).sum();
        if bytes <= SEGMENT_BYTES {
            head.inline = columns.concat();
            return (head, Vec::new());
        }
        let mut segments: Vec<Vec<u8>> = Vec::new();
        let mut places = Places::default();
        for column in columns {
            let (segment, _) = places.next(column.len());
            segments.resize_with(segment + 1, Vec::new);
            segments[segment].extend(column);
        }
        (head, segments)
    }

    fn parts(&self, effort: Effort) -> (Head, Vec<Vec<u8>>) {
        let axes = self.axes.columns().map(|axis| longs(axis, effort));
        let (mut directory, mut columns) = (Vec::with_capacity(self.columns_filled), Vec::new());
        let mut next = 0;
        for (slot, column) in self.present() {
            let mut bytes = Vec::with_capacity(16 + column.values.len() * 4);
            column::write_reals(&column.values, effort, &mut bytes);
            let length = bytes.len() as u32;
            let rows = match &column.presence {
                Presence::From(0) if column.values.len() == self.rows() => Rows::Every,
                Presence::From(first) => Rows::From(*first, column.values.len() as u32),
                Presence::Listed(rows) => {
                    let rows: Vec<u64> = rows.iter().map(|row| u64::from(*row)).collect();
                    Rows::Listed(rows.len() as u32, longs(&rows, effort))
                }
            };
            directory.push(Listed { skipped: slot - next, rows, length });
            columns.push(bytes);
            next = slot + 1;
        }
        (Head { rows: self.rows() as u32, axes, directory, inline: Vec::new() }, columns)
    }

    /// Reads a whole panel.
    pub(super) fn read(head: &Head, segments: &mut dyn FnMut(usize) -> Result<Vec<u8>, Error>) -> Result<Self, Error> {
        let mut panel = Panel { axes: head.axes()?, ..Panel::default() };
        let mut loaded: Option<(usize, Vec<u8>)> = None;
        for (slot, place) in head.places() {
            let values = match place.segment {
                None => place.values(&head.inline)?,
                Some(number) => {
                    if loaded.as_ref().is_none_or(|(known, _)| *known != number) {
                        loaded = Some((number, segments(number)?));
                    }
                    place.values(&loaded.as_ref().expect("it was just loaded").1)?
                }
            };
            panel.columns.resize_with(slot as usize + 1, Column::default);
            panel.values += values.len();
            panel.columns_filled += 1;
            panel.columns[slot as usize] = Column { presence: place.presence(head.rows as usize)?, values };
        }
        Ok(panel)
    }
}

fn longs(numbers: &[u64], effort: Effort) -> Vec<u8> {
    let mut bytes = Vec::new();
    if !numbers.is_empty() {
        column::write_longs(numbers, effort, &mut bytes);
    }
    bytes
}

/// A panel as stored, but for its segments.
#[derive(Clone, Debug, Default, Encode, Decode)]
pub(super) struct Head {
    rows: u32,
    axes: [Vec<u8>; 5],
    directory: Vec<Listed>,
    /// All columns, where there are no segments.
    inline: Vec<u8>,
}

/// A column in the directory.
#[derive(Clone, Debug, Encode, Decode)]
struct Listed {
    /// Slots between the one before and this one that have no values.
    skipped: u32,
    rows: Rows,
    /// Bytes.
    length: u32,
}

#[derive(Clone, Debug, Encode, Decode)]
enum Rows {
    Every,
    /// The first, and how many.
    From(u32, u32),
    /// How many, and which.
    Listed(u32, Vec<u8>),
}

/// Where a column lies.
pub(super) struct Place<'a> {
    /// `None`: in the head itself.
    pub(super) segment: Option<usize>,
    pub(super) bytes: Range<usize>,
    pub(super) count: usize,
    rows: &'a Rows,
}

impl Place<'_> {
    pub(super) fn values(&self, segment: &[u8]) -> Result<Vec<f64>, Error> {
        let bytes = segment.get(self.bytes.clone());
        column::read_reals(bytes.ok_or_else(|| Error::row(TABLE, "a segment is cut short"))?, self.count)
    }
    /// `rows` are those of the panel.
    pub(super) fn presence(&self, rows: usize) -> Result<Presence, Error> {
        let (presence, last) = match self.rows {
            Rows::Every => (Presence::From(0), rows.checked_sub(1)),
            Rows::From(first, count) => (Presence::From(*first), (*first as usize + *count as usize).checked_sub(1)),
            Rows::Listed(count, bytes) => {
                let listed = column::read_longs(bytes, *count as usize)?;
                let last = listed.iter().max().map(|last| *last as usize);
                (Presence::Listed(listed.into_iter().map(|row| row as u32).collect()), last)
            }
        };
        match last {
            Some(last) if last < rows => Ok(presence),
            _ => Err(Error::row(TABLE, format!("a column lies outside of the {rows} rows"))),
        }
    }
}

/// Gives columns their places in segments, in their order.
#[derive(Default)]
struct Places {
    segment: usize,
    filled: usize,
}

impl Places {
    fn next(&mut self, length: usize) -> (usize, usize) {
        if self.filled > 0 && self.filled + length > SEGMENT_BYTES {
            self.segment += 1;
            self.filled = 0;
        }
        let start = self.filled;
        self.filled += length;
        (self.segment, start)
    }
}

impl Head {
    pub(super) fn rows(&self) -> usize {
        self.rows as usize
    }
    /// How many segments lie beside it.
    #[cfg(test)]
    fn segments(&self) -> usize {
        self.places().filter_map(|(_, place)| place.segment).last().map_or(0, |last| last + 1)
    }
    pub(super) fn values(&self) -> usize {
        self.places().map(|(_, place)| place.count).sum()
    }
    pub(super) fn inline(&self) -> &[u8] {
        &self.inline
    }

    pub(super) fn axes(&self) -> Result<Axes, Error> {
        if self.rows > ROWS_MAX {
            return Err(Error::row(TABLE, format!("it says {} rows, at most {ROWS_MAX}", self.rows)));
        }
        let mut axes = Axes::default();
        for (axis, bytes) in axes.columns_mut().into_iter().zip(&self.axes) {
            if self.rows > 0 {
                *axis = column::read_longs(bytes, self.rows as usize)?;
            }
        }
        Ok(axes)
    }

    /// Every column, by slot.
    pub(super) fn places(&self) -> impl Iterator<Item = (u32, Place<'_>)> {
        let total: usize = self.directory.iter().map(|column| column.length as usize).sum();
        let is_inline = total == self.inline.len();
        let (mut places, mut slot, mut inline) = (Places::default(), 0u32, 0usize);
        self.directory.iter().map(move |column| {
            let length = column.length as usize;
            let (segment, start) = places.next(length);
            let (segment, start) = if is_inline { (None, inline) } else { (Some(segment), start) };
            inline += length;
            let at = slot + column.skipped;
            slot = at + 1;
            let count = match &column.rows {
                Rows::Every => self.rows as usize,
                Rows::From(_, count) | Rows::Listed(count, _) => *count as usize,
            };
            (at, Place { segment, bytes: start..start + length, count, rows: &column.rows })
        })
    }

    pub(super) fn place(&self, slot: u32) -> Option<Place<'_>> {
        self.places().find(|(at, _)| *at == slot).map(|(_, place)| place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::projection::{decode, encode};
    use crate::testing::Random;

    /// Rows with gaps, sparse metrics and metrics that are there twice; and the points, slot by slot.
    fn panel(seed: u64, rows: u64, width: u64) -> (Panel, Vec<(u32, Coordinates, u64)>) {
        let mut random = Random::new(seed);
        let (mut panel, mut points) = (Panel::default(), Vec::new());
        for row in 0..rows {
            let axis = Coordinates {
                step: row * 10 + random.below(3),
                time: ordered(row as i64 * 150_000 - 5 + random.below(900) as i64),
                tokens: row * 2_048,
                attempt: 1 + (row / 40) as u32,
                position: 100 + row * 2,
            };
            let mut metrics: Vec<(u32, f64)> = Vec::new();
            for slot in 0..width {
                let is_there = slot % 5 == 0 || random.below(slot + 1) == 0;
                for _ in 0..u64::from(is_there) + u64::from(random.below(50) == 0) {
                    metrics.push((slot as u32, f64::from_bits(random.next())));
                }
            }
            points.extend(metrics.iter().map(|(slot, value)| (*slot, axis, value.to_bits())));
            panel.push(axis, metrics.into_iter());
        }
        points.sort_by_key(|(slot, ..)| *slot);
        (panel, points)
    }

    fn stored(head: &Head) -> Head {
        decode(TABLE, &encode(head)).unwrap()
    }

    fn points(panel: &Panel) -> Vec<(u32, Coordinates, u64)> {
        let of = |(slot, column): (u32, &Column)| {
            let at = |n: usize| (slot, panel.axes.at(column.presence.row(n)), column.values[n].to_bits());
            (0..column.values.len()).map(at).collect::<Vec<_>>()
        };
        panel.present().flat_map(of).collect()
    }

    #[test]
    fn every_point_comes_back_from_one_piece_and_from_segments() {
        for (seed, rows, width) in [(1, 1, 1), (2, 3, 200), (3, 700, 9), (4, 2_000, 40)] {
            let (panel, expected) = panel(seed, rows, width);
            assert_eq!(points(&panel), expected, "seed {seed}");
            assert_eq!(panel.values(), expected.len());
            for effort in [Effort::Quick, Effort::Full] {
                let whole = stored(&panel.to_head(effort));
                let back = Panel::read(&whole, &mut |_| unreachable!("all is inline")).unwrap();
                assert_eq!(points(&back), expected, "seed {seed}");
                assert_eq!((back.values(), back.width()), (panel.values(), panel.width()));
                let (head, segments) = panel.to_rows(effort);
                let head = stored(&head);
                assert_eq!((head.segments(), head.values()), (segments.len(), expected.len()));
                let back = Panel::read(&head, &mut |number| Ok(segments[number].clone())).unwrap();
                assert_eq!(points(&back), expected, "seed {seed}");
                let slot = panel.width() as u32 - 1;
                if let Some(place) = head.place(slot) {
                    let bytes = place.segment.map_or(head.inline(), |number| &segments[number]);
                    let bits: Vec<u64> = place.values(bytes).unwrap().iter().map(|v| v.to_bits()).collect();
                    let known = expected.iter().filter(|(at, ..)| *at == slot).map(|(.., bits)| *bits);
                    assert_eq!(bits, known.collect::<Vec<_>>());
                }
            }
        }
    }

    #[test]
    fn one_after_the_other_is_both() {
        let ((mut first, mut expected), (second, more)) = (panel(5, 60, 12), panel(6, 45, 30));
        first.append(&second);
        expected.extend(more);
        expected.sort_by_key(|(slot, ..)| *slot);
        assert_eq!(points(&first), expected);
        assert_eq!(first.values(), expected.len());
    }

    #[test]
    fn damage_is_an_error() {
        let (panel, _) = panel(7, 300, 5);
        let whole = panel.to_head(Effort::Full);
        let read = |change: &dyn Fn(&mut Head)| {
            let mut head = whole.clone();
            change(&mut head);
            Panel::read(&head, &mut |_| Ok(Vec::new())).is_ok()
        };
        assert!(read(&|_| {}));
        assert!(!read(&|head| head.rows = 10));
        assert!(!read(&|head| head.rows = u32::MAX));
        assert!(!read(&|head| head.inline.truncate(head.inline.len() / 2)));
    }
}
