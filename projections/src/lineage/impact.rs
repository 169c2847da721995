//! Impact: everything that something went into, counted by kind and listed in pages.

use super::Lineage;
use super::code::{CODE_CHARS_MIN, is_code};
use super::names::{Cursors, Kinds, Names, position};
use super::path::Seen;
use super::query::PAGE_MAX;
use super::rows::{self, KINDS, Place, RUN_RANK, Way, rank};
use super::view::{Arc, AsOf, GraphView};
use crate::Error;
use crate::projection::decode;
use crate::store::{Order, Store, scan_prefix};
use cairn_schemas::{Position, Ref};
use std::ops::ControlFlow;

/// Most runs of one commit that are followed.
const RUNS_MAX: usize = 100_000;

/// What to follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// Things: a document, the documents of a person, a dataset version, …
    Things(Vec<Ref>),
    /// Runs whose code names this commit or digest, or one that begins so: at least 7 hexadecimal digits.
    Commit(String),
}

/// What to ask.
#[derive(Clone, Debug)]
pub struct ImpactQuery {
    pub start: Start,
    /// Edges to follow at most.
    pub depth: u32,
    /// Kinds to count and to list; none named: all. Things of other kinds are followed too.
    pub kinds: Vec<String>,
    /// What was recorded up to here; `None`: all.
    pub as_of: Option<Position>,
    /// An earlier page's `next`.
    pub after: Option<String>,
    /// Things to list, at most 10,000.
    pub first: usize,
}

impl ImpactQuery {
    /// All that `start` went into.
    pub fn of(start: Start) -> Self {
        Self { start, depth: u32::MAX, kinds: Vec::new(), as_of: None, after: None, first: 100 }
    }
}

/// Something that was reached.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Touched {
    pub reference: Ref,
    pub kind: &'static str,
    /// Edges from the nearest start; a commit's runs are 1 away from it.
    pub depth: u32,
}

/// Everything that something went into.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Impact {
    /// The position that this is as of; `None` where nothing was recorded by then.
    pub position: Option<Position>,
    /// Those of the things asked for that the graph knows: all the others went into nothing.
    pub starts: u64,
    /// How many things of each kind were reached, without the starts, in the order of kinds.
    pub counts: Vec<(&'static str, u64)>,
    pub total: u64,
    /// By depth.
    pub items: Vec<Touched>,
    /// What to give as `after` for the next page; `None` at the end.
    pub next: Option<String>,
    /// Whether anything lies beyond the depth.
    pub truncated: bool,
    #[serde(skip)]
    pub cursors: Cursors,
}

impl Lineage {
    /// What `query.start` went into. The pages after the first are of the same position.
    pub fn impact(&self, query: &ImpactQuery) -> Result<Impact, Error> {
        let kinds = Kinds::named(&query.kinds)?;
        let question = format!("impact {:?} {} {kinds:?} {:?}", query.start, query.depth, query.as_of);
        let cursors = Cursors::of(&question, query.after.as_deref(), query.as_of, self.now())?;
        self.0.read_view(|view: &GraphView, store| {
            let (mut names, as_of) = (Names::of(store), cursors.as_of());
            let mut closure = Closure::new(view, as_of);
            let starts = match &query.start {
                Start::Things(things) => {
                    for thing in things {
                        if let Some(number) = names.number(thing, as_of)? {
                            closure.start(Place::new(number, rank(thing)));
                        }
                    }
                    closure.end_of_level();
                    closure.reached.len()
                }
                Start::Commit(commit) => {
                    closure.end_of_level();
                    for run in runs_of(store, commit, as_of)? {
                        closure.start(Place::new(run, RUN_RANK));
                    }
                    closure.end_of_level();
                    0
                }
            };
            closure.go(query.depth);
            let shown = |place: &&Place| kinds.has(place.rank());
            let mut counts = [0u64; 8];
            closure.reached[starts..].iter().filter(shown).for_each(|place| counts[place.rank() as usize] += 1);
            let total = counts.iter().sum();
            let first = query.first.min(PAGE_MAX);
            let page = closure.reached.iter().enumerate().skip(starts).filter(|(_, place)| shown(place));
            let mut items = Vec::new();
            for (at, place) in page.skip(cursors.done()).take(first) {
                let reference = names.get(place.number())?;
                items.push(Touched { kind: reference.kind(), reference, depth: closure.depth(at) });
            }
            Ok(Impact {
                position: cursors.position(),
                starts: starts as u64,
                counts: KINDS.into_iter().zip(counts).filter(|(_, count)| *count > 0).collect(),
                total,
                next: cursors.next(items.len(), total),
                items,
                cursors,
                truncated: closure.is_cut,
            })
        })
    }

    /// The runs whose code names a commit or digest that begins so, each with the first event that says it, in order.
    pub fn runs_of_code(&self, commit: &str, as_of: Option<Position>) -> Result<Vec<(Ref, Position)>, Error> {
        let as_of = super::names::as_of(as_of);
        self.0.read(|store| {
            let mut names = Names::of(store);
            let runs = code_runs(store, commit, as_of)?.into_iter();
            runs.map(|(run, first)| Ok((names.get(run)?, position(first)?))).collect()
        })
    }
}

fn runs_of(store: &dyn Store, commit: &str, as_of: AsOf) -> Result<Vec<u32>, Error> {
    Ok(code_runs(store, commit, as_of)?.into_iter().map(|(run, _)| run).collect())
}

/// Numbers of runs with the first position that says so, in order of position.
fn code_runs(store: &dyn Store, commit: &str, as_of: AsOf) -> Result<Vec<(u32, u64)>, Error> {
    let commit = commit.strip_prefix("commit:").unwrap_or(commit).to_ascii_lowercase();
    if !is_code(&commit) {
        return Err(Error::Commit { given: commit, chars_min: CODE_CHARS_MIN });
    }
    let mut found: Vec<(u64, u32)> = Vec::new();
    scan_prefix(store, &rows::code_prefix(&commit), Order::Ascending, &mut |key, row| {
        let first: u64 = decode("lineage.code", row)?;
        if first <= as_of.0 {
            found.push((first, rows::of_code(key)?.1));
        }
        Ok(if found.len() < RUNS_MAX { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    })?;
    found.sort_unstable();
    let mut seen = std::collections::HashSet::new();
    Ok(found.into_iter().filter(|(_, run)| seen.insert(*run)).map(|(first, run)| (run, first)).collect())
}

/// What is reached downward, by level.
struct Closure<'a> {
    view: &'a GraphView,
    as_of: AsOf,
    seen: Seen,
    reached: Vec<Place>,
    /// Where each level ends in `reached`.
    levels: Vec<usize>,
    is_cut: bool,
}

impl<'a> Closure<'a> {
    fn new(view: &'a GraphView, as_of: AsOf) -> Self {
        Self { view, as_of, seen: Seen::of(view.nodes()), reached: Vec::new(), levels: Vec::new(), is_cut: false }
    }

    fn start(&mut self, place: Place) {
        if self.seen.insert(place.number()) {
            self.reached.push(place);
        }
    }

    fn end_of_level(&mut self) {
        self.levels.push(self.reached.len());
    }

    fn go(&mut self, depth_max: u32) {
        let mut from = self.levels.len().checked_sub(2).map_or(0, |at| self.levels[at]);
        while from < self.reached.len() {
            let to = self.reached.len();
            // The first level is of depth 0.
            if self.levels.len() as u64 > u64::from(depth_max) {
                let is_new = |arc: Arc| !self.seen.has(arc.to.number());
                let goes_on = |of: &Place| self.view.neighbours(of.number(), Way::Down, self.as_of).any(is_new);
                self.is_cut = self.reached[from..to].iter().any(goes_on);
                return;
            }
            let (seen, reached) = (&mut self.seen, &mut self.reached);
            for at in from..to {
                let of = reached[at].number();
                self.view.each_place(of, Way::Down, self.as_of, |place| {
                    if seen.insert(place.number()) {
                        reached.push(place);
                    }
                });
            }
            self.end_of_level();
            from = to;
        }
    }

    fn depth(&self, at: usize) -> u32 {
        self.levels.partition_point(|end| *end <= at) as u32
    }
}
