//! JSON Schemas of all payloads, generated from the types; `schemas/json` holds them, a test compares.

/// File name and text of every schema.
pub fn files() -> Vec<(String, String)> {
    let file = |(name, schema): (&str, schemars::Schema)| {
        let mut schema = schema;
        schema.insert("$id".into(), format!("urn:cairn:schema:{name}").into());
        let mut text = serde_json::to_string_pretty(&schema).expect("a schema serialises");
        text.push('\n');
        (format!("{name}.json"), text)
    };
    crate::event::payload_schemas().into_iter().map(file).collect()
}
