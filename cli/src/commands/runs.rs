//! `cairn runs [FILTER]`: runs by filter and order, as a table.

use super::{Outcome, done, print_json, reader};
use crate::Globals;
use crate::render::table::Table;
use cairn_ledger::AsOf;
use cairn_projections::catalog::{Find, Item};
use serde_json::{Value, json};

/// Most runs that are read at once.
const PAGE: usize = 1_000;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Which ones, such as "config.optimizer.lr < 1e-3 AND tags.team = 'search'"; docs/queries.md has the language.
    #[arg(value_name = "FILTER")]
    filter: Option<String>,
    /// In which order, such as "metrics.loss, name DESC"; the newest first where it does not say.
    #[arg(long, value_name = "ORDER")]
    sort: Option<String>,
    /// Most runs to show.
    #[arg(long, default_value_t = 50, value_name = "N")]
    limit: usize,
    /// More columns: paths between commas, such as metrics.loss,config.lr.
    #[arg(long, value_delimiter = ',', value_name = "PATHS")]
    columns: Vec<String>,
    /// Show the paths that filters, orders and columns may name.
    #[arg(long, conflicts_with_all = ["sort", "columns"])]
    paths: bool,
    /// As the ledger had it then: a position, RFC 3339, or a date.
    #[arg(long, value_name = "POSITION|TIME")]
    as_of: Option<AsOf>,
}

pub(crate) fn run(globals: &Globals, args: &Args) -> Outcome {
    let context = reader(globals)?;
    let catalog = context.projections().catalog();
    if args.paths {
        return paths(globals, &catalog.paths("run")?);
    }
    let as_of = args.as_of.map(|as_of| context.ledger().resolve(context.tenant(), as_of)).transpose()?;
    let (mut found, mut after, mut total) = (Vec::new(), None, 0);
    while found.len() < args.limit {
        let question = Find {
            kind: "run".into(),
            filter: args.filter.clone(),
            order_by: args.sort.clone(),
            newest_first: true,
            first: (args.limit - found.len()).min(PAGE),
            after,
            as_of,
            columns: std::iter::once("kind".to_owned()).chain(args.columns.clone()).collect(),
            ..Find::default()
        };
        let page = catalog.find(&question)?;
        total = page.total;
        after = page.items.last().map(|item| item.cursor.clone());
        found.extend(page.items);
        if !page.has_more {
            break;
        }
    }
    if globals.json {
        let one = |item: &Item| {
            let values: serde_json::Map<String, Value> =
                args.columns.iter().cloned().zip(item.values.iter().skip(1).map(|value| json!(value))).collect();
            json!({ "run": item.entity, "columns": values })
        };
        print_json(&json!({ "total": total, "as_of": as_of, "runs": found.iter().map(one).collect::<Vec<_>>() }));
        return done();
    }
    let heading: Vec<&str> =
        ["run", "name", "state", "kind"].into_iter().chain(args.columns.iter().map(String::as_str)).collect();
    let mut table = Table::new(&heading);
    for Item { entity, values, .. } in &found {
        let first = [entity.reference.clone(), entity.name.clone(), entity.state.clone()];
        table.row(first.into_iter().chain(values.iter().map(cell)));
    }
    say_raw!("{table}");
    match found.len() as u64 {
        shown if shown < total => say!("{shown} of {total} runs; --limit shows more"),
        _ => say!("{total} runs"),
    }
    done()
}

fn cell(value: &Option<Value>) -> String {
    match value {
        None => "-".into(),
        Some(Value::String(text)) => text.clone(),
        // Whole numbers as they are written: 74258055168, not 74258055168.0.
        Some(value) => value.as_f64().map_or_else(|| value.to_string(), |number| number.to_string()),
    }
}

fn paths(globals: &Globals, paths: &[cairn_projections::catalog::PathInfo]) -> Outcome {
    if globals.json {
        print_json(&json!({ "paths": paths }));
        return done();
    }
    let mut table = Table::new(&["path", "numbers", "texts"]);
    for path in paths {
        table.row([path.path.clone(), path.numbers.to_string(), path.others.to_string()]);
    }
    say_raw!("{table}");
    done()
}
