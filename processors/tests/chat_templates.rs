//! Chat templates of the kinds that models bring, against what transformers renders of the same conversations
//! (`chat_templates/goldens.json`).

use cairn_processors::chat_template::{ChatTemplate, Conversation};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::Path;

#[derive(Deserialize)]
struct Goldens {
    specials: BTreeMap<String, String>,
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    template: String,
    name: String,
    messages: Vec<Value>,
    tools: Option<Vec<Value>>,
    more: Map<String, Value>,
    add_generation_prompt: bool,
    rendered: Option<String>,
    refused: Option<String>,
}

#[test]
fn every_conversation_is_rendered_as_transformers_renders_it() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/chat_templates");
    let goldens: Goldens = serde_json::from_slice(&std::fs::read(folder.join("goldens.json")).unwrap()).unwrap();
    assert!(goldens.rows.len() >= 100);
    let mut wrong = Vec::new();
    for row in &goldens.rows {
        let source = std::fs::read_to_string(folder.join(format!("{}.jinja", row.template))).unwrap();
        let template = ChatTemplate::of_text(&source).unwrap_or_else(|e| panic!("{}: {e}", row.template));
        let found = template.render(&Conversation {
            messages: &row.messages,
            tools: row.tools.as_deref(),
            add_generation_prompt: row.add_generation_prompt,
            specials: &goldens.specials,
            more: &row.more,
            now: "2026-03-09T14:05:06[UTC]".parse().unwrap(),
        });
        let is_right = match (&found, &row.rendered, &row.refused) {
            (Ok(found), Some(rendered), None) => found == rendered,
            (Err(found), None, Some(refused)) => found.to_string().ends_with(refused),
            _ => false,
        };
        if !is_right {
            let expected = row.rendered.as_ref().or(row.refused.as_ref());
            wrong.push(format!("{} {}:\n{expected:?}\n{found:?}", row.template, row.name));
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), goldens.rows.len(), wrong.join("\n"));
}
