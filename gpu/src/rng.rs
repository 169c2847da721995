//! A counter-based generator: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
//! SC 2011). Word n of stream s under seed k is a pure function of (k, s, n), so a draw can be repeated on
//! any machine, in any order, and three integers are the whole state that a checkpoint has to keep.

use serde::{Deserialize, Serialize};

const MULTIPLIER_0: u32 = 0xD251_1F53;
const MULTIPLIER_1: u32 = 0xCD9E_8D57;
const WEYL_0: u32 = 0x9E37_79B9;
const WEYL_1: u32 = 0xBB67_AE85;
const ROUNDS: usize = 10;

/// Where a generator stands: everything needed to continue it.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
#[serde(deny_unknown_fields)]
pub struct RngState {
    pub seed: u64,
    pub stream: u64,
    /// 32-bit words drawn so far.
    pub counter: u64,
}

/// Draws from one stream of one seed.
#[derive(Clone, Debug)]
pub struct CounterRng {
    state: RngState,
    block: [u32; 4],
}

impl CounterRng {
    pub fn new(seed: u64, stream: u64) -> Self {
        Self::from_state(RngState { seed, stream, counter: 0 })
    }

    pub fn from_state(state: RngState) -> Self {
        Self { state, block: block_of(state) }
    }

    pub fn state(&self) -> RngState {
        self.state
    }

    /// 32 uniform bits.
    pub fn next_u32(&mut self) -> u32 {
        if self.state.counter.is_multiple_of(4) {
            self.block = block_of(self.state);
        }
        let word = self.block[(self.state.counter % 4) as usize];
        self.state.counter = self.state.counter.wrapping_add(1);
        word
    }

    /// 64 uniform bits: two words, the first one low.
    pub fn next_u64(&mut self) -> u64 {
        let low = u64::from(self.next_u32());
        low | u64::from(self.next_u32()) << 32
    }

    /// Uniform in [0, 1), 24 bits.
    pub fn next_f32(&mut self) -> f32 {
        (self.next_u32() >> 8) as f32 * (1.0 / (1u32 << 24) as f32)
    }

    /// Uniform in [0, 1), 53 bits.
    pub fn next_f64(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Standard normal by Box and Muller (1958), the cosine branch only, so that a draw always costs four words.
    /// `libm` rather than the C library, whose last bit depends on the CPU.
    pub fn next_normal(&mut self) -> f64 {
        let radius = 1.0 - self.next_f64();
        let angle = self.next_f64();
        libm::sqrt(-2.0 * libm::log(radius)) * libm::cos(std::f64::consts::TAU * angle)
    }

    /// Uniform in [0, bound) without bias (Lemire 2019). `bound` must not be 0.
    pub fn next_below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "no number is below 0");
        let threshold = bound.wrapping_neg() % bound;
        loop {
            let product = u128::from(self.next_u64()) * u128::from(bound);
            if product as u64 >= threshold {
                return (product >> 64) as u64;
            }
        }
    }

    /// Fisher and Yates, from the end.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.next_below(last as u64 + 1) as usize);
        }
    }
}

fn block_of(state: RngState) -> [u32; 4] {
    let block = state.counter / 4;
    let counter = [block as u32, (block >> 32) as u32, state.stream as u32, (state.stream >> 32) as u32];
    philox(counter, [state.seed as u32, (state.seed >> 32) as u32])
}

fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..ROUNDS {
        let left = u64::from(MULTIPLIER_0) * u64::from(counter[0]);
        let right = u64::from(MULTIPLIER_1) * u64::from(counter[2]);
        counter = [
            (right >> 32) as u32 ^ counter[1] ^ key[0],
            right as u32,
            (left >> 32) as u32 ^ counter[3] ^ key[1],
            left as u32,
        ];
        key = [key[0].wrapping_add(WEYL_0), key[1].wrapping_add(WEYL_1)];
    }
    counter
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known answers published with Random123 (`kat_vectors`, philox4x32 10).
    #[test]
    fn published_answers() {
        assert_eq!(philox([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(philox([u32::MAX; 4], [u32::MAX; 2]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        assert_eq!(
            philox([0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], [0xa409_3822, 0x299f_31d0]),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn a_state_continues_anywhere_in_a_block() {
        let mut whole = CounterRng::new(7, 9);
        let words: Vec<u32> = (0..23).map(|_| whole.next_u32()).collect();
        for split in 0..23 {
            let mut first = CounterRng::new(7, 9);
            let mut seen: Vec<u32> = (0..split).map(|_| first.next_u32()).collect();
            let mut second = CounterRng::from_state(first.state());
            seen.extend((split..23).map(|_| second.next_u32()));
            assert_eq!(seen, words, "split at {split}");
        }
    }

    #[test]
    fn streams_and_seeds_differ() {
        let first = |seed, stream| CounterRng::new(seed, stream).next_u64();
        assert_ne!(first(1, 0), first(0, 1));
        assert_ne!(first(1, 0), first(2, 0));
        assert_ne!(first(1 << 32, 0), first(1, 0));
    }

    #[test]
    fn moments_of_uniform_and_normal() {
        let mut rng = CounterRng::new(1, 2);
        let count = 40_000;
        let mean = (0..count).map(|_| f64::from(rng.next_f32())).sum::<f64>() / f64::from(count);
        assert!((mean - 0.5).abs() < 0.01, "{mean}");
        let draws: Vec<f64> = (0..count).map(|_| rng.next_normal()).collect();
        let mean = draws.iter().sum::<f64>() / f64::from(count);
        let variance = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / f64::from(count);
        let fourth = draws.iter().map(|x| (x - mean).powi(4)).sum::<f64>() / f64::from(count);
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.03, "{mean} {variance}");
        assert!((fourth / variance.powi(2) - 3.0).abs() < 0.15, "{fourth}");
    }

    #[test]
    fn below_and_shuffle_reach_everything() {
        let mut rng = CounterRng::new(3, 0);
        let mut seen = [0usize; 5];
        (0..5_000).for_each(|_| seen[rng.next_below(5) as usize] += 1);
        assert!(seen.iter().all(|&count| (850..1_150).contains(&count)), "{seen:?}");
        let mut orders = std::collections::BTreeSet::new();
        for _ in 0..200 {
            let mut items = [0, 1, 2];
            rng.shuffle(&mut items);
            orders.insert(items);
        }
        assert_eq!(orders.len(), 6);
    }
}
