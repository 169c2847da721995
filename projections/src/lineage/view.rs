//! The graph in memory: of each thing its neighbours both ways, in order of position, so that a walk touches no row. 12
//! bytes an edge and way, 16 a thing; names stay in the rows.

use super::rows::{self, Link, Links, Place, Way};
use crate::Error;
use crate::projection::{View, decode};
use crate::store::{Changes, Order, Store, scan_prefix};
use std::collections::HashMap;
use std::ops::ControlFlow;

/// Fewest fresh edges that are taken into the base.
const FRESH_MIN: usize = 1 << 16;
/// Bits of `said` that are the event's type; the position is above them.
const EVENT_BITS: u32 = 16;

/// An edge as one of its ends has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arc {
    pub(super) to: Place,
    /// Position and type of the first event that says it.
    said: u64,
}

impl Arc {
    fn of(link: &Link) -> Self {
        Self { to: link.to, said: link.first << EVENT_BITS | u64::from(link.event) }
    }
    pub(super) fn first(self) -> u64 {
        self.said >> EVENT_BITS
    }
    pub(super) fn event(self) -> u16 {
        self.said as u16
    }
}

/// Neighbours one way: a base in which those of a thing lie side by side, and what came since by thing. What is fresh is
/// taken into the base when it is a quarter of it, so an edge is moved a bounded number of times.
#[derive(Default)]
struct Adjacency {
    /// Where in the base the neighbours of a thing begin; one more at the end.
    starts: Vec<usize>,
    to: Vec<Place>,
    said: Vec<u64>,
    fresh: HashMap<u32, Vec<Arc>>,
    fresh_count: usize,
}

impl Adjacency {
    /// Sorted by thing; what one thing has stays in its order.
    fn of(arcs: Vec<(u32, Arc)>, nodes: u32) -> Self {
        let mut starts = vec![0usize; nodes as usize + 1];
        arcs.iter().for_each(|(of, _)| starts[*of as usize + 1] += 1);
        for at in 1..starts.len() {
            starts[at] += starts[at - 1];
        }
        let (mut next, mut to, mut said) = (starts.clone(), vec![Place::default(); arcs.len()], vec![0; arcs.len()]);
        for (of, arc) in arcs {
            let at = &mut next[of as usize];
            (to[*at], said[*at]) = (arc.to, arc.said);
            *at += 1;
        }
        Self { starts, to, said, fresh: HashMap::new(), fresh_count: 0 }
    }

    fn base(&self, of: u32) -> std::ops::Range<usize> {
        match self.starts.get(of as usize..of as usize + 2) {
            Some([from, to]) => *from..*to,
            _ => 0..0,
        }
    }

    fn fresh(&self, of: u32) -> &[Arc] {
        self.fresh.get(&of).map_or(&[], Vec::as_slice)
    }

    fn add(&mut self, of: u32, arc: Arc) {
        self.fresh.entry(of).or_default().push(arc);
        self.fresh_count += 1;
    }

    fn settle(&mut self, nodes: u32) {
        if self.fresh_count < FRESH_MIN.max(self.to.len() / 4) {
            return;
        }
        let mut arcs = Vec::with_capacity(self.to.len() + self.fresh_count);
        for of in 0..nodes {
            let base = self.base(of);
            arcs.extend(base.map(|at| (of, Arc { to: self.to[at], said: self.said[at] })));
            arcs.extend(self.fresh(of).iter().map(|arc| (of, *arc)));
        }
        *self = Self::of(arcs, nodes);
    }
}

/// Both ways.
#[derive(Default)]
pub(super) struct GraphView {
    up: Adjacency,
    down: Adjacency,
    nodes: u32,
    /// Position of the last event that said an edge.
    reached: u64,
}

/// How much of the graph a question sees: what was recorded up to a position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct AsOf(pub(super) u64);

impl GraphView {
    pub(super) fn load(store: &dyn Store) -> Result<Self, Error> {
        let nodes = store.get(&rows::nodes())?.map_or(Ok(0), |row| decode("lineage.nodes", &row))?;
        let mut view = Self { nodes, ..Self::default() };
        let (mut up, mut down) = (Vec::new(), Vec::new());
        let mut take = |of: (u32, Way), link: &Link| {
            match of.1 {
                Way::Up => up.push((of.0, Arc::of(link))),
                Way::Down => down.push((of.0, Arc::of(link))),
            }
            view.reached = view.reached.max(link.first);
        };
        // Blocks before chunks, and chunks in order: so each thing's neighbours come in order of position.
        for (table, prefix) in [("lineage.block", rows::blocks()), ("lineage.chunk", rows::all_chunks())] {
            scan_prefix(store, &prefix, Order::Ascending, &mut |key, row| {
                each_link(table, key, row, nodes, &mut take)?;
                Ok(ControlFlow::Continue(()))
            })?;
        }
        (view.up, view.down) = (Adjacency::of(up, nodes), Adjacency::of(down, nodes));
        Ok(view)
    }

    fn adjacency(&self, way: Way) -> &Adjacency {
        match way {
            Way::Up => &self.up,
            Way::Down => &self.down,
        }
    }

    pub(super) fn nodes(&self) -> u32 {
        self.nodes
    }

    /// A thing's neighbours one way, in order of the position of the first event that says so.
    pub(super) fn neighbours(&self, of: u32, way: Way, as_of: AsOf) -> impl Iterator<Item = Arc> {
        let adjacency = self.adjacency(way);
        let base = adjacency.base(of).map(|at| Arc { to: adjacency.to[at], said: adjacency.said[at] });
        base.chain(adjacency.fresh(of).iter().copied()).take_while(move |arc| arc.first() <= as_of.0)
    }

    /// Hands the places of a thing's neighbours one way to `visit`; without the positions, where all count.
    pub(super) fn each_place(&self, of: u32, way: Way, as_of: AsOf, mut visit: impl FnMut(Place)) {
        if as_of.0 < self.reached {
            return self.neighbours(of, way, as_of).for_each(|arc| visit(arc.to));
        }
        let adjacency = self.adjacency(way);
        adjacency.to[adjacency.base(of)].iter().for_each(|to| visit(*to));
        if adjacency.fresh_count > 0 {
            adjacency.fresh(of).iter().for_each(|arc| visit(arc.to));
        }
    }
}

impl View for GraphView {
    fn take(&mut self, changes: &Changes) -> Result<(), Error> {
        if let Some(Some(row)) = changes.get(&rows::nodes()) {
            self.nodes = decode("lineage.nodes", row)?;
        }
        let (before, mut reached) = (self.reached, self.reached);
        let (nodes, up, down) = (self.nodes, &mut self.up, &mut self.down);
        // A row that grew is read again, of which what is past the last position is new.
        let mut take = |of: (u32, Way), link: &Link| {
            if link.first > before {
                match of.1 {
                    Way::Up => up.add(of.0, Arc::of(link)),
                    Way::Down => down.add(of.0, Arc::of(link)),
                }
                reached = reached.max(link.first);
            }
        };
        for (table, prefix) in [("lineage.block", rows::blocks()), ("lineage.chunk", rows::all_chunks())] {
            for (key, row) in changes.under(&prefix) {
                let row = row.ok_or_else(|| Error::row(table, "it was deleted, and rows of it only grow"))?;
                each_link(table, key, row, nodes, &mut take)?;
            }
        }
        self.reached = reached;
        self.up.settle(nodes);
        self.down.settle(nodes);
        Ok(())
    }
}

/// The links of a row, each with whose it is; one an edge.
fn each_link(
    table: &'static str,
    key: &[u8],
    row: &[u8],
    nodes: u32,
    take: &mut dyn FnMut((u32, Way), &Link),
) -> Result<(), Error> {
    let row: Links = decode(table, row)?;
    let of_chunk = if table == "lineage.chunk" { Some(rows::of_chunk(key)?) } else { None };
    for link in row.links.iter().filter(|link| !link.also) {
        let of = match of_chunk {
            Some(of) => of,
            None => rows::of_slot(key, link.slot)?,
        };
        if of.0 >= nodes || link.to.number() >= nodes {
            return Err(Error::row(table, format!("it names thing {}, of {nodes}", of.0.max(link.to.number()))));
        }
        take(of, link);
    }
    Ok(())
}
