//! Paired comparisons of two systems on the same samples: McNemar's exact test, the sign test, the permutation test, the
//! paired bootstrap; and Holm's correction where several are compared.

/// Differences other than 0 up to which the permutation test counts every assignment of signs.
const EXACT_MAX: usize = 16;
/// Sums of differences that are equal but for rounding, as a part of the sum of their sizes.
const ROUNDING: f64 = 1e-12;

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

/// The outcome of a permutation test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PermutationTest {
    /// Two-sided.
    pub p_value: f64,
    /// Whether every assignment was counted, not a draw of them.
    pub is_exact: bool,
}

/// The paired permutation test of the mean difference (Fisher 1935): under the hypothesis of no difference each sample's
/// difference is as likely to have the other sign. Exact where at most 16 differences are not 0; else over `resamples`
/// seeded draws, p = (1 + as extreme) / (1 + draws), which is never 0 (Phipson and Smyth 2010). `None` where there are no
/// pairs, or a score is not finite.
pub fn permutation_test(pairs: &[(f64, f64)], resamples: u32, seed: u64) -> Option<PermutationTest> {
    if pairs.is_empty() || pairs.iter().any(|(first, second)| !first.is_finite() || !second.is_finite()) {
        return None;
    }
    let differences: Vec<f64> = pairs.iter().map(|(first, second)| second - first).filter(|d| *d != 0.0).collect();
    let size: f64 = differences.iter().map(|d| d.abs()).sum();
    let least = differences.iter().sum::<f64>().abs() - ROUNDING * size;
    if differences.len() <= EXACT_MAX {
        let as_extreme = extreme(&differences, 0.0, least);
        return Some(PermutationTest {
            p_value: as_extreme as f64 / (1u64 << differences.len()) as f64,
            is_exact: true,
        });
    }
    let as_extreme = (0..resamples).filter(|resample| {
        let mut rng = CounterRng::new(seed, u64::from(*resample));
        let part = |part: &[f64]| {
            let signs = rng.next();
            part.iter().enumerate().map(|(bit, d)| if signs >> bit & 1 == 1 { *d } else { -d }).sum::<f64>()
        };
        differences.chunks(64).map(part).sum::<f64>().abs() >= least
    });
    let p_value = (1 + as_extreme.count()) as f64 / (1 + u64::from(resamples)) as f64;
    Some(PermutationTest { p_value, is_exact: false })
}

/// Assignments of signs to `rest` whose sum, on top of `sum`, is at least as far from 0 as `least`.
fn extreme(rest: &[f64], sum: f64, least: f64) -> u64 {
    match rest.split_first() {
        None => u64::from(sum.abs() >= least),
        Some((first, rest)) => extreme(rest, sum + first, least) + extreme(rest, sum - first, least),
    }
}

/// Holm's step-down correction (Holm 1979): p-values that hold together, in the order given. Calling those below a level
/// significant is wrong about any of them with at most that probability.
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|a, b| p_values[*a].total_cmp(&p_values[*b]));
    let (mut adjusted, mut least) = (vec![0.0; p_values.len()], 0.0_f64);
    for (smaller, index) in order.into_iter().enumerate() {
        least = least.max((p_values[index] * (p_values.len() - smaller) as f64).min(1.0));
        adjusted[index] = least;
    }
    adjusted
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

    fn golden() -> serde_json::Value {
        serde_json::from_str(include_str!("../../tests/data/compare_golden.json")).unwrap()
    }

    fn numbers(value: &serde_json::Value) -> Vec<f64> {
        value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
    }

    fn pairs_of(case: &serde_json::Value) -> Vec<(f64, f64)> {
        numbers(&case["first"]).into_iter().zip(numbers(&case["second"])).collect()
    }

    /// Relative where large, absolute near 0.
    fn agrees(found: f64, case: &serde_json::Value, name: &str, tolerance: f64) {
        let expected = case[name].as_f64().unwrap();
        close(found, expected, tolerance * expected.abs().max(1e-3));
    }

    #[test]
    fn exact_tests_agree_with_scipy_and_statsmodels() {
        let golden = golden();
        for case in golden["mcnemar"].as_array().unwrap() {
            let count = |name: &str| case[name].as_u64().unwrap() as usize;
            let mut pairs = vec![(true, false); count("only_first")];
            pairs.extend(vec![(false, true); count("only_second")]);
            pairs.extend(vec![(true, true); count("both")]);
            let found = mcnemar(&pairs);
            assert_eq!(
                (found.only_first, found.only_second),
                (count("only_first") as u64, count("only_second") as u64)
            );
            close(found.p_value / case["p_value"].as_f64().unwrap(), 1.0, 1e-9);
            let scores: Vec<(f64, f64)> =
                pairs.iter().map(|(a, b)| (f64::from(u8::from(*a)), f64::from(u8::from(*b)))).collect();
            let signs = sign_test(&scores);
            close(signs.p_value / case["sign_p_value"].as_f64().unwrap(), 1.0, 1e-9);
        }
        for case in golden["holm"].as_array().unwrap() {
            for (found, expected) in holm(&numbers(&case["p_values"])).into_iter().zip(numbers(&case["adjusted"])) {
                close(found, expected, 1e-14);
            }
        }
        for case in golden["permutation_exact"].as_array().unwrap() {
            let found = permutation_test(&pairs_of(case), 10, 1).unwrap();
            assert!(found.is_exact);
            agrees(found.p_value, case, "p_value", 1e-12);
        }
    }

    /// Both sides are draws here; the tolerance is several times what the draws differ by.
    #[test]
    fn drawn_tests_agree_with_scipy() {
        let golden = golden();
        for case in golden["drawn"].as_array().unwrap() {
            let pairs = pairs_of(case);
            let found = paired_bootstrap(&pairs, 40_000, 0.95, 5).unwrap();
            agrees(found.difference, case, "difference", 1e-12);
            agrees(found.standard_error.unwrap(), case, "standard_error", 1e-12);
            let error = found.standard_error.unwrap();
            close(found.low, case["low"].as_f64().unwrap(), 0.06 * error);
            close(found.high, case["high"].as_f64().unwrap(), 0.06 * error);
            let test = permutation_test(&pairs, 40_000, 5).unwrap();
            assert!(!test.is_exact);
            let expected = case["p_value"].as_f64().unwrap();
            close(test.p_value, expected, 6.0 * (expected / 40_000.0).sqrt() + 1e-4);
            assert_eq!(permutation_test(&pairs, 40_000, 5), Some(test), "the same seed gives the same bits");
        }
    }

    #[test]
    fn what_cannot_be_permuted_is_not() {
        assert_eq!(permutation_test(&[], 100, 0), None);
        assert_eq!(permutation_test(&[(0.0, f64::NAN)], 100, 0), None);
        assert_eq!(permutation_test(&[(1.0, 1.0)], 100, 0), Some(PermutationTest { p_value: 1.0, is_exact: true }));
        assert_eq!(holm(&[]), [0.0; 0]);
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
