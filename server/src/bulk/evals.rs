//! `/v1/evals`: every result, a row each.

use super::arguments::Arguments;
use super::table::{BATCH_ROWS, Column, Emit, Is, Rows, Table, When, schema};
use crate::problem::Problem;
use arrow_array::builder::{BooleanBuilder, Float64Builder, StringBuilder, TimestampMicrosecondBuilder, UInt64Builder};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::Schema;
use cairn_processors::Context;
use cairn_projections::evals::{At, Filter, Place, Standing};
use cairn_schemas::Ref;
use std::ops::ControlFlow;
use std::sync::Arc;

pub(super) static TABLE: Table = Table {
    name: "evals",
    projection: "evals",
    arguments: &[
        ("suite", "only results of this suite; in this and all texts below * stands for any characters"),
        ("task", "only results on this task"),
        ("metric", "only this metric"),
        ("slice", "only this part of the samples"),
        ("subject", "only results of this model or run, by ref"),
        ("dataset", "only results on this dataset, by ref"),
        ("protocol", "only results under this protocol: the first digits of its digest"),
        ("fromStep", "only results of checkpoints from this step on"),
        ("toStep", "only results of checkpoints up to this step"),
        ("validAt", "only what had occurred by this time, as producers say"),
        ("superseded", "true: superseded results too; they are left out otherwise"),
    ],
    plan,
};

const COLUMNS: &[Column] = &[
    Column::new("subject", Is::Text, "ref of what was measured: a model or a run"),
    Column::or_null("step", Is::Whole, "the checkpoint's step, where the subject is a run"),
    Column::new("suite", Is::Text, "the suite that the task belongs to"),
    Column::new("task", Is::Text, "the task"),
    Column::new("slice", Is::Text, "the part of the task's samples: `all`, or a name"),
    Column::new("metric", Is::Text, "the metric"),
    Column::new("value", Is::Real, "what was measured, in `unit`"),
    Column::new("n", Is::Whole, "samples that it is over"),
    Column::or_null("standard_error", Is::Real, "standard error of the value"),
    Column::or_null("unit", Is::Text, "unit of the value; null where it is a pure number"),
    Column::new("higher_is_better", Is::Truth, "whether more is better"),
    Column::new("evaluation", Is::Text, "ref of the evaluation"),
    Column::or_null("dataset", Is::Text, "ref of the dataset that it was measured on"),
    Column::or_null("run", Is::Text, "id of the run that evaluated"),
    Column::new("protocol_digest", Is::Text, "results are comparable where this BLAKE3 is equal"),
    Column::new("position", Is::Whole, "position of the event that recorded it"),
    Column::new("recorded_at", Is::Instant, "when the ledger recorded it, UTC"),
    Column::new("occurred_at", Is::Instant, "when it was measured, as its producer says, UTC"),
    Column::or_null("superseded_by", Is::Text, "ref of the evaluation that took its place"),
    Column::or_null("superseded_reason", Is::Text, "why it is no longer to be relied on; null where it is"),
    Column::or_null("superseded_position", Is::Whole, "position of the event that says so"),
];

struct Results {
    filter: Filter,
    at: At,
    superseded: bool,
    is_empty: bool,
}

fn plan(ctx: &Context, arguments: &Arguments, when: When) -> Result<Box<dyn Rows>, Problem> {
    let word = |name| Ok::<_, Problem>(arguments.one(name)?.map(str::to_owned));
    let filter = Filter {
        suite: word("suite")?,
        task: word("task")?,
        metric: word("metric")?,
        slice: word("slice")?,
        dataset: word("dataset")?,
        protocol: word("protocol")?,
        subject: word("subject")?,
        from_step: arguments.whole("fromStep")?,
        to_step: arguments.whole("toStep")?,
    };
    let at = At { as_of: when.position, valid_at: arguments.parsed("validAt")? };
    let results = Results { filter, at, superseded: arguments.truth("superseded")?, is_empty: when.position.is_none() };
    // What is wrong with the question is found here.
    results.some(ctx, None, 1)?;
    Ok(Box::new(results))
}

impl Rows for Results {
    fn schema(&self) -> Schema {
        schema(COLUMNS)
    }

    fn send(self: Box<Self>, ctx: &Context, emit: Emit<'_>) -> Result<(), Problem> {
        let (mut after, mut more) = (None, !self.is_empty);
        while more {
            let rows = self.some(ctx, after, BATCH_ROWS)?;
            more = rows.len() == BATCH_ROWS;
            after = rows.last().map(Place::of);
            if !rows.is_empty() {
                emit(batch(&rows)?)?;
            }
        }
        Ok(())
    }
}

impl Results {
    /// The next results that are wanted, at most so many: the store is held only while they are gathered.
    fn some(&self, ctx: &Context, after: Option<Place>, rows_max: usize) -> Result<Vec<Standing>, Problem> {
        let mut rows = Vec::new();
        ctx.projections().evals().bulk(&self.filter, &self.at, after, &mut |standing| {
            if self.superseded || standing.superseded.is_none() {
                rows.push(standing.clone());
            }
            if rows.len() < rows_max { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        Ok(rows)
    }
}

fn batch(rows: &[Standing]) -> Result<RecordBatch, Problem> {
    let text = |of: &dyn Fn(&Standing) -> Option<String>| -> ArrayRef {
        let mut column = StringBuilder::new();
        rows.iter().for_each(|row| column.append_option(of(row)));
        Arc::new(column.finish())
    };
    let whole = |of: &dyn Fn(&Standing) -> Option<u64>| -> ArrayRef {
        let mut column = UInt64Builder::new();
        rows.iter().for_each(|row| column.append_option(of(row)));
        Arc::new(column.finish())
    };
    let real = |of: &dyn Fn(&Standing) -> Option<f64>| -> ArrayRef {
        let mut column = Float64Builder::new();
        rows.iter().for_each(|row| column.append_option(of(row)));
        Arc::new(column.finish())
    };
    let instant = |of: &dyn Fn(&Standing) -> i64| -> ArrayRef {
        let mut column = TimestampMicrosecondBuilder::new().with_timezone("UTC");
        rows.iter().for_each(|row| column.append_value(of(row)));
        Arc::new(column.finish())
    };
    let mut better = BooleanBuilder::new();
    rows.iter().for_each(|row| better.append_value(row.higher_is_better));
    let columns: Vec<ArrayRef> = vec![
        text(&|row| Some(row.subject.to_string())),
        whole(&|row| row.step),
        text(&|row| Some(row.suite.clone())),
        text(&|row| Some(row.task.clone())),
        text(&|row| Some(row.slice.clone())),
        text(&|row| Some(row.metric.clone())),
        real(&|row| Some(row.value)),
        whole(&|row| Some(row.n)),
        real(&|row| row.standard_error),
        text(&|row| row.unit.clone()),
        Arc::new(better.finish()),
        text(&|row| Some(row.evaluation.to_string())),
        text(&|row| row.dataset.as_ref().map(Ref::to_string)),
        text(&|row| row.run.map(|run| run.to_string())),
        text(&|row| Some(row.protocol_digest.to_string())),
        whole(&|row| Some(row.position.get())),
        instant(&|row| row.recorded_at.as_micros()),
        instant(&|row| row.occurred_at.as_micros()),
        text(&|row| row.superseded.as_ref()?.by.as_ref().map(Ref::to_string)),
        text(&|row| Some(row.superseded.as_ref()?.reason.clone())),
        whole(&|row| Some(row.superseded.as_ref()?.position.get())),
    ];
    RecordBatch::try_new(Arc::new(schema(COLUMNS)), columns).map_err(|e| Problem::internal(e.to_string()))
}
