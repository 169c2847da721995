//! `cairn ask DEPLOYMENT "prompt"`: the answer, and the digest of the weights that gave it.

use super::{Outcome, done, print_json};
use crate::Globals;
use cairn_gpu::Sampling;
use cairn_processors::chat::Message;
use cairn_processors::serving::Answerer;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[arg(value_name = "DEPLOYMENT")]
    deployment: String,
    #[arg(value_name = "PROMPT")]
    prompt: String,
    /// 0 takes the most likely token each time.
    #[arg(long, default_value_t = 0.0)]
    temperature: f32,
    #[arg(long)]
    top_k: Option<u32>,
    #[arg(long)]
    top_p: Option<f32>,
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[arg(long, default_value_t = 160)]
    max_tokens: usize,
}

pub(crate) fn run(globals: &Globals, args: &Args) -> Outcome {
    let context = super::writer(globals)?;
    let sampling = Sampling {
        temperature: args.temperature,
        top_k: args.top_k,
        top_p: args.top_p,
        seed: args.seed,
        ..Sampling::greedy(args.max_tokens, Vec::new())
    };
    let messages = [Message::user(args.prompt.as_str())];
    let name = args.deployment.strip_prefix("deployment:").unwrap_or(&args.deployment);
    let answer = Answerer::new(context.clone()).answer(name, &messages, &sampling, None)?;
    if globals.json {
        print_json(&serde_json::json!({
            "text": answer.text, "model": answer.model, "weights_digest": answer.weights_digest,
            "response": answer.response, "prompt_tokens": answer.prompt_tokens, "answer_tokens": answer.answer_tokens,
            "latency_ms": answer.latency_ms, "finish": answer.finish,
        }));
        return done();
    }
    say!("{}", answer.text);
    eprintln!(
        "[{} weights {} | {} tokens in {:.0} ms | {}]",
        answer.model,
        &answer.weights_digest.to_hex()[..16],
        answer.answer_tokens,
        answer.latency_ms,
        answer.finish
    );
    done()
}
