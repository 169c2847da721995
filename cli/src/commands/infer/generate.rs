//! `cairn infer generate`: prompts continued, many at a time.

use super::input::{Given, InputArgs, What};
use super::{EngineArgs, ModelArgs, Out, told};
use crate::commands::Outcome;
use cairn_gpu::{Answer, Engine, Finish, Request, Sampling, Usage};
use cairn_processors::opened_model::{OpenedModel, Turns};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Prompts that are in the engine's hands at once.
const UNDER_WAY_MAX: usize = 256;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A prompt, instead of `--input`.
    #[arg(value_name = "PROMPT", conflicts_with = "input")]
    prompt: Option<String>,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    input: InputArgs,
    /// JSON lines.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Take each text as a user's message, through the model's chat template.
    #[arg(long)]
    chat: bool,
    /// Tokens of one answer.
    #[arg(long, value_name = "N", default_value_t = 128)]
    max_tokens: usize,
    /// 0 takes the likeliest token each time. Absent, this and the next are as the folder's generation_config.json says.
    #[arg(long, value_name = "T")]
    temperature: Option<f32>,
    /// Only the K likeliest tokens.
    #[arg(long, value_name = "K")]
    top_k: Option<u32>,
    /// Only the likeliest tokens that together have this probability.
    #[arg(long, value_name = "P")]
    top_p: Option<f32>,
    /// Only tokens at least this likely in proportion to the likeliest.
    #[arg(long, value_name = "P")]
    min_p: Option<f32>,
    /// Above 1: tokens that were there become less likely.
    #[arg(long, value_name = "X")]
    repetition_penalty: Option<f32>,
    /// What draws depend on.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// A text that ends an answer and is not part of it; may be repeated.
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,
    /// Answers to each prompt.
    #[arg(short, long, value_name = "N", default_value_t = 1)]
    n: usize,
    /// With each token its log-probability and this many of the likeliest.
    #[arg(long, value_name = "K")]
    logprobs: Option<usize>,
    /// Go on past the tokens that end an answer, up to `--max-tokens`.
    #[arg(long)]
    ignore_eos: bool,
    #[command(flatten)]
    engine: EngineArgs,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let model = args.model.open()?;
    let given = match &args.prompt {
        Some(prompt) => vec![Given::text(1, prompt.clone())],
        None => args.input.all()?,
    };
    let options = args.engine.options(UNDER_WAY_MAX);
    let detokenizer = model.tokenizer.detokenizer().clone();
    let engine =
        Engine::open_folder(&args.model.runtime()?, &model.folder, Some(detokenizer), &options).map_err(told)?;
    let mut out = Out::open(args.out.as_deref())?;
    for (begin, group) in given.chunks(UNDER_WAY_MAX).enumerate() {
        let mut handles = Vec::new();
        for given in group {
            let request = request(args, &model, given)?;
            handles.push(engine.generate(request).map_err(|error| given.wrong(&error))?);
        }
        for (index, handle) in handles.into_iter().enumerate() {
            let (answers, usage) = handle.collect_answers().map_err(told)?;
            for (choice, answer) in answers.iter().enumerate() {
                let at = begin * UNDER_WAY_MAX + index;
                out.line(&line(&model, at, choice, answer, usage).to_string())?;
            }
        }
    }
    out.finish()
}

fn request(args: &Args, model: &OpenedModel, given: &Given) -> anyhow::Result<Request> {
    let prompt = match &given.what {
        What::Text(text) if args.chat => {
            let messages = vec![json!({ "role": "user", "content": text })];
            let turns = Turns { messages, ..Turns::default() };
            model.prompt(&turns, cairn_processors::opened_model::now())?
        }
        _ => given.prompt(model)?,
    };
    let defaults = model.sampling(args.max_tokens);
    let sampling = Sampling {
        temperature: args.temperature.unwrap_or(defaults.temperature),
        top_k: args.top_k.or(defaults.top_k),
        top_p: args.top_p.or(defaults.top_p),
        min_p: args.min_p.or(defaults.min_p),
        repetition_penalty: args.repetition_penalty.or(defaults.repetition_penalty),
        seed: args.seed,
        stop: if args.ignore_eos { Vec::new() } else { defaults.stop.clone() },
        ..defaults
    };
    Ok(Request { stop: args.stop.clone(), n: args.n, logprobs: args.logprobs, ..Request::new(prompt, sampling) })
}

fn line(model: &OpenedModel, index: usize, choice: usize, answer: &Answer, usage: Usage) -> Value {
    let finish = match answer.finish {
        Finish::Stop => "stop",
        Finish::Length => "length",
        Finish::Context => "context",
        Finish::Cancelled => "cancelled",
    };
    let mut line = json!({
        "index": index, "choice": choice, "text": answer.text, "tokens": answer.tokens, "finish": finish,
        "prompt_tokens": usage.prompt_tokens,
    });
    if !answer.logprobs.is_empty() {
        let token = |id: u32| model.tokenizer.token(id);
        let of = |(id, given): (&u32, &cairn_gpu::TokenLogprob)| {
            let top: Vec<Value> = given
                .top
                .iter()
                .map(|(id, logprob)| json!({ "id": id, "token": token(*id), "logprob": logprob }))
                .collect();
            json!({ "token": token(*id), "logprob": given.logprob, "top": top })
        };
        line["logprobs"] = answer.tokens.iter().zip(&answer.logprobs).map(of).collect();
    }
    line
}
