//! `cairn infer check`: what a folder holds, what it needs, and whether it loads and computes here.

use super::{EngineArgs, ModelArgs, told};
use crate::Globals;
use crate::commands::{Outcome, done, print_json};
use cairn_gpu::{DecoderConfig, Encoder, EncoderConfig, EncoderInput, Engine, ModelConfig, Request, Runtime, Sampling};
use cairn_processors::opened_model::OpenedModel;
use serde_json::{Value, json};
use std::time::Instant;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    engine: EngineArgs,
}

pub(crate) fn run(globals: &Globals, args: &Args) -> Outcome {
    let model = args.model.open()?;
    let runtime = args.model.runtime()?;
    let begun = Instant::now();
    let needs = match model.folder.config() {
        ModelConfig::Decoder(config) => decoder(&runtime, args, &model, config)?,
        ModelConfig::Encoder(config) => encoder(&runtime, &model, config)?,
    };
    let took = begun.elapsed();
    let (files, bytes) = model.folder.files();
    let types = model.folder.types();
    let told = json!({
        "model": model.folder.dir(),
        "kind": model.kind(),
        "architecture": architecture(model.folder.config()),
        "parameters": model.folder.config().parameters(),
        "weights": { "files": files, "bytes": bytes, "types": types, "digest": model.weights_digest },
        "tokenizer": { "ids": model.tokenizer.vocabulary_size(), "digest": model.tokenizer.digest() },
        "chat_template": model.template.is_some(),
        "ends": ends(&model),
        "needs": needs,
        "loads": true,
    });
    if globals.json {
        print_json(&told);
        return done();
    }
    say!("model         {}", model.folder.dir().display());
    say!("kind          {}: {}", model.kind(), sizes(model.folder.config()));
    say!("parameters    {}", model.folder.config().parameters());
    say!("weights       {files} file(s), {bytes} bytes of {}", types.join(", "));
    say!("              BLAKE3 {}", model.weights_digest);
    say!("tokenizer     {} ids", model.tokenizer.vocabulary_size());
    if matches!(model.folder.config(), ModelConfig::Decoder(_)) {
        say!("chat template {}", if model.template.is_some() { "yes" } else { "none: plain prompts only" });
        say!("answers end   {}", ends(&model).join(" "));
    }
    let needs: Vec<String> =
        needs.as_object().into_iter().flatten().map(|(name, value)| format!("{name} {value}")).collect();
    say!("needs         {}", needs.join(", "));
    say!("loads         yes, and computes: {} ms", took.as_millis());
    done()
}

/// Loads the decoder, generates a token, and says what it planned.
fn decoder(runtime: &Runtime, args: &Args, model: &OpenedModel, config: &DecoderConfig) -> anyhow::Result<Value> {
    let engine = Engine::open_folder(runtime, &model.folder, None, &args.engine.options(1)).map_err(told)?;
    let first = model.folder.generation().bos.filter(|bos| (*bos as usize) < config.vocabulary).unwrap_or(0);
    let request = Request::new(vec![first], Sampling::greedy(1, Vec::new()));
    engine.generate(request).and_then(|handle| handle.collect_answers()).map_err(told)?;
    let plan = engine.plan();
    Ok(json!({
        "weight_bytes": plan.weight_bytes,
        "position_bytes": plan.position_bytes,
        "working_bytes": plan.working_bytes,
        "positions": plan.positions,
        "context": plan.context,
        "slots": plan.slots,
    }))
}

fn encoder(runtime: &Runtime, model: &OpenedModel, config: &EncoderConfig) -> anyhow::Result<Value> {
    let mut encoder = Encoder::open_folder(runtime, &model.folder, model.encoder_output()).map_err(told)?;
    let row = model.tokenizer.encode_row("a", model.text_tokens_max()).map_err(told)?;
    let input = EncoderInput { tokens: &row.tokens, types: &row.types };
    let numbers = encoder.run(&[input]).map_err(told)?[0].len();
    Ok(json!({
        "weight_bytes": model.folder.loaded_bytes(),
        "context": config.context,
        "text_tokens_max": model.text_tokens_max(),
        "numbers_per_text": numbers,
    }))
}

fn architecture(config: &ModelConfig) -> Value {
    match config {
        ModelConfig::Decoder(config) => serde_json::to_value(config),
        ModelConfig::Encoder(config) => serde_json::to_value(config),
    }
    .expect("a configuration serialises")
}

fn sizes(config: &ModelConfig) -> String {
    match config {
        ModelConfig::Decoder(config) => format!(
            "{} layers, width {}, {} heads ({} of keys and values), vocabulary {}, context {}",
            config.layers,
            config.width,
            config.heads,
            config.kv_heads(),
            config.vocabulary,
            config.context
        ),
        ModelConfig::Encoder(config) => format!(
            "{} layers, width {}, {} heads, vocabulary {}, context {}",
            config.layers, config.width, config.heads, config.vocabulary, config.context
        ),
    }
}

fn ends(model: &OpenedModel) -> Vec<String> {
    let named = |id: u32| model.tokenizer.token(id).unwrap_or_else(|| id.to_string());
    model.ends().into_iter().map(named).collect()
}
