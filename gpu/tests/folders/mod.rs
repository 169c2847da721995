//! Model folders made of goldens: weights come from integer hashes, as in golden/make_models.py.

use std::collections::BTreeMap;
use std::path::Path;

use cairn_gpu::{Runtime, RuntimeOptions};
use safetensors::tensor::{Dtype, TensorView};
use serde::Deserialize;

/// A tensor of a file: name, shape and numbers.
pub(crate) type Named = (String, Vec<usize>, Vec<f32>);

/// What `make_models.py` wrote of any family.
#[derive(Deserialize)]
pub(crate) struct Golden {
    pub(crate) config: serde_json::Value,
    pub(crate) tensors: BTreeMap<String, Vec<usize>>,
    pub(crate) tokens: Vec<Vec<u32>>,
    #[serde(flatten)]
    pub(crate) rest: serde_json::Map<String, serde_json::Value>,
}

impl Golden {
    pub(crate) fn read(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/models/{name}.json"));
        serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap()
    }

    pub(crate) fn get<T: serde::de::DeserializeOwned>(&self, key: &str) -> T {
        serde_json::from_value(self.rest[key].clone()).unwrap()
    }

    /// Every tensor of the file with its numbers, in order of name.
    pub(crate) fn values(&self) -> Vec<Named> {
        let tensors = self.tensors.iter().enumerate();
        tensors.map(|(stream, (name, shape))| (name.clone(), shape.clone(), values(stream, name, shape))).collect()
    }

    /// Writes `config.json` and one safetensors file.
    pub(crate) fn write(&self, dir: &Path) {
        self.write_as(dir, Dtype::F32);
    }

    pub(crate) fn write_as(&self, dir: &Path, dtype: Dtype) {
        std::fs::write(dir.join("config.json"), self.config.to_string()).unwrap();
        write_tensors(&dir.join("model.safetensors"), &self.values(), dtype);
    }
}

pub(crate) fn write_tensors(path: &Path, tensors: &[Named], dtype: Dtype) {
    let encode = |numbers: &[f32]| -> Vec<u8> {
        match dtype {
            Dtype::F32 => numbers.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Dtype::BF16 => numbers.iter().flat_map(|x| half::bf16::from_f32(*x).to_le_bytes()).collect(),
            Dtype::F16 => numbers.iter().flat_map(|x| half::f16::from_f32(*x).to_le_bytes()).collect(),
            other => panic!("{other:?}"),
        }
    };
    let encoded: Vec<Vec<u8>> = tensors.iter().map(|(_, _, numbers)| encode(numbers)).collect();
    let views = tensors.iter().zip(&encoded);
    let views = views.map(|((name, shape, _), bytes)| (name, TensorView::new(dtype, shape.clone(), bytes).unwrap()));
    std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

pub(crate) fn runtime() -> Runtime {
    Runtime::load(&RuntimeOptions::default()).unwrap()
}

fn mix(stream: u64, index: u64) -> u64 {
    let z = (stream << 32 | index).wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ z >> 31
}

fn values(stream: usize, name: &str, shape: &[usize]) -> Vec<f32> {
    let drawn = (0..shape.iter().product::<usize>()).map(|i| (mix(stream as u64, i as u64) % 65536) as f64 - 32768.0);
    let norm = if name.ends_with("weight") { 1.0 } else { 0.0 };
    match shape.len() {
        1 => drawn.map(|x| (x / 262_144.0 + norm) as f32).collect(),
        _ => drawn.map(|x| (x / 65536.0) as f32).collect(),
    }
}
