//! BLAKE3 of many short inputs side by side, which one input alone cannot gain from: its blocks follow from one another.
//!
//! Source: the BLAKE3 paper, sections 2.4 to 2.6. Blocks before an input's last go through the crate's own vector code, the
//! last, of any length, alone. The result only says whether all are right: whoever gets a no hashes one by one, as usual.

use blake3::platform::{MAX_SIMD_DEGREE, Platform, le_bytes_from_words_32, words_from_le_bytes_32};
use blake3::{BLOCK_LEN, CHUNK_LEN, IncrementCounter, OUT_LEN};
use cairn_schemas::Blake3;

const CHUNK_START: u8 = 1;
const CHUNK_END: u8 = 1 << 1;
const ROOT: u8 = 1 << 3;
/// What an unkeyed hash begins from: the words of SHA-256's.
const IV: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];
/// Blocks of one chunk. Longer inputs are hashed alone, and in parallel inside.
const CHUNK_BLOCKS: usize = CHUNK_LEN / BLOCK_LEN;

type Lane<'a> = (&'a [u8], &'a Blake3);

/// Compares inputs with the digests they should have, as many at once as there are lanes.
pub(crate) struct Many<'a> {
    platform: Platform,
    /// Those that wait, by the number of blocks before their last.
    waiting: [Vec<Lane<'a>>; CHUNK_BLOCKS],
    all_right: bool,
}

impl<'a> Many<'a> {
    pub(crate) fn new() -> Self {
        Self { platform: Platform::detect(), waiting: Default::default(), all_right: true }
    }

    pub(crate) fn expect(&mut self, input: &'a [u8], digest: &'a Blake3) {
        let before_last = input.len().saturating_sub(1) / BLOCK_LEN;
        if before_last == 0 || before_last >= CHUNK_BLOCKS {
            self.all_right &= blake3::hash(input).as_bytes() == digest.as_bytes();
            return;
        }
        self.waiting[before_last].push((input, digest));
        if self.waiting[before_last].len() == MAX_SIMD_DEGREE {
            self.flush(before_last);
        }
    }

    /// Whether every input has its digest.
    pub(crate) fn all_right(mut self) -> bool {
        (1..CHUNK_BLOCKS).for_each(|before_last| self.flush(before_last));
        self.all_right
    }

    fn flush(&mut self, before_last: usize) {
        let lanes = &mut self.waiting[before_last];
        let platform = self.platform;
        macro_rules! of_blocks {
            ($($blocks:literal)*) => {
                match before_last {
                    $($blocks => are_right::<{ $blocks * BLOCK_LEN }>(platform, lanes),)*
                    _ => unreachable!("longer inputs do not wait"),
                }
            };
        }
        self.all_right &= of_blocks!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
        lanes.clear();
    }
}

/// Inputs of `N` bytes of whole blocks and a last block each.
fn are_right<const N: usize>(platform: Platform, lanes: &[Lane<'_>]) -> bool {
    let (mut inputs, mut values) = ([&[0; N]; MAX_SIMD_DEGREE], [0; MAX_SIMD_DEGREE * OUT_LEN]);
    for (input, (bytes, _)) in inputs.iter_mut().zip(lanes) {
        *input = bytes.first_chunk().expect("what waits here is longer");
    }
    let (inputs, out) = (&inputs[..lanes.len()], &mut values[..lanes.len() * OUT_LEN]);
    platform.hash_many(inputs, &IV, 0, IncrementCounter::No, 0, CHUNK_START, 0, out);
    let (values, _) = out.as_chunks::<OUT_LEN>();
    lanes.iter().zip(values).all(|((bytes, digest), value)| {
        let (mut value, mut block, last) = (words_from_le_bytes_32(value), [0; BLOCK_LEN], &bytes[N..]);
        block[..last.len()].copy_from_slice(last);
        platform.compress_in_place(&mut value, &block, last.len() as u8, 0, CHUNK_END | ROOT);
        le_bytes_from_words_32(&value) == *digest.as_bytes()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lengths from 0 to over a chunk, some of each, so that full and part-filled lanes occur.
    fn inputs() -> Vec<Vec<u8>> {
        (0..20 * 1100_usize).map(|n| (0..n % 1100).map(|at| (at * 7 + n) as u8).collect()).collect()
    }

    #[test]
    fn agrees_with_hashing_one_by_one() {
        let inputs = inputs();
        let digests: Vec<_> = inputs.iter().map(|input| Blake3::of(input)).collect();
        let mut many = Many::new();
        inputs.iter().zip(&digests).for_each(|(input, digest)| many.expect(input, digest));
        assert!(many.all_right());
    }

    #[test]
    fn one_wrong_among_many_is_noticed() {
        let inputs = inputs();
        let digests: Vec<_> = inputs.iter().map(|input| Blake3::of(input)).collect();
        for wrong in (0..inputs.len()).step_by(997) {
            let mut other = inputs[wrong].clone();
            other.push(0);
            let mut many = Many::new();
            for (n, (input, digest)) in inputs.iter().zip(&digests).enumerate() {
                many.expect(if n == wrong { &other } else { input }, digest);
            }
            assert!(!many.all_right(), "input {wrong} is longer by a zero");
        }
    }
}
