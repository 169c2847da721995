//! `cairn infer logits`: what a decoder expects after each token of a text.

use super::input::InputArgs;
use super::{EngineArgs, ModelArgs, Out, is_npy, npy, numbers, told};
use crate::commands::{Outcome, done};
use crate::exit;
use cairn_gpu::{Engine, Forward, ModelConfig};
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    input: InputArgs,
    /// JSON lines, or a NumPy file [tokens of all texts one after another, vocabulary] where it ends in .npy.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Only those after each text's last token.
    #[arg(long)]
    last: bool,
    /// Compute with the form that is trained, instead of the one that serves.
    #[arg(long, conflicts_with = "quantise")]
    primitive: bool,
    #[command(flatten)]
    engine: EngineArgs,
}

/// Either form of a decoder.
enum Form {
    Primitive(Box<Forward>),
    Fused(Box<Engine>),
}

impl Form {
    fn logits(&mut self, tokens: &[u32]) -> Result<Vec<f32>, cairn_gpu::Error> {
        match self {
            Form::Primitive(forward) => forward.logits(tokens),
            Form::Fused(engine) => engine.logits(tokens),
        }
    }
}

pub(crate) fn run(args: &Args) -> Outcome {
    let model = args.model.open()?;
    let given = args.input.all()?;
    let ModelConfig::Decoder(config) = model.folder.config() else {
        let message = format!("{} holds an encoder, which has no logits; ask it to embed", args.model.model.display());
        return Err(exit::wrong_input(message));
    };
    let runtime = args.model.runtime()?;
    let mut form = match args.primitive {
        true => {
            let weights = model.folder.weights().map_err(told)?;
            Form::Primitive(Box::new(Forward::new(&runtime, config, weights).map_err(told)?))
        }
        false => {
            let options = args.engine.options(1);
            Form::Fused(Box::new(Engine::open_folder(&runtime, &model.folder, None, &options).map_err(told)?))
        }
    };
    let (mut out, mut rows) = (Out::open(args.out.as_deref().filter(|_| !is_npy(args.out.as_ref())))?, Vec::new());
    for given in &given {
        let tokens = given.prompt(&model)?;
        let logits = form.logits(&tokens).map_err(|error| given.wrong(&error))?;
        let after = logits.chunks_exact(config.vocabulary).skip(if args.last { tokens.len() - 1 } else { 0 });
        match is_npy(args.out.as_ref()) {
            true => rows.extend(after.map(<[f32]>::to_vec)),
            false => {
                let after: Vec<String> = after.map(numbers).collect();
                let ids = serde_json::to_string(&tokens).expect("ids serialise");
                out.line(&format!("{{\"tokens\":{ids},\"logits\":[{}]}}", after.join(",")))?;
            }
        }
    }
    if let Some(path) = args.out.as_ref().filter(|_| is_npy(args.out.as_ref())) {
        npy::write(path, &rows, config.vocabulary)?;
        return done();
    }
    out.finish()
}
