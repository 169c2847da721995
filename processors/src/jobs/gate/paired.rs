//! Comparison with a baseline on the same samples. Only results of one protocol are compared, sample by sample.

use super::evidence::Evidence;
use super::{Inputs, insufficient, with_missing};
use crate::comparison::differences;
use crate::comparison::samples::{Scores, aligned, of_evaluation};
use crate::metrics::compare::{mcnemar, paired_bootstrap};
use crate::pipeline::{CompareSpec, Test};
use crate::{Context, Error};
use cairn_schemas::Real;
use cairn_schemas::events::evaluation::EvaluationCompleted;
use cairn_schemas::events::judgment::{GateCheck, GateOutcome};

/// Resamples of the bootstrap, and the seed that makes them the same on every evaluation of the gate.
const RESAMPLES: u32 = 10_000;
const SEED: u64 = 17;

/// Scores of one sample: the baseline's and the subject's, turned so that higher is better.
type Pair = (f64, f64);

pub(super) fn compared(
    ctx: &Context,
    spec: &CompareSpec,
    inputs: &Inputs,
    subject: &Evidence,
    baseline: &Evidence,
) -> Result<GateCheck, Error> {
    let condition = condition(spec);
    let lacking =
        |why: String| Ok(insufficient(condition.clone(), Some(spec.better_by), with_missing(why, &inputs.missing)));
    let Some(baseline_ref) = &inputs.baseline else {
        return lacking("there is no baseline".to_owned());
    };
    let (ours, measure) = match subject.measure(&spec.metric, &inputs.subject) {
        Ok(found) => found,
        Err(why) => return lacking(why),
    };
    let (theirs, _) = match baseline.measure(&spec.metric, baseline_ref) {
        Ok(found) => found,
        Err(why) => return lacking(format!("baseline: {why}")),
    };
    if let Err(why) = comparable(ours, theirs) {
        return lacking(why);
    }
    let sign = if measure.higher_is_better { 1.0 } else { -1.0 };
    let mut scores = Vec::with_capacity(2);
    for evaluation in [theirs, ours] {
        match of_evaluation(ctx, evaluation, &spec.metric.name, None)? {
            Ok(found) => scores.push(found),
            Err(why) => return lacking(why),
        }
    }
    match pairs(&scores, sign) {
        Err(why) => lacking(why),
        Ok(pairs) => Ok(decide(spec, condition, &pairs)),
    }
}

fn condition(spec: &CompareSpec) -> String {
    let test = match spec.test {
        Test::Mcnemar => "mcnemar",
        Test::Bootstrap => "bootstrap",
    };
    format!("{} better than baseline by {} ({test}, confidence {})", spec.metric, spec.better_by, spec.confidence)
}

/// Measured alike, or where they part.
fn comparable(ours: &EvaluationCompleted, theirs: &EvaluationCompleted) -> Result<(), String> {
    let differing = differences(&[ours.clone(), theirs.clone()]);
    if differing.is_empty() {
        return Ok(());
    }
    let fields: Vec<String> = differing.iter().map(ToString::to_string).collect();
    Err(format!("the two were measured by unlike protocols; they differ in {}", fields.join("; ")))
}

/// Every sample's two scores, in the order of their ids.
fn pairs(sides: &[Scores], sign: f64) -> Result<Vec<Pair>, String> {
    let columns = aligned(sides)?;
    let turned = |side: &[f64]| side.iter().map(|score| sign * score).collect::<Vec<f64>>();
    Ok(turned(&columns[0]).into_iter().zip(turned(&columns[1])).collect())
}

/// McNemar: better on the whole by at least `better_by`, and not by chance. Bootstrap: the interval of the difference
/// lies wholly at or above `better_by`, and above 0 where that is 0.
fn decide(spec: &CompareSpec, condition: String, pairs: &[Pair]) -> GateCheck {
    let Some(found) = paired_bootstrap(pairs, RESAMPLES, spec.confidence, SEED) else {
        return insufficient(condition, Some(spec.better_by), "nothing could be resampled".to_owned());
    };
    let (holds, detail) = match spec.test {
        Test::Mcnemar => {
            let binary = |score: f64| score.abs() == 1.0 || score == 0.0;
            if !pairs.iter().all(|(first, second)| binary(*first) && binary(*second)) {
                let why = format!("`{}` is not 0 or 1 in every sample; use `test: bootstrap`", spec.metric);
                return insufficient(condition, Some(spec.better_by), why);
            }
            // Turned scores of a metric to be lowered are 0 and -1: the higher of the two is right either way.
            let best = pairs.iter().flat_map(|(first, second)| [*first, *second]).fold(f64::NEG_INFINITY, f64::max);
            let right: Vec<(bool, bool)> =
                pairs.iter().map(|(first, second)| (*first == best, *second == best)).collect();
            let test = mcnemar(&right);
            let significant = test.p_value < 1.0 - spec.confidence && test.only_second > test.only_first;
            let detail = format!(
                "better by {:.4} over {} pairs; only the subject right {}, only the baseline {}, p = {:.3e}",
                found.difference, found.n, test.only_second, test.only_first, test.p_value
            );
            (found.difference >= spec.better_by && significant, detail)
        }
        Test::Bootstrap => {
            let above = found.low >= spec.better_by && (spec.better_by != 0.0 || found.low > 0.0);
            let detail = format!(
                "better by {:.4} over {} pairs; interval {:.4} to {:.4}",
                found.difference, found.n, found.low, found.high
            );
            (above, detail)
        }
    };
    GateCheck {
        condition,
        outcome: if holds { GateOutcome::Pass } else { GateOutcome::Block },
        observed: Some(Real(found.difference)),
        threshold: Some(Real(spec.better_by)),
        n: Some(found.n),
        standard_error: found.standard_error.map(Real),
        detail,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::GateMetric;

    fn spec(test: Test, better_by: f64) -> CompareSpec {
        CompareSpec { metric: GateMetric { task: "t".into(), name: "m".into() }, test, better_by, confidence: 0.95 }
    }

    fn outcome(test: Test, better_by: f64, pairs: &[Pair]) -> GateOutcome {
        decide(&spec(test, better_by), "c".into(), pairs).outcome
    }

    fn binary(only_second: usize, only_first: usize, same: usize) -> Vec<Pair> {
        let part = |pair: Pair, count: usize| vec![pair; count];
        [part((0.0, 1.0), only_second), part((1.0, 0.0), only_first), part((1.0, 1.0), same)].concat()
    }

    #[test]
    fn mcnemar_needs_size_and_significance() {
        assert_eq!(outcome(Test::Mcnemar, 0.5, &binary(30, 0, 10)), GateOutcome::Pass);
        assert_eq!(outcome(Test::Mcnemar, 0.9, &binary(30, 0, 10)), GateOutcome::Block);
        assert_eq!(outcome(Test::Mcnemar, 0.0, &binary(3, 2, 10)), GateOutcome::Block);
        assert_eq!(outcome(Test::Mcnemar, 0.0, &binary(0, 30, 10)), GateOutcome::Block);
        assert_eq!(outcome(Test::Mcnemar, 0.0, &[(0.5, 1.0)]), GateOutcome::InsufficientEvidence);
    }

    #[test]
    fn mcnemar_of_a_metric_to_be_lowered() {
        let turned: Vec<Pair> =
            binary(30, 0, 10).into_iter().map(|(first, second)| (first - 1.0, second - 1.0)).collect();
        assert_eq!(outcome(Test::Mcnemar, 0.5, &turned), GateOutcome::Pass);
    }

    #[test]
    fn the_bootstrap_interval_must_clear_the_margin() {
        let pairs: Vec<Pair> = (0..100).map(|i| (0.0, 0.4 + f64::from(i % 10) * 0.02)).collect();
        assert_eq!(outcome(Test::Bootstrap, 0.0, &pairs), GateOutcome::Pass);
        assert_eq!(outcome(Test::Bootstrap, 0.4, &pairs), GateOutcome::Pass);
        assert_eq!(outcome(Test::Bootstrap, 0.49, &pairs), GateOutcome::Block);
        assert_eq!(outcome(Test::Bootstrap, 0.0, &[(0.5, 0.5), (0.5, 0.5)]), GateOutcome::Block);
        assert_eq!(outcome(Test::Bootstrap, -0.1, &[(0.5, 0.5), (0.5, 0.5)]), GateOutcome::Pass);
        assert_eq!(outcome(Test::Bootstrap, 0.0, &[]), GateOutcome::InsufficientEvidence);
    }

    #[test]
    fn pairs_are_turned_so_that_higher_is_better() {
        let side = |a: f64, b: f64| Scores::from([("a".to_owned(), a), ("b".to_owned(), b)]);
        let sides = [side(1.0, 0.0), side(0.0, 1.0)];
        assert_eq!(pairs(&sides, 1.0).unwrap(), [(1.0, 0.0), (0.0, 1.0)]);
        assert_eq!(pairs(&sides, -1.0).unwrap(), [(-1.0, -0.0), (-0.0, -1.0)]);
        assert!(pairs(&[side(1.0, 0.0), Scores::new()], 1.0).unwrap_err().contains("not the same"));
    }
}
