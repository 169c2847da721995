//! Rows under generation: runs the prompt and token graphs in fixed shape buckets and keeps the cache.

use super::cache::{Cache, Shape};
use super::{Generator, Stage};
use crate::models::inference::CacheNames;
use crate::{Error, Feed, Outputs};

/// Padding of prompts, in tokens, while they are short.
const PROMPT_STEP: usize = 32;
/// Growth of the cache, in positions, while it is small.
const CAPACITY_STEP: usize = 64;

/// The rows of one call, each in a slot. Slots are numbered from 0 without gaps.
pub(super) struct Decoding<'a> {
    generator: &'a Generator,
    names: Vec<CacheNames>,
    slots_max: usize,
    cache: Cache,
    /// Positions in the cache, per slot.
    lengths: Vec<usize>,
}

impl<'a> Decoding<'a> {
    pub(super) fn new(generator: &'a Generator, slots_max: usize) -> Self {
        let config = &generator.config;
        let shape = Shape { layers: config.layers, heads: config.heads, head_width: config.head_width() };
        let slots_max = slots_max.next_power_of_two();
        Self {
            generator,
            names: CacheNames::of_layers(config),
            slots_max,
            cache: Cache::new(shape),
            lengths: Vec::new(),
        }
    }

    /// Reads prompts into new slots. Gives the logits after each prompt, [prompts, vocabulary].
    pub(super) fn admit(&mut self, prompts: &[&[u32]]) -> Result<Vec<f32>, Error> {
        let longest = prompts.iter().map(|prompt| prompt.len()).max().expect("there are prompts");
        let rows = prompts.len().next_power_of_two();
        let length = bucket(longest, PROMPT_STEP, self.generator.config.context);
        let mut tokens = vec![0i64; rows * length];
        let (mut positions, mut segments) = (tokens.clone(), tokens.clone());
        let mut last: Vec<i64> = (0..rows).map(|row| (row * length) as i64).collect();
        for (row, prompt) in prompts.iter().enumerate() {
            for (at, &token) in prompt.iter().enumerate() {
                tokens[row * length + at] = i64::from(token);
                positions[row * length + at] = at as i64;
                segments[row * length + at] = 1;
            }
            last[row] += prompt.len() as i64 - 1;
        }
        let feeds = [
            ("tokens", Feed::I64(&tokens)),
            ("positions", Feed::I64(&positions)),
            ("segments", Feed::I64(&segments)),
            ("last", Feed::I64(&last)),
        ];
        let mut outputs = self.generator.run(Stage::Prompt { rows, length }, &feeds)?;
        let first = self.lengths.len();
        self.make_room(longest)?;
        self.lengths.extend(prompts.iter().map(|prompt| prompt.len()));
        let stored: Vec<_> = (0..prompts.len()).map(|row| (first + row, 0, prompts[row].len())).collect();
        self.store(&mut outputs, length, &stored)?;
        self.logits(&mut outputs, prompts.len())
    }

    /// Appends one token to each slot. Gives the logits after it, [slots, vocabulary].
    pub(super) fn advance(&mut self, tokens: &[u32]) -> Result<Vec<f32>, Error> {
        assert_eq!(tokens.len(), self.lengths.len(), "one token a slot");
        self.make_room(0)?;
        let rows = tokens.len().next_power_of_two();
        let mut ids: Vec<i64> = tokens.iter().map(|&token| i64::from(token)).collect();
        let mut positions: Vec<i64> = self.lengths.iter().map(|&length| length as i64).collect();
        ids.resize(rows, 0);
        positions.resize(rows, 0);
        let mut feeds = vec![("tokens", Feed::I64(&ids)), ("positions", Feed::I64(&positions))];
        for (layer, names) in self.names.iter().enumerate() {
            feeds.push((&names.past_keys, Feed::F32(self.cache.keys(layer, rows))));
            feeds.push((&names.past_values, Feed::F32(self.cache.values(layer, rows))));
        }
        let stage = Stage::Token { rows, capacity: self.cache.capacity() };
        let mut outputs = self.generator.run(stage, &feeds)?;
        let stored: Vec<_> = self.lengths.iter().enumerate().map(|(slot, &length)| (slot, length, 1)).collect();
        self.store(&mut outputs, 1, &stored)?;
        self.lengths.iter_mut().for_each(|length| *length += 1);
        self.logits(&mut outputs, tokens.len())
    }

    /// Positions of a slot: its prompt and the tokens fed since.
    pub(super) fn length(&self, slot: usize) -> usize {
        self.lengths[slot]
    }

    /// Frees a slot; the last one takes its number, as in `Vec::swap_remove`.
    pub(super) fn retire(&mut self, slot: usize) {
        self.lengths.swap_remove(slot);
        if slot < self.lengths.len() {
            self.cache.move_slot(self.lengths.len(), slot);
        }
    }

    /// Room for the present rows and one of `length`, each with one position more.
    fn make_room(&mut self, length: usize) -> Result<(), Error> {
        let longest = self.lengths.iter().copied().max().unwrap_or(0).max(length);
        let context = self.generator.config.context;
        if longest >= context {
            return Err(Error::invalid("positions", longest + 1, format!("at most the model's context ({context})")));
        }
        if longest >= self.cache.capacity() {
            self.cache.resize(self.slots_max, bucket(longest + 1, CAPACITY_STEP, context), &self.lengths);
        }
        Ok(())
    }

    /// Takes the cache that a run put out: for each (slot, start, count), in the order of the graph's rows.
    fn store(&mut self, outputs: &mut Outputs, stride: usize, rows: &[(usize, usize, usize)]) -> Result<(), Error> {
        let row_floats = self.generator.config.width * stride;
        for (layer, names) in self.names.iter().enumerate() {
            let (keys, values) = (outputs.take(&names.keys)?, outputs.take(&names.values)?);
            let cache = &mut self.cache;
            keys.with_f32(|keys| {
                values.with_f32(|values| {
                    for (row, &(slot, start, count)) in rows.iter().enumerate() {
                        let own = row * row_floats..(row + 1) * row_floats;
                        cache.store(layer, slot, (start, count), stride, (&keys[own.clone()], &values[own]));
                    }
                })
            })??;
        }
        Ok(())
    }

    fn logits(&self, outputs: &mut Outputs, rows: usize) -> Result<Vec<f32>, Error> {
        let mut logits = outputs.take_f32("logits")?;
        logits.truncate(rows * self.generator.config.vocabulary);
        Ok(logits)
    }
}

/// The least of a few sizes that holds `count`: multiples of `step`, coarser as they grow, so that the number of
/// buckets grows with the logarithm of the limit and at most a ninth of a large one is padding.
fn bucket(count: usize, step: usize, limit: usize) -> usize {
    let step = step.max(count.next_power_of_two() / 16);
    count.next_multiple_of(step).min(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_few_and_hold() {
        let mut sizes: Vec<usize> = (1..=8_192).map(|count| bucket(count, 32, 8_192)).collect();
        assert!(sizes.iter().enumerate().all(|(at, &size)| size > at && size <= 8_192));
        assert!((1_000..8_192).all(|count| bucket(count, 32, 8_192) - count <= count / 8));
        sizes.dedup();
        assert!(sizes.len() <= 64, "{}", sizes.len());
        assert_eq!([bucket(1, 32, 384), bucket(33, 32, 384), bucket(380, 32, 381)], [32, 64, 381]);
    }
}
