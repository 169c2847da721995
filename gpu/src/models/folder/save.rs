//! A folder that `transformers` loads, written from named f32 tensors a piece at a time.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use serde_json::{Map, Value};

use super::{CONFIG_FILE, ModelFolder, Stored, TOKENIZER_FILE, WEIGHTS_FILE, file_error, stored};
use crate::models::ModelConfig;
use crate::{Error, Weights};

/// What stands in a folder beside the configuration and the weights.
#[derive(Clone, Debug, Default)]
pub struct FolderParts<'a> {
    /// Added to `config.json`, such as `eos_token_id`; replaces what stands there.
    pub config_keys: Map<String, Value>,
    /// Other files by name, such as `tokenizer.json`.
    pub files: Vec<(&'a str, &'a [u8])>,
}

impl<'a> FolderParts<'a> {
    /// A tokenizer and nothing else.
    pub fn tokenizer(json: &'a [u8]) -> Self {
        Self { files: vec![(TOKENIZER_FILE, json)], ..Self::default() }
    }
}

impl ModelFolder {
    /// Writes `dir` (made where missing): `config.json`, `model.safetensors` in f32 and the other parts. The same
    /// model always gives the same bytes.
    pub fn write(dir: &Path, config: &ModelConfig, weights: &Weights, parts: &FolderParts<'_>) -> Result<(), Error> {
        config.validate()?;
        weights.check_model(config)?;
        let mut keys = config.to_hugging_face()?;
        parts.config_keys.iter().for_each(|(key, value)| keys[key] = value.clone());
        let mut text = serde_json::to_string_pretty(&keys).expect("a configuration serialises");
        text.push('\n');
        std::fs::create_dir_all(dir).map_err(|error| file_error(dir, format!("cannot be made: {error}")))?;
        write_weights(&dir.join(WEIGHTS_FILE), &stored(config), weights)?;
        for (name, bytes) in std::iter::once((CONFIG_FILE, text.as_bytes())).chain(parts.files.iter().copied()) {
            let path = dir.join(name);
            std::fs::write(&path, bytes).map_err(|error| file_error(&path, format!("cannot be written: {error}")))?;
        }
        Ok(())
    }
}

fn write_weights(path: &Path, tensors: &[Stored], weights: &Weights) -> Result<(), Error> {
    let unwritable = |error: std::io::Error| file_error(path, format!("cannot be written: {error}"));
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path).map_err(unwritable)?);
    let mut end = 0;
    let infos = tensors.iter().map(|stored| {
        let begin = end;
        end += 4 * stored.shape.iter().product::<usize>();
        (stored.name.clone(), TensorInfo { dtype: Dtype::F32, shape: stored.shape.clone(), data_offsets: (begin, end) })
    });
    // `transformers` refuses a file that does not say which framework its layout is of.
    let metadata = [("format".to_owned(), "pt".to_owned())].into();
    let metadata = Metadata::new(Some(metadata), infos.collect()).expect("offsets follow one another");
    let mut header = serde_json::to_vec(&metadata).expect("a header serialises");
    header.resize(header.len().next_multiple_of(8), b' ');
    out.write_all(&(header.len() as u64).to_le_bytes()).map_err(unwritable)?;
    out.write_all(&header).map_err(unwritable)?;
    for stored in tensors {
        write_tensor(&mut out, stored, weights).map_err(unwritable)?;
    }
    out.flush().map_err(unwritable)
}

fn write_tensor(out: &mut impl Write, stored: &Stored, weights: &Weights) -> std::io::Result<()> {
    let rows = stored.rows();
    let mut line = Vec::with_capacity(4 * stored.columns());
    for row in 0..rows {
        line.clear();
        for part in &stored.parts {
            let data = &weights.get(&part.name).expect("checked against the configuration").data;
            let width = part.columns.len();
            match part.transposed {
                false => line.extend(data[row * width..][..width].iter().flat_map(|number| number.to_le_bytes())),
                true => line.extend(data[row..].iter().step_by(rows).flat_map(|number| number.to_le_bytes())),
            }
        }
        out.write_all(&line)?;
    }
    Ok(())
}
