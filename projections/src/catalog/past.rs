//! The states that an entity had: each as what differs in it from the state that replaced it, and whole now and then, so
//! that any of them is at most so many rows away, however many there are.

use super::rows::{self, Difference, EntityRow, Past, PastRow};
use crate::Error;
use crate::projection::{Rows, decode};
use crate::store::{Order, Store, scan_prefix};
use cairn_schemas::Position;
use serde_json::{Map, Value};
use std::ops::ControlFlow;

/// Every state of so many is kept whole.
const WHOLE_EVERY: u32 = 64;

/// A state as it is kept beside the one that replaced it.
pub(super) fn replaced(before: EntityRow, after: &EntityRow) -> PastRow {
    let EntityRow { name, state, updated, attributes, .. } = before;
    let attributes = match after.changes % WHOLE_EVERY {
        0 => Past::Whole(attributes),
        _ => Past::Differing(differences(&after.attributes, &attributes)),
    };
    PastRow { name, state, updated, attributes }
}

/// Where an event changes an entity a second time, what is kept is the state before the first.
pub(super) fn keep_again(
    rows: &mut Rows<'_>,
    reference: &str,
    between: EntityRow,
    after: &EntityRow,
) -> Result<(), Error> {
    let key = rows::past(reference).u64(after.updated.position).done();
    let Some(kept) = rows.read::<PastRow>("catalog.past", &key)? else { return Ok(()) };
    let mut before = EntityRow { name: kept.name, state: kept.state, updated: kept.updated, ..between };
    match kept.attributes {
        Past::Whole(attributes) => before.attributes = attributes,
        Past::Differing(differences) => undo(&mut before.attributes, differences)?,
    }
    rows.write(key, &replaced(before, after));
    Ok(())
}

/// An entity as it was when the log went up to a position; `None` where it was not yet.
pub(super) fn as_of(store: &dyn Store, reference: &str, position: Position) -> Result<Option<EntityRow>, Error> {
    let Some(row) = store.get(&rows::entity(reference))? else { return Ok(None) };
    let mut now: EntityRow = decode("catalog.entity", &row)?;
    if now.created.position > position.get() {
        return Ok(None);
    }
    if now.updated.position <= position.get() {
        return Ok(Some(now));
    }
    // From the state that was replaced first after the position on, to the next that is whole.
    let mut states: Vec<PastRow> = Vec::new();
    let prefix = rows::past(reference).done();
    let from = rows::past(reference).u64(position.get() + 1).done();
    let mut visit = |_: &[u8], row: &[u8]| {
        states.push(decode("catalog.past", row)?);
        match states.last() {
            Some(PastRow { attributes: Past::Whole(_), .. }) => Ok(ControlFlow::Break(())),
            _ => Ok(ControlFlow::Continue(())),
        }
    };
    store.scan(&from, crate::key::after(&prefix).as_deref(), Order::Ascending, &mut visit)?;
    for state in states.into_iter().rev() {
        match state.attributes {
            Past::Whole(attributes) => now.attributes = attributes,
            Past::Differing(differences) => undo(&mut now.attributes, differences)?,
        }
        (now.name, now.state, now.updated) = (state.name, state.state, state.updated);
    }
    Ok(Some(now))
}

/// Positions at which an entity's states were replaced, in order, from a position on.
pub(super) fn changes(store: &dyn Store, reference: &str) -> Result<Vec<u64>, Error> {
    let mut positions = Vec::new();
    scan_prefix(store, &rows::past(reference).done(), Order::Ascending, &mut |key, _| {
        let position = key.last_chunk::<8>().map(|bytes| u64::from_be_bytes(*bytes));
        positions.push(position.ok_or_else(|| Error::row("catalog.past", "its key is too short"))?);
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(positions)
}

/// What turns `from` into `to`.
fn differences(from: &Map<String, Value>, to: &Map<String, Value>) -> Vec<Difference> {
    let (mut found, mut path) = (Vec::new(), Vec::new());
    differ(from, to, &mut path, &mut found);
    found
}

fn differ<'v>(
    from: &'v Map<String, Value>,
    to: &'v Map<String, Value>,
    path: &mut Vec<&'v str>,
    found: &mut Vec<Difference>,
) {
    let difference = |path: &[&str], value: Option<&Value>| Difference {
        path: path.iter().map(|name| (*name).to_owned()).collect(),
        value: value.map(Value::to_string),
    };
    for (name, was) in to {
        path.push(name);
        match (from.get(name), was) {
            (Some(is), was) if is == was => {}
            (Some(Value::Object(is)), Value::Object(was)) => differ(is, was, path, found),
            _ => found.push(difference(path, Some(was))),
        }
        path.pop();
    }
    for name in from.keys().filter(|name| !to.contains_key(*name)) {
        path.push(name);
        found.push(difference(path, None));
        path.pop();
    }
}

fn undo(attributes: &mut Map<String, Value>, differences: Vec<Difference>) -> Result<(), Error> {
    let lost = || Error::row("catalog.past", "it differs in what is not there");
    for Difference { path, value } in differences {
        let (name, way) = path.split_last().ok_or_else(lost)?;
        let mut place = &mut *attributes;
        for step in way {
            place = place.get_mut(step).and_then(Value::as_object_mut).ok_or_else(lost)?;
        }
        match value {
            Some(value) => drop(place.insert(name.clone(), rows::json(&value)?)),
            None => drop(place.shift_remove(name)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;

    fn random_value(random: &mut Random, depth: u64) -> Value {
        match random.below(if depth == 0 { 4 } else { 6 }) {
            0 => Value::Null,
            1 => random.below(3).into(),
            2 => "text".into(),
            3 => vec![random.below(2)].into(),
            _ => Value::Object(random_object(random, depth - 1)),
        }
    }

    fn random_object(random: &mut Random, depth: u64) -> Map<String, Value> {
        (0..random.below(5)).map(|_| (format!("{}", random.below(6)), random_value(random, depth))).collect()
    }

    #[test]
    fn differences_turn_any_object_into_any_other() {
        for seed in 0..2_000 {
            let mut random = Random::new(seed);
            let (from, to) = (random_object(&mut random, 3), random_object(&mut random, 3));
            let found = differences(&from, &to);
            let mut made = from.clone();
            undo(&mut made, found).unwrap();
            assert_eq!(made, to, "seed {seed}");
            assert!(differences(&from, &from).is_empty());
        }
    }
}
