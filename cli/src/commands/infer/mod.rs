//! `cairn infer`: a model's folder at the shell, without a ledger or a server: what it is, and what it computes.

mod check;
mod embed;
mod generate;
mod input;
mod logits;
mod npy;
mod rerank;

use super::{Outcome, done};
use crate::{Globals, exit};
use anyhow::Context as _;
use cairn_gpu::{EngineOptions, Quantisation, Runtime, RuntimeOptions};
use cairn_processors::opened_model::OpenedModel;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Words about the input of these commands, shown with their help.
const INPUT_HELP: &str = "\
Input is one JSON value a line, from a file or standard input (`-`):
  \"a text\"                      a text, with the tokens that the tokenizer adds
  [1, 15043, 3186]              token ids, nothing added
  {\"text\": …} {\"tokens\": […]}   the same, named
  {\"messages\": [{\"role\": \"user\", \"content\": …}], \"tools\": […]}
                                a conversation, through the model's chat template
Output is one JSON object a line, or a NumPy file where `--out` ends in .npy.";

#[derive(clap::Subcommand)]
pub(crate) enum Args {
    /// Say what a folder holds, what it needs, and whether it loads and computes.
    Check(check::Args),
    /// Write the logits after every token of texts.
    #[command(after_help = INPUT_HELP)]
    Logits(logits::Args),
    /// Continue prompts or answer messages.
    #[command(after_help = INPUT_HELP)]
    Generate(generate::Args),
    /// Turn texts into vectors.
    #[command(after_help = INPUT_HELP)]
    Embed(embed::Args),
    /// Score documents for a query: {"query": …, "documents": […]} a line.
    Rerank(rerank::Args),
}

/// Which model, and how it is run.
#[derive(clap::Args)]
pub(crate) struct ModelArgs {
    /// A folder as Hugging Face has it: config.json, safetensors, tokenizer.json.
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Threads inside one operator.
    #[arg(long, value_name = "N", default_value_t = 2)]
    threads: usize,
}

impl ModelArgs {
    fn open(&self) -> anyhow::Result<OpenedModel> {
        if !self.model.is_dir() {
            let message = format!("there is no folder {}; name one with config.json in it", self.model.display());
            return Err(exit::not_found(message));
        }
        Ok(OpenedModel::open(&self.model)?)
    }

    fn runtime(&self) -> anyhow::Result<Runtime> {
        let device = cairn_processors::context::device()?;
        let options = RuntimeOptions { threads: self.threads, device };
        Ok(Runtime::load(&options).map_err(cairn_processors::Error::from)?)
    }
}

/// What a decoder's engine is given.
#[derive(clap::Args)]
pub(crate) struct EngineArgs {
    /// Answers that are computed together.
    #[arg(long, value_name = "N", default_value_t = 16)]
    slots: usize,
    /// Bytes for weights, keys, values and working memory.
    #[arg(long, value_name = "BYTES", default_value_t = 8 << 30)]
    memory: u64,
    /// Positions of a prompt and its answer; the model's context where absent.
    #[arg(long, value_name = "TOKENS")]
    context: Option<usize>,
    /// Keep the matrices in fewer bits.
    #[arg(long, value_name = "BITS", value_parser = bits)]
    quantise: Option<Quantisation>,
}

impl EngineArgs {
    fn options(&self, queue_max: usize) -> EngineOptions {
        EngineOptions {
            slots: self.slots,
            memory_bytes_max: self.memory,
            context_max: self.context,
            quantise: self.quantise,
            queue_max,
            ..EngineOptions::default()
        }
    }
}

fn bits(text: &str) -> Result<Quantisation, String> {
    match text {
        "4" => Ok(Quantisation::Bits4),
        "8" => Ok(Quantisation::Bits8),
        _ => Err("there are 4 and 8".to_owned()),
    }
}

pub(crate) fn run(globals: &Globals, args: &Args) -> Outcome {
    match args {
        Args::Check(args) => check::run(globals, args),
        Args::Logits(args) => logits::run(args),
        Args::Generate(args) => generate::run(args),
        Args::Embed(args) => embed::run(args),
        Args::Rerank(args) => rerank::run(args),
    }
}

/// Errors of the models as the command line tells them.
fn told(error: cairn_gpu::Error) -> anyhow::Error {
    cairn_processors::Error::from(error).into()
}

/// Where results go: standard output, or a file.
struct Out {
    file: Option<(PathBuf, std::io::BufWriter<std::fs::File>)>,
}

impl Out {
    fn open(path: Option<&Path>) -> anyhow::Result<Self> {
        let open = |path: &Path| -> anyhow::Result<_> {
            let file = std::fs::File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
            Ok((path.to_owned(), std::io::BufWriter::new(file)))
        };
        Ok(Self { file: path.filter(|path| *path != Path::new("-")).map(open).transpose()? })
    }

    fn line(&mut self, line: &str) -> anyhow::Result<()> {
        match &mut self.file {
            None => say!("{line}"),
            Some((path, file)) => {
                writeln!(file, "{line}").with_context(|| format!("cannot write {}", path.display()))?;
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Outcome {
        if let Some((path, file)) = &mut self.file {
            file.flush().with_context(|| format!("cannot write {}", path.display()))?;
        }
        done()
    }
}

/// Whether a NumPy file is asked for.
fn is_npy(out: Option<&PathBuf>) -> bool {
    out.is_some_and(|path| path.extension().is_some_and(|extension| extension == "npy"))
}

/// Numbers as JSON with no more digits than an f32 has.
fn numbers(values: &[f32]) -> String {
    serde_json::to_string(values).expect("numbers serialise")
}
