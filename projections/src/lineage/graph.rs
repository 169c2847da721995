//! Questions to the graph.

use super::rows::{self, KINDS, NodeRow, Said, Way, neighbour, rank};
use super::{Direction, Edge, Explanation, Graph, Limit, Lineage, Neighbours, Node};
use crate::Error;
use crate::projection::decode;
use crate::store::{Order, Row, Store, page, scan_prefix};
use cairn_schemas::{Position, Ref};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::ops::ControlFlow;

/// Most neighbours of a page.
const PAGE_MAX: usize = 10_000;

impl Lineage {
    /// Walks from `of`, breadth first, at most `depth` edges far. Each node and each edge appears once, so cycles end.
    /// A thing that no event links gives a graph of itself alone if it was mentioned, and an empty one if not.
    pub fn walk(&self, of: &Ref, direction: Direction, depth: u32, limit: impl Into<Limit>) -> Result<Graph, Error> {
        let limit = limit.into();
        self.0.read(|store| {
            let Some(origin) = number_of(store, of)? else { return Ok(Graph::default()) };
            let mut walk =
                Walk { store, limit, nodes: Vec::new(), seen: HashMap::new(), edges: BTreeMap::new(), cut: false };
            walk.visit(origin, 0)?;
            if direction != Direction::Down {
                walk.go(origin, Way::Up, depth)?;
            }
            if direction != Direction::Up {
                walk.go(origin, Way::Down, depth)?;
            }
            walk.graph()
        })
    }

    /// What events say that `from` was used to produce `to`, by type, in order of their first; empty where none does.
    pub fn explain(&self, from: &Ref, to: &Ref) -> Result<Vec<Explanation>, Error> {
        self.0.read(|store| {
            let (Some(used), Some(produced)) = (number_of(store, from)?, number_of(store, to)?) else {
                return Ok(Vec::new());
            };
            let row = store.get(&rows::edge(Way::Down, used, rank(to), produced))?;
            let said: Vec<Said> = row.map_or(Ok(Vec::new()), |row| decode("lineage.edge", &row))?;
            let explanation = |said: Said| {
                Ok(Explanation {
                    first: position(said.first)?,
                    last: position(said.last)?,
                    events: said.events,
                    event_type: said.event_type,
                })
            };
            said.into_iter().map(explanation).collect()
        })
    }

    /// A node's direct neighbours up or down, of one kind or of all, in pages of at most 10,000: what a walk leaves
    /// out for size. `Direction::Both` gives those up.
    pub fn neighbours(
        &self,
        of: &Ref,
        direction: Direction,
        kind: Option<&str>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Neighbours, Error> {
        let way = if direction == Direction::Down { Way::Down } else { Way::Up };
        let of_kind = |given: &str| {
            let unknown = || Error::UnknownKind { given: given.to_owned(), known: KINDS.to_vec() };
            KINDS.iter().position(|known| *known == given).ok_or_else(unknown)
        };
        let kind = kind.map(of_kind).transpose()?;
        self.0.read(|store| {
            let Some(number) = number_of(store, of)? else {
                return Ok(Neighbours { neighbours: Vec::new(), next: None, total: 0 });
            };
            let degrees = *node(store, number)?.degrees(way);
            let total = kind.map_or_else(|| degrees.iter().sum(), |kind| degrees[kind]);
            let prefix = rows::neighbours(way, number);
            let prefix = kind.map_or(prefix.clone(), |kind| prefix.byte(kind as u8)).done();
            let (rows, next) = page(store, &prefix, after, limit.clamp(1, PAGE_MAX), Order::Ascending)?;
            let one = |(key, _): &Row| reference(&node(store, neighbour(key)?.1)?);
            Ok(Neighbours { neighbours: rows.iter().map(one).collect::<Result<_, _>>()?, next, total })
        })
    }

    /// How many things are in the graph.
    pub fn nodes_total(&self) -> Result<u64, Error> {
        self.0.read(|store| store.get(&rows::nodes())?.map_or(Ok(0), |row| decode("lineage.nodes", &row)))
    }
}

fn position(value: u64) -> Result<Position, Error> {
    Position::new(value).ok_or_else(|| Error::row("lineage.edge", "it says position 0"))
}

fn number_of(store: &dyn Store, reference: &Ref) -> Result<Option<u64>, Error> {
    store.get(&rows::number(&reference.to_string()))?.map(|row| decode("lineage.number", &row)).transpose()
}

fn node(store: &dyn Store, number: u64) -> Result<NodeRow, Error> {
    let row = store.get(&rows::node(number))?;
    decode("lineage.node", &row.ok_or_else(|| Error::row("lineage.node", format!("node {number} is missing")))?)
}

fn reference(node: &NodeRow) -> Result<Ref, Error> {
    node.reference.parse().map_err(|e| Error::row("lineage.node", e))
}

/// A walk on its way.
struct Walk<'a> {
    store: &'a dyn Store,
    limit: Limit,
    /// In order of discovery.
    nodes: Vec<Found>,
    /// Node's number to its place in `nodes`.
    seen: HashMap<u64, usize>,
    /// By (used, produced).
    edges: BTreeMap<(u64, u64), Said>,
    cut: bool,
}

struct Found {
    row: NodeRow,
    depth: u32,
    more: [u64; 8],
}

impl Walk<'_> {
    fn visit(&mut self, number: u64, depth: u32) -> Result<(), Error> {
        let row = node(self.store, number)?;
        self.seen.insert(number, self.nodes.len());
        self.nodes.push(Found { row, depth, more: [0; 8] });
        Ok(())
    }

    fn go(&mut self, origin: u64, way: Way, depth_max: u32) -> Result<(), Error> {
        let mut waiting = VecDeque::from([(origin, 0)]);
        let mut gone = HashSet::from([origin]);
        while let Some((number, depth)) = waiting.pop_front() {
            let place = self.seen[&number];
            let mut left = *self.nodes[place].row.degrees(way);
            if depth < depth_max {
                for (rank, neighbour, said) in self.neighbours(number, way)? {
                    if !self.seen.contains_key(&neighbour) {
                        if self.nodes.len() >= self.limit.nodes {
                            continue;
                        }
                        self.visit(neighbour, depth + 1)?;
                    }
                    left[rank as usize] -= 1;
                    let ends = if way == Way::Up { (neighbour, number) } else { (number, neighbour) };
                    self.edges.insert(ends, said);
                    if gone.insert(neighbour) {
                        waiting.push_back((neighbour, depth + 1));
                    }
                }
            }
            let more = &mut self.nodes[place].more;
            more.iter_mut().zip(left).for_each(|(more, left)| *more += left);
            self.cut |= left.iter().any(|left| *left > 0);
        }
        Ok(())
    }

    /// As many neighbours as the limit allows: rank, number and the event that says so first.
    fn neighbours(&self, number: u64, way: Way) -> Result<Vec<(u8, u64, Said)>, Error> {
        let mut found = Vec::new();
        scan_prefix(self.store, &rows::neighbours(way, number).done(), Order::Ascending, &mut |key, row| {
            if found.len() >= self.limit.fan_out {
                return Ok(ControlFlow::Break(()));
            }
            let said: Vec<Said> = decode("lineage.edge", row)?;
            let first = said.into_iter().next().ok_or_else(|| Error::row("lineage.edge", "no event says it"))?;
            let (rank, neighbour) = neighbour(key)?;
            found.push((rank, neighbour, first));
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(found)
    }

    fn graph(self) -> Result<Graph, Error> {
        let numbers: Vec<(&u64, &usize)> = self.seen.iter().collect();
        let mut refs = HashMap::with_capacity(numbers.len());
        for (number, place) in numbers {
            refs.insert(*number, reference(&self.nodes[*place].row)?);
        }
        let mut edges = Vec::with_capacity(self.edges.len());
        for ((from, to), said) in &self.edges {
            edges.push(Edge {
                from: refs[from].clone(),
                to: refs[to].clone(),
                event_type: said.event_type.clone(),
                position: position(said.first)?,
            });
        }
        edges.sort_by_key(|edge| edge.position);
        let node = |found: &Found| {
            let reference = reference(&found.row)?;
            let more = KINDS.iter().zip(found.more).filter(|(_, more)| *more > 0);
            Ok(Node {
                kind: reference.kind(),
                reference,
                depth: found.depth,
                more: more.map(|(kind, more)| (*kind, more)).collect(),
            })
        };
        let nodes = self.nodes.iter().map(node).collect::<Result<_, Error>>()?;
        Ok(Graph { nodes, edges, truncated: self.cut })
    }
}
