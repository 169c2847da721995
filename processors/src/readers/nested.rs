//! Records inside a record: a path of arrays whose elements, at its end, are the records. Pure.

use super::json;
use super::jsonl::name_of;
use serde_json::{Map, Value};
use std::fmt;
use std::str::FromStr;

/// Most steps of a path.
const STEPS_MAX: usize = 16;
/// Most names that a message lists.
const NAMES_SHOWN_MAX: usize = 30;
/// What is put before the name of an outer field where the inner record has one of the same name.
const OUTER_PREFIX: &str = "parent_";

/// Names of arrays, each in the elements of the one before: `data.paragraphs.qas`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordPath(Vec<String>);

impl RecordPath {
    /// Never empty.
    pub(crate) fn steps(&self) -> &[String] {
        &self.0
    }
}

impl FromStr for RecordPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let steps: Vec<String> = text.split('.').map(|step| step.trim().to_owned()).collect();
        if steps.len() > STEPS_MAX || steps.iter().any(String::is_empty) {
            let most = format!("1 to {STEPS_MAX} names of arrays joined by dots, such as data.paragraphs.qas");
            return Err(format!("`{text}` is no path of records; expected {most}"));
        }
        Ok(Self(steps))
    }
}

impl fmt::Display for RecordPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("."))
    }
}

/// One thing that a path leads to; the first value is its fragment.
pub(crate) enum Reached {
    Record(String, Map<String, Value>),
    /// An element that is no object.
    NoObject(String, String),
    /// The path does not go on here, or ends in nothing.
    Nothing(String, String),
}

/// Follows `path` below `fields`; records have the plain fields of everything that they stand in.
pub(crate) fn descend<E>(
    fragment: &str,
    mut fields: Map<String, Value>,
    path: &[String],
    inherited: &Map<String, Value>,
    sink: &mut dyn FnMut(Reached) -> Result<(), E>,
) -> Result<(), E> {
    let Some((name, rest)) = path.split_first() else {
        return sink(Reached::Record(fragment.to_owned(), merged(inherited, fields)));
    };
    let base = if fragment.is_empty() { "#" } else { fragment };
    let below = format!("{base}/{}", json::pointer_part(name));
    let mut nothing = |why: String| sink(Reached::Nothing(fragment.to_owned(), why));
    match fields.shift_remove(name) {
        None if fields.is_empty() => nothing(format!("there is no `{name}`, and nothing else")),
        None => nothing(format!("there is no `{name}`; the keys there are {}", names(&fields))),
        Some(Value::Array(elements)) if elements.is_empty() => nothing(format!("the array `{name}` is empty")),
        Some(Value::Array(elements)) => {
            let inherited = merged(inherited, plain(fields));
            for (index, element) in elements.into_iter().enumerate() {
                let fragment = format!("{below}/{index}");
                match element {
                    Value::Object(fields) => descend(&fragment, fields, rest, &inherited, sink)?,
                    other => {
                        let why = format!("element {index} of `{name}` is {}; expected an object", name_of(&other));
                        sink(Reached::NoObject(fragment, why))?;
                    }
                }
            }
            Ok(())
        }
        // An object on the way holds the next array.
        Some(Value::Object(inside)) if !rest.is_empty() => {
            descend(&below, inside, rest, &merged(inherited, plain(fields)), sink)
        }
        Some(other) => {
            let others = if fields.is_empty() { "none".to_owned() } else { names(&fields) };
            let what = name_of(&other);
            nothing(format!("`{name}` is {what}; expected an array of objects; the other keys there are {others}"))
        }
    }
}

fn names(fields: &Map<String, Value>) -> String {
    fields.keys().map(String::as_str).take(NAMES_SHOWN_MAX).collect::<Vec<_>>().join(", ")
}

/// Texts, numbers and booleans.
fn plain(fields: Map<String, Value>) -> Map<String, Value> {
    fields.into_iter().filter(|(_, value)| value.is_string() || value.is_number() || value.is_boolean()).collect()
}

/// The inner fields keep their names; of two outer ones the nearer has the shorter.
fn merged(outer: &Map<String, Value>, mut inner: Map<String, Value>) -> Map<String, Value> {
    let mut outer: Vec<(&String, &Value)> = outer.iter().collect();
    outer.sort_by_key(|(name, _)| name.len());
    for (name, value) in outer {
        let mut name = name.clone();
        while inner.contains_key(&name) {
            name.insert_str(0, OUTER_PREFIX);
        }
        inner.insert(name, value.clone());
    }
    inner
}

/// A path of a `source_uri` as the file system has it.
pub(crate) fn unescaped(uri: &str) -> String {
    let (mut bytes, mut rest) = (Vec::with_capacity(uri.len()), uri.as_bytes());
    while let [first, others @ ..] = rest {
        let hex = others.get(..2).filter(|_| *first == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &others[2..];
            }
            None => {
                bytes.push(*first);
                rest = others;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
