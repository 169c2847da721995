//! `cairn serve`: the events API, GraphQL, inference, health and metrics, on loopback unless told otherwise.

use super::{Outcome, done};
use crate::Globals;
use cairn_gpu::EngineOptions;
use cairn_ledger::Options;
use cairn_processors::Context;
use cairn_server::{ServerOptions, WitnessAddress};
use std::net::SocketAddr;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Address and port; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:8470", value_name = "ADDR:PORT")]
    listen: SocketAddr,
    /// A witness to cosign each new checkpoint; may be repeated.
    #[arg(long = "witness", value_name = "URL=VERIFIER_KEY")]
    witnesses: Vec<WitnessAddress>,
    /// Sign the checkpoints of logs that are created a second time, with ML-DSA-44.
    #[arg(long)]
    ml_dsa: bool,
    /// Keep sealed segments in an object store too, `s3://bucket/prefix` (credentials, region and endpoint from the `AWS_`
    /// variables) or `file:///folder`. Set once; from then on every command finds them there.
    #[arg(long, value_name = "URL")]
    object_store: Option<String>,
    /// Bytes of sealed segments of each log that stay on the local disk too; the oldest go first.
    #[arg(long, value_name = "BYTES", default_value_t = u64::MAX, requires = "object_store")]
    keep_local: u64,
    /// A model's folder to answer with under a name, as Hugging Face has it; may be repeated.
    #[arg(long = "model", value_name = "NAME=DIR", value_parser = named_folder)]
    models: Vec<(String, PathBuf)>,
    /// Answers that each model computes together.
    #[arg(long, value_name = "N", default_value_t = 16)]
    slots: usize,
    /// Bytes that each model may use for weights, keys, values and working memory.
    #[arg(long, value_name = "BYTES", default_value_t = 8 << 30)]
    model_memory: u64,
    /// Prompts in flight; more are refused with 429.
    #[arg(long, value_name = "N", default_value_t = 256)]
    prompts_max: usize,
}

pub(crate) fn run(globals: &Globals, args: &Args) -> Outcome {
    if let Some(url) = &args.object_store {
        cairn_ledger::ObjectStoreConfig::new(url, args.keep_local).set(&globals.data)?;
    }
    let options = Options { ml_dsa: args.ml_dsa, ..Options::default() };
    let context = Context::open_with(&globals.data, options)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let options = ServerOptions {
            listen: args.listen,
            witnesses: args.witnesses.clone(),
            models: args.models.clone(),
            engine: EngineOptions {
                slots: args.slots,
                memory_bytes_max: args.model_memory,
                ..EngineOptions::default()
            },
            inferences_max: args.prompts_max,
            ..ServerOptions::default()
        };
        let server = cairn_server::bind(context, options).await?;
        let address = server.local_addr();
        let scope = if address.ip().is_loopback() {
            "this machine only"
        } else {
            "EVERY machine that reaches this address: there is no authentication yet"
        };
        say!("listening on http://{address} ({scope})");
        say!("  GraphiQL   http://{address}/graphql");
        say!("  events     POST http://{address}/v1/events");
        say!("  chat       POST http://{address}/v1/inference/chat");
        say!("  OpenAI's   http://{address}/v1 (chat/completions, completions, embeddings, models), rerank");
        say!("  metrics    http://{address}/metrics");
        server.run(stopped()).await
    })?;
    done()
}

fn named_folder(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, dir)) if !name.is_empty() && !dir.is_empty() => Ok((name.to_owned(), PathBuf::from(dir))),
        _ => Err("write NAME=DIR, such as llama=models/llama-3.2-1b".to_owned()),
    }
}

/// Resolves on ctrl-C and on SIGTERM.
pub(crate) async fn stopped() {
    let interrupt = tokio::signal::ctrl_c();
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .expect("a handler for SIGTERM can be installed");
    tokio::select! { _ = interrupt => {}, _ = terminate.recv() => {} }
}
