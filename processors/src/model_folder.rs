//! A model as a folder that other tools read too, as training starts from it and export writes it: a decoder and a
//! tokenizer made here. Reading and writing themselves are `cairn_gpu::ModelFolder`'s.

use crate::Error;
use cairn_gpu::{DecoderConfig, FolderParts, ModelConfig, ModelFolder, Tokenizer, Weights};
use cairn_schemas::Blake3;
use serde_json::json;
use std::fs::File;
use std::path::Path;

pub const WEIGHTS_FILE: &str = "model.safetensors";
pub const CONFIG_FILE: &str = "config.json";
pub const TOKENIZER_FILE: &str = "tokenizer.json";

/// A model's three parts.
pub struct FolderModel {
    pub architecture: DecoderConfig,
    pub weights: Weights,
    pub tokenizer: Tokenizer,
}

/// Whether the folder holds weights, whole or in shards, a configuration and a tokenizer.
pub fn is_model(dir: &Path) -> bool {
    ModelFolder::is_model(dir) && dir.join(TOKENIZER_FILE).is_file()
}

/// Reads and checks a folder.
pub fn read(dir: &Path) -> Result<FolderModel, Error> {
    let folder = ModelFolder::open(dir)?;
    let ModelConfig::Decoder(architecture) = folder.config().clone() else {
        let path = dir.join(CONFIG_FILE).display().to_string();
        return Err(Error::refused(path, "is of an encoder; training starts from a decoder"));
    };
    let tokenizer = Tokenizer::from_json(&folder.tokenizer_json()?).map_err(|e| {
        Error::refused(dir.join(TOKENIZER_FILE).display().to_string(), format!("{e}; `cairn export` writes one"))
    })?;
    Ok(FolderModel { architecture, weights: folder.weights()?, tokenizer })
}

/// What `read` depends on, as one digest.
pub fn digest(dir: &Path) -> Result<Blake3, Error> {
    let folder = ModelFolder::open(dir)?;
    let mut hasher = blake3::Hasher::new();
    let others = [CONFIG_FILE, TOKENIZER_FILE].map(|name| dir.join(name));
    for path in folder.weight_files().chain(others.iter().map(|path| path.as_path())) {
        let mut file = blake3::Hasher::new();
        let read = File::open(path).and_then(|bytes| file.update_reader(bytes).map(drop));
        read.map_err(Error::io("read", path))?;
        hasher.update(file.finalize().as_bytes());
    }
    Ok(Blake3::from_bytes(*hasher.finalize().as_bytes()))
}

/// Writes a folder from stored parts; `weights` are safetensors bytes, `tokenizer` its JSON.
pub fn write(dir: &Path, architecture: &DecoderConfig, weights: &[u8], tokenizer: &[u8]) -> Result<(), Error> {
    let ids = json!({
        "pad_token_id": Tokenizer::PAD, "bos_token_id": Tokenizer::BOS, "eos_token_id": Tokenizer::EOS,
    });
    let parts =
        FolderParts { config_keys: ids.as_object().cloned().unwrap_or_default(), ..FolderParts::tokenizer(tokenizer) };
    let weights = Weights::from_safetensors(weights)?;
    Ok(ModelFolder::write(dir, &ModelConfig::Decoder(architecture.clone()), &weights, &parts)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tiny() -> DecoderConfig {
        let small = json!({"layers": 1, "width": 8, "heads": 2, "feed_forward": 16, "vocabulary": 270, "context": 16});
        serde_json::from_value(small).unwrap()
    }

    #[test]
    fn what_is_written_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let weights = Weights::initialize(&tiny(), 3);
        let tokenizer = Tokenizer::train(["one two".to_owned()].into_iter(), 270).unwrap();
        assert!(!is_model(dir.path()));
        write(dir.path(), &tiny(), &weights.to_safetensors(), tokenizer.to_json().as_bytes()).unwrap();
        assert!(is_model(dir.path()));
        let read = read(dir.path()).unwrap();
        assert_eq!(read.architecture, tiny());
        assert_eq!(read.weights.digest(), weights.digest());
        assert_eq!(read.tokenizer.digest(), tokenizer.digest());
        let folder = ModelFolder::open(dir.path()).unwrap();
        assert_eq!(folder.generation().eos, [Tokenizer::EOS]);
        let before = digest(dir.path()).unwrap();
        assert_eq!(digest(dir.path()).unwrap(), before);
        let other = Weights::initialize(&tiny(), 4);
        write(dir.path(), &tiny(), &other.to_safetensors(), tokenizer.to_json().as_bytes()).unwrap();
        assert_ne!(digest(dir.path()).unwrap(), before);
    }

    #[test]
    fn a_broken_part_is_named_by_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let weights = Weights::initialize(&tiny(), 3).to_safetensors();
        let tokenizer = Tokenizer::train(["one two".to_owned()].into_iter(), 270).unwrap();
        write(dir.path(), &tiny(), &weights, tokenizer.to_json().as_bytes()).unwrap();
        let written = std::fs::read(dir.path().join(WEIGHTS_FILE)).unwrap();
        for (name, bytes) in [(TOKENIZER_FILE, &b"{}"[..]), (WEIGHTS_FILE, &written[..written.len() / 2])] {
            std::fs::write(dir.path().join(name), bytes).unwrap();
            let error = read(dir.path()).err().unwrap().to_string();
            assert!(error.contains(&dir.path().join(name).display().to_string()), "{error}");
        }
    }
}
