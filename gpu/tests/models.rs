//! Decoders of every family against transformers: small random models of golden/models, read from their folders.

#[allow(dead_code, reason = "shared with other tests")]
mod folders;

use std::collections::BTreeMap;

use cairn_gpu::{
    Batch, DecoderConfig, FolderParts, Forward, IGNORE, ModelConfig, ModelFolder, TrainOptions, Trainer, Weights,
};
use folders::{Golden, runtime};

const FAMILIES: [&str; 9] =
    ["llama2", "llama3", "llama_linear_biased", "llama_dynamic", "llama_yarn", "mistral", "qwen2", "qwen3", "gpt2"];
/// Of the largest logit.
const TOLERANCE: f32 = 1e-4;

fn model(golden: &Golden) -> (DecoderConfig, Weights) {
    let dir = tempfile::tempdir().unwrap();
    golden.write(dir.path());
    let folder = ModelFolder::open(dir.path()).unwrap();
    let ModelConfig::Decoder(config) = folder.config().clone() else { panic!("a decoder") };
    (config, folder.weights().unwrap())
}

#[test]
fn logits_are_those_of_transformers() {
    let runtime = runtime();
    for family in FAMILIES {
        let golden = Golden::read(family);
        let (config, weights) = model(&golden);
        let mut forward = Forward::new(&runtime, &config, weights).unwrap();
        let at_columns: Vec<Vec<Vec<f32>>> = golden.get("at_columns");
        let (columns, last): (Vec<usize>, Vec<Vec<f32>>) = (golden.get("columns"), golden.get("last"));
        let mut worst = 0f32;
        for (row, tokens) in golden.tokens.iter().enumerate() {
            let logits = forward.logits(tokens).unwrap();
            let scale = last[row].iter().fold(0f32, |most, x| most.max(x.abs()));
            assert!(scale > 0.5, "{family}: logits within {scale} of 0 could not tell right from wrong");
            let positions: Vec<&[f32]> = logits.chunks_exact(config.vocabulary).collect();
            assert_eq!(positions.len(), tokens.len());
            for (found, expected) in positions.iter().zip(&at_columns[row]) {
                for (&column, expected) in columns.iter().zip(expected) {
                    worst = worst.max((found[column] - expected).abs() / scale);
                }
            }
            for (found, expected) in positions.last().unwrap().iter().zip(&last[row]) {
                worst = worst.max((found - expected).abs() / scale);
            }
        }
        println!("{family}: furthest {worst:.1e} of the largest logit");
        assert!(worst < TOLERANCE, "{family}: {worst}");
    }
}

/// The primitive form is what is trained: loss and gradient of every family, tied tables and biases included.
#[test]
fn losses_and_gradients_are_those_of_pytorch() {
    let runtime = runtime();
    for family in FAMILIES {
        let golden = Golden::read(family);
        let (config, weights) = model(&golden);
        let (rows, length) = (golden.tokens.len(), golden.tokens[0].len());
        let flat = |of: &dyn Fn(&[u32], usize) -> i64| -> Vec<i64> {
            golden.tokens.iter().flat_map(|row| (0..length).map(|at| of(row, at))).collect()
        };
        let batch = Batch {
            rows,
            length,
            tokens: flat(&|row, at| row[at].into()),
            targets: flat(&|row, at| row.get(at + 1).map_or(IGNORE, |&token| token.into())),
            positions: flat(&|_, at| at as i64),
            segments: flat(&|_, _| 1),
            supervised_tokens: (rows * (length - 1)) as u64,
        };
        let options = TrainOptions { rows_per_micro_batch: rows, sequence_length: length, ..TrainOptions::default() };
        let report = Trainer::new(&runtime, &config, weights, &options).unwrap().step(&[batch], 1e-3).unwrap();
        let [loss, norm]: [f32; 2] = golden.get("loss_and_gradient_norm");
        println!("{family}: loss {} ({loss}), gradient {} ({norm})", report.loss, report.grad_norm);
        assert!((report.loss - loss).abs() < 1e-4 * loss, "{family}: loss {}, expected {loss}", report.loss);
        assert!((report.grad_norm - norm).abs() < 1e-4 * norm, "{family}: {}, expected {norm}", report.grad_norm);
    }
}

/// What the sliding window, scaling and norms of heads change must show, or the test above could not see them.
#[test]
fn every_setting_of_a_family_matters() {
    let runtime = runtime();
    let plain = |config: &DecoderConfig| DecoderConfig {
        sliding_window: None,
        window_layers: Vec::new(),
        rope_scaling: None,
        activation: Default::default(),
        ..config.clone()
    };
    for family in ["llama3", "llama_linear_biased", "llama_yarn", "mistral", "qwen2"] {
        let golden = Golden::read(family);
        let (config, weights) = model(&golden);
        let logits = |config: &DecoderConfig| {
            Forward::new(&runtime, config, weights.clone()).unwrap().logits(&golden.tokens[0]).unwrap()
        };
        let (with, without) = (logits(&config), logits(&plain(&config)));
        let furthest = with.iter().zip(&without).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
        assert!(furthest > 0.01, "{family}: {furthest}");
    }
}

/// Written anew, a folder has the tensors that transformers wrote, bit by bit, and a configuration that means the same.
#[test]
fn a_folder_is_written_as_transformers_wrote_it() {
    for family in FAMILIES {
        let golden = Golden::read(family);
        let (config, weights) = model(&golden);
        let dir = tempfile::tempdir().unwrap();
        let config = ModelConfig::Decoder(config);
        ModelFolder::write(dir.path(), &config, &weights, &FolderParts::default()).unwrap();
        let bytes = std::fs::read(dir.path().join("model.safetensors")).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let found: BTreeMap<String, (Vec<usize>, Vec<u8>)> =
            file.iter().map(|(name, view)| (name.to_owned(), (view.shape().to_vec(), view.data().to_vec()))).collect();
        let expected = golden.values().into_iter().map(|(name, shape, numbers)| {
            (name, (shape, numbers.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>()))
        });
        assert!(found == expected.collect(), "{family}");
        let folder = ModelFolder::open(dir.path()).unwrap();
        assert_eq!(*folder.config(), config, "{family}");
        assert_eq!(folder.weights().unwrap().digest(), weights.digest(), "{family}");
    }
}

#[test]
fn prompts_that_cannot_be_are_refused() {
    let golden = Golden::read("llama2");
    let (config, weights) = model(&golden);
    let mut forward = Forward::new(&runtime(), &config, weights).unwrap();
    for (tokens, expected) in [
        (vec![], "`prompt` is 0 tokens long, expected 1 to 32"),
        (vec![1; 33], "`prompt` is 33 tokens long"),
        (vec![5, 53], "`token` is 53, expected an id below 53"),
    ] {
        let message = forward.logits(&tokens).unwrap_err().to_string();
        assert!(message.starts_with(expected), "{message}");
    }
}
