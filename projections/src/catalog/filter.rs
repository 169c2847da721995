//! The filter language: `config.optimizer.lr < 1e-3 AND tags.team = 'search'`. What it is made of, and how it is
//! written; `parse` reads it, `eval` answers it. docs/queries.md has the grammar.

mod error;
mod eval;
mod lexer;
mod parse;
#[cfg(test)]
mod tests;

pub use error::FilterError;
pub(super) use eval::matching;
pub(super) use parse::{filter, order};

use std::fmt;

/// Longest filter, in bytes.
pub const FILTER_BYTES_MAX: usize = 16 << 10;
/// Deepest nesting of parentheses and NOT.
pub const DEPTH_MAX: usize = 64;

/// A condition on an entity: true, false, or unknown where it asks for what is absent.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    And(Vec<Filter>),
    Or(Vec<Filter>),
    Not(Box<Filter>),
    Test(Path, Test),
}

/// Something of an entity by name, such as `config.optimizer.lr`, and where it was written.
#[derive(Clone, Debug)]
pub struct Path {
    pub name: String,
    /// Byte offset in the text.
    pub at: usize,
}

impl PartialEq for Path {
    /// Where it was written does not count.
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

/// What is asked of the value at a path.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    Compare(Comparison, Literal),
    In(Vec<Literal>),
    Between(Literal, Literal),
    /// `%` stands for any text, `_` for any one character; `\%`, `\_` and `\\` for the characters themselves.
    Like(String),
    /// A regular expression that is found somewhere in the text.
    Matches(String),
    /// An item of a list.
    Has(Literal),
    IsNull,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    Equal,
    Unequal,
    Less,
    AtMost,
    Greater,
    AtLeast,
}

impl Comparison {
    const ALL: [Comparison; 6] = [
        Comparison::Equal,
        Comparison::Unequal,
        Comparison::Less,
        Comparison::AtMost,
        Comparison::Greater,
        Comparison::AtLeast,
    ];
    fn as_str(self) -> &'static str {
        match self {
            Comparison::Equal => "=",
            Comparison::Unequal => "!=",
            Comparison::Less => "<",
            Comparison::AtMost => "<=",
            Comparison::Greater => ">",
            Comparison::AtLeast => ">=",
        }
    }
}

/// A value that is written in a filter, and where.
#[derive(Clone, Debug)]
pub struct Literal {
    pub value: Scalar,
    /// Byte offset in the text.
    pub at: usize,
}

impl PartialEq for Literal {
    /// Where it was written does not count.
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

#[derive(Clone, Debug)]
pub enum Scalar {
    Number(f64),
    Text(String),
    Bool(bool),
}

impl PartialEq for Scalar {
    /// One NaN is as good as another.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Scalar::Number(a), Scalar::Number(b)) => a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()),
            (Scalar::Text(a), Scalar::Text(b)) => a == b,
            (Scalar::Bool(a), Scalar::Bool(b)) => a == b,
            _ => false,
        }
    }
}

/// A direction to sort in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    Ascending,
    Descending,
}

/// One part of an order: `metrics.loss DESC`.
#[derive(Clone, Debug, PartialEq)]
pub struct OrderBy {
    pub path: Path,
    pub direction: Direction,
}

impl std::str::FromStr for Filter {
    type Err = FilterError;
    fn from_str(text: &str) -> Result<Self, FilterError> {
        filter(text)
    }
}

impl fmt::Display for Filter {
    /// As it may be written: what is shown parses to what it was.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joined = |f: &mut fmt::Formatter<'_>, parts: &[Filter], word: &str| {
            for (index, part) in parts.iter().enumerate() {
                if index > 0 {
                    write!(f, " {word} ")?;
                }
                let is_looser = matches!((word, part), (_, Filter::Or(_)) | ("AND", Filter::And(_)));
                if is_looser { write!(f, "({part})")? } else { write!(f, "{part}")? }
            }
            Ok(())
        };
        match self {
            Filter::And(parts) => joined(f, parts, "AND"),
            Filter::Or(parts) => joined(f, parts, "OR"),
            Filter::Not(inner) => match &**inner {
                Filter::Test(path, test) if !matches!(test, Test::Compare(..)) => test.show(path, true, f),
                Filter::And(_) | Filter::Or(_) => write!(f, "NOT ({inner})"),
                inner => write!(f, "NOT {inner}"),
            },
            Filter::Test(path, test) => test.show(path, false, f),
        }
    }
}

impl Test {
    fn show(&self, path: &Path, negated: bool, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let not = if negated { "NOT " } else { "" };
        match self {
            Test::Compare(comparison, literal) => write!(f, "{path} {} {literal}", comparison.as_str()),
            Test::In(literals) => {
                write!(f, "{path} {not}IN (")?;
                for (index, literal) in literals.iter().enumerate() {
                    write!(f, "{}{literal}", if index > 0 { ", " } else { "" })?;
                }
                f.write_str(")")
            }
            Test::Between(low, high) => write!(f, "{path} {not}BETWEEN {low} AND {high}"),
            Test::Like(pattern) => write!(f, "{path} {not}LIKE {}", quoted(pattern)),
            Test::Matches(pattern) => write!(f, "{path} {not}MATCHES {}", quoted(pattern)),
            Test::Has(literal) => write!(f, "{path} {not}HAS {literal}"),
            Test::IsNull => write!(f, "{path} IS {not}NULL"),
        }
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if lexer::is_plain_path(&self.name) {
            return f.write_str(&self.name);
        }
        write!(f, "`{}`", self.name.replace('`', "``"))
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Scalar::Number(value) if value.is_nan() => f.write_str("NAN"),
            Scalar::Number(value) if value.is_infinite() => {
                f.write_str(if *value > 0.0 { "INFINITY" } else { "-INFINITY" })
            }
            Scalar::Number(value) => write!(f, "{value:?}"),
            Scalar::Text(text) => f.write_str(&quoted(text)),
            Scalar::Bool(value) => write!(f, "{value}"),
        }
    }
}

impl fmt::Display for OrderBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = if self.direction == Direction::Descending { " DESC" } else { "" };
        write!(f, "{}{direction}", self.path)
    }
}
