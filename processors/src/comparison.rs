//! Comparison of 2 to 4 subjects on a task, sample by sample where samples were kept. Results of unlike protocols are
//! refused, with the fields that differ, unless they are asked for side by side, without a verdict.

mod protocol;
pub(crate) mod samples;
mod sides;
mod verdict;

pub use protocol::{Difference, Held};
pub use sides::Contender;
pub use verdict::{Method, Pair, Verdict};

pub(crate) use protocol::differences;

use crate::{Context, Error};
use cairn_projections::evals::{At, Filter, Standing};
use samples::{Scores, of_evaluation};

/// Subjects compared at once.
pub const SUBJECTS_MAX: usize = 4;
/// Draws times samples times pairs: some seconds of work.
const WORK_MAX: u64 = 1_000_000_000;
const RESAMPLES_MAX: u32 = 100_000;

/// What is compared, and how.
#[derive(Clone, Debug)]
pub struct Question {
    /// 2 to 4, each once.
    pub subjects: Vec<Contender>,
    pub task: String,
    /// May be absent where the task has one.
    pub metric: Option<String>,
    /// Which results of them; its `task`, `metric`, `subject` and steps are not looked at.
    pub filter: Filter,
    pub at: At,
    /// Unlike protocols are shown beside each other, without a verdict.
    pub side_by_side: bool,
    /// Inside 0 to 1: of the intervals, and of the verdicts taken together.
    pub confidence: f64,
    /// Draws of the bootstrap, and of the permutation test where it is not exact.
    pub resamples: u32,
    /// The same seed gives the same answer.
    pub seed: u64,
    /// Samples to show at most: those on which the scores differ most.
    pub samples_max: usize,
}

impl Question {
    /// With the numbers that are used where none are given.
    pub fn new(subjects: Vec<Contender>, task: impl Into<String>, metric: Option<String>) -> Self {
        Self {
            subjects,
            task: task.into(),
            metric,
            filter: Filter::default(),
            at: At::default(),
            side_by_side: false,
            confidence: 0.95,
            resamples: 10_000,
            seed: 17,
            samples_max: 0,
        }
    }

    fn check(&self) -> Result<(), Error> {
        let refused = |what: &str, why: String| Err(Error::refused(what, why));
        let count = self.subjects.len();
        if !(2..=SUBJECTS_MAX).contains(&count) {
            return refused("the subjects", format!("{count} were given; a comparison is of 2 to {SUBJECTS_MAX}"));
        }
        for (number, subject) in self.subjects.iter().enumerate() {
            if self.subjects[..number].contains(subject) {
                return refused("the subjects", format!("{subject} is given twice; name each once"));
            }
        }
        if !(self.confidence > 0.0 && self.confidence < 1.0) {
            return refused("confidence", format!("{} is not between 0 and 1; 0.95 is usual", self.confidence));
        }
        if !(100..=RESAMPLES_MAX).contains(&self.resamples) {
            return refused("resamples", format!("{} is not from 100 to {RESAMPLES_MAX}", self.resamples));
        }
        Ok(())
    }
}

/// A comparison.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Compared {
    pub task: String,
    pub metric: String,
    pub higher_is_better: bool,
    /// The results compared, in the order asked for.
    pub sides: Vec<Standing>,
    /// What is not the same in all sides; empty where they are comparable.
    pub differences: Vec<Difference>,
    /// How a verdict was come to; absent where there is none, and why.
    pub method: Option<Method>,
    pub no_verdict: Option<String>,
    pub confidence: f64,
    pub resamples: u32,
    pub seed: u64,
    /// Samples that every side scored.
    pub paired: u64,
    /// Every two of the sides.
    pub pairs: Vec<Pair>,
    /// Samples on which the scores differ most.
    pub samples: Vec<SampleScores>,
}

/// One sample's score on each side, in the order of the sides.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct SampleScores {
    pub sample: String,
    pub scores: Vec<f64>,
}

/// Compares the latest results of some subjects.
pub fn compare(ctx: &Context, question: &Question) -> Result<Compared, Error> {
    question.check()?;
    let (metric, sides) = sides::find(ctx, question)?;
    let completed = sides.iter().map(|side| sides::event(ctx, side)).collect::<Result<Vec<_>, _>>()?;
    let differences = differences(&completed);
    if !differences.is_empty() && !question.side_by_side {
        let list: Vec<String> = differences.iter().map(ToString::to_string).collect();
        let why = format!(
            "they were measured unlike and cannot be compared; they differ in {}; ask for them side by side to see the values without a verdict",
            list.join("; ")
        );
        return Err(Error::refused(format!("`{metric}` of `{}`", question.task), why));
    }
    let higher_is_better = sides.iter().max_by_key(|side| side.position).is_some_and(|side| side.higher_is_better);
    let mut answer = Compared {
        task: question.task.clone(),
        metric: metric.clone(),
        higher_is_better,
        differences,
        method: None,
        no_verdict: None,
        confidence: question.confidence,
        resamples: question.resamples,
        seed: question.seed,
        paired: 0,
        pairs: verdict::side_by_side(&sides),
        samples: Vec::new(),
        sides,
    };
    if !answer.differences.is_empty() {
        answer.no_verdict = Some("the results are of unlike protocols".to_owned());
        return Ok(answer);
    }
    let mut scores = Vec::with_capacity(completed.len());
    for event in &completed {
        match of_evaluation(ctx, event, &metric, question.at.as_of)? {
            Ok(found) => scores.push(found),
            Err(why) => {
                answer.no_verdict = Some(why);
                return Ok(answer);
            }
        }
    }
    judge(question, &scores, &mut answer)?;
    Ok(answer)
}

fn judge(question: &Question, scores: &[Scores], answer: &mut Compared) -> Result<(), Error> {
    let columns = match samples::aligned(scores) {
        Ok(columns) => columns,
        Err(why) => {
            answer.no_verdict = Some(why);
            return Ok(());
        }
    };
    let count = columns[0].len() as u64;
    let pairs = (columns.len() * (columns.len() - 1) / 2) as u64;
    if count * u64::from(question.resamples) * pairs > WORK_MAX {
        let fits = WORK_MAX / (count * pairs);
        let why = format!("{} draws of {count} samples are too many here; at most {fits} fit", question.resamples);
        return Err(Error::refused("resamples", why));
    }
    answer.paired = count;
    let (method, pairs) = verdict::judged(question, &columns, answer.higher_is_better);
    (answer.method, answer.pairs) = (Some(method), pairs);
    answer.samples = most_unlike(scores, question.samples_max);
    Ok(())
}

/// Samples with the greatest distance between their scores, in order of it; none on which all agree.
fn most_unlike(scores: &[Scores], count_max: usize) -> Vec<SampleScores> {
    let row = |sample: &String| SampleScores {
        sample: sample.clone(),
        scores: scores.iter().map(|side| side[sample]).collect(),
    };
    let spread = |row: &SampleScores| {
        let (low, high) =
            row.scores.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), s| (l.min(*s), h.max(*s)));
        high - low
    };
    let mut all: Vec<SampleScores> = scores[0].keys().map(row).filter(|row| spread(row) > 0.0).collect();
    all.sort_by(|a, b| spread(b).total_cmp(&spread(a)).then_with(|| a.sample.cmp(&b.sample)));
    all.truncate(count_max);
    all
}

#[cfg(test)]
mod tests;
