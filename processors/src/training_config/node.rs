//! A config as a tree whose values know their place, and the questions that are asked of it.

use super::{Error, Problem};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_saphyr::Spanned;
use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

/// Longest part of a value that is quoted back.
const SHOWN_CHARS: usize = 60;

type Place = Option<(u64, u64)>;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    Null,
    Bool(bool),
    Whole(i128),
    Real(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Member>),
}

/// A key, its value, and where the value stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Member {
    key: String,
    key_place: Place,
    value: Node,
    place: Place,
}

pub(super) fn parse_yaml(text: &str, format: &'static str) -> Result<Node, Error> {
    // YAML 1.2: `no` and `on` are words. Unlike YAML 1.1, `2e-4` is a number.
    let options = serde_saphyr::options! { strict_booleans: true, with_snippet: false };
    serde_saphyr::from_str_with_options(text, options).map_err(|e| Error::Syntax { format, message: e.to_string() })
}

impl Node {
    pub(super) fn of(value: &Value) -> Self {
        match value {
            Value::Null => Node::Null,
            Value::Bool(b) => Node::Bool(*b),
            Value::Number(n) => match n.as_i128() {
                Some(whole) => Node::Whole(whole),
                None => Node::Real(n.as_f64().unwrap_or(f64::NAN)),
            },
            Value::String(text) => Node::Text(text.clone()),
            Value::Array(values) => Node::List(values.iter().map(Node::of).collect()),
            Value::Object(map) => Node::Map(
                map.iter()
                    .map(|(key, value)| Member {
                        key: key.clone(),
                        key_place: None,
                        value: Node::of(value),
                        place: None,
                    })
                    .collect(),
            ),
        }
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Node::Null => "empty",
            Node::Bool(_) => "a boolean",
            Node::Whole(_) => "a whole number",
            Node::Real(_) => "a number with a fraction",
            Node::Text(_) => "a text",
            Node::List(_) => "a list",
            Node::Map(_) => "a mapping",
        }
    }

    /// The value as a message quotes it.
    pub(super) fn shown(&self) -> String {
        match self {
            Node::Bool(b) => b.to_string(),
            Node::Whole(n) => n.to_string(),
            Node::Real(x) => x.to_string(),
            Node::Text(text) if text.chars().count() > SHOWN_CHARS => {
                format!("{}…", text.chars().take(SHOWN_CHARS).collect::<String>())
            }
            Node::Text(text) => text.clone(),
            _ => self.name().to_owned(),
        }
    }

    /// The value and what kind it is: `"3" (a text)`.
    fn described(&self) -> String {
        match self {
            Node::Text(_) => format!("`{}` ({})", self.shown(), self.name()),
            Node::Bool(_) | Node::Whole(_) | Node::Real(_) => format!("{} ({})", self.shown(), self.name()),
            _ => self.name().to_owned(),
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }
    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }
    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }
    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Node, D::Error> {
        Node::deserialize(from)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Whole(value.into()))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Whole(value.into()))
    }
    fn visit_i128<E>(self, value: i128) -> Result<Node, E> {
        Ok(Node::Whole(value))
    }
    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Real(value))
    }
    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Text(value.to_owned()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = elements.next_element()? {
            list.push(element);
        }
        Ok(Node::List(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut members = Vec::new();
        let place = |at: &serde_saphyr::Location| (at.line() > 0).then(|| (at.line(), at.column()));
        while let Some((key, value)) = map.next_entry::<Spanned<String>, Spanned<Node>>()? {
            let (key_place, place) = (place(&key.referenced), place(&value.referenced));
            members.push(Member { key: key.value, key_place, value: value.value, place });
        }
        Ok(Node::Map(members))
    }
}

/// A mapping under its name, and the list that everything wrong goes to.
///
/// A question about a key that is absent answers `None`; one whose value is wrong answers `None` and notes why.
pub(super) struct Section<'a> {
    /// Empty at the top, else the name from the top with a dot: `train.`.
    prefix: String,
    place: Place,
    members: &'a [Member],
    problems: Rc<RefCell<Vec<Problem>>>,
}

impl<'a> Section<'a> {
    pub(super) fn of(node: &'a Node, prefix: &str) -> Option<Self> {
        match node {
            Node::Map(members) => {
                Some(Self { prefix: prefix.to_owned(), place: None, members, problems: Rc::default() })
            }
            _ => None,
        }
    }

    /// What was noted here and in all sections of this one, in the order of the text.
    pub(super) fn problems(&self) -> Vec<Problem> {
        let mut problems = self.problems.borrow().clone();
        problems.sort_by_key(|problem| problem.place.unwrap_or((u64::MAX, 0)));
        problems
    }

    fn member(&self, key: &str) -> Option<&'a Member> {
        self.members.iter().find(|member| member.key == key)
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.member(key).is_some()
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &'a str> {
        self.members.iter().map(|member| member.key.as_str())
    }

    pub(super) fn value(&self, key: &str) -> Option<&'a Node> {
        self.member(key).map(|member| &member.value)
    }

    fn note(&self, key: String, place: Place, what: String) {
        self.problems.borrow_mut().push(Problem { key, place, what });
    }

    /// Notes what is wrong with a key's value; `what` follows the key's name.
    pub(super) fn refuse(&self, key: &str, what: String) {
        let place = self.member(key).and_then(|member| member.place.or(member.key_place));
        self.note(format!("{}{key}", self.prefix), place, what);
    }

    pub(super) fn refuse_self(&self, what: String) {
        self.note(self.prefix.trim_end_matches('.').to_owned(), self.place, what);
    }

    pub(super) fn missing(&self, key: &str) {
        self.note(format!("{}{key}", self.prefix), self.place, " is missing".to_owned());
    }

    /// Notes each of these keys that is absent.
    pub(super) fn require(&self, keys: &[&str]) {
        keys.iter().filter(|key| !self.has(key)).for_each(|key| self.missing(key));
    }

    /// Notes each key that is none of these.
    pub(super) fn only(&self, keys: &[&str]) {
        for member in self.members.iter().filter(|member| !keys.contains(&member.key.as_str())) {
            let known = keys.join(", ");
            let key = format!("{}{}", self.prefix, member.key);
            self.note(key, member.key_place, format!(" is not a known key; the keys are {known}"));
        }
    }

    fn wrong(&self, key: &str, value: &Node, expected: &str) {
        self.refuse(key, format!(" is {}; expected {expected}", value.described()));
    }

    /// A mapping under a key; an empty value is an empty mapping.
    pub(super) fn section(&self, key: &str) -> Option<Section<'a>> {
        let member = self.member(key)?;
        let members: &[Member] = match &member.value {
            Node::Map(members) => members,
            Node::Null => &[],
            other => {
                self.wrong(key, other, "a mapping");
                return None;
            }
        };
        let prefix = format!("{}{key}.", self.prefix);
        Some(Section { prefix, place: member.key_place, members, problems: Rc::clone(&self.problems) })
    }

    /// A text, trimmed and not empty.
    pub(super) fn text(&self, key: &str) -> Option<String> {
        match self.value(key)? {
            Node::Text(text) if text.trim().is_empty() => {
                self.refuse(key, " is empty; expected a text".to_owned());
                None
            }
            Node::Text(text) => Some(text.trim().to_owned()),
            other => {
                self.wrong(key, other, "a text");
                None
            }
        }
    }

    /// One text or a list of them, at least one.
    pub(super) fn texts(&self, key: &str) -> Option<Vec<String>> {
        let Some(Node::List(values)) = self.value(key) else {
            return self.text(key).map(|text| vec![text]);
        };
        let texts: Option<Vec<String>> =
            values.iter().map(|value| if let Node::Text(text) = value { Some(text.clone()) } else { None }).collect();
        let texts = texts.filter(|texts| !texts.is_empty());
        if texts.is_none() {
            self.refuse(key, " is not a list of texts; expected at least one".to_owned());
        }
        texts
    }

    /// A whole number from 1 that fits 32 bits.
    pub(super) fn positive(&self, key: &str) -> Option<u32> {
        let value = self.value(key)?;
        match value {
            Node::Whole(n) if (1..=i128::from(u32::MAX)).contains(n) => u32::try_from(*n).ok(),
            other => {
                self.wrong(key, other, "a whole number from 1");
                None
            }
        }
    }

    fn number(&self, key: &str, expected: &str, fits: fn(f64) -> bool) -> Option<f64> {
        let value = self.value(key)?;
        let number = match value {
            Node::Whole(n) => Some(*n as f64),
            Node::Real(x) => Some(*x),
            _ => None,
        };
        let number = number.filter(|x| fits(*x));
        if number.is_none() {
            self.wrong(key, value, expected);
        }
        number
    }

    /// A number, whole or not, above 0 and finite.
    pub(super) fn above_zero(&self, key: &str) -> Option<f64> {
        self.number(key, "a number above 0", |x| x > 0.0 && x.is_finite())
    }

    /// A number from 0 to 1.
    pub(super) fn fraction(&self, key: &str) -> Option<f64> {
        self.number(key, "a number from 0 to 1", |x| (0.0..=1.0).contains(&x))
    }

    /// A value that must be one of a few; any other is refused as not supported yet.
    pub(super) fn supports(&self, key: &str, supported: &[&str]) -> Option<String> {
        let shown = self.value(key)?.shown();
        if supported.contains(&shown.as_str()) {
            return Some(shown);
        }
        self.refuse(key, format!(": {shown} is not supported yet; supported: {}", supported.join(", ")));
        None
    }
}
