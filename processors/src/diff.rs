//! What is different between two runs: data by document, code, config and environment by path, metrics. Each store is
//! asked for its own; nothing is kept.

mod json;

pub use json::{Change, changes};

use crate::{Context, Error};
use cairn_projections::catalog::Entity;
use cairn_projections::curves::MetricSummary;
use cairn_projections::lineage::{Direction, DocumentsDiff};
use cairn_schemas::{Position, Real, Ref, RunId};
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Neighbours of a run that are looked at for its data, of one kind.
const NEIGHBOURS_MAX: usize = 10_000;
/// Members of a training that stand on their own in a comparison, with the words for them.
const FACTS: [(&str, &str); 13] = [
    ("kind", "/job/kind"),
    ("method", "/training/method"),
    ("state", "/job/state"),
    ("training_state", "/training/state"),
    ("dataset", "/training/dataset"),
    ("tokenizer", "/training/tokenizer"),
    ("base_model", "/training/base_model"),
    ("parent", "/training/parent"),
    ("forked_from", "/training/forked_from"),
    ("seed", "/training/seed"),
    ("steps_planned", "/training/steps_planned"),
    ("identity", "/training/identity"),
    ("weights_digest", "/training/weights_digest"),
];

/// What to compare, and how much of it to list.
#[derive(Clone, Debug)]
pub struct DiffQuery {
    pub before: RunId,
    pub after: RunId,
    /// As the ledger was here; `None`: as it is.
    pub as_of: Option<Position>,
    /// Documents to list at most, and where an earlier page ended.
    pub documents_first: usize,
    pub documents_after: Option<String>,
}

impl DiffQuery {
    pub fn of(before: RunId, after: RunId) -> Self {
        Self { before, after, as_of: None, documents_first: 100, documents_after: None }
    }
}

/// A metric as a run's points have it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    pub points: u64,
    pub last_step: u64,
    pub last: Real,
    pub min: Real,
    pub max: Real,
}

/// A metric of either run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MetricChange {
    pub metric: String,
    pub before: Option<Figure>,
    pub after: Option<Figure>,
}

/// How the data of two runs differs.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DataDiff {
    /// Dataset versions that a run used or made.
    pub datasets_before: Vec<Ref>,
    pub datasets_after: Vec<Ref>,
    /// Everything else that went in: artifacts, models, judgments.
    pub inputs_removed: Vec<Ref>,
    pub inputs_added: Vec<Ref>,
    /// Documents of those datasets, or of the run itself where it ingests.
    pub documents: DocumentsDiff,
}

/// How two runs differ. A list without entries says that the two are equal there.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunDiff {
    pub before: RunId,
    pub after: RunId,
    /// The position that this is as of.
    pub position: Option<Position>,
    /// Kind, method, state, parent, seed, …
    pub facts: Vec<Change>,
    pub code: Vec<Change>,
    /// Settings, by path.
    pub config: Vec<Change>,
    pub environment: Vec<Change>,
    /// Figures of jobs that are no trainings, by path.
    pub summary: Vec<Change>,
    /// Metrics whose last, least or greatest value differs, or that one of the two does not have.
    pub metrics: Vec<MetricChange>,
    /// How many metrics are equal.
    pub metrics_equal: u64,
    pub data: DataDiff,
}

impl RunDiff {
    /// Whether nothing that was looked at differs. What a run measured does not count: equal causes are what is asked for.
    pub fn is_same_work(&self) -> bool {
        let documents = &self.data.documents;
        let lists = [&self.code, &self.config, &self.environment];
        lists.iter().all(|changes| changes.is_empty())
            && self.data.inputs_removed.is_empty()
            && self.data.inputs_added.is_empty()
            && (documents.added, documents.removed) == (0, 0)
            && self
                .facts
                .iter()
                .all(|change| matches!(change.path.as_str(), "state" | "training_state" | "weights_digest"))
    }
}

/// Compares two runs.
pub fn diff(ctx: &Context, query: &DiffQuery) -> Result<RunDiff, Error> {
    ctx.projections().catch_up()?;
    let position = query.as_of.or(ctx.projections().reached());
    let (before, after) = (run_of(ctx, &query.before, position)?, run_of(ctx, &query.after, position)?);
    let between = |paths: &[&str]| {
        let of =
            |run: &Entity| paths.iter().find_map(|path| run.attributes.pointer(path).filter(|v| !v.is_null())).cloned();
        changes(&of(&before).unwrap_or_default(), &of(&after).unwrap_or_default())
    };
    let mut facts = Vec::new();
    for (name, path) in FACTS {
        let of = |run: &Entity| run.attributes.pointer(path).filter(|value| !value.is_null()).cloned();
        let (before, after) = (of(&before), of(&after));
        if before != after {
            facts.push(Change { path: name.to_owned(), before, after });
        }
    }
    let (metrics, metrics_equal) = metrics(ctx, query, position)?;
    let is_training = |run: &Entity| run.attributes.get("training").is_some();
    Ok(RunDiff {
        before: query.before,
        after: query.after,
        position,
        facts,
        code: between(&["/training/code", "/job/spec/code"]),
        config: between(&["/training/config", "/job/spec/settings", "/job/spec"]),
        environment: between(&["/training/environment", "/job/summary/environment"]),
        summary: match is_training(&before) || is_training(&after) {
            true => Vec::new(),
            false => between(&["/job/summary"]),
        },
        metrics,
        metrics_equal,
        data: data(ctx, query, position)?,
    })
}

/// A run as it was at a position.
fn run_of(ctx: &Context, run: &RunId, position: Option<Position>) -> Result<Entity, Error> {
    let reference = Ref::Run(*run).to_string();
    let found = ctx.projections().catalog().state(&reference, position)?;
    found.ok_or_else(|| Error::UnknownRef {
        kind: "run",
        reference,
        hint: "`cairn status` names the latest; with `as of`, it must have begun by then".into(),
    })
}

/// Figures of both runs' metrics, as of a position.
fn metrics(ctx: &Context, query: &DiffQuery, position: Option<Position>) -> Result<(Vec<MetricChange>, u64), Error> {
    let figures = |run: &RunId| -> Result<BTreeMap<String, Figure>, Error> {
        let metrics = ctx.projections().curves().metrics(run, position)?;
        let real = |value: Option<f64>| Real(value.unwrap_or(f64::NAN));
        let figure = |metric: &MetricSummary| Figure {
            points: metric.points,
            last_step: metric.last.step,
            last: Real(metric.last.value),
            min: real(metric.min),
            max: real(metric.max),
        };
        Ok(metrics.iter().map(|metric| (metric.name.to_string(), figure(metric))).collect())
    };
    let (before, after) = (figures(&query.before)?, figures(&query.after)?);
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let (mut changes, mut equal) = (Vec::new(), 0);
    for metric in names {
        let (before, after) = (before.get(metric).cloned(), after.get(metric).cloned());
        match before == after {
            true => equal += 1,
            false => changes.push(MetricChange { metric: metric.clone(), before, after }),
        }
    }
    Ok((changes, equal))
}

/// Documents that only one of the runs' data has: of their datasets, or of the runs themselves where they ingest.
pub fn documents(ctx: &Context, query: &DiffQuery) -> Result<DocumentsDiff, Error> {
    ctx.projections().catch_up()?;
    let position = query.as_of.or(ctx.projections().reached());
    let holders = |run: &RunId| -> Result<Vec<Ref>, Error> {
        let mut holders = datasets(ctx, run, &used(ctx, run, position)?, position)?;
        if run_of(ctx, run, position)?.attributes.get("ingestion").is_some() {
            holders.push(Ref::Run(*run));
        }
        Ok(holders)
    };
    let (before, after) = (holders(&query.before)?, holders(&query.after)?);
    let page = query.documents_after.as_deref();
    Ok(ctx.projections().lineage().documents_diff(&before, &after, position, page, query.documents_first)?)
}

/// What went in: datasets by their documents, everything else by name.
fn data(ctx: &Context, query: &DiffQuery, position: Option<Position>) -> Result<DataDiff, Error> {
    let (before, after) = (used(ctx, &query.before, position)?, used(ctx, &query.after, position)?);
    let rest = |these: &BTreeSet<Ref>, those: &BTreeSet<Ref>| -> Vec<Ref> {
        let is_other = |used: &&Ref| !matches!(used, Ref::Dataset { .. } | Ref::Doc(_));
        these.difference(those).filter(is_other).cloned().collect()
    };
    Ok(DataDiff {
        inputs_removed: rest(&before, &after),
        inputs_added: rest(&after, &before),
        datasets_before: datasets(ctx, &query.before, &before, position)?,
        datasets_after: datasets(ctx, &query.after, &after, position)?,
        documents: documents(ctx, &DiffQuery { as_of: position, ..query.clone() })?,
    })
}

fn used(ctx: &Context, run: &RunId, position: Option<Position>) -> Result<BTreeSet<Ref>, Error> {
    let lineage = ctx.projections().lineage();
    let page = lineage.neighbours(&Ref::Run(*run), Direction::Up, None, position, None, NEIGHBOURS_MAX)?;
    Ok(page.neighbours.into_iter().collect())
}

/// Dataset versions that a run used; where it used none, those that it made.
fn datasets(ctx: &Context, run: &RunId, used: &BTreeSet<Ref>, position: Option<Position>) -> Result<Vec<Ref>, Error> {
    let used: Vec<Ref> = used.iter().filter(|used| matches!(used, Ref::Dataset { .. })).cloned().collect();
    if !used.is_empty() {
        return Ok(used);
    }
    let lineage = ctx.projections().lineage();
    let made = lineage.neighbours(&Ref::Run(*run), Direction::Down, Some("dataset"), position, None, NEIGHBOURS_MAX)?;
    Ok(made.neighbours)
}

/// A value as it is shown: text without quotes, absence as a dash.
pub fn shown(value: Option<&Value>) -> String {
    match value {
        None => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}
