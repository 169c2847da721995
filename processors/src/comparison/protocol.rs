//! Whether results were measured alike, and what differs where they were not.

use cairn_schemas::events::evaluation::EvaluationCompleted;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt;

/// What became of the rows is kept with a protocol, but depends on the model.
const NOT_PROTOCOL: &str = "rows";
/// Fields that are named at most.
const NAMED_MAX: usize = 20;
/// Characters of a value that are shown.
const SHOWN_MAX: usize = 60;

/// One thing that is not the same in all results.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Difference {
    /// `slice`, `dataset`, or a path of the protocol: `protocol.how.max_new_tokens`.
    pub field: String,
    /// What each of them has, in their order.
    pub values: Vec<Held>,
}

/// What one result has in a field: JSON text, or nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(transparent)]
pub struct Held(pub Option<String>);

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values: Vec<String> = self.values.iter().map(ToString::to_string).collect();
        write!(f, "{} ({})", self.field, values.join(", "))
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            None => f.write_str("none"),
            Some(text) if text.chars().count() <= SHOWN_MAX => f.write_str(text),
            Some(text) => write!(f, "{}…", text.chars().take(SHOWN_MAX).collect::<String>()),
        }
    }
}

/// What is not the same in all of these; empty where they can be compared. Results are comparable where suite, slice,
/// dataset and the protocol's digest are equal.
pub(crate) fn differences(results: &[EvaluationCompleted]) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut compare = |field: String, values: Vec<Option<String>>| {
        if values.iter().any(|value| *value != values[0]) {
            found.push(Difference { field, values: values.into_iter().map(Held).collect() });
        }
    };
    let each = |of: &dyn Fn(&EvaluationCompleted) -> Option<String>| results.iter().map(of).collect::<Vec<_>>();
    compare("suite".into(), each(&|e| Some(e.suite.clone())));
    compare("slice".into(), each(&|e| Some(e.slice.clone())));
    compare("dataset".into(), each(&|e| e.dataset.as_ref().map(ToString::to_string)));
    let digests = each(&|e| Some(e.protocol_digest.to_string()));
    if digests.iter().all(|digest| *digest == digests[0]) {
        return found;
    }
    let protocols: Vec<Value> = results.iter().map(|e| e.protocol.to_value()).collect();
    let known = found.len();
    let mut paths = BTreeSet::new();
    protocols.iter().for_each(|protocol| leaves(protocol, &mut Vec::new(), &mut paths));
    for path in paths {
        let held = |protocol: &Value| at(protocol, &path).map(Value::to_string);
        let values: Vec<Option<String>> = protocols.iter().map(held).collect();
        if values.iter().any(|value| *value != values[0]) && found.len() < known + NAMED_MAX {
            let field = format!("protocol.{}", path.join("."));
            found.push(Difference { field, values: values.into_iter().map(Held).collect() });
        }
    }
    if found.len() == known {
        // Nothing that was written down: the digest alone says so.
        found.push(Difference { field: "protocol_digest".into(), values: digests.into_iter().map(Held).collect() });
    }
    found
}

/// Paths to everything in `value` that is no object, apart from what is no part of the protocol.
fn leaves(value: &Value, path: &mut Vec<String>, found: &mut BTreeSet<Vec<String>>) {
    match value {
        Value::Object(fields) => {
            let is_top = path.is_empty();
            for (name, value) in fields.iter().filter(|(name, _)| !is_top || *name != NOT_PROTOCOL) {
                path.push(name.clone());
                leaves(value, path, found);
                path.pop();
            }
        }
        _ if path.is_empty() => {}
        _ => {
            found.insert(path.clone());
        }
    }
}

fn at<'v>(value: &'v Value, path: &[String]) -> Option<&'v Value> {
    path.iter().try_fold(value, |value, name| value.get(name)).filter(|value| !value.is_object())
}
