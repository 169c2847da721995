//! Scores of samples: from the samples artifact of an evaluation, or from the events that scored them.

use crate::dataset_reader::{artifact_bytes, artifact_digest};
use crate::{Context, Error};
use cairn_schemas::events::evaluation::EvaluationCompleted;
use cairn_schemas::{Position, Ref};
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Scores of one metric by sample.
pub(crate) type Scores = BTreeMap<String, f64>;

/// One line of a samples artifact, ours or another producer's: what else it holds is not looked at.
#[derive(Deserialize)]
struct Line {
    sample: String,
    scores: BTreeMap<String, Value>,
}

/// An evaluation's scores, or in words why they cannot be paired.
pub(crate) fn of_evaluation(
    ctx: &Context,
    evaluation: &EvaluationCompleted,
    metric: &str,
    as_of: Option<Position>,
) -> Result<Result<Scores, String>, Error> {
    let of = &evaluation.evaluation;
    let all = match &evaluation.samples {
        Some(artifact) if is_here(ctx, artifact)? => lines(ctx, artifact)?,
        samples => {
            let scored = ctx.projections().evals().samples(of, as_of)?;
            if scored.is_empty() {
                let lost = samples.as_ref().map(|artifact| format!(", and {artifact} is not in this ledger"));
                return Ok(Err(format!(
                    "`{of}` kept no samples{}, so nothing can be paired",
                    lost.unwrap_or_default()
                )));
            }
            scored
        }
    };
    let (mut scores, mut metrics) = (Scores::new(), BTreeSet::new());
    let count = all.iter().map(|(sample, ..)| sample).collect::<BTreeSet<_>>().len();
    for (sample, name, score) in all {
        if name == metric {
            scores.insert(sample, score);
        } else {
            metrics.insert(name);
        }
    }
    if scores.is_empty() {
        let metrics: Vec<String> = metrics.into_iter().collect();
        return Ok(Err(format!("samples of `{of}` hold no `{metric}`, but {}", metrics.join(", "))));
    }
    if scores.len() < count {
        let why = format!("{} of the {count} samples of `{of}` hold no `{metric}`", count - scores.len());
        return Ok(Err(why));
    }
    if let Some((sample, score)) = scores.iter().find(|(_, score)| !score.is_finite()) {
        return Ok(Err(format!("sample `{sample}` of `{of}` scores {score} in `{metric}`")));
    }
    Ok(Ok(scores))
}

fn is_here(ctx: &Context, artifact: &Ref) -> Result<bool, Error> {
    Ok(ctx.ledger().artifacts(ctx.tenant()).contains(&artifact_digest(artifact)?))
}

/// Sample, metric and score.
type Scored = (String, String, f64);

/// Everything in an artifact.
fn lines(ctx: &Context, artifact: &Ref) -> Result<Vec<Scored>, Error> {
    parse(&artifact_bytes(ctx, artifact)?)
        .map_err(|(line, why)| Error::Stored { what: format!("samples `{artifact}`, line {line}"), why })
}

/// The error names the line.
fn parse(bytes: &[u8]) -> Result<Vec<Scored>, (usize, String)> {
    let mut found = Vec::new();
    for (number, line) in bytes.split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.is_empty()) {
        let line: Line = serde_json::from_slice(line).map_err(|e| (number + 1, e.to_string()))?;
        for (metric, score) in line.scores {
            let wrong = || (number + 1, format!("the score `{metric}` is {score}, which is no number"));
            let score = match &score {
                // What is not a number cannot be written as one.
                Value::Null => f64::NAN,
                Value::Bool(right) => f64::from(u8::from(*right)),
                Value::Number(number) => number.as_f64().ok_or_else(wrong)?,
                Value::String(text) => text.parse().map_err(|_| wrong())?,
                _ => return Err(wrong()),
            };
            found.push((line.sample.clone(), metric, score));
        }
    }
    Ok(found)
}

/// The scores of each side in the order of the samples' names, where all sides scored the same samples.
pub(crate) fn aligned(sides: &[Scores]) -> Result<Vec<Vec<f64>>, String> {
    if sides.iter().any(|side| !side.keys().eq(sides[0].keys())) {
        let shared = sides[0].keys().filter(|sample| sides.iter().all(|side| side.contains_key(*sample))).count();
        let counts: Vec<String> = sides.iter().map(|side| side.len().to_string()).collect();
        return Err(format!("the samples are not the same: {}, of which {shared} are shared", counts.join(" and ")));
    }
    Ok(sides.iter().map(|side| side.values().copied().collect()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_any_producer_are_read() {
        let text = br#"{"sample": "a", "scores": {"em": 1, "f1": 0.5}, "prompt": "p", "more": [1]}

{"sample": "b", "scores": {"em": false, "f1": null}}
{"sample": "c", "scores": {"em": "Infinity"}}
"#;
        let found = parse(text).unwrap();
        let shown: Vec<String> =
            found.iter().map(|(sample, metric, score)| format!("{sample} {metric} {score}")).collect();
        assert_eq!(shown, ["a em 1", "a f1 0.5", "b em 0", "b f1 NaN", "c em inf"]);
        for (text, line, said) in [
            ("{\"sample\": \"a\", \"scores\": {}}\n{", 2, "EOF"),
            ("{\"scores\": {}}", 1, "sample"),
            ("{\"sample\": \"a\", \"scores\": {\"em\": [1]}}", 1, "the score `em` is [1]"),
            ("{\"sample\": \"a\", \"scores\": {\"em\": \"right\"}}", 1, "which is no number"),
        ] {
            let (number, why) = parse(text.as_bytes()).unwrap_err();
            assert!(number == line && why.contains(said), "{text}: {number}: {why}");
        }
    }

    #[test]
    fn only_the_same_samples_are_paired() {
        let side =
            |scores: &[(&str, f64)]| scores.iter().map(|(sample, score)| ((*sample).to_owned(), *score)).collect();
        let one: Scores = side(&[("b", 0.0), ("a", 1.0)]);
        let other: Scores = side(&[("a", 0.5), ("b", 0.25)]);
        assert_eq!(aligned(&[one.clone(), other.clone()]).unwrap(), [[1.0, 0.0], [0.5, 0.25]]);
        let why = aligned(&[one, other, side(&[("a", 1.0), ("c", 1.0)])]).unwrap_err();
        assert!(why.contains("2 and 2 and 2, of which 1 are shared"), "{why}");
    }
}
