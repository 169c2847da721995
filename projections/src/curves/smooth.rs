//! Smoothing and resampling of a curve whose points come in order.

use crate::Error;

/// Points of the widest window.
const WINDOW_MAX: usize = 1_000_000;

/// How a curve is smoothed, over all of its points, before any are left out.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Smoothing {
    /// The exponential moving average, corrected for its start, as TensorBoard shows it: 0 (none) to less than 1.
    Ema(f64),
    /// The mean of so many points up to and with each.
    Mean(usize),
}

impl Smoothing {
    pub(super) fn check(self) -> Result<(), Error> {
        let wrong = |what: String| Err(Error::question("curves", what));
        match self {
            Smoothing::Ema(weight) if !(0.0..1.0).contains(&weight) => {
                wrong(format!("a smoothing weight of {weight}; use 0 to less than 1, such as 0.9"))
            }
            Smoothing::Mean(window) if !(1..=WINDOW_MAX).contains(&window) => {
                wrong(format!("a smoothing window of {window} points; use 1 to {WINDOW_MAX}"))
            }
            _ => Ok(()),
        }
    }
}

/// Smooths values one by one. What is not finite stays as it is and leaves the others alone.
pub(super) enum Smoother {
    None,
    Ema { weight: f64, last: f64, seen: i32 },
    Mean { window: usize, values: Window },
}

/// Sums of a sliding window, in which what has left leaves no rounding behind: nothing is ever subtracted.
#[derive(Default)]
pub(super) struct Window {
    /// Of each of the older values the sum of it and those up to the newer ones; the oldest is last.
    older: Vec<f64>,
    newer: Vec<f64>,
    newer_sum: f64,
}

impl Window {
    fn len(&self) -> usize {
        self.older.len() + self.newer.len()
    }
    fn push(&mut self, value: f64) {
        self.newer.push(value);
        self.newer_sum += value;
    }
    fn pop(&mut self) {
        if self.older.is_empty() {
            let mut sum = 0.0;
            for value in self.newer.drain(..).rev() {
                sum += value;
                self.older.push(sum);
            }
            self.newer_sum = 0.0;
        }
        self.older.pop();
    }
    fn sum(&self) -> f64 {
        self.older.last().copied().unwrap_or(0.0) + self.newer_sum
    }
}

impl Smoother {
    pub(super) fn of(smoothing: Option<Smoothing>) -> Self {
        match smoothing {
            None => Smoother::None,
            Some(Smoothing::Ema(weight)) => Smoother::Ema { weight, last: 0.0, seen: 0 },
            Some(Smoothing::Mean(window)) => Smoother::Mean { window, values: Window::default() },
        }
    }

    pub(super) fn next(&mut self, value: f64) -> f64 {
        if !value.is_finite() {
            return value;
        }
        match self {
            Smoother::None => value,
            Smoother::Ema { weight, last, seen } => {
                *last = *last * *weight + (1.0 - *weight) * value;
                *seen = seen.saturating_add(1);
                *last / (1.0 - weight.powi(*seen))
            }
            Smoother::Mean { window, values } => {
                if values.len() == *window {
                    values.pop();
                }
                values.push(value);
                values.sum() / values.len() as f64
            }
        }
    }
}

/// Even places on an axis, the ends among them.
pub(super) fn even_grid(from: f64, to: f64, count: usize) -> Vec<f64> {
    let place = |n: usize| if n + 1 == count { to } else { from + (to - from) * n as f64 / (count - 1).max(1) as f64 };
    let mut places: Vec<f64> = (0..count).map(place).collect();
    places.dedup();
    places
}

/// Reads a curve off at the places of a grid, on straight lines between neighbours. Before the first point and after
/// the last there is nothing.
pub(super) struct Sampler<'a> {
    places: &'a [f64],
    next: usize,
    last: Option<(f64, f64)>,
}

impl<'a> Sampler<'a> {
    /// `places` go up.
    pub(super) fn over(places: &'a [f64]) -> Self {
        Self { places, next: 0, last: None }
    }

    /// Takes the next point; gives the number and value of each place that it settles.
    pub(super) fn take(&mut self, x: f64, value: f64, settled: &mut dyn FnMut(usize, f64)) {
        while let Some(&place) = self.places.get(self.next) {
            match self.last {
                _ if place > x => break,
                _ if place == x => settled(self.next, value),
                Some((before, left)) if place >= before => {
                    let along = (place - before) / (x - before);
                    // Of two infinities or a NaN no line can be drawn; equal ones need none.
                    settled(self.next, if left == value { value } else { left + (value - left) * along });
                }
                _ => {}
            }
            self.next += 1;
        }
        // A point that lies behind the one before it draws no line back.
        if self.last.is_none_or(|(before, _)| before < x) {
            self.last = Some((x, value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn smoothed(smoothing: Smoothing, values: &[f64]) -> Vec<f64> {
        let mut smoother = Smoother::of(Some(smoothing));
        values.iter().map(|value| smoother.next(*value)).collect()
    }

    #[test]
    fn the_moving_average_is_tensorboards() {
        // What `resmoothDataset` of TensorBoard's vz_line_chart2 gives for weight 0.6 over 1, 2, NaN, 4, 8.
        let found = smoothed(Smoothing::Ema(0.6), &[1.0, 2.0, f64::NAN, 4.0, 8.0]);
        let expected = [1.0, 1.625, f64::NAN, 2.836_734_693_877_551, 5.209_558_823_529_411];
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12 || (found.is_nan() && expected.is_nan()), "{found} {expected}");
        }
        assert_eq!(smoothed(Smoothing::Ema(0.0), &[3.0, -1.5]), [3.0, -1.5]);
        // A constant stays one.
        assert!(smoothed(Smoothing::Ema(0.99), &[7.0; 50]).iter().all(|value| (value - 7.0).abs() < 1e-9));
    }

    #[test]
    fn a_window_is_the_mean_of_the_last_ones() {
        let found = smoothed(Smoothing::Mean(3), &[3.0, 6.0, f64::INFINITY, 9.0, 0.0]);
        assert_eq!(found, [3.0, 4.5, f64::INFINITY, 6.0, 5.0]);
        let values: Vec<f64> = (0..500).map(|n| f64::from(n * 7919 % 101)).collect();
        for (n, found) in smoothed(Smoothing::Mean(40), &values).into_iter().enumerate() {
            let window = &values[(n + 1usize).saturating_sub(40)..=n];
            assert_eq!(found, window.iter().sum::<f64>() / window.len() as f64, "at {n}");
        }
    }

    #[test]
    fn senseless_smoothing_is_refused() {
        for smoothing in [Smoothing::Ema(1.0), Smoothing::Ema(-0.1), Smoothing::Ema(f64::NAN), Smoothing::Mean(0)] {
            assert!(smoothing.check().is_err(), "{smoothing:?}");
        }
        assert!(Smoothing::Ema(0.999).check().is_ok());
    }

    #[test]
    fn a_grid_is_read_off_on_straight_lines() {
        let grid = even_grid(0.0, 10.0, 6);
        assert_eq!(grid, [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        let (mut sampler, mut found) = (Sampler::over(&grid), Vec::new());
        for (x, value) in [(1.0, 10.0), (4.0, 40.0), (7.0, 10.0), (9.0, 10.0)] {
            sampler.take(x, value, &mut |place, value| found.push((grid[place], value)));
        }
        assert_eq!(found, [(2.0, 20.0), (4.0, 40.0), (6.0, 20.0), (8.0, 10.0)]);
        assert_eq!(even_grid(5.0, 5.0, 3), [5.0]);
        assert_eq!(even_grid(5.0, 6.0, 1), [6.0]);
    }
}
