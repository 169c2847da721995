//! One curve as it is asked for: the points of a run, or of it and its ancestors, along an axis, as many as wanted.

use super::origin::Part;
use super::panel::{ordered, signed};
use super::pyramid::{Buckets, KEPT_MAX, Kept, Ranked};
use super::read::{Series, Visitor};
use super::rows::{Entry, Stored};
use super::smooth::{Sampler, Smoother, even_grid};
use super::{Axis, CurveQuery, Point};
use crate::Error;
use std::collections::HashSet;
use std::ops::ControlFlow;

/// A point on an axis.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed {
    pub(super) x: u64,
    order: (u32, u64),
    pub(super) point: Stored,
}

impl Ranked for Placed {
    fn rank(&self) -> (u32, u64) {
        self.order
    }
    fn value(&self) -> f64 {
        self.point.value
    }
}

/// Part of an axis, both ends in it, and how places on it are shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    pub(super) axis: Axis,
    pub(super) from: u64,
    pub(super) to: u64,
}

impl Range {
    /// `None` where nothing can lie in it.
    pub(super) fn of(axis: Axis, from: Option<f64>, to: Option<f64>) -> Result<Option<Self>, Error> {
        if let Some(nan) = [from, to].into_iter().flatten().find(|end| end.is_nan()) {
            return Err(Error::question(
                "curves",
                format!("a range that ends at {nan}; use numbers, or leave the end out"),
            ));
        }
        if let (Some(from), Some(to)) = (from, to)
            && from > to
        {
            return Err(Error::question(
                "curves",
                format!("the range from {from} to {to} is reversed; give the lower end first"),
            ));
        }
        let place = |end: f64| match axis {
            Axis::Time => ordered((end * 1e6) as i64),
            _ => end as u64,
        };
        if axis != Axis::Time && to.is_some_and(|to| to < 0.0) {
            return Ok(None);
        }
        let from = from.map_or(0, |from| place(if axis == Axis::Time { from } else { from.ceil() }));
        let to = to.map_or(u64::MAX, |to| place(if axis == Axis::Time { to } else { to.floor() }));
        Ok((from <= to).then_some(Self { axis, from, to }))
    }
    pub(super) fn contains(&self, x: u64) -> bool {
        (self.from..=self.to).contains(&x)
    }
    /// A place as it is shown.
    pub(super) fn shown(&self, x: u64) -> f64 {
        match self.axis {
            Axis::Time => signed(x) as f64 / 1e6,
            _ => x as f64,
        }
    }
}

/// A metric along one run of a logical run.
pub(super) struct Stretch<'a> {
    series: Series<'a>,
    /// The last step that counts.
    to_step: u64,
    /// Added to steps and tokens.
    before: u64,
}

impl<'a> Stretch<'a> {
    /// `None` where it cannot be placed on the axis: the offset says why.
    pub(super) fn of(series: Series<'a>, part: &Part, axis: Axis) -> Option<Self> {
        let before = match axis {
            Axis::LineageSteps => part.steps_before.value()?,
            Axis::LineageTokens => part.tokens_before.value()?,
            _ => 0,
        };
        Some(Self { series, to_step: part.to_step.unwrap_or(u64::MAX), before })
    }

    fn x(&self, axis: Axis, point: &Stored) -> u64 {
        match axis {
            Axis::Step | Axis::LineageSteps => point.step.saturating_add(self.before),
            Axis::Tokens | Axis::LineageTokens => point.tokens.saturating_add(self.before),
            Axis::Time => point.time,
        }
    }

    /// The places of the first and the last point of a part of a panel.
    fn span(&self, axis: Axis, entry: &Entry) -> (u64, u64) {
        let add = |(from, to): (u64, u64)| (from.saturating_add(self.before), to.saturating_add(self.before));
        match axis {
            Axis::Step | Axis::LineageSteps => add(entry.steps),
            Axis::Tokens | Axis::LineageTokens => add(entry.tokens),
            Axis::Time => entry.times,
        }
    }

    /// Everything on the axis that may have points.
    fn spans(&self, axis: Axis) -> impl Iterator<Item = (u64, u64)> {
        let entries = self.series.entries.iter().filter(|entry| entry.steps.0 <= self.to_step);
        let open = self.series.open.iter().filter(|point| point.step <= self.to_step);
        let point = move |point: &Stored| {
            let x = self.x(axis, point);
            (x, x)
        };
        entries.map(move |entry| self.span(axis, entry)).chain(open.map(point))
    }
}

/// A metric along a logical run, the oldest run first.
pub(super) struct Curve<'a> {
    pub(super) stretches: Vec<Stretch<'a>>,
    pub(super) range: Range,
}

/// What was found of a curve.
pub(super) struct Found {
    pub(super) points: Vec<Placed>,
    /// How many lie in the range.
    pub(super) total: u64,
    /// Whether `points` are all of them.
    pub(super) exact: bool,
    /// The parts of the axis of which the extremes were kept, where not all points were.
    #[cfg_attr(not(test), expect(dead_code, reason = "tests ask what each bucket held"))]
    pub(super) buckets: Vec<(u64, u64)>,
}

impl Curve<'_> {
    /// Points of all attempts, at most.
    pub(super) fn points_max(&self) -> usize {
        self.stretches.iter().map(|stretch| stretch.series.points_max()).sum()
    }

    /// The part of the range that may have points.
    pub(super) fn extent(&self) -> Option<(u64, u64)> {
        let spans = self.stretches.iter().flat_map(|stretch| stretch.spans(self.range.axis));
        let all = spans.filter(|(from, to)| *from <= self.range.to && *to >= self.range.from);
        let (from, to) = all.reduce(|(a, b), (c, d)| (a.min(c), b.max(d)))?;
        Some((from.max(self.range.from), to.min(self.range.to)))
    }

    /// The points in the range, in their order, each with its smoothed value.
    pub(super) fn each(&self, smoother: &mut Smoother, take: &mut dyn FnMut(Placed)) -> Result<(), Error> {
        for (number, stretch) in (0..).zip(&self.stretches) {
            stretch.series.each(0..=stretch.to_step, &mut |points: Vec<Stored>| {
                for mut point in points {
                    point.value = smoother.next(point.value);
                    let x = stretch.x(self.range.axis, &point);
                    if self.range.contains(x) {
                        take(Placed { x, order: (number, point.step), point });
                    }
                }
                Ok(ControlFlow::Continue(()))
            })?;
        }
        Ok(())
    }

    pub(super) fn find(&self, query: &CurveQuery) -> Result<Found, Error> {
        let points_max = query.points_max.map_or(usize::MAX, |max| max.max(KEPT_MAX));
        // Where there are fewer than that anyway there is nothing to leave out.
        let extent = self.extent().filter(|_| self.points_max() > points_max);
        let buckets = extent.map(|(from, to)| Buckets::over(from, to, points_max));
        let mut gather = Gather { points_max, points: Vec::new(), first: None, total: 0, was_whole: false, buckets };
        let mut smoother = Smoother::of(query.smoothing);
        if query.attempts {
            for (number, stretch) in (0..).zip(&self.stretches) {
                for (order, mut point) in (0..).zip(stretch.series.all()?) {
                    point.value = smoother.next(point.value);
                    let x = stretch.x(self.range.axis, &point);
                    if self.range.contains(x) && point.step <= stretch.to_step {
                        gather.add(Placed { x, order: (number, order), point });
                    }
                }
            }
        } else if query.smoothing.is_some() {
            self.each(&mut smoother, &mut |point| gather.add(point))?;
        } else {
            for (number, stretch) in (0..).zip(&self.stretches) {
                let mut along = Along { stretch, number, range: self.range, gather: &mut gather };
                stretch.series.each(0..=stretch.to_step, &mut along)?;
            }
        }
        Ok(gather.found())
    }

    /// The curve read off at even places. Step, tokens, time, attempt and position are those of the point at or before
    /// each.
    pub(super) fn resample(&self, query: &CurveQuery, count: usize) -> Result<(Vec<Point>, u64), Error> {
        let Some((from, to)) = self.extent() else { return Ok((Vec::new(), 0)) };
        let places = even_grid(self.range.shown(from), self.range.shown(to), count);
        let (mut sampler, mut points, mut total) = (Sampler::over(&places), Vec::new(), 0);
        let mut before: Option<Stored> = None;
        self.each(&mut Smoother::of(query.smoothing), &mut |placed| {
            total += 1;
            let x = self.range.shown(placed.x);
            sampler.take(x, placed.point.value, &mut |place, value| {
                let at = if places[place] == x { placed.point } else { before.unwrap_or(placed.point) };
                points.push(Point { value, ..at.shown(places[place]) });
            });
            before = Some(placed.point);
        })?;
        Ok((points, total))
    }
}

/// Points as they are found.
struct Gather {
    points_max: usize,
    /// The first ones, one more than wanted.
    points: Vec<Placed>,
    /// The first one along the axis.
    first: Option<Placed>,
    total: u64,
    /// Whether extremes stood for their panels.
    was_whole: bool,
    buckets: Option<Buckets<Placed>>,
}

impl Gather {
    fn add(&mut self, placed: Placed) {
        self.total += 1;
        self.look(&placed);
        if self.points.len() <= self.points_max {
            self.points.push(placed);
        }
        if let Some(buckets) = &mut self.buckets {
            buckets.add(placed.x, placed);
        }
    }

    fn look(&mut self, placed: &Placed) {
        if self.first.is_none_or(|first| (placed.x, placed.order) < (first.x, first.order)) {
            self.first = Some(*placed);
        }
    }

    fn found(self) -> Found {
        let exact = !self.was_whole && self.total <= self.points_max as u64;
        let (mut points, mut spans) = (self.points, Vec::new());
        if let Some(buckets) = self.buckets.filter(|_| !exact) {
            (points, spans) = fitted(buckets, self.first, self.points_max);
        }
        points.sort_by_key(|placed| (placed.x, placed.order));
        Found { points, total: self.total, exact, buckets: spans }
    }
}

/// The first point and what the buckets keep, `points_max` at most, and the buckets' spans. Where infinities make them
/// more there are half as many buckets: enough but for fewer than seven points, which are those that matter most.
fn fitted(mut buckets: Buckets<Placed>, first: Option<Placed>, points_max: usize) -> (Vec<Placed>, Vec<(u64, u64)>) {
    let kept = |buckets: &Buckets<Placed>| {
        let mut seen = HashSet::new();
        let points = first.into_iter().chain(buckets.filled().flat_map(|bucket| bucket.kept.by_weight()));
        points.filter(|placed| seen.insert(placed.order)).collect::<Vec<Placed>>()
    };
    let mut points = kept(&buckets);
    if points.len() > points_max {
        buckets = buckets.halved();
        points = kept(&buckets);
        points.truncate(points_max);
    }
    (points, buckets.filled().map(|bucket| bucket.span).collect())
}

/// Goes along one run.
struct Along<'a> {
    stretch: &'a Stretch<'a>,
    number: u32,
    range: Range,
    gather: &'a mut Gather,
}

impl Along<'_> {
    fn placed(&self, point: Stored) -> Placed {
        Placed { x: self.stretch.x(self.range.axis, &point), order: (self.number, point.step), point }
    }
}

impl Visitor for Along<'_> {
    fn takes_whole(&mut self, entry: &Entry, kept: &Kept<Stored>) -> bool {
        let (from, to) = self.stretch.span(self.range.axis, entry);
        if to < self.range.from || from > self.range.to {
            return true;
        }
        let placed: Vec<Placed> = kept.all().map(|point| self.placed(point)).collect();
        let Some(buckets) = &mut self.gather.buckets else { return false };
        let is_inside = self.range.contains(from) && self.range.contains(to);
        let is_taken = is_inside && buckets.add_whole(from, to, placed.iter().copied());
        if is_taken {
            placed.iter().for_each(|placed| self.gather.look(placed));
            self.gather.total += u64::from(entry.points);
            self.gather.was_whole = true;
        }
        is_taken
    }

    fn take(&mut self, points: Vec<Stored>) -> Result<ControlFlow<()>, Error> {
        for point in points {
            let placed = self.placed(point);
            if self.range.contains(placed.x) {
                self.gather.add(placed);
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}
