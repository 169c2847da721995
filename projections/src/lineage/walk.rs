//! Walks: breadth first, from one thing, up, down or both.

use super::names::{Kinds, Names, as_of, event_type, position};
use super::rows::{KINDS, Place, Way, rank};
use super::view::{Arc, AsOf, GraphView};
use super::{Direction, Edge, Graph, Limit, Lineage, Node, Walk};
use crate::Error;
use crate::store::Store;
use cairn_schemas::Ref;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

impl Lineage {
    /// Walks from `of`, breadth first, at most `depth` edges far, over all that was recorded.
    pub fn walk(&self, of: &Ref, direction: Direction, depth: u32, limit: impl Into<Limit>) -> Result<Graph, Error> {
        self.explore(of, &Walk { direction, depth, limit: limit.into(), ..Walk::default() })
    }

    /// Walks as asked. Each node and each edge appears once, so cycles end. A thing that no event links gives a graph of
    /// itself alone if it was mentioned, and an empty one if not.
    pub fn explore(&self, of: &Ref, walk: &Walk) -> Result<Graph, Error> {
        let (kinds, as_of) = (Kinds::named(&walk.kinds)?, as_of(walk.as_of));
        self.0.read_view(|view: &GraphView, store| {
            let Some(origin) = Names::of(store).number(of, as_of)? else { return Ok(Graph::default()) };
            let mut walking = Walking {
                view,
                as_of,
                kinds,
                limit: walk.limit,
                nodes: Vec::new(),
                seen: HashMap::new(),
                edges: BTreeMap::new(),
                cut: false,
            };
            walking.visit(Place::new(origin, rank(of)), 0);
            for way in [Way::Up, Way::Down] {
                let is_other = if way == Way::Up { Direction::Down } else { Direction::Up };
                match kinds.is_all() {
                    _ if walk.direction == is_other => {}
                    true => walking.go(origin, way, walk.depth),
                    false => walking.go_through(origin, way, walk.depth),
                }
            }
            walking.graph(store)
        })
    }
}

/// A walk on its way.
struct Walking<'a> {
    view: &'a GraphView,
    as_of: AsOf,
    kinds: Kinds,
    limit: Limit,
    /// In order of discovery.
    nodes: Vec<Found>,
    /// A thing's number to where it is in `nodes`.
    seen: HashMap<u32, usize>,
    /// By (used, produced): what says so, and how many things that are not shown lie between.
    edges: BTreeMap<(u32, u32), (Arc, u32)>,
    cut: bool,
}

struct Found {
    place: Place,
    depth: u32,
    more: [u64; 8],
}

/// From a thing to one that the walk comes to: (used, produced).
fn ends(way: Way, from: u32, to: u32) -> (u32, u32) {
    if way == Way::Up { (to, from) } else { (from, to) }
}

impl Walking<'_> {
    fn visit(&mut self, place: Place, depth: u32) {
        self.seen.insert(place.number(), self.nodes.len());
        self.nodes.push(Found { place, depth, more: [0; 8] });
    }

    fn go(&mut self, origin: u32, way: Way, depth_max: u32) {
        let mut waiting = VecDeque::from([(origin, 0)]);
        let mut gone = HashSet::from([origin]);
        while let Some((number, depth)) = waiting.pop_front() {
            let fan_out = if depth < depth_max { self.limit.fan_out } else { 0 };
            let (shown, mut left) = self.neighbours(number, way, fan_out);
            for arc in shown {
                let neighbour = arc.to.number();
                if !self.seen.contains_key(&neighbour) {
                    if self.nodes.len() >= self.limit.nodes {
                        continue;
                    }
                    self.visit(arc.to, depth + 1);
                }
                left[arc.to.rank() as usize] -= 1;
                self.edges.entry(ends(way, number, neighbour)).or_insert((arc, 0));
                if gone.insert(neighbour) {
                    waiting.push_back((neighbour, depth + 1));
                }
            }
            let more = &mut self.nodes[self.seen[&number]].more;
            more.iter_mut().zip(left).for_each(|(more, left)| *more += left);
            self.cut |= left.iter().any(|left| *left > 0);
        }
    }

    /// As many neighbours as the limit allows, by rank, and how many there are of each.
    fn neighbours(&self, number: u32, way: Way, fan_out: usize) -> (Vec<Arc>, [u64; 8]) {
        let (mut by_rank, mut counts): ([Vec<Arc>; 8], _) = (Default::default(), [0; 8]);
        for arc in self.view.neighbours(number, way, self.as_of) {
            let rank = arc.to.rank() as usize;
            counts[rank] += 1;
            if by_rank[rank].len() < fan_out {
                by_rank[rank].push(arc);
            }
        }
        let mut shown = by_rank.concat();
        shown.truncate(fan_out);
        (shown, counts)
    }

    /// Walks through things of other kinds than those to show. An edge then leads from the shown thing nearest before.
    fn go_through(&mut self, origin: u32, way: Way, depth_max: u32) {
        /// A thing on the way: the shown thing nearest before it, and how many lie between, itself included.
        struct Passed {
            number: u32,
            depth: u32,
            shown: u32,
            through: u32,
        }
        let mut waiting = VecDeque::from([Passed { number: origin, depth: 0, shown: origin, through: 0 }]);
        let mut gone = HashSet::from([origin]);
        while let Some(Passed { number, depth, shown, through }) = waiting.pop_front() {
            for arc in self.view.neighbours(number, way, self.as_of) {
                if depth >= depth_max {
                    self.cut = true;
                    break;
                }
                let neighbour = arc.to.number();
                let (mut next_shown, mut next_through) = (shown, through + 1);
                if self.kinds.has(arc.to.rank()) || self.seen.contains_key(&neighbour) {
                    if !self.seen.contains_key(&neighbour) {
                        if self.nodes.len() >= self.limit.nodes {
                            self.cut = true;
                            continue;
                        }
                        self.visit(arc.to, depth + 1);
                    }
                    (next_shown, next_through) = (neighbour, 0);
                    if neighbour != shown {
                        let edge = self.edges.entry(ends(way, shown, neighbour)).or_insert((arc, through));
                        if through < edge.1 {
                            *edge = (arc, through);
                        }
                    }
                }
                if gone.insert(neighbour) {
                    waiting.push_back(Passed {
                        number: neighbour,
                        depth: depth + 1,
                        shown: next_shown,
                        through: next_through,
                    });
                }
            }
        }
    }

    fn graph(self, store: &dyn Store) -> Result<Graph, Error> {
        let mut names = Names::of(store);
        let refs = names.all(self.nodes.iter().map(|found| found.place.number()))?;
        let named = |number: &u32| refs[self.seen[number]].clone();
        let mut edges = Vec::with_capacity(self.edges.len());
        for ((from, to), (arc, through)) in &self.edges {
            edges.push(Edge {
                from: named(from),
                to: named(to),
                through: *through,
                event_type: event_type(arc.event())?,
                position: position(arc.first())?,
            });
        }
        edges.sort_by_key(|edge| edge.position);
        let node = |(found, reference): (&Found, &Ref)| {
            let more = KINDS.iter().zip(found.more).filter(|(_, more)| *more > 0);
            Node {
                kind: reference.kind(),
                reference: reference.clone(),
                depth: found.depth,
                more: more.map(|(kind, more)| (*kind, more)).collect(),
            }
        };
        let nodes = self.nodes.iter().zip(&refs).map(node).collect();
        Ok(Graph { nodes, edges, truncated: self.cut })
    }
}
