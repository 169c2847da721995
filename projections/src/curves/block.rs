//! Sealed blocks: the columns of points, each compressed without loss by `pco`.

use super::rows::Stored;
use crate::Error;
use crate::projection::{decode, encode};
use bincode::{Decode, Encode};
use pco::ChunkConfig;
use pco::data_types::Number;
use pco::standalone::{simple_compress, simple_decompress};

const TABLE: &str = "curves.block";

#[derive(Encode, Decode)]
struct Columns {
    points: u32,
    steps: Vec<u8>,
    times: Vec<u8>,
    tokens: Vec<u8>,
    values: Vec<u8>,
    attempts: Attempts,
}

/// Nearly every block is of one attempt.
#[derive(Encode, Decode)]
enum Attempts {
    One(u32),
    Many(Vec<u8>),
}

/// `points` must not be empty; their order is kept.
pub(super) fn seal(points: &[Stored]) -> Vec<u8> {
    let first = points.first().expect("a block has points").attempt;
    let one = points.iter().all(|point| point.attempt == first);
    encode(&Columns {
        points: points.len() as u32,
        steps: column(points, |p| p.step),
        times: column(points, |p| p.time_micros),
        tokens: column(points, |p| p.tokens),
        values: column(points, |p| p.value),
        attempts: if one { Attempts::One(first) } else { Attempts::Many(column(points, |p| p.attempt)) },
    })
}

pub(super) fn open(bytes: &[u8]) -> Result<Vec<Stored>, Error> {
    let block: Columns = decode(TABLE, bytes)?;
    let count = block.points as usize;
    let steps: Vec<u64> = numbers(&block.steps, count)?;
    let times: Vec<i64> = numbers(&block.times, count)?;
    let tokens: Vec<u64> = numbers(&block.tokens, count)?;
    let values: Vec<f64> = numbers(&block.values, count)?;
    let attempts: Vec<u32> = match &block.attempts {
        Attempts::One(attempt) => vec![*attempt; count],
        Attempts::Many(bytes) => numbers(bytes, count)?,
    };
    let point = |i: usize| Stored {
        step: steps[i],
        time_micros: times[i],
        tokens: tokens[i],
        value: values[i],
        attempt: attempts[i],
    };
    Ok((0..count).map(point).collect())
}

fn column<T: Number>(points: &[Stored], field: impl Fn(&Stored) -> T) -> Vec<u8> {
    let numbers: Vec<T> = points.iter().map(field).collect();
    simple_compress(&numbers, &ChunkConfig::default()).expect("the default configuration fits any numbers")
}

fn numbers<T: Number>(bytes: &[u8], count: usize) -> Result<Vec<T>, Error> {
    let numbers: Vec<T> = simple_decompress(bytes).map_err(|e| Error::row(TABLE, e))?;
    match numbers.len() == count {
        true => Ok(numbers),
        false => Err(Error::row(TABLE, format!("a column holds {} numbers, expected {count}", numbers.len()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;

    #[test]
    fn every_bit_of_every_column_comes_back() {
        let mut random = Random::new(11);
        for count in [1, 2, 31, 1024] {
            let points: Vec<Stored> = (0..count)
                .map(|i| Stored {
                    step: if i % 7 == 0 { random.next() } else { i },
                    time_micros: random.next() as i64,
                    tokens: i * 2048,
                    value: match i % 9 {
                        0 => f64::NAN,
                        1 => f64::NEG_INFINITY,
                        2 => -0.0,
                        3 => f64::from_bits(0x7ff8_0000_0000_0000 | random.below(1 << 40)),
                        _ => 1.0 / (1.0 + i as f64),
                    },
                    attempt: if count == 31 { 1 + (i / 20) as u32 } else { 3 },
                })
                .collect();
            let bits = |p: &Stored| (p.step, p.time_micros, p.tokens, p.value.to_bits(), p.attempt);
            let back = open(&seal(&points)).unwrap();
            assert_eq!(back.iter().map(bits).collect::<Vec<_>>(), points.iter().map(bits).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_smooth_curve_takes_few_bytes() {
        let point = |i: u64| Stored {
            step: i,
            time_micros: 1_700_000_000_000_000 + i as i64 * 150_000 + (i as i64 * 7919) % 997,
            tokens: i * 2_048,
            value: f64::from((5.0 / (1.0 + i as f64 / 100.0)) as f32),
            attempt: 1,
        };
        let points: Vec<Stored> = (1..=1024).map(point).collect();
        let bytes = seal(&points).len();
        assert!(bytes < 1024 * 8, "{bytes} bytes");
    }

    #[test]
    fn damage_is_an_error() {
        let point = Stored { step: 1, time_micros: 2, tokens: 3, value: 4.0, attempt: 1 };
        let bytes = seal(&[point; 100]);
        assert!(open(&bytes[..bytes.len() - 3]).is_err());
        assert!(open(&[]).is_err());
    }
}
