//! CloudEvents 1.0: JSON structured, JSON batch and HTTP binary, in; JSON structured, out.
//!
//! `subject` is the stream; `project`, `expectedversion` and `causation` are extension attributes; other extensions
//! are kept as received. `datasubject` names whom the event's free text is about; it is stored sealed, as that is. Source: <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md>.

use crate::error::quoted;
use crate::{BATCH_EVENTS_MAX, Envelope, Error, Event, NewEvent, Recorded};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// Media type of one event in JSON structured mode.
pub const STRUCTURED: &str = "application/cloudevents+json";
/// Media type of a JSON batch.
pub const BATCH: &str = "application/cloudevents-batch+json";

/// What the ledger itself says of an event: a producer cannot.
const LEDGERS_OWN: [&str; 7] =
    ["erased", "position", "recordedtime", "redactedby", "sealed", "streamversion", "tenant"];
/// Sources of Cairn's own jobs: an event from outside cannot pass for one of theirs.
const OWN_SOURCES: &str = "cairn://";

/// What the ledger does itself and then says: with these from outside, anybody could authorise an erasure.
const LEDGERS_OWN_FACTS: [&str; 3] =
    ["cairn.governance.subject_erased.", "cairn.governance.payloads_redacted.", "cairn.governance.log_continued."];

/// Longest text of one attribute, in bytes.
const ATTRIBUTE_BYTES_MAX: usize = 4096;
/// Most extension attributes that Cairn does not know.
const EXTENSIONS_MAX: usize = 32;

fn wrong(why: impl Into<String>) -> Error {
    Error::CloudEvent(why.into())
}

/// The text of an attribute: a string as it is, a number or boolean in its JSON form.
fn attribute_text(name: &str, value: &RawValue) -> Result<Option<String>, Error> {
    let text = match serde_json::from_str(value.get()).map_err(|e| wrong(format!("attribute `{name}`: {e}")))? {
        serde_json::Value::Null => return Ok(None),
        serde_json::Value::String(text) => text,
        scalar @ (serde_json::Value::Bool(_) | serde_json::Value::Number(_)) => scalar.to_string(),
        _ => {
            return Err(wrong(format!("attribute `{name}` must be a string, a number or a boolean")));
        }
    };
    Ok(Some(text))
}

/// Attributes of either mode, gathered before they are understood.
#[derive(Default)]
struct Attributes(BTreeMap<String, String>);

impl Attributes {
    fn insert(&mut self, name: &str, text: String) -> Result<(), Error> {
        if text.len() > ATTRIBUTE_BYTES_MAX {
            return Err(wrong(format!("attribute `{name}` has {} bytes; at most {ATTRIBUTE_BYTES_MAX}", text.len())));
        }
        self.0.insert(name.to_owned(), text);
        Ok(())
    }
    fn required(&mut self, name: &str) -> Result<String, Error> {
        match self.0.remove(name) {
            Some(text) if !text.is_empty() => Ok(text),
            Some(_) => Err(wrong(format!("required attribute `{name}` is empty"))),
            None => Err(wrong(format!("required attribute `{name}` is missing"))),
        }
    }
    fn optional(&mut self, name: &str) -> Option<String> {
        self.0.remove(name).filter(|text| !text.is_empty())
    }

    fn into_event(mut self, data: Option<&str>) -> Result<NewEvent, Error> {
        let version = self.required("specversion")?;
        if version != "1.0" {
            return Err(wrong(format!("specversion `{}` is not supported; use 1.0", quoted(&version))));
        }
        let event_type = self.required("type")?;
        let (source, id) = (self.required("source")?, self.required("id")?);
        if LEDGERS_OWN_FACTS.iter().any(|own| event_type.starts_with(own)) {
            return Err(wrong(format!("type `{}` is recorded by Cairn alone, when it does so", quoted(&event_type))));
        }
        if source.starts_with(OWN_SOURCES) {
            return Err(wrong(format!("source `{}` is reserved for Cairn's own jobs; name your own", quoted(&source))));
        }
        if let Some(name) = LEDGERS_OWN.iter().find(|name| self.0.contains_key(**name)) {
            return Err(wrong(format!("attribute `{name}` is the ledger's to give; leave it out")));
        }
        if let Some(media) = self.optional("datacontenttype")
            && !is_json(&media)
        {
            return Err(wrong(format!("datacontenttype `{}` is not supported; send application/json", quoted(&media))));
        }
        self.0.remove("dataschema");
        let occurred_at =
            self.optional("time").map(|t| t.parse()).transpose().map_err(|e| wrong(format!("time: {e}")))?;
        let expected_version = match self.optional("expectedversion") {
            None => None,
            Some(text) => Some(
                text.parse()
                    .map_err(|_| wrong(format!("expectedversion `{}` is not a whole number from 0", quoted(&text))))?,
            ),
        };
        let project = self.optional("project");
        if let Some(name) = &project {
            name.parse::<crate::ProjectName>()?;
        }
        let (stream, causation) = (self.optional("subject"), self.optional("causation"));
        if self.0.len() > EXTENSIONS_MAX {
            return Err(wrong(format!("{} extension attributes; at most {EXTENSIONS_MAX}", self.0.len())));
        }
        for name in self.0.keys() {
            if !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()) {
                return Err(wrong(format!("attribute `{}` is not named by a-z and 0-9", quoted(name))));
            }
        }
        let data = data.ok_or_else(|| wrong(format!("`data` is missing; type {event_type} needs it")))?;
        let event = Event::from_json(&event_type, data)?;
        check_subject(stream.as_deref(), &event)?;
        let envelope =
            Envelope { source, id, stream, project, occurred_at, expected_version, causation, extensions: self.0 };
        Ok(NewEvent { envelope, event })
    }
}

/// A subject must be what the data is about, or `expectedversion` would guard one stream and change another. Custom
/// events choose theirs.
fn check_subject(subject: Option<&str>, event: &Event) -> Result<(), Error> {
    let about = event.default_stream();
    match subject {
        Some(given) if given != about && !matches!(event, Event::CustomRecorded(_)) => Err(wrong(format!(
            "subject `{}` is not what the data is about: `{about}`; send that, or none",
            quoted(given)
        ))),
        _ => Ok(()),
    }
}

fn is_json(media: &str) -> bool {
    let bare = media.split(';').next().unwrap_or_default().trim();
    bare.eq_ignore_ascii_case("application/json") || bare.to_ascii_lowercase().ends_with("+json")
}

impl NewEvent {
    /// One event in JSON structured mode.
    pub fn from_cloudevent(json: &[u8]) -> Result<Self, Error> {
        let members: BTreeMap<String, &RawValue> =
            serde_json::from_slice(json).map_err(|e| wrong(format!("not a JSON object: {e}")))?;
        let mut attributes = Attributes::default();
        let mut data = None;
        for (name, value) in &members {
            match name.as_str() {
                "data" => data = Some(value.get()),
                "data_base64" => {
                    return Err(wrong("`data_base64` is not supported; send JSON in `data`"));
                }
                _ => {
                    if let Some(text) = attribute_text(name, value)? {
                        attributes.insert(name, text)?;
                    }
                }
            }
        }
        attributes.into_event(data)
    }

    /// A JSON batch: an array of structured events. An error names the event by its index.
    pub fn batch_from_cloudevents(json: &[u8]) -> Result<Vec<Self>, Error> {
        let members: Vec<&RawValue> =
            serde_json::from_slice(json).map_err(|e| wrong(format!("not a JSON array: {e}")))?;
        if members.len() > BATCH_EVENTS_MAX {
            return Err(wrong(format!("a batch of {} events; at most {BATCH_EVENTS_MAX}", members.len())));
        }
        let one = |(index, member): (usize, &&RawValue)| {
            Self::from_cloudevent(member.get().as_bytes()).map_err(|e| Error::InBatch { index, source: Box::new(e) })
        };
        members.iter().enumerate().map(one).collect()
    }

    /// HTTP binary mode: attributes in `ce-` headers (percent-encoded), data in the body.
    pub fn from_binary<'a>(headers: impl IntoIterator<Item = (&'a str, &'a str)>, body: &[u8]) -> Result<Self, Error> {
        let mut attributes = Attributes::default();
        for (name, value) in headers {
            let name = name.to_ascii_lowercase();
            if let Some(attribute) = name.strip_prefix("ce-") {
                attributes.insert(attribute, percent_decoded(attribute, value)?)?;
            } else if name == "content-type" {
                attributes.insert("datacontenttype", value.to_owned())?;
            }
        }
        let data = std::str::from_utf8(body).map_err(|e| wrong(format!("the body is not UTF-8: {e}")))?;
        attributes.into_event((!data.trim().is_empty()).then_some(data))
    }
}

/// Percent-decoding, as the HTTP binding asks of header values.
pub fn percent_decoded(name: &str, value: &str) -> Result<String, Error> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = (first == b'%').then(|| tail.get(..2)).flatten().and_then(|pair| hex::decode(pair).ok());
        match escaped {
            Some(byte) => {
                bytes.push(byte[0]);
                rest = &tail[2..];
            }
            None => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).map_err(|_| wrong(format!("attribute `{name}` is not UTF-8 once percent-decoded")))
}

impl Recorded {
    /// The event as a CloudEvent in JSON structured mode. What the ledger adds stands in extension attributes:
    /// `position`, `recordedtime`, `streamversion`, and `redactedby` where free text was replaced; `erased` and `sealed`
    /// are there, and true, where something of the event is.
    pub fn to_cloudevent(&self) -> String {
        let mut out = serde_json::Map::new();
        let mut put = |name: &str, value: serde_json::Value| out.insert(name.to_owned(), value);
        put("specversion", "1.0".into());
        put("type", self.event.type_name().into());
        put("source", self.source.as_str().into());
        put("id", self.id.as_str().into());
        put("subject", self.stream.as_str().into());
        put("time", self.occurred_at.to_string().into());
        put("datacontenttype", "application/json".into());
        put("project", self.project.as_str().into());
        if let Some(causation) = &self.causation {
            put("causation", causation.as_str().into());
        }
        for (name, value) in &self.extensions {
            put(name, value.as_str().into());
        }
        // Last, so that nothing received can stand in their place; text, because CloudEvents integers have 32 bits.
        put("position", self.position.to_string().into());
        put("recordedtime", self.recorded_at.to_string().into());
        put("streamversion", self.stream_version.to_string().into());
        if let Some(request) = &self.redacted_by {
            put("redactedby", request.as_str().into());
        }
        for (name, fields) in [("erased", &self.erased), ("sealed", &self.sealed)] {
            if !fields.is_empty() {
                put(name, true.into());
            }
        }
        let head = serde_json::to_string(&out).expect("text serialises");
        // The data is spliced in as it is, so that free-form JSON keeps its own text.
        format!("{},\"data\":{}}}", &head[..head.len() - 1], self.event.to_json())
    }
}
