//! Settings of a `gate` job, and the conditions it is written in.

use super::names::{self, JobRef, Target};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateSpec {
    pub subject: Target,
    /// What `compare` compares with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Target>,
    pub evaluations: Vec<Target>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub baseline_evaluations: Vec<Target>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub require: Vec<Condition>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub compare: Vec<CompareSpec>,
    #[serde(default)]
    pub on_block: OnBlock,
}

/// Whether the pipeline goes on after a gate that blocked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnBlock {
    #[default]
    Stop,
    Continue,
}

/// A metric of a task: `answers.f1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metric {
    pub task: String,
    pub name: String,
}

impl Metric {
    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no metric of a task; expected task.metric, such as answers.f1");
        let (task, name) = text.trim().split_once('.').ok_or_else(wrong)?;
        let fits = |part: &str| !part.is_empty() && !part.contains([' ', '.']);
        if !fits(task) || !fits(name) {
            return Err(wrong());
        }
        Ok(Self { task: task.to_owned(), name: name.to_owned() })
    }
}
impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.task, self.name)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    AtLeast,
    Above,
    AtMost,
    Below,
}

impl Comparison {
    pub fn as_str(self) -> &'static str {
        match self {
            Comparison::AtLeast => ">=",
            Comparison::Above => ">",
            Comparison::AtMost => "<=",
            Comparison::Below => "<",
        }
    }
    /// A value that is no number never holds.
    pub fn holds(self, value: f64, threshold: f64) -> bool {
        match self {
            Comparison::AtLeast => value >= threshold,
            Comparison::Above => value > threshold,
            Comparison::AtMost => value <= threshold,
            Comparison::Below => value < threshold,
        }
    }
}

/// `answers.format_validity >= 0.8`.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    pub metric: Metric,
    pub comparison: Comparison,
    pub threshold: f64,
}

impl Condition {
    pub fn parse(text: &str) -> Result<Self, String> {
        const OPERATORS: [Comparison; 4] =
            [Comparison::AtLeast, Comparison::AtMost, Comparison::Above, Comparison::Below];
        let wrong = || format!("`{text}` is no condition; expected task.metric >= number, with one of >=, >, <=, <");
        let found = OPERATORS.into_iter().find_map(|operator| {
            text.split_once(operator.as_str()).map(|(metric, threshold)| (metric, operator, threshold))
        });
        let (metric, comparison, threshold) = found.ok_or_else(wrong)?;
        let threshold: f64 = threshold.trim().parse().map_err(|_| wrong())?;
        if !threshold.is_finite() {
            return Err(wrong());
        }
        Ok(Self { metric: Metric::parse(metric)?, comparison, threshold })
    }
}
impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.metric, self.comparison.as_str(), self.threshold)
    }
}

/// How a paired comparison decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Test {
    /// For metrics that are 0 or 1 in each sample (exact, two-sided).
    Mcnemar,
    /// For any metric: percentile interval of the mean difference over resampled pairs.
    Bootstrap,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompareSpec {
    pub metric: Metric,
    pub test: Test,
    /// By how much the subject's mean must exceed the baseline's.
    #[serde(default)]
    pub better_by: f64,
    #[serde(default = "confidence", deserialize_with = "names::share")]
    pub confidence: f64,
}

fn confidence() -> f64 {
    0.95
}

/// Text in, text out.
macro_rules! as_text {
    ($type:ty) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = String::deserialize(from)?;
                Self::parse(&text).map_err(de::Error::custom)
            }
        }
    };
}
as_text!(Metric);
as_text!(Condition);

impl GateSpec {
    pub(super) fn names(&self) -> Vec<&JobRef> {
        let single = [Some(&self.subject), self.baseline.as_ref()].into_iter().flatten();
        single.chain(&self.evaluations).chain(&self.baseline_evaluations).filter_map(Target::job).collect()
    }

    pub(super) fn check(&self) -> Result<(), String> {
        if self.evaluations.is_empty() {
            return Err("`evaluations` is empty; name the evaluate jobs that the gate rests on".to_owned());
        }
        if self.require.is_empty() && self.compare.is_empty() {
            return Err("a gate without a condition passes everything; give `require` or `compare`".to_owned());
        }
        if !self.compare.is_empty() && (self.baseline.is_none() || self.baseline_evaluations.is_empty()) {
            return Err("`compare` needs `baseline` and `baseline_evaluations`".to_owned());
        }
        for compare in &self.compare {
            let within = compare.confidence > 0.0 && compare.confidence < 1.0;
            if !(compare.better_by.is_finite() && within) {
                return Err(format!(
                    "`compare` of {}: `better_by` is a number and `confidence` lies between 0 and 1",
                    compare.metric
                ));
            }
        }
        Ok(())
    }
}
