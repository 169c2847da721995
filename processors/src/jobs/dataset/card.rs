//! The card: what a person should know before using a version, in Markdown.

use super::{Built, ingestion};
use crate::Error;
use crate::job::JobContext;
use crate::pipeline::{DatasetSpec, RowSpec, SplitSpec};
use cairn_schemas::Ref;
use serde_json::Value;
use std::fmt::Write;

pub(super) fn write(
    spec: &DatasetSpec,
    job: &JobContext<'_>,
    dataset: &Ref,
    manifest: &Ref,
    built: &Built,
) -> Result<String, Error> {
    let mut card = String::new();
    let mut line = |text: String| card.push_str(&(text + "\n"));
    line(format!("# {dataset}\n"));
    if let Some(description) = &spec.description {
        line(format!("{}\n", description.trim()));
    }
    line("## Splits\n".to_owned());
    line("| split | rows | digest (BLAKE3 of the rows in order) |\n|---|---|---|".to_owned());
    for split in &built.splits {
        line(format!("| {} | {} | `{}` |", split.name, split.rows, split.digest));
    }
    line(format!("\n{} rows from {} documents. Manifest: `{manifest}`.\n", built.rows, built.documents.len()));
    line("## Sources\n".to_owned());
    for row in &spec.rows {
        line(source_of(&ingestion(&job.scope, row)?.summary, row));
    }
    if !spec.parents.is_empty() {
        let parents: Vec<String> = spec.parents.iter().map(|parent| format!("`{parent}`")).collect();
        line(format!("Derived from {}.\n", parents.join(", ")));
    }
    line("## Rows\n".to_owned());
    for row in &spec.rows {
        line(rows_of(row));
    }
    line("## Checks\n".to_owned());
    line(format!("- Splits are drawn by a hash of the seed ({}) and the document.", job.scope.seed));
    line("- No row stands in two splits (fingerprint of the normalised text).".to_owned());
    line(format!("- Prompts that stand in two splits with different answers: {}.", built.shared_prompts));
    line(format!("- Documents whose row was blank and left out: {}.", built.blank));
    line("- Every row carries the document it comes from, in `metadata.document`.".to_owned());
    Ok(card)
}

fn source_of(summary: &Value, row: &RowSpec) -> String {
    let text = |key: &str| summary.get(key).and_then(Value::as_str).unwrap_or("as each record says").to_owned();
    let number = |key: &str| summary.get(key).and_then(Value::as_u64).unwrap_or_default();
    let mut out = format!("### {}\n\n", row.from);
    let licence = summary.get("licence").and_then(Value::as_str).unwrap_or("not stated");
    let _ =
        writeln!(out, "- Licence: {licence}. Author: {}. Access policy: {}.", text("author"), text("access_policy"));
    for source in summary.get("sources").and_then(Value::as_array).into_iter().flatten() {
        let _ = writeln!(out, "- `{}`: {} documents.", source["uri"].as_str().unwrap_or_default(), source["documents"]);
    }
    let _ = writeln!(out, "- Kept {} documents, turned {} away.", number("documents"), number("rejected"));
    for (rule, count) in summary.get("rejected_by_rule").and_then(Value::as_object).into_iter().flatten() {
        let _ = writeln!(out, "  - {rule}: {count}");
    }
    let redactions = summary.get("redactions").and_then(Value::as_object);
    match redactions.filter(|kinds| !kinds.is_empty()) {
        Some(kinds) => {
            let kinds: Vec<String> = kinds.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
            let _ = writeln!(out, "- Personal data replaced: {}.", kinds.join(", "));
        }
        None => {
            let redacts = summary.pointer("/rules/redact").and_then(Value::as_bool).unwrap_or(false);
            let _ = writeln!(
                out,
                "- Personal data: {}.",
                if redacts { "looked for, none found" } else { "not looked for" }
            );
        }
    }
    out
}

fn rows_of(row: &RowSpec) -> String {
    let split = match &row.split {
        SplitSpec::One(name) => name.clone(),
        SplitSpec::Shares(shares) => {
            shares.iter().map(|(name, share)| format!("{name} {share}")).collect::<Vec<_>>().join(", ")
        }
    };
    let mut out = format!("From {} (split: {split}):\n\n", row.from);
    for (field, template) in row.templates() {
        let _ = writeln!(out, "- {field}: `{}`", template.replace('\n', "\\n"));
    }
    out
}
