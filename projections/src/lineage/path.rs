//! The shortest explanation between two things: searched from both ends, the smaller side first.

use super::names::{Names, as_of};
use super::query::explained;
use super::rows::Way;
use super::view::{AsOf, GraphView};
use super::{Explanation, Lineage};
use crate::Error;
use cairn_schemas::{Position, Ref};
use std::collections::HashSet;

/// How two things are connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Relation {
    /// They are the same thing.
    Same,
    /// The one went into the other.
    WentInto,
    /// The one was made of the other.
    MadeOf,
    /// Neither: by something that both come from or went into, and so on.
    Related,
}

/// A hop of a path.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Step {
    /// What was used.
    pub from: Ref,
    /// What it went into.
    pub to: Ref,
    /// Whether the path goes from what was used to what it went into.
    pub is_along: bool,
    /// The events that say so, by type.
    pub said: Vec<Explanation>,
}

/// A shortest way between two things.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Path {
    pub relation: Relation,
    /// From the one to the other.
    pub steps: Vec<Step>,
}

impl Lineage {
    /// A shortest way from `from` to `to`: down, else up; else, where `related`, by any edges. `None` where there is
    /// none, or where an end was not mentioned by then. Of several the one found first, always the same.
    pub fn path(&self, from: &Ref, to: &Ref, related: bool, position: Option<Position>) -> Result<Option<Path>, Error> {
        let as_of = as_of(position);
        self.0.read_view(|view: &GraphView, store| {
            let mut names = Names::of(store);
            let (Some(one), Some(other)) = (names.number(from, as_of)?, names.number(to, as_of)?) else {
                return Ok(None);
            };
            if one == other {
                return Ok(Some(Path { relation: Relation::Same, steps: Vec::new() }));
            }
            let both: &[Way] = &[Way::Up, Way::Down];
            let ways: [(Relation, &[Way], &[Way]); 3] = [
                (Relation::WentInto, &[Way::Down], &[Way::Up]),
                (Relation::MadeOf, &[Way::Up], &[Way::Down]),
                (Relation::Related, both, both),
            ];
            for (relation, out, back) in ways.into_iter().take(if related { 3 } else { 2 }) {
                let Some(things) = shortest(view, as_of, (one, out), (other, back)) else { continue };
                let mut steps = Vec::with_capacity(things.len() - 1);
                for pair in things.windows(2) {
                    let along = match relation {
                        Relation::MadeOf => Vec::new(),
                        _ => explained(store, pair[0], pair[1], as_of)?,
                    };
                    let is_along = !along.is_empty();
                    let (used, made) = if is_along { (pair[0], pair[1]) } else { (pair[1], pair[0]) };
                    let said = if is_along { along } else { explained(store, used, made, as_of)? };
                    steps.push(Step { from: names.get(used)?, to: names.get(made)?, is_along, said });
                }
                return Ok(Some(Path { relation, steps }));
            }
            Ok(None)
        })
    }
}

/// Numbers of things, as bits.
pub(super) struct Seen(Vec<u64>);

impl Seen {
    pub(super) fn of(nodes: u32) -> Self {
        Self(vec![0; nodes as usize / 64 + 1])
    }
    /// Whether it is new.
    pub(super) fn insert(&mut self, number: u32) -> bool {
        let (word, bit) = (&mut self.0[number as usize / 64], 1 << (number % 64));
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }
    pub(super) fn has(&self, number: u32) -> bool {
        self.0[number as usize / 64] >> (number % 64) & 1 == 1
    }
}

/// One side of the search.
struct Side<'a> {
    ways: &'a [Way],
    seen: Seen,
    /// Things in order of discovery, each with where in this list the one it was found from is.
    found: Vec<(u32, usize)>,
    /// Where the things of the last level begin.
    level: usize,
}

impl<'a> Side<'a> {
    fn from((number, ways): (u32, &'a [Way]), nodes: u32) -> Self {
        let mut seen = Seen::of(nodes);
        seen.insert(number);
        Self { ways, seen, found: vec![(number, 0)], level: 0 }
    }

    /// Goes one level further; where that meets the other side, the thing nearest to the other's end.
    fn advance(&mut self, other: &Side<'_>, view: &GraphView, as_of: AsOf) -> Option<u32> {
        let (from, to) = (self.level, self.found.len());
        self.level = to;
        let mut met = HashSet::new();
        for at in from..to {
            for way in self.ways {
                let (seen, found) = (&mut self.seen, &mut self.found);
                view.each_place(found[at].0, *way, as_of, |place| {
                    if seen.insert(place.number()) {
                        found.push((place.number(), at));
                        if other.seen.has(place.number()) {
                            met.insert(place.number());
                        }
                    }
                });
            }
        }
        if met.is_empty() {
            return None;
        }
        // The other side's list is by distance from its end.
        other.found.iter().map(|(number, _)| *number).find(|number| met.contains(number))
    }

    fn place(&self, number: u32) -> Option<usize> {
        self.found.iter().position(|(found, _)| *found == number)
    }

    /// From a thing back to this side's end, both included.
    fn back(&self, number: u32) -> Vec<u32> {
        let mut things = Vec::new();
        let Some(mut at) = self.place(number) else { return things };
        loop {
            things.push(self.found[at].0);
            if at == 0 {
                return things;
            }
            at = self.found[at].1;
        }
    }
}

fn shortest(view: &GraphView, as_of: AsOf, from: (u32, &[Way]), to: (u32, &[Way])) -> Option<Vec<u32>> {
    let (mut near, mut far) = (Side::from(from, view.nodes()), Side::from(to, view.nodes()));
    loop {
        let (near_level, far_level) = (near.found.len() - near.level, far.found.len() - far.level);
        if near_level == 0 || far_level == 0 {
            return None;
        }
        let met = match near_level <= far_level {
            true => near.advance(&far, view, as_of),
            false => far.advance(&near, view, as_of),
        };
        if let Some(met) = met {
            let mut things = near.back(met);
            things.reverse();
            things.extend(far.back(met).into_iter().skip(1));
            return Some(things);
        }
    }
}
