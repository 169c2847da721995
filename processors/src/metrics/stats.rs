//! Estimates and their standard errors, over samples in the order given; every sum runs in that order, so that the
//! same samples give the same bits.

use super::compare::CounterRng;

/// A figure, the number of samples it rests on, and its standard error where they allow one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    pub value: f64,
    pub n: u64,
    pub standard_error: Option<f64>,
}

/// The mean and `s / √n`, with `s` the sample standard deviation (n - 1); none of an empty slice, and no error of one
/// sample. For outcomes 0 and 1 this is `√(p (1 - p) / (n - 1))`.
pub fn mean(samples: &[f64]) -> Option<Estimate> {
    if samples.is_empty() {
        return None;
    }
    let n = samples.len() as f64;
    let value = samples.iter().sum::<f64>() / n;
    let standard_error = (samples.len() > 1).then(|| {
        let squares: f64 = samples.iter().map(|x| (x - value) * (x - value)).sum();
        (squares / (n - 1.0) / n).sqrt()
    });
    Some(Estimate { value, n: samples.len() as u64, standard_error })
}

/// The plug-in standard error of a proportion, `√(p (1 - p) / n)`.
pub fn proportion_standard_error(successes: u64, n: u64) -> Option<f64> {
    if n == 0 || successes > n {
        return None;
    }
    let p = successes as f64 / n as f64;
    Some((p * (1.0 - p) / n as f64).sqrt())
}

/// Wilson's score interval for a proportion (Wilson 1927), which stays inside 0 to 1 and keeps a width at 0 and at n.
/// `z` is the standard normal quantile: 1.959964 for 95%.
pub fn wilson_interval(successes: u64, n: u64, z: f64) -> Option<(f64, f64)> {
    if n == 0 || successes > n {
        return None;
    }
    let (count, p) = (n as f64, successes as f64 / n as f64);
    let z2 = z * z;
    let centre = p + z2 / (2.0 * count);
    let spread = z * (p * (1.0 - p) / count + z2 / (4.0 * count * count)).sqrt();
    let scale = 1.0 + z2 / count;
    Some((((centre - spread) / scale).max(0.0), ((centre + spread) / scale).min(1.0)))
}

/// Standard error of the mean by the bootstrap (Efron 1979): the standard deviation of the means of `resamples` draws
/// with replacement. The same seed gives the same bits.
pub fn bootstrap_standard_error(samples: &[f64], resamples: u32, seed: u64) -> Option<f64> {
    if samples.len() < 2 || resamples < 2 {
        return None;
    }
    let means: Vec<f64> = (0..resamples)
        .map(|resample| {
            let mut rng = CounterRng::new(seed, u64::from(resample));
            let sum: f64 = samples.iter().map(|_| samples[rng.below(samples.len())]).sum();
            sum / samples.len() as f64
        })
        .collect();
    let centre = means.iter().sum::<f64>() / means.len() as f64;
    let squares: f64 = means.iter().map(|m| (m - centre) * (m - centre)).sum();
    Some((squares / (means.len() as f64 - 1.0)).sqrt())
}

/// Negative log-likelihood of one document: nats, summed over its tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DocumentNll {
    pub nll_sum: f64,
    pub tokens: u64,
}

/// Loss and perplexity of a set of documents.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Likelihood {
    /// Nats a token; `n` counts documents.
    pub nll: Estimate,
    /// `exp(nll)`; its standard error by the delta method, `perplexity × SE(nll)`.
    pub perplexity: Estimate,
    pub tokens: u64,
}

/// Mean negative log-likelihood a token, `r = Σ nll / Σ tokens`, and its perplexity.
///
/// Tokens of one document are not independent, so that documents are the sampling unit, and `r` is a ratio estimate:
/// `SE = √(n / (n - 1) · Σ (nllᵢ - r tokensᵢ)²) / Σ tokens` (Cochran, *Sampling Techniques*, 3rd ed., 6.4).
/// Documents without tokens count for nothing; `None` where no token is left.
pub fn likelihood(documents: &[DocumentNll]) -> Option<Likelihood> {
    let scored: Vec<DocumentNll> = documents.iter().copied().filter(|d| d.tokens > 0).collect();
    let tokens: u64 = scored.iter().map(|d| d.tokens).sum();
    if tokens == 0 {
        return None;
    }
    let ratio = scored.iter().map(|d| d.nll_sum).sum::<f64>() / tokens as f64;
    let n = scored.len() as f64;
    let standard_error = (scored.len() > 1).then(|| {
        let residual = |d: &DocumentNll| d.nll_sum - ratio * d.tokens as f64;
        let squares: f64 = scored.iter().map(|d| residual(d) * residual(d)).sum();
        (n / (n - 1.0) * squares).sqrt() / tokens as f64
    });
    let n = scored.len() as u64;
    let nll = Estimate { value: ratio, n, standard_error };
    let value = ratio.exp();
    let perplexity = Estimate { value, n, standard_error: standard_error.map(|error| value * error) };
    Some(Likelihood { nll, perplexity, tokens })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64, tolerance: f64) {
        assert!((a - b).abs() <= tolerance, "{a} is not within {tolerance} of {b}");
    }

    #[test]
    fn means_agree_with_vectors_computed_by_hand() {
        // Deviations -2, -1, 0, 3: variance 14/3.
        let found = mean(&[1.0, 2.0, 3.0, 6.0]).unwrap();
        assert_eq!((found.value, found.n), (3.0, 4));
        close(found.standard_error.unwrap(), (14.0_f64 / 3.0 / 4.0).sqrt(), 1e-15);
        assert_eq!(mean(&[]), None);
        assert_eq!(mean(&[5.0]), Some(Estimate { value: 5.0, n: 1, standard_error: None }));
        assert_eq!(mean(&[1.0, 1.0]).unwrap().standard_error, Some(0.0));
    }

    #[test]
    fn estimates_agree_with_scipy_and_statsmodels() {
        let golden: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/data/compare_golden.json")).unwrap();
        let real = |case: &serde_json::Value, name: &str| case[name].as_f64().unwrap();
        for case in golden["wilson"].as_array().unwrap() {
            let (successes, n) = (case["successes"].as_u64().unwrap(), case["n"].as_u64().unwrap());
            let (low, high) = wilson_interval(successes, n, real(case, "z")).unwrap();
            close(low, real(case, "low"), 1e-12);
            close(high, real(case, "high"), 1e-12);
        }
        for case in golden["mean"].as_array().unwrap() {
            let values: Vec<f64> = case["values"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
            let found = mean(&values).unwrap();
            close(found.value, real(case, "mean"), 1e-12);
            close(found.standard_error.unwrap(), real(case, "standard_error"), 1e-12);
        }
    }

    #[test]
    fn proportions_agree_with_known_values() {
        close(proportion_standard_error(3, 12).unwrap(), 0.125, 1e-15);
        assert_eq!((proportion_standard_error(1, 0), proportion_standard_error(2, 1)), (None, None));
        // Newcombe 1998, table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29, Wilson without correction.
        for (successes, n, low, high) in
            [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)]
        {
            let found = wilson_interval(successes, n, 1.959_963_985).unwrap();
            close(found.0, low, 6e-5);
            close(found.1, high, 6e-5);
        }
    }

    #[test]
    fn the_bootstrap_agrees_with_the_formula_and_repeats() {
        let samples: Vec<f64> = (0..200).map(|i| f64::from(i * i % 17)).collect();
        let found = bootstrap_standard_error(&samples, 4_000, 7).unwrap();
        let formula = mean(&samples).unwrap().standard_error.unwrap();
        close(found / formula, 1.0, 0.05);
        assert_eq!(bootstrap_standard_error(&samples, 4_000, 7), Some(found));
        assert_ne!(bootstrap_standard_error(&samples, 4_000, 8), Some(found));
        assert_eq!(bootstrap_standard_error(&[1.0], 100, 0), None);
    }

    #[test]
    fn likelihood_weighs_tokens_and_samples_documents() {
        let document = |nll_sum, tokens| DocumentNll { nll_sum, tokens };
        // r = 30 / 10 = 3; residuals 12 - 12 = 0, 6 - 9 = -3, 12 - 9 = 3: SE = sqrt(3/2 * 18) / 10.
        let found = likelihood(&[document(12.0, 4), document(6.0, 3), document(9.9, 0), document(12.0, 3)]).unwrap();
        assert_eq!((found.nll.value, found.nll.n, found.tokens), (3.0, 3, 10));
        close(found.nll.standard_error.unwrap(), 27.0_f64.sqrt() / 10.0, 1e-15);
        close(found.perplexity.value, 3.0_f64.exp(), 1e-12);
        close(found.perplexity.standard_error.unwrap(), 3.0_f64.exp() * 27.0_f64.sqrt() / 10.0, 1e-12);
        assert_eq!(likelihood(&[document(1.0, 0)]), None);
        assert_eq!(likelihood(&[document(2.0, 2)]).unwrap().nll.standard_error, None);
    }
}
