//! What is kept in memory of all results: columns for each metric of a task, in order of position, so that a question
//! over a million of them is a scan. Texts, units and errors stay in the rows.

use super::At;
use super::rows::{self, Corrected, Evaluated, Failed};
use crate::Error;
use crate::key::Fields;
use crate::projection::{View, decode};
use crate::store::{Changes, Order, Store, scan_prefix};
use cairn_schemas::Position;
use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;

/// In the column of datasets: none.
pub(super) const NONE: u32 = u32::MAX;
/// In the column of supersessions: none.
const NEVER: u64 = u64::MAX;

/// What the view is made of.
const TABLES: [u8; 4] = [rows::RESULT, rows::CORRECTED, rows::FAILED, rows::CHECKPOINT];

/// Texts and their numbers, in order of first mention.
#[derive(Default)]
pub(super) struct Names {
    texts: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, u32>,
}

impl Names {
    fn number(&mut self, text: &str) -> u32 {
        if let Some(&number) = self.numbers.get(text) {
            return number;
        }
        let (number, text) = (self.texts.len() as u32, Arc::<str>::from(text));
        self.texts.push(text.clone());
        self.numbers.insert(text, number);
        number
    }
    pub(super) fn find(&self, text: &str) -> Option<u32> {
        self.numbers.get(text).copied()
    }
    pub(super) fn text(&self, number: u32) -> &str {
        &self.texts[number as usize]
    }
    pub(super) fn len(&self) -> usize {
        self.texts.len()
    }
}

/// Suite, task, metric and slice, as numbers of texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct SeriesKey {
    pub(super) suite: u32,
    pub(super) task: u32,
    pub(super) metric: u32,
    pub(super) slice: u32,
}

/// Where a result stands on a board: a later one at the same place takes it over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) subject: u32,
    /// Number of the protocol in its series.
    pub(super) group: u32,
    pub(super) step: Option<u64>,
}

/// All results of one series. The columns are of one length and in order of position.
pub(super) struct Series {
    pub(super) key: SeriesKey,
    pub(super) position: Vec<u64>,
    /// The first supersession's position.
    superseded_at: Vec<u64>,
    pub(super) occurred: Vec<i64>,
    pub(super) value: Vec<f64>,
    pub(super) place: Vec<u32>,
    pub(super) dataset: Vec<u32>,
    /// Number of the metric in its evaluation, and whether higher is better.
    ordinal: Vec<(u32, bool)>,
    pub(super) places: Vec<Place>,
    place_numbers: HashMap<Place, u32>,
    /// Protocols' digests by group.
    pub(super) groups: Vec<[u8; 32]>,
    group_numbers: HashMap<[u8; 32], u32>,
}

impl Series {
    fn new(key: SeriesKey) -> Self {
        Self {
            key,
            position: Vec::new(),
            superseded_at: Vec::new(),
            occurred: Vec::new(),
            value: Vec::new(),
            place: Vec::new(),
            dataset: Vec::new(),
            ordinal: Vec::new(),
            places: Vec::new(),
            place_numbers: HashMap::new(),
            groups: Vec::new(),
            group_numbers: HashMap::new(),
        }
    }
    pub(super) fn len(&self) -> usize {
        self.position.len()
    }
    pub(super) fn ordinal(&self, index: usize) -> u32 {
        self.ordinal[index].0
    }
    pub(super) fn higher_is_better(&self, index: usize) -> bool {
        self.ordinal[index].1
    }
    pub(super) fn place_of(&self, index: usize) -> &Place {
        &self.places[self.place[index] as usize]
    }
    /// Results that were recorded by then.
    pub(super) fn recorded_by(&self, at: &At) -> usize {
        at.as_of.map_or(self.len(), |as_of| self.position.partition_point(|position| *position <= as_of.get()))
    }
    fn group(&mut self, protocol: [u8; 32]) -> u32 {
        *self.group_numbers.entry(protocol).or_insert_with(|| {
            self.groups.push(protocol);
            self.groups.len() as u32 - 1
        })
    }
    fn place(&mut self, place: Place) -> u32 {
        *self.place_numbers.entry(place).or_insert_with(|| {
            self.places.push(place);
            self.places.len() as u32 - 1
        })
    }
}

/// An evaluation that ended by an error.
pub(super) struct Failure {
    pub(super) position: u64,
    pub(super) occurred: i64,
    pub(super) subject: u32,
    pub(super) suite: u32,
    pub(super) task: u32,
}

/// The whole view.
#[derive(Default)]
pub(super) struct Columns {
    /// Suites, tasks, metrics, slices.
    pub(super) texts: Names,
    pub(super) subjects: Names,
    pub(super) datasets: Names,
    pub(super) series: Vec<Series>,
    series_numbers: HashMap<SeriesKey, u32>,
    /// Series of a task and metric.
    of_metric: HashMap<(u32, u32), Vec<u32>>,
    /// Position of each event with results, and where its entries begin.
    events: Vec<(u64, u32)>,
    /// Series and index of each result, by event.
    entries: Vec<(u32, u32)>,
    /// Supersessions (position, occurred) by the position of what they are of.
    superseded: HashMap<u64, Arc<[(u64, i64)]>>,
    pub(super) failures: Vec<Failure>,
    /// Steps of a run with a checkpoint: position and occurred time.
    pub(super) checkpoints: HashMap<u32, BTreeMap<u64, (u64, i64)>>,
    /// The last position of them all.
    pub(super) last: Option<Position>,
}

/// Reads all rows once.
pub(super) fn load(store: &dyn Store) -> Result<Box<dyn View>, Error> {
    let mut columns = Columns::default();
    for table in TABLES {
        scan_prefix(store, &rows::table(table), Order::Ascending, &mut |key, row| {
            columns.add(key, row)?;
            Ok(ControlFlow::Continue(()))
        })?;
    }
    Ok(Box::new(columns))
}

impl View for Columns {
    fn take(&mut self, changes: &Changes) -> Result<(), Error> {
        // In the order of a scan: results come before what corrects them, and each table in order of position.
        for table in TABLES {
            for (key, row) in changes.under(&rows::table(table)) {
                let row = row.ok_or_else(|| Error::row("evals", "a row that stays was deleted"))?;
                self.add(key, row)?;
            }
        }
        Ok(())
    }
}

impl Columns {
    fn add(&mut self, key: &[u8], row: &[u8]) -> Result<(), Error> {
        match key.first().copied() {
            Some(rows::RESULT) => self.result(&decode("evals.result", row)?),
            Some(rows::CORRECTED) => self.corrected(decode("evals.corrected", row)?),
            Some(rows::FAILED) => self.failed(&decode("evals.failed", row)?),
            Some(rows::CHECKPOINT) => {
                let mut fields = Fields::of("evals.checkpoint", key);
                let (run, step) = (self.subjects.number(&fields.text()?), fields.u64()?);
                let at: (u64, i64) = decode("evals.checkpoint", row)?;
                self.reach(at.0);
                self.checkpoints.entry(run).or_default().insert(step, at);
            }
            _ => {}
        }
        Ok(())
    }

    fn result(&mut self, row: &Evaluated) {
        let subject = self.subjects.number(&row.subject);
        let [suite, task, slice] = [&row.suite, &row.task, &row.slice].map(|text| self.texts.number(text));
        let dataset = row.dataset.as_ref().map_or(NONE, |dataset| self.datasets.number(dataset));
        self.events.push((row.when.position, self.entries.len() as u32));
        self.reach(row.when.position);
        for (ordinal, measure) in (0..).zip(&row.measures) {
            let key = SeriesKey { suite, task, metric: self.texts.number(&measure.metric), slice };
            let number = self.series_of(key);
            let series = &mut self.series[number as usize];
            let group = series.group(row.protocol_digest);
            let place = series.place(Place { subject, group, step: row.step });
            self.entries.push((number, series.len() as u32));
            series.position.push(row.when.position);
            series.superseded_at.push(NEVER);
            series.occurred.push(row.when.occurred_micros);
            series.value.push(measure.value);
            series.place.push(place);
            series.dataset.push(dataset);
            series.ordinal.push((ordinal, measure.higher_is_better));
        }
    }

    fn reach(&mut self, position: u64) {
        self.last = self.last.max(Position::new(position));
    }

    fn series_of(&mut self, key: SeriesKey) -> u32 {
        *self.series_numbers.entry(key).or_insert_with(|| {
            let number = self.series.len() as u32;
            self.series.push(Series::new(key));
            self.of_metric.entry((key.task, key.metric)).or_default().push(number);
            number
        })
    }

    fn corrected(&mut self, row: Corrected) {
        let Some(first) = row.supersessions.first().map(|(position, _)| *position) else { return };
        row.supersessions.iter().for_each(|(position, _)| self.reach(*position));
        let supersessions: Arc<[(u64, i64)]> = row.supersessions.into();
        for position in row.results {
            let Ok(event) = self.events.binary_search_by_key(&position, |(position, _)| *position) else { continue };
            let from = self.events[event].1 as usize;
            let to = self.events.get(event + 1).map_or(self.entries.len(), |(_, from)| *from as usize);
            for &(series, index) in &self.entries[from..to] {
                self.series[series as usize].superseded_at[index as usize] = first;
            }
            self.superseded.insert(position, supersessions.clone());
        }
    }

    fn failed(&mut self, row: &Failed) {
        self.reach(row.when.position);
        self.failures.push(Failure {
            position: row.when.position,
            occurred: row.when.occurred_micros,
            subject: self.subjects.number(&row.subject),
            suite: self.texts.number(&row.suite),
            task: self.texts.number(&row.task),
        });
    }

    /// The series of a metric of a task.
    pub(super) fn of_metric(&self, task: &str, metric: &str) -> impl Iterator<Item = &Series> {
        let key = self.texts.find(task).zip(self.texts.find(metric));
        let numbers = key.and_then(|key| self.of_metric.get(&key));
        numbers.into_iter().flatten().map(|number| &self.series[*number as usize])
    }

    /// Whether a result was recorded, measured, and not yet superseded then.
    pub(super) fn counts(&self, series: &Series, index: usize, at: &At) -> bool {
        let as_of = at.as_of.map_or(NEVER - 1, |as_of| as_of.get());
        if series.position[index] > as_of {
            return false;
        }
        match at.valid_at {
            None => series.superseded_at[index] > as_of,
            Some(time) => {
                series.occurred[index] <= time.as_micros()
                    && (series.superseded_at[index] > as_of || !self.is_superseded(series.position[index], at))
            }
        }
    }

    /// Whether some supersession of what stands at `position` is known then.
    pub(super) fn is_superseded(&self, position: u64, at: &At) -> bool {
        let all = self.superseded.get(&position).map(|all| &**all).unwrap_or_default();
        all.iter().any(|&(position, occurred)| at.holds(position, occurred))
    }

    /// Events with results after a position, in order: the position, and the series and index of each result.
    pub(super) fn events_from(&self, position: u64) -> impl Iterator<Item = (u64, &[(u32, u32)])> {
        let first = self.events.partition_point(|(known, _)| *known < position);
        let end = |event: usize| self.events.get(event + 1).map_or(self.entries.len(), |(_, from)| *from as usize);
        (first..self.events.len()).map(move |event| {
            let (position, from) = self.events[event];
            (position, &self.entries[from as usize..end(event)])
        })
    }
}
