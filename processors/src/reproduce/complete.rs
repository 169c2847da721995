//! Whether a run's provenance is complete enough to run it again: what is recorded of it, and exactly what is missing.

use super::{ERASE, Manner};
use crate::dataset_reader::{DatasetVersion, artifact_digest};
use crate::pipeline::JobKind;
use crate::{Context, Error};
use cairn_projections::catalog::{Entity, RunState};
use cairn_projections::lineage::codes;
use cairn_schemas::{Position, Ref, RunId};
use serde::Serialize;
use serde_json::Value;

/// Whose program ran it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RunBy {
    /// A job of this program: `cairn reproduce` replays or checks it.
    Cairn,
    /// Another: it is run again by that program, from what is recorded here.
    Outside,
}

/// Something that is recorded, in a few words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Part {
    pub what: &'static str,
    pub value: String,
}

/// Something without which the run cannot be run again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Missing {
    pub what: &'static str,
    pub why: String,
    /// What would have to be recorded, or restored.
    pub fix: String,
}

/// What is known of how a run came to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Provenance {
    pub run: RunId,
    pub kind: String,
    pub by: RunBy,
    /// How `cairn reproduce` goes about it; `None` where another program must run it.
    pub manner: Option<Manner>,
    /// Whether nothing is missing.
    pub is_complete: bool,
    pub recorded: Vec<Part>,
    pub missing: Vec<Missing>,
}

/// Looks at everything that a run was made of; at what had been recorded by a position, where one is given. Whether bytes
/// are stored is said of now, whichever.
pub fn provenance_of(ctx: &Context, run: &RunId, as_of: Option<Position>) -> Result<Provenance, Error> {
    ctx.projections().catch_up()?;
    let reference = Ref::Run(*run).to_string();
    let entity = ctx.projections().catalog().state(&reference, as_of)?;
    let entity = entity.ok_or_else(|| Error::UnknownRef {
        kind: "run",
        reference,
        hint: "`cairn status` names the latest".into(),
    })?;
    let job = |member: &str| entity.attributes.pointer(&format!("/job/{member}")).and_then(Value::as_str);
    let own = job("kind").filter(|kind| JobKind::parse(kind).is_some() || *kind == ERASE);
    let mut look = Look { ctx, entity: &entity, as_of, recorded: Vec::new(), missing: Vec::new() };
    look.start();
    look.code();
    look.settings();
    if entity.attributes.get("training").is_some() {
        look.training();
    }
    if own != Some(ERASE) {
        look.inputs(ctx, run)?;
    }
    let state = job("state").unwrap_or_default();
    if own.is_some_and(|kind| kind != JobKind::Train.as_str()) && state != RunState::Completed.as_str() {
        look.lacks("result", format!("it is {state}, so it left nothing to compare with"), "run it to its end");
    }
    let (recorded, missing) = (look.recorded, look.missing);
    Ok(Provenance {
        run: *run,
        kind: kind_of(&entity),
        by: if own.is_some() { RunBy::Cairn } else { RunBy::Outside },
        manner: own.map(|kind| match kind {
            ERASE | "deploy" => Manner::Checked,
            _ => Manner::Replayed,
        }),
        is_complete: missing.is_empty(),
        recorded,
        missing,
    })
}

fn kind_of(entity: &Entity) -> String {
    let kind = entity.attributes.pointer("/job/kind").or_else(|| entity.attributes.pointer("/training/method"));
    kind.and_then(Value::as_str).unwrap_or("unknown").to_owned()
}

struct Look<'a> {
    ctx: &'a Context,
    entity: &'a Entity,
    as_of: Option<Position>,
    recorded: Vec<Part>,
    missing: Vec<Missing>,
}

impl Look<'_> {
    fn at(&self, paths: &[&str]) -> Option<&Value> {
        let is_something = |value: &&Value| match value {
            Value::Null => false,
            Value::Object(members) => !members.is_empty(),
            Value::Array(values) => !values.is_empty(),
            Value::String(text) => !text.is_empty(),
            _ => true,
        };
        paths.iter().find_map(|path| self.entity.attributes.pointer(path).filter(is_something))
    }

    fn has(&mut self, what: &'static str, value: impl ToString) {
        self.recorded.push(Part { what, value: value.to_string() });
    }

    fn lacks(&mut self, what: &'static str, why: impl Into<String>, fix: impl Into<String>) {
        self.missing.push(Missing { what, why: why.into(), fix: fix.into() });
    }

    fn start(&mut self) {
        if self.at(&["/job", "/training/method"]).is_none() {
            let why = "no event says how it began: it is known only because others name it";
            self.lacks("start", why, "record cairn.training.run_started.v1 or cairn.job.started.v1 for it");
        }
    }

    fn code(&mut self) {
        let code = self.at(&["/training/code", "/job/spec/code"]).cloned().unwrap_or_default();
        match codes(&code).first() {
            Some(found) => self.has("code", found),
            None if code.is_null() => {
                self.lacks("code", "no program is recorded", "give `code` with a commit or the program's digest");
            }
            None => {
                let why = format!("{code} names no commit and no digest");
                self.lacks("code", why, "give `code` with a commit or the program's digest");
            }
        }
    }

    fn settings(&mut self) {
        let found = self.at(&["/training/config", "/job/spec/settings", "/job/spec"]);
        match found.map(|config| config.as_object().map_or(1, serde_json::Map::len)) {
            Some(members) => self.has("config", format!("{members} settings")),
            None => self.lacks("config", "no settings are recorded", "give `config` as the program resolved it"),
        }
    }

    /// What only a training is made of.
    fn training(&mut self) {
        match self.at(&["/training/environment"]).and_then(Value::as_object).map(serde_json::Map::len) {
            Some(members) => self.has("environment", format!("{members} facts")),
            None => self.lacks(
                "environment",
                "neither library nor device is recorded",
                "give `environment`: library and version, device, threads",
            ),
        }
        if let Some(seed) = self.at(&["/training/seed"]).cloned() {
            self.has("seed", seed);
        }
        if self.at(&["/training/dataset"]).is_none() {
            self.lacks("data", "no dataset is named", "commit a dataset version and name it as `dataset`");
        }
        if let Some(parent) = self.at(&["/training/parent", "/training/forked_from/from_run"]).cloned() {
            let text = parent.as_str().unwrap_or_default();
            let reference = if text.starts_with("run:") { text.to_owned() } else { format!("run:{text}") };
            let entity = self.ctx.projections().catalog().state(&reference, self.as_of).ok().flatten();
            match entity.filter(|entity| entity.attributes.get("training").is_some()) {
                Some(_) => self.has("parent", reference),
                None => self.lacks(
                    "parent",
                    format!("nothing is recorded of {reference} but its name"),
                    "import or record that run",
                ),
            }
        }
        let completed = self.at(&["/training/weights_digest"]).cloned();
        let run = self.entity.reference.strip_prefix("run:").and_then(|run| run.parse().ok());
        let checkpoints = run.map_or(0, |run: RunId| {
            let found = self.ctx.projections().catalog().checkpoints_at(&run, self.as_of);
            found.map_or(0, |checkpoints| checkpoints.len())
        });
        match (completed, checkpoints) {
            (Some(digest), _) => self.has("result", digest.as_str().unwrap_or_default()),
            (None, 1..) => self.has("result", format!("{checkpoints} checkpoints")),
            (None, 0) => self.lacks(
                "result",
                "neither final weights nor a checkpoint is recorded, so there is nothing to compare with",
                "record checkpoints, or `weights_digest` at its end",
            ),
        }
    }

    /// Everything that went in must be here: artifacts by their bytes, dataset versions by their shards.
    fn inputs(&mut self, ctx: &Context, run: &RunId) -> Result<(), Error> {
        let lineage = ctx.projections().lineage();
        let direction = cairn_projections::lineage::Direction::Up;
        let used = lineage.neighbours(&Ref::Run(*run), direction, None, self.as_of, None, usize::MAX)?;
        let (mut stored, mut named) = (0u64, 0u64);
        for input in used.neighbours {
            let why = match &input {
                Ref::Artifact(_) => self.why_not_stored(&input),
                Ref::Dataset { .. } => self.why_no_dataset(&input),
                Ref::Model { .. } => self.why_no_model(&input)?,
                _ => {
                    named += 1;
                    continue;
                }
            };
            match why {
                None => stored += 1,
                Some(why) => self.lacks("input", format!("{input}: {why}"), "restore it from a backup, or store it"),
            }
        }
        if stored > 0 {
            self.has("inputs stored", stored);
        }
        if named > 0 {
            self.has("inputs named", named);
        }
        Ok(())
    }

    fn why_not_stored(&self, artifact: &Ref) -> Option<String> {
        let checked = artifact_digest(artifact)
            .and_then(|digest| Ok(self.ctx.ledger().artifacts(self.ctx.tenant()).check(&digest).map(|_| ())?));
        checked.err().map(|error| error.chain())
    }

    fn why_no_dataset(&self, dataset: &Ref) -> Option<String> {
        let version = match DatasetVersion::find_at(self.ctx, dataset, self.as_of) {
            Ok(version) => version,
            Err(error) => return Some(error.chain()),
        };
        let shards = version.committed.splits.iter().flat_map(|split| &split.shards);
        std::iter::once(&version.committed.manifest).chain(shards).find_map(|artifact| self.why_not_stored(artifact))
    }

    fn why_no_model(&self, model: &Ref) -> Result<Option<String>, Error> {
        let Some(entity) = self.ctx.projections().catalog().state(&model.to_string(), self.as_of)? else {
            return Ok(Some("it is not registered".to_owned()));
        };
        let weights = entity.attributes.get("weights").and_then(Value::as_str);
        Ok(match weights.and_then(|weights| weights.parse::<Ref>().ok()) {
            Some(weights) => self.why_not_stored(&weights),
            None => Some("it is registered without weights".to_owned()),
        })
    }
}

/// What is missing, as one sentence.
pub(super) fn told(missing: &[Missing]) -> String {
    let told = missing.iter().map(|missing| format!("{} ({}: {})", missing.what, missing.why, missing.fix));
    told.collect::<Vec<_>>().join("; ")
}
