//! The values at one path: numbers in one place, truth values and texts in another, so that a path may have all three.

use super::bits::Bits;
use super::cells::Cells;
use super::pool::Pool;
use std::cmp::Ordering;
use std::sync::{Arc, OnceLock};

/// Numbers of the symbols that are no texts; those of texts follow.
const FALSE: u32 = 0;
const TRUE: u32 = 1;
const TEXTS: u32 = 2;

/// A value at a path.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::catalog) enum Cell<'a> {
    Number(f64),
    Bool(bool),
    Text(&'a str),
}

#[derive(Debug)]
pub(in crate::catalog) struct Column {
    numbers: Cells<f64>,
    /// Truth values and texts, by their numbers.
    symbols: Cells<u32>,
    texts: Pool<Arc<str>>,
    /// Where each text stands among all, by its number; made when an order asks for it.
    ranks: OnceLock<Vec<u32>>,
}

/// Where a value stands in an ascending order: numbers, then NaN, then false and true, then texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::catalog) struct SortKey {
    class: u8,
    within: u64,
}

const NUMBERS: u8 = 0;
const NANS: u8 = 1;
const BOOLS: u8 = 2;
const TEXTS_LAST: u8 = 3;
const ABSENT: u8 = 4;

impl SortKey {
    fn of_number(value: f64) -> Self {
        if value.is_nan() {
            return Self { class: NANS, within: 0 };
        }
        // -0 and 0 are equal, so they must not differ by a bit.
        let bits = (value + 0.0).to_bits();
        let within = if bits >> 63 == 1 { !bits } else { bits | 1 << 63 };
        Self { class: NUMBERS, within }
    }
    fn of_bool(value: bool) -> Self {
        Self { class: BOOLS, within: u64::from(value) }
    }
    pub(in crate::catalog) const fn absent() -> Self {
        Self { class: ABSENT, within: 0 }
    }
    /// Turned round, but for the classes: what is absent comes last in either direction.
    pub(in crate::catalog) fn descending(self) -> Self {
        Self { class: self.class, within: !self.within }
    }
}

/// What a filter says of a symbol.
const UNKNOWN: u8 = 0;
const NO: u8 = 1;
const YES: u8 = 2;

fn shown(answer: Option<bool>) -> u8 {
    match answer {
        None => UNKNOWN,
        Some(false) => NO,
        Some(true) => YES,
    }
}

impl Column {
    pub(super) fn new() -> Self {
        Self { numbers: Cells::new(), symbols: Cells::new(), texts: Pool::new(), ranks: OnceLock::new() }
    }

    /// Rows with a number, and rows with a truth value or a text.
    pub(in crate::catalog) fn counts(&self) -> (usize, usize) {
        (self.numbers.count(), self.symbols.count())
    }

    pub(in crate::catalog) fn get(&self, row: u32) -> Option<Cell<'_>> {
        if let Some(number) = self.numbers.get(row) {
            return Some(Cell::Number(number));
        }
        match self.symbols.get(row)? {
            FALSE => Some(Cell::Bool(false)),
            TRUE => Some(Cell::Bool(true)),
            text => self.texts.key(text - TEXTS).map(|text| Cell::Text(text)),
        }
    }

    pub(super) fn set(&mut self, row: u32, cell: Option<Cell<'_>>) {
        let number = match cell {
            Some(Cell::Number(number)) => Some(number),
            _ => None,
        };
        self.numbers.set(row, number);
        let mut changed = false;
        let symbol = match cell {
            Some(Cell::Bool(value)) => Some(if value { TRUE } else { FALSE }),
            Some(Cell::Text(text)) => {
                let (number, is_new) = self.texts.take(text);
                changed |= is_new;
                Some(number + TEXTS)
            }
            _ => None,
        };
        if let Some(before) = self.symbols.set(row, symbol)
            && before >= TEXTS
        {
            changed |= self.texts.release(before - TEXTS);
        }
        if changed {
            self.ranks = OnceLock::new();
        }
    }

    /// Rows whose number is wanted into `yes`; all rows with a number into `known`.
    pub(in crate::catalog) fn numbers(&self, yes: &mut Bits, known: &mut Bits, wanted: impl Fn(f64) -> bool) {
        self.numbers.scan(yes.words_mut(), known.words_mut(), wanted);
    }

    /// Rows whose truth value or text is wanted into `yes`; all that have either, and that `answer` says something
    /// about, into `known`.
    pub(in crate::catalog) fn symbols(
        &self,
        yes: &mut Bits,
        known: &mut Bits,
        answer: impl Fn(Cell<'_>) -> Option<bool>,
    ) {
        let mut answers = vec![NO; self.texts.end() + TEXTS as usize];
        answers[FALSE as usize] = shown(answer(Cell::Bool(false)));
        answers[TRUE as usize] = shown(answer(Cell::Bool(true)));
        for (text, number) in self.texts.iter() {
            answers[(number + TEXTS) as usize] = shown(answer(Cell::Text(text)));
        }
        self.answered(yes, known, &answers);
    }

    /// Rows whose text begins with a prefix and is wanted into `yes`; all that have a text into `known`.
    pub(in crate::catalog) fn texts(
        &self,
        yes: &mut Bits,
        known: &mut Bits,
        prefix: &str,
        wanted: impl Fn(&str) -> bool,
    ) {
        let mut answers = vec![NO; self.texts.end() + TEXTS as usize];
        (answers[FALSE as usize], answers[TRUE as usize]) = (UNKNOWN, UNKNOWN);
        for (text, number) in self.texts.from(prefix).take_while(|(text, _)| text.starts_with(prefix)) {
            answers[(number + TEXTS) as usize] = shown(Some(wanted(text)));
        }
        self.answered(yes, known, &answers);
    }

    fn answered(&self, yes: &mut Bits, known: &mut Bits, answers: &[u8]) {
        if self.symbols.count() == 0 {
            return;
        }
        if !answers.contains(&UNKNOWN) {
            self.symbols.scan(yes.words_mut(), known.words_mut(), |symbol| answers[symbol as usize] == YES);
            return;
        }
        let (mut answered, mut any) = (known.clone(), known.clone());
        self.symbols.scan(answered.words_mut(), any.words_mut(), |symbol| answers[symbol as usize] != UNKNOWN);
        self.symbols.scan(yes.words_mut(), any.words_mut(), |symbol| answers[symbol as usize] == YES);
        known.or(&answered);
    }

    /// Rows with exactly this text, or this truth value, into `yes`; all that have any into `known`.
    pub(in crate::catalog) fn symbol(&self, yes: &mut Bits, known: &mut Bits, wanted: Cell<'_>) {
        let wanted = match wanted {
            Cell::Bool(value) => Some(if value { TRUE } else { FALSE }),
            Cell::Text(text) => self.texts.find(text).map(|number| number + TEXTS),
            Cell::Number(_) => None,
        };
        match wanted {
            Some(wanted) => self.symbols.scan(yes.words_mut(), known.words_mut(), |symbol| symbol == wanted),
            None => self.symbols.scan(yes.words_mut(), known.words_mut(), |_| false),
        }
    }

    /// Rows with any value.
    pub(in crate::catalog) fn present(&self, known: &mut Bits) {
        let mut none = known.clone();
        self.numbers.scan(none.words_mut(), known.words_mut(), |_| false);
        self.symbols.scan(none.words_mut(), known.words_mut(), |_| false);
    }

    fn ranks(&self) -> &[u32] {
        self.ranks.get_or_init(|| {
            let mut ranks = vec![0; self.texts.end()];
            for (rank, (_, number)) in self.texts.iter().enumerate() {
                ranks[number as usize] = rank as u32;
            }
            ranks
        })
    }

    /// Where a row stands in an ascending order. The ranks of texts are odd, so that a text that is not there has its
    /// place between two.
    pub(in crate::catalog) fn sort_key(&self, row: u32) -> SortKey {
        if let Some(number) = self.numbers.get(row) {
            return SortKey::of_number(number);
        }
        match self.symbols.get(row) {
            None => SortKey::absent(),
            Some(symbol @ (FALSE | TRUE)) => SortKey::of_bool(symbol == TRUE),
            Some(text) => {
                let rank = self.ranks()[(text - TEXTS) as usize];
                SortKey { class: TEXTS_LAST, within: u64::from(rank) * 2 + 1 }
            }
        }
    }

    /// Where a value would stand that a row may have had once.
    pub(in crate::catalog) fn sort_key_of(&self, cell: Option<Cell<'_>>) -> SortKey {
        match cell {
            None => SortKey::absent(),
            Some(Cell::Number(number)) => SortKey::of_number(number),
            Some(Cell::Bool(value)) => SortKey::of_bool(value),
            Some(Cell::Text(text)) => {
                let within = match self.texts.find(text) {
                    Some(number) => u64::from(self.ranks()[number as usize]) * 2 + 1,
                    None => {
                        self.texts.iter().take_while(|(key, _)| key.as_ref().cmp(text) == Ordering::Less).count() as u64
                            * 2
                    }
                };
                SortKey { class: TEXTS_LAST, within }
            }
        }
    }
}
