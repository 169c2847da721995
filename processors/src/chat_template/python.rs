//! Values as Python prints them (`str`) and as its `json.dumps` writes them: what templates made for transformers expect.

use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Error, ErrorKind, Value};
use std::fmt::Write;

/// `str(value)`; nothing for what is undefined.
pub(super) fn text(value: &Value) -> String {
    match value.as_str() {
        Some(text) => text.to_owned(),
        None if value.is_undefined() => String::new(),
        None => {
            let mut out = String::new();
            repr(value, &mut out);
            out
        }
    }
}

/// `str.title`: a capital after whatever is no letter.
pub(super) fn title(text: &str) -> String {
    let mut out = String::new();
    let mut is_inside = false;
    for c in text.chars() {
        match is_inside {
            true => out.extend(c.to_lowercase()),
            false => out.extend(c.to_uppercase()),
        }
        is_inside = c.is_alphabetic();
    }
    out
}

fn repr(value: &Value, out: &mut String) {
    match value.kind() {
        ValueKind::Undefined => out.push_str("Undefined"),
        ValueKind::None => out.push_str("None"),
        ValueKind::Bool => out.push_str(if value.is_true() { "True" } else { "False" }),
        ValueKind::Number => out.push_str(&number(value)),
        ValueKind::String => quoted(value.as_str().unwrap_or_default(), out),
        ValueKind::Seq | ValueKind::Iterable => {
            out.push('[');
            for (at, item) in value.try_iter().into_iter().flatten().enumerate() {
                out.push_str(if at == 0 { "" } else { ", " });
                repr(&item, out);
            }
            out.push(']');
        }
        ValueKind::Map => {
            out.push('{');
            for (at, key) in value.try_iter().into_iter().flatten().enumerate() {
                out.push_str(if at == 0 { "" } else { ", " });
                repr(&key, out);
                out.push_str(": ");
                repr(&value.get_item(&key).unwrap_or_default(), out);
            }
            out.push('}');
        }
        _ => write!(out, "{value}").expect("a String takes all text"),
    }
}

/// Single quotes, unless the text has some and no double ones.
fn quoted(text: &str, out: &mut String) {
    let mark = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(mark);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\\' => out.push_str("\\\\"),
            c if c == mark => out.extend(['\\', c]),
            c if c.is_control() => write!(out, "\\x{:02x}", c as u32).expect("a String takes all text"),
            c => out.push(c),
        }
    }
    out.push(mark);
}

/// Whole numbers as they are; others with a point or an exponent of two digits at least.
fn number(value: &Value) -> String {
    if value.is_integer() {
        return value.to_string();
    }
    let Ok(number) = f64::try_from(value.clone()) else { return value.to_string() };
    if number.is_nan() || number.is_infinite() {
        let name = if number.is_nan() { "nan" } else { "inf" };
        return if number < 0.0 { format!("-{name}") } else { name.to_owned() };
    }
    // Both languages print the fewest digits that read back, and turn to an exponent at the same sizes.
    let shown = format!("{number:?}");
    let Some((digits, exponent)) = shown.split_once('e') else { return shown };
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => ('-', exponent),
        None => ('+', exponent),
    };
    format!("{digits}e{sign}{exponent:0>2}")
}

/// `json.dumps` with the options that transformers' filter takes.
pub(super) struct Json {
    ascii: bool,
    indent: Option<usize>,
    separators: (String, String),
    sorted: bool,
}

impl Json {
    pub(super) fn of(options: &Kwargs) -> Result<Self, Error> {
        let indent: Option<usize> = options.get("indent")?;
        let separators = match options.get::<Option<Value>>("separators")? {
            None => (if indent.is_some() { "," } else { ", " }.to_owned(), ": ".to_owned()),
            Some(pair) => {
                let texts: Vec<String> = pair.try_iter()?.map(|text| text.to_string()).collect();
                <[String; 2]>::try_from(texts).map(|[item, key]| (item, key)).map_err(|_| {
                    Error::new(ErrorKind::InvalidOperation, "separators are two texts, such as (',', ':')")
                })?
            }
        };
        Ok(Self {
            ascii: options.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false),
            indent,
            separators,
            sorted: options.get::<Option<bool>>("sort_keys")?.unwrap_or(false),
        })
    }

    pub(super) fn write(&self, value: &Value) -> Result<String, Error> {
        let mut out = String::new();
        self.value(value, 0, &mut out)?;
        Ok(out)
    }

    fn value(&self, value: &Value, depth: usize, out: &mut String) -> Result<(), Error> {
        match value.kind() {
            ValueKind::None => out.push_str("null"),
            ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => match number(value).as_str() {
                "nan" => out.push_str("NaN"),
                "inf" => out.push_str("Infinity"),
                "-inf" => out.push_str("-Infinity"),
                number => out.push_str(number),
            },
            ValueKind::String => self.string(value.as_str().unwrap_or_default(), out),
            ValueKind::Seq | ValueKind::Iterable => {
                let items: Vec<Value> = value.try_iter()?.collect();
                self.items(('[', ']'), items.len(), depth, out, |at, out| self.value(&items[at], depth + 1, out))?;
            }
            ValueKind::Map => {
                let mut keys: Vec<Value> = value.try_iter()?.collect();
                if self.sorted {
                    keys.sort();
                }
                self.items(('{', '}'), keys.len(), depth, out, |at, out| {
                    self.string(&text(&keys[at]), out);
                    out.push_str(&self.separators.1);
                    self.value(&value.get_item(&keys[at])?, depth + 1, out)
                })?;
            }
            kind => {
                let what = format!("a value of kind {kind} has no JSON");
                return Err(Error::new(ErrorKind::BadSerialization, what));
            }
        }
        Ok(())
    }

    fn items(
        &self,
        marks: (char, char),
        count: usize,
        depth: usize,
        out: &mut String,
        mut each: impl FnMut(usize, &mut String) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let line = |out: &mut String, depth: usize| {
            if let Some(indent) = self.indent {
                out.push('\n');
                out.extend(std::iter::repeat_n(' ', indent * depth));
            }
        };
        out.push(marks.0);
        for at in 0..count {
            if at > 0 {
                out.push_str(&self.separators.0);
            }
            line(out, depth + 1);
            each(at, out)?;
        }
        if count > 0 {
            line(out, depth);
        }
        out.push(marks.1);
        Ok(())
    }

    fn string(&self, text: &str, out: &mut String) {
        out.push('"');
        for c in text.chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{8}' => out.push_str("\\b"),
                '\u{c}' => out.push_str("\\f"),
                c if (c as u32) < 0x20 => escape(c as u32, out),
                c if self.ascii && !c.is_ascii() => {
                    let mut units = [0; 2];
                    c.encode_utf16(&mut units).iter().for_each(|unit| escape(u32::from(*unit), out));
                }
                c => out.push(c),
            }
        }
        out.push('"');
    }
}

fn escape(unit: u32, out: &mut String) {
    write!(out, "\\u{unit:04x}").expect("a String takes all text");
}
