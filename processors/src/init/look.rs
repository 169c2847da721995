//! Looking at the files: their kinds, shapes and sizes, and what an ingestion would keep of them.

use super::level::{self, Level};
use super::shape::Shape;
use crate::Error;
use crate::jobs::ingest::{Cleaned, Cleaner};
use crate::pipeline::IngestSpec;
use crate::readers::{self, Item, Record, nested};
use crate::template::Templates;
use cairn_schemas::Blake3;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

/// Records of one file by which its shape is told.
const SHAPE_RECORDS: usize = 200;
/// Records of one group that are gone through; sizes beyond are estimated.
const RECORDS_MAX: u64 = 50_000;
/// Files that a group lists by name, where its folder holds other kinds too.
const LISTED_FILES_MAX: usize = 1_000;
/// Outputs kept to tell their form.
const OUTPUTS_MAX: usize = 500;

/// What becomes one `ingest` job: files of one shape under one path.
#[derive(Clone, Debug)]
pub(super) struct Group {
    /// Sanitised, not yet distinct from others.
    pub(super) name: String,
    pub(super) paths: Vec<PathBuf>,
    /// What was given to look at.
    pub(super) origin: PathBuf,
    pub(super) shape: Shape,
    /// Where the records stand in their files.
    pub(super) records: Option<String>,
    /// What the file's name says it is for: `test` or `validation`.
    pub(super) held_out: Option<&'static str>,
    pub(super) kept: Vec<Kept>,
    pub(super) rejected: BTreeMap<String, u64>,
    pub(super) outputs: Vec<String>,
    pub(super) output_chars_max: usize,
    /// Of each pair that is kept, up to as many as there are outputs.
    pub(super) exchange_bytes: Vec<u64>,
    /// Bytes of all that was gone through, whatever became of it; none where another group has counted them.
    pub(super) source_bytes: u64,
    /// Bytes of the fields that go into no document and no row.
    pub(super) left_out: BTreeMap<String, u64>,
    /// Whether there were more records than were gone through.
    pub(super) more: bool,
}

/// A document that would be kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    pub(super) document: Blake3,
    pub(super) fingerprint: Blake3,
    pub(super) bytes: u64,
}

pub(super) fn groups(paths: &[PathBuf]) -> Result<Vec<Group>, Error> {
    let mut groups = Vec::new();
    for path in paths {
        for (level, files) in levels(path)? {
            groups.push(Group::of(path, level, files)?);
        }
    }
    if groups.iter().all(|group: &Group| group.kept.is_empty()) {
        let found: Vec<String> = groups.iter().map(Group::describe_rejected).collect();
        return Err(Error::refused("no document could be kept", found.join("; ")));
    }
    groups.retain(|group| !group.kept.is_empty());
    count_sources_once(&mut groups);
    Ok(groups)
}

/// Two groups of the same files are made of the same bytes, and what one leaves out the other may take.
fn count_sources_once(groups: &mut [Group]) {
    for at in 1..groups.len() {
        let (before, [group, ..]) = groups.split_at_mut(at) else { unreachable!("`at` is an index") };
        if let Some(first) = before.iter_mut().find(|other| other.paths == group.paths) {
            group.source_bytes = 0;
            first.left_out.retain(|name, _| group.left_out.contains_key(name));
            group.left_out.clear();
        }
    }
}

/// What stopped a look; reading on would say nothing new.
enum Stop {
    Enough,
    Failed(Error),
}

impl From<readers::Error> for Stop {
    fn from(error: readers::Error) -> Self {
        Stop::Failed(error.into())
    }
}

/// The first records of one file.
struct Sample {
    file: PathBuf,
    uri: String,
    /// The outermost member that they are the elements of.
    member: Option<String>,
    records: Vec<Map<String, Value>>,
    is_document: bool,
}

/// The first records of each file under a path.
fn samples(path: &Path) -> Result<Vec<Sample>, Error> {
    let mut samples: Vec<Sample> = Vec::new();
    let read = readers::read_path::<Stop>(path, &readers::Options::default(), &mut |item| {
        let Item::Record(record) = item else { return Ok(()) };
        let (uri, fragment) = record.source_uri.split_once('#').unwrap_or((&record.source_uri, ""));
        if samples.last().is_none_or(|last| last.uri != uri) {
            let file = if path.is_file() { path.to_owned() } else { path.join(nested::unescaped(uri)) };
            let (member, is_document) = (member_of(fragment), record.text.is_some());
            samples.push(Sample { file, uri: uri.to_owned(), member, records: Vec::new(), is_document });
        }
        let sample = samples.last_mut().expect("pushed above");
        if sample.records.len() < SHAPE_RECORDS {
            sample.records.push(record.fields);
        } else if path.is_file() {
            return Err(Stop::Enough);
        }
        Ok(())
    });
    match read {
        Ok(_) | Err(Stop::Enough) => Ok(samples),
        Err(Stop::Failed(error)) => Err(error),
    }
}

/// `/data/0` is in member `data`.
fn member_of(fragment: &str) -> Option<String> {
    let (member, _) = fragment.strip_prefix('/')?.split_once('/')?;
    Some(member.to_owned())
}

/// The levels under one path, each with its files; no files where the whole path is of one.
fn levels(path: &Path) -> Result<Vec<(Level, Vec<PathBuf>)>, Error> {
    let mut found: Vec<(Level, Vec<PathBuf>)> = Vec::new();
    let mut refused: Option<(PathBuf, String)> = None;
    let samples = samples(path)?;
    for Sample { file, member, records, is_document, .. } in samples {
        let at = |shape| vec![Level { shape, records: None }];
        let levels = match member.as_deref() {
            _ if is_document => Ok(at(Shape::Document)),
            // A path joins its steps by dots, and a pointer escapes what is odd in them.
            Some(odd) if odd.contains(['.', '%', '~']) => Shape::of(&records).map(at),
            _ => level::choose(&records, member.as_deref()),
        };
        let levels = match levels {
            Ok(levels) => levels,
            Err(why) => {
                refused.get_or_insert((file, why));
                continue;
            }
        };
        for level in levels {
            match found.iter_mut().find(|(known, _)| *known == level) {
                Some((_, files)) => files.push(file.clone()),
                None => found.push((level, vec![file.clone()])),
            }
        }
    }
    if found.is_empty() {
        let nothing = || (path.to_owned(), format!("no record could be read; supported: {}", readers::SUPPORTED));
        let (file, why) = refused.unwrap_or_else(nothing);
        return Err(Error::refused(file.display().to_string(), why));
    }
    if found.len() == 1 && refused.is_none() {
        found[0].1.clear();
    }
    Ok(found)
}

impl Group {
    fn of(path: &Path, level: Level, mut files: Vec<PathBuf>) -> Result<Self, Error> {
        let Level { shape, records } = level;
        files.truncate(LISTED_FILES_MAX);
        let several = !files.is_empty();
        let paths = if several { files } else { vec![path.to_owned()] };
        let stem = path.file_stem().or_else(|| path.file_name());
        let mut name = sanitised(&stem.map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default());
        if several && shape == Shape::Document {
            name.push_str("-texts");
        }
        if several && shape == Shape::Field("context".to_owned()) {
            name.push_str("-contexts");
        }
        let held_out = held_out(&name);
        let mut group = Self {
            name,
            paths,
            origin: path.to_owned(),
            shape,
            records,
            held_out,
            kept: Vec::new(),
            rejected: BTreeMap::new(),
            outputs: Vec::new(),
            output_chars_max: 0,
            exchange_bytes: Vec::new(),
            source_bytes: 0,
            left_out: BTreeMap::new(),
            more: false,
        };
        group.go_through()?;
        Ok(group)
    }

    /// The settings that its job will have.
    pub(super) fn spec(&self) -> IngestSpec {
        let settings = json!({
            "paths": self.paths,
            "author": "unknown",
            "access_policy": "internal",
            "text": self.shape.text(),
            "records": self.records,
        });
        serde_json::from_value(settings).expect("these are settings of an ingestion")
    }

    fn go_through(&mut self) -> Result<(), Error> {
        let spec = self.spec();
        let mut cleaner = Cleaner::new(&spec, [0; 32])?;
        let options = spec.reader_options().map_err(|why| Error::refused("`records`", why))?;
        let exchange = match &self.shape {
            Shape::Pair { instruction, input, output, .. } => {
                let input = input.as_deref().unwrap_or_default();
                Some(Templates::new([("instruction", instruction.as_str()), ("input", input), ("output", output)])?)
            }
            _ => None,
        };
        let mut seen = 0;
        for path in self.paths.clone() {
            let read = readers::read_path::<Stop>(&path, &options, &mut |item| {
                match item {
                    Item::Record(record) => {
                        self.weigh(&record);
                        self.take(&mut cleaner, exchange.as_ref(), record);
                    }
                    Item::Rejected(rejected) => *self.rejected.entry(rejected.rule.to_owned()).or_default() += 1,
                    Item::FileRead(file) if self.records.is_some() => self.source_bytes += file.bytes,
                    Item::FileRead(_) => {}
                }
                seen += 1;
                if seen < RECORDS_MAX { Ok(()) } else { Err(Stop::Enough) }
            });
            match read {
                Ok(_) => {}
                Err(Stop::Enough) => {
                    self.more = true;
                    break;
                }
                Err(Stop::Failed(error)) => return Err(error),
            }
        }
        Ok(())
    }

    /// Inner records have what stands around them each, so of them it is their files that are weighed.
    fn weigh(&mut self, record: &Record) {
        let whole = record.text.as_ref().map_or(0, |text| text.len() as u64);
        let mut bytes = whole;
        for (name, value) in &record.fields {
            let size = value.as_str().map_or_else(|| value.to_string().len(), str::len) as u64;
            bytes += size;
            if !self.shape.uses(name) {
                *self.left_out.entry(name.clone()).or_default() += size;
            }
        }
        if self.records.is_none() {
            self.source_bytes += bytes;
        }
    }

    fn take(&mut self, cleaner: &mut Cleaner, exchange: Option<&Templates>, record: Record) {
        match cleaner.clean(record) {
            Ok(Cleaned { document, fingerprint, text, fields, .. }) => {
                self.kept.push(Kept { document, fingerprint, bytes: text.len() as u64 });
                let rendered = |name: &str| exchange?.render(name, &fields, Some(&text)).ok();
                let Some(answer) = rendered("output") else { return };
                self.output_chars_max = self.output_chars_max.max(answer.chars().count());
                if self.outputs.len() < OUTPUTS_MAX {
                    let parts = ["instruction", "input"].map(|name| rendered(name).map_or(0, |part| part.len()));
                    self.exchange_bytes.push((parts.iter().sum::<usize>() + answer.len()) as u64);
                    self.outputs.push(answer);
                }
            }
            Err(turned) => *self.rejected.entry(turned.rule.to_owned()).or_default() += 1,
        }
    }

    pub(super) fn describe_rejected(&self) -> String {
        let rules: Vec<String> = self.rejected.iter().map(|(rule, count)| format!("{rule} {count}")).collect();
        format!("{}: rejected {}", self.name, if rules.is_empty() { "none".to_owned() } else { rules.join(", ") })
    }

    /// Whether some document of the other says the same.
    pub(super) fn overlaps(&self, other: &Group) -> bool {
        let own: HashSet<Blake3> = self.kept.iter().map(|kept| kept.fingerprint).collect();
        other.kept.iter().any(|kept| own.contains(&kept.fingerprint))
    }
}

/// As a job, dataset or project is named.
pub(super) fn sanitised(name: &str) -> String {
    const LENGTH_MAX: usize = 40;
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let spaced: String = name.chars().map(plain).collect();
    let parts: Vec<&str> = spaced.split('-').filter(|part| !part.is_empty()).collect();
    let joined: String = parts.join("-").chars().take(LENGTH_MAX).collect();
    let trimmed = joined.trim_matches('-');
    if trimmed.is_empty() { "documents".to_owned() } else { trimmed.to_owned() }
}

fn held_out(name: &str) -> Option<&'static str> {
    let says = |words: &[&str]| name.split('-').any(|part| words.contains(&part));
    if says(&["test", "heldout", "holdout", "eval", "exam"]) {
        Some("test")
    } else if says(&["valid", "validation", "val", "dev"]) {
        Some("validation")
    } else {
        None
    }
}
