//! `cairn status`: what is here.

use super::{Outcome, done, print_json, reader};
use crate::Globals;
use crate::render::table::Table;
use cairn_projections::catalog::Entity;
use serde_json::json;

/// Entities of each kind that are listed, the newest.
const LISTED: usize = 8;
const KINDS: [&str; 4] = ["deployment", "model", "dataset", "run"];

#[derive(clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(globals: &Globals, _: &Args) -> Outcome {
    let context = reader(globals)?;
    let (ledger, tenant) = (context.ledger(), context.tenant());
    let projections = context.projections();
    let head = ledger.head(tenant).map_or(0, |p| p.get());
    let mut newest: Vec<(&str, u64, Vec<Entity>)> = Vec::new();
    for kind in KINDS {
        let page = projections.catalog().list(kind, None, LISTED, true)?;
        newest.push((kind, projections.catalog().count(kind)?, page.items));
    }
    if globals.json {
        let watermarks: Vec<_> =
            projections.watermarks().into_iter().map(|(name, at)| json!({ "name": name, "watermark": at })).collect();
        let listed = |(kind, count, entities): &(&str, u64, Vec<Entity>)| {
            let one = |e: &Entity| json!({ "ref": e.reference, "state": e.state, "name": e.name });
            (kind.to_string(), json!({ "count": count, "newest": entities.iter().map(one).collect::<Vec<_>>() }))
        };
        let entities: serde_json::Map<String, serde_json::Value> = newest.iter().map(listed).collect();
        print_json(&json!({
            "data": globals.data, "head": head, "chain_head": ledger.chain_head(tenant),
            "verifier_key": ledger.verifier_key(tenant), "held_by_another": !context.is_writable(),
            "projections": watermarks, "entities": entities,
        }));
        return done();
    }
    say!(
        "{}: {head} events{}",
        globals.data.display(),
        if context.is_writable() { "" } else { " (another process is writing)" }
    );
    say!("  chain head    {}", ledger.chain_head(tenant));
    if let Some(key) = ledger.verifier_key(tenant) {
        say!("  verifier key  {key}");
    }
    if let Some(key) = ledger.second_verifier_key(tenant) {
        say!("  second key    {key}");
    }
    for (name, at) in projections.watermarks() {
        say!("  {name:<12}  at {}", at.map_or(0, |p| p.get()));
    }
    let mut table = Table::new(&["kind", "ref", "name", "state"]);
    for (kind, count, entities) in &newest {
        for entity in entities {
            table.row([(*kind).to_owned(), entity.reference.clone(), entity.name.clone(), entity.state.clone()]);
        }
        let more = count.saturating_sub(entities.len() as u64);
        if more > 0 {
            table.row([(*kind).to_owned(), format!("… and {more} more"), String::new(), String::new()]);
        }
    }
    say!("\n{table}");
    done()
}
