//! Paired comparisons of two systems on the same samples: McNemar's exact test, the sign test, the paired bootstrap.

/// A paired comparison's outcome for outcomes that are right or wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct McNemar {
    /// Samples that only the first system has right, and only the second.
    pub only_first: u64,
    pub only_second: u64,
    /// Two-sided, exact.
    pub p_value: f64,
}

/// McNemar's exact test (McNemar 1947): under the hypothesis of no difference, of the `b + c` samples on which the two
/// disagree the number that favours the first is binomial with 1/2; two-sided p = min(1, 2 P(X ≤ min(b, c))).
///
/// `pairs` holds, for each sample, whether the first and whether the second system has it right.
pub fn mcnemar(pairs: &[(bool, bool)]) -> McNemar {
    let only_first = pairs.iter().filter(|(first, second)| *first && !*second).count() as u64;
    let only_second = pairs.iter().filter(|(first, second)| !*first && *second).count() as u64;
    McNemar { only_first, only_second, p_value: two_sided_half(only_first, only_second) }
}

/// The outcome of a sign test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SignTest {
    /// Samples on which the second system scores higher, lower, the same.
    pub higher: u64,
    pub lower: u64,
    pub ties: u64,
    /// Two-sided, exact.
    pub p_value: f64,
}

/// The sign test (Dixon and Mood 1946) on paired scores: ties aside, a difference is as likely up as down.
/// Pairs with a score that is not a number are ties.
pub fn sign_test(pairs: &[(f64, f64)]) -> SignTest {
    let higher = pairs.iter().filter(|(first, second)| second > first).count() as u64;
    let lower = pairs.iter().filter(|(first, second)| second < first).count() as u64;
    let ties = pairs.len() as u64 - higher - lower;
    SignTest { higher, lower, ties, p_value: two_sided_half(higher, lower) }
}

/// min(1, 2 P(X ≤ min(a, b))) for X binomial with n = a + b and 1/2.
fn two_sided_half(a: u64, b: u64) -> f64 {
    let (n, least) = (a + b, a.min(b));
    // ln of the term C(n, k) / 2^n, from one k to the next; each is exact to a few ulps, also where 2^n overflows.
    let mut term = -(n as f64) * std::f64::consts::LN_2;
    let mut tail = 0.0;
    for k in 0..=least {
        tail += term.exp();
        term += ((n - k) as f64).ln() - ((k + 1) as f64).ln();
    }
    (2.0 * tail).min(1.0)
}

/// The difference of two systems' means and an interval around it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PairedDifference {
    /// Mean of (second - first).
    pub difference: f64,
    pub n: u64,
    /// `s / √n` of the differences; none of one sample.
    pub standard_error: Option<f64>,
    pub low: f64,
    pub high: f64,
}

/// The mean difference and its percentile interval by the paired bootstrap (Efron 1979; Koehn 2004 for systems
/// compared on one test set): pairs are drawn with replacement, so that a sample's two scores stay together.
///
/// `confidence` is inside 0 to 1 (0.95); the same seed gives the same bits. `None` where there are no pairs, no
/// resamples, or the confidence is outside.
pub fn paired_bootstrap(pairs: &[(f64, f64)], resamples: u32, confidence: f64, seed: u64) -> Option<PairedDifference> {
    if pairs.is_empty() || resamples == 0 || !(confidence > 0.0 && confidence < 1.0) {
        return None;
    }
    let differences: Vec<f64> = pairs.iter().map(|(first, second)| second - first).collect();
    let estimate = super::stats::mean(&differences)?;
    let n = differences.len();
    let mut means: Vec<f64> = (0..resamples)
        .map(|resample| {
            let mut rng = CounterRng::new(seed, u64::from(resample));
            (0..n).map(|_| differences[rng.below(n)]).sum::<f64>() / n as f64
        })
        .collect();
    means.sort_unstable_by(f64::total_cmp);
    let tail = (1.0 - confidence) / 2.0;
    Some(PairedDifference {
        difference: estimate.value,
        n: estimate.n,
        standard_error: estimate.standard_error,
        low: quantile(&means, tail),
        high: quantile(&means, 1.0 - tail),
    })
}

/// The quantile by linear interpolation between order statistics (Hyndman and Fan 1996, definition 7).
fn quantile(sorted: &[f64], part: f64) -> f64 {
    let place = part * (sorted.len() - 1) as f64;
    let below = place.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (place - below as f64) * (sorted[above] - sorted[below])
}

/// A counter-based generator: the n-th value of a stream is a function of (seed, stream, n), so that resamples can be
/// drawn in any order. SplitMix64's finaliser (Steele, Lea, Flood 2014) over its Weyl sequence.
#[derive(Clone, Debug)]
pub(super) struct CounterRng {
    key: u64,
    counter: u64,
}

impl CounterRng {
    const WEYL: u64 = 0x9e37_79b9_7f4a_7c15;

    pub(super) fn new(seed: u64, stream: u64) -> Self {
        Self { key: Self::mix(seed ^ Self::mix(stream.wrapping_add(Self::WEYL))), counter: 0 }
    }

    fn next(&mut self) -> u64 {
        self.counter += 1;
        Self::mix(self.key.wrapping_add(self.counter.wrapping_mul(Self::WEYL)))
    }

    /// A number from 0 to `bound` - 1, by the high half of a product (Lemire 2019) without its rejection: of 2^64
    /// values at most `bound` fall unevenly.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }

    fn mix(value: u64) -> u64 {
        let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64, tolerance: f64) {
        assert!((a - b).abs() <= tolerance, "{a} is not within {tolerance} of {b}");
    }

    /// The p-values are rationals, summed exactly in Python: `2 * sum(comb(n, k) for k in range(m + 1)) / 2**n`.
    #[test]
    fn exact_p_values_agree_with_rational_arithmetic() {
        for (a, b, expected) in [
            (0, 0, 1.0),
            (0, 1, 1.0),
            (0, 6, 0.03125),
            (1, 9, 0.021_484_375),
            (5, 5, 1.0),
            (8, 12, 0.503_444_671_630_859_4),
            (10, 25, 0.016_673_847_800_120_71),
            (59, 121, 4.434_449_263_755_176e-6),
            (480, 520, 0.217_448_293_204_140_94),
            (700, 900, 6.319_484_959_450_139e-7),
        ] {
            close(two_sided_half(a, b) / expected, 1.0, 1e-11);
            assert_eq!(two_sided_half(a, b), two_sided_half(b, a));
        }
    }

    #[test]
    fn pairs_are_counted_into_the_right_cells() {
        let pairs = [(true, true), (true, false), (true, false), (false, true), (false, false)];
        assert_eq!(mcnemar(&pairs), McNemar { only_first: 2, only_second: 1, p_value: 1.0 });
        let scores = [(0.1, 0.2), (0.5, 0.5), (0.9, 0.3), (0.0, 1.0), (f64::NAN, 1.0)];
        let found = sign_test(&scores);
        assert_eq!((found.higher, found.lower, found.ties), (2, 1, 2));
        assert_eq!(mcnemar(&[]).p_value, 1.0);
    }

    #[test]
    fn the_paired_bootstrap_covers_the_normal_interval_and_repeats() {
        let noise = |i: u32| f64::from(i * i % 23) / 23.0;
        let pairs: Vec<(f64, f64)> = (0..300).map(|i| (noise(i), noise(i) + f64::from(i % 5) / 10.0)).collect();
        let found = paired_bootstrap(&pairs, 4_000, 0.95, 3).unwrap();
        close(found.difference, 0.2, 1e-12);
        let error = found.standard_error.unwrap();
        close(found.low, found.difference - 1.96 * error, 0.1 * error);
        close(found.high, found.difference + 1.96 * error, 0.1 * error);
        assert_eq!(paired_bootstrap(&pairs, 4_000, 0.95, 3), Some(found));
        assert_ne!(paired_bootstrap(&pairs, 4_000, 0.95, 4), Some(found));
    }

    #[test]
    fn pairing_is_kept() {
        // The two differ by exactly 0.1 everywhere, so that no resample sees any other difference.
        let pairs: Vec<(f64, f64)> = (0..50).map(|i| (f64::from(i), f64::from(i) + 0.5)).collect();
        let found = paired_bootstrap(&pairs, 100, 0.9, 0).unwrap();
        assert_eq!((found.low, found.difference, found.high, found.standard_error), (0.5, 0.5, 0.5, Some(0.0)));
        assert_eq!(paired_bootstrap(&[], 100, 0.9, 0), None);
        assert_eq!(paired_bootstrap(&pairs, 100, 1.0, 0), None);
    }

    #[test]
    fn the_generator_is_even_and_its_streams_differ() {
        let mut counts = [0_u32; 10];
        let mut rng = CounterRng::new(1, 0);
        (0..100_000).for_each(|_| counts[rng.below(10)] += 1);
        // Chi-squared with 9 degrees of freedom: above 27.9 once in a thousand.
        let chi: f64 = counts.iter().map(|c| (f64::from(*c) - 10_000.0).powi(2) / 10_000.0).sum();
        assert!(chi < 27.9, "{chi}");
        assert_ne!(CounterRng::new(1, 0).next(), CounterRng::new(1, 1).next());
        assert_ne!(CounterRng::new(1, 0).next(), CounterRng::new(2, 0).next());
    }

    #[test]
    fn quantiles_interpolate() {
        assert_eq!(quantile(&[1.0, 2.0, 4.0], 0.75), 3.0);
        assert_eq!((quantile(&[1.0], 0.3), quantile(&[1.0, 2.0], 1.0)), (1.0, 2.0));
    }
}
