//! What is kept of many points: the least, the greatest, the last, and a NaN if there is one, so that no spike is lost;
//! beside an infinite extreme the finite one, which it would hide.

use super::rows::Stored;
use crate::attempts::{Takeover, is_hidden};
use bincode::{Decode, Encode};

/// Points of one bucket without infinities, at most.
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
    first: Option<P>,
    last: Option<P>,
    least: Option<P>,
    greatest: Option<P>,
    nan: Option<P>,
    /// Only where the least, or the greatest, is an infinity below, or above, it.
    least_finite: Option<P>,
    greatest_finite: Option<P>,
}

impl<P> Default for Kept<P> {
    fn default() -> Self {
        Self {
            first: None,
            last: None,
            least: None,
            greatest: None,
            nan: None,
            least_finite: None,
            greatest_finite: None,
        }
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
        let rank = point.rank();
        put(&mut self.first, point, |first| rank < first.rank());
        put(&mut self.last, point, |last| rank >= last.rank());
        if point.value().is_nan() {
            put(&mut self.nan, point, |nan| rank < nan.rank());
            return;
        }
        extreme(&mut self.least, &mut self.least_finite, point, 1.0);
        extreme(&mut self.greatest, &mut self.greatest_finite, point, -1.0);
    }

    /// The points themselves, those that matter most first; the first one, which only a whole curve keeps, is not among
    /// them. One may come twice.
    pub(super) fn by_weight(&self) -> impl Iterator<Item = P> {
        let points = [self.last, self.least, self.greatest, self.nan, self.least_finite, self.greatest_finite];
        points.into_iter().flatten()
    }

    /// Everything that is kept. A point may come twice.
    pub(super) fn all(&self) -> impl Iterator<Item = P> {
        self.first.into_iter().chain(self.by_weight())
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

fn put<P>(slot: &mut Option<P>, point: P, is_better: impl FnOnce(&P) -> bool) {
    if slot.as_ref().is_none_or(is_better) {
        *slot = Some(point);
    }
}

/// The least of what was seen for a sign of 1, the greatest for one of -1. An infinity stands beside the finite extreme,
/// not in its place.
fn extreme<P: Ranked>(slot: &mut Option<P>, finite: &mut Option<P>, point: P, sign: f64) {
    let order = |point: &P| sign * point.value();
    let is_better = |held: &P| {
        let (one, other) = (order(&point), order(held));
        one < other || (one == other && point.rank() < held.rank())
    };
    match slot {
        Some(held) if order(held) == f64::NEG_INFINITY && point.value().is_finite() => put(finite, point, is_better),
        Some(held) if held.value().is_finite() && order(&point) == f64::NEG_INFINITY => *finite = slot.replace(point),
        _ => put(slot, point, is_better),
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
    /// As many as give at most `points_max` points beside the first one, where there are no infinities.
    pub(super) fn over(from: u64, to: u64, points_max: usize) -> Self {
        let count = (points_max.saturating_sub(1) / KEPT_MAX).max(1);
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
    /// Makes one bucket of every two.
    pub(super) fn halved(&self) -> Self {
        let join = |pair: &[Bucket<P>]| {
            let mut joined = pair[0].clone();
            for bucket in &pair[1..] {
                bucket.kept.all().for_each(|point| joined.kept.add(point));
                joined.span = (joined.span.0.min(bucket.span.0), joined.span.1.max(bucket.span.1));
            }
            joined
        };
        Self { from: self.from, width: 2 * self.width, buckets: self.buckets.chunks(2).map(join).collect() }
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
