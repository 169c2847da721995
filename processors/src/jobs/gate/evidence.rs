//! The evaluations that a gate rests on, by task.

use crate::jobs::evaluate::find_evaluation;
use crate::pipeline::GateMetric;
use crate::{Context, Error};
use cairn_schemas::Ref;
use cairn_schemas::events::evaluation::{EvaluationCompleted, Measure};

/// What was evaluated, and what of it no longer counts.
#[derive(Default)]
pub(super) struct Evidence {
    evaluations: Vec<EvaluationCompleted>,
    /// Evaluations that cannot be relied on, in words.
    unusable: Vec<String>,
}

impl Evidence {
    pub(super) fn read(ctx: &Context, references: &[Ref]) -> Result<Self, Error> {
        let mut evidence = Evidence::default();
        for reference in references {
            let found = find_evaluation(ctx, reference)?;
            match (found.superseded, found.completed) {
                (Some(why), _) => evidence.unusable.push(format!("`{reference}` was superseded {why}")),
                (None, None) => evidence.unusable.push(format!("`{reference}` was not completed")),
                (None, Some(completed)) => evidence.evaluations.push(completed),
            }
        }
        Ok(evidence)
    }

    /// The one evaluation of `metric.task`, of `subject`, and its measure; or why there is none to rely on.
    pub(super) fn measure(
        &self,
        metric: &GateMetric,
        subject: &Ref,
    ) -> Result<(&EvaluationCompleted, &Measure), String> {
        let of_task: Vec<&EvaluationCompleted> =
            self.evaluations.iter().filter(|evaluation| evaluation.task == metric.task).collect();
        let evaluation = match of_task.as_slice() {
            [one] => *one,
            [] => return Err(self.no_task(metric)),
            several => return Err(format!("{} evaluations have a task `{}`; name one", several.len(), metric.task)),
        };
        if evaluation.subject != *subject {
            return Err(format!("`{}` is of `{}`, not of `{subject}`", evaluation.evaluation, evaluation.subject));
        }
        let found = evaluation.metrics.iter().find(|measure| measure.name == metric.name);
        let measure = found.ok_or_else(|| {
            let names: Vec<&str> = evaluation.metrics.iter().map(|measure| measure.name.as_str()).collect();
            format!("task `{}` has no metric `{}`; it has {}", metric.task, metric.name, names.join(", "))
        })?;
        if !measure.value.0.is_finite() || measure.n == 0 {
            return Err(format!("`{metric}` is {} over n = {}", measure.value, measure.n));
        }
        Ok((evaluation, measure))
    }

    fn no_task(&self, metric: &GateMetric) -> String {
        let tasks: Vec<&str> = self.evaluations.iter().map(|evaluation| evaluation.task.as_str()).collect();
        let there = if tasks.is_empty() {
            "no evaluation was found".to_owned()
        } else {
            format!("there are {}", tasks.join(", "))
        };
        let unusable = self.unusable.iter().map(|why| format!("; {why}")).collect::<String>();
        format!("no evaluation has a task `{}`: {there}{unusable}", metric.task)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_schemas::{Blake3, RawJson, Real};

    fn evaluation(task: &str, subject: &str, value: f64, n: u64) -> EvaluationCompleted {
        EvaluationCompleted {
            evaluation: Ref::eval("e").unwrap(),
            subject: subject.parse().unwrap(),
            run: None,
            suite: "s".into(),
            task: task.into(),
            dataset: None,
            slice: "all".into(),
            metrics: vec![Measure {
                name: "f1".into(),
                value: Real(value),
                n,
                standard_error: None,
                higher_is_better: true,
                unit: None,
            }],
            protocol_digest: Blake3::of(b"p"),
            protocol: RawJson::default(),
            samples: None,
            step: None,
        }
    }

    #[test]
    fn what_is_not_there_is_said() {
        const MODEL: &str = "model://default/m@1";
        let subject: Ref = MODEL.parse().unwrap();
        let of = |evaluations: Vec<EvaluationCompleted>| Evidence {
            evaluations,
            unusable: vec!["`eval:x` was superseded: r".into()],
        };
        let metric = GateMetric { task: "answers".into(), name: "f1".into() };
        let wrong = GateMetric { task: "answers".into(), name: "em".into() };
        let why = |evidence: &Evidence, metric: &GateMetric| evidence.measure(metric, &subject).unwrap_err();
        let good = of(vec![evaluation("answers", MODEL, 0.5, 2)]);
        assert_eq!(good.measure(&metric, &subject).unwrap().1.value, Real(0.5));
        assert!(why(&good, &wrong).contains("no metric `em`; it has f1"));
        assert!(why(&of(vec![]), &metric).contains("superseded"));
        assert!(why(&of(vec![evaluation("loss", MODEL, 1.0, 1)]), &metric).contains("there are loss"));
        assert!(why(&of(vec![evaluation("answers", "model://default/m@2", 1.0, 1)]), &metric).contains("not of"));
        assert!(why(&of(vec![evaluation("answers", MODEL, f64::NAN, 3)]), &metric).contains("NaN"));
        assert!(why(&of(vec![evaluation("answers", MODEL, 1.0, 0)]), &metric).contains("n = 0"));
        let twice = of(vec![evaluation("answers", MODEL, 1.0, 1), evaluation("answers", MODEL, 0.0, 1)]);
        assert!(why(&twice, &metric).contains("2 evaluations"));
    }
}
