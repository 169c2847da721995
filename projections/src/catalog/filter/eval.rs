//! Filters over columns, in three-valued logic: for each row yes, no, or unknown where it asks for what is absent.

use super::parse::compiled;
use super::{Comparison, Filter, FilterError, Literal, Path, Scalar, Test};
use crate::catalog::columns::{Bits, Cell, Column, Table};
use cairn_schemas::Timestamp;
use regex::Regex;
use std::cmp::Ordering;

/// What a filter says of the rows of a table.
pub(in crate::catalog) struct Matching {
    pub(in crate::catalog) yes: Bits,
    /// Rows that it says yes or no of.
    known: Bits,
}

/// Asks a filter of every row. `text` is what the filter was read from, for errors.
pub(in crate::catalog) fn matching(text: &str, filter: &Filter, table: &Table) -> Result<Matching, FilterError> {
    Asking { text, table }.ask(filter)
}

struct Asking<'a> {
    text: &'a str,
    table: &'a Table,
}

impl Asking<'_> {
    fn ask(&self, filter: &Filter) -> Result<Matching, FilterError> {
        match filter {
            Filter::Test(path, test) => self.test(path, test),
            Filter::Not(inner) => {
                let Matching { yes, known } = self.ask(inner)?;
                let mut no = known.clone();
                no.and_not(&yes);
                Ok(Matching { yes: no, known })
            }
            Filter::And(parts) => self.each(parts, Matching::and),
            Filter::Or(parts) => self.each(parts, Matching::or),
        }
    }

    fn each(&self, parts: &[Filter], with: fn(&mut Matching, Matching)) -> Result<Matching, FilterError> {
        let (first, rest) = parts.split_first().expect("AND and OR join two or more");
        let mut whole = self.ask(first)?;
        for part in rest {
            with(&mut whole, self.ask(part)?);
        }
        Ok(whole)
    }

    fn wrong(&self, offset: usize, why: String) -> FilterError {
        FilterError { what: "filter", text: self.text.to_owned(), offset, why }
    }

    fn test(&self, path: &Path, test: &Test) -> Result<Matching, FilterError> {
        if *test == Test::IsNull {
            return self.is_null(path);
        }
        let column = self.table.column(&path.name).map_err(|why| self.wrong(path.at, why))?;
        let is_time = Table::is_time(&path.name);
        let scalar = |literal: &Literal| match is_time {
            false => Ok(literal.value.clone()),
            true => self.time(path, literal),
        };
        let mut found = Matching::none(self.table.rows());
        match test {
            Test::IsNull => unreachable!("it was answered above"),
            Test::Compare(comparison, literal) => found.compare(column, *comparison, &scalar(literal)?),
            Test::Between(low, high) => {
                let (from, to) = (scalar(low)?, scalar(high)?);
                if is_reversed(&from, &to) {
                    let why = format!("the range from {low} to {high} is reversed; give the lower end first");
                    return Err(self.wrong(low.at, why));
                }
                let mut below = Matching::none(self.table.rows());
                found.compare(column, Comparison::AtLeast, &from);
                below.compare(column, Comparison::AtMost, &to);
                found.and(below);
            }
            Test::In(literals) => {
                let wanted = literals.iter().map(scalar).collect::<Result<Vec<_>, _>>()?;
                found.one_of(column, &wanted);
            }
            Test::Like(_) | Test::Matches(_) | Test::Has(_) if is_time => {
                return Err(self.wrong(
                    path.at,
                    format!("`{}` is a time; compare it by <, <=, >, >=, =, IN or BETWEEN", path.name),
                ));
            }
            Test::Like(pattern) => {
                let like = Like::new(pattern).map_err(|e| self.wrong(path.at, e.to_string()))?;
                column.texts(&mut found.yes, &mut found.known, &like.prefix, |text| like.is_match(text));
            }
            Test::Matches(pattern) => {
                let pattern = compiled(pattern).map_err(|e| self.wrong(path.at, e.to_string()))?;
                column.texts(&mut found.yes, &mut found.known, "", |text| pattern.is_match(text));
            }
            Test::Has(literal) => column.symbols(&mut found.yes, &mut found.known, |cell| has(cell, &literal.value)),
        }
        Ok(found)
    }

    /// A path that leads to an object is there where anything in the object is.
    fn is_null(&self, path: &Path) -> Result<Matching, FilterError> {
        let mut there = Bits::none(self.table.rows());
        if self.table.present(&path.name, &mut there).is_none() {
            self.table.column(&path.name).map_err(|why| self.wrong(path.at, why))?;
        }
        Ok(Matching { yes: there.inverted(), known: Bits::all(self.table.rows()) })
    }

    /// A time as the columns have it: microseconds.
    fn time(&self, path: &Path, literal: &Literal) -> Result<Scalar, FilterError> {
        let Scalar::Text(text) = &literal.value else {
            return Err(self.wrong(
                literal.at,
                format!("`{}` is a time; write one in quotes, such as '2026-01-31T12:00:00Z'", path.name),
            ));
        };
        let time: Timestamp = text.parse().map_err(|e: cairn_schemas::Error| self.wrong(literal.at, e.to_string()))?;
        Ok(Scalar::Number(time.as_micros() as f64))
    }
}

impl Matching {
    fn none(rows: usize) -> Self {
        Self { yes: Bits::none(rows), known: Bits::none(rows) }
    }

    /// False wins over unknown.
    fn and(&mut self, other: Matching) {
        let (mut no, mut other_no) = (self.known.clone(), other.known);
        no.and_not(&self.yes);
        other_no.and_not(&other.yes);
        self.yes.and(&other.yes);
        self.known = no;
        self.known.or(&other_no);
        self.known.or(&self.yes);
    }

    /// True wins over unknown.
    fn or(&mut self, other: Matching) {
        let (mut no, mut other_no) = (std::mem::replace(&mut self.known, Bits::none(0)), other.known);
        no.and_not(&self.yes);
        other_no.and_not(&other.yes);
        no.and(&other_no);
        self.yes.or(&other.yes);
        no.or(&self.yes);
        self.known = no;
    }

    /// A value of another type is not equal; whether it is less cannot be said.
    fn compare(&mut self, column: &Column, comparison: Comparison, scalar: &Scalar) {
        let Matching { yes, known } = self;
        let is_equality = matches!(comparison, Comparison::Equal | Comparison::Unequal);
        match scalar {
            Scalar::Number(wanted) => {
                let wanted = *wanted;
                match comparison {
                    Comparison::Equal | Comparison::Unequal if wanted.is_nan() => {
                        column.numbers(yes, known, f64::is_nan)
                    }
                    Comparison::Equal | Comparison::Unequal => column.numbers(yes, known, |value| value == wanted),
                    Comparison::Less => column.numbers(yes, known, |value| value < wanted),
                    Comparison::AtMost => column.numbers(yes, known, |value| value <= wanted),
                    Comparison::Greater => column.numbers(yes, known, |value| value > wanted),
                    Comparison::AtLeast => column.numbers(yes, known, |value| value >= wanted),
                }
                if is_equality {
                    column.symbol(yes, known, Cell::Number(wanted));
                }
            }
            Scalar::Bool(_) | Scalar::Text(_) if is_equality => {
                column.symbol(yes, known, cell(scalar));
                column.numbers(yes, known, |_| false);
            }
            // One truth value is not less than the other.
            Scalar::Bool(_) => {}
            Scalar::Text(wanted) => column.symbols(yes, known, |cell| match cell {
                Cell::Text(text) => Some(holds(comparison, text.cmp(wanted))),
                _ => None,
            }),
        }
        if comparison == Comparison::Unequal {
            let mut unequal = known.clone();
            unequal.and_not(yes);
            *yes = unequal;
        }
    }

    fn one_of(&mut self, column: &Column, wanted: &[Scalar]) {
        let mut numbers: Vec<f64> = wanted
            .iter()
            .filter_map(|scalar| match scalar {
                Scalar::Number(number) => Some(*number),
                _ => None,
            })
            .collect();
        let any_nan = numbers.iter().any(|number| number.is_nan());
        numbers.retain(|number| !number.is_nan());
        numbers.sort_by(f64::total_cmp);
        let is_wanted = |value: f64| match value.is_nan() {
            true => any_nan,
            // Zero is found by either of its signs.
            false => numbers.binary_search_by(|number| number.partial_cmp(&value).unwrap_or(Ordering::Less)).is_ok(),
        };
        column.numbers(&mut self.yes, &mut self.known, is_wanted);
        column.symbol(&mut self.yes, &mut self.known, Cell::Number(0.0));
        for scalar in wanted.iter().filter(|scalar| !matches!(scalar, Scalar::Number(_))) {
            column.symbol(&mut self.yes, &mut self.known, cell(scalar));
        }
    }
}

/// Whether nothing can lie between two values. Of values of different types that cannot be said.
fn is_reversed(from: &Scalar, to: &Scalar) -> bool {
    match (from, to) {
        (Scalar::Number(from), Scalar::Number(to)) => from > to,
        (Scalar::Text(from), Scalar::Text(to)) => from > to,
        _ => false,
    }
}

fn cell(scalar: &Scalar) -> Cell<'_> {
    match scalar {
        Scalar::Number(number) => Cell::Number(*number),
        Scalar::Bool(value) => Cell::Bool(*value),
        Scalar::Text(text) => Cell::Text(text),
    }
}

fn holds(comparison: Comparison, ordering: Ordering) -> bool {
    match comparison {
        Comparison::Equal => ordering == Ordering::Equal,
        Comparison::Unequal => ordering != Ordering::Equal,
        Comparison::Less => ordering == Ordering::Less,
        Comparison::AtMost => ordering != Ordering::Greater,
        Comparison::Greater => ordering == Ordering::Greater,
        Comparison::AtLeast => ordering != Ordering::Less,
    }
}

/// A LIKE pattern.
pub(super) struct Like {
    /// What every match begins with.
    prefix: String,
    rest: Rest,
}

/// What a LIKE pattern asks of the text behind its prefix.
enum Rest {
    Anything,
    Nothing,
    /// `%text%`.
    Contains(String),
    Pattern(Regex),
}

/// What a part of a LIKE pattern wants: any text, any one character, or this one.
#[derive(Clone, Copy)]
enum Wanted {
    Any,
    One,
    Char(char),
}

/// The parts of a LIKE pattern: `\%`, `\_` and `\\` mean the characters themselves, and so does a backslash before others.
fn parts(pattern: &str) -> Vec<Wanted> {
    let (mut parts, mut chars) = (Vec::new(), pattern.chars().peekable());
    while let Some(c) = chars.next() {
        parts.push(match c {
            '%' => Wanted::Any,
            '_' => Wanted::One,
            '\\' => Wanted::Char(chars.next_if(|next| matches!(next, '%' | '_' | '\\')).unwrap_or(c)),
            c => Wanted::Char(c),
        });
    }
    parts
}

impl Like {
    pub(super) fn new(pattern: &str) -> Result<Self, regex::Error> {
        let parts = parts(pattern);
        let plain = |parts: &[Wanted]| -> String {
            let chars = parts.iter().map_while(|part| if let Wanted::Char(c) = part { Some(*c) } else { None });
            chars.collect()
        };
        let prefix = plain(&parts);
        let rest = match &parts[prefix.chars().count()..] {
            [] => Rest::Nothing,
            [Wanted::Any] => Rest::Anything,
            [Wanted::Any, inner @ .., Wanted::Any] if inner.iter().all(|part| matches!(part, Wanted::Char(_))) => {
                Rest::Contains(plain(inner))
            }
            rest => Rest::Pattern(expression(rest)?),
        };
        Ok(Self { prefix, rest })
    }
    pub(super) fn is_match(&self, text: &str) -> bool {
        text.strip_prefix(&self.prefix).is_some_and(|rest| match &self.rest {
            Rest::Anything => true,
            Rest::Nothing => rest.is_empty(),
            Rest::Contains(inner) => rest.contains(inner),
            Rest::Pattern(pattern) => pattern.is_match(rest),
        })
    }
}

/// The regular expression that a LIKE pattern means.
fn expression(parts: &[Wanted]) -> Result<Regex, regex::Error> {
    let mut expression = String::from("(?s)^");
    for part in parts {
        match part {
            Wanted::Any => expression.push_str(".*"),
            Wanted::One => expression.push('.'),
            Wanted::Char(c) => expression.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
        }
    }
    expression.push('$');
    compiled(&expression)
}

/// Whether a list has an item; nothing can be said of what is no list. Lists are kept as JSON.
pub(super) fn has(cell: Cell<'_>, wanted: &Scalar) -> Option<bool> {
    let Cell::Text(text) = cell else { return None };
    if !text.starts_with('[') {
        return None;
    }
    let items: Vec<serde_json::Value> = serde_json::from_str(text).ok()?;
    Some(items.iter().any(|item| match wanted {
        Scalar::Number(number) => item.as_f64() == Some(*number),
        Scalar::Bool(value) => item.as_bool() == Some(*value),
        Scalar::Text(text) => item.as_str() == Some(text),
    }))
}
