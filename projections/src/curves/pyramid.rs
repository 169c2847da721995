//! What is kept of many points: the least, the greatest, the last, and a NaN if there is one, so that no spike is lost.

use super::rows::Stored;
use crate::attempts::{Takeover, is_hidden};
use bincode::{Decode, Encode};

/// Points kept of one bucket, at most.
pub(super) const KEPT_MAX: usize = 4;

/// The extremes of some points. Which point stands for equal values does not depend on the order they came in: the
/// earliest step.
#[derive(Clone, Copy, Debug, Default, Encode, Decode)]
pub(super) struct Kept {
    least: Option<Stored>,
    greatest: Option<Stored>,
    last: Option<Stored>,
    nan: Option<Stored>,
}

impl Kept {
    pub(super) fn of<'a>(points: impl IntoIterator<Item = &'a Stored>) -> Self {
        let mut kept = Self::default();
        points.into_iter().for_each(|point| kept.add(*point));
        kept
    }

    pub(super) fn add(&mut self, point: Stored) {
        let replace = |slot: &mut Option<Stored>, better: &dyn Fn(&Stored) -> bool| {
            if slot.as_ref().is_none_or(better) {
                *slot = Some(point);
            }
        };
        replace(&mut self.last, &|last| point.step >= last.step);
        if point.value.is_nan() {
            replace(&mut self.nan, &|nan| point.step < nan.step);
            return;
        }
        let earlier = |other: &Stored| point.value == other.value && point.step < other.step;
        replace(&mut self.least, &|least| point.value < least.value || earlier(least));
        replace(&mut self.greatest, &|greatest| point.value > greatest.value || earlier(greatest));
    }

    /// The points themselves, in order of step, none twice.
    pub(super) fn points(&self) -> Vec<Stored> {
        let mut points: Vec<Stored> = [self.least, self.greatest, self.nan, self.last].into_iter().flatten().collect();
        points.sort_by_key(|point| point.step);
        points.dedup_by_key(|point| point.step);
        points
    }
}

/// Equal parts of a range of steps.
pub(super) struct Buckets {
    step_min: u64,
    width: u128,
    buckets: Vec<Kept>,
}

impl Buckets {
    /// As many as give at most `points_max` points, which must be at least [`KEPT_MAX`].
    pub(super) fn over(step_min: u64, step_max: u64, points_max: usize) -> Self {
        let count = (points_max / KEPT_MAX).max(1);
        let span = u128::from(step_max.saturating_sub(step_min)) + 1;
        Self { step_min, width: span.div_ceil(count as u128), buckets: vec![Kept::default(); count] }
    }
    pub(super) fn number(&self, step: u64) -> usize {
        (u128::from(step.saturating_sub(self.step_min)) / self.width) as usize
    }
    pub(super) fn add(&mut self, point: Stored) {
        let number = self.number(point.step);
        self.buckets[number].add(point);
    }
    pub(super) fn points(&self) -> Vec<Stored> {
        self.buckets.iter().flat_map(Kept::points).collect()
    }
}

/// The points that count, one a step, in order of step: a later attempt's before an earlier one's, a later arrival's
/// before an earlier one's. `points` come in order of arrival.
pub(super) fn effective(takeovers: &[Takeover], mut points: Vec<Stored>) -> Vec<Stored> {
    points.retain(|point| !is_hidden(takeovers, point.attempt, point.step));
    points.sort_by_key(|point| (point.step, point.attempt));
    let mut kept: Vec<Stored> = Vec::with_capacity(points.len());
    for point in points {
        match kept.last_mut() {
            Some(last) if last.step == point.step => *last = point,
            _ => kept.push(point),
        }
    }
    kept
}
