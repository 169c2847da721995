//! What is wrong with a filter, and where.

use std::fmt;

/// Characters of the filter that are shown before the place and after it.
const SHOWN_BEFORE: usize = 60;
const SHOWN_AFTER: usize = 20;

/// A filter, or an order, that cannot be understood. Shows the place with a caret under it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterError {
    /// `filter` or `order`.
    pub what: &'static str,
    pub text: String,
    /// Byte offset in the text where it goes wrong.
    pub offset: usize,
    /// What was expected there, or what is wrong with what stands there.
    pub why: String,
}

impl FilterError {
    /// The column where it goes wrong, from 1, in characters of its line.
    pub fn column(&self) -> usize {
        self.before().chars().count() + 1
    }

    /// The text of the line up to the place.
    fn before(&self) -> &str {
        let before = &self.text[..self.offset];
        before.rsplit_once('\n').map_or(before, |(_, line)| line)
    }
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.text[..self.offset].matches('\n').count();
        write!(f, "the {} is wrong at ", self.what)?;
        if lines > 0 {
            write!(f, "line {}, ", lines + 1)?;
        }
        writeln!(f, "column {}: {}", self.column(), self.why)?;
        let before: Vec<char> = self.before().chars().collect();
        let cut = before.len().saturating_sub(SHOWN_BEFORE);
        let shown: String = before[cut..].iter().map(|c| if c.is_control() { ' ' } else { *c }).collect();
        let after: String =
            self.text[self.offset..].chars().take_while(|c| !c.is_control()).take(SHOWN_AFTER).collect();
        writeln!(f, "  {}{shown}{after}", if cut > 0 { "…" } else { "" })?;
        write!(f, "  {}^", " ".repeat(shown.chars().count() + usize::from(cut > 0)))
    }
}

impl std::error::Error for FilterError {}
