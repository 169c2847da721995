//! One bit for each row, in words of 64.

use super::cells::CHUNK_ROWS;

/// Bits of the rows of a table; those past its last row are zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::catalog) struct Bits {
    words: Vec<u64>,
    rows: usize,
}

impl Bits {
    /// None of the rows.
    pub(in crate::catalog) fn none(rows: usize) -> Self {
        Self { words: vec![0; rows.div_ceil(CHUNK_ROWS) * (CHUNK_ROWS / 64)], rows }
    }
    /// All of the rows.
    pub(in crate::catalog) fn all(rows: usize) -> Self {
        let mut bits = Self::none(rows);
        bits.words[..rows / 64].fill(u64::MAX);
        if !rows.is_multiple_of(64) {
            bits.words[rows / 64] = (1 << (rows % 64)) - 1;
        }
        bits
    }
    pub(in crate::catalog) fn words_mut(&mut self) -> &mut [u64] {
        &mut self.words
    }
    #[cfg(test)]
    pub(in crate::catalog) fn get(&self, row: usize) -> bool {
        self.words[row / 64] >> (row % 64) & 1 == 1
    }
    pub(in crate::catalog) fn count(&self) -> u64 {
        self.words.iter().map(|word| u64::from(word.count_ones())).sum()
    }
    pub(in crate::catalog) fn and(&mut self, other: &Bits) {
        self.each(other, |one, other| one & other);
    }
    pub(in crate::catalog) fn or(&mut self, other: &Bits) {
        self.each(other, |one, other| one | other);
    }
    /// Those of them that are not in the other.
    pub(in crate::catalog) fn and_not(&mut self, other: &Bits) {
        self.each(other, |one, other| one & !other);
    }
    /// Those of the rows that are not in it.
    pub(in crate::catalog) fn inverted(&self) -> Bits {
        let mut all = Bits::all(self.rows);
        all.and_not(self);
        all
    }
    fn each(&mut self, other: &Bits, with: impl Fn(u64, u64) -> u64) {
        debug_assert_eq!(self.rows, other.rows, "bits of one table");
        self.words.iter_mut().zip(&other.words).for_each(|(one, other)| *one = with(*one, *other));
    }
    /// The rows that are set, in order.
    pub(in crate::catalog) fn iter(&self) -> impl Iterator<Item = u32> {
        self.words.iter().enumerate().flat_map(|(index, word)| {
            let mut rest = *word;
            std::iter::from_fn(move || {
                (rest != 0).then(|| {
                    let bit = rest.trailing_zeros();
                    rest &= rest - 1;
                    index as u32 * 64 + bit
                })
            })
        })
    }
    /// The rows that are set, the last first.
    pub(in crate::catalog) fn iter_down(&self) -> impl Iterator<Item = u32> {
        self.words.iter().enumerate().rev().flat_map(|(index, word)| {
            let mut rest = *word;
            std::iter::from_fn(move || {
                (rest != 0).then(|| {
                    let bit = 63 - rest.leading_zeros();
                    rest &= !(1 << bit);
                    index as u32 * 64 + bit
                })
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_a_set_of_rows() {
        for rows in [0, 1, 63, 64, 65, 4_096, 4_097, 10_000] {
            let all = Bits::all(rows);
            assert_eq!(all.count(), rows as u64);
            let mut thirds = Bits::none(rows);
            (0..rows).step_by(3).for_each(|row| thirds.words_mut()[row / 64] |= 1 << (row % 64));
            let expected: Vec<u32> = (0..rows as u32).step_by(3).collect();
            assert_eq!(thirds.iter().collect::<Vec<_>>(), expected);
            assert_eq!(thirds.iter_down().collect::<Vec<_>>(), expected.iter().rev().copied().collect::<Vec<_>>());
            let rest = thirds.inverted();
            assert_eq!(rest.count() + thirds.count(), rows as u64);
            assert!((0..rows).all(|row| rest.get(row) != thirds.get(row)));
            let (mut both, mut either) = (rest.clone(), rest.clone());
            both.and(&thirds);
            either.or(&thirds);
            assert_eq!((both.count(), either), (0, all));
        }
    }
}
