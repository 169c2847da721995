//! What records are, told by their fields: pairs of a question and an answer, texts, or conversations.

use serde_json::{Map, Value};

/// Of the records looked at, so many must fit a shape.
const FITTING_SHARE: f64 = 0.95;
/// Names of fields that go together, most telling first: what is asked, what it is about, what is answered.
const PAIRS: [(&str, Option<&str>, &str); 20] = [
    ("instruction", Some("input"), "output"),
    ("instruction", Some("context"), "response"),
    ("instruction", Some("input"), "response1"),
    ("instruction", None, "output"),
    ("instruction", None, "response"),
    ("question", Some("context"), "answer"),
    // SQuAD, as it is published and as a flat table.
    ("question", Some("context"), "answers[0].text"),
    ("question", Some("context"), "answers.text[0]"),
    ("question", Some("context"), "answers[0]"),
    ("question", None, "answer"),
    ("question", None, "answers[0].text"),
    ("question", None, "answers[0]"),
    ("prompt", None, "completion"),
    ("prompt", None, "response"),
    ("prompt", None, "answer"),
    ("prompt", None, "chosen"),
    ("query", None, "response"),
    ("query", None, "answer"),
    ("input", None, "output"),
    ("source", None, "target"),
];
/// Of the questions with a list of answers, so many must have one; those without are turned away by name.
const ANSWERED_SHARE: f64 = 0.5;
/// Of a field's texts, so many must be more than a number, a code or an address for it to be worth training on.
const PROSE_SHARE: f64 = 0.5;
/// Letters outside ASCII that make a text without spaces.
const LETTERS_MIN: usize = 4;
/// Most fields that a message lists.
const FIELDS_NAMED_MAX: usize = 20;
/// Words that a template does not take for a field.
const RESERVED: [&str; 15] =
    ["and", "block", "else", "false", "for", "if", "in", "is", "loop", "none", "not", "or", "record", "self", "true"];
/// Roles and texts of a conversation's messages, as different tools write them.
const MESSAGES: [(&str, &str, &str, &str); 3] = [
    ("role", "user", "assistant", "content"),
    ("from", "human", "gpt", "value"),
    ("from", "user", "assistant", "value"),
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
    /// Templates for instruction, input and output. Where the input stands apart it is a document of its own, and no
    /// part of this one.
    Pair { instruction: String, input: Option<String>, output: String, apart: bool },
}

impl Shape {
    /// What the records of one file are. An error names the fields there are.
    pub(super) fn of(records: &[Map<String, Value>]) -> Result<Self, String> {
        for (instruction, input, output) in PAIRS {
            // What a question is about may be blank, what is asked and answered may not.
            let fits = |record: &Map<String, Value>| {
                is_text(record, instruction)
                    && is_text(record, output)
                    && input.is_none_or(|name| lookup(record, name).is_some_and(Value::is_string))
            };
            let share = if output.contains('[') { ANSWERED_SHARE } else { FITTING_SHARE };
            let asks = |record: &Map<String, Value>| text_of(record, instruction).is_some_and(|text| !is_number(text));
            if at_least(share, records, fits) && at_least(PROSE_SHARE, records, asks) {
                let (instruction, input, output) = (field(instruction), input.map(field), field(output));
                return Ok(Shape::Pair { instruction, input, output, apart: false });
            }
        }
        if let Some(conversation) = conversation(records) {
            return Ok(conversation);
        }
        let numbers = |name: &str| mostly(records, |record| text_of(record, name).is_some_and(is_number));
        let holds = |name: &&&str| mostly(records, |record| is_text(record, name)) && !numbers(name);
        if let Some(name) = TEXTS.iter().find(holds) {
            return Ok(Shape::Field((*name).to_owned()));
        }
        if let Some(name) = longest(records) {
            return Ok(Shape::Field(name));
        }
        Err(no_text(records))
    }

    /// The document's text; none where records have it as `text`.
    pub(super) fn text(&self) -> Option<String> {
        match self {
            Shape::Document => None,
            Shape::Field(name) if name == "text" => None,
            Shape::Field(name) => Some(field(name)),
            Shape::Pair { instruction, input, output, apart } => {
                let parts = [Some(instruction), input.as_ref().filter(|_| !apart), Some(output)];
                Some(parts.into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join("\n"))
            }
        }
    }

    /// In words, for the comment.
    pub(super) fn describe(&self) -> String {
        match self {
            Shape::Document => "each file is a document".to_owned(),
            Shape::Field(name) => format!("field `{name}` is the document"),
            Shape::Pair { instruction, input, output, apart } => {
                let name = |template: &String| template.trim_matches(['{', '}', ' ']).to_owned();
                let about = input.as_ref().map(|input| format!(" about `{}`", name(input))).unwrap_or_default();
                let apart = match apart {
                    true => {
                        ".\n  # What is asked about repeats: it is a document of its own, in the next job, and no part of these. \
                         Questions about\n  # one may stand in different splits"
                    }
                    false => "",
                };
                format!("`{}` is asked{about}, `{}` is answered{apart}", name(instruction), name(output))
            }
        }
    }

    /// Whether some of this field goes into documents or rows.
    pub(super) fn uses(&self, name: &str) -> bool {
        let plain = field(name);
        let start = plain.trim_end_matches([' ', '}']);
        let within =
            |template: &String| template.strip_prefix(start).is_some_and(|rest| rest.starts_with([' ', '.', '[']));
        match self {
            Shape::Document => true,
            Shape::Field(field) => field == name,
            Shape::Pair { instruction, input, output, .. } => {
                [Some(instruction), input.as_ref(), Some(output)].into_iter().flatten().any(within)
            }
        }
    }
}

/// A template that prints one field, or what a path such as `answers[0].text` leads to.
fn field(name: &str) -> String {
    let head = name.split(['.', '[']).next().unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let is_name = !head.is_empty() && !head.starts_with(|c: char| c.is_ascii_digit()) && head.chars().all(plain);
    let is_path = name == head || name.chars().all(|c| plain(c) || ['.', '[', ']'].contains(&c));
    if is_name && is_path && !RESERVED.contains(&head) {
        return format!("{{{{ {name} }}}}");
    }
    format!("{{{{ record[{}] }}}}", serde_json::to_string(name).expect("a name serialises"))
}

/// A field by its name, or what a path such as `answers[0].text` leads to.
pub(super) fn lookup<'r>(record: &'r Map<String, Value>, path: &str) -> Option<&'r Value> {
    if let Some(value) = record.get(path) {
        return Some(value);
    }
    let mut steps = path.split(['.', '[']).map(|step| step.trim_end_matches(']'));
    let first = record.get(steps.next()?)?;
    steps.try_fold(first, |value, step| match step.parse::<usize>() {
        Ok(index) => value.get(index),
        Err(_) => value.get(step),
    })
}

fn text_of<'r>(record: &'r Map<String, Value>, name: &str) -> Option<&'r str> {
    lookup(record, name)?.as_str().map(str::trim).filter(|text| !text.is_empty())
}

fn is_text(record: &Map<String, Value>, name: &str) -> bool {
    text_of(record, name).is_some()
}

/// As a table writes it: digits, signs, `1.2e-5`, `12 %`, `nan`.
fn is_number(text: &str) -> bool {
    let text = text.trim_end_matches(['%', ' ']);
    text.parse::<f64>().is_ok() || text.chars().all(|c| !c.is_alphabetic())
}

/// More than a number, a code, a date or an address: two words, or letters of a script that may do without spaces.
fn is_prose(text: &str) -> bool {
    let is_word = |word: &&str| word.chars().any(char::is_alphabetic) && !word.contains("://");
    let letters = || text.chars().filter(|c| c.is_alphabetic() && !c.is_ascii()).take(LETTERS_MIN).count();
    text.split_whitespace().filter(is_word).take(2).count() == 2 || letters() == LETTERS_MIN
}

fn mostly(records: &[Map<String, Value>], fits: impl Fn(&Map<String, Value>) -> bool) -> bool {
    at_least(FITTING_SHARE, records, fits)
}

fn at_least(share: f64, records: &[Map<String, Value>], fits: impl Fn(&Map<String, Value>) -> bool) -> bool {
    let fitting = records.iter().filter(|record| fits(record)).count();
    !records.is_empty() && fitting as f64 >= share * records.len() as f64
}

/// A user's message and an assistant's, after a system's where there is one: the first exchange.
fn conversation(records: &[Map<String, Value>]) -> Option<Shape> {
    for name in ["messages", "conversation", "conversations"] {
        for (role, asks, answers, text) in MESSAGES {
            for first in 0..2 {
                let says = |message: &Value, expected: &str| {
                    message[role] == expected && message[text].as_str().is_some_and(|text| !text.trim().is_empty())
                };
                let fits = |record: &Map<String, Value>| {
                    let messages = record.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
                    messages.len() > first + 1 && says(&messages[first], asks) && says(&messages[first + 1], answers)
                };
                if mostly(records, fits) {
                    let message = |at: usize| field(&format!("{name}[{at}].{text}"));
                    let (instruction, output) = (message(first), message(first + 1));
                    return Some(Shape::Pair { instruction, input: None, output, apart: false });
                }
            }
        }
    }
    None
}

/// The field with most text.
fn longest(records: &[Map<String, Value>]) -> Option<String> {
    let holds = |name: &&String| {
        let prose = |record: &Map<String, Value>| text_of(record, name).is_some_and(is_prose);
        mostly(records, |record| is_text(record, name)) && at_least(PROSE_SHARE, records, prose)
    };
    let length =
        |name: &&String| -> usize { records.iter().filter_map(|record| text_of(record, name)).map(str::len).sum() };
    records.first()?.keys().filter(holds).max_by_key(length).cloned()
}

/// What stands there instead, and what would be right.
fn no_text(records: &[Map<String, Value>]) -> String {
    let kind = |name: &String, record: &Map<String, Value>| match &record[name] {
        Value::String(text) if is_number(text) => "number",
        Value::Number(_) => "number",
        Value::String(text) if is_prose(text) => "text in too few records",
        Value::String(_) => "code or address",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
        _ => "blank or true/false",
    };
    let first = records.first();
    let mut names: Vec<String> = first.map_or_else(Vec::new, |record| {
        record.keys().take(FIELDS_NAMED_MAX).map(|name| format!("{name} ({})", kind(name, record))).collect()
    });
    let more = first.map_or(0, Map::len) - names.len();
    if more > 0 {
        names.push(format!("and {more} more"));
    }
    format!(
        "it holds no text worth training on: of no field are most values more than a number, a code or an address; \
         the fields are {}; give files with sentences in a field, or write the pipeline with a `text` template of your own",
        names.join(", ")
    )
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
            Ok(Shape::Pair { instruction: field(instruction), input, output: field(output), apart: false })
        };
        assert_eq!(shape(json!({"question": "q", "answer": "a"})), pair("question", None, "answer"));
        let alpaca = json!({"instruction": "i", "input": "", "output": "o"});
        assert_eq!(shape(alpaca), pair("instruction", Some("input"), "output"));
        assert_eq!(shape(json!({"prompt": "p", "completion": "c", "text": "t"})), pair("prompt", None, "completion"));
        let turns = json!({"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}, {"role": "assistant", "content": "a"}]});
        assert_eq!(shape(turns), pair("messages[1].content", None, "messages[2].content"));
        assert_eq!(shape(json!({"id": "1", "content": "c"})), Ok(Shape::Field("content".into())));
        let sharegpt = json!({"conversations": [{"from": "human", "value": "h"}, {"from": "gpt", "value": "g"}]});
        assert_eq!(shape(sharegpt), pair("conversations[0].value", None, "conversations[1].value"));
        let flat = json!({"question": "q", "context": "c", "answers": {"text": ["a"], "answer_start": [1]}});
        assert_eq!(shape(flat), pair("question", Some("context"), "answers.text[0]"));
        let spaced = shape(json!({"id": "1", "story so far": "a longer one", "tale": "a tale"})).unwrap();
        assert_eq!(spaced.text().as_deref(), Some(r#"{{ record["story so far"] }}"#));
        assert!(spaced.uses("story so far") && !spaced.uses("tale"));
        let answers = shape(json!({"question": "q", "answers": [{"text": "a"}], "answer": 1})).unwrap();
        assert!(answers.uses("answers") && !answers.uses("answer"));
    }

    #[test]
    fn what_is_no_text_is_refused_with_what_it_is_instead() {
        for record in [
            json!({"step": "12", "learning_rate_peak": "0.000400000001"}),
            json!({"text": "12", "content": "1e-5"}),
            json!({"producer": "https://example.org/tree/1.14.0", "time": "2024-11-26T13:05:23", "n": {"a": [1]}}),
            json!({"question": "17", "answer": "3"}),
        ] {
            let why = shape(record.clone()).unwrap_err();
            let first = record.as_object().unwrap().keys().next().unwrap().clone();
            assert!(why.contains("no text worth training on") && why.contains(&format!("are {first} (")), "{why}");
        }
        assert_eq!(shape(json!({"id": "1", "satz": "石を積む人"})), Ok(Shape::Field("satz".into())));
    }
}
