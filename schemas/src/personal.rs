//! What an event holds about people: which fields, whom they are about, how they are taken out and put back.
//!
//! A field names its person itself (an author), by another field, or by the CloudEvents attribute `datasubject`. In
//! free-form JSON a producer marks a value in place: `{"$data_subject": "alice", "value": …}`.

mod marks;

use crate::encoding::text_form;
use crate::error::quoted;
use crate::{Error, Event, RawJson};
use marks::{Found, HOLE, Object, SUBJECT_BYTES_MAX};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::str::FromStr;

/// Extension attribute that names whom the event's free text, and personal fields that name nobody, are about.
pub const ATTRIBUTE: &str = "datasubject";
/// What the attribute is called among the fields taken from an event. No JSON pointer is like it.
const ATTRIBUTE_POINTER: &str = "@datasubject";
/// Most values taken out of one event.
pub const PERSONAL_FIELDS_MAX: usize = 1024;

const ERASED_TEXT: &str = "[erased]";
const SEALED_TEXT: &str = "[sealed]";
const REDACTED_TEXT: &str = "[redacted]";
const ERASED_JSON: &str = r#"{"$data_subject":null,"erased":true}"#;
const SEALED_JSON: &str = r#"{"$data_subject":null,"sealed":true}"#;

/// A field of a payload that holds free text, or what is about a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextField {
    /// JSON pointer in the event's data; `*` stands for every item of a list.
    pub pointer: String,
    /// Pointer of the field that names the person, which may be the field itself. Where there is none, or where that
    /// field is empty, the attribute `datasubject` names the person, if it is given.
    pub subject: Option<String>,
    /// A field and the value it must have for this one to be about a person.
    pub when: Option<(&'static str, &'static str)>,
}

/// A text in an event that is being looked through.
pub enum Text<'a> {
    Plain(&'a mut String),
    Json(&'a mut RawJson),
}

/// Called with each text that is there: its pointer, the person that a field names, the text.
pub type EachText<'a> = &'a mut dyn FnMut(&str, Option<&str>, Text<'_>);

/// Payloads that can show their texts. `texts!` implements it.
pub trait Texts {
    fn text_fields() -> Vec<TextField>;
    fn texts(&mut self, each: EachText<'_>);
}

/// A type of fields that hold text.
pub trait TextLike {
    /// What follows the field's own pointer.
    const BELOW: &'static str = "";
    fn visit(&mut self, pointer: &str, subject: Option<&str>, each: EachText<'_>);
}

impl TextLike for String {
    fn visit(&mut self, pointer: &str, subject: Option<&str>, each: EachText<'_>) {
        each(pointer, subject, Text::Plain(self));
    }
}
impl TextLike for RawJson {
    fn visit(&mut self, pointer: &str, subject: Option<&str>, each: EachText<'_>) {
        each(pointer, subject, Text::Json(self));
    }
}
impl<T: TextLike> TextLike for Option<T> {
    const BELOW: &'static str = T::BELOW;
    fn visit(&mut self, pointer: &str, subject: Option<&str>, each: EachText<'_>) {
        if let Some(text) = self {
            text.visit(pointer, subject, each);
        }
    }
}
impl TextLike for Vec<String> {
    const BELOW: &'static str = "/*";
    fn visit(&mut self, pointer: &str, subject: Option<&str>, each: EachText<'_>) {
        for (index, text) in self.iter_mut().enumerate() {
            text.visit(&format!("{pointer}/{index}"), subject, each);
        }
    }
}

/// A field that names a person.
pub(crate) trait Names {
    fn name(&self) -> Option<&str>;
}
impl Names for String {
    fn name(&self) -> Option<&str> {
        Some(self.as_str()).filter(|name| !name.is_empty())
    }
}
impl Names for Option<String> {
    fn name(&self) -> Option<&str> {
        self.as_ref().and_then(Names::name)
    }
}

/// Tells [`TextLike::BELOW`] of a field's type.
pub(crate) fn below<S, T: TextLike>(_: fn(&S) -> &T) -> &'static str {
    T::BELOW
}

/// Says which fields of a family's payloads hold text, and `by` which other field their person is named.
macro_rules! texts {
    ($($type:ident { $($field:ident $(by $subject:ident)?),* })*) => {$(
        impl $crate::personal::Texts for $type {
            fn text_fields() -> Vec<$crate::personal::TextField> {
                vec![$($crate::personal::TextField {
                    pointer: format!("/{}{}", stringify!($field), $crate::personal::below(|event: &Self| &event.$field)),
                    subject: None $(.or(Some(concat!("/", stringify!($subject)).to_owned())))?,
                    when: None,
                },)*]
            }
            #[allow(unused_variables, unused_mut, unused_imports, reason = "some payloads hold no text, or name nobody")]
            fn texts(&mut self, each: $crate::personal::EachText<'_>) {
                use $crate::personal::{Names, TextLike};
                // All names first: the field that names a person is itself taken out.
                let named: [Option<String>; [$(stringify!($field),)* ""].len()] =
                    [$(None $(.or(self.$subject.name().map(str::to_owned)))?,)* None];
                let mut named = named.iter();
                $({
                    let subject = named.next().expect("one for each field").as_deref();
                    self.$field.visit(concat!("/", stringify!($field)), subject, each);
                })*
            }
        }
    )*};
}
pub(crate) use texts;

/// A value taken out of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenField {
    /// JSON pointer in the event's data, into free-form JSON where it was marked there; `@datasubject` is the attribute.
    pub pointer: String,
    /// Whom it is about.
    pub subject: String,
    /// The text as it was; of free-form JSON its own bytes.
    pub value: String,
}

/// A value on its way back into an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    Value(String),
    /// The person's key was destroyed.
    Erased,
    /// The person's key is not at hand.
    Sealed,
}

/// Takes everything about a person out of an event. Empty, and next to free of cost, where there is nothing.
pub fn take(event: &mut Event, extensions: &mut BTreeMap<String, String>) -> Result<Vec<TakenField>, Error> {
    let attribute = extensions.remove(ATTRIBUTE).filter(|subject| !subject.is_empty());
    let (mut taken, mut wrong) = (Vec::new(), None);
    event.texts(&mut |pointer, named, text| {
        let subject = named.or(attribute.as_deref());
        let outcome = match text {
            Text::Plain(text) => take_text(pointer, subject, text, &mut taken),
            Text::Json(json) => take_json(pointer, subject, json, &mut taken),
        };
        if let Err(e) = outcome {
            wrong.get_or_insert(e);
        }
    });
    if let Some(wrong) = wrong {
        return Err(wrong);
    }
    if let Some(subject) = attribute {
        check_subject(ATTRIBUTE_POINTER, &subject)?;
        taken.push(TakenField { pointer: ATTRIBUTE_POINTER.to_owned(), value: subject.clone(), subject });
    }
    match taken.len() {
        0..=PERSONAL_FIELDS_MAX => Ok(taken),
        given => Err(Error::Personal {
            pointer: quoted(&taken[PERSONAL_FIELDS_MAX].pointer),
            why: format!("{given} values about people in one event; at most {PERSONAL_FIELDS_MAX}"),
        }),
    }
}

fn wrong(pointer: &str, why: &str) -> Error {
    Error::Personal { pointer: quoted(pointer), why: why.to_owned() }
}

fn check_subject(pointer: &str, subject: &str) -> Result<(), Error> {
    match subject.len() <= SUBJECT_BYTES_MAX {
        true => Ok(()),
        false => Err(wrong(pointer, "the person's name is longer than 1024 bytes")),
    }
}

fn take_text(
    pointer: &str,
    subject: Option<&str>,
    text: &mut String,
    taken: &mut Vec<TakenField>,
) -> Result<(), Error> {
    let Some(subject) = subject.filter(|_| !text.is_empty()) else { return Ok(()) };
    check_subject(pointer, subject)?;
    taken.push(TakenField { pointer: pointer.to_owned(), subject: subject.to_owned(), value: std::mem::take(text) });
    Ok(())
}

/// Takes the marked values, and then the rest if it is about somebody too.
fn take_json(
    pointer: &str,
    subject: Option<&str>,
    json: &mut RawJson,
    taken: &mut Vec<TakenField>,
) -> Result<(), Error> {
    if marks::may_be_in(json.as_str()) {
        take_marks(pointer, json, taken)?;
    }
    match subject {
        Some(subject) if json.as_str() != HOLE => {
            check_subject(pointer, subject)?;
            let value = std::mem::replace(json, RawJson::of_json(HOLE.to_owned())).into_string();
            taken.push(TakenField { pointer: pointer.to_owned(), subject: subject.to_owned(), value });
            Ok(())
        }
        _ => Ok(()),
    }
}

fn take_marks(pointer: &str, json: &mut RawJson, taken: &mut Vec<TakenField>) -> Result<(), Error> {
    let text = json.as_str();
    let mut found = marks::scan(text);
    if !found.iter().any(|found| matches!(found.object, Object::Mark { .. } | Object::Wrong(_))) {
        return Ok(());
    }
    found.sort_by_key(|found| found.range.start);
    let (mut out, mut copied, mut pointers) = (String::with_capacity(text.len()), 0, HashSet::new());
    for Found { range, pointer: below, object } in found {
        let pointer = format!("{pointer}{below}");
        if range.start < copied {
            // Inside a mark: what was shown before may stand there, another person's mark may not.
            match object {
                Object::Mark { .. } | Object::Wrong(_) => {
                    let why =
                        "a marked value stands inside another; mark them side by side, so that each can be erased";
                    return Err(wrong(&pointer, why));
                }
                Object::Hole | Object::Shown => continue,
            }
        }
        if matches!(object, Object::Mark { .. } | Object::Hole) && !pointers.insert(pointer.clone()) {
            return Err(wrong(&pointer, "this name stands twice in its object"));
        }
        match object {
            Object::Mark { subject } => {
                out += &text[copied..range.start];
                out += HOLE;
                copied = range.end;
                taken.push(TakenField { pointer, subject, value: text[range].to_owned() });
            }
            Object::Wrong(why) => return Err(wrong(&pointer, why)),
            Object::Hole | Object::Shown => {}
        }
    }
    out += &text[copied..];
    *json = RawJson::of_json(out);
    Ok(())
}

/// Puts values back where they were taken out, or what is shown in their place.
pub fn put_back(event: &mut Event, extensions: &mut BTreeMap<String, String>, fields: &[(String, Opened)]) {
    if fields.is_empty() {
        return;
    }
    let fields: HashMap<&str, &Opened> = fields.iter().map(|(pointer, opened)| (pointer.as_str(), opened)).collect();
    if let Some(opened) = fields.get(ATTRIBUTE_POINTER) {
        extensions.insert(ATTRIBUTE.to_owned(), opened.text().into_owned());
    }
    event.texts(&mut |pointer, _, text| match text {
        Text::Plain(text) => {
            if let Some(opened) = fields.get(pointer) {
                *text = opened.text().into_owned();
            }
        }
        Text::Json(json) => put_back_json(pointer, json, &fields),
    });
}

fn put_back_json(pointer: &str, json: &mut RawJson, fields: &HashMap<&str, &Opened>) {
    // The outermost first: it may hold the holes of the others.
    if let Some(opened) = fields.get(pointer).filter(|_| json.as_str() == HOLE) {
        *json = RawJson::of_json(opened.json().into_owned());
    }
    let is_below = |field: &&str| field.strip_prefix(pointer).is_some_and(|rest| rest.starts_with('/'));
    if !fields.keys().any(is_below) {
        return;
    }
    let text = json.as_str();
    let (mut out, mut copied) = (String::with_capacity(text.len()), 0);
    let mut found = marks::scan(text);
    found.sort_by_key(|found| found.range.start);
    for Found { range, pointer: below, object } in found {
        let opened = fields.get(format!("{pointer}{below}").as_str());
        if let (Object::Hole, Some(opened), false) = (object, opened, below.is_empty()) {
            out += &text[copied..range.start];
            out += &opened.json();
            copied = range.end;
        }
    }
    out += &text[copied..];
    *json = RawJson::of_json(out);
}

impl Opened {
    fn text(&self) -> Cow<'_, str> {
        match self {
            Opened::Value(value) => value.into(),
            Opened::Erased => ERASED_TEXT.into(),
            Opened::Sealed => SEALED_TEXT.into(),
        }
    }
    fn json(&self) -> Cow<'_, str> {
        match self {
            Opened::Value(value) => value.into(),
            Opened::Erased => ERASED_JSON.into(),
            Opened::Sealed => SEALED_JSON.into(),
        }
    }
}

impl Event {
    /// The event without its free text and without what is about people: what a redaction leaves. Lengths go too.
    pub fn redacted(&self) -> Event {
        let mut event = self.clone();
        event.texts(&mut |_, _, text| match text {
            Text::Plain(text) => *text = REDACTED_TEXT.to_owned(),
            Text::Json(json) => *json = RawJson::of_json("null".to_owned()),
        });
        event
    }
}

/// Identity of a person's key: random, so that it says nothing of the person.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, bincode::Encode, bincode::Decode)]
pub struct KeyId(pub [u8; 16]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}
impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}
impl FromStr for KeyId {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let mut id = [0; 16];
        match hex::decode_to_slice(text, &mut id).is_ok() && hex::encode(id) == text {
            true => Ok(Self(id)),
            false => Err(Error::Malformed {
                what: "key id",
                given: quoted(text),
                why: "a key id is 32 hexadecimal digits, lower case".into(),
            }),
        }
    }
}
text_form!(KeyId, "key_id", "^[0-9a-f]{32}$");

/// A taken value as it is stored: sealed under its person's key.
#[derive(Clone, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct SealedField {
    /// As in [`TakenField`].
    pub pointer: String,
    pub key: KeyId,
    pub nonce: [u8; 24],
    pub ciphertext: Vec<u8>,
}
