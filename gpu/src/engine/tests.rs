//! The fused form must not show: its logits equal those of the primitive form, in chunks and token by token.

use super::Quantisation;
use super::session::{DecoderSession, Step};
use crate::graph::{Builder, ElementType};
use crate::models::decoder::{self, Parameters, Sequence};
use crate::{CounterRng, DecoderConfig, Feed, Runtime, RuntimeOptions, Weights};

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
    vec![
        ("llama", base()),
        ("heads of sixteen", DecoderConfig { heads: 2, ..base() }),
        ("untied", DecoderConfig { tied_embeddings: false, ..base() }),
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
    let mut b = Builder::new("primitive");
    let shape = [1, tokens.len()];
    let parameters = Parameters::declare(&mut b, config);
    let [ids, positions, segments] =
        ["tokens", "positions", "segments"].map(|name| b.input(name, ElementType::I64, &shape));
    let mask = decoder::packed_mask(&mut b, segments);
    let sequence = Sequence::new(&mut b, config, (1, tokens.len()), positions, mask);
    let logits = decoder::forward(&mut b, config, &parameters, ids, &sequence);
    b.output("logits", logits);
    let ids: Vec<i64> = tokens.iter().map(|&token| i64::from(token)).collect();
    let positions: Vec<i64> = (0..tokens.len() as i64).collect();
    let ones = vec![1i64; tokens.len()];
    let mut feeds: Vec<_> = weights.iter().map(|(name, tensor)| (name, Feed::F32(&tensor.data))).collect();
    feeds.extend([("tokens", Feed::I64(&ids)), ("positions", Feed::I64(&positions)), ("segments", Feed::I64(&ones))]);
    runtime.session(&b.finish()).unwrap().run(&feeds).unwrap().take_f32("logits").unwrap()
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

/// In fewer bits, logits stay near; further away in 4 than in 8.
#[test]
fn quantised_logits_are_near() {
    let runtime = runtime();
    let (_, config) = configs().remove(0);
    let weights = weights(&config);
    let tokens = text(1, 60);
    let expected = primitive(&runtime, &config, &weights, &tokens);
    let of = |quantise| {
        let mut session =
            DecoderSession::open(&runtime, &config, &weights, Some(quantise), (1, config.context)).unwrap();
        difference(&fused(&mut session, 0, &tokens, &[32]), &expected)
    };
    let (four, eight) = (of(Quantisation::Bits4), of(Quantisation::Bits8));
    assert!(eight < 0.05 && four < 0.6 && eight < four, "8 bits {eight}, 4 bits {four}");
}
