//! The words of the filter language.

use super::FilterError;

/// Words that are not paths unless they are quoted by backticks.
const KEYWORDS: [&str; 17] = [
    "AND", "ASC", "BETWEEN", "DESC", "FALSE", "HAS", "IN", "INF", "INFINITY", "IS", "LIKE", "MATCHES", "NAN", "NOT",
    "NULL", "OR", "TRUE",
];

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// In capitals, however it was written.
    Keyword(&'static str),
    Path(String),
    Number(f64),
    Text(String),
    /// A comparison, a parenthesis, a comma or a tilde.
    Sign(&'static str),
    End,
}

impl Token {
    /// As errors name it.
    pub(super) fn shown(&self) -> String {
        match self {
            Token::Keyword(word) => format!("`{word}`"),
            Token::Path(path) => format!("`{path}`"),
            Token::Number(number) => format!("the number {number:?}"),
            Token::Text(text) => format!("the text '{}'", text.chars().take(40).collect::<String>()),
            Token::Sign(sign) => format!("`{sign}`"),
            Token::End => "the end".into(),
        }
    }
}

/// Longer signs first.
const SIGNS: [&str; 14] = ["<=", ">=", "!=", "<>", "==", "!~", "=", "<", ">", "(", ")", ",", "~", "-"];

/// A token and the byte offset where it begins.
pub(super) type Placed = (Token, usize);

pub(super) struct Lexer<'a> {
    what: &'static str,
    text: &'a str,
    at: usize,
}

fn is_first_of_path(c: char) -> bool {
    c.is_alphabetic() || c == '_' || c == '`'
}

fn is_of_path(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '/' | ':' | '@' | '.' | '#' | '$')
}

fn keyword(word: &str) -> Option<&'static str> {
    KEYWORDS.into_iter().find(|keyword| keyword.eq_ignore_ascii_case(word))
}

/// Whether a path may stand without backticks.
pub(super) fn is_plain_path(name: &str) -> bool {
    name.starts_with(|c| is_first_of_path(c) && c != '`')
        && name.chars().all(is_of_path)
        && !name.ends_with('.')
        && !name.contains("..")
        && keyword(name).is_none()
}

impl<'a> Lexer<'a> {
    pub(super) fn new(what: &'static str, text: &'a str) -> Self {
        Self { what, text, at: 0 }
    }

    /// All tokens, the end among them.
    pub(super) fn all(mut self) -> Result<Vec<Placed>, FilterError> {
        let mut tokens = Vec::new();
        loop {
            self.skip(char::is_whitespace);
            let at = self.at;
            let token = self.token()?;
            let is_end = token == Token::End;
            tokens.push((token, at));
            if is_end {
                return Ok(tokens);
            }
        }
    }

    fn wrong(&self, offset: usize, why: impl Into<String>) -> FilterError {
        FilterError { what: self.what, text: self.text.to_owned(), offset, why: why.into() }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn skip(&mut self, wanted: impl Fn(char) -> bool) {
        let rest = self.rest();
        self.at += rest.find(|c| !wanted(c)).unwrap_or(rest.len());
    }

    fn token(&mut self) -> Result<Token, FilterError> {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return Ok(Token::End) };
        let begins_number = |text: &str| {
            let digits = text.strip_prefix('.').unwrap_or(text);
            digits.starts_with(|c: char| c.is_ascii_digit())
        };
        match first {
            '\'' | '"' => self.quoted(first).map(Token::Text),
            c if is_first_of_path(c) => self.word(),
            _ if begins_number(rest.strip_prefix(['-', '+']).unwrap_or(rest)) => self.number(),
            _ => match SIGNS.into_iter().find(|sign| rest.starts_with(sign)) {
                Some(sign) => {
                    self.at += sign.len();
                    Ok(Token::Sign(match sign {
                        "<>" => "!=",
                        "==" => "=",
                        sign => sign,
                    }))
                }
                None => Err(self.wrong(
                    self.at,
                    format!("`{first}` means nothing here; texts stand in '…' or \"…\", unusual paths in `…`"),
                )),
            },
        }
    }

    /// A text between quotes, in which a doubled quote stands for one.
    fn quoted(&mut self, quote: char) -> Result<String, FilterError> {
        let begin = self.at;
        self.at += quote.len_utf8();
        let mut text = String::new();
        loop {
            let rest = self.rest();
            let Some(end) = rest.find(quote) else {
                return Err(self.wrong(begin, format!("what begins here with {quote} has no end; close it by {quote}")));
            };
            text.push_str(&rest[..end]);
            self.at += end + quote.len_utf8();
            if !self.rest().starts_with(quote) {
                return Ok(text);
            }
            text.push(quote);
            self.at += quote.len_utf8();
        }
    }

    /// A keyword, or a path: plain parts and parts in backticks.
    fn word(&mut self) -> Result<Token, FilterError> {
        let begin = self.at;
        let (mut path, mut is_plain) = (String::new(), true);
        loop {
            let rest = self.rest();
            if rest.starts_with('`') {
                is_plain = false;
                path.push_str(&self.quoted('`')?);
                continue;
            }
            let plain = rest.find(|c| !is_of_path(c)).unwrap_or(rest.len());
            if plain == 0 {
                break;
            }
            path.push_str(&rest[..plain]);
            self.at += plain;
        }
        if is_plain && let Some(keyword) = keyword(&path) {
            return Ok(Token::Keyword(keyword));
        }
        if path.is_empty() || (is_plain && (path.ends_with('.') || path.contains(".."))) {
            return Err(self.wrong(begin, format!("`{path}` is not a path; one is like config.optimizer.lr")));
        }
        Ok(Token::Path(path))
    }

    fn number(&mut self) -> Result<Token, FilterError> {
        let begin = self.at;
        self.at += usize::from(self.rest().starts_with(['-', '+']));
        self.skip(|c| c.is_ascii_digit() || c == '.');
        let rest = self.rest();
        if rest.starts_with(['e', 'E']) {
            self.at += 1;
            self.at += usize::from(self.rest().starts_with(['-', '+']));
            self.skip(|c| c.is_ascii_digit());
        }
        let digits = self.at;
        self.skip(is_of_path);
        let text = &self.text[begin..self.at];
        match text[..digits - begin].parse() {
            Ok(number) if digits == self.at => Ok(Token::Number(number)),
            _ => Err(self.wrong(begin, format!("`{text}` is not a number; a text stands in quotes, such as '{text}'"))),
        }
    }
}
