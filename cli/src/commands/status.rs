//! `cairn status`: what is here.

use super::{Outcome, done, print_json};
use crate::Globals;
use crate::render::table::Table;
use cairn_processors::Context;
use cairn_projections::catalog::Entity;
use cairn_projections::{ProjectionState, ProjectionStatus};
use serde_json::json;

/// Entities of each kind that are listed, the newest.
const LISTED: usize = 8;
const KINDS: [&str; 4] = ["deployment", "model", "dataset", "run"];

#[derive(clap::Args)]
pub(crate) struct Args {}

/// What is listed of one kind.
struct Listed {
    kind: &'static str,
    count: u64,
    newest: Vec<Entity>,
}

pub(crate) fn run(globals: &Globals, _: &Args) -> Outcome {
    // Whatever is wrong with a projection is part of the answer.
    let context = Context::open_reader(&globals.data)?;
    let problem = context.projections().catch_up().err().map(|error| error.to_string());
    let (listed, unlisted) = match list(&context) {
        Ok(listed) => (listed, None),
        Err(error) => (Vec::new(), Some(error.to_string())),
    };
    let projections = context.projections().status();
    let problems: Vec<String> = problem.into_iter().chain(unlisted).collect();
    match globals.json {
        true => print_json(&json(globals, &context, &projections, &listed, &problems)),
        false => print(globals, &context, &projections, &listed, &problems),
    }
    done()
}

fn list(context: &Context) -> anyhow::Result<Vec<Listed>> {
    let catalog = context.projections().catalog();
    let one = |kind| {
        let page = catalog.list(kind, None, LISTED, true)?;
        Ok(Listed { kind, count: catalog.count(kind)?, newest: page.items })
    };
    KINDS.into_iter().map(one).collect()
}

fn json(
    globals: &Globals,
    context: &Context,
    projections: &[ProjectionStatus],
    listed: &[Listed],
    problems: &[String],
) -> serde_json::Value {
    let (ledger, tenant) = (context.ledger(), context.tenant());
    let one = |list: &Listed| {
        let one = |e: &Entity| json!({ "ref": e.reference, "state": e.state, "name": e.name });
        (
            list.kind.to_owned(),
            json!({ "count": list.count, "newest": list.newest.iter().map(one).collect::<Vec<_>>() }),
        )
    };
    let entities: serde_json::Map<String, serde_json::Value> = listed.iter().map(one).collect();
    json!({
        "data": globals.data, "head": ledger.head(tenant).map_or(0, |p| p.get()),
        "chain_head": ledger.chain_head(tenant), "verifier_key": ledger.verifier_key(tenant),
        "held_by_another": !context.is_writable(), "projections": projections, "problems": problems,
        "entities": entities,
    })
}

fn print(
    globals: &Globals,
    context: &Context,
    projections: &[ProjectionStatus],
    listed: &[Listed],
    problems: &[String],
) {
    let (ledger, tenant) = (context.ledger(), context.tenant());
    say!(
        "{}: {} events{}",
        globals.data.display(),
        ledger.head(tenant).map_or(0, |p| p.get()),
        if context.is_writable() { "" } else { " (another process is writing)" }
    );
    say!("  chain head    {}", ledger.chain_head(tenant));
    if let Some(key) = ledger.verifier_key(tenant) {
        say!("  verifier key  {key}");
    }
    if let Some(key) = ledger.second_verifier_key(tenant) {
        say!("  second key    {key}");
    }
    for status in projections {
        let (name, engine, at) = (status.name, status.engine, status.watermark.map_or(0, |p| p.get()));
        say!("  {name:<12}  at {at}  {}  ({engine}, version {})", state(status), status.version);
    }
    problems.iter().for_each(|problem| say!("  problem: {problem}"));
    let mut table = Table::new(&["kind", "ref", "name", "state"]);
    for Listed { kind, count, newest } in listed {
        for entity in newest {
            table.row([(*kind).to_owned(), entity.reference.clone(), entity.name.clone(), entity.state.clone()]);
        }
        let more = count.saturating_sub(newest.len() as u64);
        if more > 0 {
            table.row([(*kind).to_owned(), format!("… and {more} more"), String::new(), String::new()]);
        }
    }
    say!("\n{table}");
}

fn state(status: &ProjectionStatus) -> String {
    match &status.state {
        ProjectionState::Following => "following".to_owned(),
        ProjectionState::CatchingUp => format!("catching up, {} events behind", status.lag),
        ProjectionState::Rebuilding { done, total } => format!("rebuilding, {done} of {total} events"),
        ProjectionState::Stopped { position, .. } => format!("STOPPED at the event at {position}"),
    }
}
