//! Folders that are served: loaded once, and known to the ledger as models and deployments with the digest of their weights.

use super::answering::record;
use super::{Answerer, Card, Generating, Named, Reader, SOURCE, bare};
use crate::embedding::{Embedder, Reranker};
use crate::opened_model::OpenedModel;
use crate::{Context, Error};
use cairn_gpu::{Encoded, Engine, EngineOptions};
use cairn_schemas::events::deployment::{DeploymentCreated, Promoted, ResponseGenerated};
use cairn_schemas::events::model::VersionRegistered;
use cairn_schemas::{NewEvent, RawJson, Real, Ref, RunId};
use serde_json::json;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// The project under which folders' models are registered.
const PROJECT: &str = "folders";

/// A folder in memory under its name.
pub struct Folder {
    pub name: String,
    pub named: Named,
    pub loaded: Loaded,
    since_s: i64,
}

/// What it computes with.
pub enum Loaded {
    Decoder(Arc<Generating>),
    Embedder { model: Box<OpenedModel>, embedder: Embedder },
    Reranker { model: Box<OpenedModel>, reranker: Reranker },
}

impl Folder {
    pub(super) fn load(ctx: &Context, name: &str, dir: &Path, options: &EngineOptions) -> Result<Self, Error> {
        let model = OpenedModel::open(dir)?;
        let runtime = ctx.runtime()?;
        let kind = model.kind();
        // Loaded first: what does not load is not registered.
        let loaded = match kind {
            "decoder" => {
                let detokenizer = Some(model.tokenizer.detokenizer().clone());
                let engine = Engine::open_folder(runtime, &model.folder, detokenizer, options)?;
                let named = register(ctx, name, &model)?;
                let reader = Reader::Folder(Box::new(model));
                Loaded::Decoder(Arc::new(Generating { named, reader, engine, tokenizer: None }))
            }
            "embedder" => {
                let embedder = Embedder::open(runtime, &model)?;
                Loaded::Embedder { model: Box::new(model), embedder }
            }
            _ => {
                let reranker = Reranker::open(runtime, &model)?;
                Loaded::Reranker { model: Box::new(model), reranker }
            }
        };
        let named = match &loaded {
            Loaded::Decoder(generating) => generating.named.clone(),
            Loaded::Embedder { model, .. } | Loaded::Reranker { model, .. } => register(ctx, name, model)?,
        };
        let since_s = jiff::Timestamp::now().as_second();
        Ok(Self { name: bare(name).to_owned(), named, loaded, since_s })
    }

    pub fn kind(&self) -> &'static str {
        match &self.loaded {
            Loaded::Decoder(_) => "decoder",
            Loaded::Embedder { .. } => "embedder",
            Loaded::Reranker { .. } => "reranker",
        }
    }

    pub(super) fn card(&self) -> Card {
        Card {
            name: self.name.clone(),
            model: self.named.model.clone(),
            weights_digest: self.named.weights_digest,
            kind: self.kind(),
            since_s: self.since_s,
        }
    }
}

impl Answerer {
    /// Vectors of rows by a folder's embedder; recorded. Gives them and the identity of the answer.
    pub fn embed(&self, folder: &Folder, rows: Vec<Encoded>) -> Result<(Vec<Vec<f32>>, String), Error> {
        self.check_writable()?;
        let Loaded::Embedder { embedder, .. } = &folder.loaded else {
            let why = format!("is a {} and embeds no texts; name an embedder", folder.kind());
            return Err(Error::refused(format!("`{}`", folder.name), why));
        };
        let begun = Instant::now();
        let tokens = rows.iter().map(|row| row.tokens.len() as u64).sum();
        let vectors = embedder.embed(rows)?;
        let response = self.record_of_encoder(folder, "embedded", vectors.len(), tokens, begun)?;
        Ok((vectors, response))
    }

    /// Scores of documents by a folder's reranker; recorded. Gives them, the tokens read and the answer's identity.
    pub fn rerank(&self, folder: &Folder, query: &str, documents: &[&str]) -> Result<(Vec<f32>, u64, String), Error> {
        self.check_writable()?;
        let Loaded::Reranker { model, reranker } = &folder.loaded else {
            let why = format!("is a {} and scores no documents; name a reranker", folder.kind());
            return Err(Error::refused(format!("`{}`", folder.name), why));
        };
        let begun = Instant::now();
        let (scores, tokens) = reranker.score(model, query, documents)?;
        let response = self.record_of_encoder(folder, "scored", documents.len(), tokens, begun)?;
        Ok((scores, tokens, response))
    }

    fn record_of_encoder(
        &self,
        folder: &Folder,
        finish: &str,
        texts: usize,
        tokens: u64,
        begun: Instant,
    ) -> Result<String, Error> {
        let response = format!("resp-{}", RunId::generate());
        let named = &folder.named;
        let event = ResponseGenerated {
            deployment: named.deployment.clone(),
            model: named.model.clone(),
            weights_digest: named.weights_digest,
            response: response.clone(),
            prompt: None,
            answer: None,
            prompt_tokens: tokens,
            answer_tokens: 0,
            latency_ms: Real(begun.elapsed().as_secs_f64() * 1e3),
            sampling: RawJson::of(&json!({ "texts": texts })),
            finish: finish.to_owned(),
        };
        record(self.context(), &named.model, event)?;
        Ok(response)
    }
}

/// Whether a model was registered from a folder: the ledger has its digest, not its weights.
pub(super) fn is_of_folder(model: &Ref) -> bool {
    matches!(model, Ref::Model { project, .. } if project.as_str() == PROJECT)
}

/// Records what is served under a name: a version of a model for each digest of weights, a deployment that has it.
fn register(ctx: &Context, name: &str, model: &OpenedModel) -> Result<Named, Error> {
    if !ctx.is_writable() {
        return Err(cairn_ledger::Error::ReadOnly.into());
    }
    let name = bare(name);
    let deployment = Ref::deployment(name)?;
    let project = PROJECT.parse()?;
    ctx.projections().catch_up()?;
    let catalog = ctx.projections().catalog();
    let record = catalog.deployment(&deployment.to_string())?;
    let active = record.as_ref().and_then(|record| record.active.as_ref());
    let named = |model_ref: Ref| Named {
        deployment: deployment.clone(),
        model: model_ref,
        weights_digest: model.weights_digest,
        records_text: false,
    };
    if let Some(active) = active {
        if !is_of_folder(&active.model) {
            let why = format!("is a deployment that answers with `{}`; give the folder another name", active.model);
            return Err(Error::refused(format!("`{name}`"), why));
        }
        if active.weights_digest == model.weights_digest {
            return Ok(named(active.model.clone()));
        }
    }
    let version = catalog.next_model_version(&project, name)?;
    let reference = Ref::model(&project, name, version)?;
    let architecture = model.folder.config().to_hugging_face()?;
    let dir = model.folder.dir().display().to_string();
    let id = RunId::generate();
    let registered = VersionRegistered {
        model: reference.clone(),
        run: None,
        weights: None,
        weights_digest: Some(model.weights_digest),
        tokenizer: None,
        architecture: RawJson::of(&architecture),
        dataset: None,
        base_model: None,
        parameters: Some(model.folder.config().parameters()),
        training_samples: None,
        metadata: RawJson::of(&json!({ "folder": dir, "tokenizer_digest": model.tokenizer.digest() })),
    };
    let mut events = vec![NewEvent::new(SOURCE, &format!("{id}/registered"), registered)];
    if record.is_none() {
        let config = RawJson::of(&json!({ "folder": dir, "kind": model.kind() }));
        let created = DeploymentCreated { deployment: deployment.clone(), target: "local".to_owned(), config };
        events.push(NewEvent::new(SOURCE, &format!("{id}/created"), created));
    }
    let promoted = Promoted {
        deployment: deployment.clone(),
        model: reference.clone(),
        weights_digest: model.weights_digest,
        gate: None,
        previous: active.map(|active| active.model.clone()),
        reason: Some(format!("served from the folder {dir}")),
    };
    events.push(NewEvent::new(SOURCE, &format!("{id}/promoted"), promoted));
    let events = events.into_iter().map(|event| event.in_project(PROJECT)).collect();
    ctx.ledger().append(ctx.tenant(), events)?;
    Ok(named(reference))
}
