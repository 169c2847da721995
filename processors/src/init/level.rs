//! Where in the JSON the records stand: at the level that holds questions and answers, or most text.

use super::shape::{Shape, lookup};
use crate::readers::nested::{self, Reached};
use serde_json::{Map, Value};
use std::collections::HashSet;
use std::convert::Infallible;

/// Deepest array that is looked into, below what a reader takes for a record.
const DEPTH_MAX: usize = 4;
/// Records, and elements of an array, by which the arrays inside are found.
const LOOKED_INTO: usize = 20;
/// Inner records by which a level is judged.
const INNER_RECORDS_MAX: usize = 5_000;
/// An inner level is chosen for its text alone where it has so many times more of it.
const TEXT_FACTOR: usize = 2;
/// Where fewer of the texts that questions are about differ, they are documents of their own.
const DISTINCT_SHARE: f64 = 0.8;
/// What questions are about, by name, that tends to be asked about several times.
const CONTEXT: &str = "context";

/// A path and the objects in its arrays.
type Objects<'r> = (Vec<String>, Vec<&'r Map<String, Value>>);

/// Records of one shape, and the path to them in their file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Level {
    pub(super) shape: Shape,
    pub(super) records: Option<String>,
}

/// The levels that a file's records are taken at: one, or one for questions and one for what they are about.
/// `member` is the outermost member that `records` are the elements of.
pub(super) fn choose(records: &[Map<String, Value>], member: Option<&str>) -> Result<Vec<Level>, String> {
    let own = Shape::of(records);
    if matches!(own, Ok(Shape::Pair { .. })) {
        return own.map(|shape| with_context(shape, records, None, &[], member));
    }
    let paths = arrays(records);
    let mut best: Option<(usize, Level)> = None;
    let outer = own.as_ref().map_or(0, |shape| weight(shape, records));
    for path in &paths {
        let inner = inner(records, path);
        let Ok(shape) = Shape::of(&inner) else { continue };
        if matches!(shape, Shape::Pair { .. }) {
            return Ok(with_context(shape, &inner, Some(path), records, member));
        }
        let weight = weight(&shape, &inner);
        if weight > TEXT_FACTOR * outer.max(best.as_ref().map_or(0, |(most, _)| *most)) {
            best = Some((weight, Level { shape, records: Some(whole(member, path)) }));
        }
    }
    match best {
        Some((_, level)) => Ok(vec![level]),
        None => own.map(|shape| vec![Level { shape, records: None }]),
    }
}

/// Where several questions are about one context, the contexts are documents of their own: a question's document is
/// then what it adds, so that questions about one context are no near duplicates.
fn with_context(
    shape: Shape,
    records: &[Map<String, Value>],
    path: Option<&[String]>,
    outer: &[Map<String, Value>],
    member: Option<&str>,
) -> Vec<Level> {
    let at = path.map(|path| whole(member, path));
    let context = Shape::Field(CONTEXT.to_owned());
    let repeats = match &shape {
        Shape::Pair { input: Some(input), .. } if context.text().as_ref() == Some(input) => repeats(records),
        _ => false,
    };
    let Shape::Pair { instruction, input, output, .. } = shape else { return vec![Level { shape, records: at }] };
    let pair = Level { shape: Shape::Pair { instruction, input, output, apart: repeats }, records: at.clone() };
    if !repeats {
        return vec![pair];
    }
    let above = path.map(|path| &path[..path.len() - 1]);
    let contexts = match above {
        // Each context once, where the questions stand inside it.
        Some([]) if outer.iter().any(|record| record.contains_key(CONTEXT)) => member.map(str::to_owned),
        Some(above) if !above.is_empty() && inner_own(outer, above) => Some(whole(member, above)),
        _ => at,
    };
    vec![pair, Level { shape: context, records: contexts }]
}

/// Whether records at this path have a context of their own rather than from further out.
fn inner_own(outer: &[Map<String, Value>], above: &[String]) -> bool {
    inner(outer, above).iter().any(|record| record.contains_key(CONTEXT))
        && !outer.iter().any(|record| record.contains_key(CONTEXT))
}

fn repeats(records: &[Map<String, Value>]) -> bool {
    let contexts: Vec<&str> =
        records.iter().filter_map(|record| lookup(record, CONTEXT)?.as_str()).filter(|text| !text.is_empty()).collect();
    let distinct: HashSet<&&str> = contexts.iter().collect();
    !contexts.is_empty() && (distinct.len() as f64) < DISTINCT_SHARE * contexts.len() as f64
}

/// Bytes of text that differ: what records have from further out counts once.
fn weight(shape: &Shape, records: &[Map<String, Value>]) -> usize {
    let Shape::Field(name) = shape else { return 0 };
    let texts: HashSet<&str> = records.iter().filter_map(|record| record.get(name)?.as_str()).collect();
    texts.into_iter().map(str::len).sum()
}

/// With the member around the records, as a pipeline has it.
fn whole(member: Option<&str>, path: &[String]) -> String {
    member.into_iter().chain(path.iter().map(String::as_str)).collect::<Vec<_>>().join(".")
}

fn inner(records: &[Map<String, Value>], path: &[String]) -> Vec<Map<String, Value>> {
    let mut found = Vec::new();
    for record in records {
        let done = nested::descend::<Infallible>("", record.clone(), path, &Map::new(), &mut |reached| {
            if let Reached::Record(_, fields) = reached {
                found.push(fields);
            }
            Ok(())
        });
        let Ok(()) = done;
        if found.len() >= INNER_RECORDS_MAX {
            break;
        }
    }
    found
}

/// Paths to arrays of objects inside the records, outer ones first.
fn arrays(records: &[Map<String, Value>]) -> Vec<Vec<String>> {
    let mut found: Vec<Vec<String>> = Vec::new();
    let mut level: Vec<Objects<'_>> = vec![(Vec::new(), records.iter().take(LOOKED_INTO).collect())];
    for _ in 0..DEPTH_MAX {
        let mut below: Vec<Objects<'_>> = Vec::new();
        for (path, objects) in level {
            for (name, value) in objects.into_iter().flatten() {
                // A path joins its steps by dots.
                let Some(elements) = value.as_array().filter(|_| !name.contains('.')) else { continue };
                let objects: Vec<_> = elements.iter().take(LOOKED_INTO).filter_map(Value::as_object).collect();
                if objects.is_empty() {
                    continue;
                }
                let path: Vec<String> = path.iter().chain([name]).cloned().collect();
                match below.iter_mut().find(|(known, _)| *known == path) {
                    Some((_, known)) => known.extend(objects),
                    None => below.push((path, objects)),
                }
            }
        }
        found.extend(below.iter().map(|(path, _)| path.clone()));
        level = below;
    }
    found
}
