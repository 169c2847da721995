//! Questions to the curves.

use super::pyramid::{Buckets, KEPT_MAX, effective};
use super::rows::{self, Series, Stored, Summary};
use super::{Curves, Point, Takeover, block};
use crate::Error;
use crate::attempts::is_hidden;
use crate::key::Fields;
use crate::projection::{collect, decode};
use crate::store::{Order, Store};
use cairn_schemas::RunId;
use std::ops::RangeInclusive;

impl Curves {
    /// Names of the run's metrics, sorted.
    pub fn runs_metrics(&self, run: &RunId) -> Result<Vec<String>, Error> {
        let name = |key: &[u8], _: &[u8]| {
            let mut fields = Fields::of("curves.series", key);
            fields.text()?;
            fields.text().map(Some)
        };
        self.0.read(|store| collect(store, &rows::series_of(&run.to_string()), Order::Ascending, name))
    }

    /// The points that count, one a step, in order of step. After a resume the later attempt's steps replace the
    /// earlier one's from the checkpoint on. Empty where the run has no such metric.
    pub fn series(&self, run: &RunId, metric: &str) -> Result<Vec<Point>, Error> {
        self.0.read(|store| {
            let of = Of::read(store, run, metric)?;
            Ok(shown(effective(&of.takeovers, of.all()?)))
        })
    }

    /// All points of all attempts, in order of step, then attempt, then arrival.
    pub fn all_attempts(&self, run: &RunId, metric: &str) -> Result<Vec<Point>, Error> {
        self.0.read(|store| {
            let mut points = Of::read(store, run, metric)?.all()?;
            points.sort_by_key(|point| (point.step, point.attempt));
            Ok(shown(points))
        })
    }

    /// The last point that counts.
    pub fn last(&self, run: &RunId, metric: &str) -> Result<Option<Point>, Error> {
        Ok(self.series(run, metric)?.last().copied())
    }

    /// When later attempts of the run took over, by attempt.
    pub fn takeovers(&self, run: &RunId) -> Result<Vec<Takeover>, Error> {
        self.0.read(|store| takeovers(store, run))
    }

    /// The whole series in at most `points_max` points (at least 4). Of each part of the range of steps the least, the
    /// greatest and the last value are kept, and a NaN if there is one.
    pub fn downsample(&self, run: &RunId, metric: &str, points_max: usize) -> Result<Vec<Point>, Error> {
        self.zoom(run, metric, 0..=u64::MAX, points_max)
    }

    /// The same for a range of steps.
    pub fn zoom(
        &self,
        run: &RunId,
        metric: &str,
        steps: RangeInclusive<u64>,
        points_max: usize,
    ) -> Result<Vec<Point>, Error> {
        self.0.read(|store| {
            let of = Of::read(store, run, metric)?;
            let steps = (*steps.start()).max(of.series.step_min)..=(*steps.end()).min(of.series.step_max);
            of.zoom(steps, points_max.max(KEPT_MAX)).map(shown)
        })
    }
}

fn shown(points: Vec<Stored>) -> Vec<Point> {
    points.into_iter().map(Point::from).collect()
}

fn takeovers(store: &dyn Store, run: &RunId) -> Result<Vec<Takeover>, Error> {
    let row = store.get(&rows::takeovers(&run.to_string()))?;
    row.map_or(Ok(Vec::new()), |row| decode("curves.takeovers", &row))
}

/// One series, as far as its own row says.
struct Of<'a> {
    store: &'a dyn Store,
    run: String,
    metric: &'a str,
    series: Series,
    takeovers: Vec<Takeover>,
}

impl<'a> Of<'a> {
    fn read(store: &'a dyn Store, run: &RunId, metric: &'a str) -> Result<Self, Error> {
        let takeovers = takeovers(store, run)?;
        let run = run.to_string();
        let row = store.get(&rows::series(&run, metric))?;
        let series = row.map_or(Ok(Series::default()), |row| decode("curves.series", &row))?;
        Ok(Self { store, run, metric, series, takeovers })
    }

    /// Every point, in order of arrival but for the order of steps inside a block.
    fn all(&self) -> Result<Vec<Stored>, Error> {
        let mut points = Vec::with_capacity(self.series.points as usize);
        for number in 0..self.series.blocks {
            points.extend(self.block(number)?);
        }
        points.extend(self.open()?);
        Ok(points)
    }

    fn block(&self, number: u32) -> Result<Vec<Stored>, Error> {
        let row = self.store.get(&rows::block(&self.run, self.metric, number))?;
        block::open(&row.ok_or_else(|| Error::row("curves.block", format!("block {number} is missing")))?)
    }

    /// The points that are in no block yet.
    fn open(&self) -> Result<Vec<Stored>, Error> {
        let mut points = Vec::new();
        for number in 0..self.series.chunks {
            let row = self.store.get(&rows::chunk(&self.run, self.metric, number))?;
            let row = row.ok_or_else(|| Error::row("curves.chunk", format!("chunk {number} is missing")))?;
            points.extend(decode::<Vec<Stored>>("curves.chunk", &row)?);
        }
        points.extend(&self.series.tail);
        Ok(points)
    }

    fn zoom(&self, steps: RangeInclusive<u64>, points_max: usize) -> Result<Vec<Stored>, Error> {
        if steps.is_empty() || self.series.points == 0 {
            return Ok(Vec::new());
        }
        if self.series.points <= points_max as u64 {
            let mut points = self.all()?;
            points.retain(|point| steps.contains(&point.step));
            return Ok(effective(&self.takeovers, points));
        }
        let mut buckets = Buckets::over(*steps.start(), *steps.end(), points_max);
        let (folded, mut points) = self.gather(&steps, &buckets)?;
        points.retain(|point| steps.contains(&point.step));
        let points = effective(&self.takeovers, points);
        if folded.is_empty() && points.len() <= points_max {
            return Ok(points);
        }
        folded.into_iter().chain(points).for_each(|point| buckets.add(point));
        Ok(buckets.points())
    }

    /// What `steps` needs: the extremes of blocks whose summary is enough, and the points of everything else.
    fn gather(&self, steps: &RangeInclusive<u64>, buckets: &Buckets) -> Result<(Vec<Stored>, Vec<Stored>), Error> {
        let summaries = collect(self.store, &rows::summaries(&self.run, self.metric), Order::Ascending, |_, row| {
            decode::<Summary>("curves.summary", row).map(Some)
        })?;
        let open = self.open()?;
        let apart = self.apart(&summaries, &open);
        let (mut folded, mut points) = (Vec::new(), Vec::new());
        for (number, summary) in summaries.iter().enumerate() {
            if summary.step_max < *steps.start() || summary.step_min > *steps.end() {
                continue;
            }
            let inside = steps.contains(&summary.step_min) && steps.contains(&summary.step_max);
            let in_one = inside && buckets.number(summary.step_min) == buckets.number(summary.step_max);
            if in_one && apart[number] {
                folded.extend(summary.kept.points());
            } else {
                points.extend(self.block(number as u32)?);
            }
        }
        points.extend(open);
        Ok((folded, points))
    }

    /// For each block whether all of its points count and no other point has one of its steps.
    fn apart(&self, summaries: &[Summary], open: &[Stored]) -> Vec<bool> {
        let mut spans: Vec<(u64, u64, Option<usize>)> =
            summaries.iter().enumerate().map(|(number, s)| (s.step_min, s.step_max, Some(number))).collect();
        if let (Some(min), Some(max)) = (open.iter().map(|p| p.step).min(), open.iter().map(|p| p.step).max()) {
            spans.push((min, max, None));
        }
        spans.sort_unstable();
        let mut apart = vec![false; summaries.len()];
        let mut reached: Option<u64> = None;
        for (at, &(min, max, number)) in spans.iter().enumerate() {
            let before = reached.is_none_or(|reached| reached < min);
            let behind = spans.get(at + 1).is_none_or(|(next, ..)| *next > max);
            reached = reached.max(Some(max));
            if let Some(number) = number {
                let summary = &summaries[number];
                let one_attempt = summary.attempt_min == summary.attempt_max;
                let counts = !is_hidden(&self.takeovers, summary.attempt_min, max);
                apart[number] = before && behind && one_attempt && counts;
            }
        }
        apart
    }
}
