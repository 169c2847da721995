//! Events to edges: every ref that an event used is joined to every ref that it produced.

use super::rows::{self, NodeRow, Said, Way, rank};
use crate::Error;
use crate::projection::Rows;
use cairn_schemas::{Recorded, Ref};

pub(super) fn apply(recorded: &Recorded, rows: &mut Rows<'_>) -> Result<(), Error> {
    // An event that produced nothing links what it used to what it is about.
    let about: Option<Ref> = match recorded.produced.is_empty() && !recorded.used.is_empty() {
        true => recorded.stream.parse().ok(),
        false => None,
    };
    let used = numbered(&recorded.used, rows)?;
    let produced = match &about {
        Some(about) => numbered(std::slice::from_ref(about), rows)?,
        None => numbered(&recorded.produced, rows)?,
    };
    for from in &used {
        for to in &produced {
            if from.number != to.number {
                join(from, to, recorded, rows)?;
            }
        }
    }
    Ok(())
}

struct Known {
    number: u64,
    rank: u8,
}

/// The numbers of refs; a ref mentioned for the first time is given the next.
fn numbered(refs: &[Ref], rows: &mut Rows<'_>) -> Result<Vec<Known>, Error> {
    let mut known = Vec::with_capacity(refs.len());
    for reference in refs {
        let text = reference.to_string();
        let key = rows::number(&text);
        let number = match rows.read("lineage.number", &key)? {
            Some(number) => number,
            None => {
                let number: u64 = rows.read("lineage.nodes", &rows::nodes())?.unwrap_or(0);
                rows.write(rows::nodes(), &(number + 1));
                rows.write(key, &number);
                rows.write(rows::node(number), &NodeRow { reference: text, up: [0; 8], down: [0; 8] });
                number
            }
        };
        known.push(Known { number, rank: rank(reference) });
    }
    Ok(known)
}

fn join(from: &Known, to: &Known, recorded: &Recorded, rows: &mut Rows<'_>) -> Result<(), Error> {
    let down = rows::edge(Way::Down, from.number, to.rank, to.number);
    let up = rows::edge(Way::Up, to.number, from.rank, from.number);
    let known: Option<Vec<Said>> = rows.read("lineage.edge", &down)?;
    if known.is_none() {
        count(from.number, Way::Down, to.rank, rows)?;
        count(to.number, Way::Up, from.rank, rows)?;
    }
    let mut said = known.unwrap_or_default();
    let position = recorded.position.get();
    match said.iter_mut().find(|said| said.event_type == recorded.event.type_name()) {
        Some(said) => (said.last, said.events) = (position, said.events + 1),
        None => said.push(Said {
            event_type: recorded.event.type_name().to_owned(),
            first: position,
            last: position,
            events: 1,
        }),
    }
    rows.write(down, &said);
    rows.write(up, &said);
    Ok(())
}

fn count(number: u64, way: Way, rank: u8, rows: &mut Rows<'_>) -> Result<(), Error> {
    let key = rows::node(number);
    let node: Option<NodeRow> = rows.read("lineage.node", &key)?;
    let mut node = node.ok_or_else(|| Error::row("lineage.node", format!("node {number} is missing")))?;
    let degrees = match way {
        Way::Up => &mut node.up,
        Way::Down => &mut node.down,
    };
    degrees[rank as usize] += 1;
    rows.write(key, &node);
    Ok(())
}
