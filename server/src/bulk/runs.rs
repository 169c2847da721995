//! `/v1/runs`: every run, a row each, with what stands at paths as columns of their own.

use super::arguments::Arguments;
use super::table::{BATCH_ROWS, Column, Emit, Is, Rows, Table, When, chosen};
use crate::problem::Problem;
use arrow_array::builder::{Float64Builder, StringBuilder, TimestampMicrosecondBuilder, UInt64Builder};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{Field, Schema};
use cairn_processors::Context;
use cairn_projections::catalog::{Find, Item};
use cairn_schemas::Real;
use serde_json::Value;
use std::sync::Arc;

pub(super) static TABLE: Table = Table {
    name: "runs",
    projection: "catalog",
    arguments: &[
        ("filter", "only runs of which this holds, in the language of [filters](#filters); all where absent"),
        ("orderBy", "in which order: `metrics.loss DESC, name`; the oldest first where absent"),
        (
            "columns",
            "paths such as config.optimizer.lr, each a further column: float64 where only numbers stand there, else text",
        ),
    ],
    plan,
};

const COLUMNS: &[Column] = &[
    Column::new("ref", Is::Text, "ref of the run"),
    Column::new("name", Is::Text, "its name, for people"),
    Column::new("state", Is::Text, "running, completed, failed or cancelled"),
    Column::new("project", Is::Text, "the project it belongs to"),
    Column::or_null("method", Is::Text, "how it trains: pretrain, sft, …; null where it does not"),
    Column::or_null("parent", Is::Text, "ref of the run that it went on from"),
    Column::or_null("dataset", Is::Text, "ref of the dataset that it trained on"),
    Column::or_null("seed", Is::Whole, "seed of the training"),
    Column::or_null("config", Is::Json, "its config, whole"),
    Column::or_null("metrics", Is::Json, "the latest value of each metric"),
    Column::or_null("step", Is::Whole, "the latest step"),
    Column::or_null("tokens", Is::Whole, "tokens that it had seen by then"),
    Column::new("created_at", Is::Instant, "when the ledger first heard of it, UTC"),
    Column::new("created_position", Is::Whole, "position of the first event about it"),
    Column::new("updated_at", Is::Instant, "when the last event about it was recorded, UTC"),
    Column::new("updated_position", Is::Whole, "position of the last event about it"),
];

/// Runs of one page of the catalog.
const PAGE: usize = 1_000;

struct Runs {
    question: Find,
    schema: Schema,
    /// Whether each of the chosen columns holds numbers only.
    numbers: Vec<bool>,
    is_empty: bool,
}

fn plan(ctx: &Context, arguments: &Arguments, when: When) -> Result<Box<dyn Rows>, Problem> {
    let columns = arguments.list("columns").to_vec();
    let known = if columns.is_empty() { Vec::new() } else { ctx.projections().catalog().paths("run")? };
    let is_number =
        |path: &String| known.iter().any(|known| known.path == *path && known.numbers > 0 && known.others == 0);
    let numbers: Vec<bool> = columns.iter().map(is_number).collect();
    let mut fields: Vec<Field> = COLUMNS.iter().map(Column::field).collect();
    fields.extend(columns.iter().zip(&numbers).map(|(path, number)| chosen(path, *number)));
    let question = Find {
        kind: "run".into(),
        filter: arguments.one("filter")?.map(str::to_owned),
        order_by: arguments.sentence("orderBy"),
        first: 1,
        as_of: when.as_of(),
        columns,
        ..Find::default()
    };
    // What is wrong with the question is found here.
    ctx.projections().catalog().find(&question)?;
    let question = Find { first: PAGE, ..question };
    Ok(Box::new(Runs { question, schema: Schema::new(fields), numbers, is_empty: when.position.is_none() }))
}

impl Rows for Runs {
    fn schema(&self) -> Schema {
        self.schema.clone()
    }

    fn send(mut self: Box<Self>, ctx: &Context, emit: Emit<'_>) -> Result<(), Problem> {
        let mut rows = Vec::new();
        while !self.is_empty {
            let found = ctx.projections().catalog().find(&self.question)?;
            self.question.after = found.items.last().map(|item| item.cursor.clone());
            self.is_empty = !found.has_more || found.items.is_empty();
            rows.extend(found.items);
            if rows.len() >= BATCH_ROWS {
                emit(self.batch(&std::mem::take(&mut rows))?)?;
            }
        }
        if rows.is_empty() { Ok(()) } else { emit(self.batch(&rows)?) }
    }
}

impl Runs {
    fn batch(&self, rows: &[Item]) -> Result<RecordBatch, Problem> {
        let mut columns = fixed(rows);
        for (at, is_number) in self.numbers.iter().enumerate() {
            let value = |row: &Item| row.values.get(at).cloned().flatten();
            columns.push(match is_number {
                true => reals(rows, &|row| serde_json::from_value::<Real>(value(row)?).ok().map(|real| real.0)),
                false => texts(rows, &|row| match value(row)? {
                    Value::String(text) => Some(text),
                    other => Some(other.to_string()),
                }),
            });
        }
        RecordBatch::try_new(Arc::new(self.schema.clone()), columns).map_err(|e| Problem::internal(e.to_string()))
    }
}

fn texts(rows: &[Item], of: &dyn Fn(&Item) -> Option<String>) -> ArrayRef {
    let mut column = StringBuilder::new();
    rows.iter().for_each(|row| column.append_option(of(row)));
    Arc::new(column.finish())
}

fn reals(rows: &[Item], of: &dyn Fn(&Item) -> Option<f64>) -> ArrayRef {
    let mut column = Float64Builder::new();
    rows.iter().for_each(|row| column.append_option(of(row)));
    Arc::new(column.finish())
}

fn wholes(rows: &[Item], of: &dyn Fn(&Item) -> Option<u64>) -> ArrayRef {
    let mut column = UInt64Builder::new();
    rows.iter().for_each(|row| column.append_option(of(row)));
    Arc::new(column.finish())
}

fn instants(rows: &[Item], of: &dyn Fn(&Item) -> i64) -> ArrayRef {
    let mut column = TimestampMicrosecondBuilder::new().with_timezone("UTC");
    rows.iter().for_each(|row| column.append_value(of(row)));
    Arc::new(column.finish())
}

/// The columns that are always there, in the order of [`COLUMNS`].
fn fixed(rows: &[Item]) -> Vec<ArrayRef> {
    let at = |row: &Item, path: &str| row.entity.attributes.pointer(path).filter(|value| !value.is_null()).cloned();
    let word = |row: &Item, path: &str| at(row, path).and_then(|value| value.as_str().map(str::to_owned));
    let number = |row: &Item, path: &str| at(row, path).and_then(|value| value.as_u64());
    let config = |row: &Item| at(row, "/training/config").or_else(|| at(row, "/job/spec"));
    let parent = |row: &Item| {
        let parent = word(row, "/training/parent")?;
        Some(if parent.starts_with("run:") { parent } else { format!("run:{parent}") })
    };
    vec![
        texts(rows, &|row| Some(row.entity.reference.clone())),
        texts(rows, &|row| Some(row.entity.name.clone())),
        texts(rows, &|row| Some(row.entity.state.clone())),
        texts(rows, &|row| Some(row.entity.project.clone())),
        texts(rows, &|row| word(row, "/training/method")),
        texts(rows, &parent),
        texts(rows, &|row| word(row, "/training/dataset")),
        wholes(rows, &|row| number(row, "/training/seed")),
        texts(rows, &|row| config(row).map(|config| config.to_string())),
        texts(rows, &|row| at(row, "/progress/metrics").map(|metrics| metrics.to_string())),
        wholes(rows, &|row| number(row, "/progress/step")),
        wholes(rows, &|row| number(row, "/progress/tokens")),
        instants(rows, &|row| row.entity.created_at.as_micros()),
        wholes(rows, &|row| Some(row.entity.created_position.get())),
        instants(rows, &|row| row.entity.updated_at.as_micros()),
        wholes(rows, &|row| Some(row.entity.updated_position.get())),
    ]
}
