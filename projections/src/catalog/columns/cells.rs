//! Values of one type by row, in chunks: a chunk in which few rows have one is a sorted list, another an array.

/// Rows of a chunk.
pub(super) const CHUNK_ROWS: usize = 4_096;
/// A chunk with more values than this is an array.
const SPARSE_MAX: usize = 1_024;
const CHUNK_WORDS: usize = CHUNK_ROWS / 64;

#[derive(Debug)]
pub(super) struct Cells<T> {
    chunks: Vec<Chunk<T>>,
    count: usize,
}

#[derive(Debug)]
enum Chunk<T> {
    /// Sorted by row.
    Sparse {
        rows: Vec<u16>,
        values: Vec<T>,
    },
    Dense(Box<Dense<T>>),
}

#[derive(Debug)]
struct Dense<T> {
    present: [u64; CHUNK_WORDS],
    values: Vec<T>,
}

impl<T: Copy + Default> Cells<T> {
    pub(super) fn new() -> Self {
        Self { chunks: Vec::new(), count: 0 }
    }

    /// How many rows have a value.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn get(&self, row: u32) -> Option<T> {
        let (chunk, within) = (row as usize / CHUNK_ROWS, row as usize % CHUNK_ROWS);
        match self.chunks.get(chunk)? {
            Chunk::Sparse { rows, values } => rows.binary_search(&(within as u16)).ok().map(|at| values[at]),
            Chunk::Dense(dense) => (dense.present[within / 64] >> (within % 64) & 1 == 1).then(|| dense.values[within]),
        }
    }

    /// Puts a value, or takes it away, and gives what was there.
    pub(super) fn set(&mut self, row: u32, value: Option<T>) -> Option<T> {
        let (chunk, within) = (row as usize / CHUNK_ROWS, row as usize % CHUNK_ROWS);
        if chunk >= self.chunks.len() {
            value?;
            self.chunks.resize_with(chunk + 1, Chunk::empty);
        }
        let before = self.chunks[chunk].set(within, value);
        self.count = self.count + usize::from(value.is_some()) - usize::from(before.is_some());
        before
    }

    /// Asks each value, 64 rows at a time: `known` gets the rows that have one, `yes` those whose value is wanted.
    pub(super) fn scan(&self, yes: &mut [u64], known: &mut [u64], wanted: impl Fn(T) -> bool) {
        let words = yes.chunks_mut(CHUNK_WORDS).zip(known.chunks_mut(CHUNK_WORDS));
        for (chunk, (yes, known)) in self.chunks.iter().zip(words) {
            match chunk {
                Chunk::Sparse { rows, values } => {
                    for (row, value) in rows.iter().zip(values) {
                        let (word, bit) = (usize::from(*row) / 64, 1u64 << (row % 64));
                        known[word] |= bit;
                        if wanted(*value) {
                            yes[word] |= bit;
                        }
                    }
                }
                Chunk::Dense(dense) => {
                    let words = dense.present.iter().zip(dense.values.chunks_exact(64));
                    for ((present, values), (yes, known)) in words.zip(yes.iter_mut().zip(known)) {
                        let mut found = 0;
                        for (bit, value) in values.iter().enumerate() {
                            found |= u64::from(wanted(*value)) << bit;
                        }
                        *known |= present;
                        *yes |= found & present;
                    }
                }
            }
        }
    }
}

impl<T: Copy + Default> Chunk<T> {
    fn empty() -> Self {
        Chunk::Sparse { rows: Vec::new(), values: Vec::new() }
    }

    fn set(&mut self, within: usize, value: Option<T>) -> Option<T> {
        match self {
            Chunk::Dense(dense) => {
                let (word, bit) = (&mut dense.present[within / 64], 1u64 << (within % 64));
                let before = (*word & bit != 0).then(|| dense.values[within]);
                match value {
                    Some(value) => {
                        *word |= bit;
                        dense.values[within] = value;
                    }
                    None => *word &= !bit,
                }
                before
            }
            Chunk::Sparse { rows, values } => match (rows.binary_search(&(within as u16)), value) {
                (Ok(at), Some(value)) => Some(std::mem::replace(&mut values[at], value)),
                (Ok(at), None) => {
                    rows.remove(at);
                    Some(values.remove(at))
                }
                (Err(_), None) => None,
                (Err(at), Some(value)) => {
                    rows.insert(at, within as u16);
                    values.insert(at, value);
                    if rows.len() > SPARSE_MAX {
                        self.spread();
                    }
                    None
                }
            },
        }
    }

    /// Makes an array of a list.
    fn spread(&mut self) {
        let Chunk::Sparse { rows, values } = self else { return };
        let mut dense = Dense { present: [0; CHUNK_WORDS], values: vec![T::default(); CHUNK_ROWS] };
        for (row, value) in rows.iter().zip(values) {
            dense.present[usize::from(*row) / 64] |= 1 << (row % 64);
            dense.values[usize::from(*row)] = *value;
        }
        *self = Chunk::Dense(Box::new(dense));
    }
}

#[cfg(test)]
mod tests {
    use super::super::bits::Bits;
    use super::*;
    use crate::testing::Random;
    use std::collections::BTreeMap;

    #[test]
    fn cells_are_as_a_plain_map_has_them() {
        for (seed, rows) in [(1, 300), (2, 9_000), (3, 20_000)] {
            println!("seed {seed}");
            let mut random = Random::new(seed);
            let (mut cells, mut model) = (Cells::new(), BTreeMap::new());
            for _ in 0..30_000 {
                // Few rows of the later chunks have a value, many of the first.
                let row = random.below(rows).min(random.below(rows)) as u32;
                let value = (random.below(5) > 0).then(|| random.below(100));
                let before = match value {
                    Some(value) => model.insert(row, value),
                    None => model.remove(&row),
                };
                assert_eq!(cells.set(row, value), before, "seed {seed}");
            }
            assert_eq!(cells.count(), model.len());
            let (mut yes, mut known) = (Bits::none(rows as usize), Bits::none(rows as usize));
            cells.scan(yes.words_mut(), known.words_mut(), |value| value < 30);
            assert_eq!(known.iter().collect::<Vec<_>>(), model.keys().copied().collect::<Vec<_>>());
            let wanted: Vec<u32> = model.iter().filter(|(_, value)| **value < 30).map(|(row, _)| *row).collect();
            assert_eq!(yes.iter().collect::<Vec<_>>(), wanted);
            for row in 0..rows as u32 + 10 {
                assert_eq!(cells.get(row), model.get(&row).copied());
            }
        }
    }
}
