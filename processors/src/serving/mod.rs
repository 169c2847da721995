//! Answering with what is deployed and with folders: requests of many at once, and a record of each answer that names the
//! weights which computed it.

mod answering;
mod folders;
mod reader;

use crate::chat::Message;
use crate::deployments::{self, Active};
use crate::model::{load_tokenizer, load_weights};
use crate::opened_model::Turns;
use crate::{Context, Error};
use cairn_gpu::{DecoderParts, Engine, EngineOptions, Finish, Output, Sampling};
use cairn_schemas::{Blake3, Ref};
use parking_lot::{Mutex, RwLock};
use std::path::Path;
use std::sync::Arc;

pub use answering::{Answered, Answering, Ask};
pub use folders::{Folder, Loaded};
pub use reader::Reader;

const SOURCE: &str = "cairn://processors/serving";
/// Models of deployments kept in memory; those of folders stay.
const MODELS_MAX: usize = 2;
/// Deployments that a listing of models names.
const LISTED_MAX: usize = 1000;

/// Answers requests. Shared between threads; requests to one model are computed together.
pub struct Answerer {
    ctx: Context,
    /// The most recently used last.
    models: Mutex<Vec<Arc<Generating>>>,
    folders: RwLock<Vec<Arc<Folder>>>,
    options: EngineOptions,
}

/// What the ledger calls something that answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Named {
    pub deployment: Ref,
    pub model: Ref,
    pub weights_digest: Blake3,
    /// Whether prompts and answers are recorded.
    pub records_text: bool,
}

/// A decoder in memory, and what it reads and writes with.
pub struct Generating {
    pub named: Named,
    pub reader: Reader,
    pub engine: Engine,
    tokenizer: Option<Ref>,
}

/// One model of a listing.
#[derive(Clone, Debug, PartialEq)]
pub struct Card {
    /// What requests call it: the deployment's name.
    pub name: String,
    pub model: Ref,
    pub weights_digest: Blake3,
    /// `decoder`, `embedder` or `reranker`.
    pub kind: &'static str,
    /// When it became what the deployment answers with, in seconds since 1970.
    pub since_s: i64,
}

/// An answer, and what computed it.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub text: String,
    pub model: Ref,
    /// Digest of the weights that were in memory, computed from them.
    pub weights_digest: Blake3,
    /// Identity of the answer, for feedback.
    pub response: String,
    pub prompt_tokens: u64,
    pub answer_tokens: u64,
    pub latency_ms: f64,
    /// `stop`, `length` or `context`.
    pub finish: String,
}

impl Answerer {
    pub fn new(ctx: Context) -> Self {
        Self::with_options(ctx, EngineOptions::default())
    }

    /// With other bounds for each model.
    pub fn with_options(ctx: Context, options: EngineOptions) -> Self {
        Self { ctx, models: Mutex::new(Vec::new()), folders: RwLock::new(Vec::new()), options }
    }

    /// Loads a folder and serves it under a name, which the ledger learns with the digest of its weights.
    pub fn serve_folder(&self, name: &str, dir: &Path) -> Result<Arc<Folder>, Error> {
        if self.folders.read().iter().any(|folder| folder.name == name) {
            return Err(Error::refused(format!("`{name}`"), "is given twice; each folder has a name of its own"));
        }
        let folder = Arc::new(Folder::load(&self.ctx, name, dir, &self.options)?);
        self.folders.write().push(folder.clone());
        Ok(folder)
    }

    /// The folder served under a name.
    pub fn folder(&self, name: &str) -> Option<Arc<Folder>> {
        let name = bare(name);
        self.folders.read().iter().find(|folder| folder.name == name).cloned()
    }

    /// What can be asked, by name.
    pub fn cards(&self) -> Result<Vec<Card>, Error> {
        let mut cards: Vec<Card> = self.folders.read().iter().map(|folder| folder.card()).collect();
        self.ctx.projections().catch_up()?;
        let catalog = self.ctx.projections().catalog();
        for entity in catalog.list("deployment", None, LISTED_MAX, false)?.items {
            let name = bare(&entity.reference).to_owned();
            let Some(active) = catalog.active(&entity.reference)? else { continue };
            if entity.state == "retired" || folders::is_of_folder(&active.model) {
                continue;
            }
            cards.push(Card {
                name,
                model: active.model,
                weights_digest: active.weights_digest,
                kind: "decoder",
                since_s: active.recorded_at.as_micros() / 1_000_000,
            });
        }
        cards.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(cards)
    }

    /// The decoder that a name stands for, loaded where it was not.
    pub fn generating(&self, name: &str) -> Result<Arc<Generating>, Error> {
        self.check_writable()?;
        if let Some(folder) = self.folder(name) {
            return match &folder.loaded {
                Loaded::Decoder(generating) => Ok(generating.clone()),
                Loaded::Embedder { .. } | Loaded::Reranker { .. } => {
                    let why = format!("is an {}; it generates no text", folder.kind());
                    Err(Error::refused(format!("`{name}`"), why))
                }
            };
        }
        let deployment = deployments::reference(name)?;
        self.ctx.projections().catch_up()?;
        if let Some(active) = self.ctx.projections().catalog().active(&deployment.to_string())?
            && folders::is_of_folder(&active.model)
        {
            let why = format!("was served from a folder; start the server with `--model {}=DIR`", bare(name));
            return Err(Error::refused(format!("`{deployment}`"), why));
        }
        self.deployed(&deployments::active(&self.ctx, name)?)
    }

    /// Begins a request. Refused, before anything is computed, where it means nothing, cannot fit, or too many wait.
    pub fn begin(&self, generating: &Arc<Generating>, ask: Ask) -> Result<Answering, Error> {
        self.check_writable()?;
        Answering::begin(self.ctx.clone(), generating.clone(), ask)
    }

    /// Answers the last message and records that it did. `on_text` gets the text as it is generated. The end of an
    /// answer always stops at `eos`, whatever `sampling.stop` adds.
    pub fn answer(
        &self,
        deployment: &str,
        messages: &[Message],
        sampling: &Sampling,
        mut on_text: Option<&mut dyn FnMut(&str)>,
    ) -> Result<Answer, Error> {
        sampling.validate()?;
        let generating = self.generating(deployment)?;
        let turns = Turns { messages: messages.iter().map(Message::to_json).collect(), ..Turns::default() };
        let prompt = generating.reader.prompt_of_turns(&turns)?;
        let asked = serde_json::to_string(messages).expect("messages serialise");
        let mut sampling = sampling.clone();
        sampling.stop.extend(generating.reader.ends());
        sampling.stop.sort_unstable();
        sampling.stop.dedup();
        let mut answering = self.begin(&generating, Ask::new(prompt, sampling, asked))?;
        for output in answering.by_ref() {
            let text = match output? {
                Output::Token(chunk) => chunk.text,
                Output::End { text, .. } => text,
                Output::Done(_) => String::new(),
            };
            if let Some(on_text) = on_text.as_mut()
                && !text.is_empty()
            {
                on_text(&text);
            }
        }
        let mut answered = answering.finish()?;
        let choice = answered.choices.swap_remove(0);
        Ok(Answer {
            text: choice.text,
            model: generating.named.model.clone(),
            weights_digest: generating.named.weights_digest,
            response: answered.response,
            prompt_tokens: answered.prompt_tokens,
            answer_tokens: choice.tokens,
            latency_ms: answered.latency_ms,
            finish: finish_word(choice.finish).to_owned(),
        })
    }

    /// An answer that cannot be recorded is not given.
    fn check_writable(&self) -> Result<(), Error> {
        match self.ctx.is_writable() {
            true => Ok(()),
            false => Err(cairn_ledger::Error::ReadOnly.into()),
        }
    }

    pub(crate) fn context(&self) -> &Context {
        &self.ctx
    }

    /// The model in memory. Two threads that miss at once load it twice, and one copy goes.
    fn deployed(&self, active: &Active) -> Result<Arc<Generating>, Error> {
        let wanted = |model: &Arc<Generating>| {
            model.named.weights_digest == active.weights_digest
                && model.tokenizer.as_ref() == Some(&active.tokenizer)
                && model.named.deployment == active.deployment
                && model.named.model == active.model
                && model.named.records_text == active.records_text
        };
        {
            let mut models = self.models.lock();
            if let Some(at) = models.iter().position(wanted) {
                let found = models.remove(at);
                models.push(found.clone());
                return Ok(found);
            }
        }
        let weights = load_weights(&self.ctx, &active.weights, &active.weights_digest)?;
        let tokenizer = load_tokenizer(&self.ctx, &active.tokenizer)?;
        let named = Named {
            deployment: active.deployment.clone(),
            model: active.model.clone(),
            weights_digest: weights.digest().parse()?,
            records_text: active.records_text,
        };
        let parts = DecoderParts {
            config: active.architecture.clone(),
            weights: Arc::new(weights),
            detokenizer: Some(tokenizer.detokenizer().clone()),
        };
        let engine = Engine::open(self.ctx.runtime()?, parts, self.options.clone())?;
        let reader = Reader::Trained(Box::new(tokenizer));
        let model = Arc::new(Generating { named, reader, engine, tokenizer: Some(active.tokenizer.clone()) });
        let mut models = self.models.lock();
        if models.len() >= MODELS_MAX {
            models.remove(0);
        }
        models.push(model.clone());
        Ok(model)
    }
}

fn bare(name: &str) -> &str {
    name.strip_prefix("deployment:").unwrap_or(name)
}

pub(crate) fn finish_word(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop => "stop",
        Finish::Length => "length",
        Finish::Context => "context",
        Finish::Cancelled => "cancelled",
    }
}
