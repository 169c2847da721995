//! What records are, told by their fields: pairs of a question and an answer, texts, or conversations.

use serde_json::{Map, Value};

/// Of the records looked at, so many must fit a shape.
const FITTING_SHARE: f64 = 0.95;
/// Names of fields that go together, most telling first: what is asked, what it is about, what is answered.
const PAIRS: [(&str, Option<&str>, &str); 15] = [
    ("instruction", Some("input"), "output"),
    ("instruction", Some("context"), "response"),
    ("instruction", Some("input"), "response1"),
    ("instruction", None, "output"),
    ("instruction", None, "response"),
    ("question", Some("context"), "answer"),
    ("question", None, "answer"),
    ("prompt", None, "completion"),
    ("prompt", None, "response"),
    ("prompt", None, "answer"),
    ("prompt", None, "chosen"),
    ("query", None, "response"),
    ("query", None, "answer"),
    ("input", None, "output"),
    ("source", None, "target"),
];
/// Names of fields that hold a document.
const TEXTS: [&str; 8] = ["text", "content", "body", "document", "article", "passage", "abstract", "raw_content"];

/// How records become texts and rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// The file is the document.
    Document,
    /// One field holds it.
    Field(String),
    /// Templates for instruction, input and output.
    Pair { instruction: String, input: Option<String>, output: String },
}

impl Shape {
    /// What the records of one file are. An error names the fields there are.
    pub(super) fn of(records: &[Map<String, Value>]) -> Result<Self, String> {
        for (instruction, input, output) in PAIRS {
            let needed = [Some(instruction), input, Some(output)];
            // What a question is about may be blank, what is asked and answered may not.
            let fits = |record: &Map<String, Value>| {
                is_text(record, instruction)
                    && is_text(record, output)
                    && input.is_none_or(|name| record.get(name).is_some_and(Value::is_string))
            };
            if mostly(records, fits) {
                let [Some(instruction), input, Some(output)] = needed.map(|name| name.map(field)) else {
                    unreachable!("two of three are given")
                };
                return Ok(Shape::Pair { instruction, input, output });
            }
        }
        if let Some(conversation) = conversation(records) {
            return Ok(conversation);
        }
        if let Some(name) = TEXTS.iter().find(|name| mostly(records, |record| is_text(record, name))) {
            return Ok(Shape::Field((*name).to_owned()));
        }
        if let Some(name) = longest(records) {
            return Ok(Shape::Field(name));
        }
        let names: Vec<&str> =
            records.first().map(|record| record.keys().map(String::as_str).collect()).unwrap_or_default();
        Err(format!("no field is a text in most records; the fields are {}", names.join(", ")))
    }

    /// The document's text; none where records have it as `text`.
    pub(super) fn text(&self) -> Option<String> {
        match self {
            Shape::Document => None,
            Shape::Field(name) if name == "text" => None,
            Shape::Field(name) => Some(field(name)),
            Shape::Pair { instruction, input, output } => {
                let parts = [Some(instruction), input.as_ref(), Some(output)];
                Some(parts.into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join("\n"))
            }
        }
    }

    /// In words, for the comment.
    pub(super) fn describe(&self) -> String {
        match self {
            Shape::Document => "each file is a document".to_owned(),
            Shape::Field(name) => format!("field `{name}` is the document"),
            Shape::Pair { instruction, input, output } => {
                let name = |template: &String| template.trim_matches(['{', '}', ' ']).to_owned();
                let about = input.as_ref().map(|input| format!(" about `{}`", name(input))).unwrap_or_default();
                format!("`{}` is asked{about}, `{}` is answered", name(instruction), name(output))
            }
        }
    }
}

fn field(name: &str) -> String {
    format!("{{{{ {name} }}}}")
}

fn is_text(record: &Map<String, Value>, name: &str) -> bool {
    record.get(name).and_then(Value::as_str).is_some_and(|text| !text.trim().is_empty())
}

fn mostly(records: &[Map<String, Value>], fits: impl Fn(&Map<String, Value>) -> bool) -> bool {
    let fitting = records.iter().filter(|record| fits(record)).count();
    !records.is_empty() && fitting as f64 >= FITTING_SHARE * records.len() as f64
}

/// `messages` of a user and an assistant, after a system's where there is one: the first exchange.
fn conversation(records: &[Map<String, Value>]) -> Option<Shape> {
    for name in ["messages", "conversation", "conversations"] {
        for first in 0..2 {
            let role = |message: &Value, expected: &str| {
                message["role"] == expected && message["content"].as_str().is_some_and(|text| !text.trim().is_empty())
            };
            let fits = |record: &Map<String, Value>| {
                let messages = record.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
                messages.len() > first + 1 && role(&messages[first], "user") && role(&messages[first + 1], "assistant")
            };
            if mostly(records, fits) {
                let message = |at: usize| field(&format!("{name}[{at}].content"));
                return Some(Shape::Pair { instruction: message(first), input: None, output: message(first + 1) });
            }
        }
    }
    None
}

/// The field with most text, of those that a template can name.
fn longest(records: &[Map<String, Value>]) -> Option<String> {
    let nameable = |name: &str| {
        let mut bytes = name.bytes();
        bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
            && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    let names = records.first()?.keys().filter(|name| nameable(name));
    let texts = names.filter(|name| mostly(records, |record| is_text(record, name)));
    let length = |name: &String| -> usize {
        records.iter().filter_map(|record| record.get(name).and_then(Value::as_str)).map(str::len).sum()
    };
    texts.max_by_key(|name| length(name)).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shape(record: Value) -> Result<Shape, String> {
        Shape::of(&vec![record.as_object().unwrap().clone(); 3])
    }

    #[test]
    fn fields_tell_what_records_are() {
        let pair = |instruction: &str, input: Option<&str>, output: &str| {
            let (input, field) = (input.map(field), field);
            Ok(Shape::Pair { instruction: field(instruction), input, output: field(output) })
        };
        assert_eq!(shape(json!({"question": "q", "answer": "a"})), pair("question", None, "answer"));
        let alpaca = json!({"instruction": "i", "input": "", "output": "o"});
        assert_eq!(shape(alpaca), pair("instruction", Some("input"), "output"));
        assert_eq!(shape(json!({"prompt": "p", "completion": "c", "text": "t"})), pair("prompt", None, "completion"));
        let turns = json!({"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}, {"role": "assistant", "content": "a"}]});
        assert_eq!(shape(turns), pair("messages[1].content", None, "messages[2].content"));
        assert_eq!(shape(json!({"id": "1", "content": "c"})), Ok(Shape::Field("content".into())));
        assert_eq!(
            shape(json!({"id": "1", "story so far": "longer", "tale": "long"})),
            Ok(Shape::Field("tale".into()))
        );
        assert!(shape(json!({"a": 1, "b": [2]})).unwrap_err().contains("the fields are a, b"));
    }
}
