//! The fused form must not show: its logits equal those of the primitive form, in chunks and token by token.

use super::session::{DecoderSession, Step};
use super::{Quantisation, WeightSource, quantise};
use crate::{
    Activation, CounterRng, DecoderConfig, DecoderFamily, FolderParts, Forward, ModelConfig, ModelFolder, Norm,
    Positions, RopeScaling, Runtime, RuntimeOptions, Tensor, Weights,
};

const VOCABULARY: usize = 97;

fn base() -> DecoderConfig {
    DecoderConfig {
        layers: 3,
        width: 32,
        heads: 4,
        feed_forward: 48,
        vocabulary: VOCABULARY,
        context: 96,
        ..DecoderConfig::default()
    }
}

fn configs() -> Vec<(&'static str, DecoderConfig)> {
    let llama3 = RopeScaling::Llama3 { factor: 8.0, low_freq_factor: 1.0, high_freq_factor: 4.0, original_context: 32 };
    let gpt2 = DecoderConfig {
        family: DecoderFamily::Gpt2,
        positions: Positions::Learned,
        norm: Norm::Layer,
        activation: Activation::GeluTanh,
        plain_feed_forward: true,
        qkv_bias: true,
        out_bias: true,
        mlp_bias: true,
        ..base()
    };
    vec![
        ("llama 2", base()),
        ("heads of sixteen", DecoderConfig { heads: 2, ..base() }),
        ("llama 3", DecoderConfig { kv_heads: Some(2), rope_scaling: Some(llama3), ..base() }),
        ("untied", DecoderConfig { tied_embeddings: false, head_width: Some(16), ..base() }),
        ("biases", DecoderConfig { qkv_bias: true, out_bias: true, mlp_bias: true, ..base() }),
        ("mistral", DecoderConfig { sliding_window: Some(7), kv_heads: Some(1), head_width: Some(32), ..base() }),
        ("windows", DecoderConfig { sliding_window: Some(5), window_layers: vec![1], ..base() }),
        ("qwen 2", DecoderConfig { qkv_bias: true, kv_heads: Some(2), head_width: Some(16), ..base() }),
        ("qwen 3", DecoderConfig { qk_norm: true, kv_heads: Some(2), head_width: Some(16), ..base() }),
        ("qwen 3, narrow heads", DecoderConfig { qk_norm: true, kv_heads: Some(2), ..base() }),
        ("gpt 2", gpt2.clone()),
        ("relu", DecoderConfig { activation: Activation::Relu, ..gpt2 }),
        ("gelu", DecoderConfig { activation: Activation::Gelu, ..base() }),
    ]
}

/// Large enough weights that logits differ by much more than the tolerance; norms and biases that matter.
fn weights(config: &DecoderConfig) -> Weights {
    let mut weights = Weights::initialize(config, 3);
    for (number, (name, shape)) in config.parameter_shapes().into_iter().enumerate() {
        let tensor = weights.get_mut(&name).unwrap();
        let mut rng = CounterRng::new(5, number as u64);
        match shape.len() {
            2 => tensor.data.iter_mut().for_each(|value| *value *= 10.0),
            _ => tensor.data.iter_mut().for_each(|value| *value += 0.3 * rng.next_normal() as f32),
        }
    }
    weights
}

fn runtime() -> Runtime {
    Runtime::load(&RuntimeOptions::default()).unwrap()
}

fn text(seed: u64, length: usize) -> Vec<u32> {
    let mut rng = CounterRng::new(seed, 77);
    (0..length).map(|_| rng.next_below(VOCABULARY as u64) as u32).collect()
}

/// Logits at every position of one text by the primitive form: [length, vocabulary].
fn primitive(runtime: &Runtime, config: &DecoderConfig, weights: &Weights, tokens: &[u32]) -> Vec<f32> {
    Forward::new(runtime, config, weights.clone()).unwrap().logits(tokens).unwrap()
}

/// Logits at every position by the fused form, read in pieces of these lengths, then token by token.
fn fused(session: &mut DecoderSession, slot: usize, tokens: &[u32], pieces: &[usize]) -> Vec<f32> {
    let mut logits = Vec::new();
    let mut at = 0;
    let pieces = pieces.iter().copied().chain(std::iter::repeat(1));
    for piece in pieces {
        if at == tokens.len() {
            return logits;
        }
        let end = (at + piece).min(tokens.len());
        let read: Vec<usize> = (0..end - at).collect();
        let step = Step { first: slot, tokens: &tokens[at..end], starts: &[at], read: &read };
        logits.extend_from_slice(session.run(&step).unwrap());
        at = end;
    }
    unreachable!("pieces do not end")
}

/// The largest difference, in proportion to the largest logit.
fn difference(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0f32, |most, x| most.max(x.abs()));
    assert!(largest > 0.3, "logits within {largest} of 0 could not tell right from wrong");
    found.iter().zip(expected).map(|(found, expected)| (found - expected).abs()).fold(0.0, f32::max) / largest
}

#[test]
fn fused_logits_equal_primitive_logits_in_every_family() {
    let runtime = runtime();
    for (name, config) in configs() {
        let weights = weights(&config);
        let mut session = DecoderSession::open(&runtime, &config, &weights, None, (3, config.context)).unwrap();
        let tokens = text(1, 70);
        let expected = primitive(&runtime, &config, &weights, &tokens);
        for (slot, pieces) in [(0, vec![70]), (2, vec![16, 16, 16, 1]), (1, vec![]), (2, vec![33, 20])] {
            let found = difference(&fused(&mut session, slot, &tokens, &pieces), &expected);
            assert!(found < 1e-5, "{name} in pieces of {pieces:?}: {found}");
        }
    }
}

/// In the graph, in the model's own file, in a passing file: wherever constants lie, whole or quantised.
#[test]
fn where_weights_lie_does_not_show() {
    let runtime = runtime();
    let folder = std::env::temp_dir().join(format!("cairn-gpu-{}-places", std::process::id()));
    for config in [base(), DecoderConfig { qk_norm: true, kv_heads: Some(2), family: DecoderFamily::Qwen3, ..base() }] {
        let weights = weights(&config);
        ModelFolder::write(&folder, &ModelConfig::Decoder(config.clone()), &weights, &FolderParts::default()).unwrap();
        let stored = ModelFolder::open(&folder).unwrap();
        let tokens = text(4, 50);
        let run = |source: &dyn WeightSource, quantise, inline_bytes_max| {
            let room = (1, config.context);
            let mut session =
                DecoderSession::open_with(&runtime, &config, source, quantise, room, inline_bytes_max).unwrap();
            (fused(&mut session, 0, &tokens, &[20, 20]), session.weight_bytes())
        };
        for quantise in [None, Some(Quantisation::Bits8)] {
            let (expected, bytes) = run(&weights, quantise, u64::MAX);
            for (source, inline) in [(&weights as &dyn WeightSource, 0), (&stored, 0), (&stored, u64::MAX)] {
                let (found, placed) = run(source, quantise, inline);
                assert_eq!(placed, bytes);
                assert!(difference(&found, &expected) < 1e-6, "{quantise:?}");
            }
        }
        assert!(WeightSource::in_file(&stored, "model.embed_tokens.weight").is_some(), "it can be used as it lies");
    }
    let left: Vec<_> = std::fs::read_dir(std::env::temp_dir()).unwrap().flatten().collect();
    let ours = format!("cairn-weights-{}-", std::process::id());
    assert!(left.iter().all(|entry| !entry.file_name().to_string_lossy().starts_with(&ours)), "a passing file stayed");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn several_prompts_are_read_at_once_and_rows_are_apart() {
    let runtime = runtime();
    for (name, config) in configs() {
        let weights = weights(&config);
        let mut session = DecoderSession::open(&runtime, &config, &weights, None, (3, config.context)).unwrap();
        let texts = [text(1, 12), text(2, 40), text(3, 27)];
        let whole: Vec<Vec<f32>> = texts.iter().map(|text| primitive(&runtime, &config, &weights, text)).collect();
        let mut padded = Vec::new();
        let mut read = Vec::new();
        for (row, text) in texts.iter().enumerate() {
            padded.extend_from_slice(text);
            padded.resize((row + 1) * 40, 0);
            read.push(row * 40 + text.len() - 1);
        }
        let found = session.run(&Step { first: 0, tokens: &padded, starts: &[0, 0, 0], read: &read }).unwrap();
        for (row, found) in found.chunks_exact(VOCABULARY).enumerate() {
            let expected = &whole[row][(texts[row].len() - 1) * VOCABULARY..];
            let found = difference(found, expected);
            assert!(found < 1e-5, "{name}, row {row}: {found}");
        }
    }
}

/// In fewer bits: what the weights became is what is computed with, to the accuracy of an input in 8 bits.
#[test]
fn quantised_logits_are_those_of_the_quantised_weights() {
    let runtime = runtime();
    let config = DecoderConfig { tied_embeddings: false, ..base() };
    let weights = weights(&config);
    let tokens = text(1, 60);
    let exact = primitive(&runtime, &config, &weights, &tokens);
    let mut losses = Vec::new();
    for quantise in [Quantisation::Bits8, Quantisation::Bits4] {
        let rounded: Weights =
            weights.iter().map(|(name, tensor)| (name.to_owned(), rounded(name, tensor, quantise))).collect();
        let expected = primitive(&runtime, &config, &rounded, &tokens);
        let mut session =
            DecoderSession::open(&runtime, &config, &weights, Some(quantise), (1, config.context)).unwrap();
        let found = fused(&mut session, 0, &tokens, &[32]);
        let (from_rounded, from_exact) = (difference(&found, &expected), difference(&found, &exact));
        assert!(from_rounded < 0.1, "{quantise:?}: {from_rounded} from the same weights, {from_exact} from whole ones");
        losses.push(from_exact);
    }
    assert!(losses[0] < losses[1] / 3.0, "{losses:?}");
}

/// A matrix after it was quantised; the table of embeddings stays, and this model's output is a matrix of its own.
fn rounded(name: &str, tensor: &Tensor, quantise: Quantisation) -> Tensor {
    if tensor.shape.len() != 2 || name.contains("embed") {
        return tensor.clone();
    }
    let (inputs, bits) = (tensor.shape[1], quantise.bits());
    let blocks = quantise::quantise(&tensor.data, inputs, quantise);
    let numbers = |packed: &[u8]| -> Vec<f32> {
        let of = |byte: &u8| if bits == 8 { vec![*byte] } else { vec![byte & 15, byte >> 4] };
        packed.iter().flat_map(of).map(f32::from).collect()
    };
    let per_row = inputs.div_ceil(quantise::BLOCK);
    let packed = numbers(&blocks.packed);
    let zeros: Vec<f32> =
        blocks.zeros.chunks((per_row * bits).div_ceil(8)).flat_map(|row| numbers(row)[..per_row].to_vec()).collect();
    let data = (0..tensor.data.len()).map(|at| {
        let block = at / inputs * per_row + at % inputs / quantise::BLOCK;
        (packed[block * quantise::BLOCK + at % inputs % quantise::BLOCK] - zeros[block]) * blocks.scales[block]
    });
    Tensor { shape: tensor.shape.clone(), data: data.collect() }
}
