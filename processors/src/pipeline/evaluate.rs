//! Settings of an `evaluate` job.

use super::names::{self, Pattern, Target};
use serde::{Deserialize, Serialize};

const MAX_NEW_TOKENS_DEFAULT: usize = 128;
const MAX_NEW_TOKENS_MAX: usize = 65_536;
const TASKS_MAX: usize = 64;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluateSpec {
    /// A train job, a registered model, or a run.
    pub subject: Target,
    pub suite: String,
    pub dataset: Target,
    pub split: String,
    /// Only the first rows, in the split's order.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "names::counted_option")]
    pub limit: Option<u64>,
    pub tasks: Vec<TaskSpec>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskKind {
    /// Mean negative log likelihood of the split's texts or outputs.
    Perplexity,
    /// Answers are generated and compared with the rows' outputs.
    Generate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    ExactMatch,
    F1,
    FormatValidity,
}

impl Metric {
    pub fn as_str(self) -> &'static str {
        match self {
            Metric::ExactMatch => "exact_match",
            Metric::F1 => "f1",
            Metric::FormatValidity => "format_validity",
        }
    }
}

/// One task. All keys but `name` and `kind` are of tasks that generate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskSpec {
    pub name: String,
    pub kind: TaskKind,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "names::counted_option")]
    pub max_new_tokens: Option<u64>,
    /// 0, the default, always takes the likeliest token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "names::counted_option")]
    pub top_k: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<Metric>,
    /// What an answer must match to be of valid form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Pattern>,
    /// What of an answer is compared: its first group, or the whole match; the whole answer by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extract: Option<Pattern>,
    /// The same for the row's output; `extract` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference_extract: Option<Pattern>,
}

impl TaskSpec {
    pub fn max_new_tokens(&self) -> usize {
        self.max_new_tokens.map_or(MAX_NEW_TOKENS_DEFAULT, |tokens| tokens as usize)
    }

    fn check(&self) -> Result<(), String> {
        let generates = [
            ("max_new_tokens", self.max_new_tokens.is_some()),
            ("temperature", self.temperature.is_some()),
            ("top_k", self.top_k.is_some()),
            ("top_p", self.top_p.is_some()),
            ("metrics", !self.metrics.is_empty()),
            ("format", self.format.is_some()),
            ("extract", self.extract.is_some()),
            ("reference_extract", self.reference_extract.is_some()),
        ];
        if self.kind == TaskKind::Perplexity {
            return match generates.iter().find(|(_, given)| *given) {
                Some((key, _)) => Err(format!("`{key}` has no effect on a task of kind perplexity; remove it")),
                None => Ok(()),
            };
        }
        if self.max_new_tokens() > MAX_NEW_TOKENS_MAX {
            return Err(format!("`max_new_tokens` is {}; at most {MAX_NEW_TOKENS_MAX}", self.max_new_tokens()));
        }
        if self.metrics.is_empty() {
            return Err("`metrics` is missing; name some of exact_match, f1, format_validity".to_owned());
        }
        if self.metrics.contains(&Metric::FormatValidity) != self.format.is_some() {
            return Err("`format_validity` among the metrics and `format`, its pattern, need each other".to_owned());
        }
        if let Some(temperature) = self.temperature.filter(|t| !(t.is_finite() && *t >= 0.0)) {
            return Err(format!("`temperature` is {temperature}; expected 0 (greedy) or more"));
        }
        if let Some(top_p) = self.top_p.filter(|p| !(*p > 0.0 && *p <= 1.0)) {
            return Err(format!("`top_p` is {top_p}; expected above 0 and at most 1"));
        }
        Ok(())
    }
}

impl EvaluateSpec {
    pub(super) fn check(&self) -> Result<(), String> {
        if self.tasks.is_empty() || self.tasks.len() > TASKS_MAX {
            return Err(format!("`tasks` has {} entries; give 1 to {TASKS_MAX}", self.tasks.len()));
        }
        for (at, task) in self.tasks.iter().enumerate() {
            if task.name.is_empty() || task.name.contains(['.', ' ']) {
                return Err(format!("`{}` is no name of a task; use no space and no `.`", task.name));
            }
            if self.tasks[..at].iter().any(|other| other.name == task.name) {
                return Err(format!("two tasks are named `{}`; give each its own name", task.name));
            }
            task.check().map_err(|why| format!("task `{}`: {why}", task.name))?;
        }
        Ok(())
    }
}
