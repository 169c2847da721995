//! Encoders against transformers: small random models of golden/models in both forms, and the real MiniLM.

#[allow(dead_code, reason = "shared with other tests")]
mod folders;

use std::path::{Path, PathBuf};

use cairn_gpu::{
    Encoder, EncoderConfig, EncoderInput, EncoderOutput, FolderParts, ModelConfig, ModelFolder, Pooling, PoolingKind,
    Weights,
};
use folders::{Golden, runtime};
use serde::Deserialize;

const TOLERANCE: f32 = 1e-4;

fn model(golden: &Golden) -> (EncoderConfig, Weights) {
    let dir = tempfile::tempdir().unwrap();
    golden.write(dir.path());
    let folder = ModelFolder::open(dir.path()).unwrap();
    let ModelConfig::Encoder(config) = folder.config().clone() else { panic!("an encoder") };
    (config, folder.weights().unwrap())
}

/// Both forms for one output.
fn forms(config: &EncoderConfig, weights: &Weights, output: EncoderOutput) -> [(&'static str, Encoder); 2] {
    let runtime = runtime();
    [
        ("primitive", Encoder::primitive(&runtime, config, weights.clone(), output).unwrap()),
        ("fused", Encoder::open(&runtime, config, weights, output).unwrap()),
    ]
}

fn assert_close(found: &[Vec<f32>], expected: &[Vec<f32>], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let scale = expected.iter().flatten().fold(0f32, |most, x| most.max(x.abs()));
    let mut worst = 0f32;
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found.len(), expected.len(), "{what}");
        worst = found.iter().zip(expected).fold(worst, |worst, (a, b)| worst.max((a - b).abs() / scale));
    }
    println!("{what}: furthest {worst:.1e} of {scale}");
    assert!(worst < TOLERANCE, "{what}: {worst}");
}

#[test]
fn embeddings_are_those_of_transformers() {
    let poolings = [
        ("cls", PoolingKind::Cls, false),
        ("mean", PoolingKind::Mean, false),
        ("max", PoolingKind::Max, false),
        ("mean_sqrt_length", PoolingKind::MeanSqrtLength, false),
        ("mean_normalised", PoolingKind::Mean, true),
    ];
    for family in ["bert", "roberta"] {
        let golden = Golden::read(family);
        let (config, weights) = model(&golden);
        let types: Vec<Vec<u32>> = golden.get("types");
        let texts: Vec<_> =
            golden.tokens.iter().zip(&types).map(|(tokens, types)| EncoderInput { tokens, types }).collect();
        for (name, kind, normalise) in poolings {
            let output = EncoderOutput::Embedding(Pooling { kind, normalise });
            for (form, mut encoder) in forms(&config, &weights, output) {
                let expected: Vec<Vec<f32>> = golden.get(name);
                assert_close(&encoder.run(&texts).unwrap(), &expected, &format!("{family} {name} {form}"));
                // Neighbours and padding do not matter.
                let alone: Vec<_> = texts.iter().flat_map(|text| encoder.run(&[*text]).unwrap()).collect();
                assert_close(&alone, &expected, &format!("{family} {name} {form}, one by one"));
            }
        }
        let [mut primitive, mut fused] = forms(&config, &weights, EncoderOutput::States).map(|(_, encoder)| encoder);
        let states = fused.run(&texts).unwrap();
        assert_eq!(states[1].len(), texts[1].tokens.len() * config.width, "of its own tokens only");
        assert_close(&states, &primitive.run(&texts).unwrap(), &format!("{family} states"));
    }
}

#[test]
fn scores_are_those_of_transformers() {
    for family in ["bert_reranker", "xlm_roberta_classifier"] {
        let golden = Golden::read(family);
        let (config, weights) = model(&golden);
        let types: Vec<Vec<u32>> = golden.get("types");
        let texts: Vec<_> =
            golden.tokens.iter().zip(&types).map(|(tokens, types)| EncoderInput { tokens, types }).collect();
        for (form, mut encoder) in forms(&config, &weights, EncoderOutput::Scores) {
            let scores = encoder.run(&texts).unwrap();
            assert_close(&scores, &golden.get::<Vec<Vec<f32>>>("scores"), &format!("{family} {form}"));
        }
    }
}

/// The other activations have operators of their own in the fused form.
#[test]
fn both_forms_agree_for_every_activation() {
    let mut golden = Golden::read("bert");
    for activation in ["gelu_new", "silu", "relu"] {
        golden.config["hidden_act"] = activation.into();
        let (config, weights) = model(&golden);
        let texts: Vec<_> = golden.tokens.iter().map(|tokens| EncoderInput { tokens, types: &[] }).collect();
        let [mut primitive, mut fused] = forms(&config, &weights, EncoderOutput::States).map(|(_, encoder)| encoder);
        assert_close(&fused.run(&texts).unwrap(), &primitive.run(&texts).unwrap(), activation);
    }
}

#[test]
fn a_folder_is_written_as_transformers_wrote_it() {
    for family in ["bert_reranker", "xlm_roberta_classifier"] {
        let golden = Golden::read(family);
        let (config, weights) = model(&golden);
        let dir = tempfile::tempdir().unwrap();
        let config = ModelConfig::Encoder(config);
        ModelFolder::write(dir.path(), &config, &weights, &FolderParts::default()).unwrap();
        let bytes = std::fs::read(dir.path().join("model.safetensors")).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        for (name, shape, numbers) in golden.values() {
            let found = file.tensor(&name).unwrap();
            let expected: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
            assert!(found.shape() == shape && found.data() == expected, "{family} {name}");
        }
        assert_eq!(file.len(), golden.tensors.len(), "{family}");
        let folder = ModelFolder::open(dir.path()).unwrap();
        assert_eq!((folder.config(), folder.weights().unwrap().digest()), (&config, weights.digest()), "{family}");
    }
}

#[test]
fn texts_that_cannot_be_are_refused() {
    let golden = Golden::read("bert");
    let (config, weights) = model(&golden);
    let mut encoder = Encoder::open(&runtime(), &config, &weights, EncoderOutput::States).unwrap();
    assert!(encoder.run(&[]).unwrap().is_empty());
    let long = vec![1; 33];
    for (tokens, types, expected) in [
        (&[][..], &[][..], "`text` is 0 tokens long, expected 1 to 32"),
        (&long, &[], "`text` is 33 tokens long"),
        (&[5, 53], &[], "`token` is 53, expected an id below 53"),
        (&[5, 6], &[0], "`types` is 1, expected as many as tokens (2)"),
        (&[5, 6], &[0, 2], "`types` is 2, expected below 2"),
    ] {
        let message = encoder.run(&[EncoderInput { tokens, types }]).unwrap_err().to_string();
        assert!(message.starts_with(expected), "{message}");
    }
    let tokens = vec![1; 32];
    let text = EncoderInput { tokens: &tokens, types: &[] };
    let message = encoder.run(&vec![text; (1 << 15) + 1]).unwrap_err().to_string();
    assert!(message.contains("at most 1048576 tokens together"), "{message}");
    let refused = Encoder::open(&runtime(), &config, &weights, EncoderOutput::Scores).err().unwrap().to_string();
    assert!(refused.contains("no classification head"), "{refused}");
    let (config, weights) = model(&Golden::read("bert_reranker"));
    let pooling = Pooling { kind: PoolingKind::Cls, normalise: false };
    let refused = Encoder::open(&runtime(), &config, &weights, EncoderOutput::Embedding(pooling)).err().unwrap();
    assert!(refused.to_string().contains("has a classification head"), "{refused}");
}

/// What sentence-transformers gives for the real model: `make_minilm.py` wrote it.
#[derive(Deserialize)]
struct MiniLm {
    texts: Vec<String>,
    tokens: Vec<Vec<u32>>,
    /// As multiples of `scale`.
    embeddings: Vec<Vec<i32>>,
    scale: f32,
}

fn minilm() -> PathBuf {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.cache/models/all-MiniLM-L6-v2");
    assert!(ModelFolder::is_model(&dir), "{} holds no model: run `make setup`", dir.display());
    dir
}

#[test]
fn the_real_minilm_embeds_as_sentence_transformers_does() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/minilm.json");
    let golden: MiniLm = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let folder = ModelFolder::open(&minilm()).unwrap();
    let pooling = folder.pooling().unwrap();
    assert_eq!(pooling, Pooling { kind: PoolingKind::Mean, normalise: true });
    assert_eq!(folder.texts().tokens_max, Some(256));
    let ModelConfig::Encoder(config) = folder.config().clone() else { panic!("an encoder") };
    let output = EncoderOutput::Embedding(pooling);
    let texts: Vec<_> = golden.tokens.iter().map(|tokens| EncoderInput { tokens, types: &[] }).collect();
    assert_eq!((texts.len(), config.width), (golden.texts.len(), 384));
    let mut primitive = Encoder::primitive(&runtime(), &config, folder.weights().unwrap(), output).unwrap();
    let mut fused = Encoder::open_folder(&runtime(), &folder, output).unwrap();
    for (form, found) in [("primitive", primitive.run(&texts).unwrap()), ("fused", fused.run(&texts).unwrap())] {
        for ((found, expected), text) in found.iter().zip(&golden.embeddings).zip(&golden.texts) {
            let expected: Vec<f32> = expected.iter().map(|&x| x as f32 * golden.scale).collect();
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
            let cosine = dot(found, &expected) / (dot(found, found) * dot(&expected, &expected)).sqrt();
            assert!(cosine > 0.999_99, "{form} {cosine}: {text}");
            assert!((dot(found, found) - 1.0).abs() < 1e-5, "{form}: of length 1");
        }
    }
}
