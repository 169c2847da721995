//! Questions to the catalog: entities, lists, runs and jobs.

use super::rows::{self, CheckpointRow, EntityRow, JobRow, Latest, Progress, RejectionRow};
use super::{Catalog, CheckpointRecord, Entity, JobRecord, KINDS, Page, Rejection, past};
use crate::Error;
use crate::attempts::{Takeover, is_hidden};
use crate::curves::Point;
use crate::key::Fields;
use crate::projection::{collect, decode};
use crate::store::{Order, Row, Store, page, scan_prefix};
use cairn_schemas::{Blake3, Position, Real, Ref, RunId};
use serde_json::{Map, Value, json};
use std::ops::ControlFlow;

/// Most items of a page; a larger limit means this one.
const PAGE_MAX: usize = 1_000;

pub(super) fn bounded(limit: usize) -> usize {
    limit.clamp(1, PAGE_MAX)
}

impl Catalog {
    /// What goes by this ref, or by `source:<name>` or `schema:<kind>`.
    pub fn get(&self, reference: &str) -> Result<Option<Entity>, Error> {
        self.0.read(|store| entity(store, reference))
    }

    /// What goes by each of these refs, as it was at a position where one is given, in their order: read together, in
    /// one question to the store.
    pub fn states(&self, wanted: &[(String, Option<Position>)]) -> Result<Vec<Option<Entity>>, Error> {
        self.0.read(|store| {
            let one = |(reference, as_of): &(String, Option<Position>)| match as_of {
                None => entity(store, reference),
                Some(position) => self.state_in(store, reference, *position),
            };
            wanted.iter().map(one).collect()
        })
    }

    /// A kind's entities by when they were first mentioned, at most 1,000 a page. `after` is an earlier page's `next`.
    pub fn list(
        &self,
        kind: &str,
        after: Option<&str>,
        limit: usize,
        newest_first: bool,
    ) -> Result<Page<Entity>, Error> {
        if !KINDS.contains(&kind) {
            return Err(Error::UnknownKind { given: kind.to_owned(), known: KINDS.to_vec() });
        }
        let order = if newest_first { Order::Descending } else { Order::Ascending };
        self.0.read(|store| {
            let (keys, next) = page(store, &rows::list(kind).done(), after, bounded(limit), order)?;
            let one = |(key, _): &Row| {
                let reference = rows::listed(key)?;
                entity(store, &reference)?.ok_or_else(|| Error::row("catalog.list", format!("{reference} is missing")))
            };
            Ok(Page { items: keys.iter().map(one).collect::<Result<_, _>>()?, next })
        })
    }

    /// What goes by this ref as it was when the log went up to a position; `None` where it was not yet.
    pub fn state(&self, reference: &str, as_of: Option<Position>) -> Result<Option<Entity>, Error> {
        match as_of {
            None => self.get(reference),
            Some(position) => self.0.read(|store| self.state_in(store, reference, position)),
        }
    }

    pub(super) fn state_in(
        &self,
        store: &dyn Store,
        reference: &str,
        position: Position,
    ) -> Result<Option<Entity>, Error> {
        let Some(row) = past::as_of(store, reference, position)? else { return Ok(None) };
        let mut entity = rows::shown(reference.to_owned(), row)?;
        if let Some(run) = run_of(&entity)? {
            let now = progress(store, &run)?;
            let then = match &now {
                Some(now) if now.when.position > position.get() => self.progress_as_of(&run, position)?,
                _ => now,
            };
            show(&mut entity, then);
        }
        Ok(Some(entity))
    }

    /// What a run's steps had said by a position that its latest step is behind.
    pub(super) fn progress_as_of(&self, run: &RunId, position: Position) -> Result<Option<Progress>, Error> {
        let latest = self.1.latest(run, Some(position))?;
        let Some((_, last)) = latest.iter().max_by_key(|(_, point)| (point.attempt, point.step)) else {
            return Ok(None);
        };
        let (attempt, step, tokens) = (last.attempt, last.step, last.tokens);
        let metric = |(name, point): (String, Point)| {
            let Point { value, attempt, step, .. } = point;
            Latest { name, value, attempt, step }
        };
        let metrics = latest.into_iter().map(metric).collect();
        Ok(Some(Progress { attempt, step, tokens, metrics, ..Progress::default() }))
    }

    /// Positions of the events that changed an entity, in order, its first among them.
    pub fn changes(&self, reference: &str) -> Result<Vec<Position>, Error> {
        self.0.read(|store| {
            let Some(row) = store.get(&rows::entity(reference))? else { return Ok(Vec::new()) };
            let row: EntityRow = decode("catalog.entity", &row)?;
            let positions = std::iter::once(row.created.position).chain(past::changes(store, reference)?);
            positions.map(rows::position).collect()
        })
    }

    /// How many entities of a kind there are.
    pub fn count(&self, kind: &str) -> Result<u64, Error> {
        if !KINDS.contains(&kind) {
            return Err(Error::UnknownKind { given: kind.to_owned(), known: KINDS.to_vec() });
        }
        self.0.read(|store| store.get(&rows::count(kind))?.map_or(Ok(0), |row| decode("catalog.count", &row)))
    }

    /// The job with this key: the completed one if there is one, else the one started last. Replays do not count.
    pub fn job_by_key(&self, key: &Blake3) -> Result<Option<JobRecord>, Error> {
        self.0.read(|store| {
            let Some(row) = store.get(&rows::job_by_key(key))? else { return Ok(None) };
            job(store, &decode::<String>("catalog.job_by_key", &row)?)
        })
    }

    pub fn job(&self, run: &RunId) -> Result<Option<JobRecord>, Error> {
        self.0.read(|store| job(store, &run.to_string()))
    }

    /// Jobs that were started and did not end, oldest run first: those that run, and those whose process died.
    pub fn unfinished_jobs(&self) -> Result<Vec<JobRecord>, Error> {
        self.0.read(|store| {
            collect(store, &rows::unfinished(), Order::Ascending, |key, _| {
                job(store, &Fields::of("catalog.unfinished", key).text()?)
            })
        })
    }

    /// The run's checkpoints that count, by step: those that an earlier attempt stored after the step from which a
    /// later one went on are left out. The last one is the one to go on from.
    pub fn checkpoints(&self, run: &RunId) -> Result<Vec<CheckpointRecord>, Error> {
        self.checkpoints_at(run, None)
    }

    /// The run's checkpoints that counted when the log went up to a position; see [`checkpoints`](Self::checkpoints).
    pub fn checkpoints_at(&self, run: &RunId, as_of: Option<Position>) -> Result<Vec<CheckpointRecord>, Error> {
        // When an attempt took over is kept by the curves, which are asked about the past more often.
        let then = as_of.map(|_| self.1.takeovers(run, as_of)).transpose()?;
        let run = run.to_string();
        self.0.read(|store| {
            let takeovers = match then {
                Some(takeovers) => takeovers,
                None => takeovers(store, &run)?,
            };
            let mut kept: Vec<(u64, u32, CheckpointRow)> = Vec::new();
            scan_prefix(store, &rows::checkpoints(&run), Order::Ascending, &mut |key, row| {
                let mut fields = Fields::of("catalog.checkpoint", key);
                fields.text()?;
                let (step, attempt) = (fields.u64()?, fields.u32()?);
                let row: CheckpointRow = decode("catalog.checkpoint", row)?;
                let is_later = as_of.is_some_and(|as_of| row.when.position > as_of.get());
                if !is_later && !is_hidden(&takeovers, attempt, step) {
                    keep(&mut kept, step, attempt, row);
                }
                Ok(ControlFlow::Continue(()))
            })?;
            kept.into_iter().map(checkpoint).collect()
        })
    }

    /// Documents that a run turned away, in order, at most 1,000 a page.
    pub fn rejections(&self, run: &RunId, after: Option<&str>, limit: usize) -> Result<Page<Rejection>, Error> {
        self.0.read(|store| {
            let (found, next) =
                page(store, &rows::rejections(&run.to_string()).done(), after, bounded(limit), Order::Ascending)?;
            let one = |(key, row): &Row| {
                let mut fields = Fields::of("catalog.rejection", key);
                fields.text()?;
                let row: RejectionRow = decode("catalog.rejection", row)?;
                Ok(Rejection {
                    position: rows::position(fields.u64()?)?,
                    duplicate_of: rows::parse_some(row.duplicate_of.as_deref())?,
                    source: row.source,
                    source_uri: row.source_uri,
                    rule: row.rule,
                    detail: row.detail,
                    jaccard: row.jaccard,
                    offset: row.offset,
                })
            };
            Ok(Page { items: found.iter().map(one).collect::<Result<_, Error>>()?, next })
        })
    }
}

fn takeovers(store: &dyn Store, run: &str) -> Result<Vec<Takeover>, Error> {
    store.get(&rows::takeovers(run))?.map_or(Ok(Vec::new()), |row| decode("catalog.takeovers", &row))
}

/// Adds a checkpoint in order of step. What lists say of a step is one checkpoint, in which a later list fills in what an
/// earlier one did not say.
fn keep(kept: &mut Vec<(u64, u32, CheckpointRow)>, step: u64, attempt: u32, row: CheckpointRow) {
    let of_step = kept.iter_mut().rev().take_while(|(known, ..)| *known == step);
    let listed = of_step.map(|(.., known)| known).find(|known| row.is_listed() && known.is_listed());
    match listed {
        Some(known) => *known = row.filled(known),
        None => kept.push((step, attempt, row)),
    }
}

fn checkpoint((step, attempt, row): (u64, u32, CheckpointRow)) -> Result<CheckpointRecord, Error> {
    Ok(CheckpointRecord {
        step,
        attempt,
        tokens: row.tokens,
        checkpoint: rows::parse_some(row.checkpoint.as_deref())?,
        state_digest: row.state_digest.map(Blake3::from_bytes),
        weights_digest: row.weights_digest.map(Blake3::from_bytes),
        location: row.location,
        position: row.when.position()?,
        recorded_at: row.when.at(),
    })
}

pub(super) fn entity(store: &dyn Store, reference: &str) -> Result<Option<Entity>, Error> {
    let Some(row) = store.get(&rows::entity(reference))? else { return Ok(None) };
    let mut entity = rows::shown(reference.to_owned(), decode("catalog.entity", &row)?)?;
    if let Some(run) = run_of(&entity)? {
        let progress = progress(store, &run)?;
        show(&mut entity, progress);
    }
    Ok(Some(entity))
}

fn run_of(entity: &Entity) -> Result<Option<RunId>, Error> {
    let run = || entity.reference.parse().map_err(|e| Error::row("catalog.entity", e));
    (entity.kind == "run").then(run).transpose()
}

fn progress(store: &dyn Store, run: &RunId) -> Result<Option<Progress>, Error> {
    store.get(&rows::progress(run))?.map(|row| decode("catalog.progress", &row)).transpose()
}

/// Shows on a run what its steps say, which is kept apart from it.
fn show(run: &mut Entity, progress: Option<Progress>) {
    let Some(Progress { attempt, step, tokens, metrics, .. }) = progress else { return };
    let metrics: Map<String, Value> =
        metrics.into_iter().map(|latest| (latest.name, json!(Real(latest.value)))).collect();
    run.attributes["progress"] = json!({ "attempt": attempt, "step": step, "tokens": tokens, "metrics": metrics });
}

fn job(store: &dyn Store, run: &str) -> Result<Option<JobRecord>, Error> {
    let Some(row) = store.get(&rows::job(run))? else { return Ok(None) };
    let row: JobRow = decode("catalog.job", &row)?;
    let run_id = |run: &str| run.parse::<RunId>().map_err(|e| Error::row("catalog.job", e));
    let refs = |refs: &[String]| refs.iter().map(|text| rows::parse(text)).collect::<Result<Vec<Ref>, Error>>();
    Ok(Some(JobRecord {
        run: run_id(run)?,
        attempt: row.attempt,
        key: Blake3::from_bytes(row.key),
        state: row.state,
        spec: rows::json(&row.spec)?,
        inputs: refs(&row.inputs)?,
        resolved_at: row.resolved_at.and_then(cairn_schemas::Position::new),
        reproduces: row.reproduces.as_deref().map(run_id).transpose()?,
        outputs: refs(&row.outputs)?,
        summary: rows::json(&row.summary)?,
        duration_ms: row.duration_ms,
        error: row.error,
        started_position: row.started.position()?,
        started_at: row.started.at(),
        updated_at: row.updated.at(),
        kind: row.kind,
        name: row.name,
        pipeline: row.pipeline,
    }))
}
