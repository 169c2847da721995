//! Text to filter, by recursive descent: OR binds loosest, then AND, then NOT.

use super::lexer::{Lexer, Placed, Token};
use super::{
    Comparison, DEPTH_MAX, Direction, FILTER_BYTES_MAX, Filter, FilterError, Literal, OrderBy, Path, Scalar, Test,
};

/// Most parts of an order.
const ORDER_PARTS_MAX: usize = 8;
/// Largest program of a regular expression, in bytes.
const REGEX_BYTES_MAX: usize = 1 << 20;

const TESTS: &str = "a comparison (=, !=, <, <=, >, >=, IN, LIKE, MATCHES, BETWEEN, HAS, IS NULL)";

/// Reads a filter.
pub(in crate::catalog) fn filter(text: &str) -> Result<Filter, FilterError> {
    let mut parser = Parser::new("filter", text)?;
    let filter = parser.any(0)?;
    match parser.peek() {
        Token::End => Ok(filter),
        Token::Sign(")") => Err(parser.wrong("this `)` closes nothing; remove it, or open it before")),
        _ => Err(parser.expected("AND, OR or the end")),
    }
}

/// Reads an order: paths, each with ASC or DESC where wanted, between commas. Empty text is no order.
pub(in crate::catalog) fn order(text: &str) -> Result<Vec<OrderBy>, FilterError> {
    let mut parser = Parser::new("order", text)?;
    let mut order: Vec<OrderBy> = Vec::new();
    if *parser.peek() == Token::End {
        return Ok(order);
    }
    loop {
        let is_descending = parser.takes(&Token::Sign("-"));
        if order.len() == ORDER_PARTS_MAX {
            return Err(parser.wrong(format!("an order has at most {ORDER_PARTS_MAX} parts")));
        }
        let path = parser.path("a path to sort by, such as metrics.loss")?;
        let word = parser.takes(&Token::Keyword("DESC"));
        if !word {
            parser.takes(&Token::Keyword("ASC"));
        }
        let direction = if is_descending || word { Direction::Descending } else { Direction::Ascending };
        order.push(OrderBy { path, direction });
        if *parser.peek() == Token::End {
            return Ok(order);
        }
        if !parser.takes(&Token::Sign(",")) {
            return Err(parser.expected("ASC, DESC, a comma or the end"));
        }
    }
}

struct Parser<'a> {
    what: &'static str,
    text: &'a str,
    tokens: Vec<Placed>,
    next: usize,
}

impl<'a> Parser<'a> {
    fn new(what: &'static str, text: &'a str) -> Result<Self, FilterError> {
        if text.len() > FILTER_BYTES_MAX {
            let why = format!("it has {} bytes; at most {FILTER_BYTES_MAX} are read", text.len());
            let kept = (0..=200).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
            return Err(FilterError { what, text: text[..kept].to_owned(), offset: 0, why });
        }
        Ok(Self { what, text, tokens: Lexer::new(what, text).all()?, next: 0 })
    }

    fn peek(&self) -> &Token {
        &self.tokens[self.next].0
    }
    fn at(&self) -> usize {
        self.tokens[self.next].1
    }
    /// Takes the next token; the end is never passed.
    fn take(&mut self) -> Placed {
        let token = self.tokens[self.next].clone();
        self.next = (self.next + 1).min(self.tokens.len() - 1);
        token
    }
    fn takes(&mut self, wanted: &Token) -> bool {
        let is_it = self.peek() == wanted;
        if is_it {
            self.take();
        }
        is_it
    }
    fn takes_word(&mut self, word: &'static str) -> bool {
        self.takes(&Token::Keyword(word))
    }

    fn wrong(&self, why: impl Into<String>) -> FilterError {
        self.wrong_at(self.at(), why)
    }
    fn wrong_at(&self, offset: usize, why: impl Into<String>) -> FilterError {
        FilterError { what: self.what, text: self.text.to_owned(), offset, why: why.into() }
    }
    fn expected(&self, what: &str) -> FilterError {
        self.wrong(format!("expected {what}, found {}", self.peek().shown()))
    }

    fn any(&mut self, depth: usize) -> Result<Filter, FilterError> {
        let mut parts = vec![self.all(depth)?];
        while self.takes_word("OR") {
            parts.push(self.all(depth)?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Filter::Or(parts) })
    }

    fn all(&mut self, depth: usize) -> Result<Filter, FilterError> {
        let mut parts = vec![self.one(depth)?];
        while self.takes_word("AND") {
            parts.push(self.one(depth)?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Filter::And(parts) })
    }

    fn one(&mut self, depth: usize) -> Result<Filter, FilterError> {
        if depth > DEPTH_MAX {
            return Err(self.wrong(format!("parentheses and NOT nest deeper than {DEPTH_MAX} levels")));
        }
        if self.takes_word("NOT") {
            return Ok(Filter::Not(Box::new(self.one(depth + 1)?)));
        }
        let open = self.at();
        if self.takes(&Token::Sign("(")) {
            let inner = self.any(depth + 1)?;
            return match self.takes(&Token::Sign(")")) {
                true => Ok(inner),
                false if *self.peek() == Token::End => Err(self.wrong_at(open, "this `(` is never closed")),
                false => Err(self.expected("AND, OR or `)`")),
            };
        }
        if matches!(self.peek(), Token::Number(_) | Token::Text(_)) {
            return Err(self.wrong(format!(
                "expected a path, found {}; the path stands left of the comparison",
                self.peek().shown()
            )));
        }
        let path = self.path("a path such as config.lr, NOT or `(`")?;
        self.test(path)
    }

    fn path(&mut self, expected: &str) -> Result<Path, FilterError> {
        match self.peek() {
            Token::Path(_) => match self.take() {
                (Token::Path(name), at) => Ok(Path { name, at }),
                _ => unreachable!("it was a path"),
            },
            Token::Keyword(word) => Err(self.wrong(format!(
                "expected {expected}, found the keyword {word}; a path of that name stands in backticks"
            ))),
            _ => Err(self.expected(expected)),
        }
    }

    /// What follows a path.
    fn test(&mut self, path: Path) -> Result<Filter, FilterError> {
        if self.takes_word("IS") {
            let negated = self.takes_word("NOT");
            if !self.takes_word("NULL") {
                return Err(self.expected(if negated { "NULL" } else { "NULL or NOT NULL" }));
            }
            return Ok(negate(negated, Filter::Test(path, Test::IsNull)));
        }
        let negated = self.takes_word("NOT");
        let test = match self.peek().clone() {
            Token::Sign(sign) if !negated => {
                if let Some(comparison) = Comparison::ALL.into_iter().find(|comparison| comparison.as_str() == sign) {
                    self.take();
                    return Ok(Filter::Test(path, Test::Compare(comparison, self.literal()?)));
                }
                if sign != "~" && sign != "!~" {
                    return Err(self.expected(&format!("{TESTS} after `{}`", path.name)));
                }
                self.take();
                return Ok(negate(sign == "!~", Filter::Test(path, Test::Matches(self.regex()?))));
            }
            Token::Keyword("IN") => self.list()?,
            Token::Keyword("LIKE") => {
                self.take();
                Test::Like(self.pattern()?.0)
            }
            Token::Keyword("MATCHES") => {
                self.take();
                Test::Matches(self.regex()?)
            }
            Token::Keyword("HAS") => {
                self.take();
                Test::Has(self.literal()?)
            }
            Token::Keyword("BETWEEN") => {
                self.take();
                let low = self.literal()?;
                if !self.takes_word("AND") {
                    return Err(self.expected("AND and the upper end"));
                }
                Test::Between(low, self.literal()?)
            }
            _ if negated => return Err(self.expected("IN, LIKE, MATCHES, HAS or BETWEEN after NOT")),
            _ => return Err(self.expected(&format!("{TESTS} after `{}`", path.name))),
        };
        Ok(negate(negated, Filter::Test(path, test)))
    }

    fn list(&mut self) -> Result<Test, FilterError> {
        self.take();
        if !self.takes(&Token::Sign("(")) {
            return Err(self.expected("`(` and values between commas"));
        }
        let mut literals = vec![self.literal()?];
        while self.takes(&Token::Sign(",")) {
            literals.push(self.literal()?);
        }
        match self.takes(&Token::Sign(")")) {
            true => Ok(Test::In(literals)),
            false => Err(self.expected("a comma or `)`")),
        }
    }

    fn pattern(&mut self) -> Result<(String, usize), FilterError> {
        match self.peek() {
            Token::Text(text) => {
                let text = text.clone();
                Ok((text, self.take().1))
            }
            _ => Err(self.expected("a pattern in quotes")),
        }
    }

    fn regex(&mut self) -> Result<String, FilterError> {
        let (pattern, at) = self.pattern()?;
        match compiled(&pattern) {
            Ok(_) => Ok(pattern),
            Err(e) => Err(self.wrong_at(at, format!("the regular expression is wrong: {}", last_line(&e.to_string())))),
        }
    }

    fn literal(&mut self) -> Result<Literal, FilterError> {
        let is_negative = self.takes(&Token::Sign("-"));
        let at = self.at();
        let value = match self.peek() {
            Token::Keyword("INFINITY" | "INF") => {
                Scalar::Number(if is_negative { f64::NEG_INFINITY } else { f64::INFINITY })
            }
            _ if is_negative => return Err(self.expected("a number or INFINITY after `-`")),
            Token::Number(number) => Scalar::Number(*number),
            Token::Text(text) => Scalar::Text(text.clone()),
            Token::Keyword("TRUE") => Scalar::Bool(true),
            Token::Keyword("FALSE") => Scalar::Bool(false),
            Token::Keyword("NAN") => Scalar::Number(f64::NAN),
            Token::Keyword("NULL") => {
                return Err(self.wrong("nothing is equal to NULL; write IS NULL or IS NOT NULL"));
            }
            Token::Path(path) => {
                let why = format!("expected a value, found `{path}`; a text stands in quotes: '{path}'");
                return Err(self.wrong(why));
            }
            _ => return Err(self.expected("a value: a number, a 'text', true or false")),
        };
        self.take();
        Ok(Literal { value, at })
    }
}

fn negate(negated: bool, filter: Filter) -> Filter {
    if negated { Filter::Not(Box::new(filter)) } else { filter }
}

pub(super) fn compiled(pattern: &str) -> Result<regex::Regex, regex::Error> {
    regex::RegexBuilder::new(pattern).size_limit(REGEX_BYTES_MAX).build()
}

fn last_line(text: &str) -> &str {
    text.lines().last().unwrap_or(text).trim_start_matches("error: ")
}
