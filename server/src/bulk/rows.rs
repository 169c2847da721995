//! Rows as text: CSV (RFC 4180) and JSON lines. Reals that JSON cannot say are the strings "NaN", "Infinity" and
//! "-Infinity", as everywhere; in CSV the same words stand without quotes, which pandas, polars and DuckDB read as reals.

use super::table;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type, TimestampMicrosecondType, UInt64Type};
use arrow_array::{Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Schema};
use cairn_schemas::{Real, Timestamp};
use std::fmt::Write as _;
use std::io::{self, Write};

/// A column, ready to be read by row.
enum Cells<'a> {
    Text(&'a StringArray),
    Word(&'a [i32], &'a StringArray),
    Whole(&'a [u64]),
    Real(&'a [f64]),
    Truth(&'a arrow_array::BooleanArray),
    Instant(&'a [i64]),
}

impl<'a> Cells<'a> {
    fn of(array: &'a dyn Array) -> Self {
        match array.data_type() {
            DataType::Utf8 => Cells::Text(array.as_string()),
            DataType::Dictionary(..) => {
                let words = array.as_dictionary::<Int32Type>();
                Cells::Word(words.keys().values(), words.values().as_string())
            }
            DataType::UInt64 => Cells::Whole(array.as_primitive::<UInt64Type>().values()),
            DataType::Float64 => Cells::Real(array.as_primitive::<Float64Type>().values()),
            DataType::Boolean => Cells::Truth(array.as_boolean()),
            DataType::Timestamp(..) => Cells::Instant(array.as_primitive::<TimestampMicrosecondType>().values()),
            other => unreachable!("no column is of type {other}"),
        }
    }

    /// The cell as text, and whether that is a word of a language rather than a number or a truth value.
    fn put(&self, row: usize, out: &mut String) -> bool {
        match self {
            Cells::Text(texts) => out.push_str(texts.value(row)),
            Cells::Word(keys, texts) => out.push_str(texts.value(keys[row] as usize)),
            Cells::Whole(values) => _ = write!(out, "{}", values[row]),
            Cells::Real(values) => return put_real(values[row], out),
            Cells::Truth(values) => out.push_str(if values.value(row) { "true" } else { "false" }),
            Cells::Instant(values) => _ = write!(out, "{}", Timestamp::from_micros(values[row])),
        }
        matches!(self, Cells::Text(_) | Cells::Word(..) | Cells::Instant(_))
    }
}

fn put_real(value: f64, out: &mut String) -> bool {
    let json = serde_json::to_string(&Real(value)).expect("a real has a form in JSON");
    out.push_str(json.trim_matches('"'));
    !value.is_finite()
}

pub(super) fn csv_head(schema: &Schema) -> String {
    let names: Vec<String> = schema.fields().iter().map(|field| quoted(field.name())).collect();
    names.join(",") + "\n"
}

/// A field in quotes where it would be read as something else without: an empty text is not a null.
fn quoted(text: &str) -> String {
    let plain = !text.is_empty() && !text.contains([',', '"', '\n', '\r']) && text.trim() == text;
    if plain { text.to_owned() } else { format!("\"{}\"", text.replace('"', "\"\"")) }
}

pub(super) fn write_csv(batch: &RecordBatch, out: &mut impl Write) -> io::Result<()> {
    let columns: Vec<(&dyn Array, Cells<'_>)> = batch.columns().iter().map(|c| (&**c, Cells::of(c))).collect();
    let (mut line, mut cell) = (String::new(), String::new());
    for row in 0..batch.num_rows() {
        line.clear();
        for (at, (array, cells)) in columns.iter().enumerate() {
            if at > 0 {
                line.push(',');
            }
            if array.is_null(row) {
                continue;
            }
            cell.clear();
            match cells.put(row, &mut cell) {
                true => line.push_str(&quoted(&cell)),
                false => line.push_str(&cell),
            }
        }
        line.push('\n');
        out.write_all(line.as_bytes())?;
    }
    Ok(())
}

pub(super) fn write_json(batch: &RecordBatch, out: &mut impl Write) -> io::Result<()> {
    let schema = batch.schema();
    let names: Vec<String> =
        schema.fields().iter().map(|field| serde_json::to_string(field.name()).expect("text is JSON")).collect();
    let columns: Vec<(&dyn Array, Cells<'_>)> = batch.columns().iter().map(|c| (&**c, Cells::of(c))).collect();
    let (mut line, mut cell) = (String::new(), String::new());
    for row in 0..batch.num_rows() {
        line.clear();
        for (at, ((array, cells), name)) in columns.iter().zip(&names).enumerate() {
            line.push(if at == 0 { '{' } else { ',' });
            line.push_str(name);
            line.push(':');
            if array.is_null(row) {
                line.push_str("null");
                continue;
            }
            cell.clear();
            let is_word = cells.put(row, &mut cell);
            match is_word && !table::is_json(schema.field(at)) {
                true => line.push_str(&serde_json::to_string(&cell).expect("text is JSON")),
                false => line.push_str(&cell),
            }
        }
        line.push_str("}\n");
        out.write_all(line.as_bytes())?;
    }
    Ok(())
}
