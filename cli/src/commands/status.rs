//! `cairn status`: what is here. Beside a server it is what the server says; beside another command, what lies on disk.

use super::{Outcome, done, print_json};
use crate::Globals;
use crate::beside::{self, Server};
use crate::render::table::Table;
use cairn_ledger::Ledger;
use cairn_processors::Context;
use cairn_projections::Projections;
use cairn_projections::catalog::Entity;
use cairn_schemas::TenantId;
use serde_json::{Value, json};

/// Entities of each kind that are listed, the newest.
const LISTED: usize = 8;
const KINDS: [&str; 4] = ["deployment", "model", "dataset", "run"];
const ASKED: &str = "{ log { size chainHead verifierKey } projections { name version engine watermark lag state answers \
                     rebuildDone rebuildTotal stoppedPosition error } }";

#[derive(clap::Args)]
pub(crate) struct Args {}

/// What is here.
struct Found {
    head: u64,
    chain_head: Option<String>,
    keys: Vec<(&'static str, String)>,
    /// Who holds the data directory; `None`: nobody else.
    holder: Option<String>,
    /// An object each, in the form of `ProjectionStatus`, or of `StoresOnDisk` where only the disk could be looked at.
    projections: Vec<Value>,
    listed: Vec<Listed>,
    problems: Vec<String>,
}

/// What is listed of one kind: ref, name and state of the newest.
struct Listed {
    kind: &'static str,
    count: u64,
    newest: Vec<[String; 3]>,
}

pub(crate) fn run(globals: &Globals, _: &Args) -> Outcome {
    let found = match super::writer_as_it_is(globals) {
        Ok(context) => own(&context),
        Err(error) => match beside::holder(&error) {
            Some(holder) => beside_its_holder(globals, holder)?,
            None => return Err(error),
        },
    };
    match globals.json {
        true => print_json(&as_json(globals, &found)),
        false => print(globals, &found),
    }
    done()
}

/// Nobody else holds it.
fn own(context: &Context) -> Found {
    // Whatever is wrong with a projection is part of the answer.
    let problem = context.projections().catch_up().err().map(|error| error.to_string());
    let (listed, unlisted) = listed(context);
    let status = context.projections().status();
    let projections = status.iter().filter_map(|status| serde_json::to_value(status).ok()).collect();
    let problems = problem.into_iter().chain(unlisted).collect();
    Found { projections, listed, problems, ..of_ledger(context.ledger(), context.tenant()) }
}

fn of_ledger(ledger: &Ledger, tenant: &TenantId) -> Found {
    let key = |name, key: Option<String>| key.map(|key| (name, key));
    let keys =
        [key("verifier key", ledger.verifier_key(tenant)), key("second key", ledger.second_verifier_key(tenant))];
    Found {
        head: ledger.head(tenant).map_or(0, |p| p.get()),
        chain_head: Some(ledger.chain_head(tenant).to_string()),
        keys: keys.into_iter().flatten().collect(),
        holder: None,
        projections: Vec::new(),
        listed: Vec::new(),
        problems: Vec::new(),
    }
}

fn listed(context: &Context) -> (Vec<Listed>, Option<String>) {
    let catalog = context.projections().catalog();
    let row = |e: Entity| [e.reference, e.name, e.state];
    let one = |kind| {
        let page = catalog.list(kind, None, LISTED, true)?;
        Ok(Listed { kind, count: catalog.count(kind)?, newest: page.items.into_iter().map(row).collect() })
    };
    match KINDS.into_iter().map(one).collect::<anyhow::Result<_>>() {
        Ok(listed) => (listed, None),
        Err(error) => (Vec::new(), Some(error.to_string())),
    }
}

/// As the server has it, where a server holds it and answers.
fn beside_its_holder(globals: &Globals, holder: String) -> anyhow::Result<Found> {
    let mut unanswered = None;
    if let Some(server) = Server::of(&holder) {
        match beside::block_on(of_server(globals, &server)) {
            Ok(found) => return Ok(Found { holder: Some(holder), ..found }),
            Err(error) => unanswered = Some(format!("the server does not answer: {error:#}")),
        }
    }
    let context = Context::open_reader(&globals.data)?;
    // What is deployed, trained and so on stands in the log, and is read from there; how far the holder's stores are does
    // not.
    let (listed, unlisted) = listed(&context);
    let stores = Projections::on_disk(&globals.data.join("projections"), context.tenant())?;
    let projections = stores.iter().filter_map(|stores| serde_json::to_value(stores).ok()).collect();
    let problems = unanswered.into_iter().chain(unlisted).collect();
    let found = of_ledger(context.ledger(), context.tenant());
    Ok(Found { holder: Some(holder), projections, listed, problems, ..found })
}

async fn of_server(globals: &Globals, server: &Server) -> anyhow::Result<Found> {
    let (data, mut problems) = server.ask(ASKED).await?;
    let Value::Array(rows) = &data["projections"] else {
        anyhow::bail!("{}", problems.into_iter().next().unwrap_or_else(|| "it says nothing of its projections".into()))
    };
    let mut listed = Vec::new();
    for kind in KINDS {
        // One by one: a store that is being rebuilt keeps nobody from the others.
        let query = format!("{{ {kind}s(first: {LISTED}) {{ totalCount nodes {{ ref name state }} }} }}");
        let (data, errors) = server.ask(&query).await?;
        problems.extend(errors);
        let found = &data[format!("{kind}s")];
        let text = |node: &Value, name: &str| node[name].as_str().unwrap_or_default().to_owned();
        let nodes = found["nodes"].as_array().into_iter().flatten();
        let newest = nodes.map(|node| ["ref", "name", "state"].map(|name| text(node, name))).collect();
        listed.push(Listed { kind, count: found["totalCount"].as_u64().unwrap_or(0), newest });
    }
    problems.dedup();
    let log = &data["log"];
    let ledger = Ledger::open_read_only(&globals.data)?;
    let found = of_ledger(&ledger, &TenantId::default());
    let head = log["size"].as_u64().unwrap_or(found.head);
    let chain_head = log["chainHead"].as_str().map(str::to_owned).or(found.chain_head);
    let projections = rows.iter().map(of_graphql).collect();
    Ok(Found { head, chain_head, projections, listed, problems, ..found })
}

/// In the form of `ProjectionStatus`.
fn of_graphql(row: &Value) -> Value {
    let state = row["state"].as_str().unwrap_or_default().to_lowercase();
    let mut status = json!({ "name": row["name"], "version": row["version"], "engine": row["engine"] });
    for (name, value) in [("watermark", &row["watermark"]), ("lag", &row["lag"]), ("answers", &row["answers"])] {
        status[name] = value.clone();
    }
    let more: &[(&str, &str)] = match state.as_str() {
        "rebuilding" => &[("done", "rebuildDone"), ("total", "rebuildTotal")],
        "stopped" => &[("position", "stoppedPosition"), ("error", "error")],
        _ => &[],
    };
    status["state"] = state.into();
    more.iter().for_each(|(name, of)| status[*name] = row[*of].clone());
    status
}

fn as_json(globals: &Globals, found: &Found) -> Value {
    let one = |list: &Listed| {
        let one = |[reference, name, state]: &[String; 3]| json!({ "ref": reference, "state": state, "name": name });
        let newest: Vec<Value> = list.newest.iter().map(one).collect();
        (list.kind.to_owned(), json!({ "count": list.count, "newest": newest }))
    };
    let entities: serde_json::Map<String, Value> = found.listed.iter().map(one).collect();
    let verifier_key = found.keys.first().map(|(_, key)| key);
    json!({
        "data": globals.data, "head": found.head, "chain_head": found.chain_head, "verifier_key": verifier_key,
        "held_by_another": found.holder.is_some(), "holder": found.holder, "projections": found.projections,
        "problems": found.problems, "entities": entities,
    })
}

fn print(globals: &Globals, found: &Found) {
    let held = found.holder.as_ref().map_or_else(String::new, |holder| format!(" (held by {holder})"));
    say!("{}: {} events{held}", globals.data.display(), found.head);
    if let Some(chain_head) = &found.chain_head {
        say!("  chain head    {chain_head}");
    }
    found.keys.iter().for_each(|(name, key)| say!("  {name:<12}  {key}"));
    found.projections.iter().for_each(|row| say!("  {:<12}  {}", word(row, "name"), line(row)));
    found.problems.iter().for_each(|problem| say!("  problem: {problem}"));
    let mut table = Table::new(&["kind", "ref", "name", "state"]);
    for Listed { kind, count, newest } in &found.listed {
        for [reference, name, state] in newest {
            table.row([(*kind).to_owned(), reference.clone(), name.clone(), state.clone()]);
        }
        let more = count.saturating_sub(newest.len() as u64);
        if more > 0 {
            table.row([(*kind).to_owned(), format!("… and {more} more"), String::new(), String::new()]);
        }
    }
    say!("\n{table}");
}

fn word<'a>(row: &'a Value, name: &str) -> &'a str {
    row[name].as_str().unwrap_or_default()
}

/// A projection in one line.
fn line(row: &Value) -> String {
    let number = |name: &str| row[name].as_u64().unwrap_or(0);
    let state = match word(row, "state") {
        "following" => "following".to_owned(),
        "catching_up" => format!("catching up, {} events behind", number("lag")),
        "rebuilding" => {
            let meanwhile = match row["answers"].as_bool() {
                Some(true) => "the store in use answers",
                _ => "it answers nothing until then",
            };
            format!("REBUILDING, {} of {} events; {meanwhile}", number("done"), number("total"))
        }
        "stopped" => format!("STOPPED at the event at {}: {}", number("position"), word(row, "error")),
        _ => return on_disk(row),
    };
    format!("at {}  {state}  ({}, version {})", number("watermark"), word(row, "engine"), number("version"))
}

/// What can be said of stores that another command holds: how far they are only that one knows.
fn on_disk(row: &Value) -> String {
    match (row["in_use"].as_str(), row["filling"].as_str()) {
        (Some(used), None) => format!("{used}, held by another command"),
        (Some(used), Some(filling)) => format!("{used}, held by another command; REBUILDING as {filling}"),
        (None, Some(filling)) => format!("REBUILDING as {filling}; it answers nothing until then"),
        (None, None) => format!("no store of version {}", row["version"]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_projection_says_what_it_does() {
        let row = |state: &str, answers: bool| {
            of_graphql(&json!({
                "name": "catalog", "version": 5, "engine": "sled", "watermark": 7, "lag": 3, "state": state, "answers": answers,
                "rebuildDone": 7, "rebuildTotal": 10, "stoppedPosition": 8, "error": "why",
            }))
        };
        for (row, wanted) in [
            (row("FOLLOWING", true), "at 7  following  (sled, version 5)"),
            (
                row("REBUILDING", false),
                "at 7  REBUILDING, 7 of 10 events; it answers nothing until then  (sled, version 5)",
            ),
            (row("REBUILDING", true), "at 7  REBUILDING, 7 of 10 events; the store in use answers  (sled, version 5)"),
            (row("STOPPED", true), "at 7  STOPPED at the event at 8: why  (sled, version 5)"),
            (json!({ "in_use": "a-v1-1-sled", "filling": null }), "a-v1-1-sled, held by another command"),
            (
                json!({ "in_use": null, "filling": "a-v1-2-sled" }),
                "REBUILDING as a-v1-2-sled; it answers nothing until then",
            ),
            (json!({ "in_use": null, "filling": null, "version": 2 }), "no store of version 2"),
        ] {
            assert_eq!(line(&row), wanted);
        }
        assert_eq!(row("STOPPED", true)["error"], "why");
        assert_eq!(row("FOLLOWING", true)["error"], Value::Null);
    }
}
