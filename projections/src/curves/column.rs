//! One column of numbers as bytes, every bit kept: constants and even steps in a few bytes, everything else by `pco`,
//! or nearly as it is where there are few numbers or they must be written fast.

use crate::Error;
use pco::data_types::Number;
use pco::wrapped::{FileCompressor, FileDecompressor};
use pco::{ChunkConfig, DeltaSpec, ModeSpec};

/// Fewer numbers than this are not worth `pco`'s own bytes.
const PACKED_MIN: usize = 12;
/// With fewer numbers than this `pco`'s search for the best mode takes longer than it gains.
const SEARCHED_MIN: usize = 32;
const LEVEL: usize = 4;

/// How much time a column is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effort {
    /// It is read or written again soon.
    Quick,
    /// It stays.
    Full,
}

// What the first byte of a column says.
const ONE: u8 = 0;
const EVEN: u8 = 1;
const PLAIN: u8 = 2;
const PLAIN_32: u8 = 3;
const PACKED: u8 = 4;
const PACKED_32: u8 = 5;

/// Appends `numbers`, of which there is at least one.
pub(super) fn write_longs(numbers: &[u64], effort: Effort, out: &mut Vec<u8>) {
    let first = numbers[0];
    let step = numbers.get(1).map_or(0, |second| second.wrapping_sub(first));
    if numbers.windows(2).all(|pair| pair[1].wrapping_sub(pair[0]) == step) {
        out.push(if step == 0 { ONE } else { EVEN });
        write_varint(first, out);
        if step != 0 {
            write_varint(step, out);
        }
    } else if effort == Effort::Full && numbers.len() >= PACKED_MIN {
        out.push(PACKED);
        pack(numbers, out);
    } else {
        out.push(PLAIN);
        let mut before = 0;
        for number in numbers {
            // Zigzag, so that a small step back is as short as one ahead.
            let step = number.wrapping_sub(before) as i64;
            write_varint(((step << 1) ^ (step >> 63)) as u64, out);
            before = *number;
        }
    }
}

/// What [`write_longs`] wrote, `count` of them.
pub(super) fn read_longs(bytes: &[u8], count: usize) -> Result<Vec<u64>, Error> {
    let (kind, mut rest) = split(bytes)?;
    match kind {
        ONE => Ok(vec![read_varint(&mut rest)?; count]),
        EVEN => {
            let (first, step) = (read_varint(&mut rest)?, read_varint(&mut rest)?);
            Ok((0..count as u64).map(|n| first.wrapping_add(n.wrapping_mul(step))).collect())
        }
        PLAIN => {
            let mut before = 0u64;
            let mut one = || {
                let zigzag = read_varint(&mut rest)?;
                before = before.wrapping_add((zigzag >> 1) ^ (zigzag & 1).wrapping_neg());
                Ok(before)
            };
            (0..count).map(|_| one()).collect()
        }
        PACKED => unpack(rest, count),
        other => Err(unknown(other)),
    }
}

/// Appends `numbers`, of which there is at least one. Metrics are often computed in 32 bits: those are kept as such.
pub(super) fn write_reals(numbers: &[f64], effort: Effort, out: &mut Vec<u8>) {
    let first = numbers[0].to_bits();
    if numbers.iter().all(|n| n.to_bits() == first) {
        out.push(ONE);
        out.extend(first.to_le_bytes());
        return;
    }
    // Which bits of a NaN a conversion keeps is not defined, so a column with one stays in 64 bits.
    let halves = numbers.iter().all(|n| f64::from(*n as f32) == *n && !n.is_nan());
    let is_packed = effort == Effort::Full && numbers.len() >= PACKED_MIN;
    match (halves, is_packed) {
        (true, _) => {
            let halves: Vec<f32> = numbers.iter().map(|n| *n as f32).collect();
            let start = out.len();
            if is_packed {
                out.push(PACKED_32);
                pack(&halves, out);
            }
            if !is_packed || out.len() - start > 4 * halves.len() {
                out.truncate(start);
                out.push(PLAIN_32);
                halves.iter().for_each(|n| out.extend(n.to_le_bytes()));
            }
        }
        (false, true) => {
            out.push(PACKED);
            pack(numbers, out);
        }
        (false, false) => {
            out.push(PLAIN);
            numbers.iter().for_each(|n| out.extend(n.to_bits().to_le_bytes()));
        }
    }
}

/// What [`write_reals`] wrote, `count` of them.
pub(super) fn read_reals(bytes: &[u8], count: usize) -> Result<Vec<f64>, Error> {
    let (kind, rest) = split(bytes)?;
    let real = |bytes: [u8; 8]| f64::from_bits(u64::from_le_bytes(bytes));
    match kind {
        ONE => Ok(vec![real(rest.try_into().map_err(|_| short())?); count]),
        PLAIN if rest.len() == 8 * count => Ok(rest.as_chunks().0.iter().map(|bytes| real(*bytes)).collect()),
        PLAIN_32 if rest.len() == 4 * count => {
            Ok(rest.as_chunks().0.iter().map(|bytes| f64::from(f32::from_le_bytes(*bytes))).collect())
        }
        PACKED => unpack(rest, count),
        PACKED_32 => Ok(unpack::<f32>(rest, count)?.into_iter().map(f64::from).collect()),
        PLAIN | PLAIN_32 => Err(short()),
        other => Err(unknown(other)),
    }
}

/// LEB128.
pub(super) fn write_varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

pub(super) fn read_varint(bytes: &mut &[u8]) -> Result<u64, Error> {
    let (mut number, mut shift) = (0u64, 0);
    loop {
        let (&byte, rest) = bytes.split_first().ok_or_else(short)?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f).checked_shl(shift).ok_or_else(short)?;
        if byte < 0x80 {
            return Ok(number);
        }
        shift += 7;
    }
}

fn split(bytes: &[u8]) -> Result<(u8, &[u8]), Error> {
    bytes.split_first().map(|(kind, rest)| (*kind, rest)).ok_or_else(short)
}

/// The wrapped form of `pco`: its header, one chunk, one page. What the standalone form adds is said by the panel.
fn pack<T: Number>(numbers: &[T], out: &mut Vec<u8>) {
    let level = if numbers.len() < SEARCHED_MIN { 1 } else { LEVEL };
    let mut config = ChunkConfig::default().with_compression_level(level);
    if numbers.len() < SEARCHED_MIN {
        config = config.with_mode_spec(ModeSpec::Classic).with_delta_spec(DeltaSpec::TryConsecutive(1));
    }
    let file = FileCompressor::default();
    let mut chunk = file.chunk_compressor(numbers, &config).expect("the configuration fits any numbers");
    file.write_header(&mut *out).expect("writing to memory cannot fail");
    chunk.write_meta(&mut *out).expect("writing to memory cannot fail");
    for page in 0..chunk.n_per_page().len() {
        chunk.write_page(page, &mut *out).expect("writing to memory cannot fail");
    }
}

fn unpack<T: Number>(bytes: &[u8], count: usize) -> Result<Vec<T>, Error> {
    let damaged = |e: pco::errors::PcoError| damaged(e);
    let (file, rest) = FileDecompressor::new(bytes).map_err(damaged)?;
    let (mut chunk, rest) = file.chunk_decompressor::<T, _>(rest).map_err(damaged)?;
    let mut page = chunk.page_decompressor(rest, count).map_err(damaged)?;
    let mut numbers = vec![T::default(); count];
    let progress = page.read(&mut numbers).map_err(damaged)?;
    match progress.n_processed == count {
        true => Ok(numbers),
        false => Err(short()),
    }
}

fn short() -> Error {
    damaged("a column is cut short")
}
fn unknown(kind: u8) -> Error {
    damaged(format!("a column begins with {kind}, which is no encoding"))
}
fn damaged(why: impl ToString) -> Error {
    Error::row("curves.panel", why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;

    #[test]
    fn every_bit_of_every_number_comes_back() {
        let mut random = Random::new(11);
        for count in [1, 2, 3, PACKED_MIN - 1, PACKED_MIN, SEARCHED_MIN, 100, 1_024, 5_000] {
            for shape in 0..8 {
                let long = |i: u64, random: &mut Random| match shape {
                    0 => 7,
                    1 => u64::MAX - i * 3,
                    2 => i * i,
                    3 => random.next(),
                    4 => i + random.below(3),
                    _ => 1_700_000_000_000_000 + i * 150_000 + random.below(1_000),
                };
                let real = |i: u64, random: &mut Random| match (shape, random.below(9)) {
                    (0, _) => -0.0,
                    (1, _) => f64::from(1.0 / (1.0 + i as f32)),
                    (2, _) => i as f64 / 1_000.0,
                    (3, _) => f64::from_bits(random.next()),
                    (_, 0) => f64::from_bits(0x7ff8_0000_0000_0000 | random.below(1 << 40)),
                    (_, 1) => f64::NEG_INFINITY,
                    (4, _) => f64::from_bits(0x7ff0_0000_0000_0001 | random.below(1 << 40)),
                    _ => f64::from(random.below(1 << 20) as f32 / 1_024.0),
                };
                let longs: Vec<u64> = (0..count as u64).map(|i| long(i, &mut random)).collect();
                let reals: Vec<f64> = (0..count as u64).map(|i| real(i, &mut random)).collect();
                for effort in [Effort::Quick, Effort::Full] {
                    let mut bytes = Vec::new();
                    write_longs(&longs, effort, &mut bytes);
                    assert_eq!(read_longs(&bytes, count).unwrap(), longs, "{shape} {effort:?}");
                    bytes.clear();
                    write_reals(&reals, effort, &mut bytes);
                    let bits = |reals: &[f64]| reals.iter().map(|n| n.to_bits()).collect::<Vec<_>>();
                    assert_eq!(bits(&read_reals(&bytes, count).unwrap()), bits(&reals), "{shape} {effort:?}");
                }
            }
        }
    }

    #[test]
    fn a_smooth_column_takes_few_bytes() {
        let mut bytes = Vec::new();
        write_longs(&(5..4_101).collect::<Vec<_>>(), Effort::Full, &mut bytes);
        assert!(bytes.len() < 4, "{} bytes of even steps", bytes.len());
        bytes.clear();
        let loss = |i: u32| f64::from((5.0 / (1.0 + f64::from(i) / 100.0)) as f32);
        write_reals(&(0..4_096).map(loss).collect::<Vec<_>>(), Effort::Full, &mut bytes);
        assert!(bytes.len() < 4_096 * 3, "{} bytes of a loss", bytes.len());
    }

    #[test]
    fn damage_is_an_error() {
        let mut bytes = Vec::new();
        let mut random = Random::new(3);
        write_reals(&(0..100).map(|_| random.below(1 << 30) as f64).collect::<Vec<_>>(), Effort::Full, &mut bytes);
        assert!(read_reals(&bytes[..bytes.len() / 2], 100).is_err());
        assert!(read_reals(&[], 1).is_err());
        assert!(read_reals(&[9, 9], 1).is_err());
        assert!(read_longs(&[PLAIN, 0x80], 1).is_err());
        assert!(read_longs(&[EVEN, 1], 3).is_err());
    }
}
