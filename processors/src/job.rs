//! What a job is: data that says which inputs it needs, and a function from those inputs to refs and a summary.

use crate::observer::{Cancel, JobInfo, Observer};
use crate::pipeline::{JobKind, JobRef, Target};
use crate::{Context, Error};
use cairn_ledger::Artifact;
use cairn_schemas::{Blake3, Event, NewEvent, Position, ProjectName, Ref, RunId, Sha256};
use sha2::Digest;
use std::collections::BTreeMap;
use std::path::Path;

/// Events of one batch. A batch is whole or absent, so a retry that cuts its events alike repeats whole batches.
pub(crate) const BATCH_EVENTS_MAX: usize = 500;
/// Encoded bytes of one batch's events. Their refs are stored a second time, so this is well below the ledger's bound.
const BATCH_BYTES_MAX: usize = 2 << 20;

/// One stage of a pipeline. The specs in `pipeline` are the jobs.
pub trait Job: Send + Sync {
    fn kind(&self) -> JobKind;

    /// Raised when the same settings would give another result than before.
    fn revision(&self) -> u32 {
        1
    }

    /// The settings as recorded, and as hashed into the key.
    fn settings(&self) -> serde_json::Value;

    /// The inputs it stands on, as refs, and whatever else decides its result (digests of files it reads).
    fn resolve(&self, scope: &Scope<'_>) -> Result<Resolved, Error>;

    /// Whether the outcome of an earlier execution still stands. `false` runs the job again as a new run.
    fn still_stands(&self, _scope: &Scope<'_>, _recorded: &JobResult) -> Result<bool, Error> {
        Ok(true)
    }

    fn run(&self, job: &JobContext<'_>) -> Result<Output, Error>;
}

/// What a job's inputs came to before it ran.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resolved {
    /// Recorded as the job's inputs, and part of its key.
    pub inputs: Vec<Ref>,
    /// Part of the key only.
    pub identity: serde_json::Value,
}

/// What a job left.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Output {
    pub outputs: Vec<Ref>,
    /// Figures for people and for later jobs: an object.
    pub summary: serde_json::Value,
    /// Set by a gate that did not let its subject pass.
    pub blocked: Option<Blocked>,
}

impl Output {
    pub fn new(outputs: Vec<Ref>, summary: serde_json::Value) -> Self {
        Self { outputs, summary, blocked: None }
    }
}

/// Why a gate blocked, and whether the pipeline ends there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    pub reason: String,
    pub stops: bool,
}

/// What an earlier job of the pipeline came to, in this process or before.
#[derive(Clone, Debug, PartialEq)]
pub struct JobResult {
    pub name: String,
    pub kind: JobKind,
    pub run: RunId,
    pub outputs: Vec<Ref>,
    pub summary: serde_json::Value,
}

impl JobResult {
    /// The outputs of one kind (`Ref::kind`), in order.
    pub fn outputs_of(&self, kind: &str) -> impl Iterator<Item = &Ref> {
        self.outputs.iter().filter(move |reference| reference.kind() == kind)
    }
}

/// What names mean while a job is resolved and run.
pub struct Scope<'a> {
    pub ctx: &'a Context,
    /// Of the job that is resolved or run.
    pub job_name: &'a str,
    pub project: &'a ProjectName,
    pub seed: u64,
    /// Relative paths start here: the pipeline's folder.
    pub base_dir: &'a Path,
    /// Earlier jobs by name.
    pub results: &'a BTreeMap<String, JobResult>,
    /// The ledger's head when names were resolved; `None` when it was empty.
    pub resolved_at: Option<Position>,
}

impl<'a> Scope<'a> {
    /// What an earlier job came to.
    pub fn job(&self, name: &JobRef) -> Result<&'a JobResult, Error> {
        self.results.get(name.as_str()).ok_or_else(|| {
            let there: Vec<&str> = self.results.keys().map(String::as_str).collect();
            let there = if there.is_empty() { "none is".to_owned() } else { there.join(", ") };
            Error::refused(format!("job `{name}`"), format!("it has not been completed; completed: {there}"))
        })
    }

    /// The refs of `kind` that a target stands for: a ref itself, or a job's outputs of that kind.
    pub fn refs(&self, target: &Target, kind: &'static str) -> Result<Vec<Ref>, Error> {
        let wrong = |why: String| Error::refused(format!("`{target}`"), why);
        match target {
            Target::Ref(reference) if reference.kind() == kind => {
                self.must_exist(reference)?;
                Ok(vec![reference.clone()])
            }
            Target::Ref(reference) => Err(wrong(format!("names a {}; a {kind} is needed here", reference.kind()))),
            Target::Job(name) => {
                let result = self.job(name)?;
                let found: Vec<Ref> = result.outputs_of(kind).cloned().collect();
                if found.is_empty() {
                    let why = format!("job of kind {} made no {kind}; name one that does", result.kind);
                    return Err(wrong(why));
                }
                Ok(found)
            }
        }
    }

    /// As `refs`, where one is meant: the first.
    pub fn one(&self, target: &Target, kind: &'static str) -> Result<Ref, Error> {
        Ok(self.refs(target, kind)?.swap_remove(0))
    }

    pub fn dataset(&self, target: &Target) -> Result<Ref, Error> {
        self.one(target, "dataset")
    }

    /// Refuses a ref that the catalog has not heard of; an artifact must be stored.
    pub fn must_exist(&self, reference: &Ref) -> Result<(), Error> {
        let known = match reference {
            Ref::Artifact(digest) => self.ctx.ledger().artifacts(self.ctx.tenant()).contains(digest),
            other => self.ctx.projections().catalog().get(&other.to_string())?.is_some(),
        };
        if known {
            return Ok(());
        }
        Err(Error::UnknownRef {
            kind: reference.kind(),
            reference: reference.to_string(),
            hint: hint_for(reference).into(),
        })
    }

    /// A path of the pipeline, seen from its folder.
    pub fn path(&self, given: &Path) -> std::path::PathBuf {
        self.base_dir.join(given)
    }
}

/// A job in execution: its scope, its identity, and the ways by which it records and reports.
pub struct JobContext<'a> {
    pub scope: Scope<'a>,
    pub info: &'a JobInfo,
    /// What `Job::resolve` gave.
    pub resolved: &'a Resolved,
    /// Hash of kind, settings and inputs.
    pub key: Blake3,
    /// The run that this one replays.
    pub reproduces: Option<RunId>,
    pub(crate) cancel: &'a Cancel,
    pub(crate) observer: &'a dyn Observer,
}

impl JobContext<'_> {
    pub fn ctx(&self) -> &Context {
        self.scope.ctx
    }
    pub fn run(&self) -> RunId {
        self.info.run
    }
    pub fn attempt(&self) -> u32 {
        self.info.attempt
    }

    /// `total` is 0 where it is not known.
    pub fn progress(&self, done: u64, total: u64, message: &str) {
        self.observer.progress(self.info, done, total, message);
    }

    /// `Err(Cancelled)` once the pipeline was asked to stop; looked at between steps.
    pub fn check_cancelled(&self) -> Result<(), Error> {
        if self.cancel.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }

    /// `cairn://processors/<kind>`.
    pub fn source(&self) -> String {
        source_of(self.info.kind)
    }

    /// Records events of this attempt: the id of each is `<run>/<attempt>/<what>`. A replay records nothing.
    pub fn record(&self, events: Vec<(String, Event)>) -> Result<(), Error> {
        let prefix = format!("{}/{}", self.info.run, self.info.attempt);
        self.append(&prefix, events)
    }

    /// Records events that any attempt of this run would record alike, in the same order: the id is `<run>/<what>`,
    /// so that a later attempt finds them recorded.
    pub fn record_once(&self, events: Vec<(String, Event)>) -> Result<(), Error> {
        let prefix = self.info.run.to_string();
        self.append(&prefix, events)
    }

    pub fn record_one(&self, what: &str, event: impl Into<Event>) -> Result<(), Error> {
        self.record(vec![(what.to_owned(), event.into())])
    }

    fn append(&self, prefix: &str, events: Vec<(String, Event)>) -> Result<(), Error> {
        if self.reproduces.is_some() {
            return Ok(());
        }
        let source = self.source();
        let project = self.scope.project.as_str();
        let made = events
            .into_iter()
            .map(|(what, event)| NewEvent::new(&source, &format!("{prefix}/{what}"), event).in_project(project));
        let (mut batch, mut bytes) = (Vec::new(), 0);
        for event in made {
            let size = event.event.encode().len();
            if batch.len() == BATCH_EVENTS_MAX || (bytes + size > BATCH_BYTES_MAX && !batch.is_empty()) {
                self.ctx().ledger().append(self.ctx().tenant(), std::mem::take(&mut batch))?;
                bytes = 0;
            }
            bytes += size;
            batch.push(event);
        }
        if !batch.is_empty() {
            self.ctx().ledger().append(self.ctx().tenant(), batch)?;
        }
        Ok(())
    }

    /// Stores bytes in the ledger's artifact store; a replay only learns what they would be stored as.
    pub fn put_artifact(&self, bytes: &[u8]) -> Result<Artifact, Error> {
        if self.reproduces.is_some() {
            let sha256 = Sha256::from_bytes(sha2::Sha256::digest(bytes).into());
            return Ok(Artifact { blake3: Blake3::of(bytes), sha256, bytes: bytes.len() as u64 });
        }
        Ok(self.ctx().ledger().artifacts(self.ctx().tenant()).put_bytes(bytes)?)
    }

    pub fn artifact_bytes(&self, reference: &Ref) -> Result<Vec<u8>, Error> {
        let Ref::Artifact(digest) = reference else {
            return Err(Error::refused(format!("`{reference}`"), "is not an artifact"));
        };
        Ok(self.ctx().ledger().artifacts(self.ctx().tenant()).get(digest)?)
    }
}

/// What makes a thing of this kind.
fn hint_for(reference: &Ref) -> &'static str {
    match reference {
        Ref::Dataset { .. } => {
            "a `dataset` job of that name and version makes it, `cairn status` names those there are"
        }
        Ref::Model { .. } => "a `train` job with `register` makes versions, `cairn status` names those there are",
        Ref::Deployment(_) => "a `deploy` job makes one, `cairn status` names those there are",
        _ => "`cairn log` shows the refs there are",
    }
}

pub(crate) fn source_of(kind: JobKind) -> String {
    format!("cairn://processors/{kind}")
}

/// JSON without white space, members sorted by name: equal values have equal text.
pub(crate) fn canonical_json(value: &serde_json::Value) -> String {
    use serde_json::Value;
    fn sorted(value: &Value) -> Value {
        match value {
            Value::Array(values) => values.iter().map(sorted).collect(),
            Value::Object(members) => {
                let ordered: BTreeMap<&String, Value> =
                    members.iter().map(|(name, value)| (name, sorted(value))).collect();
                ordered.into_iter().map(|(name, value)| (name.clone(), value)).collect()
            }
            other => other.clone(),
        }
    }
    sorted(value).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_json_does_not_depend_on_order() {
        let one: serde_json::Value = serde_json::from_str(r#"{"b":[{"y":1,"x":2.5}],"a":null}"#).unwrap();
        let two: serde_json::Value = serde_json::from_str(r#"{ "a": null, "b": [{"x": 2.5, "y": 1}] }"#).unwrap();
        assert_eq!(canonical_json(&one), canonical_json(&two));
        assert_eq!(canonical_json(&one), r#"{"a":null,"b":[{"x":2.5,"y":1}]}"#);
    }
}
