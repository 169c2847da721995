//! `/v1/curves`: every point of the metrics of runs, a row each.

use super::arguments::Arguments;
use super::table::{BATCH_ROWS, Column, Emit, Is, Rows, Table, When, schema};
use crate::problem::Problem;
use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, DictionaryArray, Float64Array, Int32Array, RecordBatch, StringArray, TimestampMicrosecondArray,
    UInt64Array,
};
use arrow_schema::Schema;
use cairn_processors::Context;
use cairn_projections::curves::CurveBlock;
use cairn_schemas::{Position, Ref, RunId};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

pub(super) static TABLE: Table = Table {
    name: "curves",
    projection: "curves",
    arguments: &[
        ("runs", "ids or refs of runs; all runs that train where neither this nor a filter is given"),
        ("filter", "only runs of which this holds, in the language of [filters](#filters)"),
        ("metrics", "names of metrics, in which * stands for anything; all where absent"),
    ],
    plan,
};

const COLUMNS: &[Column] = &[
    Column::new("run", Is::Word, "id of the run"),
    Column::new("metric", Is::Word, "name of the metric"),
    Column::new("step", Is::Whole, "the step"),
    Column::new("time", Is::Instant, "when the step was taken, as its producer says, UTC"),
    Column::new("tokens", Is::Whole, "tokens that the run had seen"),
    Column::new("value", Is::Real, "the value, with NaN and infinities as they were logged"),
    Column::new("attempt", Is::Whole, "the attempt of the run that took the step, from 1"),
    Column::new("position", Is::Whole, "position of the event that logged it"),
];

/// Runs of one read: their names are held in memory.
const RUNS_MAX: usize = 1_000_000;

struct Points {
    runs: Vec<RunId>,
    metrics: Vec<String>,
    as_of: Option<Position>,
    /// The dictionaries of all batches.
    run_words: Words,
    metric_words: Words,
}

/// Words and their numbers.
struct Words {
    words: Arc<StringArray>,
    numbers: BTreeMap<String, i32>,
}

impl Words {
    fn new(words: Vec<String>) -> Self {
        let numbers = words.iter().cloned().zip(0..).collect();
        Self { words: Arc::new(StringArray::from(words)), numbers }
    }
    fn number(&self, word: &str) -> Result<i32, Problem> {
        let number = self.numbers.get(word).copied();
        number.ok_or_else(|| Problem::internal(format!("`{word}` came up after the read was planned")))
    }
    fn column(&self, numbers: Vec<i32>) -> Result<ArrayRef, Problem> {
        let column = DictionaryArray::<Int32Type>::try_new(Int32Array::from(numbers), self.words.clone());
        Ok(Arc::new(column.map_err(|e| Problem::internal(e.to_string()))?))
    }
}

/// Points that are in no batch yet, as columns.
#[derive(Default)]
struct Gathered {
    runs: Vec<i32>,
    metrics: Vec<i32>,
    steps: Vec<u64>,
    times_micros: Vec<i64>,
    tokens: Vec<u64>,
    values: Vec<f64>,
    attempts: Vec<u64>,
    positions: Vec<u64>,
}

fn plan(ctx: &Context, arguments: &Arguments, when: When) -> Result<Box<dyn Rows>, Problem> {
    let runs = runs(ctx, arguments, when)?;
    let patterns = arguments.list("metrics");
    let metrics = if patterns.is_empty() { vec!["*".to_owned()] } else { patterns.to_vec() };
    let mut names = BTreeSet::new();
    for run in &runs {
        names.extend(ctx.projections().curves().runs_metrics(run, None)?);
    }
    // A metric that none of them has is told of here.
    let stop = |_: &CurveBlock<'_>| Ok::<_, Problem>(ControlFlow::Break(()));
    ctx.projections().curves().for_each_block(&runs, &metrics, when.position, stop)?;
    let run_words = Words::new(runs.iter().map(RunId::to_string).collect());
    let metric_words = Words::new(names.into_iter().collect());
    let runs = if when.position.is_some() { runs } else { Vec::new() };
    Ok(Box::new(Points { runs, metrics, as_of: when.position, run_words, metric_words }))
}

/// The runs that are meant, each once.
fn runs(ctx: &Context, arguments: &Arguments, when: When) -> Result<Vec<RunId>, Problem> {
    let catalog = ctx.projections().catalog();
    let named = arguments.runs()?;
    for run in &named {
        if catalog.get(&format!("run:{run}"))?.is_none() {
            return Err(Problem::not_found(format!(
                "the ledger has not heard of run:{run}; /v1/runs has those it has"
            )));
        }
    }
    let filter = match arguments.one("filter")? {
        None if !named.is_empty() => return Ok(once(named)),
        None => "trains = true",
        Some(filter) => filter,
    };
    let found = catalog.matching_refs("run", filter, when.as_of(), RUNS_MAX)?;
    if found.total > RUNS_MAX as u64 {
        let detail = format!("{} runs; at most {RUNS_MAX} in one read, name fewer by a filter", found.total);
        return Err(Problem::malformed(detail));
    }
    let parse = |run: &Ref| run.to_string().parse().map_err(|e: cairn_schemas::Error| Problem::internal(e.to_string()));
    let found = found.refs.iter().map(parse).collect::<Result<Vec<RunId>, _>>()?;
    let wanted: BTreeSet<&RunId> = named.iter().collect();
    Ok(found.into_iter().filter(|run| wanted.is_empty() || wanted.contains(run)).collect())
}

fn once(runs: Vec<RunId>) -> Vec<RunId> {
    let mut seen = BTreeSet::new();
    runs.into_iter().filter(|run| seen.insert(*run)).collect()
}

impl Rows for Points {
    fn schema(&self) -> Schema {
        schema(COLUMNS)
    }

    fn send(self: Box<Self>, ctx: &Context, emit: Emit<'_>) -> Result<(), Problem> {
        let mut gathered = Gathered::default();
        ctx.projections().curves().for_each_block(&self.runs, &self.metrics, self.as_of, |block| {
            self.gather(block, &mut gathered)?;
            if gathered.steps.len() >= BATCH_ROWS {
                emit(self.batch(std::mem::take(&mut gathered))?)?;
            }
            Ok::<_, Problem>(ControlFlow::Continue(()))
        })?;
        if gathered.steps.is_empty() { Ok(()) } else { emit(self.batch(gathered)?) }
    }
}

impl Points {
    fn gather(&self, block: &CurveBlock<'_>, into: &mut Gathered) -> Result<(), Problem> {
        let (run, metric) = (self.run_words.number(&block.run.to_string())?, self.metric_words.number(block.metric)?);
        into.runs.resize(into.runs.len() + block.steps.len(), run);
        into.metrics.resize(into.metrics.len() + block.steps.len(), metric);
        into.steps.extend(block.steps);
        into.times_micros.extend(block.times_micros);
        into.tokens.extend(block.tokens);
        into.values.extend(block.values);
        into.attempts.extend(block.attempts.iter().map(|attempt| u64::from(*attempt)));
        into.positions.extend(block.positions);
        Ok(())
    }

    fn batch(&self, rows: Gathered) -> Result<RecordBatch, Problem> {
        let columns: Vec<ArrayRef> = vec![
            self.run_words.column(rows.runs)?,
            self.metric_words.column(rows.metrics)?,
            Arc::new(UInt64Array::from(rows.steps)),
            Arc::new(TimestampMicrosecondArray::from(rows.times_micros).with_timezone("UTC")),
            Arc::new(UInt64Array::from(rows.tokens)),
            Arc::new(Float64Array::from(rows.values)),
            Arc::new(UInt64Array::from(rows.attempts)),
            Arc::new(UInt64Array::from(rows.positions)),
        ];
        RecordBatch::try_new(Arc::new(schema(COLUMNS)), columns).map_err(|e| Problem::internal(e.to_string()))
    }
}
