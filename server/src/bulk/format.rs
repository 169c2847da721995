//! The formats, and the encoders that write them batch by batch.

use super::pipe;
use super::rows;
use crate::problem::Problem;
use arrow_array::RecordBatch;
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
use arrow_schema::{ArrowError, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use std::io::{self, Write};

/// Rows of a Parquet row group, which is held in memory until it is whole.
const ROW_GROUP_ROWS: usize = 262_144;

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// The IPC file format: what `.arrow` and Feather 2 name.
    Arrow,
    /// The IPC stream format, which a reader can begin with before it ends.
    ArrowStream,
    Parquet,
    Csv,
    JsonLines,
}

impl Format {
    pub(super) const ALL: [Format; 5] =
        [Format::Arrow, Format::ArrowStream, Format::Parquet, Format::Csv, Format::JsonLines];

    pub(super) fn extension(self) -> &'static str {
        match self {
            Format::Arrow => "arrow",
            Format::ArrowStream => "arrows",
            Format::Parquet => "parquet",
            Format::Csv => "csv",
            Format::JsonLines => "jsonl",
        }
    }
    pub(super) fn media_type(self) -> &'static str {
        match self {
            Format::Arrow => "application/vnd.apache.arrow.file",
            Format::ArrowStream => "application/vnd.apache.arrow.stream",
            Format::Parquet => "application/vnd.apache.parquet",
            Format::Csv => "text/csv; charset=utf-8; header=present",
            Format::JsonLines => "application/jsonl",
        }
    }
}

/// Writes batches of one schema.
pub(super) enum Encoder<W: Write + Send> {
    Arrow(FileWriter<W>),
    ArrowStream(StreamWriter<W>),
    Parquet(Box<ArrowWriter<W>>),
    Csv(W),
    JsonLines(W),
}

impl<W: Write + Send> Encoder<W> {
    pub(super) fn new(format: Format, mut out: W, schema: SchemaRef) -> Result<Self, Problem> {
        let options = || IpcWriteOptions::default().try_with_compression(Some(CompressionType::LZ4_FRAME));
        Ok(match format {
            Format::Arrow => {
                let options = options().map_err(arrow)?;
                Encoder::Arrow(FileWriter::try_new_with_options(out, &schema, options).map_err(arrow)?)
            }
            Format::ArrowStream => {
                let options = options().map_err(arrow)?;
                Encoder::ArrowStream(StreamWriter::try_new_with_options(out, &schema, options).map_err(arrow)?)
            }
            Format::Parquet => {
                let properties = WriterProperties::builder()
                    .set_compression(Compression::SNAPPY)
                    .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
                    .set_created_by(concat!("cairn ", env!("CARGO_PKG_VERSION")).to_owned());
                let writer = ArrowWriter::try_new(out, schema, Some(properties.build())).map_err(parquet)?;
                Encoder::Parquet(Box::new(writer))
            }
            Format::Csv => {
                out.write_all(rows::csv_head(&schema).as_bytes()).map_err(pipe::failed)?;
                Encoder::Csv(out)
            }
            Format::JsonLines => Encoder::JsonLines(out),
        })
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), Problem> {
        match self {
            Encoder::Arrow(writer) => writer.write(batch).map_err(arrow),
            Encoder::ArrowStream(writer) => writer.write(batch).map_err(arrow),
            Encoder::Parquet(writer) => writer.write(batch).map_err(parquet),
            Encoder::Csv(out) => rows::write_csv(batch, out).map_err(pipe::failed),
            Encoder::JsonLines(out) => rows::write_json(batch, out).map_err(pipe::failed),
        }
    }

    /// Writes what is left, and gives back what was written to.
    pub(super) fn finish(self) -> Result<W, Problem> {
        let mut out = match self {
            Encoder::Arrow(mut writer) => {
                writer.finish().map_err(arrow)?;
                writer.into_inner().map_err(arrow)?
            }
            Encoder::ArrowStream(mut writer) => {
                writer.finish().map_err(arrow)?;
                writer.into_inner().map_err(arrow)?
            }
            Encoder::Parquet(writer) => writer.into_inner().map_err(parquet)?,
            Encoder::Csv(out) | Encoder::JsonLines(out) => out,
        };
        out.flush().map_err(pipe::failed)?;
        Ok(out)
    }
}

fn arrow(error: ArrowError) -> Problem {
    match error {
        ArrowError::IoError(_, source) => pipe::failed(source),
        other => Problem::internal(format!("encoding as Arrow: {other}")),
    }
}

fn parquet(error: ParquetError) -> Problem {
    match error {
        ParquetError::External(source) => match source.downcast::<io::Error>() {
            Ok(source) => pipe::failed(*source),
            Err(other) => Problem::internal(format!("encoding as Parquet: {other}")),
        },
        other => Problem::internal(format!("encoding as Parquet: {other}")),
    }
}
