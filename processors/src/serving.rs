//! Answering with what is deployed: the active model's weights, read by digest and kept by digest, and a record of each
//! answer that names the weights which computed it.

use crate::chat::{self, Message};
use crate::deployments::{self, Active};
use crate::model::{load_tokenizer, load_weights};
use crate::{Context, Error};
use cairn_gpu::{Finish, Generator, Sampling, Tokenizer};
use cairn_schemas::events::deployment::ResponseGenerated;
use cairn_schemas::{Blake3, NewEvent, RawJson, Real, Ref, RunId};
use parking_lot::Mutex;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

const SOURCE: &str = "cairn://processors/serving";
/// Models kept in memory.
const MODELS_MAX: usize = 2;

/// Answers prompts. Shared between threads; answers to one model wait for each other.
pub struct Answerer {
    ctx: Context,
    /// The most recently used last.
    models: Mutex<Vec<Arc<Served>>>,
}

struct Served {
    weights_digest: Blake3,
    tokenizer_ref: Ref,
    tokenizer: Tokenizer,
    context: usize,
    generator: Generator,
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
        Self { ctx, models: Mutex::new(Vec::new()) }
    }

    /// Answers the last message and records that it did. `on_text` gets the text as it is generated. The end of an
    /// answer always stops at `eos`, whatever `sampling.stop` adds.
    pub fn answer(
        &self,
        deployment: &str,
        messages: &[Message],
        sampling: &Sampling,
        on_text: Option<&mut dyn FnMut(&str)>,
    ) -> Result<Answer, Error> {
        let begun = Instant::now();
        if !self.ctx.is_writable() {
            // An answer that cannot be recorded is not given.
            return Err(cairn_ledger::Error::ReadOnly.into());
        }
        sampling.validate()?;
        let active = deployments::active(&self.ctx, deployment)?;
        let served = self.served(&active)?;
        let prompt = chat::render(messages, &served.tokenizer)?;
        if prompt.len() >= served.context {
            return Err(Error::refused(
                format!("the prompt is {} tokens", prompt.len()),
                format!("`{}` reads at most {} with room for an answer; shorten it", active.model, served.context - 1),
            ));
        }
        let mut sampling = sampling.clone();
        if !sampling.stop.contains(&Tokenizer::EOS) {
            sampling.stop.push(Tokenizer::EOS);
        }
        let mut generated = match on_text {
            None => served.generator.generate(std::slice::from_ref(&prompt), &sampling)?,
            Some(on_text) => {
                let mut stream = served.tokenizer.stream();
                let generated =
                    served.generator.generate_with(std::slice::from_ref(&prompt), &sampling, &mut |_, token| {
                        let text = stream.push(token);
                        if !text.is_empty() {
                            on_text(&text);
                        }
                        ControlFlow::Continue(())
                    })?;
                let rest = stream.finish();
                if !rest.is_empty() {
                    on_text(&rest);
                }
                generated
            }
        };
        let generated = generated.swap_remove(0);
        let answer = Answer {
            text: served.tokenizer.decode(&generated.tokens),
            model: active.model.clone(),
            weights_digest: served.weights_digest,
            response: format!("resp-{}", RunId::generate()),
            prompt_tokens: prompt.len() as u64,
            answer_tokens: generated.tokens.len() as u64,
            latency_ms: begun.elapsed().as_secs_f64() * 1e3,
            finish: finish_word(generated.finish).to_owned(),
        };
        self.record(&active, messages, &sampling, &answer)?;
        Ok(answer)
    }

    fn record(&self, active: &Active, messages: &[Message], sampling: &Sampling, answer: &Answer) -> Result<(), Error> {
        let text = |text: String| active.records_text.then_some(text);
        let event = ResponseGenerated {
            deployment: active.deployment.clone(),
            model: answer.model.clone(),
            weights_digest: answer.weights_digest,
            response: answer.response.clone(),
            prompt: text(serde_json::to_string(messages).expect("messages serialise")),
            answer: text(answer.text.clone()),
            prompt_tokens: answer.prompt_tokens,
            answer_tokens: answer.answer_tokens,
            latency_ms: Real(answer.latency_ms),
            sampling: RawJson::of(sampling),
            finish: answer.finish.clone(),
        };
        let mut event = NewEvent::new(SOURCE, &answer.response, event);
        if let Ref::Model { project, .. } = &active.model {
            event = event.in_project(project.as_str());
        }
        self.ctx.ledger().append(self.ctx.tenant(), vec![event])?;
        Ok(())
    }

    /// The model in memory. Two threads that miss at once load it twice, and one copy goes.
    fn served(&self, active: &Active) -> Result<Arc<Served>, Error> {
        let wanted = |served: &Arc<Served>| {
            served.weights_digest == active.weights_digest && served.tokenizer_ref == active.tokenizer
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
        let served = Arc::new(Served {
            weights_digest: weights.digest().parse()?,
            tokenizer_ref: active.tokenizer.clone(),
            tokenizer: load_tokenizer(&self.ctx, &active.tokenizer)?,
            context: active.architecture.context,
            generator: Generator::new(self.ctx.runtime()?, &active.architecture, &weights)?,
        });
        let mut models = self.models.lock();
        if models.len() >= MODELS_MAX {
            models.remove(0);
        }
        models.push(served.clone());
        Ok(served)
    }
}

pub(crate) fn finish_word(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop => "stop",
        Finish::Length => "length",
        Finish::Context => "context",
        Finish::Cancelled => "cancelled",
    }
}
