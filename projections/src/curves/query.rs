//! Questions to the curves.

use super::curve::{Curve, Range, Stretch};
use super::origin::{Offset, Part, line};
use super::pyramid::Kept;
use super::read::{Reader, Visitor};
use super::rows::{Entry, Stored};
use super::{Axis, Curves, Point, Smoothing, Takeover};
use crate::Error;
use crate::store::Store;
use cairn_schemas::{Position, RunId};
use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;

/// Names that an error lists.
const NAMES_LISTED: usize = 8;
/// Characters of a given name that are looked at and shown.
const NAME_SHOWN: usize = 100;
/// Metrics that one question may come to, over all of its runs.
const CURVES_MAX: usize = 10_000;

/// What curves to show, and how.
#[derive(Clone, Debug, Default)]
pub struct CurveQuery {
    pub runs: Vec<RunId>,
    /// Names, in which `*` stands for any text.
    pub metrics: Vec<String>,
    pub axis: Axis,
    /// The lower end on the axis, which is in the range.
    pub from: Option<f64>,
    /// The upper end on the axis, which is in the range.
    pub to: Option<f64>,
    /// Points of one curve, at most (4 or more): the first of the range is kept, and of each of its parts the least, the
    /// greatest and the last value, a NaN if there is one, and beside an infinite extreme the finite one. Fewer than 7
    /// may not hold all of these, and then leave out the last named. `None`: all of them.
    pub points_max: Option<usize>,
    /// Curves that the metrics may come to, over all runs; 10,000 where absent.
    pub curves_max: Option<usize>,
    pub as_of: Option<Position>,
    pub smoothing: Option<Smoothing>,
    /// Instead of points as logged, so many even places, between whose neighbours straight lines are drawn.
    pub resample: Option<usize>,
    /// Each run together with the runs that it went on from, up to where it did. Steps and tokens are then counted
    /// along the lineage.
    pub ancestors: bool,
    /// All points of all attempts, rather than those that count.
    pub attempts: bool,
}

impl CurveQuery {
    /// One metric of one run, whole.
    pub fn of(run: &RunId, metric: &str) -> Self {
        Self { runs: vec![*run], metrics: vec![metric.to_owned()], ..Self::default() }
    }

    /// The axis that is meant: a curve with its ancestors only lies on one that counts along them.
    pub(super) fn axis_meant(&self) -> Axis {
        match self.axis {
            Axis::Step if self.ancestors => Axis::LineageSteps,
            Axis::Tokens if self.ancestors => Axis::LineageTokens,
            axis => axis,
        }
    }
}

/// One curve.
#[derive(Clone, Debug)]
pub struct CurveAnswer {
    pub run: RunId,
    pub metric: String,
    /// What `x` counts.
    pub axis: Axis,
    /// The runs that it is made of, the oldest first; the run itself is the last.
    pub parts: Vec<Part>,
    /// In order along the axis. Empty where the run has no such metric, or [`unplaced`](Self::unplaced) says why.
    pub points: Vec<Point>,
    /// Points that lie in the range.
    pub total_points: u64,
    /// Whether `points` are all of them, as logged.
    pub exact: bool,
    /// Why its points have no place on the axis: what an ancestor had seen is not known.
    pub unplaced: Option<String>,
}

/// What a run has of a metric.
#[derive(Clone, Debug, serde::Serialize)]
pub struct MetricSummary {
    pub name: String,
    /// Points that count.
    pub points: u64,
    pub first_step: u64,
    pub last: Point,
    /// Of what is not NaN; `None` where all is.
    pub min: Option<f64>,
    pub max: Option<f64>,
}

impl Curves {
    /// Curves of each run, in the order of the runs and, within one, of the metrics as they are asked for (those of a
    /// pattern by name). A metric that some of the runs have and another lacks gives that one a curve without points; a
    /// pattern gives none without points.
    pub fn query(&self, query: &CurveQuery) -> Result<Vec<CurveAnswer>, Error> {
        let axis = query.axis_meant();
        let range = Range::of(axis, query.from, query.to)?;
        query.smoothing.map_or(Ok(()), Smoothing::check)?;
        if query.attempts && query.resample.is_some() {
            let why = "points of all attempts cannot be resampled: ask for one of the two";
            return Err(Error::question("curves", why));
        }
        self.0.read(|store| {
            let lines: Vec<Logical<'_>> =
                query.runs.iter().map(|run| Logical::of(store, *run, axis, query)).collect::<Result<_, _>>()?;
            let metrics = named(&query.metrics, &lines)?;
            let count: usize = metrics.iter().map(Vec::len).sum();
            let most = query.curves_max.unwrap_or(CURVES_MAX);
            if count > most {
                let why = format!("{count} curves, at most {most} in one question; name fewer runs or metrics, or ask for fewer points");
                return Err(Error::question("curves", why));
            }
            let mut answers = Vec::new();
            for (line, metrics) in lines.iter().zip(metrics) {
                for Named { metric, by_pattern } in metrics {
                    let answer = line.answer(metric, range, query)?;
                    if !by_pattern || answer.total_points > 0 || answer.unplaced.is_some() {
                        answers.push(answer);
                    }
                }
            }
            Ok(answers)
        })
    }

    /// The points of one metric of a run that count, one a step, in order of step. After a resume the later attempt's
    /// steps replace the earlier one's from the checkpoint on. Empty where the run has no such metric.
    pub fn series(&self, run: &RunId, metric: &str) -> Result<Vec<Point>, Error> {
        let known = self.runs_metrics(run, None)?.iter().any(|name| name == metric);
        let query = CurveQuery { metrics: vec![exactly(metric)], ..CurveQuery::of(run, metric) };
        let answers = if known { self.query(&query)? } else { Vec::new() };
        Ok(answers.into_iter().flat_map(|answer| answer.points).collect())
    }

    /// Names of the run's metrics, sorted; of those that it had logged by a position where one is given.
    pub fn runs_metrics(&self, run: &RunId, as_of: Option<Position>) -> Result<Vec<String>, Error> {
        self.0.read(|store| {
            let Some(reader) = Reader::of(store, *run, as_of)? else { return Ok(Vec::new()) };
            let mut names = Vec::new();
            for number in reader.logged()? {
                names.push(reader.name(number)?);
            }
            names.sort_unstable();
            Ok(names)
        })
    }

    /// What the run has of each metric, by name.
    pub fn metrics(&self, run: &RunId, as_of: Option<Position>) -> Result<Vec<MetricSummary>, Error> {
        self.0.read(|store| {
            let Some(reader) = Reader::of(store, *run, as_of)? else { return Ok(Vec::new()) };
            let mut summaries = Vec::new();
            for (slot, name) in (0..).zip(reader.metrics()?) {
                let mut sum = Sum::default();
                reader.series(slot)?.each(0..=u64::MAX, &mut sum)?;
                let Some((first_step, last)) = sum.first_step.zip(sum.last) else { continue };
                let last = last.shown(last.step as f64);
                summaries.push(MetricSummary {
                    name,
                    points: sum.points,
                    first_step,
                    last,
                    min: sum.min,
                    max: sum.max,
                });
            }
            summaries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
            Ok(summaries)
        })
    }

    /// The last point that counts of each metric of the run, by name.
    pub fn latest(&self, run: &RunId, as_of: Option<Position>) -> Result<Vec<(String, Point)>, Error> {
        Ok(self.metrics(run, as_of)?.into_iter().map(|metric| (metric.name, metric.last)).collect())
    }

    /// When later attempts of the run took over, by attempt; as was known at a position where one is given.
    pub fn takeovers(&self, run: &RunId, as_of: Option<Position>) -> Result<Vec<Takeover>, Error> {
        self.0.read(|store| Ok(Reader::of(store, *run, as_of)?.map_or(Vec::new(), |reader| reader.takeovers)))
    }

    /// The run and what it went on from, the oldest first.
    pub fn line(&self, run: &RunId, as_of: Option<Position>) -> Result<Vec<Part>, Error> {
        self.0.read(|store| line(store, *run, as_of))
    }
}

/// A run, and with it its ancestors where they are asked for.
pub(super) struct Logical<'a> {
    run: RunId,
    parts: Vec<Part>,
    /// By part; `None` where nothing was logged.
    readers: Vec<Option<Reader<'a>>>,
    axis: Axis,
}

impl<'a> Logical<'a> {
    pub(super) fn of(store: &'a dyn Store, run: RunId, axis: Axis, query: &CurveQuery) -> Result<Self, Error> {
        let mut parts = match axis {
            Axis::LineageSteps | Axis::LineageTokens => line(store, run, query.as_of)?,
            _ if query.ancestors => line(store, run, query.as_of)?,
            _ => vec![Part { run, to_step: None, steps_before: Offset::Known(0), tokens_before: Offset::Known(0) }],
        };
        if !query.ancestors {
            parts.drain(..parts.len() - 1);
        }
        let reader = |part: &Part| Reader::of(store, part.run, query.as_of);
        let readers = parts.iter().map(reader).collect::<Result<_, _>>()?;
        Ok(Self { run, parts, readers, axis })
    }

    fn metrics(&self, names: &mut Names) -> Result<BTreeSet<String>, Error> {
        let mut metrics = BTreeSet::new();
        for reader in self.readers.iter().flatten() {
            for number in reader.logged()? {
                metrics.insert(names.name(reader, number)?);
            }
        }
        Ok(metrics)
    }

    fn has(&self, metric: &str) -> Result<bool, Error> {
        for reader in self.readers.iter().flatten() {
            if let Some(slot) = reader.slot(metric)?
                && reader.has_logged(slot)?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn is_empty(&self) -> Result<bool, Error> {
        for reader in self.readers.iter().flatten() {
            if reader.header.slots() > 0 && reader.has_logged(0)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The curve of a metric, and why a part of it has no place on the axis.
    pub(super) fn curve(&self, metric: &str, range: Range) -> Result<(Curve<'_>, Option<String>), Error> {
        let mut stretches = Vec::with_capacity(self.parts.len());
        for (part, reader) in self.parts.iter().zip(&self.readers) {
            let Some(reader) = reader else { continue };
            let Some(slot) = reader.slot(metric)? else { continue };
            match Stretch::of(reader.series(slot)?, part, self.axis) {
                Some(stretch) => stretches.push(stretch),
                None => return Ok((Curve { stretches: Vec::new(), range }, self.unplaced(part))),
            }
        }
        Ok((Curve { stretches, range }, None))
    }

    fn unplaced(&self, part: &Part) -> Option<String> {
        let before = if self.axis == Axis::LineageSteps { &part.steps_before } else { &part.tokens_before };
        match before {
            Offset::Unknown(why) => Some(why.clone()),
            Offset::Known(_) | Offset::Estimated(_) => None,
        }
    }

    fn answer(&self, metric: String, range: Option<Range>, query: &CurveQuery) -> Result<CurveAnswer, Error> {
        let mut answer = CurveAnswer {
            run: self.run,
            metric,
            axis: self.axis,
            parts: self.parts.clone(),
            points: Vec::new(),
            total_points: 0,
            exact: true,
            unplaced: None,
        };
        let Some(range) = range else { return Ok(answer) };
        let (curve, unplaced) = self.curve(&answer.metric, range)?;
        answer.unplaced = unplaced;
        if let Some(count) = query.resample {
            (answer.points, answer.total_points) = curve.resample(query, count)?;
            answer.exact = false;
            return Ok(answer);
        }
        let found = curve.find(query)?;
        answer.points = found.points.into_iter().map(|placed| placed.point.shown(range.shown(placed.x))).collect();
        (answer.total_points, answer.exact) = (found.total, found.exact);
        Ok(answer)
    }
}

/// Names by their numbers: runs mostly have the same.
#[derive(Default)]
struct Names(HashMap<u32, String>);

impl Names {
    fn name(&mut self, reader: &Reader<'_>, number: u32) -> Result<String, Error> {
        if let Some(name) = self.0.get(&number) {
            return Ok(name.clone());
        }
        let name = reader.name(number)?;
        self.0.insert(number, name.clone());
        Ok(name)
    }
}

/// A metric that is meant.
#[derive(Clone)]
pub(super) struct Named {
    pub(super) metric: String,
    by_pattern: bool,
}

/// The metrics that are meant, for each run. An error where none of the runs has one, though they have others.
pub(super) fn named(asked: &[String], lines: &[Logical<'_>]) -> Result<Vec<Vec<Named>>, Error> {
    let mut names = Names::default();
    let mut named: Vec<Vec<Named>> = vec![Vec::new(); lines.len()];
    let mut all_are_empty = true;
    for line in lines {
        all_are_empty = all_are_empty && line.is_empty()?;
    }
    for asked in asked {
        let pattern = Pattern::of(asked);
        let mut is_known = all_are_empty;
        for (line, named) in lines.iter().zip(&mut named) {
            if let Pattern::Exact(metric) = &pattern {
                is_known = is_known || line.has(metric)?;
                named.push(Named { metric: metric.clone(), by_pattern: false });
                continue;
            }
            let metrics = line.metrics(&mut names)?;
            let found = metrics.into_iter().filter(|name| pattern.matches(name));
            let before = named.len();
            named.extend(found.map(|metric| Named { metric, by_pattern: true }));
            is_known |= named.len() > before;
        }
        if !is_known {
            let known: Vec<BTreeSet<String>> =
                lines.iter().map(|line| line.metrics(&mut names)).collect::<Result<_, _>>()?;
            return Err(unknown_metric(asked, known.into_iter().flatten().collect()));
        }
    }
    for names in &mut named {
        let mut seen = BTreeSet::new();
        names.retain(|name| seen.insert(name.metric.clone()));
    }
    Ok(named)
}

fn unknown_metric(given: &str, known: BTreeSet<String>) -> Error {
    let given: String = given.chars().take(NAME_SHOWN).collect();
    let mut near: Vec<(usize, String)> = known.into_iter().map(|name| (distance(&given, &name), name)).collect();
    near.sort_unstable();
    let more = near.len().saturating_sub(NAMES_LISTED);
    let mut names: Vec<String> = near.into_iter().take(NAMES_LISTED).map(|(_, name)| format!("`{name}`")).collect();
    if more > 0 {
        names.push(format!("{more} more"));
    }
    Error::question("curves", format!("none of these runs has a metric `{given}`; they have {}", names.join(", ")))
}

/// The Levenshtein distance, without which a slip of the key finds nothing.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, a) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// Names of metrics that are meant: one, or all in which texts stand with anything between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    Exact(String),
    Around(Vec<String>),
}

/// A name as a pattern that means nothing else.
pub(super) fn exactly(name: &str) -> String {
    name.replace('*', "\\*")
}

impl Pattern {
    /// `*` stands for any text, `\*` means the star itself.
    pub fn of(text: &str) -> Self {
        let mut parts = vec![String::new()];
        let mut rest = text.chars().peekable();
        while let Some(next) = rest.next() {
            let last = parts.last_mut().expect("there is always one");
            match next {
                '\\' if rest.peek() == Some(&'*') => last.extend(rest.next()),
                '*' => parts.push(String::new()),
                other => last.push(other),
            }
        }
        match parts.len() {
            1 => Pattern::Exact(parts.remove(0)),
            _ => Pattern::Around(parts),
        }
    }

    pub fn matches(&self, name: &str) -> bool {
        let parts = match self {
            Pattern::Exact(exact) => return exact == name,
            Pattern::Around(parts) => parts,
        };
        let (first, last) = (&parts[0], &parts[parts.len() - 1]);
        let Some(mut rest) = name.strip_prefix(first.as_str()) else { return false };
        for part in &parts[1..parts.len() - 1] {
            let Some(at) = rest.find(part.as_str()) else { return false };
            rest = &rest[at + part.len()..];
        }
        rest.ends_with(last.as_str())
    }
}

/// Sums a metric up.
#[derive(Default)]
struct Sum {
    points: u64,
    first_step: Option<u64>,
    last: Option<Stored>,
    min: Option<f64>,
    max: Option<f64>,
}

impl Sum {
    fn add(&mut self, kept: &Kept<Stored>, points: usize, first_step: u64) {
        self.points += points as u64;
        self.first_step.get_or_insert(first_step);
        self.last = kept.last().or(self.last);
        let least = kept.least().map(|point| point.value);
        let greatest = kept.greatest().map(|point| point.value);
        self.min = self.min.into_iter().chain(least).reduce(f64::min);
        self.max = self.max.into_iter().chain(greatest).reduce(f64::max);
    }
}

impl Visitor for Sum {
    fn takes_whole(&mut self, entry: &Entry, kept: &Kept<Stored>) -> bool {
        self.add(kept, entry.points as usize, entry.steps.0);
        true
    }
    fn take(&mut self, points: Vec<Stored>) -> Result<ControlFlow<()>, Error> {
        self.add(&Kept::of(&points), points.len(), points[0].step);
        Ok(ControlFlow::Continue(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, name, expected) in [
            ("loss", "loss", true),
            ("loss", "losses", false),
            ("*", "", true),
            ("eval/*", "eval/a/b", true),
            ("eval/*", "train/eval/", false),
            ("*/acc", "eval/x/acc", true),
            ("*/acc", "eval/x/acc2", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "acb", false),
            ("a*a", "a", false),
            ("\\*", "*", true),
            ("\\*", "x", false),
        ] {
            assert_eq!(Pattern::of(pattern).matches(name), expected, "{pattern} on {name}");
        }
        assert!(Pattern::of(&exactly("a*b")).matches("a*b"));
    }

    #[test]
    fn a_slip_of_the_key_is_near() {
        assert_eq!((distance("loss", "loss"), distance("lsos", "loss"), distance("", "abc")), (0, 2, 3));
        let known = ["grad_norm", "loss", "lr"].map(String::from).into();
        let error = unknown_metric("los", known).to_string();
        assert!(error.contains("`los`") && error.contains("they have `loss`"), "{error}");
    }
}
