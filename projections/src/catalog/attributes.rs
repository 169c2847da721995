//! What events say of an entity: a JSON object. What one event says of a new entity is stored as the text that it has,
//! without a look into it: most entities (documents, results) are never changed again.

use bincode::de::Decoder;
use bincode::enc::Encoder;
use bincode::error::{DecodeError, EncodeError};
use bincode::{Decode, Encode};
use cairn_schemas::Event;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};

/// Free-form JSON that nests deeper is kept as its text: what holds it must be readable too.
const DEPTH_MAX: usize = 100;
/// Digits in a row, and of an exponent, with which a number is surely one that a value can hold.
const DIGITS_MAX: usize = 100;
const EXPONENT_DIGITS_MAX: usize = 2;

/// A JSON object, stored as its text.
#[derive(Clone, Debug, Default)]
pub(super) struct Attributes {
    members: OnceCell<Map<String, Value>>,
    /// The same as JSON, until a member is changed.
    text: Option<String>,
}

impl Attributes {
    /// Takes all fields of an event's payload but those that the entity's own ref says.
    pub(super) fn take(&mut self, event: &Event, except: &[&str]) {
        let is_empty = self.text.is_none() && self.members.get().is_none_or(Map::is_empty);
        match is_empty.then(|| plain(&event.to_json(), except)).flatten() {
            Some(text) => *self = Self { members: OnceCell::new(), text: Some(text) },
            None => self.extend(fields(event, except)),
        }
    }

    pub(super) fn into_members(mut self) -> Map<String, Value> {
        std::mem::take(&mut *self)
    }
}

impl Deref for Attributes {
    type Target = Map<String, Value>;
    fn deref(&self) -> &Self::Target {
        self.members.get_or_init(|| match &self.text {
            Some(text) => serde_json::from_str(text).expect("it was looked through when it was taken"),
            None => Map::new(),
        })
    }
}
impl DerefMut for Attributes {
    fn deref_mut(&mut self) -> &mut Self::Target {
        let _ = &**self;
        self.text = None;
        self.members.get_mut().expect("it was just made")
    }
}
impl PartialEq for Attributes {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}
impl From<Map<String, Value>> for Attributes {
    fn from(members: Map<String, Value>) -> Self {
        Self { members: members.into(), text: None }
    }
}
impl Encode for Attributes {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        match &self.text {
            Some(text) => text.encode(encoder),
            None => serde_json::to_vec(&**self).expect("JSON has a text").encode(encoder),
        }
    }
}
impl<C> Decode<C> for Attributes {
    fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let text: Vec<u8> = Decode::decode(decoder)?;
        let members: Result<Map<_, _>, _> = serde_json::from_slice(&text);
        members.map(Self::from).map_err(|e| DecodeError::OtherString(e.to_string()))
    }
}
bincode::impl_borrow_decode!(Attributes);

/// The fields of an event's payload.
pub(super) fn fields(event: &Event, except: &[&str]) -> Map<String, Value> {
    let mut fields = match event.to_value() {
        Ok(Value::Object(fields)) => fields,
        _ => lenient(&event.to_json()),
    };
    except.iter().for_each(|name| drop(fields.shift_remove(*name)));
    for value in fields.values_mut().filter(|value| is_deeper(value, DEPTH_MAX)) {
        *value = Value::String(value.to_string());
    }
    fields
}

/// The members of an object; those that no value can hold as their text.
fn lenient(text: &str) -> Map<String, Value> {
    let members: BTreeMap<String, Box<RawValue>> = serde_json::from_str(text).expect("payloads are JSON objects");
    let value = |raw: &RawValue| serde_json::from_str(raw.get()).unwrap_or_else(|_| raw.get().into());
    members.iter().map(|(name, raw)| (name.clone(), value(raw))).collect()
}

fn is_deeper(value: &Value, depth: usize) -> bool {
    let inner = |value: &Value| depth == 0 || is_deeper(value, depth - 1);
    match value {
        Value::Array(items) => items.iter().any(inner),
        Value::Object(members) => members.values().any(inner),
        _ => false,
    }
}

/// The text of an object without some of its members, copied as they stand. `None` where a value might not hold one:
/// such objects are looked into. `object` is JSON without white space between its members.
fn plain(object: &str, except: &[&str]) -> Option<String> {
    let bytes = object.as_bytes();
    let mut out = String::with_capacity(object.len());
    let mut at = 1;
    while bytes[at] != b'}' {
        let name_end = string_end(bytes, at);
        let end = value_end(bytes, name_end + 1)?;
        if !except.contains(&&object[at + 1..name_end - 1]) {
            out.push(if out.is_empty() { '{' } else { ',' });
            out.push_str(&object[at..end]);
        }
        at = end + usize::from(bytes[end] == b',');
    }
    out.push_str(if out.is_empty() { "{}" } else { "}" });
    Some(out)
}

/// The place after a string that begins at `at`.
fn string_end(bytes: &[u8], mut at: usize) -> usize {
    loop {
        at += 1;
        match bytes[at] {
            b'"' => return at + 1,
            b'\\' => at += 1,
            _ => {}
        }
    }
}

/// The place after a value that begins at `at`, unless it nests deeply or holds a number that may be too large.
fn value_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    let (mut depth, mut digits) = (0, 0);
    loop {
        let byte = bytes[at];
        digits = if byte.is_ascii_digit() { digits + 1 } else { 0 };
        match byte {
            b'"' => {
                at = string_end(bytes, at);
                if depth == 0 {
                    return Some(at);
                }
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' | b',' if depth == 0 => return Some(at),
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            b'e' | b'E' if bytes[at - 1].is_ascii_digit() => {
                let sign = usize::from(matches!(bytes[at + 1], b'+' | b'-'));
                let exponent = bytes[at + 1 + sign..].iter().take_while(|byte| byte.is_ascii_digit()).count();
                if exponent > EXPONENT_DIGITS_MAX {
                    return None;
                }
            }
            _ => {}
        }
        if depth > DEPTH_MAX || digits > DIGITS_MAX {
            return None;
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_schemas::RawJson;
    use cairn_schemas::events::model::VersionRegistered;
    use serde_json::json;

    fn event(metadata: &str) -> Event {
        VersionRegistered {
            model: "model://team/chat@1".parse().unwrap(),
            run: None,
            weights: None,
            weights_digest: None,
            tokenizer: None,
            architecture: RawJson::default(),
            dataset: None,
            base_model: None,
            parameters: Some(7),
            training_samples: None,
            metadata: RawJson::parse(metadata).unwrap(),
        }
        .into()
    }

    #[test]
    fn taken_as_text_or_looked_into_it_is_the_same() {
        let deep = format!("{}1{}", "[".repeat(110), "]".repeat(110));
        let plain_ones = [
            r#"{}"#,
            r#"{ "a" : [1, -2.5e-7, "b\"]},{", true, null, {"c": {}}], "d": "\\" }"#,
            r#"{"text": "1e999", "e": false}"#,
        ];
        let others = [r#"{"a": 1e999}"#, &deep, &format!("[{}]", "9".repeat(400)), r#"{"a": 1E+300}"#];
        for metadata in plain_ones.into_iter().chain(others) {
            let event = event(metadata);
            for except in [&["model"][..], &[], &["metadata", "parameters"], &["model", "architecture", "metadata"]] {
                let mut taken = Attributes::default();
                taken.take(&event, except);
                assert_eq!(taken.text.is_some(), plain(&event.to_json(), except).is_some());
                assert_eq!(*taken, fields(&event, except), "{metadata}, {except:?}");
            }
            let is_plain = plain(&event.to_json(), &[]).is_some();
            assert_eq!(is_plain, plain_ones.contains(&metadata), "{metadata}");
        }
    }

    #[test]
    fn what_is_changed_is_no_longer_the_text() {
        let mut taken = Attributes::default();
        taken.take(&event(r#"{"a": 1}"#), &["model"]);
        taken.insert("more".into(), json!(1));
        let bytes = crate::projection::encode(&taken);
        let back: Attributes = crate::projection::decode("test", &bytes).unwrap();
        assert_eq!((back["more"].clone(), back["parameters"].clone()), (json!(1), json!(7)));
        taken.take(&event(r#"{"a": 2}"#), &[]);
        assert_eq!((taken["metadata"].clone(), taken["more"].clone()), (json!({ "a": 2 }), json!(1)));
    }
}
