//! Reading one run as of a position: its metrics, and of each the points that count, piece by piece in order of step.

use super::panel::{self, Axes, Head};
use super::pyramid::{Kept, effective};
use super::rows::{self, Entries, Entry, Header, NAME_TABLE, RUN_TABLE, Run, Stored};
use crate::Error;
use crate::attempts::{Takeover, is_hidden};
use crate::projection::{collect, decode};
use crate::store::{Order, Store};
use cairn_schemas::{Position, RunId};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::{ControlFlow, RangeInclusive};
use std::rc::Rc;

/// Panels that a reader keeps at hand: the next metric mostly lies in the same ones.
const PANELS_KEPT: usize = 32;

/// One run as of a position.
pub(super) struct Reader<'a> {
    store: &'a dyn Store,
    pub(super) run: RunId,
    pub(super) header: Header,
    pub(super) takeovers: Vec<Takeover>,
    pub(super) as_of: u64,
    tail: Rc<Opened>,
    recent: RefCell<VecDeque<(Place, Rc<Opened>)>>,
}

/// Which panel of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Sealed(u32),
    Fragment(u32),
    Tail,
}

/// A panel with its axes read.
struct Opened {
    head: Head,
    axes: Axes,
}

impl Opened {
    fn of(head: Head) -> Result<Self, Error> {
        Ok(Self { axes: head.axes()?, head })
    }
}

/// What goes along a metric.
pub(super) trait Visitor {
    /// Whether the extremes of a panel's part, all of which counts, will do; if so they are given.
    fn takes_whole(&mut self, _entry: &Entry, _kept: &Kept<Stored>) -> bool {
        false
    }
    /// Points that follow, in order of step; there is at least one.
    fn take(&mut self, points: Vec<Stored>) -> Result<ControlFlow<()>, Error>;
}

impl<F: FnMut(Vec<Stored>) -> Result<ControlFlow<()>, Error>> Visitor for F {
    fn take(&mut self, points: Vec<Stored>) -> Result<ControlFlow<()>, Error> {
        self(points)
    }
}

impl<'a> Reader<'a> {
    /// `None` where nothing is known of the run.
    pub(super) fn of(store: &'a dyn Store, run: RunId, as_of: Option<Position>) -> Result<Option<Self>, Error> {
        let Some(row) = store.get(&rows::run(&run))? else { return Ok(None) };
        let Run { header, tail, .. } = decode(RUN_TABLE, &row)?;
        let as_of = as_of.map_or(u64::MAX, Position::get);
        let takeovers = header.takeovers(as_of);
        let tail = Rc::new(Opened::of(tail)?);
        Ok(Some(Self { store, run, header, takeovers, as_of, tail, recent: RefCell::default() }))
    }

    /// The slot of a metric.
    pub(super) fn slot(&self, metric: &str) -> Result<Option<u32>, Error> {
        let Some(number) = self.store.get(&rows::name(metric))? else { return Ok(None) };
        Ok(self.header.slot_of(decode(NAME_TABLE, &number)?))
    }

    /// Names of its metrics, by slot.
    pub(super) fn metrics(&self) -> Result<Vec<String>, Error> {
        self.header.names().map(|number| self.name(number)).collect()
    }

    /// Numbers of the names of the metrics that had been logged, by slot: slots are in the order of first mention, so they
    /// are the first ones.
    pub(super) fn logged(&self) -> Result<Vec<u32>, Error> {
        let (mut low, mut high) = (0, self.header.slots());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.has_logged(middle)? {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        Ok(self.header.names().take(low as usize).collect())
    }

    /// Whether anything of a metric had been logged.
    pub(super) fn has_logged(&self, slot: u32) -> Result<bool, Error> {
        if self.is_up_to_date() {
            return Ok(true);
        }
        let series = self.series(slot)?;
        Ok(!series.entries.is_empty() || !series.open.is_empty())
    }

    /// Whether nothing was logged later. Where that cannot be told without reading more, it is taken not to be.
    fn is_up_to_date(&self) -> bool {
        let last = self.tail.head.rows().checked_sub(1);
        self.as_of == u64::MAX || last.is_some_and(|row| self.tail.axes.at(row).position <= self.as_of)
    }

    pub(super) fn name(&self, number: u32) -> Result<String, Error> {
        let row = self.store.get(&rows::number(number))?;
        decode(NAME_TABLE, &row.ok_or_else(|| Error::row(NAME_TABLE, format!("name {number} is missing")))?)
    }

    pub(super) fn series(&self, slot: u32) -> Result<Series<'_>, Error> {
        let mut entries = Vec::new();
        if self.header.sealed > 0 {
            let rows = collect(self.store, &rows::index_of(&self.run, slot), Order::Ascending, |_, row| {
                decode::<Entries>(rows::INDEX_TABLE, row).map(Some)
            })?;
            entries = rows.into_iter().flat_map(|row| row.0).filter(|entry| entry.positions.0 <= self.as_of).collect();
        }
        let mut open = Vec::new();
        for fragment in &self.header.fragments {
            self.points(Place::Fragment(fragment.number), slot, &mut open)?;
        }
        self.points(Place::Tail, slot, &mut open)?;
        Ok(Series { reader: self, slot, entries, open })
    }

    /// Appends the points of a metric in a panel, in order of arrival.
    fn points(&self, place: Place, slot: u32, points: &mut Vec<Stored>) -> Result<(), Error> {
        let panel = self.open(place)?;
        let Some(column) = panel.head.place(slot) else { return Ok(()) };
        let segment;
        let bytes = match column.segment {
            None => panel.head.inline(),
            Some(number) => {
                segment = self.part::<Vec<u8>>(place, number as u32 + 1)?;
                &segment
            }
        };
        let (values, presence) = (column.values(bytes)?, column.presence(panel.head.rows())?);
        let at = |(n, value): (usize, f64)| Stored::of(panel.axes.at(presence.row(n)), value);
        // Positions grow within a panel.
        points.extend(values.into_iter().enumerate().map(at).take_while(|point| point.position <= self.as_of));
        Ok(())
    }

    fn open(&self, place: Place) -> Result<Rc<Opened>, Error> {
        if place == Place::Tail {
            return Ok(self.tail.clone());
        }
        if let Some((_, panel)) = self.recent.borrow().iter().find(|(known, _)| *known == place) {
            return Ok(panel.clone());
        }
        let panel = Rc::new(Opened::of(self.part(place, 0)?)?);
        let mut recent = self.recent.borrow_mut();
        if recent.len() == PANELS_KEPT {
            recent.pop_front();
        }
        recent.push_back((place, panel.clone()));
        Ok(panel)
    }

    fn part<T: bincode::Decode<()>>(&self, place: Place, part: u32) -> Result<T, Error> {
        let key = match place {
            Place::Sealed(number) => rows::sealed(&self.run, number, part),
            Place::Fragment(number) => rows::fragment(&self.run, number, part),
            Place::Tail => return Err(Error::row(panel::TABLE, "a run's own row has no parts")),
        };
        let row = self.store.get(&key)?;
        let missing = || Error::row(panel::TABLE, format!("part {part} of {place:?} of run:{} is missing", self.run));
        decode(panel::TABLE, &row.ok_or_else(missing)?)
    }

    /// Every panel whole, in order of arrival.
    pub(super) fn each_panel(&self, take: &mut dyn FnMut(panel::Panel) -> Result<(), Error>) -> Result<(), Error> {
        let sealed = (0..self.header.sealed).map(Place::Sealed);
        let fragments = self.header.fragments.iter().map(|fragment| Place::Fragment(fragment.number));
        for place in sealed.chain(fragments) {
            let head: Head = self.part(place, 0)?;
            take(panel::Panel::read(&head, &mut |segment| self.part(place, segment as u32 + 1))?)?;
        }
        take(panel::Panel::read(&self.tail.head, &mut |segment| self.part(Place::Tail, segment as u32))?)
    }
}

/// A metric of a run.
pub(super) struct Series<'a> {
    pub(super) reader: &'a Reader<'a>,
    slot: u32,
    /// In order of arrival.
    pub(super) entries: Vec<Entry>,
    /// Points that are in no sealed panel, in order of arrival.
    pub(super) open: Vec<Stored>,
}

/// What is read together, since its steps overlap.
struct Group<'a> {
    entries: Vec<&'a Entry>,
    open: Vec<Stored>,
}

impl Series<'_> {
    /// Points of all attempts, at most.
    pub(super) fn points_max(&self) -> usize {
        self.entries.iter().map(|entry| entry.points as usize).sum::<usize>() + self.open.len()
    }

    /// Shows the points that count, whose steps lie in `steps`, in order of step, until told to stop.
    pub(super) fn each(&self, steps: RangeInclusive<u64>, visitor: &mut dyn Visitor) -> Result<(), Error> {
        let takeovers = &self.reader.takeovers;
        for group in self.groups(&steps) {
            if let ([entry], true) = (&group.entries[..], group.open.is_empty())
                && let Some(kept) = &entry.kept
                && entry.attempts.0 == entry.attempts.1
                && !is_hidden(takeovers, entry.attempts.0, entry.steps.1)
                && entry.positions.1 <= self.reader.as_of
                && steps.contains(&entry.steps.0)
                && steps.contains(&entry.steps.1)
                && visitor.takes_whole(entry, kept)
            {
                continue;
            }
            let mut points = self.read(group)?;
            effective(takeovers, &mut points);
            points.retain(|point| steps.contains(&point.step));
            if !points.is_empty() && visitor.take(points)?.is_break() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// All points of all attempts, in order of step, then attempt, then arrival.
    pub(super) fn all(&self) -> Result<Vec<Stored>, Error> {
        let mut points = self.read(Group { entries: self.entries.iter().collect(), open: self.open.clone() })?;
        points.sort_by_key(|point| (point.step, point.attempt));
        Ok(points)
    }

    /// Points in order of arrival.
    fn read(&self, group: Group<'_>) -> Result<Vec<Stored>, Error> {
        let mut found = Vec::new();
        let mut panels: Vec<u32> = group.entries.iter().map(|entry| entry.panel).collect();
        panels.sort_unstable();
        panels.dedup();
        for panel in panels {
            let mut points = Vec::new();
            self.reader.points(Place::Sealed(panel), self.slot, &mut points)?;
            let pieces: Vec<_> = group.entries.iter().filter(|entry| entry.panel == panel).map(|e| e.steps).collect();
            points.retain(|point| pieces.iter().any(|(from, to)| (*from..=*to).contains(&point.step)));
            found.append(&mut points);
        }
        found.extend(group.open);
        Ok(found)
    }

    /// Everything that may have points that count in `steps`, as groups whose steps do not overlap, in their order.
    fn groups(&self, steps: &RangeInclusive<u64>) -> Vec<Group<'_>> {
        let takeovers = &self.reader.takeovers;
        let mut entries: Vec<&Entry> = self
            .entries
            .iter()
            .filter(|entry| entry.steps.0 <= *steps.end() && entry.steps.1 >= *steps.start())
            .filter(|e| e.attempts.0 != e.attempts.1 || !is_hidden(takeovers, e.attempts.0, e.steps.0))
            .collect();
        entries.sort_by_key(|entry| (entry.steps, entry.panel));
        let mut spans: Vec<((u64, u64), Group<'_>)> = Vec::new();
        for entry in entries {
            match spans.last_mut() {
                Some(((_, to), group)) if *to >= entry.steps.0 => {
                    *to = (*to).max(entry.steps.1);
                    group.entries.push(entry);
                }
                _ => spans.push((entry.steps, Group { entries: vec![entry], open: Vec::new() })),
            }
        }
        let counts = |point: &&Stored| steps.contains(&point.step) && !is_hidden(takeovers, point.attempt, point.step);
        // What lies between two spans is a group of its own.
        let mut between: Vec<Vec<Stored>> = vec![Vec::new(); spans.len() + 1];
        for point in self.open.iter().filter(counts) {
            let next = spans.partition_point(|((from, _), _)| *from <= point.step);
            match next.checked_sub(1).map(|at| &mut spans[at]) {
                Some(((_, to), group)) if point.step <= *to => group.open.push(*point),
                _ => between[next].push(*point),
            }
        }
        let mut groups = Vec::with_capacity(2 * spans.len() + 1);
        let mut spans = spans.into_iter();
        for open in between {
            if !open.is_empty() {
                groups.push(Group { entries: Vec::new(), open });
            }
            groups.extend(spans.next().map(|(_, group)| group));
        }
        groups
    }
}
