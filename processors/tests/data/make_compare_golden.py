"""Writes compare_golden.json: what scipy and statsmodels make of paired comparisons and estimates.

Exact tests agree to rounding; bootstrap and large permutation tests are draws on both sides, here over many resamples.
Run: python3 make_compare_golden.py > compare_golden.json (scipy 1.17, statsmodels 0.15, numpy 2.4)
"""
import json

import numpy as np
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

random = np.random.default_rng(2026)


def mean_difference(first, second, axis=-1):
    return np.mean(second - first, axis=axis)


def mcnemar_case(only_first, only_second, both):
    test = mcnemar([[both, only_first], [only_second, 0]], exact=True)
    n = only_first + only_second
    sign = stats.binomtest(only_second, n, 0.5).pvalue if n else 1.0
    return {"only_first": only_first, "only_second": only_second, "both": both,
            "p_value": float(test.pvalue), "sign_p_value": float(sign)}


def permutation_case(n, ties):
    first = np.round(random.normal(0.4, 0.3, n), 2)
    second = np.round(first + random.normal(0.1, 0.3, n), 2)
    second[:ties] = first[:ties]
    test = stats.permutation_test((second - first,), lambda d, axis=-1: np.mean(d, axis=axis), vectorized=True,
                                  permutation_type="samples", n_resamples=np.inf, alternative="two-sided")
    return {"first": first.tolist(), "second": second.tolist(), "p_value": float(test.pvalue)}


def drawn_case(n, shift, skewed):
    first = random.gamma(2.0, 0.2, n) if skewed else random.normal(0.5, 0.2, n)
    second = first + shift + random.normal(0, 0.15, n)
    difference = second - first
    interval = stats.bootstrap((first, second), mean_difference, paired=True, n_resamples=100_000, batch=1_000,
                               confidence_level=0.95, method="percentile", rng=random).confidence_interval
    test = stats.permutation_test((difference,), lambda d, axis=-1: np.mean(d, axis=axis), vectorized=True,
                                  permutation_type="samples", n_resamples=200_000, batch=1_000, rng=random)
    return {"first": first.tolist(), "second": second.tolist(), "difference": float(np.mean(difference)),
            "standard_error": float(stats.sem(difference)), "low": float(interval.low), "high": float(interval.high),
            "p_value": float(test.pvalue)}


def holm_case(p_values):
    return {"p_values": p_values, "adjusted": multipletests(p_values, method="holm")[1].tolist()}


def wilson_case(successes, n, level):
    low, high = proportion_confint(successes, n, alpha=1 - level, method="wilson")
    return {"successes": successes, "n": n, "z": float(stats.norm.ppf(0.5 + level / 2)), "low": float(low),
            "high": float(high)}


def mean_case(n):
    values = random.normal(3, 2, n)
    return {"values": values.tolist(), "mean": float(np.mean(values)), "standard_error": float(stats.sem(values))}


cells = [(0, 1, 5), (1, 0, 0), (0, 6, 3), (1, 9, 40), (5, 5, 0), (8, 12, 100), (10, 25, 200), (59, 121, 700),
         (480, 520, 9), (700, 900, 1), (3, 3, 1000), (2_000, 2_300, 10)]
print(json.dumps({
    "mcnemar": [mcnemar_case(*case) for case in cells],
    "permutation_exact": [permutation_case(n, ties) for n in (2, 3, 6, 9, 12) for ties in (0, 1)],
    "drawn": [drawn_case(*case) for case in ((40, 0.05, False), (120, 0.03, False), (200, 0.0, True), (500, 0.02, True))],
    "holm": [holm_case(p) for p in ([0.01], [0.04, 0.03], [0.01, 0.04, 0.03], [0.5, 0.02, 0.3, 0.004, 0.02, 0.9],
                                    [1.0, 1.0, 0.2], random.uniform(size=6).round(4).tolist())],
    "wilson": [wilson_case(*case) for case in ((0, 20, 0.95), (20, 20, 0.95), (15, 148, 0.95), (81, 263, 0.99),
                                               (1, 2, 0.9), (500, 1319, 0.95))],
    "mean": [mean_case(n) for n in (2, 3, 10, 1_000)],
}, indent=None, separators=(",", ":")))
