//! Questions about one edge, and about one thing's neighbours.

use super::names::{Cursors, Names, as_of, event_type, position, rank_of};
use super::rows::{self, Links, REPEATED_POSITIONS, Repeats, Way};
use super::view::{AsOf, GraphView};
use super::{Direction, Explanation, Lineage, Neighbours};
use crate::Error;
use crate::projection::decode;
use crate::store::Store;
use cairn_schemas::{Position, Ref};

/// Most neighbours of a page.
pub(super) const PAGE_MAX: usize = 10_000;

impl Lineage {
    /// Whether any event mentions a thing; any up to a position, where one is given.
    pub fn mentions(&self, thing: &Ref, position: Option<Position>) -> Result<bool, Error> {
        self.0.read(|store| Ok(Names::of(store).number(thing, as_of(position))?.is_some()))
    }

    /// What events say that `from` was used to produce `to`, by type, in order of their first; empty where none does.
    pub fn explain(&self, from: &Ref, to: &Ref, position: Option<Position>) -> Result<Vec<Explanation>, Error> {
        let as_of = as_of(position);
        self.0.read(|store| {
            let mut names = Names::of(store);
            match (names.number(from, as_of)?, names.number(to, as_of)?) {
                (Some(used), Some(produced)) => explained(store, used, produced, as_of),
                _ => Ok(Vec::new()),
            }
        })
    }

    /// A node's direct neighbours up or down, of one kind or of all, in pages of at most 10,000: what a walk leaves
    /// out for size. `Direction::Both` gives those up. The pages after the first are of the same position.
    pub fn neighbours(
        &self,
        of: &Ref,
        direction: Direction,
        kind: Option<&str>,
        position: Option<Position>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Neighbours, Error> {
        let way = if direction == Direction::Down { Way::Down } else { Way::Up };
        let kind = kind.map(rank_of).transpose()?;
        let question = format!("neighbours {of} {way:?} {kind:?} {position:?}");
        let cursors = Cursors::of(&question, after, position, self.now())?;
        self.0.read_view(|view: &GraphView, store| {
            let (mut names, as_of) = (Names::of(store), cursors.as_of());
            let Some(number) = names.number(of, as_of)? else {
                return Ok(Neighbours { neighbours: Vec::new(), next: None, total: 0, cursors });
            };
            let mut counts = [0u64; 8];
            view.each_place(number, way, as_of, |place| counts[place.rank() as usize] += 1);
            let shown = |rank: u8| kind.is_none_or(|kind| kind == rank);
            let total = (0..8).filter(|rank| shown(*rank)).map(|rank| counts[rank as usize]).sum();
            let (limit, mut skip) = (limit.clamp(1, PAGE_MAX), cursors.done());
            let mut found = Vec::new();
            for rank in (0..8).filter(|rank| shown(*rank)) {
                let there = counts[rank as usize] as usize;
                if skip >= there {
                    skip -= there;
                    continue;
                }
                let of_rank = view.neighbours(number, way, as_of).filter(|arc| arc.to.rank() == rank);
                let room = limit - found.len();
                found.extend(of_rank.skip(skip).take(room).map(|arc| arc.to.number()));
                skip = 0;
                if found.len() == limit {
                    break;
                }
            }
            let next = cursors.next(found.len(), total);
            Ok(Neighbours { neighbours: names.all(found)?, next, total, cursors })
        })
    }

    /// How many things are in the graph.
    pub fn nodes_total(&self) -> Result<u64, Error> {
        self.0.read(|store| {
            store.get(&rows::nodes())?.map_or(Ok(0), |row| decode::<u32>("lineage.nodes", &row).map(u64::from))
        })
    }
}

/// What says that one thing was used to produce another. Rows are read where the fewer links are.
pub(super) fn explained(store: &dyn Store, from: u32, to: u32, as_of: AsOf) -> Result<Vec<Explanation>, Error> {
    let block = |number, way| -> Result<(Links, u8), Error> {
        let (key, slot) = rows::block(number, way);
        Ok((store.get(&key)?.map_or(Ok(Links::default()), |row| decode("lineage.block", &row))?, slot))
    };
    let (down, up) = (block(from, Way::Down)?, block(to, Way::Up)?);
    let is_down = down.0.total(down.1) <= up.0.total(up.1);
    let (of, way, other, (row, slot)) = if is_down { (from, Way::Down, to, down) } else { (to, Way::Up, from, up) };
    let mut links: Vec<(u16, u64)> = Vec::new();
    let mut take = |link: &rows::Link| {
        if link.to.number() == other && link.first <= as_of.0 {
            links.push((link.event, link.first));
        }
    };
    row.of(slot).for_each(&mut take);
    for chunk in 0..rows::chunks(row.beyond(slot)) {
        if let Some(row) = store.get(&rows::chunk(of, way, chunk))? {
            decode::<Links>("lineage.chunk", &row)?.links.iter().for_each(&mut take);
        }
    }
    links.into_iter().map(|(event, first)| explanation(store, (from, to, event), first, as_of)).collect()
}

/// How often, and when last, an edge was said by a type.
fn explanation(store: &dyn Store, said: (u32, u32, u16), first: u64, as_of: AsOf) -> Result<Explanation, Error> {
    let (from, to, event) = said;
    let row = store.get(&rows::repeats(from, to, event))?;
    let repeats: Repeats = row.map_or(Ok(Repeats::default()), |row| decode("lineage.repeats", &row))?;
    let (events, last) = match repeats.events {
        0 => (1, first),
        events if repeats.last <= as_of.0 => (events + 1, repeats.last),
        events => repeated_up_to(store, said, events, as_of)?.map_or((1, first), |(events, last)| (events + 1, last)),
    };
    Ok(Explanation { event_type: event_type(event)?, first: position(first)?, last: position(last)?, events })
}

/// Repeats up to a position, and the last of them; found by halving the rows that hold them.
fn repeated_up_to(
    store: &dyn Store,
    (from, to, event): (u32, u32, u16),
    events: u64,
    as_of: AsOf,
) -> Result<Option<(u64, u64)>, Error> {
    let positions = |number: u64| -> Result<Vec<u64>, Error> {
        let row = store.get(&rows::repeated_at(from, to, event, number))?;
        let row = row.ok_or_else(|| Error::row("lineage.repeated_at", format!("row {number} is missing")))?;
        decode("lineage.repeated_at", &row)
    };
    let (mut low, mut high) = (0, events.div_ceil(REPEATED_POSITIONS));
    // The first row that begins after the position is in low..=high.
    while low < high {
        let middle = low + (high - low) / 2;
        match positions(middle)?.first().is_some_and(|first| *first <= as_of.0) {
            true => low = middle + 1,
            false => high = middle,
        }
    }
    let Some(number) = low.checked_sub(1) else { return Ok(None) };
    let row = positions(number)?;
    let count = row.partition_point(|position| *position <= as_of.0);
    Ok(Some((number * REPEATED_POSITIONS + count as u64, row[count - 1])))
}
