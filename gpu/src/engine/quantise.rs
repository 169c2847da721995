//! Weights in 4 or 8 bits: blocks of 32 along the input, each with its scale and zero point, in the layout of the
//! operator `MatMulNBits`.

use super::options::Quantisation;

/// Inputs that share a scale.
pub(crate) const BLOCK: usize = 32;

/// Quantised rows, one after another.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Blocks {
    /// [out, blocks, 32 · bits / 8]; of two 4-bit numbers in a byte the first is the low one.
    pub(crate) packed: Vec<u8>,
    /// [out, blocks]
    pub(crate) scales: Vec<f32>,
    /// [out, ⌈blocks · bits / 8⌉], packed likewise.
    pub(crate) zeros: Vec<u8>,
}

impl Blocks {
    pub(crate) fn extend(&mut self, other: Self) {
        self.packed.extend(other.packed);
        self.scales.extend(other.scales);
        self.zeros.extend(other.zeros);
    }
}

/// Rows [out, inputs] to the nearest of 2^bits evenly spaced values between each block's extremes and zero, so that
/// zero stays exact. The last block of a row is filled up with zeros.
pub(crate) fn quantise(weights: &[f32], inputs: usize, quantisation: Quantisation) -> Blocks {
    let bits = quantisation.bits();
    let levels = ((1u32 << bits) - 1) as f32;
    let mut blocks = Blocks::default();
    for row in weights.chunks_exact(inputs) {
        let mut zeros = Vec::with_capacity(inputs.div_ceil(BLOCK));
        for block in row.chunks(BLOCK) {
            let low = block.iter().copied().fold(0.0f32, f32::min);
            let high = block.iter().copied().fold(0.0f32, f32::max);
            let scale = if high > low { (high - low) / levels } else { 1.0 };
            let zero = (-low / scale).round().clamp(0.0, levels);
            let mut numbers = [zero as u8; BLOCK];
            for (number, &value) in numbers.iter_mut().zip(block) {
                *number = (value / scale + zero).round().clamp(0.0, levels) as u8;
            }
            pack(&numbers, bits, &mut blocks.packed);
            blocks.scales.push(scale);
            zeros.push(zero as u8);
        }
        pack(&zeros, bits, &mut blocks.zeros);
    }
    blocks
}

fn pack(numbers: &[u8], bits: usize, into: &mut Vec<u8>) {
    match bits {
        8 => into.extend_from_slice(numbers),
        _ => into.extend(numbers.chunks(2).map(|pair| pair[0] | pair.get(1).copied().unwrap_or(0) << 4)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CounterRng;

    fn numbers(packed: &[u8], bits: usize) -> Vec<u8> {
        match bits {
            8 => packed.to_vec(),
            _ => packed.iter().flat_map(|byte| [byte & 15, byte >> 4]).collect(),
        }
    }

    #[test]
    fn every_weight_is_within_half_a_step_and_zero_is_exact() {
        let mut rng = CounterRng::new(11, 0);
        let inputs = 75;
        let weights: Vec<f32> =
            (0..6 * inputs).map(|at| if at % 9 == 0 { 0.0 } else { rng.next_normal() as f32 }).collect();
        for quantisation in [Quantisation::Bits4, Quantisation::Bits8] {
            let bits = quantisation.bits();
            let blocks = quantise(&weights, inputs, quantisation);
            let per_row = inputs.div_ceil(BLOCK);
            assert_eq!(blocks.scales.len(), 6 * per_row);
            let packed = numbers(&blocks.packed, bits);
            let zeros: Vec<Vec<u8>> =
                blocks.zeros.chunks((per_row * bits).div_ceil(8)).map(|row| numbers(row, bits)).collect();
            for (at, &weight) in weights.iter().enumerate() {
                let (row, column) = (at / inputs, at % inputs);
                let block = column / BLOCK;
                let scale = blocks.scales[row * per_row + block];
                let number = packed[(row * per_row + block) * BLOCK + column % BLOCK];
                let found = (f32::from(number) - f32::from(zeros[row][block])) * scale;
                assert!((found - weight).abs() <= scale * 0.501 + 1e-6, "{weight} became {found}, step {scale}");
                assert!(weight != 0.0 || found == 0.0);
            }
        }
    }

    #[test]
    fn golden_bytes() {
        let row: Vec<f32> = (0..34).map(|at| at as f32 - 15.0).collect();
        let blocks = quantise(&row, 34, Quantisation::Bits4);
        assert_eq!(blocks.scales.len(), 2);
        assert_eq!(blocks.packed[..4], [0x00, 0x11, 0x22, 0x33]);
        assert_eq!((blocks.packed[16], blocks.packed[17], blocks.zeros.as_slice()), (0xFE, 0, &[0x07u8][..]));
        assert_eq!(quantise(&row, 34, Quantisation::Bits8).zeros, [123, 0]);
    }
}
