//! `cairn erase --data-subject S --basis TEXT`: destroy a person's keys and everything that holds their data.

use super::{Outcome, done, print_json};
use crate::Globals;
use anyhow::Context as _;
use cairn_processors::erasure::{self, ArtifactFate, ErasurePlan, ErasureRequest};
use cairn_schemas::{Ref, RunId};
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The person, exactly as events name them.
    #[arg(long, value_name = "NAME")]
    data_subject: String,
    /// Why it must be done, for the record; must name nobody.
    #[arg(long, value_name = "TEXT", required_unless_present = "plan")]
    basis: Option<String>,
    /// The request's own id, for the record; repeat it to finish an erasure that was cut short.
    #[arg(long, value_name = "ID")]
    request: Option<String>,
    /// A document that is about the person although no event says so. May be repeated.
    #[arg(long, value_name = "DOC")]
    document: Vec<Ref>,
    /// Show what would be done, and change nothing.
    #[arg(long)]
    plan: bool,
    /// Where the signed receipt is written; `erasure-<request>.receipt` by default.
    #[arg(long, value_name = "FILE")]
    receipt: Option<PathBuf>,
}

pub(crate) fn run(globals: &Globals, args: &Args) -> Outcome {
    let context = super::writer(globals)?;
    let request = ErasureRequest {
        request: args.request.clone().unwrap_or_else(|| RunId::generate().to_string()),
        data_subject: args.data_subject.clone(),
        basis: args.basis.clone().unwrap_or_default(),
        documents: args.document.clone(),
    };
    if args.plan {
        let plan = erasure::preview(&context, &request)?;
        match globals.json {
            true => print_json(&serde_json::to_value(&plan)?),
            false => show(&plan, "would be"),
        }
        return done();
    }
    let erased = erasure::erase(&context, &request)?;
    let path =
        args.receipt.clone().unwrap_or_else(|| format!("erasure-{}.receipt", file_name(&request.request)).into());
    std::fs::write(&path, &erased.receipt).with_context(|| format!("writing the receipt to {}", path.display()))?;
    if globals.json {
        let mut told = serde_json::to_value(&erased)?;
        told["receipt_file"] = path.display().to_string().into();
        print_json(&told);
        return done();
    }
    say!("erased: request {}", erased.request);
    show(&erased.plan, "were");
    for (before, after) in &erased.rewritten {
        say!("  {after} holds the rows of {before} that stay");
    }
    if !erased.mentions.is_empty() {
        say!("  {} other events named the person in free text, which was redacted", erased.mentions.len());
    }
    for folder in &erased.folders_removed {
        say!("  removed the copy at {}", folder.display());
    }
    let positions: Vec<String> = erased.events.iter().map(ToString::to_string).collect();
    say!("recorded at position {}; the signed receipt is {}", positions.join(", "), path.display());
    done()
}

/// A request's id as part of a file's name.
fn file_name(request: &str) -> String {
    request.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '.' { c } else { '_' }).collect()
}

fn show(plan: &ErasurePlan, were: &str) {
    if let Some(digest) = plan.data_subject {
        say!("  events call this person {digest}");
    }
    let of = |fate| plan.artifacts.iter().filter(|planned| planned.fate == fate).count();
    say!(
        "  {} keys {were} destroyed; {} events hold fields that were sealed under them",
        plan.keys.len(),
        plan.positions.len()
    );
    say!(
        "  {} documents: {} artifacts {were} rewritten without them, {} {were} destroyed",
        plan.documents.len(),
        of(ArtifactFate::Rewritten),
        of(ArtifactFate::Destroyed)
    );
    for dataset in &plan.datasets {
        say!("  {dataset} {were} withdrawn");
    }
    for model in &plan.models {
        say!("  {model} was trained on it: what weights have learnt stays, and is named");
    }
    for deployment in &plan.deployments {
        say!("  {deployment} answers, or answered, with such a model");
    }
    for export in &plan.exports {
        say!("  export {export} left with it");
    }
}
