//! What is kept in memory of each list: its entities as numbered rows, and a typed column for each path, so that
//! filters, orders and counts run at memory speed. A list is loaded when it is first asked for; grows with it.

mod bits;
mod cells;
mod column;
mod flatten;
mod pool;

pub(super) use bits::Bits;
pub(super) use column::{Cell, Column, SortKey};
pub(super) use flatten::{flatten, flatten_progress};

use foldhash::fast::RandomState;
use pool::Pool;
use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

/// Paths that every list has, whether or not one of its entities has something there.
const COMMON: [&str; 10] = [
    "ref",
    "name",
    "state",
    "project",
    "owner",
    "notes",
    "created_at",
    "updated_at",
    "created_position",
    "updated_position",
];
/// And those of runs.
const OF_RUNS: [&str; 16] = [
    "trains",
    "step_position",
    "kind",
    "job",
    "method",
    "pipeline",
    "attempt",
    "step",
    "tokens",
    "seed",
    "dataset",
    "base_model",
    "parent",
    "error",
    "duration_ms",
    "steps",
];
/// Paths that are named where one is unknown.
const NEAREST: usize = 3;

/// The entities of one kind.
#[derive(Debug)]
pub(super) struct Table {
    kind: &'static str,
    refs: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, u32, RandomState>,
    columns: Vec<Column>,
    paths: BTreeMap<Arc<str>, u32>,
    /// The path of each column.
    names: Vec<Arc<str>>,
    /// Columns below this are known though no row has anything there.
    fixed: u32,
    /// The columns of the row before, in the order in which they were given: the next row's are the same, mostly. Of
    /// entities, and of steps.
    sequences: [Vec<u32>; 2],
    /// Which columns a row has, of those that come from its entity: most rows share theirs with many.
    shapes: Pool<Shape>,
    shape_of: Vec<Option<u32>>,
}

/// Numbers of columns, sorted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Shape(Arc<[u32]>);

impl std::borrow::Borrow<[u32]> for Shape {
    fn borrow(&self) -> &[u32] {
        &self.0
    }
}
impl From<&[u32]> for Shape {
    fn from(columns: &[u32]) -> Self {
        Self(columns.into())
    }
}

/// What stands at a path of some list.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct PathInfo {
    pub path: String,
    /// Entities with a number there, and with a text or a truth value.
    pub numbers: u64,
    pub others: u64,
}

impl Table {
    pub(super) fn new(kind: &'static str) -> Self {
        let mut table = Self {
            kind,
            refs: Vec::new(),
            numbers: HashMap::default(),
            columns: Vec::new(),
            paths: BTreeMap::new(),
            names: Vec::new(),
            fixed: 0,
            sequences: Default::default(),
            shapes: Pool::new(),
            shape_of: Vec::new(),
        };
        let of_runs = if kind == "run" { &OF_RUNS[..] } else { &[] };
        for path in COMMON.iter().chain(of_runs) {
            table.number_of(path);
        }
        table.fixed = table.columns.len() as u32;
        table
    }

    pub(super) fn kind(&self) -> &'static str {
        self.kind
    }
    pub(super) fn rows(&self) -> usize {
        self.refs.len()
    }
    pub(super) fn reference(&self, row: u32) -> &Arc<str> {
        &self.refs[row as usize]
    }
    pub(super) fn row(&self, reference: &str) -> Option<u32> {
        self.numbers.get(reference).copied()
    }

    /// Whether the numbers at a path are microseconds.
    pub(super) fn is_time(path: &str) -> bool {
        matches!(path, "created_at" | "updated_at")
    }

    /// The column of a path; else what is wrong with the path.
    pub(super) fn column(&self, path: &str) -> Result<&Column, String> {
        self.known(path).ok_or_else(|| {
            if let Some((one, _)) = self.within(path).next() {
                return format!("`{path}` has values in it, not one of its own; name one of them, such as `{one}`");
            }
            let known = self.paths.iter().filter(|(_, number)| self.is_known(**number));
            let nearest = nearest(path, known.map(|(path, _)| path));
            format!("no {} has `{path}`; the nearest paths are {}", self.kind, nearest.join(", "))
        })
    }

    /// The column of a path that some row has something at.
    pub(super) fn known(&self, path: &str) -> Option<&Column> {
        let number = self.paths.get(path).filter(|number| self.is_known(**number))?;
        Some(&self.columns[*number as usize])
    }

    /// Paths, and their columns, that lead on from a path: those of the members of an object, or items of a list.
    pub(super) fn within<'t>(&'t self, path: &str) -> impl Iterator<Item = (&'t str, &'t Column)> {
        let prefix = format!("{path}.");
        let from = (Bound::Excluded(prefix.as_str()), Bound::Unbounded);
        let behind = self.paths.range::<str, _>(from).take_while(move |(path, _)| path.starts_with(&prefix));
        behind
            .filter(|(_, number)| self.is_known(**number))
            .map(|(path, number)| (&**path, &self.columns[*number as usize]))
    }

    /// Where anything stands at a path or further on; `None` where nothing does in any row.
    pub(super) fn present(&self, path: &str, known: &mut Bits) -> Option<()> {
        let columns = self.known(path).into_iter().chain(self.within(path).map(|(_, column)| column));
        columns.map(|column| column.present(known)).reduce(|(), ()| ())
    }

    fn is_known(&self, column: u32) -> bool {
        column < self.fixed || self.columns[column as usize].counts() != (0, 0)
    }

    /// These paths' columns in another table, beside the numbers of their own here.
    pub(super) fn beside<'o>(&mut self, other: &'o Table, paths: &[&str]) -> Vec<(u32, &'o Column)> {
        let known = paths.iter().filter_map(|path| Some((path, other.known(path)?)));
        known.map(|(path, column)| (self.number_of(path), column)).collect()
    }

    /// Puts what a row has in columns that are [beside](Self::beside) those here.
    pub(super) fn copy(&mut self, row: u32, columns: &[(u32, &Column)]) {
        for (number, column) in columns {
            if let Some(cell) = column.get(row) {
                self.columns[*number as usize].set(row, Some(cell));
            }
        }
    }

    /// Knows these paths, as far as another table knows them or they lie in something. Before there are rows.
    pub(super) fn know(&mut self, paths: &[&str], other: &Table) {
        // A tag or setting that all have lost since was known then: an answer about the past must not become an error.
        for path in paths.iter().filter(|path| path.contains('.') || other.known(path).is_some()) {
            self.number_of(path);
        }
        self.fixed = self.columns.len() as u32;
    }

    pub(super) fn paths(&self) -> Vec<PathInfo> {
        let one = |(path, number): (&Arc<str>, &u32)| {
            let (numbers, others) = self.columns[*number as usize].counts();
            PathInfo { path: path.to_string(), numbers: numbers as u64, others: others as u64 }
        };
        self.paths.iter().filter(|(_, number)| self.is_known(**number)).map(one).collect()
    }

    /// Appends a row that has nothing yet.
    pub(super) fn push(&mut self, reference: impl Into<Arc<str>>) -> u32 {
        let (row, reference) = (self.refs.len() as u32, reference.into());
        self.refs.push(reference.clone());
        self.shape_of.push(None);
        self.numbers.insert(reference, row);
        row
    }

    /// Puts what `flatten` gives in the place of what the row had of its entity.
    pub(super) fn set(&mut self, row: u32, flatten: impl FnOnce(&mut dyn FnMut(&str, Cell<'_>))) {
        let mut columns = self.fill(row, 0, flatten);
        columns.sort_unstable();
        columns.dedup();
        let (shape, _) = self.shapes.take(&columns[..]);
        let Some(before) = self.shape_of[row as usize].replace(shape) else { return };
        if before != shape
            && let Some(Shape(had)) = self.shapes.key(before).cloned()
        {
            for number in had.iter().filter(|number| columns.binary_search(number).is_err()) {
                self.columns[*number as usize].set(row, None);
            }
        }
        self.shapes.release(before);
    }

    /// Puts values beside those of the entity; what is not given stays.
    pub(super) fn add(&mut self, row: u32, flatten: impl FnOnce(&mut dyn FnMut(&str, Cell<'_>))) {
        self.fill(row, 1, flatten);
    }

    /// Puts values, and gives the columns that they went to.
    fn fill(&mut self, row: u32, kind: usize, flatten: impl FnOnce(&mut dyn FnMut(&str, Cell<'_>))) -> Vec<u32> {
        let before = std::mem::take(&mut self.sequences[kind]);
        let mut columns = Vec::with_capacity(before.len());
        flatten(&mut |path, cell| {
            let expected = before.get(columns.len()).filter(|number| *self.names[**number as usize] == *path);
            let number = expected.copied().unwrap_or_else(|| self.number_of(path));
            self.columns[number as usize].set(row, Some(cell));
            columns.push(number);
        });
        self.sequences[kind].clone_from(&columns);
        columns
    }

    fn number_of(&mut self, path: &str) -> u32 {
        if let Some(number) = self.paths.get(path) {
            return *number;
        }
        let number = self.columns.len() as u32;
        let path: Arc<str> = path.into();
        self.columns.push(Column::new());
        self.names.push(path.clone());
        self.paths.insert(path, number);
        number
    }
}

/// The known paths that are most like one that is not known.
fn nearest<'a>(path: &str, known: impl Iterator<Item = &'a Arc<str>>) -> Vec<String> {
    let last = |path: &str| path.rsplit('.').next().unwrap_or_default().to_lowercase();
    let (wanted, end) = (path.to_lowercase(), last(path));
    let mut known: Vec<(usize, &str)> = known
        .map(|known| {
            // The same last part in another place is near, as `lr` is to `config.optimizer.lr`.
            let whole = distance(&wanted, &known.to_lowercase());
            (whole.min(1 + distance(&end, &last(known)) * 2), &**known)
        })
        .collect();
    known.sort();
    known.into_iter().take(NEAREST).map(|(_, path)| format!("`{path}`")).collect()
}

/// Levenshtein's distance, over bytes: only the order of distances counts.
fn distance(one: &str, other: &str) -> usize {
    let other = other.as_bytes();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}
