//! Store `lineage`: what was used and what was produced, as a graph that is read in both directions.

mod apply;
mod graph;
mod rows;
#[cfg(test)]
mod tests;

use crate::projection::{Live, Projection};
use cairn_schemas::{Position, Ref};
use std::sync::Arc;

pub(crate) static PROJECTION: Projection = Projection::new("lineage", 1, apply::apply);

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

/// A thing in the graph.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Node {
    pub reference: Ref,
    pub kind: &'static str,
    /// Edges between it and where the walk began, by the shortest way.
    pub depth: u32,
    /// Neighbours in the direction of the walk that a limit left out, by kind.
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
    /// Type of the first event that says so.
    pub event_type: String,
    /// Position of that event.
    pub position: Position,
}

/// Part of the lineage graph.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Graph {
    /// In the order of the walk: by depth, then documents last, then by first mention.
    pub nodes: Vec<Node>,
    /// Edges between these nodes that the walk came along, sorted by position.
    pub edges: Vec<Edge>,
    /// Whether anything was left out for depth or size.
    pub truncated: bool,
}

/// Events of one type that say that something was used to produce something.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Explanation {
    pub event_type: String,
    pub first: Position,
    pub last: Position,
    pub events: u64,
}

/// A page of a node's neighbours.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Neighbours {
    pub neighbours: Vec<Ref>,
    /// What to give as `after` for the next page; `None` at the end.
    pub next: Option<String>,
    /// How many there are, of the kind asked for.
    pub total: u64,
}

/// Queries over the graph.
#[derive(Clone)]
pub struct Lineage(Arc<Live>);

impl Lineage {
    pub(crate) fn over(live: Arc<Live>) -> Self {
        Self(live)
    }
}
