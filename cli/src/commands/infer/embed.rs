//! `cairn infer embed`: a vector for each text.

use super::input::{Given, InputArgs, What};
use super::{ModelArgs, Out, is_npy, npy, numbers, told};
use crate::commands::{Outcome, done};
use crate::exit;
use cairn_gpu::Encoded;
use cairn_processors::embedding::Embedder;
use cairn_processors::opened_model::OpenedModel;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    input: InputArgs,
    /// JSON lines, or a NumPy file [texts, numbers] where it ends in .npy.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// What stands before each text, by its name in config_sentence_transformers.json, such as `query`.
    #[arg(long, value_name = "NAME")]
    prompt_name: Option<String>,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let model = args.model.open()?;
    let prompt = model.text_prompt(args.prompt_name.as_deref())?;
    let given = args.input.all()?;
    let rows = given.iter().map(|given| row(&model, given, &prompt)).collect::<Result<Vec<_>, _>>()?;
    let cut = rows.iter().filter(|row| row.is_cut).count();
    let tokens: Vec<usize> = rows.iter().map(|row| row.tokens.len()).collect();
    let vectors = Embedder::open(&args.model.runtime()?, &model)?.embed(rows)?;
    if cut > 0 {
        eprintln!("note: the ends of {cut} texts beyond {} tokens were left out", model.text_tokens_max());
    }
    match args.out.as_ref().filter(|_| is_npy(args.out.as_ref())) {
        Some(path) => {
            npy::write(path, &vectors, vectors.first().map_or(0, Vec::len))?;
            done()
        }
        None => {
            let mut out = Out::open(args.out.as_deref())?;
            for (index, (vector, tokens)) in vectors.iter().zip(tokens).enumerate() {
                let embedding = numbers(vector);
                out.line(&format!("{{\"index\":{index},\"tokens\":{tokens},\"embedding\":{embedding}}}"))?;
            }
            out.finish()
        }
    }
}

fn row(model: &OpenedModel, given: &Given, prompt: &str) -> anyhow::Result<Encoded> {
    match &given.what {
        What::Text(text) => {
            model.tokenizer.encode_row(&format!("{prompt}{text}"), model.text_tokens_max()).map_err(told)
        }
        What::Tokens(tokens) => Ok(Encoded { tokens: tokens.clone(), types: vec![0; tokens.len()], is_cut: false }),
        What::Turns(_) => {
            let message = format!("line {} of the input holds messages; an encoder reads texts or tokens", given.line);
            Err(exit::wrong_input(message))
        }
    }
}
