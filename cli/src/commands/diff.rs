//! `cairn diff RUN RUN`: what is different between two runs: data, code, config, environment, metrics.

use super::{Outcome, done, position, print_json, reader};
use crate::Globals;
use cairn_ledger::AsOf;
use cairn_processors::diff::{Change, DiffQuery, Figure, RunDiff, diff, shown};
use cairn_projections::lineage::DocumentChange;
use cairn_schemas::RunId;

/// Longest value that is shown whole.
const VALUE_CHARS: usize = 60;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A run: its id, or run:UUID.
    #[arg(value_name = "RUN")]
    before: RunId,
    /// The run to compare it with.
    #[arg(value_name = "RUN")]
    after: RunId,
    /// Documents to list.
    #[arg(long, default_value_t = 10, value_name = "N")]
    documents: usize,
    /// Where an earlier page of documents ended.
    #[arg(long, value_name = "CURSOR")]
    documents_after: Option<String>,
    /// As the ledger was at a position, or at a recorded time (RFC 3339).
    #[arg(long, value_name = "POSITION|TIME")]
    as_of: Option<AsOf>,
}

pub(crate) fn run(globals: &Globals, args: &Args) -> Outcome {
    let context = reader(globals)?;
    let query = DiffQuery {
        as_of: position(&context, args.as_of)?,
        documents_first: args.documents,
        documents_after: args.documents_after.clone(),
        ..DiffQuery::of(args.before, args.after)
    };
    let found = diff(&context, &query)?;
    match globals.json {
        true => print_json(&serde_json::to_value(&found)?),
        false => show(&found),
    }
    done()
}

fn show(found: &RunDiff) {
    say!("--- run:{}", found.before);
    say!("+++ run:{}", found.after);
    let parts = [
        ("", &found.facts),
        ("code", &found.code),
        ("config", &found.config),
        ("environment", &found.environment),
        ("summary", &found.summary),
    ];
    for (part, changes) in parts {
        changes.iter().for_each(|change| show_change(part, change));
    }
    for metric in &found.metrics {
        say!("  metric {:<28} {} -> {}", metric.metric, figure(metric.before.as_ref()), figure(metric.after.as_ref()));
    }
    if found.metrics_equal > 0 {
        say!("  ({} metrics are equal)", found.metrics_equal);
    }
    let data = &found.data;
    for (sign, list) in [('-', &data.inputs_removed), ('+', &data.inputs_added)] {
        list.iter().for_each(|input| say!("{sign} input {input}"));
    }
    let listed = |refs: &[cairn_schemas::Ref]| {
        if refs.is_empty() {
            "no dataset".to_owned()
        } else {
            refs.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        }
    };
    if data.datasets_before != data.datasets_after {
        say!("  data {} -> {}", listed(&data.datasets_before), listed(&data.datasets_after));
    }
    let documents = &data.documents;
    say!("  documents: {} removed, {} added, {} in both", documents.removed, documents.added, documents.kept);
    for (document, change) in &documents.items {
        say!("{} {document}", if *change == DocumentChange::Removed { '-' } else { '+' });
    }
    if let Some(next) = &documents.next {
        say!("(more documents: --documents-after {next})");
    }
    if found.is_same_work() {
        say!("the same code, config, environment and data");
    }
}

fn show_change(part: &str, change: &Change) {
    let path = if part.is_empty() { change.path.clone() } else { format!("{part} {}", change.path) };
    let of = |value: Option<&serde_json::Value>| -> String {
        let whole = shown(value);
        match whole.char_indices().nth(VALUE_CHARS) {
            Some((end, _)) => format!("{}…", &whole[..end]),
            None => whole,
        }
    };
    say!("  {path:<35} {} -> {}", of(change.before.as_ref()), of(change.after.as_ref()));
}

fn figure(figure: Option<&Figure>) -> String {
    figure.map_or("-".to_owned(), |f| format!("{} at step {} (min {}, max {})", f.last, f.last_step, f.min, f.max))
}
