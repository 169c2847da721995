//! NumPy's file format, version 1.0 (NEP 1): rows of f32, one after another.

use anyhow::Context as _;
use std::io::Write;
use std::path::Path;

/// The header, with the ten bytes before it, ends at a multiple of this.
const ALIGNMENT: usize = 64;

/// Writes `rows` of equal length as an array [rows, columns].
pub(super) fn write(path: &Path, rows: &[Vec<f32>], columns: usize) -> anyhow::Result<()> {
    let told = || format!("cannot write {}", path.display());
    let mut out = std::io::BufWriter::new(std::fs::File::create(path).with_context(told)?);
    out.write_all(&header(rows.len(), columns)).with_context(told)?;
    for row in rows {
        assert_eq!(row.len(), columns, "rows are of one length");
        for number in row {
            out.write_all(&number.to_le_bytes()).with_context(told)?;
        }
    }
    out.flush().with_context(told)
}

fn header(rows: usize, columns: usize) -> Vec<u8> {
    let mut text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {columns}), }}");
    // A newline ends it; spaces before that fill up.
    let length = (10 + text.len() + 1).next_multiple_of(ALIGNMENT) - 10;
    text.extend(std::iter::repeat_n(' ', length - text.len() - 1));
    text.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend_from_slice(&(text.len() as u16).to_le_bytes());
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

#[test]
fn the_header_is_numpys() {
    let bytes = header(3, 384);
    assert_eq!(bytes.len() % ALIGNMENT, 0);
    // As numpy.save of a float32 array of this shape begins.
    assert!(bytes.starts_with(b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (3, 384), }"));
    assert!(bytes.ends_with(b" \n"));
    for columns in [1, 9_999_999, 12_345_678_901] {
        assert_eq!(header(usize::MAX, columns).len() % ALIGNMENT, 0);
    }
}
