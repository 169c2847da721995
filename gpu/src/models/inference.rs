//! The graphs that only read a model: scoring whole rows, reading prompts, and one more token with a cache.
//! Keys and values leave a graph as [rows, kv heads, length, head width]; where they enter, keys are transposed.

use super::DecoderConfig;
use super::decoder::{self, Cache, Masks, Parameters, Sequence};
use crate::graph::{Builder, CrossEntropy, ElementType, Graph, Value};

use ElementType::{F32, I64};

/// Names of the cache of one layer on its way out of and into a graph.
#[derive(Clone, Debug)]
pub(crate) struct CacheNames {
    pub(crate) keys: String,
    pub(crate) values: String,
    pub(crate) past_keys: String,
    pub(crate) past_values: String,
}

impl CacheNames {
    pub(crate) fn of_layers(config: &DecoderConfig) -> Vec<Self> {
        (0..config.layers)
            .map(|layer| Self {
                keys: format!("keys.{layer}"),
                values: format!("values.{layer}"),
                past_keys: format!("past_keys.{layer}"),
                past_values: format!("past_values.{layer}"),
            })
            .collect()
    }
}

/// `tokens`, `positions`, `segments` [rows, length] to `logits` [rows·length, vocabulary].
pub(crate) fn logits_graph(config: &DecoderConfig, rows: usize, length: usize) -> Graph {
    let mut b = Builder::new("decoder_logits");
    let parameters = Parameters::declare(&mut b, config);
    let [tokens, positions, segments] =
        ["tokens", "positions", "segments"].map(|name| b.input(name, I64, &[rows, length]));
    let masks = Masks::packed(&mut b, config, segments);
    let sequence = Sequence::new(&mut b, config, (rows, length), positions, masks);
    let logits = decoder::forward(&mut b, config, &parameters, tokens, &sequence);
    b.output("logits", logits);
    b.finish()
}

/// `tokens`, `targets`, `positions`, `segments` [rows, length] to `surprise` [rows·length]: -log p(target) in nats, 0
/// where ignored.
pub(crate) fn score_graph(config: &DecoderConfig, rows: usize, length: usize) -> Graph {
    let mut b = Builder::new("decoder_score");
    let parameters = Parameters::declare(&mut b, config);
    let [tokens, targets, positions, segments] =
        ["tokens", "targets", "positions", "segments"].map(|name| b.input(name, I64, &[rows, length]));
    let masks = Masks::packed(&mut b, config, segments);
    let sequence = Sequence::new(&mut b, config, (rows, length), positions, masks);
    let logits = decoder::forward(&mut b, config, &parameters, tokens, &sequence);
    let targets = b.reshape(targets, &[rows * length]);
    let loss = CrossEntropy::new(&mut b, logits, targets);
    b.output("surprise", loss.per_row);
    b.finish()
}

/// Prompts, one a row and padded at the end: `tokens`, `positions`, `segments` [rows, length] and `last` [rows], the
/// index of each row's last token among all rows·length, to `logits` [rows, vocabulary] and every layer's cache.
pub(crate) fn prompt_graph(config: &DecoderConfig, rows: usize, length: usize) -> Graph {
    let mut b = Builder::new("decoder_prompt");
    let parameters = Parameters::declare(&mut b, config);
    let [tokens, positions, segments] =
        ["tokens", "positions", "segments"].map(|name| b.input(name, I64, &[rows, length]));
    let last = b.input("last", I64, &[rows]);
    let masks = Masks::packed(&mut b, config, segments);
    let sequence = Sequence::new(&mut b, config, (rows, length), positions, masks);
    let x = layers(&mut b, config, &parameters, tokens, &sequence, |_, _| None);
    let x = b.gather(x, last, 0);
    let logits = decoder::head(&mut b, config, &parameters, x);
    b.output("logits", logits);
    b.finish()
}

/// One token a row after a past of up to `capacity`: `tokens`, `positions` [rows, 1] and the cache to `logits`
/// [rows, vocabulary] and this token's part of the cache. A row's position is the length of its past.
pub(crate) fn token_graph(config: &DecoderConfig, rows: usize, capacity: usize) -> Graph {
    let mut b = Builder::new("decoder_token");
    let parameters = Parameters::declare(&mut b, config);
    let [tokens, positions] = ["tokens", "positions"].map(|name| b.input(name, I64, &[rows, 1]));
    let masks = Masks::past(&mut b, config, positions, capacity);
    let sequence = Sequence::new(&mut b, config, (rows, 1), positions, masks);
    let (heads, size) = (config.kv_heads(), config.head_width());
    let x = layers(&mut b, config, &parameters, tokens, &sequence, |b, names| {
        Some(Cache {
            keys: b.input(&names.past_keys, F32, &[rows, heads, size, capacity]),
            values: b.input(&names.past_values, F32, &[rows, heads, capacity, size]),
        })
    });
    let logits = decoder::head(&mut b, config, &parameters, x);
    b.output("logits", logits);
    b.finish()
}

/// Copies of all parameters under other names: how weights get to a device to stay there.
pub(crate) fn upload_graph(config: &DecoderConfig) -> Graph {
    let mut b = Builder::new("decoder_upload");
    let parameters = Parameters::declare(&mut b, config);
    let named: Vec<(String, Value)> = parameters.iter().map(|(name, value)| (uploaded(name), value)).collect();
    named.iter().for_each(|(name, value)| b.output(name, *value));
    b.finish()
}

pub(crate) fn uploaded(name: &str) -> String {
    format!("uploaded.{name}")
}

fn layers(
    b: &mut Builder,
    config: &DecoderConfig,
    parameters: &Parameters,
    tokens: Value,
    sequence: &Sequence,
    past: impl Fn(&mut Builder, &CacheNames) -> Option<Cache>,
) -> Value {
    let embedded = decoder::embed(b, parameters, tokens);
    let mut x = decoder::place(b, config, parameters, embedded, sequence);
    for (index, names) in CacheNames::of_layers(config).iter().enumerate() {
        let past = past(b, names);
        let (next, own) = decoder::layer(b, config, parameters, index, x, sequence, past);
        b.output(&names.keys, own.keys);
        b.output(&names.values, own.values);
        x = next;
    }
    x
}
