//! Learning rates as a pure function of the step: linear warmup, then constant, linear or cosine decay.

use serde::{Deserialize, Serialize};

use crate::Error;

#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "snake_case")]
pub enum Decay {
    Constant,
    Linear,
    Cosine,
}

/// Warmup and decay over a known number of optimizer steps.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// The highest rate, reached at the end of the warmup.
    pub peak: f64,
    /// The rate that decay tends to.
    pub floor: f64,
    pub warmup_steps: u64,
    pub total_steps: u64,
    pub decay: Decay,
}

impl Schedule {
    pub fn validate(&self) -> Result<(), Error> {
        if !(self.peak.is_finite() && self.peak > 0.0) {
            return Err(Error::invalid("peak", self.peak, "a rate above 0"));
        }
        if !(self.floor >= 0.0 && self.floor <= self.peak) {
            return Err(Error::invalid("floor", self.floor, format!("a rate from 0 to the peak ({})", self.peak)));
        }
        if self.total_steps == 0 {
            return Err(Error::invalid("total_steps", 0, "at least 1"));
        }
        if self.warmup_steps > self.total_steps {
            let expected = format!("at most the total steps ({})", self.total_steps);
            return Err(Error::invalid("warmup_steps", self.warmup_steps, expected));
        }
        Ok(())
    }

    /// The rate of the optimizer step with this index, counted from 0. Warmup never gives 0, its last step
    /// gives the peak; a step past the end gives the floor (the peak if constant).
    pub fn rate_at(&self, step: u64) -> f64 {
        if step < self.warmup_steps {
            return self.peak * (step + 1) as f64 / self.warmup_steps as f64;
        }
        let decaying = self.total_steps.saturating_sub(self.warmup_steps).max(1);
        let progress = ((step - self.warmup_steps) as f64 / decaying as f64).min(1.0);
        let remaining = match self.decay {
            Decay::Constant => 1.0,
            Decay::Linear => 1.0 - progress,
            Decay::Cosine => 0.5 * (1.0 + libm::cos(std::f64::consts::PI * progress)),
        };
        self.floor + (self.peak - self.floor) * remaining
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(decay: Decay) -> Schedule {
        Schedule { peak: 4e-3, floor: 4e-4, warmup_steps: 10, total_steps: 110, decay }
    }

    #[test]
    fn shape_of_each_decay() {
        for decay in [Decay::Constant, Decay::Linear, Decay::Cosine] {
            let schedule = schedule(decay);
            schedule.validate().unwrap();
            assert_eq!(schedule.rate_at(0), 4e-4);
            assert_eq!(schedule.rate_at(9), 4e-3);
            assert_eq!(schedule.rate_at(10), 4e-3);
            let end = if decay == Decay::Constant { 4e-3 } else { 4e-4 };
            assert!((schedule.rate_at(110) - end).abs() < 1e-15);
            assert!((schedule.rate_at(9_999) - end).abs() < 1e-15);
            let falling = (10..110).all(|step| schedule.rate_at(step + 1) <= schedule.rate_at(step));
            assert!(falling, "{decay:?}");
        }
        assert!((schedule(Decay::Linear).rate_at(60) - 2.2e-3).abs() < 1e-15);
        assert!((schedule(Decay::Cosine).rate_at(60) - 2.2e-3).abs() < 1e-15);
    }

    #[test]
    fn all_warmup_and_no_warmup() {
        let none = Schedule { warmup_steps: 0, total_steps: 1, ..schedule(Decay::Cosine) };
        assert_eq!(none.rate_at(0), 4e-3);
        let all = Schedule { warmup_steps: 5, total_steps: 5, ..schedule(Decay::Cosine) };
        assert_eq!(all.rate_at(4), 4e-3);
    }

    #[test]
    fn refusals() {
        let base = schedule(Decay::Linear);
        let bad = [
            Schedule { peak: f64::NAN, ..base.clone() },
            Schedule { floor: 1.0, ..base.clone() },
            Schedule { floor: f64::NAN, ..base.clone() },
            Schedule { total_steps: 0, warmup_steps: 0, ..base.clone() },
            Schedule { warmup_steps: 111, ..base.clone() },
        ];
        for schedule in bad {
            assert!(schedule.validate().is_err(), "{schedule:?}");
        }
    }
}
