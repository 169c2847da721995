//! The cache must not show: logits with it equal logits without it.

use super::decoding::Decoding;
use super::*;
use crate::graph::{Builder, ElementType};
use crate::models::decoder::{self, Masks, Parameters, Sequence};
use crate::{CounterRng, RuntimeOptions, Tensor};

fn config(tied_embeddings: bool) -> DecoderConfig {
    DecoderConfig {
        layers: 2,
        width: 32,
        heads: 2,
        feed_forward: 48,
        vocabulary: 97,
        context: 150,
        tied_embeddings,
        ..DecoderConfig::default()
    }
}

/// Large enough weights that logits differ by much more than the tolerance.
fn weights(config: &DecoderConfig) -> Weights {
    let mut weights = Weights::initialize(config, 3);
    for (name, shape) in config.parameter_shapes() {
        if shape.len() == 2 {
            let tensor = weights.get(&name).unwrap();
            let data = tensor.data.iter().map(|value| value * 12.0).collect();
            weights.insert(name, Tensor { shape, data });
        }
    }
    weights
}

fn runtime() -> Runtime {
    Runtime::load(&RuntimeOptions::default()).unwrap()
}

fn prompt(seed: u64, length: usize) -> Vec<u32> {
    let mut rng = CounterRng::new(seed, 77);
    (0..length).map(|_| rng.next_below(97) as u32).collect()
}

/// Logits at every position of one sequence, without a cache: [length, vocabulary].
fn uncached(runtime: &Runtime, config: &DecoderConfig, weights: &Weights, tokens: &[u32]) -> Vec<f32> {
    let mut b = Builder::new("uncached");
    let shape = [1, tokens.len()];
    let parameters = Parameters::declare(&mut b, config);
    let [ids, positions, segments] =
        ["tokens", "positions", "segments"].map(|name| b.input(name, ElementType::I64, &shape));
    let masks = Masks::packed(&mut b, config, segments);
    let sequence = Sequence::new(&mut b, config, (1, tokens.len()), positions, masks);
    let logits = decoder::forward(&mut b, config, &parameters, ids, &sequence);
    b.output("logits", logits);
    let ids: Vec<i64> = tokens.iter().map(|&token| i64::from(token)).collect();
    let positions: Vec<i64> = (0..tokens.len() as i64).collect();
    let ones = vec![1i64; tokens.len()];
    let mut feeds: Vec<_> = weights.iter().map(|(name, tensor)| (name, Feed::F32(&tensor.data))).collect();
    feeds.extend([("tokens", Feed::I64(&ids)), ("positions", Feed::I64(&positions)), ("segments", Feed::I64(&ones))]);
    runtime.session(&b.finish()).unwrap().run(&feeds).unwrap().take_f32("logits").unwrap()
}

fn assert_close(found: &[f32], expected: &[f32], what: &str) {
    let spread = expected.iter().fold(0f32, |most, x| most.max(x.abs()));
    assert!(spread > 0.3, "{what}: logits within {spread} of 0 could not tell right from wrong");
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-4, "{what}: {found}, without a cache {expected}");
    }
}

#[test]
fn cached_logits_equal_uncached_logits() {
    let runtime = runtime();
    for tied in [true, false] {
        let (config, weights) = (config(tied), weights(&config(tied)));
        let generator = Generator::new(&runtime, &config, &weights).unwrap();
        // Ragged, admitted in two batches, with one row retired on the way; crosses a capacity bucket.
        let rows: Vec<Vec<u32>> =
            [(1, 70), (2, 100), (3, 78), (4, 67)].map(|(seed, length)| prompt(seed, length)).into();
        let expected: Vec<Vec<f32>> = rows.iter().map(|row| uncached(&runtime, &config, &weights, row)).collect();
        let expected = |row: usize, position: usize| &expected[row][position * 97..(position + 1) * 97];
        let mut decoding = Decoding::new(&generator, 4);
        let logits = decoding.admit(&[&rows[0][..5], &rows[1][..37], &rows[2][..18]]).unwrap();
        for (slot, length) in [5, 37, 18].into_iter().enumerate() {
            assert_close(&logits[slot * 97..(slot + 1) * 97], expected(slot, length - 1), "prompt");
        }
        let mut slots = vec![0, 1, 2];
        for step in 0..50 {
            if step == 9 {
                let logits = decoding.admit(&[&rows[3][..1]]).unwrap();
                assert_close(&logits, expected(3, 0), "later prompt");
                slots.push(3);
            }
            if step == 20 {
                decoding.retire(0);
                slots.swap_remove(0);
            }
            let fed: Vec<u32> = slots.iter().enumerate().map(|(slot, &row)| rows[row][decoding.length(slot)]).collect();
            let logits = decoding.advance(&fed).unwrap();
            for (slot, &row) in slots.iter().enumerate() {
                let position = decoding.length(slot) - 1;
                let what = format!("row {row} at {position}, tied {tied}");
                assert_close(&logits[slot * 97..(slot + 1) * 97], expected(row, position), &what);
            }
        }
    }
}
