//! Readers: files and folders become records, one at a time and in bounded memory.
//!
//! Whatever is not read is named, with its rule and its place: nothing is skipped silently but hidden files (a name
//! that begins with a dot) and blank lines.

mod csv;
mod input;
mod json;
mod jsonl;
mod markdown;
pub(crate) mod nested;
mod text;

use cairn_schemas::{Blake3, Sha256, Timestamp};
use input::Input;
pub use nested::RecordPath;
use nested::{Reached, descend};
use serde_json::{Map, Value};
use std::fs::Metadata;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::time::UNIX_EPOCH;
use walkdir::WalkDir;

/// Longest line of JSONL, row of CSV or element of a JSON array that is read.
pub const LINE_BYTES_MAX: usize = 8 << 20;
/// Longest file that is read as one document: Markdown, text, a JSON object.
pub const DOCUMENT_BYTES_MAX: usize = 32 << 20;
/// The kinds of file that are read, as their extensions.
pub const SUPPORTED: &str = ".jsonl, .ndjson, .json, .csv, .tsv, .md, .markdown, .txt";

/// Where records stand, and what may be held in memory at once.
#[derive(Clone, Debug)]
pub struct Options {
    pub line_bytes_max: usize,
    pub document_bytes_max: usize,
    /// Below the outermost value of a JSON file (or the elements of its outermost array), or below each line or row.
    pub records: Option<RecordPath>,
}

impl Default for Options {
    fn default() -> Self {
        Self { line_bytes_max: LINE_BYTES_MAX, document_bytes_max: DOCUMENT_BYTES_MAX, records: None }
    }
}

/// What reading yields, in order of the files' names and of the records in each.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    Record(Record),
    Rejected(Rejected),
    /// A file came to its end; follows everything that was found in it.
    FileRead(FileRead),
}

/// One record: a line, a row, an element of an array, or a whole document.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// A JSON object's members or a row's columns; a Markdown document's front matter; empty for plain text.
    pub fields: Map<String, Value>,
    /// The document's text, for the kinds that are text.
    pub text: Option<String>,
    /// Path relative to what was given, as a URI reference, and where in the file: `#L12` is a line (JSONL, CSV),
    /// `#/data/3` a JSON pointer (RFC 6901), which follows the line where records stand inside one. A whole document has no fragment.
    pub source_uri: String,
    pub content_type: &'static str,
    /// When the file was last modified.
    pub modified: Timestamp,
}

/// Something that was not read, and why. The detail holds measures and places, never the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    pub source_uri: String,
    /// Line of the file, from 1, where the rule is about a line.
    pub line: Option<u64>,
    /// Byte of the file, from 0, where the rule is about a byte.
    pub offset: Option<u64>,
    /// `unsupported_kind`, `unreadable`, `empty_file`, `non_utf8`, `line_too_long`, `invalid_json`, `not_an_object`,
    /// `record_too_large`, `document_too_large`, `ambiguous_records`, `bad_header`, `wrong_field_count`,
    /// `unclosed_quote`, `bad_front_matter` or `no_records` (the path of records ends in nothing there).
    pub rule: &'static str,
    pub detail: String,
}

/// The facts about a file that was read to its end.
#[derive(Clone, Debug, PartialEq)]
pub struct FileRead {
    pub source_uri: String,
    pub content_type: &'static str,
    pub modified: Timestamp,
    pub blake3: Blake3,
    pub sha256: Sha256,
    pub bytes: u64,
    pub records: u64,
    pub rejected: u64,
    /// The members of a JSON object that stand around its array of records.
    pub header: Map<String, Value>,
}

/// What a whole reading came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub files: u64,
    pub records: u64,
    pub rejected: u64,
    pub bytes: u64,
}

/// Why nothing can be read from what was named, or why the disk failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no file or folder at {}", path.display())]
    NotFound { path: PathBuf },
    #[error("{} is {what}; supported: {SUPPORTED}, or a folder of such files", path.display())]
    Unsupported { path: PathBuf, what: String },
    #[error("folder {} holds no files (hidden ones are not read); supported: {SUPPORTED}", path.display())]
    EmptyFolder { path: PathBuf },
    #[error("`records: {records}` meets nothing in {}: {why}", path.display())]
    NoRecords { path: PathBuf, records: RecordPath, why: String },
    #[error("cannot read {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// Reads a file, or every file of a folder in order of their names, and hands each item to `sink`.
///
/// The sink's error ends the reading and is returned as it is. Symbolic links inside a folder are not followed.
pub fn read_path<E: From<Error>>(
    path: &Path,
    options: &Options,
    sink: &mut dyn FnMut(Item) -> Result<(), E>,
) -> Result<Summary, E> {
    let mut refusal = None;
    let mut emit = |item| {
        sink(item).map_err(|e| {
            refusal = Some(e);
            Failure::Stopped
        })
    };
    match read_any(path, options, &mut emit) {
        Ok(summary) => Ok(summary),
        Err(Failure::Read(e)) => Err(e.into()),
        Err(Failure::Stopped) => Err(refusal.expect("only the sink stops a reading, and its error was kept")),
    }
}

/// Why reading ended early: the sink's own error is kept outside.
enum Failure {
    Stopped,
    Read(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Read(error)
    }
}

type Emit<'a> = dyn FnMut(Item) -> Result<(), Failure> + 'a;

fn read_any(path: &Path, options: &Options, emit: &mut Emit<'_>) -> Result<Summary, Failure> {
    let metadata = std::fs::metadata(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => Error::NotFound { path: path.to_owned() },
        _ => Error::Io { path: path.to_owned(), source },
    })?;
    let mut summary = Summary::default();
    if metadata.is_dir() {
        read_folder(path, options, &mut summary, emit)?;
        return Ok(summary);
    }
    let kind = Kind::of(path, &metadata).map_err(|what| Error::Unsupported { path: path.to_owned(), what })?;
    let input = Input::open(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
    let uri = uri_of(Path::new(path.file_name().unwrap_or(path.as_os_str())));
    read_file(path, uri, kind, &metadata, input, options, &mut summary, emit)?;
    Ok(summary)
}

fn read_folder(root: &Path, options: &Options, summary: &mut Summary, emit: &mut Emit<'_>) -> Result<(), Failure> {
    let hidden = |name: &std::ffi::OsStr| name.as_encoded_bytes().starts_with(b".");
    let walk = WalkDir::new(root).sort_by_file_name().into_iter();
    let mut found = false;
    for entry in walk.filter_entry(|e| e.depth() == 0 || !hidden(e.file_name())) {
        let entry = match entry {
            Ok(entry) if entry.file_type().is_dir() => continue,
            Ok(entry) => entry,
            Err(e) => {
                found = true;
                let path = e.path().unwrap_or(root).to_owned();
                reject_path(root, &path, "unreadable", format!("cannot be read: {}", cause(&e)), summary, emit)?;
                continue;
            }
        };
        found = true;
        read_entry(root, entry.path(), options, summary, emit)?;
    }
    if !found {
        return Err(Error::EmptyFolder { path: root.to_owned() }.into());
    }
    Ok(())
}

fn cause(error: &walkdir::Error) -> String {
    error.io_error().map_or_else(|| "a loop of links".to_owned(), |e| e.to_string())
}

fn read_entry(
    root: &Path,
    path: &Path,
    options: &Options,
    summary: &mut Summary,
    emit: &mut Emit<'_>,
) -> Result<(), Failure> {
    let opened = std::fs::symlink_metadata(path).and_then(|metadata| match Kind::of(path, &metadata) {
        Ok(kind) => Ok((Ok(kind), Some(Input::open(path)?), metadata)),
        Err(what) => Ok((Err(what), None, metadata)),
    });
    match opened {
        Ok((Ok(kind), Some(input), metadata)) => {
            let uri = uri_of(path.strip_prefix(root).unwrap_or(path));
            read_file(path, uri, kind, &metadata, input, options, summary, emit)
        }
        Ok((Err(what), ..)) => {
            reject_path(root, path, "unsupported_kind", format!("{what}; supported: {SUPPORTED}"), summary, emit)
        }
        Ok((Ok(_), None, _)) => unreachable!("a supported kind is opened"),
        Err(e) => reject_path(root, path, "unreadable", format!("cannot be read: {e}"), summary, emit),
    }
}

fn reject_path(
    root: &Path,
    path: &Path,
    rule: &'static str,
    detail: String,
    summary: &mut Summary,
    emit: &mut Emit<'_>,
) -> Result<(), Failure> {
    summary.rejected += 1;
    let source_uri = uri_of(path.strip_prefix(root).unwrap_or(path));
    emit(Item::Rejected(Rejected { source_uri, line: None, offset: None, rule, detail }))
}

#[allow(clippy::too_many_arguments)] // each is one thing of one file; a struct for them would have this one user
fn read_file(
    path: &Path,
    uri: String,
    kind: Kind,
    metadata: &Metadata,
    mut input: Input,
    options: &Options,
    summary: &mut Summary,
    emit: &mut Emit<'_>,
) -> Result<(), Failure> {
    let content_type = kind.content_type();
    let modified = modified(metadata);
    let below = options.records.as_ref().map(|path| path.steps().to_vec());
    let mut output = Output {
        uri,
        content_type,
        modified,
        records: 0,
        rejected: 0,
        header: Map::new(),
        below,
        inherited: Map::new(),
        missed: None,
        emit,
    };
    let io = |source| Failure::Read(Error::Io { path: path.to_owned(), source });
    let read = match kind {
        Kind::Jsonl => jsonl::read(&mut input, options, &mut output),
        Kind::Json => json::read(path, &mut input, options, &mut output),
        Kind::Csv => csv::read(&mut input, b',', options, &mut output),
        Kind::Tsv => csv::read(&mut input, b'\t', options, &mut output),
        Kind::Markdown => markdown::read(&mut input, options, &mut output),
        Kind::Text => text::read(&mut input, options, &mut output),
    };
    read.map_err(|e| e.at(path))?;
    let digests = input.finish().map_err(io)?;
    if digests.bytes == 0 {
        output.reject("empty_file", None, None, "the file is empty".to_owned()).map_err(|e| e.at(path))?;
    }
    let Output { uri, records, rejected, header, missed, .. } = output;
    if let (0, Some(why), Some(path_of)) = (records, missed, &options.records) {
        return Err(Error::NoRecords { path: path.to_owned(), records: path_of.clone(), why }.into());
    }
    summary.files += 1;
    summary.records += records;
    summary.rejected += rejected;
    summary.bytes += digests.bytes;
    let (blake3, sha256, bytes) = (digests.blake3, digests.sha256, digests.bytes);
    let file = FileRead { source_uri: uri, content_type, modified, blake3, sha256, bytes, records, rejected, header };
    emit(Item::FileRead(file))
}

/// The kinds of file that are read.
#[derive(Clone, Copy)]
enum Kind {
    Jsonl,
    Json,
    Csv,
    Tsv,
    Markdown,
    Text,
}

impl Kind {
    /// By extension; what the path is instead, where it is none of them.
    fn of(path: &Path, metadata: &Metadata) -> Result<Self, String> {
        if metadata.is_symlink() {
            return Err("a symbolic link, which is not followed".to_owned());
        }
        if !metadata.is_file() {
            return Err("neither a file nor a folder".to_owned());
        }
        let Some(extension) = path.extension() else {
            return Err("a file without an extension, by which its kind is told".to_owned());
        };
        let extension = extension.to_string_lossy().to_ascii_lowercase();
        match extension.as_str() {
            "jsonl" | "ndjson" => Ok(Kind::Jsonl),
            "json" => Ok(Kind::Json),
            "csv" => Ok(Kind::Csv),
            "tsv" => Ok(Kind::Tsv),
            "md" | "markdown" => Ok(Kind::Markdown),
            "txt" => Ok(Kind::Text),
            _ => Err(format!("a file of kind .{extension}, which is not supported")),
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            Kind::Jsonl => "application/jsonl",
            Kind::Json => "application/json",
            Kind::Csv => "text/csv",
            Kind::Tsv => "text/tab-separated-values",
            Kind::Markdown => "text/markdown",
            Kind::Text => "text/plain",
        }
    }
}

/// Where one file's items go, and how many there were.
struct Output<'a, 'b> {
    uri: String,
    content_type: &'static str,
    modified: Timestamp,
    records: u64,
    rejected: u64,
    header: Map<String, Value>,
    /// Where records stand below what the file's kind takes for one.
    below: Option<Vec<String>>,
    /// Plain members of a JSON object around its array of records, where records are looked for below it.
    inherited: Map<String, Value>,
    /// Why the path met nothing, the first time.
    missed: Option<String>,
    emit: &'a mut Emit<'b>,
}

/// Why one file's reading ended early.
enum Broken {
    Io(io::Error),
    Failed(Failure),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Broken::Io(error)
    }
}

impl Broken {
    fn at(self, path: &Path) -> Failure {
        match self {
            Broken::Io(source) => Failure::Read(Error::Io { path: path.to_owned(), source }),
            Broken::Failed(failure) => failure,
        }
    }
}

impl Output<'_, '_> {
    /// `fragment` is empty or begins with `#`.
    fn record(&mut self, fragment: &str, fields: Map<String, Value>, text: Option<String>) -> Result<(), Broken> {
        let Some(below) = self.below.clone() else { return self.emit_record(fragment, fields, text) };
        if text.is_some() {
            let why = "the file is one document, without arrays; `records` is for JSON".to_owned();
            return self.reject_at(fragment, "no_records", None, None, why);
        }
        let inherited = self.inherited.clone();
        descend(fragment, fields, &below, &inherited, &mut |reached| match reached {
            Reached::Record(fragment, fields) => self.emit_record(&fragment, fields, None),
            Reached::NoObject(fragment, why) => self.reject_at(&fragment, "not_an_object", None, None, why),
            Reached::Nothing(fragment, why) => {
                self.missed.get_or_insert_with(|| why.clone());
                self.reject_at(&fragment, "no_records", None, None, why)
            }
        })
    }

    fn emit_record(&mut self, fragment: &str, fields: Map<String, Value>, text: Option<String>) -> Result<(), Broken> {
        self.records += 1;
        let source_uri = format!("{}{fragment}", self.uri);
        let record = Record { fields, text, source_uri, content_type: self.content_type, modified: self.modified };
        (self.emit)(Item::Record(record)).map_err(Broken::Failed)
    }

    fn reject(
        &mut self,
        rule: &'static str,
        line: Option<u64>,
        offset: Option<u64>,
        detail: String,
    ) -> Result<(), Broken> {
        let fragment = line.map(|n| format!("#L{n}")).unwrap_or_default();
        self.reject_at(&fragment, rule, line, offset, detail)
    }

    fn reject_at(
        &mut self,
        fragment: &str,
        rule: &'static str,
        line: Option<u64>,
        offset: Option<u64>,
        detail: String,
    ) -> Result<(), Broken> {
        self.rejected += 1;
        let source_uri = format!("{}{fragment}", self.uri);
        (self.emit)(Item::Rejected(Rejected { source_uri, line, offset, rule, detail })).map_err(Broken::Failed)
    }
}

/// When the file was last modified; the epoch where the file system does not say.
fn modified(metadata: &Metadata) -> Timestamp {
    let micros = metadata.modified().ok().map(|time| match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_micros()).unwrap_or(i64::MAX),
        Err(before) => -i64::try_from(before.duration().as_micros()).unwrap_or(i64::MAX),
    });
    Timestamp::from_micros(micros.unwrap_or(0))
}

/// A relative path as a URI reference: `/` between the parts, and whatever would be read as something else escaped.
/// Letters of any script stay as they are (an IRI, RFC 3987).
fn uri_of(path: &Path) -> String {
    let parts = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(escaped(name.as_encoded_bytes())),
        _ => None,
    });
    parts.collect::<Vec<_>>().join("/")
}

fn escaped(name: &[u8]) -> String {
    let mut out = String::with_capacity(name.len());
    let percent = |out: &mut String, bytes: &[u8]| bytes.iter().for_each(|b| out.push_str(&format!("%{b:02X}")));
    for chunk in name.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                ' ' | '%' | '#' | '?' | '\\' | '"' | '<' | '>' | '^' | '`' | '{' | '|' | '}' => {
                    percent(&mut out, &[c as u8]);
                }
                c if c.is_control() || c.is_whitespace() => percent(&mut out, c.encode_utf8(&mut [0; 4]).as_bytes()),
                c => out.push(c),
            }
        }
        percent(&mut out, chunk.invalid());
    }
    out
}

/// Says of bytes that are not UTF-8 where, and names the usual cause.
fn non_utf8_detail(offset: u64, start: &[u8]) -> String {
    let cause = match start {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "; it begins as UTF-16 does: convert the file to UTF-8",
        _ => "; convert the file to UTF-8",
    };
    format!("byte {offset} is not UTF-8{cause}")
}

#[cfg(test)]
mod tests;
