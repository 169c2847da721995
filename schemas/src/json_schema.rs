//! JSON Schemas of all payloads, generated from the types; `schemas/json` holds them, a test compares.
//!
//! `x-cairn-data-subject` says of a field that it is about a person, and which field names that person.

use crate::personal::TextField;
use serde_json::{Value, json};

/// File name and text of every schema.
pub fn files() -> Vec<(String, String)> {
    let file = |(name, schema): (&str, schemars::Schema)| {
        let mut schema = schema;
        mark_personal(name, &mut schema);
        schema.insert("$id".into(), format!("urn:cairn:schema:{name}").into());
        let mut text = serde_json::to_string_pretty(&schema).expect("a schema serialises");
        text.push('\n');
        (format!("{name}.json"), text)
    };
    crate::event::payload_schemas().into_iter().map(file).collect()
}

/// Keyword on fields that are about a person.
const DATA_SUBJECT: &str = "x-cairn-data-subject";
/// What it says of a field that is about whom the attribute `datasubject` names, where that is given.
const BY_ATTRIBUTE: &str = "datasubject";

fn mark_personal(name: &str, schema: &mut schemars::Schema) {
    let (_, fields) = crate::text_fields().into_iter().find(|(of, _)| *of == name).expect("every type has a list");
    let mut value = schema.clone().to_value();
    for TextField { pointer, subject, when } in fields {
        let mut mark = json!(subject.unwrap_or_else(|| BY_ATTRIBUTE.to_owned()));
        if let Some((field, needed)) = when {
            mark = json!({ "named_by": mark, "when": { field: needed } });
        }
        let parts: Vec<&str> = pointer.split('/').skip(1).collect();
        let at = place(&value, String::new(), &parts).unwrap_or_else(|| panic!("{name} has no field {pointer}"));
        let field = value.pointer_mut(&at).expect("just found");
        match field {
            Value::Object(field) => drop(field.insert(DATA_SUBJECT.to_owned(), mark)),
            other => *other = json!({ DATA_SUBJECT: mark }),
        }
    }
    *schema = schemars::Schema::try_from(value).expect("a schema with one more keyword is a schema");
}

/// Where in a schema a field of its values is described.
fn place(schema: &Value, at: String, parts: &[&str]) -> Option<String> {
    let Some((part, rest)) = parts.split_first() else { return Some(at) };
    let here = schema.pointer(&at)?;
    if let Some(definition) = here.get("$ref").and_then(Value::as_str) {
        return place(schema, definition.strip_prefix('#')?.to_owned(), parts);
    }
    match *part {
        "*" => here.get("items").and_then(|_| place(schema, at + "/items", rest)),
        name => here.get("properties")?.get(name).and_then(|_| place(schema, format!("{at}/properties/{name}"), rest)),
    }
}
