//! Comparisons of subjects, sample by sample.

use crate::problem::Problem;
use async_graphql::{Enum, SimpleObject};
use cairn_processors::comparison::{self, Compared, Contender, Question};
use cairn_projections::evals::{At, Filter};

use super::super::results::Standing;
use super::super::scalars::{Long, Real};

/// Most samples that an answer shows.
const SAMPLES_MAX: i32 = 500;

/// A comparison of subjects on a metric of a task.
#[derive(SimpleObject)]
pub(super) struct Comparison {
    /// The task.
    task: String,
    /// The metric.
    metric: String,
    /// Whether more is better.
    higher_is_better: bool,
    /// The results that were compared, in the order asked for.
    sides: Vec<Standing>,
    /// What is not the same in all of them; empty where they are comparable.
    differences: Vec<ProtocolDifference>,
    /// How verdicts were come to; null where there are none.
    method: Option<ComparisonMethod>,
    /// Why there are no verdicts, where there are none.
    no_verdict: Option<String>,
    /// Of the intervals, and of the verdicts together.
    confidence: Real,
    /// Draws of the bootstrap, and of the permutation test where it is not exact.
    resamples: Long,
    /// The seed of the draws.
    seed: Long,
    /// Samples that every side scored.
    paired: Long,
    /// Every two of the sides.
    pairs: Vec<ComparedPair>,
    /// Samples on which the scores differ most.
    samples: Vec<ComparedSample>,
}

/// A field that is not the same in the protocols of the results.
#[derive(SimpleObject)]
struct ProtocolDifference {
    /// suite, slice, dataset, or a path of the protocol such as protocol.how.max_new_tokens.
    field: String,
    /// What each of them has, as JSON, in their order; null where it has none.
    values: Vec<Option<String>>,
}

/// How it was decided whether a difference is more than chance.
#[derive(Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "comparison::Method")]
enum ComparisonMethod {
    /// Scores are right or wrong: McNemar's test, exact at every size.
    Mcnemar,
    /// Scores are numbers: the paired permutation test of the mean, exact where few differ.
    Permutation,
}

/// What can be said of two sides.
#[derive(Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "comparison::Verdict")]
enum ComparisonVerdict {
    /// The first is better by more than chance.
    FirstIsBetter,
    /// The second is better by more than chance.
    SecondIsBetter,
    /// The difference may be chance, which is not to say that the two are equal.
    Undecided,
}

/// Two of the sides.
#[derive(SimpleObject)]
struct ComparedPair {
    /// Number of the first among the sides, from 0.
    first: i32,
    /// Number of the second among the sides, from 0.
    second: i32,
    /// Second minus first: of the samples' means where samples are paired, else of the values.
    difference: Real,
    /// Standard error of the difference.
    standard_error: Option<Real>,
    /// Lower end of the bootstrap's interval of this difference alone.
    low: Option<Real>,
    /// Upper end of that interval.
    high: Option<Real>,
    /// Samples on which the second scores higher.
    higher: Option<Long>,
    /// Samples on which the second scores lower.
    lower: Option<Long>,
    /// Samples on which both score the same.
    ties: Option<Long>,
    /// Two-sided.
    p_value: Option<Real>,
    /// Corrected for the number of pairs (Holm): what the verdict rests on.
    p_adjusted: Option<Real>,
    /// What can be said; null where there are no verdicts.
    verdict: Option<ComparisonVerdict>,
}

/// One sample's scores.
#[derive(SimpleObject)]
struct ComparedSample {
    /// The sample's id in its dataset version.
    sample: String,
    /// Its score on each side, in their order.
    scores: Vec<Real>,
}

/// Numbers that a comparison is asked with.
pub(super) struct Numbers {
    pub(super) confidence: f64,
    pub(super) resamples: i32,
    pub(super) seed: u64,
    pub(super) samples: i32,
}

pub(super) fn question(
    subjects: &[String],
    task: String,
    metric: Option<String>,
    filter: Filter,
    at: At,
    side_by_side: bool,
    numbers: Numbers,
) -> Result<Question, Problem> {
    let contenders = subjects.iter().map(|text| text.parse::<Contender>()).collect::<Result<Vec<_>, _>>()?;
    let samples_max = usize::try_from(numbers.samples).ok().filter(|_| numbers.samples <= SAMPLES_MAX);
    let samples_max = samples_max.ok_or_else(|| {
        Problem::malformed(format!("samples: {} is not a whole number from 0 to {SAMPLES_MAX}", numbers.samples))
    })?;
    Ok(Question {
        filter,
        at,
        side_by_side,
        confidence: numbers.confidence,
        // What is out of its range is refused with that range.
        resamples: u32::try_from(numbers.resamples).unwrap_or(0),
        seed: numbers.seed,
        samples_max,
        ..Question::new(contenders, task, metric)
    })
}

impl From<Compared> for Comparison {
    fn from(found: Compared) -> Self {
        let difference = |difference: comparison::Difference| ProtocolDifference {
            field: difference.field,
            values: difference.values.into_iter().map(|held| held.0).collect(),
        };
        let pair = |pair: comparison::Pair| ComparedPair {
            first: pair.first as i32,
            second: pair.second as i32,
            difference: Real(pair.difference),
            standard_error: pair.standard_error.map(Real),
            low: pair.interval.map(|(low, _)| Real(low)),
            high: pair.interval.map(|(_, high)| Real(high)),
            higher: pair.higher.map(Long),
            lower: pair.lower.map(Long),
            ties: pair.ties.map(Long),
            p_value: pair.p_value.map(Real),
            p_adjusted: pair.p_adjusted.map(Real),
            verdict: pair.verdict.map(ComparisonVerdict::from),
        };
        let sample = |row: comparison::SampleScores| ComparedSample {
            sample: row.sample,
            scores: row.scores.into_iter().map(Real).collect(),
        };
        Self {
            task: found.task,
            metric: found.metric,
            higher_is_better: found.higher_is_better,
            sides: found.sides.into_iter().map(Standing::from).collect(),
            differences: found.differences.into_iter().map(difference).collect(),
            method: found.method.map(ComparisonMethod::from),
            no_verdict: found.no_verdict,
            confidence: Real(found.confidence),
            resamples: Long(u64::from(found.resamples)),
            seed: Long(found.seed),
            paired: Long(found.paired),
            pairs: found.pairs.into_iter().map(pair).collect(),
            samples: found.samples.into_iter().map(sample).collect(),
        }
    }
}
