//! The grid of subjects and tasks, in which what is missing is shown as missing: failed, superseded, or never evaluated.

use super::columns::{Columns, Series};
use super::filter::{At, Filter, Sieve};
use super::query::{failed_at, standing_at};
use super::{Evals, Missing, Standing, cursor, rows};
use crate::Error;
use crate::store::Store;
use cairn_schemas::Ref;
use std::collections::{BTreeSet, HashMap, HashSet};

/// Most cells of one page.
const CELLS_MAX: usize = 20_000;

/// What a grid is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Grid {
    /// The rows, in this order, whether or not anything is known of them; where there are none, every subject that the
    /// filter takes, in order of name.
    pub subjects: Vec<Ref>,
    /// A row for each step of a subject, among them checkpoints that were saved and never evaluated.
    pub by_step: bool,
    /// Which tasks, metrics and slices are columns, and which results and subjects are looked at.
    pub filter: Filter,
    pub at: At,
}

/// A page of a grid.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Matrix {
    /// In order of suite, task, metric and slice; the same on all pages.
    pub columns: Vec<Column>,
    pub rows: Vec<GridRow>,
    /// Rows of the whole grid.
    pub rows_total: u64,
    pub has_more: bool,
}

/// What was measured.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Column {
    pub suite: String,
    pub task: String,
    /// Absent, as is the slice, where nothing is known of a task but that its evaluations failed.
    pub metric: Option<String>,
    pub slice: Option<String>,
    /// Whether the values on this page are of one protocol. Unlike ones are shown beside each other, not compared.
    pub is_comparable: bool,
}

/// A subject, or one checkpoint of it, and its cell in each column.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct GridRow {
    pub subject: Ref,
    pub step: Option<u64>,
    pub cells: Vec<Cell>,
    #[serde(skip)]
    pub cursor: String,
}

/// What is known of a subject in a column.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Cell {
    /// The latest result; that of the last step, where a row holds them all.
    Value(Box<Standing>),
    /// There is no result that counts, and the last attempt at one ended by an error.
    Failed(Box<Missing>),
    /// There was a result, which is not to be relied on.
    Superseded(Box<Standing>),
    NeverEvaluated,
}

/// A row's subject, as number, and step.
type Row = (u32, Option<u64>);

impl Evals {
    /// The grid of subjects and tasks, in pages of rows.
    pub fn matrix(&self, grid: &Grid, after: Option<&str>, first: usize) -> Result<Matrix, Error> {
        grid.filter.check()?;
        self.read(|columns, store| {
            let (as_of, from) = match after {
                None => (grid.at.as_of.or(columns.last), 0),
                Some(text) => {
                    let (as_of, [row]) = cursor::decode(grid, text)?;
                    (as_of, row as usize + 1)
                }
            };
            let at = At { as_of, ..grid.at };
            grid.filter.check_names(columns)?;
            let plan = Plan::of(columns, grid, at);
            let all = plan.rows(columns);
            let page: Vec<&Wanted> = all.iter().skip(from).take(first).collect();
            if page.len() * plan.columns.len() > CELLS_MAX {
                let why = format!(
                    "{} rows of {} columns are more than {CELLS_MAX} cells; ask for fewer rows, or name suite, task or metric",
                    page.len(),
                    plan.columns.len()
                );
                return Err(Error::question("the grid", why));
            }
            let cells = plan.cells(columns, &page);
            let mut columns_shown: Vec<Column> = plan.columns.iter().map(|column| column.shown.clone()).collect();
            let mut rows = Vec::with_capacity(page.len());
            let mut protocols: Vec<Option<cairn_schemas::Blake3>> = vec![None; columns_shown.len()];
            for (number, (wanted, found)) in page.iter().zip(cells).enumerate() {
                let cells = found.iter().zip(&plan.columns).map(|(found, column)| found.cell(column, store, &at));
                let cells: Vec<Cell> = cells.collect::<Result<_, _>>()?;
                for ((cell, protocol), column) in cells.iter().zip(&mut protocols).zip(&mut columns_shown) {
                    if let Cell::Value(standing) = cell {
                        column.is_comparable &= *protocol.get_or_insert(standing.protocol_digest) == standing.protocol_digest;
                    }
                }
                let cursor = cursor::encode(grid, as_of, [(from + number) as u64]);
                rows.push(GridRow { subject: wanted.subject.clone(), step: wanted.step, cells, cursor });
            }
            let (rows_total, has_more) = (all.len() as u64, from + page.len() < all.len());
            Ok(Matrix { columns: columns_shown, rows, rows_total, has_more })
        })
    }
}

/// A row that the grid is to have; its number where anything is known of the subject.
struct Wanted {
    subject: Ref,
    number: Option<u32>,
    step: Option<u64>,
}

/// A column and where its values come from.
struct Source<'a> {
    shown: Column,
    suite: u32,
    task: u32,
    series: Option<&'a Series>,
}

/// What a grid is made of.
struct Plan<'a> {
    grid: &'a Grid,
    at: At,
    columns: Vec<Source<'a>>,
}

impl<'a> Plan<'a> {
    fn of(columns: &'a Columns, grid: &'a Grid, at: At) -> Self {
        let sieve = Sieve::new(columns, &grid.filter);
        let text = |number: u32| columns.texts.text(number).to_owned();
        let chosen = columns.series.iter().filter(|series| series.recorded_by(&at) > 0 && sieve.takes_series(series));
        let mut sources: Vec<Source<'_>> = chosen
            .map(|series| Source {
                shown: Column {
                    suite: text(series.key.suite),
                    task: text(series.key.task),
                    metric: Some(text(series.key.metric)),
                    slice: Some(text(series.key.slice)),
                    is_comparable: true,
                },
                suite: series.key.suite,
                task: series.key.task,
                series: Some(series),
            })
            .collect();
        let measured: HashSet<(u32, u32)> = sources.iter().map(|source| (source.suite, source.task)).collect();
        let failed: BTreeSet<(u32, u32)> = columns
            .failures
            .iter()
            .filter(|failure| at.holds(failure.position, failure.occurred))
            .map(|failure| (failure.suite, failure.task))
            .filter(|key| !measured.contains(key) && sieve.takes_task(key.0, key.1))
            .collect();
        sources.extend(failed.into_iter().map(|(suite, task)| Source {
            shown: Column { suite: text(suite), task: text(task), metric: None, slice: None, is_comparable: true },
            suite,
            task,
            series: None,
        }));
        sources.sort_by(|a, b| a.shown.cmp(&b.shown));
        Self { grid, at, columns: sources }
    }

    /// Every row of the grid, in order.
    fn rows(&self, columns: &Columns) -> Vec<Wanted> {
        let mut sieve = Sieve::new(columns, &self.grid.filter);
        let mut known: HashSet<Row> = HashSet::new();
        let named: HashSet<u32> =
            self.grid.subjects.iter().filter_map(|subject| columns.subjects.find(&subject.to_string())).collect();
        let is_named = |subject: u32| self.grid.subjects.is_empty() || named.contains(&subject);
        let mut add = |subject: u32, step: Option<u64>| {
            let step = step.filter(|_| self.grid.by_step);
            known.insert((subject, step));
        };
        for source in &self.columns {
            let Some(series) = source.series else { continue };
            for index in 0..series.recorded_by(&self.at) {
                let place = series.place_of(index);
                if is_named(place.subject)
                    && self.at.holds(series.position[index], series.occurred[index])
                    && sieve.takes_place(place)
                {
                    add(place.subject, place.step);
                }
            }
        }
        let tasks: HashSet<(u32, u32)> = self.columns.iter().map(|column| (column.suite, column.task)).collect();
        for failure in &columns.failures {
            if tasks.contains(&(failure.suite, failure.task))
                && is_named(failure.subject)
                && self.at.holds(failure.position, failure.occurred)
                && sieve.takes_place_at(failure.subject, None)
            {
                add(failure.subject, None);
            }
        }
        if self.grid.by_step {
            for (&run, steps) in &columns.checkpoints {
                for (&step, &(position, occurred)) in steps {
                    if is_named(run) && self.at.holds(position, occurred) && sieve.takes_place_at(run, Some(step)) {
                        add(run, Some(step));
                    }
                }
            }
        }
        self.in_order(columns, known)
    }

    fn in_order(&self, columns: &Columns, known: HashSet<Row>) -> Vec<Wanted> {
        if self.grid.subjects.is_empty() {
            let parsed = known.into_iter().filter_map(|(number, step)| {
                let subject = rows::parse(columns.subjects.text(number)).ok()?;
                Some(Wanted { subject, number: Some(number), step })
            });
            let mut all: Vec<Wanted> = parsed.collect();
            all.sort_by(|a, b| (&a.subject, a.step).cmp(&(&b.subject, b.step)));
            return all;
        }
        let mut steps: HashMap<u32, BTreeSet<Option<u64>>> = HashMap::new();
        known.into_iter().for_each(|(number, step)| {
            steps.entry(number).or_default().insert(step);
        });
        let mut all = Vec::new();
        let mut seen = HashSet::new();
        for subject in self.grid.subjects.iter().filter(|subject| seen.insert(*subject)) {
            let number = columns.subjects.find(&subject.to_string());
            let of_subject = number.and_then(|number| steps.remove(&number)).unwrap_or_else(|| BTreeSet::from([None]));
            all.extend(of_subject.into_iter().map(|step| Wanted { subject: subject.clone(), number, step }));
        }
        all
    }

    /// What is known of each row in each column.
    fn cells(&self, columns: &Columns, page: &[&Wanted]) -> Vec<Vec<Found>> {
        let mut found = vec![vec![Found::default(); self.columns.len()]; page.len()];
        let numbered = page.iter().enumerate().filter_map(|(row, wanted)| Some(((wanted.number?, wanted.step), row)));
        let rows: HashMap<Row, usize> = numbered.collect();
        let shown: HashSet<u32> = rows.keys().map(|(subject, _)| *subject).collect();
        let row_of =
            |subject: u32, step: Option<u64>| rows.get(&(subject, step.filter(|_| self.grid.by_step))).copied();
        let mut sieve = Sieve::new(columns, &self.grid.filter);
        for (number, source) in self.columns.iter().enumerate() {
            let Some(series) = source.series else { continue };
            let groups = sieve.groups(series);
            for index in 0..series.recorded_by(&self.at) {
                let place = series.place_of(index);
                let (position, occurred) = (series.position[index], series.occurred[index]);
                if !shown.contains(&place.subject)
                    || !groups[place.group as usize]
                    || !self.at.holds(position, occurred)
                    || !sieve.takes_place(place)
                    || !sieve.takes_dataset(series.dataset[index])
                {
                    continue;
                }
                let Some(row) = row_of(place.subject, place.step) else { continue };
                let cell = &mut found[row][number];
                if columns.counts(series, index, &self.at) {
                    let time = self.at.valid_at.map_or(i64::MIN, |_| occurred);
                    cell.value = cell.value.max(Some((place.step, time, position, series.ordinal(index))));
                } else {
                    cell.superseded = cell.superseded.max(Some((position, series.ordinal(index))));
                }
            }
        }
        for failure in &columns.failures {
            let Some(row) = row_of(failure.subject, None) else { continue };
            if !self.at.holds(failure.position, failure.occurred) {
                continue;
            }
            let of_task = |source: &&Source<'_>| (source.suite, source.task) == (failure.suite, failure.task);
            for (cell, _) in found[row].iter_mut().zip(&self.columns).filter(|(_, source)| of_task(source)) {
                cell.failed = cell.failed.max(Some(failure.position));
            }
        }
        found
    }
}

/// What is known of a cell, the latest of each kind.
#[derive(Clone, Default)]
struct Found {
    /// Step, occurred time where that is asked for, position and ordinal.
    value: Option<(Option<u64>, i64, u64, u32)>,
    superseded: Option<(u64, u32)>,
    failed: Option<u64>,
}

impl Found {
    fn cell(&self, column: &Source<'_>, store: &dyn Store, at: &At) -> Result<Cell, Error> {
        if let Some((.., position, ordinal)) = self.value {
            return Ok(Cell::Value(Box::new(standing_at(store, position, ordinal, at)?)));
        }
        if let Some(failed) =
            self.failed.filter(|failed| self.superseded.is_none_or(|(position, _)| position < *failed))
        {
            let missing = rows::missing_of(failed_at(store, failed)?)?;
            debug_assert_eq!(missing.task, column.shown.task);
            return Ok(Cell::Failed(Box::new(missing)));
        }
        match self.superseded {
            Some((position, ordinal)) => Ok(Cell::Superseded(Box::new(standing_at(store, position, ordinal, at)?))),
            None => Ok(Cell::NeverEvaluated),
        }
    }
}
