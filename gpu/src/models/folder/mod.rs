//! A model's folder as Hugging Face has it: `config.json`, safetensors in one file or in shards, `tokenizer.json` and
//! what stands beside them. Opening reads and checks everything but the weights' numbers; `weights` reads those.

mod digest;
mod load;
mod save;
mod settings;
mod shards;
mod source;

use std::path::{Path, PathBuf};

use safetensors::tensor::Dtype;
use serde::de::DeserializeOwned;

use super::hugging_face::{Stored, needless, stored};
use super::{ModelConfig, Pooling};
use crate::Error;
use shards::{Located, Shards};

pub use save::FolderParts;
pub use settings::{GenerationDefaults, ScoreActivation, TextSettings};

const CONFIG_FILE: &str = "config.json";
const WEIGHTS_FILE: &str = "model.safetensors";
const INDEX_FILE: &str = "model.safetensors.index.json";
const TOKENIZER_FILE: &str = "tokenizer.json";
/// Longest JSON file that is read.
const JSON_BYTES_MAX: u64 = 64 << 20;

/// An opened folder. Holds its files open, none of their numbers.
pub struct ModelFolder {
    dir: PathBuf,
    config: ModelConfig,
    /// Every tensor the model needs, and where it is.
    tensors: Vec<(Stored, String, Located)>,
    shards: Shards,
    texts: TextSettings,
    generation: GenerationDefaults,
    pooling: Option<Pooling>,
    score_activation: ScoreActivation,
}

impl ModelFolder {
    /// Whether this looks like a model's folder: a configuration and weights in safetensors.
    pub fn is_model(dir: &Path) -> bool {
        dir.join(CONFIG_FILE).is_file() && [WEIGHTS_FILE, INDEX_FILE].iter().any(|name| dir.join(name).is_file())
    }

    /// Reads the configuration and the headers of the weights, and checks that they and the tokenizer's vocabulary
    /// are of one model. Errors name the file, what it has and what was expected.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let path = dir.join(CONFIG_FILE);
        let keys: serde_json::Value = read_json(&path)?;
        let of_file = |error: Error| match error {
            Error::Architecture { .. } => error,
            other => file_error(&path, other.to_string()),
        };
        let mut config = ModelConfig::from_hugging_face(&keys).map_err(of_file)?;
        let shards = Shards::open(dir)?;
        untie_if_both_differ(&mut config, &shards)?;
        let tensors = locate(&config, &shards)?;
        settings::check_vocabulary(&dir.join(TOKENIZER_FILE), config.vocabulary())?;
        let texts = settings::texts(dir)?;
        let generation = settings::generation(dir, &keys)?;
        let (pooling, score_activation) = settings::of_encoder(dir, &keys, &config)?;
        Ok(Self { dir: dir.to_owned(), config, tensors, shards, texts, generation, pooling, score_activation })
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Files that hold weights, and bytes of weights in them.
    pub fn files(&self) -> (usize, u64) {
        self.shards.size()
    }

    /// The files that hold weights, in the order of their names.
    pub fn weight_files(&self) -> impl Iterator<Item = &Path> {
        self.shards.paths()
    }

    /// The types of numbers on disk, most frequent first, such as `["BF16", "F32"]`.
    pub fn types(&self) -> Vec<String> {
        let mut types: Vec<(Dtype, u64)> = self.shards.types().into_iter().collect();
        types.sort_by_key(|&(dtype, count)| (std::cmp::Reverse(count), dtype));
        types.into_iter().map(|(dtype, _)| format!("{dtype:?}")).collect()
    }

    /// Settings of the tokenizer and of the texts: template, special tokens, limits, prompts.
    pub fn texts(&self) -> &TextSettings {
        &self.texts
    }

    /// What the model's makers set for generation, and the ids at which it ends.
    pub fn generation(&self) -> &GenerationDefaults {
        &self.generation
    }

    /// How an encoder's states become an embedding: as sentence-transformers' files say, else the mean, as
    /// sentence-transformers does without them. None for a decoder and for a model with a head.
    pub fn pooling(&self) -> Option<Pooling> {
        self.pooling
    }

    /// What a reranker's score goes through, by sentence-transformers' rule.
    pub fn score_activation(&self) -> ScoreActivation {
        self.score_activation
    }

    /// The text of `tokenizer.json`.
    pub fn tokenizer_json(&self) -> Result<String, Error> {
        let path = self.dir.join(TOKENIZER_FILE);
        match path.is_file() {
            true => read_text(&path),
            false => Err(file_error(
                &path,
                "missing; a fast tokenizer is expected: `save_pretrained` of a transformers tokenizer writes one",
            )),
        }
    }
}

/// Finds every tensor, in its shape and of a type that is read, and nothing that is of another model.
fn locate(config: &ModelConfig, shards: &Shards) -> Result<Vec<(Stored, String, Located)>, Error> {
    let mut found = Vec::new();
    let mut used = std::collections::BTreeSet::new();
    for stored in stored(config) {
        let name = std::iter::once(&stored.name).chain(&stored.aliases).find(|name| shards.get(name).is_some());
        let Some(name) = name.cloned() else {
            let problem = format!("missing from the weights; {CONFIG_FILE} needs it with shape {:?}", stored.shape);
            return Err(Error::Tensor { name: stored.name, problem });
        };
        let located = shards.get(&name).expect("found above").clone();
        if located.shape != stored.shape {
            let problem = format!(
                "tensor `{name}` has shape {:?}, expected {:?}: what {CONFIG_FILE} describes",
                located.shape, stored.shape
            );
            return Err(file_error(shards.path(&located), problem));
        }
        if !matches!(located.dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16) {
            let problem = format!("tensor `{name}` holds {:?}, expected F32, F16 or BF16", located.dtype);
            return Err(file_error(shards.path(&located), problem));
        }
        used.insert(name.clone());
        found.push((stored, name, located));
    }
    match shards.names().find(|name| !used.contains(*name) && !needless(config, name)) {
        Some(name) => {
            let problem = format!("not part of the model that {CONFIG_FILE} describes; is it of another architecture?");
            Err(Error::Tensor { name: name.to_owned(), problem })
        }
        None => Ok(found),
    }
}

/// Some files hold an output table although their configuration says that it is the embedding table. `transformers`
/// then uses both where they differ.
fn untie_if_both_differ(config: &mut ModelConfig, shards: &Shards) -> Result<(), Error> {
    let ModelConfig::Decoder(decoder) = config else { return Ok(()) };
    let embedding = ["model.embed_tokens.weight", "transformer.wte.weight", "wte.weight"];
    let embedding = embedding.iter().find_map(|name| shards.get(name));
    if let (true, Some(head), Some(embedding)) = (decoder.tied_embeddings, shards.get("lm_head.weight"), embedding) {
        decoder.tied_embeddings = shards.same(head, embedding)?;
    }
    Ok(())
}

fn file_error(path: &Path, problem: impl Into<String>) -> Error {
    Error::File { path: path.to_owned(), problem: problem.into() }
}

fn read_text(path: &Path) -> Result<String, Error> {
    let unreadable = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => file_error(path, "missing; is this the folder of a model?"),
        _ => file_error(path, format!("cannot be read: {error}")),
    };
    let length = std::fs::metadata(path).map_err(unreadable)?.len();
    if length > JSON_BYTES_MAX {
        return Err(file_error(path, format!("has {length} bytes; at most {JSON_BYTES_MAX} are read")));
    }
    std::fs::read_to_string(path).map_err(unreadable)
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, Error> {
    serde_json::from_str(&read_text(path)?)
        .map_err(|error| file_error(path, format!("is not what it should be: {error}")))
}
