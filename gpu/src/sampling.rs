//! From logits to a token: greedy, or drawn after penalties, temperature, top-k, top-p and min-p, in that order.
//! A draw depends on (seed, row, position) and the row's own logits, never on the rest of the batch.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{CounterRng, Error, RngState};

/// Words of the generator set apart for one position.
const WORDS_PER_POSITION: u64 = 4;

/// Tokens put in order at first when looking for the likeliest that together have a probability.
const NUCLEUS_FIRST: usize = 256;
/// Of presence and frequency, as OpenAI limits them.
const PENALTY_MAX: f32 = 2.0;

/// How tokens are chosen and when to stop.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub struct Sampling {
    /// 0 always takes the likeliest token.
    pub temperature: f32,
    /// Only the k likeliest tokens.
    #[serde(default)]
    pub top_k: Option<u32>,
    /// Only the likeliest tokens that together have this probability.
    #[serde(default)]
    pub top_p: Option<f32>,
    #[serde(default)]
    pub seed: u64,
    pub max_new_tokens: usize,
    /// Tokens that end a row. They are not part of what is generated.
    #[serde(default)]
    pub stop: Vec<u32>,
    /// Only tokens at least this likely in proportion to the likeliest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_p: Option<f32>,
    /// Above 1: tokens of the prompt and the answer become less likely. Positive logits are divided by it, negative
    /// ones multiplied (Keskar et al., 2019).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repetition_penalty: Option<f32>,
    /// Taken off the logit of each token that the answer has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub presence_penalty: Option<f32>,
    /// Taken off the logit of a token for each time that the answer has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frequency_penalty: Option<f32>,
}

impl Sampling {
    /// The likeliest token each time, up to `max_new_tokens` or one of `stop`.
    pub fn greedy(max_new_tokens: usize, stop: Vec<u32>) -> Self {
        Self {
            temperature: 0.0,
            top_k: None,
            top_p: None,
            seed: 0,
            max_new_tokens,
            stop,
            min_p: None,
            repetition_penalty: None,
            presence_penalty: None,
            frequency_penalty: None,
        }
    }

    /// Refuses values without a meaning, naming the key.
    pub fn validate(&self) -> Result<(), Error> {
        if !(self.temperature.is_finite() && self.temperature >= 0.0) {
            return Err(Error::invalid("temperature", self.temperature, "0 (greedy) or a number above"));
        }
        if self.top_k == Some(0) {
            return Err(Error::invalid("top_k", 0, "at least 1, or none for no limit"));
        }
        if let Some(top_p) = self.top_p
            && !(top_p > 0.0 && top_p <= 1.0)
        {
            return Err(Error::invalid("top_p", top_p, "a probability above 0 and up to 1"));
        }
        if let Some(min_p) = self.min_p
            && !(0.0..=1.0).contains(&min_p)
        {
            return Err(Error::invalid("min_p", min_p, "a probability from 0 to 1"));
        }
        if let Some(penalty) = self.repetition_penalty
            && !(penalty.is_finite() && penalty > 0.0)
        {
            return Err(Error::invalid("repetition_penalty", penalty, "a number above 0; 1 changes nothing"));
        }
        for (key, penalty) in
            [("presence_penalty", self.presence_penalty), ("frequency_penalty", self.frequency_penalty)]
        {
            if let Some(penalty) = penalty
                && !(-PENALTY_MAX..=PENALTY_MAX).contains(&penalty)
            {
                return Err(Error::invalid(key, penalty, format!("a number from -{PENALTY_MAX} to {PENALTY_MAX}")));
            }
        }
        if self.max_new_tokens == 0 {
            return Err(Error::invalid("max_new_tokens", 0, "at least 1"));
        }
        Ok(())
    }

    /// The token after the one at `position - 1` of `row`. None if no logit is a number.
    pub(crate) fn choose(&self, logits: &[f32], row: usize, position: usize) -> Option<u32> {
        if self.temperature == 0.0 {
            return likeliest(logits);
        }
        let mut kept: Vec<(u32, f32)> =
            (0..).zip(logits.iter().copied()).filter(|(_, logit)| logit.is_finite()).collect();
        if let Some(top_k) = self.top_k {
            keep_top_k(&mut kept, top_k as usize);
        }
        let highest = kept.iter().map(|&(_, logit)| logit).fold(f32::NEG_INFINITY, f32::max);
        let share = |logit: f32| libm::exp(f64::from(logit - highest) / f64::from(self.temperature));
        let mut shares: Vec<f64> = match self.top_p {
            None => kept.iter().map(|&(_, logit)| share(logit)).collect(),
            Some(top_p) => keep_top_p(&mut kept, f64::from(top_p), share),
        };
        if let Some(min_p) = self.min_p {
            // The likeliest token's share is 1.
            let likely: Vec<bool> = shares.iter().map(|&share| share >= f64::from(min_p)).collect();
            kept = kept.iter().zip(&likely).filter(|(_, likely)| **likely).map(|(kept, _)| *kept).collect();
            shares = shares.iter().zip(&likely).filter(|(_, likely)| **likely).map(|(share, _)| *share).collect();
        }
        let drawn = self.uniform(row, position) * shares.iter().sum::<f64>();
        let mut reached = 0.0;
        let beyond = |&share: &f64| {
            reached += share;
            reached > drawn
        };
        let chosen = shares.iter().position(beyond).or(shares.len().checked_sub(1))?;
        Some(kept[chosen].0)
    }

    /// Whether what came before changes the logits.
    pub(crate) fn penalises(&self) -> bool {
        self.repetition_penalty.is_some() || self.presence_penalty.is_some() || self.frequency_penalty.is_some()
    }

    /// Applies the penalties to one row's logits.
    pub(crate) fn penalise(&self, logits: &mut [f32], prompt: &[u32], answer: &[u32]) {
        let mut counts: BTreeMap<u32, u32> = prompt.iter().map(|&token| (token, 0)).collect();
        answer.iter().for_each(|&token| *counts.entry(token).or_default() += 1);
        let repetition = self.repetition_penalty.unwrap_or(1.0);
        let (presence, frequency) = (self.presence_penalty.unwrap_or(0.0), self.frequency_penalty.unwrap_or(0.0));
        for (token, count) in counts {
            let Some(logit) = logits.get_mut(token as usize) else { continue };
            *logit = if *logit > 0.0 { *logit / repetition } else { *logit * repetition };
            if count > 0 {
                *logit -= presence + frequency * count as f32;
            }
        }
    }

    fn uniform(&self, row: usize, position: usize) -> f64 {
        let counter = (position as u64).wrapping_mul(WORDS_PER_POSITION);
        CounterRng::from_state(RngState { seed: self.seed, stream: row as u64, counter }).next_f64()
    }
}

/// Highest logit, lowest id among equals.
fn likeliest(logits: &[f32]) -> Option<u32> {
    let mut best: Option<(usize, f32)> = None;
    for (id, &logit) in logits.iter().enumerate() {
        if logit.is_finite() && best.is_none_or(|(_, highest)| logit > highest) {
            best = Some((id, logit));
        }
    }
    best.map(|(id, _)| id as u32)
}

fn keep_top_k(kept: &mut Vec<(u32, f32)>, top_k: usize) {
    if top_k < kept.len() {
        kept.select_nth_unstable_by(top_k - 1, likelier);
        kept.truncate(top_k);
    }
    kept.sort_unstable_by(likelier);
}

/// Keeps the likeliest that together have `top_p` of all shares, highest first, and gives their shares. Only as many as
/// it takes are put in order: of a whole vocabulary that would cost more than computing the logits.
fn keep_top_p(kept: &mut Vec<(u32, f32)>, top_p: f64, share: impl Fn(f32) -> f64) -> Vec<f64> {
    let enough = top_p * kept.iter().map(|&(_, logit)| share(logit)).sum::<f64>();
    let mut ordered = NUCLEUS_FIRST;
    loop {
        let all = ordered >= kept.len();
        match all {
            true => kept.sort_unstable_by(likelier),
            false => {
                kept.select_nth_unstable_by(ordered, likelier);
                kept[..ordered].sort_unstable_by(likelier);
            }
        }
        let mut shares = Vec::new();
        let mut reached = 0.0;
        for &(_, logit) in &kept[..ordered.min(kept.len())] {
            shares.push(share(logit));
            reached += shares[shares.len() - 1];
            if reached >= enough {
                break;
            }
        }
        if reached >= enough || all {
            kept.truncate(shares.len());
            return shares;
        }
        ordered *= 8;
    }
}

/// A total order: no two ids are equal, so sorting does not depend on the algorithm.
fn likelier(left: &(u32, f32), right: &(u32, f32)) -> Ordering {
    right.1.total_cmp(&left.1).then(left.0.cmp(&right.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGITS: [f32; 6] = [0.0, 2.0, -1.0, 2.0, 1.0, f32::NEG_INFINITY];

    fn sampling(temperature: f32, top_k: Option<u32>, top_p: Option<f32>) -> Sampling {
        Sampling { temperature, top_k, top_p, seed: 4, ..Sampling::greedy(1, Vec::new()) }
    }

    fn frequencies(sampling: &Sampling) -> Vec<f64> {
        let mut counts = [0u32; LOGITS.len()];
        let draws = 20_000;
        for position in 0..draws {
            counts[sampling.choose(&LOGITS, 3, position).unwrap() as usize] += 1;
        }
        counts.iter().map(|&count| f64::from(count) / draws as f64).collect()
    }

    fn assert_close(found: &[f64], expected: &[f64]) {
        let close = found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 0.015);
        assert!(close, "{found:?}, expected {expected:?}");
    }

    fn softmax(temperature: f64, kept: &[usize]) -> Vec<f64> {
        let weight = |id: usize| if kept.contains(&id) { (f64::from(LOGITS[id]) / temperature).exp() } else { 0.0 };
        let total: f64 = (0..LOGITS.len()).map(weight).sum();
        (0..LOGITS.len()).map(|id| weight(id) / total).collect()
    }

    #[test]
    fn greedy_takes_the_first_of_the_highest() {
        assert_eq!(sampling(0.0, None, None).choose(&LOGITS, 0, 0), Some(1));
        assert_eq!(sampling(0.0, None, None).choose(&[f32::NAN, -3.0], 0, 0), Some(1));
        assert_eq!(sampling(0.0, None, None).choose(&[f32::NAN], 0, 0), None);
        assert_eq!(sampling(1.0, None, None).choose(&[f32::NAN], 0, 0), None);
    }

    #[test]
    fn draws_follow_the_distribution() {
        assert_close(&frequencies(&sampling(1.0, None, None)), &softmax(1.0, &[0, 1, 2, 3, 4]));
        assert_close(&frequencies(&sampling(2.5, None, None)), &softmax(2.5, &[0, 1, 2, 3, 4]));
        assert_close(&frequencies(&sampling(1.0, Some(3), None)), &softmax(1.0, &[1, 3, 4]));
        assert_close(&frequencies(&sampling(1.0, Some(1), None)), &softmax(1.0, &[1]));
        assert_close(&frequencies(&sampling(1.0, Some(99), Some(1.0))), &softmax(1.0, &[0, 1, 2, 3, 4]));
        // Shares are about 0.40, 0.40, 0.15, 0.05, 0.02.
        assert_close(&frequencies(&sampling(1.0, None, Some(0.3))), &softmax(1.0, &[1]));
        assert_close(&frequencies(&sampling(1.0, None, Some(0.6))), &softmax(1.0, &[1, 3]));
        assert_close(&frequencies(&sampling(1.0, None, Some(0.9))), &softmax(1.0, &[1, 3, 4]));
        // Top-p counts within what top-k left: of 0.5 and 0.5, 0.6 needs both.
        assert_close(&frequencies(&sampling(1.0, Some(2), Some(0.6))), &softmax(1.0, &[1, 3]));
    }

    /// However many are put in order at a time, those kept are those of a whole sort.
    #[test]
    fn a_nucleus_is_that_of_a_whole_sort() {
        let mut rng = CounterRng::new(12, 0);
        let logits: Vec<(u32, f32)> = (0..5_000).map(|id| (id, (3.0 * rng.next_normal()) as f32)).collect();
        for top_p in [0.001, 0.2, 0.7, 0.95, 0.999_999, 1.0] {
            let share = |logit: f32| f64::from(logit).exp();
            let mut sorted = logits.clone();
            sorted.sort_unstable_by(likelier);
            let enough = top_p * logits.iter().map(|&(_, logit)| share(logit)).sum::<f64>();
            let mut reached = 0.0;
            let last = sorted.iter().position(|&(_, logit)| {
                reached += share(logit);
                reached >= enough
            });
            sorted.truncate(last.map_or(5_000, |last| last + 1));
            let mut kept = logits.clone();
            let shares = keep_top_p(&mut kept, top_p, share);
            assert_eq!((kept.len(), shares.len()), (sorted.len(), sorted.len()), "{top_p}");
            assert_eq!(kept, sorted);
        }
    }

    #[test]
    fn min_p_keeps_what_is_likely_enough_after_top_p() {
        let min_p = |min_p, top_p| Sampling { min_p: Some(min_p), ..sampling(1.0, None, top_p) };
        // In proportion to the likeliest: 1, 1, 0.37, 0.14, 0.05.
        assert_close(&frequencies(&min_p(0.0, None)), &softmax(1.0, &[0, 1, 2, 3, 4]));
        assert_close(&frequencies(&min_p(0.1, None)), &softmax(1.0, &[0, 1, 3, 4]));
        assert_close(&frequencies(&min_p(0.3, Some(1.0))), &softmax(1.0, &[1, 3, 4]));
        assert_close(&frequencies(&min_p(1.0, None)), &softmax(1.0, &[1, 3]));
        assert_close(&frequencies(&min_p(0.01, Some(0.3))), &softmax(1.0, &[1]));
    }

    #[test]
    fn penalties_are_those_of_their_definitions() {
        let penalised = |sampling: Sampling| {
            let mut logits = LOGITS;
            assert!(sampling.penalises());
            sampling.penalise(&mut logits, &[1, 2], &[2, 4, 4]);
            logits[..5].to_vec()
        };
        let base = sampling(1.0, None, None);
        assert!(!base.penalises());
        let repetition = Sampling { repetition_penalty: Some(2.0), ..base.clone() };
        assert_eq!(penalised(repetition), [0.0, 1.0, -2.0, 2.0, 0.5]);
        let answer_only = Sampling { presence_penalty: Some(0.5), frequency_penalty: Some(0.25), ..base };
        assert_eq!(penalised(answer_only), [0.0, 2.0, -1.75, 2.0, 0.0]);
    }

    #[test]
    fn a_cold_temperature_is_almost_greedy() {
        let cold = sampling(1e-30, None, None);
        assert!((0..50).all(|position| [1, 3].contains(&cold.choose(&LOGITS, 0, position).unwrap())));
    }

    #[test]
    fn draws_are_keyed_by_seed_row_and_position() {
        let even = [0.0f32; 1_000];
        let draw = |seed, row, position| Sampling { seed, ..sampling(1.0, None, None) }.choose(&even, row, position);
        assert_eq!(draw(1, 2, 3), draw(1, 2, 3));
        assert_ne!(draw(1, 2, 3), draw(2, 2, 3));
        assert_ne!(draw(1, 2, 3), draw(1, 3, 3));
        assert_ne!(draw(1, 2, 3), draw(1, 2, 4));
    }

    #[test]
    fn refusals_name_the_key() {
        let base = sampling(1.0, None, None);
        base.validate().unwrap();
        let cases = [
            (Sampling { temperature: f32::NAN, ..base.clone() }, "`temperature` is NaN"),
            (Sampling { temperature: -0.5, ..base.clone() }, "`temperature` is -0.5"),
            (Sampling { temperature: f32::INFINITY, ..base.clone() }, "`temperature` is inf"),
            (Sampling { top_k: Some(0), ..base.clone() }, "`top_k` is 0"),
            (Sampling { top_p: Some(0.0), ..base.clone() }, "`top_p` is 0"),
            (Sampling { top_p: Some(1.5), ..base.clone() }, "`top_p` is 1.5"),
            (Sampling { top_p: Some(f32::NAN), ..base.clone() }, "`top_p` is NaN"),
            (Sampling { min_p: Some(1.5), ..base.clone() }, "`min_p` is 1.5"),
            (Sampling { repetition_penalty: Some(0.0), ..base.clone() }, "`repetition_penalty` is 0"),
            (Sampling { presence_penalty: Some(2.5), ..base.clone() }, "`presence_penalty` is 2.5"),
            (Sampling { frequency_penalty: Some(f32::NAN), ..base.clone() }, "`frequency_penalty` is NaN"),
            (Sampling { max_new_tokens: 0, ..base }, "`max_new_tokens` is 0"),
        ];
        for (sampling, expected) in cases {
            let message = sampling.validate().unwrap_err().to_string();
            assert!(message.starts_with(expected), "{message}");
        }
    }
}
