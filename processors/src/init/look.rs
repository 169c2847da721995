//! Looking at the files: their kinds, shapes and sizes, and what an ingestion would keep of them.

use super::shape::Shape;
use crate::Error;
use crate::jobs::ingest::{Cleaned, Cleaner};
use crate::pipeline::IngestSpec;
use crate::readers::{self, Item, Record};
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
    pub(super) shape: Shape,
    /// What the file's name says it is for: `test` or `validation`.
    pub(super) held_out: Option<&'static str>,
    pub(super) kept: Vec<Kept>,
    pub(super) rejected: BTreeMap<String, u64>,
    pub(super) outputs: Vec<String>,
    pub(super) output_chars_max: usize,
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
        for (shape, files) in shapes(path)? {
            groups.push(Group::of(path, shape, files)?);
        }
    }
    if groups.iter().all(|group: &Group| group.kept.is_empty()) {
        let found: Vec<String> = groups.iter().map(Group::describe_rejected).collect();
        return Err(Error::refused("no document could be kept", found.join("; ")));
    }
    groups.retain(|group| !group.kept.is_empty());
    Ok(groups)
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
    file: String,
    records: Vec<Map<String, Value>>,
    is_document: bool,
}

/// The shapes under one path, each with its files; no files where the whole path is of one shape.
fn shapes(path: &Path) -> Result<Vec<(Shape, Vec<PathBuf>)>, Error> {
    let mut samples: Vec<Sample> = Vec::new();
    let read = readers::read_path::<Stop>(path, &readers::Options::default(), &mut |item| {
        let Item::Record(record) = item else { return Ok(()) };
        let file = record.source_uri.split('#').next().unwrap_or_default().to_owned();
        if samples.last().is_none_or(|last| last.file != file) {
            samples.push(Sample { file, records: Vec::new(), is_document: record.text.is_some() });
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
        Ok(_) | Err(Stop::Enough) => {}
        Err(Stop::Failed(error)) => return Err(error),
    }
    let mut found: Vec<(Shape, Vec<PathBuf>)> = Vec::new();
    let mut refused = None;
    for Sample { file, records, is_document } in samples {
        let shape = if is_document { Ok(Shape::Document) } else { Shape::of(&records) };
        let shape = match shape {
            Ok(shape) => shape,
            Err(why) => {
                refused.get_or_insert_with(|| format!("{}: {why}", path.join(&file).display()));
                continue;
            }
        };
        match found.iter_mut().find(|(known, _)| *known == shape) {
            Some((_, files)) => files.push(path.join(file)),
            None => found.push((shape, vec![path.join(file)])),
        }
    }
    if found.is_empty() {
        let why = refused.unwrap_or_else(|| format!("no record could be read; supported: {}", readers::SUPPORTED));
        return Err(Error::refused(path.display().to_string(), why));
    }
    if found.len() == 1 && refused.is_none() {
        found[0].1.clear();
    }
    Ok(found)
}

impl Group {
    fn of(path: &Path, shape: Shape, mut files: Vec<PathBuf>) -> Result<Self, Error> {
        files.truncate(LISTED_FILES_MAX);
        let several = !files.is_empty();
        let paths = if several { files } else { vec![path.to_owned()] };
        let stem = path.file_stem().or_else(|| path.file_name());
        let mut name = sanitised(&stem.map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default());
        if several && shape == Shape::Document {
            name.push_str("-texts");
        }
        let held_out = held_out(&name);
        let mut group = Self {
            name,
            paths,
            shape,
            held_out,
            kept: Vec::new(),
            rejected: BTreeMap::new(),
            outputs: Vec::new(),
            output_chars_max: 0,
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
        });
        serde_json::from_value(settings).expect("these are settings of an ingestion")
    }

    fn go_through(&mut self) -> Result<(), Error> {
        let mut cleaner = Cleaner::new(&self.spec(), [0; 32])?;
        let output = match &self.shape {
            Shape::Pair { output, .. } => Some(Templates::new([("output", output.as_str())])?),
            _ => None,
        };
        let mut seen = 0;
        for path in self.paths.clone() {
            let read = readers::read_path::<Stop>(&path, &readers::Options::default(), &mut |item| {
                match item {
                    Item::Record(record) => self.take(&mut cleaner, output.as_ref(), record),
                    Item::Rejected(rejected) => *self.rejected.entry(rejected.rule.to_owned()).or_default() += 1,
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

    fn take(&mut self, cleaner: &mut Cleaner, output: Option<&Templates>, record: Record) {
        match cleaner.clean(record) {
            Ok(Cleaned { document, fingerprint, text, fields, .. }) => {
                self.kept.push(Kept { document, fingerprint, bytes: text.len() as u64 });
                let answer = output.and_then(|output| output.render("output", &fields, Some(&text)).ok());
                if let Some(answer) = answer {
                    self.output_chars_max = self.output_chars_max.max(answer.chars().count());
                    if self.outputs.len() < OUTPUTS_MAX {
                        self.outputs.push(answer);
                    }
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
