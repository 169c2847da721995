//! What is kept of many points: the least, the greatest, the last, and a NaN if there is one, so that no spike is lost.

use super::rows::Stored;
use crate::attempts::{Takeover, is_hidden};
use bincode::{Decode, Encode};

/// Points kept of one bucket, at most.
pub(super) const KEPT_MAX: usize = 4;

/// A point among others.
pub(super) trait Ranked: Copy {
    /// Its place in the order of its curve.
    fn rank(&self) -> (u32, u64);
    fn value(&self) -> f64;
}

impl Ranked for Stored {
    fn rank(&self) -> (u32, u64) {
        (0, self.step)
    }
    fn value(&self) -> f64 {
        self.value
    }
}

/// The extremes of some points. Which point stands for equal values does not depend on the order they came in: the
/// earliest one.
#[derive(Clone, Copy, Debug, Encode, Decode)]
pub(super) struct Kept<P> {
    least: Option<P>,
    greatest: Option<P>,
    last: Option<P>,
    nan: Option<P>,
}

impl<P> Default for Kept<P> {
    fn default() -> Self {
        Self { least: None, greatest: None, last: None, nan: None }
    }
}

impl<P: Ranked> Kept<P> {
    pub(super) fn of<'a>(points: impl IntoIterator<Item = &'a P>) -> Self
    where
        P: 'a,
    {
        let mut kept = Self::default();
        points.into_iter().for_each(|point| kept.add(*point));
        kept
    }

    pub(super) fn add(&mut self, point: P) {
        let replace = |slot: &mut Option<P>, better: &dyn Fn(&P) -> bool| {
            if slot.as_ref().is_none_or(better) {
                *slot = Some(point);
            }
        };
        let (value, rank) = (point.value(), point.rank());
        replace(&mut self.last, &|last| rank >= last.rank());
        if value.is_nan() {
            replace(&mut self.nan, &|nan| rank < nan.rank());
            return;
        }
        let earlier = |other: &P| value == other.value() && rank < other.rank();
        replace(&mut self.least, &|least| value < least.value() || earlier(least));
        replace(&mut self.greatest, &|greatest| value > greatest.value() || earlier(greatest));
    }

    /// The points themselves, in order, none twice.
    pub(super) fn points(&self) -> Vec<P> {
        let mut points: Vec<P> = [self.least, self.greatest, self.nan, self.last].into_iter().flatten().collect();
        points.sort_by_key(P::rank);
        points.dedup_by_key(|point| point.rank());
        points
    }

    pub(super) fn last(&self) -> Option<P> {
        self.last
    }
    pub(super) fn least(&self) -> Option<P> {
        self.least
    }
    pub(super) fn greatest(&self) -> Option<P> {
        self.greatest
    }
}

/// Equal parts of a range of an axis.
pub(super) struct Buckets<P> {
    from: u64,
    width: u128,
    buckets: Vec<Bucket<P>>,
}

#[derive(Clone)]
pub(super) struct Bucket<P> {
    pub(super) kept: Kept<P>,
    /// The least and the greatest place on the axis of what was put in.
    pub(super) span: (u64, u64),
}

impl<P: Ranked> Buckets<P> {
    /// As many as give at most `points_max` points, which must be at least [`KEPT_MAX`].
    pub(super) fn over(from: u64, to: u64, points_max: usize) -> Self {
        let count = (points_max / KEPT_MAX).max(1);
        let width = (u128::from(to.saturating_sub(from)) + 1).div_ceil(count as u128);
        Self { from, width, buckets: vec![Bucket { kept: Kept::default(), span: (u64::MAX, 0) }; count] }
    }
    fn number(&self, x: u64) -> usize {
        ((u128::from(x.saturating_sub(self.from)) / self.width) as usize).min(self.buckets.len() - 1)
    }
    pub(super) fn add(&mut self, x: u64, point: P) {
        let number = self.number(x);
        let bucket = &mut self.buckets[number];
        bucket.kept.add(point);
        bucket.span = (bucket.span.0.min(x), bucket.span.1.max(x));
    }
    /// Puts in the extremes of everything that lies between two places: where these are in one bucket, or so close that
    /// it is the bucket's edge that gives way. Says whether it did.
    pub(super) fn add_whole(&mut self, from: u64, to: u64, kept: impl Iterator<Item = P>) -> bool {
        let number = self.number(from);
        let fits = self.number(to) == number || 2 * u128::from(to - from) <= self.width;
        if fits {
            let bucket = &mut self.buckets[number];
            kept.for_each(|point| bucket.kept.add(point));
            bucket.span = (bucket.span.0.min(from), bucket.span.1.max(to));
        }
        fits
    }
    pub(super) fn filled(&self) -> impl Iterator<Item = &Bucket<P>> {
        self.buckets.iter().filter(|bucket| bucket.kept.last.is_some())
    }
}

/// Leaves the points that count, one a step, in order of step: a later attempt's before an earlier one's, a later
/// arrival's before an earlier one's. `points` come in order of arrival.
pub(super) fn effective(takeovers: &[Takeover], points: &mut Vec<Stored>) {
    if !takeovers.is_empty() {
        points.retain(|point| !is_hidden(takeovers, point.attempt, point.step));
    }
    if points.windows(2).all(|pair| pair[0].step < pair[1].step) {
        return;
    }
    points.sort_by_key(|point| (point.step, point.attempt));
    // Of those of one step the last stays.
    points.reverse();
    points.dedup_by_key(|point| point.step);
    points.reverse();
}
