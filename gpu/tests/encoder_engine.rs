//! Dynamic batching of an encoder: rows come back to whoever asked, in order, and as if they had run alone.

use std::sync::{Arc, LazyLock};

use cairn_gpu::{
    CounterRng, Encoded, Encoder, EncoderConfig, EncoderEngine, EncoderInput, EncoderOptions, EncoderOutput, Error,
    ModelConfig, Pooling, PoolingKind, Runtime, RuntimeOptions, Tensor, Weights,
};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::load(&RuntimeOptions::default()).unwrap());

fn config() -> EncoderConfig {
    serde_json::from_str(
        r#"{"layers":2,"width":32,"heads":2,"feed_forward":48,"vocabulary":80,"context":64,"position_offset":0,
            "token_types":2,"norm_eps":1e-12,"activation":"gelu","family":"bert","head":"none"}"#,
    )
    .unwrap()
}

fn encoder() -> Encoder {
    let mut rng = CounterRng::new(4, 0);
    let weights: Weights = ModelConfig::Encoder(config())
        .parameter_shapes()
        .into_iter()
        .map(|(name, shape)| {
            let mut tensor = Tensor::zeros(&shape);
            let mean = if name.ends_with("LayerNorm.weight") { 1.0 } else { 0.0 };
            tensor.data.fill_with(|| (mean + 0.3 * rng.next_normal()) as f32);
            (name, tensor)
        })
        .collect();
    let pooling = Pooling { kind: PoolingKind::Mean, normalise: true };
    Encoder::open(&RUNTIME, &config(), &weights, EncoderOutput::Embedding(pooling)).unwrap()
}

fn rows(seed: u64, count: usize) -> Vec<Encoded> {
    let mut rng = CounterRng::new(seed, 0);
    let row = |_| {
        let length = 1 + rng.next_below(64) as usize;
        let tokens = (0..length).map(|_| rng.next_below(80) as u32).collect();
        Encoded { tokens, types: vec![0; length], is_cut: false }
    };
    (0..count).map(row).collect()
}

#[test]
fn rows_of_many_callers_come_back_as_if_alone() {
    let mut alone = encoder();
    let engine = Arc::new(EncoderEngine::new(encoder(), EncoderOptions::default()).unwrap());
    let callers: Vec<_> = (0..6)
        .map(|seed| {
            let engine = engine.clone();
            std::thread::spawn(move || engine.run(rows(seed, 5 + 20 * seed as usize)).unwrap())
        })
        .collect();
    let mut largest = 0f32;
    for (seed, caller) in callers.into_iter().enumerate() {
        let found = caller.join().unwrap();
        let rows = rows(seed as u64, 5 + 20 * seed);
        assert_eq!(found.len(), rows.len());
        for (row, found) in rows.iter().zip(found) {
            let input = EncoderInput { tokens: &row.tokens, types: &row.types };
            let expected = alone.run(&[input]).unwrap().remove(0);
            let difference = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            largest = largest.max(difference);
        }
    }
    assert!(largest < 1e-6, "{largest} apart from the rows alone");
    assert_eq!(engine.waiting(), 0);
}

#[test]
fn what_cannot_be_run_is_refused_by_name() {
    let options = EncoderOptions { queue_rows_max: 10, row_tokens_max: 40 };
    let engine = EncoderEngine::new(encoder(), options).unwrap();
    let row = |tokens: Vec<u32>| Encoded { types: Vec::new(), tokens, is_cut: false };
    assert_eq!(engine.run(Vec::new()).unwrap(), Vec::<Vec<f32>>::new());
    for (tokens, expected) in [(vec![], "0 tokens"), (vec![1; 41], "41 tokens"), (vec![80], "80")] {
        let message = engine.run(vec![row(vec![1]), row(tokens)]).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
    assert!(matches!(engine.run(vec![row(vec![1]); 11]), Err(Error::Busy { waiting: 0 })));
    let wrong = Encoded { types: vec![2], tokens: vec![1], is_cut: false };
    assert!(matches!(engine.run(vec![wrong]), Err(Error::Failed { .. })));
    assert_eq!(engine.run(vec![row(vec![1]); 10]).unwrap().len(), 10, "what failed left its place");
}
