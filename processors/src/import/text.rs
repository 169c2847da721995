//! From bytes to text and tables, with the place of everything.

use super::{File, Problem};
use csv_core::{ReadRecordResult, Reader};

/// Most columns of a table.
const COLUMNS_MAX: usize = 10_000;

/// A table whose first row names the columns.
pub(super) struct Table {
    pub(super) columns: Vec<String>,
    pub(super) rows: Vec<Row>,
}

pub(super) struct Row {
    /// Where it begins, from 1.
    pub(super) line: u64,
    pub(super) fields: Vec<String>,
}

impl Table {
    /// The number of a column, counted from 0.
    pub(super) fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column == name)
    }
}

/// The file as text.
pub(super) fn utf8(file: &File) -> Result<&str, Problem> {
    std::str::from_utf8(&file.bytes).map_err(|e| {
        let before = &file.bytes[..e.valid_up_to()];
        let line = before.iter().filter(|byte| **byte == b'\n').count() as u64 + 1;
        let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() as u64 + 1;
        file.problem(line, column, "is not UTF-8 here; save the file as UTF-8")
    })
}

/// Reads CSV (RFC 4180). Every row has as many fields as the first, and no column has another's name.
pub(super) fn table(file: &File) -> Result<Table, Problem> {
    let mut rows = rows(file, utf8(file)?)?.into_iter();
    let Some(header) = rows.next() else {
        return Err(file.problem(1, 1, "is empty; expected a row that names the columns"));
    };
    let columns = header.fields;
    for (at, name) in columns.iter().enumerate() {
        if columns[..at].contains(name) {
            let why = format!("a second column `{name}`; each needs its own name");
            return Err(file.problem(header.line, at as u64 + 1, why));
        }
    }
    let rows: Vec<Row> = rows.collect();
    for row in &rows {
        if row.fields.len() != columns.len() {
            let why = format!("the row has {} fields, where the first row names {}", row.fields.len(), columns.len());
            return Err(file.problem(row.line, row.fields.len().min(columns.len()) as u64 + 1, why));
        }
    }
    Ok(Table { columns, rows })
}

fn rows(file: &File, text: &str) -> Result<Vec<Row>, Problem> {
    let (mut reader, mut input, mut rows) = (Reader::new(), text.as_bytes(), Vec::new());
    let (mut output, mut ends) = (vec![0; 4096], vec![0; 128]);
    let (mut written, mut ended, mut line) = (0, 0, reader.line());
    loop {
        let (result, read, wrote, new_ends) = reader.read_record(input, &mut output[written..], &mut ends[ended..]);
        (input, written, ended) = (&input[read..], written + wrote, ended + new_ends);
        match result {
            // All input is there: an empty one is the end, which closes the last row.
            ReadRecordResult::InputEmpty => {}
            ReadRecordResult::OutputFull => output.resize(output.len() * 2, 0),
            ReadRecordResult::OutputEndsFull if ends.len() > COLUMNS_MAX => {
                return Err(file.problem(
                    line,
                    COLUMNS_MAX as u64,
                    "the row has too many fields; at most 10,000 are read",
                ));
            }
            ReadRecordResult::OutputEndsFull => ends.resize(ends.len() * 2, 0),
            ReadRecordResult::Record => {
                let starts = std::iter::once(0).chain(ends[..ended].iter().copied());
                let fields = starts.zip(&ends[..ended]).map(|(from, to)| {
                    String::from_utf8(output[from..*to].to_vec()).expect("parts of UTF-8 between ASCII marks are UTF-8")
                });
                rows.push(Row { line, fields: fields.collect() });
                (written, ended, line) = (0, 0, reader.line());
            }
            ReadRecordResult::End => return Ok(rows),
        }
    }
}
