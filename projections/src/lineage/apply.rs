//! Events to links: every ref that an event used is joined to every ref that it produced.

use super::code::codes;
use super::rows::{self, Link, Links, NODES_MAX, Named, Place, REPEATED_POSITIONS, Repeats, Way, rank};
use crate::Error;
use crate::projection::Rows;
use cairn_schemas::{Event, Recorded, Ref, RunId};
use serde_json::Value;

pub(super) fn apply(recorded: &Recorded, rows: &mut Rows<'_>) -> Result<(), Error> {
    if recorded.used.is_empty() && recorded.produced.is_empty() {
        return Ok(());
    }
    // An event that produced nothing links what it used to what it is about.
    let about: Option<Ref> = match recorded.produced.is_empty() {
        true => recorded.stream.parse().ok(),
        false => None,
    };
    let said = Said { position: recorded.position.get(), event: recorded.event.type_code().code };
    let used = numbered(&recorded.used, said.position, rows)?;
    let produced = match &about {
        Some(about) => numbered(std::slice::from_ref(about), said.position, rows)?,
        None => numbered(&recorded.produced, said.position, rows)?,
    };
    for from in &used {
        for to in &produced {
            if from.place != to.place {
                join(*from, *to, said, rows)?;
            }
        }
    }
    match &recorded.event {
        Event::RunStarted(e) => note_code(&e.run, &e.code.to_value(), said.position, rows),
        // A job's settings name the program that ran it.
        Event::JobStarted(e) => note_code(&e.run, &e.spec.to_value()["code"], said.position, rows),
        _ => Ok(()),
    }
}

/// A thing's place in the graph.
#[derive(Clone, Copy)]
struct Known {
    place: Place,
    /// First mentioned by this event: it has no links yet but this event's own.
    is_new: bool,
}

/// The event that says an edge.
#[derive(Clone, Copy)]
struct Said {
    position: u64,
    event: u16,
}

/// The numbers of refs; a ref mentioned for the first time is given the next.
fn numbered(refs: &[Ref], position: u64, rows: &mut Rows<'_>) -> Result<Vec<Known>, Error> {
    refs.iter().map(|reference| numbered_one(reference, position, rows)).collect()
}

fn numbered_one(reference: &Ref, position: u64, rows: &mut Rows<'_>) -> Result<Known, Error> {
    let key = rows::number(reference);
    if let Some(number) = rows.look::<u32>("lineage.number", &key)? {
        return Ok(Known { place: Place::new(*number, rank(reference)), is_new: false });
    }
    let nodes = rows.edit::<u32>("lineage.nodes", &rows::nodes())?;
    let number = *nodes;
    if number >= NODES_MAX {
        return Err(Error::row("lineage.nodes", format!("the graph holds {NODES_MAX} things, its most")));
    }
    *nodes += 1;
    rows.write(key, &number);
    let named = Named { reference: reference.clone(), first: position };
    rows.edit::<Vec<Named>>("lineage.names", &rows::names(number).0)?.push(named);
    Ok(Known { place: Place::new(number, rank(reference)), is_new: true })
}

/// What is recorded of an edge before an event says it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    Nothing,
    /// Only by other types of event.
    ByOthers,
    ByThisType,
}

fn join(from: Known, to: Known, said: Said, rows: &mut Rows<'_>) -> Result<(), Error> {
    let (from_number, to_number) = (from.place.number(), to.place.number());
    let before = match from.is_new || to.is_new {
        // An event lists a ref once, so this is the first time that the two are joined.
        true => Before::Nothing,
        false => before(from_number, to_number, said.event, rows)?,
    };
    if before == Before::ByThisType {
        return repeat(from_number, to_number, said, rows);
    }
    let also = before == Before::ByOthers;
    push(from_number, Way::Down, to.place, also, said, rows)?;
    push(to_number, Way::Up, from.place, also, said, rows)
}

/// Looked for where there are fewer links: down from what was used, or up from what was produced.
fn before(from: u32, to: u32, event: u16, rows: &mut Rows<'_>) -> Result<Before, Error> {
    let (down, up) = (total(from, Way::Down, rows)?, total(to, Way::Up, rows)?);
    let (of, way, other) = if down <= up { (from, Way::Down, to) } else { (to, Way::Up, from) };
    let (key, slot) = rows::block(of, way);
    let mut before = Before::Nothing;
    let Some(row) = rows.look::<Links>("lineage.block", &key)? else { return Ok(before) };
    let chunks = rows::chunks(row.beyond(slot));
    look_for(other, event, row.of(slot), &mut before);
    for chunk in 0..chunks {
        if let Some(row) = rows.look::<Links>("lineage.chunk", &rows::chunk(of, way, chunk))? {
            look_for(other, event, row.links.iter(), &mut before);
        }
    }
    Ok(before)
}

fn look_for<'a>(other: u32, event: u16, links: impl Iterator<Item = &'a Link>, before: &mut Before) {
    for link in links.filter(|link| link.to.number() == other) {
        match link.event == event {
            true => *before = Before::ByThisType,
            false if *before == Before::Nothing => *before = Before::ByOthers,
            false => {}
        }
    }
}

fn total(number: u32, way: Way, rows: &mut Rows<'_>) -> Result<u32, Error> {
    let (key, slot) = rows::block(number, way);
    Ok(rows.look::<Links>("lineage.block", &key)?.map_or(0, |row| row.total(slot)))
}

fn push(of: u32, way: Way, to: Place, also: bool, said: Said, rows: &mut Rows<'_>) -> Result<(), Error> {
    let (key, slot) = rows::block(of, way);
    let link = Link { slot, also, to, first: said.position, event: said.event };
    if let Some(chunk) = rows.edit::<Links>("lineage.block", &key)?.push(link) {
        let row = rows.edit::<Links>("lineage.chunk", &rows::chunk(of, way, chunk))?;
        row.links.push(Link { slot: 0, ..link });
    }
    Ok(())
}

/// One more event of a type that said the same before.
fn repeat(from: u32, to: u32, said: Said, rows: &mut Rows<'_>) -> Result<(), Error> {
    let repeats = rows.edit::<Repeats>("lineage.repeats", &rows::repeats(from, to, said.event))?;
    let number = repeats.events / REPEATED_POSITIONS;
    (repeats.events, repeats.last) = (repeats.events + 1, said.position);
    let key = rows::repeated_at(from, to, said.event, number);
    rows.edit::<Vec<u64>>("lineage.repeated_at", &key)?.push(said.position);
    Ok(())
}

/// Files a run under the commits and digests that its code names.
fn note_code(run: &RunId, code: &Value, position: u64, rows: &mut Rows<'_>) -> Result<(), Error> {
    let codes = codes(code);
    if codes.is_empty() {
        return Ok(());
    }
    let run = numbered_one(&Ref::Run(*run), position, rows)?.place.number();
    for code in codes {
        let key = rows::code(&code, run);
        if !rows.contains(&key)? {
            rows.write(key, &position);
        }
    }
    Ok(())
}
