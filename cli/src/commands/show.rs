//! `cairn show REF`: all that is known of a thing, now or as of any time.

use super::{Outcome, done, print_json, reader};
use crate::{Globals, exit};
use cairn_ledger::AsOf;
use cairn_projections::catalog::Entity;
use cairn_schemas::{Position, Ref};
use serde_json::{Value, json};

/// Changes that are listed, the latest.
const CHANGES_SHOWN: usize = 10;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A ref, a deployment's name, or model://project/name@alias.
    #[arg(value_name = "REF")]
    reference: String,
    /// As the ledger had it then: a position, RFC 3339, or a date.
    #[arg(long, value_name = "POSITION|TIME")]
    as_of: Option<AsOf>,
    /// What an alias of a model named, and when: `cairn show model://project/name --alias production`.
    #[arg(long, value_name = "ALIAS")]
    alias: Option<String>,
}

pub(crate) fn run(globals: &Globals, args: &Args) -> Outcome {
    let context = reader(globals)?;
    let catalog = context.projections().catalog();
    let as_of = args.as_of.map(|as_of| context.ledger().resolve(context.tenant(), as_of)).transpose()?;
    if let Some(alias) = &args.alias {
        let (project, name) = cairn_projections::catalog::family_of(&args.reference)?;
        let changes = catalog.alias_history(&project, name, alias, as_of)?;
        if changes.is_empty() {
            return Err(exit::not_found(format!("`{}` never carried the alias `{alias}`", args.reference)));
        }
        if globals.json {
            print_json(&json!({ "model": args.reference, "alias": alias, "changes": changes }));
            return done();
        }
        for change in changes {
            let model = change.model.map_or_else(|| "(cleared)".into(), |model| model.to_string());
            let reason = change.reason.map(|reason| format!("  {reason}")).unwrap_or_default();
            say!("{}  {}  {model}{reason}", change.recorded_at, change.position);
        }
        return done();
    }
    let named = catalog.resolve_at(&args.reference, as_of)?;
    let reference = named.as_ref().map_or_else(|| deployment(&args.reference), Ref::to_string);
    let when = as_of.map(|position| format!(" at position {position}")).unwrap_or_default();
    let entity = catalog.state(&reference, as_of)?.ok_or_else(|| {
        exit::not_found(format!(
            "nothing is called {reference}{when}; `cairn status` and `cairn runs` list what there is"
        ))
    })?;
    let changes = catalog.changes(&reference)?;
    if globals.json {
        print_json(&json!({ "as_of": as_of, "entity": entity, "changes": changes }));
        return done();
    }
    show(&entity, as_of, &changes)
}

/// What is no ref may be a deployment's bare name.
fn deployment(text: &str) -> String {
    if text.contains(':') { text.to_owned() } else { format!("deployment:{text}") }
}

fn show(entity: &Entity, as_of: Option<Position>, changes: &[Position]) -> Outcome {
    say!("{}", entity.reference);
    if let Some(position) = as_of {
        say!("  as of       position {position}");
    }
    say!("  kind        {}", entity.kind);
    say!("  name        {}", entity.name);
    say!("  state       {}", if entity.state.is_empty() { "-" } else { &entity.state });
    say!("  project     {}", entity.project);
    say!("  first heard {} at {}", entity.created_at, entity.created_position);
    say!("  last heard  {} at {}", entity.updated_at, entity.updated_position);
    if let Some(owner) = &entity.owner {
        say!("  owner       {owner}");
    }
    for (name, value) in &entity.tags {
        say!("  tag         {name} = {value}");
    }
    for note in &entity.notes {
        say!("  note        {} {}", note.recorded_at, note.note);
    }
    let shown: Vec<String> = changes.iter().rev().take(CHANGES_SHOWN).map(Position::to_string).collect();
    let more = if changes.len() > CHANGES_SHOWN { ", …" } else { "" };
    say!("  changes     {} ({}{more})", changes.len(), shown.join(", "));
    if entity.attributes != Value::Object(Default::default()) {
        say!("{}", serde_json::to_string_pretty(&entity.attributes)?);
    }
    done()
}
