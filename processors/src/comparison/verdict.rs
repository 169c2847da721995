//! What the samples say of each two sides: the difference with its interval, and whether it is more than chance.

use super::Question;
use crate::metrics::compare::{holm, mcnemar, paired_bootstrap, permutation_test, sign_test};
use cairn_projections::evals::Standing;

/// How it was decided whether a difference is more than chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Scores are right or wrong: McNemar's test, exact at every size.
    Mcnemar,
    /// Scores are numbers: the paired permutation test of the mean, exact where few differ.
    Permutation,
}

/// What can be said of two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    FirstIsBetter,
    SecondIsBetter,
    /// The difference may be chance: that is not to say that the two are equal.
    Undecided,
}

/// Two of the sides.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Pair {
    /// Their numbers among the sides, from 0.
    pub first: usize,
    pub second: usize,
    /// Second minus first: of the samples' means where samples are paired, else of the values.
    pub difference: f64,
    pub standard_error: Option<f64>,
    /// The bootstrap's interval of this difference alone.
    pub interval: Option<(f64, f64)>,
    /// Samples on which the second scores higher, lower, the same.
    pub higher: Option<u64>,
    pub lower: Option<u64>,
    pub ties: Option<u64>,
    /// Two-sided.
    pub p_value: Option<f64>,
    /// Corrected for the number of pairs (Holm).
    pub p_adjusted: Option<f64>,
    pub verdict: Option<Verdict>,
}

fn each_two(sides: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..sides).flat_map(move |first| (first + 1..sides).map(move |second| (first, second)))
}

/// Differences of the values, without a word on chance.
pub(super) fn side_by_side(sides: &[Standing]) -> Vec<Pair> {
    let pair = |(first, second): (usize, usize)| Pair {
        first,
        second,
        difference: sides[second].value - sides[first].value,
        standard_error: None,
        interval: None,
        higher: None,
        lower: None,
        ties: None,
        p_value: None,
        p_adjusted: None,
        verdict: None,
    };
    each_two(sides.len()).map(pair).collect()
}

/// Every two of some sides' scores, which are of the same samples in the same order.
pub(super) fn judged(question: &Question, sides: &[Vec<f64>], higher_is_better: bool) -> (Method, Vec<Pair>) {
    let is_binary = sides.iter().flatten().all(|score| *score == 0.0 || *score == 1.0);
    let method = if is_binary { Method::Mcnemar } else { Method::Permutation };
    let mut pairs: Vec<Pair> =
        each_two(sides.len()).map(|(first, second)| tested(question, method, sides, first, second)).collect();
    let p_values: Vec<f64> = pairs.iter().filter_map(|pair| pair.p_value).collect();
    for (pair, adjusted) in pairs.iter_mut().zip(holm(&p_values)) {
        pair.p_adjusted = Some(adjusted);
        let better = if higher_is_better { pair.difference } else { -pair.difference };
        pair.verdict = Some(match adjusted < 1.0 - question.confidence {
            true if better > 0.0 => Verdict::SecondIsBetter,
            true if better < 0.0 => Verdict::FirstIsBetter,
            _ => Verdict::Undecided,
        });
    }
    (method, pairs)
}

fn tested(question: &Question, method: Method, sides: &[Vec<f64>], first: usize, second: usize) -> Pair {
    let scores: Vec<(f64, f64)> = sides[first].iter().copied().zip(sides[second].iter().copied()).collect();
    let signs = sign_test(&scores);
    let p_value = match method {
        Method::Mcnemar => {
            let right: Vec<(bool, bool)> = scores.iter().map(|(a, b)| (*a == 1.0, *b == 1.0)).collect();
            Some(mcnemar(&right).p_value)
        }
        Method::Permutation => permutation_test(&scores, question.resamples, question.seed).map(|found| found.p_value),
    };
    let found = paired_bootstrap(&scores, question.resamples, question.confidence, question.seed);
    Pair {
        first,
        second,
        difference: found.map_or(f64::NAN, |found| found.difference),
        standard_error: found.and_then(|found| found.standard_error),
        interval: found.map(|found| (found.low, found.high)),
        higher: Some(signs.higher),
        lower: Some(signs.lower),
        ties: Some(signs.ties),
        p_value,
        p_adjusted: None,
        verdict: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question() -> Question {
        Question { resamples: 2_000, ..Question::new(Vec::new(), "t", None) }
    }

    #[test]
    fn right_and_wrong_are_counted_and_numbers_permuted() {
        let side = |right: usize| (0..100).map(|i| f64::from(u8::from(i < right))).collect::<Vec<f64>>();
        let (method, pairs) = judged(&question(), &[side(40), side(70), side(72)], true);
        assert_eq!(method, Method::Mcnemar);
        let shown: Vec<_> = pairs.iter().map(|p| (p.first, p.second, p.verdict.unwrap())).collect();
        assert_eq!(
            shown,
            [(0, 1, Verdict::SecondIsBetter), (0, 2, Verdict::SecondIsBetter), (1, 2, Verdict::Undecided)]
        );
        let first = &pairs[0];
        assert_eq!((first.higher, first.lower, first.ties), (Some(30), Some(0), Some(70)));
        assert!((first.difference - 0.3).abs() < 1e-12);
        let (low, high) = first.interval.unwrap();
        assert!(low > 0.15 && low < 0.28 && high > 0.32 && high < 0.45, "{low} {high}");
        // Holm: the smallest of three p-values counts three times, the next of those left twice.
        assert_eq!(first.p_adjusted, Some((first.p_value.unwrap() * 2.0).max(pairs[1].p_value.unwrap() * 3.0)));

        let (_, pairs) = judged(&question(), &[side(40), side(70)], false);
        assert_eq!(pairs[0].verdict, Some(Verdict::FirstIsBetter), "where lower is better");
        let lengths = |add: f64| (0..30).map(|i| f64::from(i) + add).collect::<Vec<f64>>();
        let (method, pairs) = judged(&question(), &[lengths(0.0), lengths(0.25)], true);
        assert_eq!((method, pairs[0].interval), (Method::Permutation, Some((0.25, 0.25))));
        let (_, same) = judged(&question(), &[lengths(0.0), lengths(0.0)], true);
        assert_eq!((same[0].p_value, same[0].verdict), (Some(1.0), Some(Verdict::Undecided)));
    }

    #[test]
    fn the_same_seed_gives_the_same_answer() {
        let noise = |k: u32| (0..60).map(|i| f64::from(i * i * k % 31) / 7.0).collect::<Vec<f64>>();
        let sides = [noise(3), noise(5)];
        assert_eq!(judged(&question(), &sides, true), judged(&question(), &sides, true));
        let other = Question { seed: 18, ..question() };
        assert_ne!(judged(&question(), &sides, true).1, judged(&other, &sides, true).1);
    }
}
