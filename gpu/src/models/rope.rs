//! Rotary frequencies and the ways to stretch them to longer contexts, as `transformers` computes them.
//! Worked out in f64 with `libm`, so that tables are the same bytes on every machine.

use serde::{Deserialize, Serialize};

use super::DecoderConfig;
use crate::Error;

/// How rotary frequencies differ from theta^(-2i / head width).
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum RopeScaling {
    /// All divided by `factor` (Chen et al., 2023).
    Linear { factor: f64 },
    /// Grows with a text beyond the context; nothing changes within it, and the context is the limit here.
    Dynamic { factor: f64 },
    /// Long waves divided by `factor`, short ones left, those between blended (Llama 3.1).
    Llama3 { factor: f64, low_freq_factor: f64, high_freq_factor: f64, original_context: usize },
    /// As Llama 3 by rotations within the original context, with scaled cosines and sines (Peng et al., 2023).
    Yarn {
        factor: f64,
        original_context: usize,
        beta_fast: f64,
        beta_slow: f64,
        /// Multiplies cosines and sines.
        attention_factor: f64,
        truncate: bool,
    },
}

impl RopeScaling {
    pub(super) fn validate(&self) -> Result<(), Error> {
        let number = |key: &str, found: f64, low: f64| match found.is_finite() && found >= low {
            true => Ok(()),
            false => Err(Error::invalid(&format!("rope_scaling.{key}"), found, format!("a number from {low}"))),
        };
        match *self {
            Self::Linear { factor } | Self::Dynamic { factor } => number("factor", factor, 1.0),
            Self::Llama3 { factor, low_freq_factor, high_freq_factor, original_context } => {
                number("factor", factor, 1.0)?;
                number("low_freq_factor", low_freq_factor, f64::MIN_POSITIVE)?;
                number("original_context", original_context as f64, 1.0)?;
                match high_freq_factor > low_freq_factor && high_freq_factor.is_finite() {
                    true => Ok(()),
                    false => {
                        let expected = format!("a number above low_freq_factor ({low_freq_factor})");
                        Err(Error::invalid("rope_scaling.high_freq_factor", high_freq_factor, expected))
                    }
                }
            }
            Self::Yarn { factor, original_context, beta_fast, beta_slow, attention_factor, .. } => {
                number("factor", factor, 1.0)?;
                number("original_context", original_context as f64, 1.0)?;
                number("beta_fast", beta_fast, f64::MIN_POSITIVE)?;
                number("beta_slow", beta_slow, f64::MIN_POSITIVE)?;
                number("attention_factor", attention_factor, f64::MIN_POSITIVE)
            }
        }
    }

    /// What `attention_factor` is where a YaRN configuration does not say.
    pub(super) fn yarn_attention_factor(factor: f64) -> f64 {
        if factor <= 1.0 { 1.0 } else { 0.1 * libm::log(factor) + 1.0 }
    }
}

/// Angle per position of each pair of a head, [head width / 2], and what cosines and sines are multiplied with.
pub(crate) fn frequencies(config: &DecoderConfig) -> (Vec<f64>, f64) {
    let half = config.head_width() / 2;
    let plain = (0..half).map(|i| libm::pow(config.rope_theta, -(i as f64) / half as f64));
    match config.rope_scaling {
        None | Some(RopeScaling::Dynamic { .. }) => (plain.collect(), 1.0),
        Some(RopeScaling::Linear { factor }) => (plain.map(|frequency| frequency / factor).collect(), 1.0),
        Some(RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context }) => {
            let stretched = |frequency: f64| {
                // How often this pair turns round within the original context.
                let turns = original_context as f64 * frequency / std::f64::consts::TAU;
                let share = ((turns - low_freq_factor) / (high_freq_factor - low_freq_factor)).clamp(0.0, 1.0);
                (1.0 - share) * frequency / factor + share * frequency
            };
            (plain.map(stretched).collect(), 1.0)
        }
        Some(RopeScaling::Yarn { factor, original_context, beta_fast, beta_slow, attention_factor, truncate }) => {
            let (low, high) = yarn_range(config, original_context, (beta_fast, beta_slow), truncate);
            let stretched = plain.enumerate().map(|(i, frequency)| {
                let share = 1.0 - ((i as f64 - low) / (high - low)).clamp(0.0, 1.0);
                (1.0 - share) * frequency / factor + share * frequency
            });
            (stretched.collect(), attention_factor)
        }
    }
}

/// The pairs between which YaRN blends: those that turn `fast` and `slow` times within the original context.
fn yarn_range(config: &DecoderConfig, original: usize, (fast, slow): (f64, f64), truncate: bool) -> (f64, f64) {
    let width = config.head_width() as f64;
    let pair = |turns: f64| {
        width * libm::log(original as f64 / (turns * std::f64::consts::TAU)) / (2.0 * libm::log(config.rope_theta))
    };
    let (low, high) = match truncate {
        true => (libm::floor(pair(fast)), libm::ceil(pair(slow))),
        false => (pair(fast), pair(slow)),
    };
    let (low, high) = (low.max(0.0), high.min(width - 1.0));
    if low == high { (low, high + 0.001) } else { (low, high) }
}

/// Cosines and sines of position · frequency, [positions, head width / 2] each.
pub(crate) fn tables(config: &DecoderConfig, positions: usize) -> (Vec<f32>, Vec<f32>) {
    let (frequencies, scale) = frequencies(config);
    let angles =
        (0..positions).flat_map(|position| frequencies.iter().map(move |frequency| position as f64 * frequency));
    angles.map(|angle| ((libm::cos(angle) * scale) as f32, (libm::sin(angle) * scale) as f32)).unzip()
}
