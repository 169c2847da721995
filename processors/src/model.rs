//! A model as the ledger records it, and its weights as they were stored: found by ref, checked against their digest.

use crate::dataset_reader::artifact_bytes;
use crate::jobs::train::{Past, Plan};
use crate::{Context, Error, history};
use cairn_gpu::{DecoderConfig, Tokenizer, Weights};
use cairn_schemas::events::model::VersionRegistered;
use cairn_schemas::{Blake3, Event, Ref, RunId};

/// Where a model's parts are.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// The registered version, or the run where none was registered.
    pub reference: Ref,
    pub run: Option<RunId>,
    pub dataset: Option<Ref>,
    pub weights: Ref,
    pub weights_digest: Blake3,
    pub tokenizer: Ref,
    pub architecture: DecoderConfig,
}

/// A model's parts in memory.
pub struct LoadedModel {
    pub weights: Weights,
    pub tokenizer: Tokenizer,
}

impl Model {
    /// Finds a registered model, or what a completed training run made.
    pub fn find(ctx: &Context, reference: &Ref) -> Result<Self, Error> {
        match reference {
            Ref::Model { .. } => Self::registered(ctx, reference),
            Ref::Run(run) => Self::of_run(ctx, run),
            other => Err(Error::refused(
                format!("`{other}`"),
                "is neither a model nor a run; name model://project/name@1 or run:<uuid>",
            )),
        }
    }

    /// The event that registered a model version.
    pub fn registration(ctx: &Context, reference: &Ref) -> Result<VersionRegistered, Error> {
        let unknown = || Error::UnknownRef {
            kind: "model",
            reference: reference.to_string(),
            hint: "a train job with `register` makes one".into(),
        };
        let from = history::first_heard(ctx, reference)?.ok_or_else(unknown)?;
        let found = history::first(ctx, from, &mut |recorded| match &recorded.event {
            Event::VersionRegistered(event) if event.model == *reference => Some(event.clone()),
            _ => None,
        })?;
        found.ok_or_else(unknown)
    }

    fn registered(ctx: &Context, reference: &Ref) -> Result<Self, Error> {
        let event = Self::registration(ctx, reference)?;
        let lacks = |what: &str| {
            Error::refused(
                format!("`{reference}`"),
                format!("was registered without {what}, so it cannot be run here; register it from a train job"),
            )
        };
        let architecture = serde_json::from_str(event.architecture.as_str())
            .map_err(|e| lacks(&format!("a decoder's architecture ({e})")))?;
        Ok(Self {
            reference: reference.clone(),
            run: event.run,
            dataset: event.dataset,
            weights: event.weights.ok_or_else(|| lacks("weights"))?,
            weights_digest: event.weights_digest.ok_or_else(|| lacks("a digest of its weights"))?,
            tokenizer: event.tokenizer.ok_or_else(|| lacks("a tokenizer"))?,
            architecture,
        })
    }

    fn of_run(ctx: &Context, run: &RunId) -> Result<Self, Error> {
        let past = Past::of(ctx, run)?;
        let not = |why: &str| Error::refused(format!("`run:{run}`"), why);
        let started = past.started.ok_or_else(|| not("is not a training run of this ledger"))?;
        let completed = past.completed.ok_or_else(|| not("has not completed; only finished weights can be used"))?;
        let plan = Plan::recorded(&started)?;
        Ok(Self {
            reference: past.model.unwrap_or(Ref::Run(*run)),
            run: Some(*run),
            dataset: Some(plan.dataset),
            weights: completed.weights.ok_or_else(|| not("recorded no weights"))?,
            weights_digest: completed.weights_digest.ok_or_else(|| not("recorded no digest of its weights"))?,
            tokenizer: plan.tokenizer,
            architecture: plan.architecture,
        })
    }

    /// Reads the parts; every digest is checked again.
    pub fn load(&self, ctx: &Context) -> Result<LoadedModel, Error> {
        let weights = load_weights(ctx, &self.weights, &self.weights_digest)?;
        weights.check(&self.architecture)?;
        Ok(LoadedModel { weights, tokenizer: load_tokenizer(ctx, &self.tokenizer)? })
    }
}

/// Reads weights and compares their digest with the recorded one.
pub(crate) fn load_weights(ctx: &Context, artifact: &Ref, digest: &Blake3) -> Result<Weights, Error> {
    let weights = Weights::from_safetensors(&artifact_bytes(ctx, artifact)?)?;
    let found = weights.digest();
    if found != digest.to_hex() {
        return Err(Error::Stored {
            what: format!("weights `{artifact}`"),
            why: format!("their digest is {found}, recorded is {digest}"),
        });
    }
    Ok(weights)
}

pub(crate) fn load_tokenizer(ctx: &Context, artifact: &Ref) -> Result<Tokenizer, Error> {
    let bytes = artifact_bytes(ctx, artifact)?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|e| Error::Stored { what: format!("tokenizer `{artifact}`"), why: e.to_string() })?;
    Ok(Tokenizer::from_json(text)?)
}
