//! One request to a decoder, from its prompt to the event that records its answers.

use super::{Generating, SOURCE, finish_word};
use crate::{Context, Error};
use cairn_gpu::{Finish, Handle, Output, Request, Sampling, TokenLogprob};
use cairn_schemas::events::deployment::ResponseGenerated;
use cairn_schemas::{NewEvent, RawJson, Real, Ref, RunId};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;

/// What is asked of a decoder.
#[derive(Clone, Debug)]
pub struct Ask {
    pub prompt: Vec<u32>,
    pub sampling: Sampling,
    /// Texts that end an answer and are not part of it.
    pub stop: Vec<String>,
    /// Answers to the prompt.
    pub n: usize,
    /// With each token its log-probability and this many of the likeliest.
    pub logprobs: Option<usize>,
    /// What is recorded as the prompt, where prompts are.
    pub recorded: String,
}

impl Ask {
    /// One answer, without logarithms.
    pub fn new(prompt: Vec<u32>, sampling: Sampling, recorded: String) -> Self {
        Self { prompt, sampling, stop: Vec::new(), n: 1, logprobs: None, recorded }
    }
}

/// A request under way. Dropped before its end it is cancelled, and nothing is recorded.
pub struct Answering {
    ctx: Context,
    generating: Arc<Generating>,
    handle: Handle,
    begun: Instant,
    response: String,
    /// Parts of the ask that are recorded.
    recorded: String,
    sampling: RawJson,
    choices: Vec<Choice>,
    prompt_tokens: u64,
}

/// One answer of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    pub text: String,
    pub tokens: u64,
    pub ids: Vec<u32>,
    pub logprobs: Vec<TokenLogprob>,
    pub finish: Finish,
}

/// A request that was answered and recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    pub response: String,
    pub choices: Vec<Choice>,
    pub prompt_tokens: u64,
    pub answer_tokens: u64,
    pub latency_ms: f64,
}

impl Answering {
    pub(super) fn begin(ctx: Context, generating: Arc<Generating>, ask: Ask) -> Result<Self, Error> {
        let begun = Instant::now();
        let context = generating.engine.plan().context;
        if ask.prompt.len() >= context {
            return Err(Error::PromptTooLong { tokens: ask.prompt.len(), most: context - 1 });
        }
        let sampling = recorded_sampling(&ask);
        let empty =
            Choice { text: String::new(), tokens: 0, ids: Vec::new(), logprobs: Vec::new(), finish: Finish::Cancelled };
        let (choices, prompt_tokens) = (vec![empty; ask.n.max(1)], ask.prompt.len() as u64);
        let request =
            Request { stop: ask.stop, n: ask.n, logprobs: ask.logprobs, ..Request::new(ask.prompt, ask.sampling) };
        let handle = generating.engine.generate(request)?;
        let response = format!("resp-{}", RunId::generate());
        let recorded = ask.recorded;
        Ok(Self { ctx, generating, handle, begun, response, recorded, sampling, choices, prompt_tokens })
    }

    /// Identity of the answers.
    pub fn response(&self) -> &str {
        &self.response
    }

    /// Ends it at the next token; what was said until then is recorded as cancelled.
    pub fn cancel(&self) {
        self.handle.cancel();
    }

    /// Reads on to the end and records the answers.
    pub fn finish(mut self) -> Result<Answered, Error> {
        for output in self.by_ref() {
            output?;
        }
        let answered = Answered {
            response: self.response.clone(),
            prompt_tokens: self.prompt_tokens,
            answer_tokens: self.choices.iter().map(|choice| choice.tokens).sum(),
            choices: std::mem::take(&mut self.choices),
            latency_ms: self.begun.elapsed().as_secs_f64() * 1e3,
        };
        self.record(&answered)?;
        Ok(answered)
    }

    fn record(&self, answered: &Answered) -> Result<(), Error> {
        let named = &self.generating.named;
        let text = |text: String| named.records_text.then_some(text);
        let answer = match answered.choices.as_slice() {
            [only] => only.text.clone(),
            several => json!(several.iter().map(|choice| &choice.text).collect::<Vec<_>>()).to_string(),
        };
        let mut finishes: Vec<&str> = answered.choices.iter().map(|choice| finish_word(choice.finish)).collect();
        finishes.dedup();
        let event = ResponseGenerated {
            deployment: named.deployment.clone(),
            model: named.model.clone(),
            weights_digest: named.weights_digest,
            response: answered.response.clone(),
            prompt: text(self.recorded.clone()),
            answer: text(answer),
            prompt_tokens: answered.prompt_tokens,
            answer_tokens: answered.answer_tokens,
            latency_ms: Real(answered.latency_ms),
            sampling: self.sampling.clone(),
            finish: finishes.join(","),
        };
        record(&self.ctx, &named.model, event)
    }
}

/// What comes next, which is kept too.
impl Iterator for Answering {
    type Item = Result<Output, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let output = match self.handle.next()? {
            Ok(output) => output,
            Err(error) => return Some(Err(error.into())),
        };
        match &output {
            Output::Token(chunk) => {
                let choice = &mut self.choices[chunk.choice];
                choice.tokens += 1;
                choice.ids.push(chunk.token);
                choice.text.push_str(&chunk.text);
                choice.logprobs.extend(chunk.logprob.clone());
            }
            Output::End { choice, finish, text } => {
                self.choices[*choice].finish = *finish;
                self.choices[*choice].text.push_str(text);
            }
            Output::Done(usage) => self.prompt_tokens = usage.prompt_tokens as u64,
        }
        Some(Ok(output))
    }
}

/// Files an answer under its model's project.
pub(super) fn record(ctx: &Context, model: &Ref, event: ResponseGenerated) -> Result<(), Error> {
    let response = event.response.clone();
    let mut event = NewEvent::new(SOURCE, &response, event);
    if let Ref::Model { project, .. } = model {
        event = event.in_project(project.as_str());
    }
    ctx.ledger().append(ctx.tenant(), vec![event])?;
    Ok(())
}

/// The settings, and what else of the request the answers depend on.
fn recorded_sampling(ask: &Ask) -> RawJson {
    let mut sampling = serde_json::to_value(&ask.sampling).expect("settings serialise");
    if let Value::Object(keys) = &mut sampling {
        if ask.n != 1 {
            keys.insert("n".to_owned(), ask.n.into());
        }
        if !ask.stop.is_empty() {
            keys.insert("stop_texts".to_owned(), json!(ask.stop));
        }
    }
    match ask.n == 1 && ask.stop.is_empty() {
        true => RawJson::of(&ask.sampling),
        false => RawJson::of(&sampling),
    }
}
