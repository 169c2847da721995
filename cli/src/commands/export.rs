//! `cairn export REF --to DIR`: a bundle that can be verified alone, a model folder, or an artifact's bytes.

use super::{Outcome, done, print_json, resolve};
use crate::{Globals, exit};
use cairn_processors::export;
use cairn_schemas::Ref;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A ref, or a deployment's name.
    #[arg(value_name = "REF")]
    reference: String,
    /// An absent or empty folder; a file that does not exist for `--as file`.
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// What to write.
    #[arg(long = "as", value_enum, default_value_t = Form::Bundle)]
    form: Form,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Form {
    /// The log, its signed checkpoint and key, and the artifacts behind the ref: `cairn verify DIR` checks it alone.
    Bundle,
    /// model.safetensors, config.json and tokenizer.json of a model, run or deployment.
    Model,
    /// The bytes of an artifact.
    File,
}

pub(crate) fn run(globals: &Globals, args: &Args) -> Outcome {
    if matches!(args.form, Form::File) {
        return file(globals, args);
    }
    let context = super::writer(globals)?;
    let reference = resolve(&context, &args.reference)?;
    let to = args.to.display();
    let (told, text) = match args.form {
        Form::Model => {
            let model = export::model(&context, &reference, &args.to)?;
            let told =
                serde_json::json!({ "model": model.reference, "weights_digest": model.weights_digest, "to": args.to });
            (told, format!("{} (weights {}) written to {to}", model.reference, model.weights_digest))
        }
        _ => {
            let bundle = export::bundle(&context, &reference, &args.to)?;
            let told = serde_json::json!({
                "subject": reference, "to": args.to, "events": bundle.checkpoint.checkpoint.size,
                "artifacts": bundle.artifacts.len(), "verifier_key": bundle.verifier_key,
            });
            let (events, artifacts) = (bundle.checkpoint.checkpoint.size, bundle.artifacts.len());
            let text = format!(
                "{events} events and {artifacts} artifacts behind {reference} written to {to}\n\
                 whoever gets it checks it with: cairn verify {to}\nand compares the verifier key: {}",
                bundle.verifier_key
            );
            (told, text)
        }
    };
    if globals.json {
        print_json(&told)
    } else {
        say!("{text}")
    }
    done()
}

/// Needs no lock: artifacts never change.
fn file(globals: &Globals, args: &Args) -> Outcome {
    let Ref::Artifact(digest) = args.reference.parse()? else {
        return Err(exit::wrong_input(format!("--as file writes artifact:<blake3>, not {}", args.reference)));
    };
    let context = super::reader(globals)?;
    let path = export::artifact(&context, &digest, &args.to)?;
    if globals.json {
        print_json(&serde_json::json!({ "artifact": args.reference, "to": path }));
    } else {
        say!("{} written to {}", args.reference, path.display());
    }
    done()
}
