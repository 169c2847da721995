//! Where two JSON values differ, by path: `optimizer.lr`, `stages[2].name`, `` `a.b`.c ``.

use serde::Serialize;
use serde_json::Value;

/// Deepest nesting that is looked into; what lies deeper is compared whole.
const DEPTH_MAX: usize = 64;

/// One place where two runs differ. A value that is absent on one side is `None` there.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    pub path: String,
    pub before: Option<Value>,
    pub after: Option<Value>,
}

/// Leaves that differ, in order of path: members sorted by name, elements by place.
pub fn changes(before: &Value, after: &Value) -> Vec<Change> {
    let mut found = Vec::new();
    // A value that is not there at all is as one without members.
    let is_nothing = |value: &Value| value.is_null();
    let empty = Value::Object(serde_json::Map::new());
    let before = if is_nothing(before) && !is_nothing(after) { &empty } else { before };
    let after = if is_nothing(after) && !is_nothing(before) { &empty } else { after };
    compare(&mut String::new(), Some(before), Some(after), 0, &mut found);
    found
}

fn compare(path: &mut String, before: Option<&Value>, after: Option<&Value>, depth: usize, found: &mut Vec<Change>) {
    if before == after {
        return;
    }
    let length = path.len();
    match (before, after) {
        (Some(Value::Object(one)), Some(Value::Object(other))) if depth < DEPTH_MAX => {
            let mut names: Vec<&String> = one.keys().chain(other.keys()).collect();
            names.sort();
            names.dedup();
            for name in names {
                push_name(path, name);
                compare(path, one.get(name), other.get(name), depth + 1, found);
                path.truncate(length);
            }
        }
        (Some(Value::Array(one)), Some(Value::Array(other))) if depth < DEPTH_MAX => {
            for at in 0..one.len().max(other.len()) {
                path.push_str(&format!("[{at}]"));
                compare(path, one.get(at), other.get(at), depth + 1, found);
                path.truncate(length);
            }
        }
        // A whole branch on one side only is told leaf by leaf.
        (Some(branch @ (Value::Object(_) | Value::Array(_))), None) if depth < DEPTH_MAX && !is_empty(branch) => {
            let nothing = like(branch);
            compare(path, before, Some(&nothing), depth, found);
        }
        (None, Some(branch @ (Value::Object(_) | Value::Array(_)))) if depth < DEPTH_MAX && !is_empty(branch) => {
            let nothing = like(branch);
            compare(path, Some(&nothing), after, depth, found);
        }
        _ => found.push(Change { path: path.clone(), before: before.cloned(), after: after.cloned() }),
    }
}

fn is_empty(branch: &Value) -> bool {
    branch.as_object().map_or_else(|| branch.as_array().is_some_and(Vec::is_empty), serde_json::Map::is_empty)
}

/// An empty branch of the same kind.
fn like(branch: &Value) -> Value {
    if branch.is_object() { Value::Object(serde_json::Map::new()) } else { Value::Array(Vec::new()) }
}

/// A name with other characters than a path's own stands in backticks, as in filters.
fn push_name(path: &mut String, name: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    let is_plain = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-'));
    match is_plain {
        true => path.push_str(name),
        false => {
            path.push('`');
            path.push_str(&name.replace('`', "``"));
            path.push('`');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(before: Value, after: Value) -> Vec<String> {
        let text = |value: &Option<Value>| value.as_ref().map_or("-".into(), Value::to_string);
        changes(&before, &after).iter().map(|c| format!("{} {} {}", c.path, text(&c.before), text(&c.after))).collect()
    }

    #[test]
    fn leaves_are_named_by_path() {
        let before = json!({"optimizer": {"lr": 1e-3, "name": "adam"}, "layers": [1, 2, 3], "gone": {"a": {"b": 1}}});
        let after = json!({"optimizer": {"lr": 3e-4, "name": "adam"}, "layers": [1, 5], "a.b": true, "x": []});
        assert_eq!(
            told(before.clone(), after),
            ["`a.b` - true", "gone.a.b 1 -", "layers[1] 2 5", "layers[2] 3 -", "optimizer.lr 0.001 0.0003", "x - []"]
        );
        assert!(told(before.clone(), before).is_empty());
    }

    #[test]
    fn what_is_missing_altogether_is_told_leaf_by_leaf() {
        assert_eq!(told(Value::Null, json!({"a": {"b": 1, "c": null}})), ["a.b - 1", "a.c - null"]);
        assert_eq!(told(json!({"a": 1}), Value::Null), ["a 1 -"]);
        assert_eq!(told(json!(1), json!("1")), [" 1 \"1\""]);
        assert!(told(Value::Null, Value::Null).is_empty());
    }

    #[test]
    fn numbers_are_compared_as_numbers_are_written_and_deep_nesting_ends() {
        assert_eq!(told(json!({"a": 1}), json!({"a": 1.0})), ["a 1 1.0"]);
        let deep = |leaf: i32| (0..200).fold(json!(leaf), |inner, _| json!({ "n": inner }));
        assert_eq!(changes(&deep(1), &deep(2)).len(), 1);
    }
}
