//! JSON: an array of objects, an object around one array of objects, or one object that is one record.
//!
//! The file is read twice: once to see that it is whole and what shape it has, so that a truncated file yields no
//! records at all; then record by record. Neither pass holds more than one record.

use super::input::{Checked, Input, Meter, Metered, Utf8Check};
use super::jsonl::{bare, name_of};
use super::{Broken, Options, Output, non_utf8_detail};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

/// Names under which an object holds its array of records.
const WRAPPERS: [&str; 9] =
    ["data", "records", "rows", "items", "examples", "documents", "instances", "entries", "results"];
/// Names under which a record holds a conversation, which is one record and not many.
const CONVERSATIONS: [&str; 6] = ["messages", "conversation", "conversations", "turns", "dialog", "dialogue"];
/// Longest name of a member of the outermost object.
const NAME_BYTES_MAX: usize = 64 << 10;

pub(super) fn read(
    path: &Path,
    input: &mut Input,
    options: &Options,
    output: &mut Output<'_, '_>,
) -> Result<(), Broken> {
    let mut utf8 = Utf8Check::default();
    let mut start = [0; 4];
    let looked = look(path, &mut utf8, &mut start, options)?;
    if let Some(at) = utf8.invalid_at() {
        return output.reject("non_utf8", None, Some(at), non_utf8_detail(at, &start));
    }
    let plan = match looked {
        Looked::Plan(plan) => plan,
        Looked::Empty => return Ok(()),
        Looked::Rejected { rule, line, detail } => return output.reject(rule, line, None, detail),
    };
    if let (Place::Member(name), Some(below)) = (&plan.records, &mut output.below) {
        debug_assert_eq!(below.first(), Some(name), "the path decides the member");
        below.remove(0);
        output.inherited = plain_members(path)?;
    }
    let mut mark = [0; 3];
    let mut reader = input.reader();
    let read = read_up_to(&mut reader, &mut mark)?;
    let before: &[u8] = if mark[..read] == *b"\xef\xbb\xbf" { &[] } else { &mark[..read] };
    let mut stopped = None;
    let mut parser = serde_json::Deserializer::from_reader(before.chain(reader));
    let records = Records { plan: &plan, output: &mut *output, stopped: &mut stopped };
    let parsed = records.deserialize(&mut parser);
    match (stopped, parsed) {
        (Some(broken), _) => Err(broken),
        (None, Ok(())) => Ok(()),
        (None, Err(e)) if e.is_io() => Err(Broken::Io(e.into())),
        (None, Err(e)) => output.reject("invalid_json", Some(e.line() as u64), None, place(&e)),
    }
}

fn place(error: &serde_json::Error) -> String {
    format!("line {}, column {}: {}", error.line(), error.column(), bare(error))
}

fn read_up_to(reader: &mut impl Read, into: &mut [u8]) -> std::io::Result<usize> {
    let mut read = 0;
    while read < into.len() {
        match reader.read(&mut into[read..])? {
            0 => break,
            n => read += n,
        }
    }
    Ok(read)
}

/// Where the records stand, and which of them are too large to hold.
struct Plan {
    records: Place,
    oversize: BTreeSet<u64>,
}

#[derive(Clone, PartialEq)]
enum Place {
    /// The outermost array's elements.
    Elements,
    /// The elements of this member of the outermost object.
    Member(String),
    /// The outermost object is the record.
    Whole,
}

enum Looked {
    Plan(Plan),
    Empty,
    Rejected { rule: &'static str, line: Option<u64>, detail: String },
}

/// The first pass. `start` receives the file's first bytes.
fn look(path: &Path, utf8: &mut Utf8Check, start: &mut [u8; 4], options: &Options) -> Result<Looked, Broken> {
    let mut file = BufReader::with_capacity(256 << 10, Checked { inner: File::open(path)?, utf8 });
    let read = read_up_to(&mut file, start)?;
    let head = start[..read].strip_prefix(b"\xef\xbb\xbf").unwrap_or(&start[..read]).to_vec();
    let meter = Meter::default();
    let mut parser = serde_json::Deserializer::from_reader(Metered { inner: head.chain(&mut file), meter: &meter });
    let outline =
        Outline { meter: &meter, options }.deserialize(&mut parser).and_then(|found| parser.end().map(|()| found));
    drop(parser);
    // The rest is still checked to be UTF-8, which a parse that gave up early has not seen.
    std::io::copy(&mut file, &mut std::io::sink())?;
    Ok(match outline {
        Ok(found) => plan(found, meter.taken(), options),
        Err(e) if meter.stopped() => {
            let limit = options.document_bytes_max;
            let detail = format!("line {}: a value that is no record has more than {limit} bytes", e.line());
            Looked::Rejected { rule: "record_too_large", line: None, detail }
        }
        Err(e) if e.is_io() => return Err(Broken::Io(e.into())),
        Err(_) if meter.taken() == 0 => Looked::Empty,
        Err(_) if meter.blank() => {
            Looked::Rejected { rule: "empty_file", line: None, detail: "the file has only white space".to_owned() }
        }
        Err(e) => {
            let hint = match bare(&e).as_str() {
                "trailing characters" => "; a file with one object a line is named .jsonl",
                _ if e.is_eof() => ": the file is cut off",
                _ => "",
            };
            let detail = format!("{}{hint}", place(&e));
            Looked::Rejected { rule: "invalid_json", line: Some(e.line() as u64), detail }
        }
    })
}

fn plan(found: Found, bytes: u64, options: &Options) -> Looked {
    let rejected = |rule, detail| Looked::Rejected { rule, line: None, detail };
    let members = match found {
        Found::Array(array) if array.elements == 0 => {
            return rejected("empty_file", "the file holds an empty array".to_owned());
        }
        Found::Array(array) => {
            return Looked::Plan(Plan { records: Place::Elements, oversize: array.oversize });
        }
        Found::Other(what) => {
            let detail = format!("the file holds {what}; expected an array of objects, or an object");
            return rejected("not_an_object", detail);
        }
        Found::Object(members) if members.is_empty() => {
            return rejected("empty_file", "the file holds an empty object".to_owned());
        }
        Found::Object(members) => members,
    };
    let alone = members.len() == 1;
    let holds_records = |member: &Member| {
        let name = member.name.as_str();
        let named = match &options.records {
            Some(path) => path.steps()[0] == name,
            None => WRAPPERS.contains(&name) || (alone && !CONVERSATIONS.contains(&name)),
        };
        named && member.array.as_ref().is_some_and(|array| array.objects > 0)
    };
    let (mut arrays, others): (Vec<Member>, Vec<Member>) = members.into_iter().partition(holds_records);
    let around: u64 = others.iter().map(|member| member.bytes).sum();
    match arrays.len() {
        0 if bytes > options.document_bytes_max as u64 => {
            let limit = options.document_bytes_max;
            rejected("document_too_large", format!("the object has {bytes} bytes; at most {limit} are read"))
        }
        0 => Looked::Plan(Plan { records: Place::Whole, oversize: BTreeSet::new() }),
        1 if around > options.document_bytes_max as u64 => {
            let limit = options.document_bytes_max;
            let detail = format!("the members around the records have {around} bytes; at most {limit} are read");
            rejected("document_too_large", detail)
        }
        1 => {
            let Member { name, array, .. } = arrays.remove(0);
            let oversize = array.map(|a| a.oversize).unwrap_or_default();
            Looked::Plan(Plan { records: Place::Member(name), oversize })
        }
        _ => {
            let names: Vec<String> = arrays.into_iter().map(|member| member.name).collect();
            let detail = format!(
                "the object holds several arrays of records ({}); expected one, or `records` naming one",
                names.join(", ")
            );
            rejected("ambiguous_records", detail)
        }
    }
}

/// What the outermost value is, with its records counted and measured but not kept.
enum Found {
    Array(Array),
    Object(Vec<Member>),
    Other(&'static str),
}

/// One member of the outermost object; `array` where its value is one.
struct Member {
    name: String,
    array: Option<Array>,
    bytes: u64,
}

#[derive(Default)]
struct Array {
    elements: u64,
    objects: u64,
    /// Numbers of the elements that are larger than allowed, from 0.
    oversize: BTreeSet<u64>,
}

/// Finds the outline of the outermost value.
#[derive(Clone, Copy)]
struct Outline<'a> {
    meter: &'a Meter,
    options: &'a Options,
}

impl Outline<'_> {
    /// From here on a value may be held, so it may only be so large.
    fn bounded(&self, bytes: usize) {
        self.meter.allow(Some(bytes));
    }
}

impl<'de> DeserializeSeed<'de> for Outline<'_> {
    type Value = Found;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Found, D::Error> {
        self.bounded(self.options.document_bytes_max);
        from.deserialize_any(self)
    }
}

macro_rules! scalars {
    ($of:path) => {
        fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
            Ok($of("a boolean"))
        }
        fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
            Ok($of("a number"))
        }
        fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
            Ok($of("a number"))
        }
        fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
            Ok($of("a number"))
        }
        fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
            Ok($of("a string"))
        }
        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok($of("null"))
        }
    };
}

impl<'de> Visitor<'de> for Outline<'_> {
    type Value = Found;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of objects, or an object")
    }

    scalars!(Found::Other);

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Found, A::Error> {
        let mut array = Array::default();
        loop {
            let before = self.meter.taken();
            let Some(is_object) = elements.next_element_seed(Shallow(self))? else { break };
            if self.meter.taken() - before > self.options.line_bytes_max as u64 {
                array.oversize.insert(array.elements);
            }
            array.elements += 1;
            array.objects += u64::from(is_object);
        }
        self.bounded(NAME_BYTES_MAX);
        Ok(Found::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Found, A::Error> {
        let mut members = Vec::new();
        self.bounded(NAME_BYTES_MAX);
        while let Some(name) = map.next_key::<String>()? {
            let before = self.meter.taken();
            let array = map.next_value_seed(MemberOutline(self))?;
            members.push(Member { name, array, bytes: self.meter.taken() - before });
            self.bounded(NAME_BYTES_MAX);
        }
        Ok(Found::Object(members))
    }
}

/// Passes over one value without keeping it; says whether it is an object.
struct Shallow<'a>(Outline<'a>);

impl<'de> DeserializeSeed<'de> for Shallow<'_> {
    type Value = bool;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<bool, D::Error> {
        self.0.bounded(self.0.options.document_bytes_max);
        from.deserialize_any(self)
    }
}

fn no_object(_: &str) -> bool {
    false
}

impl<'de> Visitor<'de> for Shallow<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    scalars!(no_object);

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<bool, A::Error> {
        // Ignored values are passed over without being held, so there is no need of a limit inside them.
        self.0.meter.allow(None);
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(false)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        self.0.meter.allow(None);
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(true)
    }
}

/// The outline of one member of the outermost object: `Some` where it is an array.
struct MemberOutline<'a>(Outline<'a>);

impl<'de> DeserializeSeed<'de> for MemberOutline<'_> {
    type Value = Option<Array>;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Option<Array>, D::Error> {
        self.0.bounded(self.0.options.document_bytes_max);
        from.deserialize_any(self)
    }
}

fn no_array(_: &str) -> Option<Array> {
    None
}

impl<'de> Visitor<'de> for MemberOutline<'_> {
    type Value = Option<Array>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    scalars!(no_array);

    fn visit_seq<A: SeqAccess<'de>>(self, elements: A) -> Result<Option<Array>, A::Error> {
        match self.0.visit_seq(elements)? {
            Found::Array(array) => Ok(Some(array)),
            _ => unreachable!("a sequence is an array"),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Option<Array>, A::Error> {
        Shallow(self.0).visit_map(map)?;
        Ok(None)
    }
}

/// The second pass: hands each record to the output.
struct Records<'a, 'b, 'c> {
    plan: &'a Plan,
    output: &'a mut Output<'b, 'c>,
    /// What the output refused, kept here because a parser's error can only be a message.
    stopped: &'a mut Option<Broken>,
}

impl Records<'_, '_, '_> {
    fn kept<E: serde::de::Error>(&mut self, result: Result<(), Broken>) -> Result<(), E> {
        result.map_err(|broken| {
            *self.stopped = Some(broken);
            E::custom("stopped")
        })
    }
}

impl<'de> DeserializeSeed<'de> for Records<'_, '_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Records<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of objects, or an object")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut elements: A) -> Result<(), A::Error> {
        let base = match &self.plan.records {
            Place::Member(name) => format!("#/{}", pointer_part(name)),
            _ => "#".to_owned(),
        };
        for index in 0.. {
            let fragment = format!("{base}/{index}");
            if self.plan.oversize.contains(&index) {
                if elements.next_element::<IgnoredAny>()?.is_none() {
                    break;
                }
                let detail = format!("element {index} of the array has more bytes than are read of one record");
                let done = self.output.reject_at(&fragment, "record_too_large", None, None, detail);
                self.kept(done)?;
                continue;
            }
            let done = match elements.next_element::<Value>()? {
                None => break,
                Some(Value::Object(fields)) => self.output.record(&fragment, fields, None),
                Some(other) => {
                    let detail = format!("element {index} of the array is {}; expected an object", name_of(&other));
                    self.output.reject_at(&fragment, "not_an_object", None, None, detail)
                }
            };
            self.kept(done)?;
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let mut fields = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            if self.plan.records == Place::Member(name.clone()) {
                let records = Records { plan: self.plan, output: &mut *self.output, stopped: &mut *self.stopped };
                map.next_value_seed(records)?;
            } else {
                fields.insert(name, map.next_value::<Value>()?);
            }
        }
        if self.plan.records == Place::Whole {
            let done = self.output.record("", fields, None);
            return self.kept(done);
        }
        self.output.header = fields;
        Ok(())
    }
}

/// The outermost object's members that are texts, numbers or booleans: records below it have them too.
fn plain_members(path: &Path) -> Result<Map<String, Value>, Broken> {
    let mut file = BufReader::with_capacity(256 << 10, File::open(path)?);
    let mut mark = [0; 3];
    let read = read_up_to(&mut file, &mut mark)?;
    let before: &[u8] = if mark[..read] == *b"\xef\xbb\xbf" { &[] } else { &mark[..read] };
    let mut parser = serde_json::Deserializer::from_reader(before.chain(file));
    // The first pass saw that the file is whole; if it was changed since, the pass over the records says so.
    let members = BTreeMap::<String, Plain>::deserialize(&mut parser).unwrap_or_default();
    Ok(members.into_iter().filter_map(|(name, Plain(value))| Some((name, value?))).collect())
}

/// A text, number or boolean; anything else is passed over without being held.
struct Plain(Option<Value>);

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(PlainVisitor)
    }
}

struct PlainVisitor;

impl<'de> Visitor<'de> for PlainVisitor {
    type Value = Plain;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Plain, E> {
        Ok(Plain(Some(value.into())))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Plain, E> {
        Ok(Plain(Some(value.into())))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Plain, E> {
        Ok(Plain(Some(value.into())))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Plain, E> {
        Ok(Plain(Some(value.into())))
    }

    fn visit_str<E>(self, value: &str) -> Result<Plain, E> {
        Ok(Plain(Some(value.into())))
    }

    fn visit_unit<E>(self) -> Result<Plain, E> {
        Ok(Plain(None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Plain, A::Error> {
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Plain(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Plain, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Plain(None))
    }
}

/// A member's name inside a JSON pointer that is a URI fragment.
pub(super) fn pointer_part(name: &str) -> String {
    super::escaped(name.replace('~', "~0").replace('/', "~1").as_bytes())
}
