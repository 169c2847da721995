//! What a table is: a name, its arguments, and rows that are read batch by batch.

use super::arguments::Arguments;
use crate::problem::Problem;
use arrow_array::RecordBatch;
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use cairn_processors::Context;
use cairn_schemas::Position;
use std::collections::HashMap;

/// Rows of one batch at most.
pub(super) const BATCH_ROWS: usize = 32_768;

/// The member of a field's metadata that says what its text is, and the one such content.
const CONTENT: &str = "content";
const JSON: &str = "application/json";

/// Whether a column's text is a JSON value.
pub(super) fn is_json(field: &Field) -> bool {
    field.metadata().get(CONTENT).is_some_and(|content| content == JSON)
}

type Plan = fn(&Context, &Arguments, When) -> Result<Box<dyn Rows>, Problem>;

/// A table that can be read in bulk.
pub(super) struct Table {
    pub(super) name: &'static str,
    /// The projection that is read.
    pub(super) projection: &'static str,
    /// Arguments beside `asOf` and `atLeast`, each with what it means.
    pub(super) arguments: &'static [(&'static str, &'static str)],
    /// Checks the question and finds what is to be read.
    pub(super) plan: Plan,
}

/// Which state is read.
#[derive(Clone, Copy)]
pub(super) struct When {
    /// The answer is as of this position; `None` where the log is empty.
    pub(super) position: Option<Position>,
    /// Whether a past state was asked for.
    pub(super) is_past: bool,
}

impl When {
    /// The position, where a past state was asked for.
    pub(super) fn as_of(self) -> Option<Position> {
        self.position.filter(|_| self.is_past)
    }
}

/// Takes one batch of an answer; may wait for its reader.
pub(super) type Emit<'a> = &'a mut dyn FnMut(RecordBatch) -> Result<(), Problem>;

/// The rows of an answer. No store is held while a batch is taken: its reader may be slow.
pub(super) trait Rows: Send {
    fn schema(&self) -> Schema;
    fn send(self: Box<Self>, ctx: &Context, emit: Emit<'_>) -> Result<(), Problem>;
}

/// A column: its name, its type, whether it may be null, and what it holds, with its unit.
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) is: Is,
    pub(super) nullable: bool,
    pub(super) text: &'static str,
}

/// The types that columns have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Is {
    Text,
    /// Text of few different values; in Arrow and Parquet a dictionary that is the same in all batches.
    Word,
    /// A JSON value, as text; in JSON lines the value itself.
    Json,
    Whole,
    Real,
    Truth,
    Instant,
}

impl Is {
    fn data_type(self) -> DataType {
        match self {
            Is::Text | Is::Json => DataType::Utf8,
            Is::Word => DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)),
            Is::Whole => DataType::UInt64,
            Is::Real => DataType::Float64,
            Is::Truth => DataType::Boolean,
            Is::Instant => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        }
    }
}

impl Column {
    pub(super) const fn new(name: &'static str, is: Is, text: &'static str) -> Self {
        Self { name, is, nullable: false, text }
    }
    pub(super) const fn or_null(name: &'static str, is: Is, text: &'static str) -> Self {
        Self { name, is, nullable: true, text }
    }
    pub(super) fn field(&self) -> Field {
        let mut metadata = HashMap::from([("description".to_owned(), self.text.to_owned())]);
        if self.is == Is::Json {
            metadata.insert(CONTENT.to_owned(), JSON.to_owned());
        }
        Field::new(self.name, self.is.data_type(), self.nullable).with_metadata(metadata)
    }
}

/// A column that a reader chose by its path.
pub(super) fn chosen(path: &str, is_number: bool) -> Field {
    let is = if is_number { Is::Real } else { Is::Text };
    let text = format!("what stands at {path}");
    Field::new(path, is.data_type(), true).with_metadata(HashMap::from([("description".to_owned(), text)]))
}

/// The schema of columns; what each holds stands in its field's metadata.
pub(super) fn schema(columns: &[Column]) -> Schema {
    Schema::new(columns.iter().map(Column::field).collect::<Vec<_>>())
}

/// The schema with what the answer covers, so that a file says it by itself.
pub(super) fn with_coverage(schema: Schema, covered: &serde_json::Value) -> Schema {
    let mut metadata = schema.metadata.clone();
    metadata.insert("cairn.position".into(), covered["position"].to_string());
    metadata.insert("cairn.checkpoint".into(), covered["checkpoint"].to_string());
    schema.with_metadata(metadata)
}
