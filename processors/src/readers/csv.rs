//! CSV and TSV (RFC 4180 quoting): the first row names the columns. Rows are parsed in place with a bound on each, so
//! that a quote nobody closed costs one row and not the machine's memory.

use super::input::{Input, Utf8Check};
use super::{Broken, Options, Output, non_utf8_detail};
use csv_core::{ReadFieldResult, ReaderBuilder};
use serde_json::{Map, Value};
use std::io::BufRead;

/// One row as it stands in the file.
struct Row {
    fields: Vec<Vec<u8>>,
    /// Line on which it begins, from 1.
    line: u64,
    /// Lines that it spans, from 1.
    lines: u64,
    bytes: u64,
    invalid_utf8_at: Option<u64>,
    /// The file ended inside a quoted field that began on an earlier line.
    unclosed: bool,
    /// The row was longer than allowed and its fields were not kept.
    oversize: bool,
}

pub(super) fn read(
    input: &mut Input,
    delimiter: u8,
    options: &Options,
    output: &mut Output<'_, '_>,
) -> Result<(), Broken> {
    let mut rows = Rows::new(input, delimiter, options.line_bytes_max);
    let Some(header) = rows.next_row()? else { return Ok(()) };
    let columns = match columns(&header, options) {
        Ok(columns) => columns,
        Err(detail) => return output.reject("bad_header", Some(header.line), None, detail),
    };
    while let Some(row) = rows.next_row()? {
        read_row(row, &columns, options, output)?;
    }
    if output.records + output.rejected == 0 {
        output.reject("empty_file", None, None, "the file has a header row and no others".to_owned())?;
    }
    Ok(())
}

/// The names of the columns. An unnamed one (an index that a data frame wrote) is `column_<n>`.
fn columns(header: &Row, options: &Options) -> Result<Vec<String>, String> {
    if header.oversize {
        return Err(format!("the header row has {} bytes; at most {} are read", header.bytes, options.line_bytes_max));
    }
    if let Some(at) = header.invalid_utf8_at {
        return Err(format!("the header row: {}", non_utf8_detail(at, header.fields.first().map_or(&[], |f| f))));
    }
    let texts = header.fields.iter().map(|field| String::from_utf8_lossy(field).trim().to_owned());
    let names: Vec<String> =
        texts.enumerate().map(|(at, name)| if name.is_empty() { format!("column_{}", at + 1) } else { name }).collect();
    if names.iter().all(|name| name.parse::<f64>().is_ok()) {
        return Err("the first row holds only numbers; expected a header row that names the columns".to_owned());
    }
    let mut seen = std::collections::HashSet::new();
    match names.iter().position(|name| !seen.insert(name)) {
        Some(at) => Err(format!("the header row names column {} as an earlier one; each needs its own name", at + 1)),
        None => Ok(names),
    }
}

fn read_row(row: Row, columns: &[String], options: &Options, output: &mut Output<'_, '_>) -> Result<(), Broken> {
    let line = row.line;
    if row.oversize {
        let detail = format!(
            "the row at line {line} has {} bytes over {} lines; at most {} are read (is a quote left open?)",
            row.bytes, row.lines, options.line_bytes_max
        );
        return output.reject("line_too_long", Some(line), None, detail);
    }
    if let Some(at) = row.invalid_utf8_at {
        let detail = format!("line {line}: {}", non_utf8_detail(at, &[]));
        return output.reject("non_utf8", Some(line), Some(at), detail);
    }
    if row.unclosed {
        let detail = format!("the quote opened in the row at line {line} is still open at the file's end");
        return output.reject("unclosed_quote", Some(line), None, detail);
    }
    if row.fields.len() != columns.len() {
        let spans =
            if row.lines > 1 { format!(" over {} lines (is a quote left open?)", row.lines) } else { String::new() };
        let detail =
            format!("the row at line {line} has {} fields{spans}; the header has {}", row.fields.len(), columns.len());
        return output.reject("wrong_field_count", Some(line), None, detail);
    }
    let text = |field: Vec<u8>| Value::String(String::from_utf8(field).expect("the row was checked to be UTF-8"));
    let fields: Map<String, Value> = columns.iter().cloned().zip(row.fields.into_iter().map(text)).collect();
    output.record(&format!("#L{line}"), fields, None)
}

/// The rows of a file, one at a time.
struct Rows<'a> {
    input: &'a mut Input,
    parser: csv_core::Reader,
    utf8: Utf8Check,
    /// Line ends passed so far, in all.
    line_ends: u64,
    bytes_max: usize,
    ended: bool,
}

impl<'a> Rows<'a> {
    fn new(input: &'a mut Input, delimiter: u8, bytes_max: usize) -> Self {
        let parser = ReaderBuilder::new().delimiter(delimiter).build();
        Self { input, parser, utf8: Utf8Check::default(), line_ends: 0, bytes_max, ended: false }
    }

    fn next_row(&mut self) -> Result<Option<Row>, Broken> {
        if self.ended {
            return Ok(None);
        }
        self.utf8.restart();
        let mut row = Row {
            fields: Vec::new(),
            line: 0,
            lines: 1,
            bytes: 0,
            invalid_utf8_at: None,
            unclosed: false,
            oversize: false,
        };
        let mut field = Vec::new();
        let mut piece = [0; 16 << 10];
        let (mut inside_line_ends, mut quotes) = (0, 0);
        loop {
            let available = self.input.reader().fill_buf()?;
            let (result, taken, written) = self.parser.read_field(available, &mut piece);
            let taken_bytes = &available[..taken];
            self.utf8.feed(taken_bytes);
            let line_ends = memchr::memchr_iter(b'\n', taken_bytes).count() as u64;
            let at_end = available.is_empty();
            quotes += memchr::memchr_iter(b'"', taken_bytes).count();
            let closes_line = taken_bytes.last() == Some(&b'\n');
            self.input.reader().consume(taken);
            self.line_ends += line_ends;
            row.bytes += taken as u64;
            inside_line_ends += memchr::memchr_iter(b'\n', &piece[..written]).count() as u64;
            row.oversize |= row.bytes > self.bytes_max as u64;
            if row.oversize {
                row.fields.clear();
                field.clear();
            } else {
                field.extend_from_slice(&piece[..written]);
            }
            match result {
                ReadFieldResult::InputEmpty | ReadFieldResult::OutputFull => {}
                ReadFieldResult::End => {
                    self.ended = true;
                    return Ok(None);
                }
                ReadFieldResult::Field { record_end } => {
                    if !row.oversize {
                        row.fields.push(std::mem::take(&mut field));
                    }
                    if record_end {
                        // The line end that closes the row is not part of it.
                        let last_line = 1 + self.line_ends - u64::from(closes_line);
                        row.line = last_line - inside_line_ends;
                        row.lines = 1 + inside_line_ends;
                        row.invalid_utf8_at = self.utf8.invalid_at();
                        // Quotes come in pairs; a single inch mark at the end of a file stays on its line.
                        row.unclosed = at_end && quotes % 2 == 1 && row.lines > 1;
                        return Ok(Some(row));
                    }
                }
            }
        }
    }
}
