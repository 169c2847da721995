//! A model as ONNX that plain `onnxruntime` runs: `model.onnx` and its weights beside it, with the inputs and outputs
//! that the tools around `transformers` expect.

use std::path::Path;

use super::{ModelConfig, ModelFolder, Pooling, encoder_fused};
use crate::engine::{Places, Quantisation, WeightSource, exported};
use crate::{Error, Weights};

const GRAPH_FILE: &str = "model.onnx";
const WEIGHTS_FILE: &str = "model.onnx.data";
/// What goes along from the folder, so that texts can be prepared.
const ALONGSIDE: [&str; 8] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
];

impl ModelFolder {
    /// Writes the model's inference form into `dir`, made where missing, with the configuration and the tokenizer
    /// beside it. Files of an earlier export are refused, not replaced.
    pub fn export_onnx(&self, dir: &Path, quantise: Option<Quantisation>) -> Result<(), Error> {
        self.check_numbers()?;
        export(self.config(), self, self.pooling(), dir, quantise)?;
        for name in ALONGSIDE {
            let (from, to) = (self.dir().join(name), dir.join(name));
            if from.is_file() {
                std::fs::copy(&from, &to).map_err(|error| failed(&to, &error))?;
            }
        }
        Ok(())
    }
}

impl Weights {
    /// Writes the inference form of a model with these weights into `dir`, made where missing.
    pub fn export_onnx(
        &self,
        config: &ModelConfig,
        pooling: Option<Pooling>,
        dir: &Path,
        quantise: Option<Quantisation>,
    ) -> Result<(), Error> {
        config.validate()?;
        self.check_model(config)?;
        export(config, self, pooling, dir, quantise)
    }
}

fn export(
    config: &ModelConfig,
    source: &dyn WeightSource,
    pooling: Option<Pooling>,
    dir: &Path,
    quantise: Option<Quantisation>,
) -> Result<(), Error> {
    std::fs::create_dir_all(dir).map_err(|error| failed(dir, &error))?;
    let path = dir.join(GRAPH_FILE);
    if path.exists() {
        let problem = "exists; name a folder without an exported model".to_owned();
        return Err(Error::File { path, problem });
    }
    let mut places = Places::exported(source, &dir.join(WEIGHTS_FILE), quantise)?;
    let graph = match config {
        ModelConfig::Decoder(config) => exported(config, &mut places)?,
        ModelConfig::Encoder(config) => encoder_fused::exported(config, pooling, &mut places)?,
    };
    places.folder()?;
    std::fs::write(&path, graph.bytes()).map_err(|error| failed(&path, &error))
}

fn failed(path: &Path, error: &std::io::Error) -> Error {
    Error::File { path: path.to_owned(), problem: format!("cannot be written: {error}") }
}
