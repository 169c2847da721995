//! Store `lineage`: what was used and what was produced, as a graph that is read in both directions, as of any position.

mod apply;
mod code;
mod documents;
mod impact;
mod names;
mod path;
mod query;
mod rows;
#[cfg(test)]
mod tests;
mod view;
mod walk;

pub use code::codes;
pub use documents::{DocumentChange, DocumentsDiff};
pub use impact::{Impact, ImpactQuery, Start, Touched};
pub use names::Cursors;
pub use path::{Path, Relation, Step};

use crate::projection::{Live, Projection};
use crate::store::Store;
use crate::{Error, projection::View};
use cairn_schemas::{Position, Ref};
use std::sync::Arc;

pub(crate) static PROJECTION: Projection = Projection::new("lineage", 2, apply::apply).viewed(load);

fn load(store: &dyn Store) -> Result<Box<dyn View>, Error> {
    Ok(Box::new(view::GraphView::load(store)?))
}

/// The kinds of things in the graph, in the order in which neighbours are shown.
pub const KINDS: [&str; 8] = rows::KINDS;

/// Which way to walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// To what a thing was made of.
    Up,
    /// To what was made of a thing.
    Down,
    /// Ancestors and descendants; never down from an ancestor, nor up from a descendant.
    Both,
}

/// Where a walk stops for size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Most nodes in the graph.
    pub nodes: usize,
    /// Most neighbours shown of one node in one direction; documents come last.
    pub fan_out: usize,
}

impl Default for Limit {
    fn default() -> Self {
        Self { nodes: 1_000, fan_out: 50 }
    }
}

impl From<usize> for Limit {
    /// At most `nodes` nodes, of which one node's neighbours are an eighth: documents must not crowd out the rest.
    fn from(nodes: usize) -> Self {
        Self { nodes, fan_out: (nodes / 8).max(1) }
    }
}

/// What to walk.
#[derive(Clone, Debug)]
pub struct Walk {
    pub direction: Direction,
    /// Edges to walk at most.
    pub depth: u32,
    pub limit: Limit,
    /// Kinds to show; none named: all. Things of other kinds are walked through.
    pub kinds: Vec<String>,
    /// What was recorded up to here; `None`: all.
    pub as_of: Option<Position>,
}

impl Default for Walk {
    fn default() -> Self {
        Self { direction: Direction::Up, depth: 10, limit: Limit::default(), kinds: Vec::new(), as_of: None }
    }
}

/// A thing in the graph.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Node {
    pub reference: Ref,
    pub kind: &'static str,
    /// Edges between it and where the walk began, by the shortest way.
    pub depth: u32,
    /// Neighbours in the direction of the walk that a limit left out, by kind; not counted where kinds were named.
    pub more: Vec<(&'static str, u64)>,
}

impl Node {
    /// How many neighbours were left out.
    pub fn more_total(&self) -> u64 {
        self.more.iter().map(|(_, count)| count).sum()
    }
}

/// Something was used to produce something.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Edge {
    /// What was used.
    pub from: Ref,
    /// What it went into.
    pub to: Ref,
    /// Things of kinds that are not shown which lie between the two, by the way that was walked; 0: none does.
    pub through: u32,
    /// Type of the first event that says so; of the last hop, where things lie between.
    pub event_type: &'static str,
    /// Position of that event.
    pub position: Position,
}

/// Part of the lineage graph.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Graph {
    /// In the order of the walk: by depth, and of one thing's neighbours documents last.
    pub nodes: Vec<Node>,
    /// Edges between these nodes that the walk came along, sorted by position.
    pub edges: Vec<Edge>,
    /// Whether anything was left out for depth or size.
    pub truncated: bool,
}

/// Events of one type that say that something was used to produce something.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Explanation {
    pub event_type: &'static str,
    pub first: Position,
    pub last: Position,
    pub events: u64,
}

/// A page of a node's neighbours.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Neighbours {
    /// By kind, and of one kind by when the link was recorded.
    pub neighbours: Vec<Ref>,
    /// What to give as `after` for the next page; `None` at the end.
    pub next: Option<String>,
    /// How many there are, of the kind asked for.
    pub total: u64,
    #[serde(skip)]
    pub cursors: Cursors,
}

/// Queries over the graph.
#[derive(Clone)]
pub struct Lineage(Arc<Live>);

impl Lineage {
    pub(crate) fn over(live: Arc<Live>) -> Self {
        Self(live)
    }

    /// What a question that names no position sees, so that its other pages see the same.
    fn now(&self) -> view::AsOf {
        view::AsOf(self.0.watermark().map_or(0, |watermark| watermark.position.get()))
    }
}
