//! Decoders of every family against transformers: small random models of golden/models, read from their folders.

#[allow(dead_code, reason = "shared with other tests")]
mod folders;

use std::collections::BTreeMap;

use cairn_gpu::{DecoderConfig, FolderParts, Forward, ModelConfig, ModelFolder, Weights};
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
