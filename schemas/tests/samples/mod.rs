//! Events of every type, made from their JSON Schemas, so that a new type or field is never forgotten.

use cairn_schemas::{Event, json_schema};
use serde_json::{Map, Value, json};

/// What samples are made of.
pub(crate) struct Samples<'a> {
    /// Whether members that may be absent are there.
    pub(crate) optional: bool,
    /// Gives each text by its type's name and its field's pointer.
    pub(crate) text: &'a mut dyn FnMut(&str, &str) -> String,
    /// Gives each free-form value likewise, as JSON text.
    pub(crate) json: &'a mut dyn FnMut(&str, &str) -> String,
}

impl Samples<'_> {
    /// One event of each type, with its data as JSON.
    pub(crate) fn all(&mut self) -> Vec<(Event, String)> {
        json_schema::files().into_iter().map(|(file, text)| self.one(&file, &text)).collect()
    }

    fn one(&mut self, file: &str, text: &str) -> (Event, String) {
        let schema: Value = serde_json::from_str(text).unwrap();
        let name = file.strip_suffix(".json").unwrap();
        let mut spliced = Vec::new();
        let mut data = self.value(name, &schema, &schema, "", &mut spliced).to_string();
        for (index, json) in spliced.iter().enumerate() {
            data = data.replace(&format!("\"<json {index}>\""), json);
        }
        (Event::from_json(name, &data).unwrap_or_else(|e| panic!("{name}: {e}\n{data}")), data)
    }

    fn value(&mut self, of: &str, root: &Value, schema: &Value, at: &str, spliced: &mut Vec<String>) -> Value {
        if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            return match reference.strip_prefix("#/$defs/").unwrap() {
                "any_json" => {
                    spliced.push((self.json)(of, at));
                    json!(format!("<json {}>", spliced.len() - 1))
                }
                name => known(name).unwrap_or_else(|| {
                    self.value(of, root, root.pointer(&format!("/$defs/{name}")).unwrap(), at, spliced)
                }),
            };
        }
        if let Some(either) = schema.get("anyOf").or(schema.get("oneOf")).and_then(Value::as_array) {
            return self.value(of, root, &either[0], at, spliced);
        }
        if let Some(words) = schema.get("enum").and_then(Value::as_array) {
            return words[0].clone();
        }
        if let Some(word) = schema.get("const") {
            return word.clone();
        }
        let kind = match &schema["type"] {
            Value::Array(kinds) => kinds[0].as_str().unwrap(),
            kind => kind.as_str().unwrap_or_else(|| panic!("{at}: {schema}")),
        };
        match kind {
            "object" => self.object(of, root, schema, at, spliced),
            "array" => {
                let item = |index: usize, this: &mut Self, spliced: &mut Vec<String>| {
                    this.value(of, root, &schema["items"], &format!("{at}/{index}"), spliced)
                };
                json!([item(0, self, spliced), item(1, self, spliced)])
            }
            "string" => json!((self.text)(of, at)),
            "integer" => json!(3),
            "number" => json!(1.5),
            "boolean" => json!(true),
            other => panic!("{at}: a sample of {other}"),
        }
    }

    fn object(&mut self, of: &str, root: &Value, schema: &Value, at: &str, spliced: &mut Vec<String>) -> Value {
        let required: Vec<&str> = schema["required"]
            .as_array()
            .map(|names| names.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default();
        let mut members = Map::new();
        for (name, member) in schema["properties"].as_object().unwrap() {
            if self.optional || required.contains(&name.as_str()) {
                members.insert(name.clone(), self.value(of, root, member, &format!("{at}/{name}"), spliced));
            }
        }
        Value::Object(members)
    }
}

/// A value of a type whose text has a form of its own.
fn known(name: &str) -> Option<Value> {
    let digest = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
    Some(match name {
        "ref" => json!(format!("doc:{digest}")),
        "run_id" => json!("018f4e9a-7c3b-7def-8123-456789abcdef"),
        "position" => json!(7),
        "real" => json!("NaN"),
        name if name.to_lowercase().contains("timestamp") || name == "time" => json!("2026-01-01T00:00:00Z"),
        name if name.to_lowercase().contains("blake3") || name.to_lowercase().contains("sha256") => json!(digest),
        _ => return None,
    })
}
