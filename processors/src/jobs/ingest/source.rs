//! The sources of an ingestion: a path each. Their names, and the digests of the files they hold.

use crate::pipeline::IngestSpec;
use crate::{Error, readers};
use cairn_schemas::Blake3;
use serde_json::{Value, json};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;
use walkdir::WalkDir;

/// One path of the job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Source {
    /// The job's name; followed by the path's own where the job has several.
    pub(super) name: String,
    /// As given in the pipeline.
    pub(super) path: PathBuf,
}

pub(super) fn all(spec: &IngestSpec, job: &str) -> Vec<Source> {
    let [path] = spec.paths.as_slice() else {
        let named = |path: &PathBuf| Source { name: format!("{job}/{}", last_name(path)), path: path.clone() };
        return distinct(spec.paths.iter().map(named).collect());
    };
    vec![Source { name: job.to_owned(), path: path.clone() }]
}

fn last_name(path: &Path) -> String {
    path.file_name().map_or_else(|| "root".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// Paths that end alike get their number behind.
fn distinct(mut sources: Vec<Source>) -> Vec<Source> {
    for at in 1..sources.len() {
        let taken = |name: &String| sources[..at].iter().any(|other| other.name == *name);
        if taken(&sources[at].name) {
            sources[at].name = format!("{}-{}", sources[at].name, at + 1);
        }
    }
    sources
}

/// Path in its source, BLAKE3 and, where documents are dated by it, the time of last modification of every file.
pub(super) fn digests(spec: &IngestSpec, base_dir: &Path) -> Result<Value, Error> {
    let mut found = Vec::new();
    for given in &spec.paths {
        let path = base_dir.join(given);
        let metadata = std::fs::metadata(&path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => Error::from(readers::Error::NotFound { path: path.clone() }),
            _ => Error::Io { action: "read", path: path.clone(), source },
        })?;
        if metadata.is_file() {
            found.push(digest(spec, given.display().to_string(), &path)?);
            continue;
        }
        for entry in
            WalkDir::new(&path).sort_by_file_name().into_iter().filter_entry(|e| e.depth() == 0 || !is_hidden(e))
        {
            // A file that cannot be read is rejected by name when the source is read.
            let Ok(entry) = entry else { continue };
            if entry.file_type().is_file() {
                let inside = entry.path().strip_prefix(&path).unwrap_or(entry.path());
                found.push(digest(spec, given.join(inside).display().to_string(), entry.path())?);
            }
        }
    }
    Ok(found.into())
}

fn is_hidden(entry: &walkdir::DirEntry) -> bool {
    entry.file_name().as_encoded_bytes().starts_with(b".")
}

fn digest(spec: &IngestSpec, name: String, path: &Path) -> Result<Value, Error> {
    let Ok(mut file) = File::open(path) else { return Ok(json!([name])) };
    let mut hasher = blake3::Hasher::new();
    io::copy(&mut file, &mut hasher).map_err(Error::io("read", path))?;
    let digest = Blake3::from_bytes(*hasher.finalize().as_bytes());
    let modified = file.metadata().and_then(|metadata| metadata.modified()).ok();
    let modified = modified.filter(|_| spec.timestamp.is_none()).and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    Ok(json!([name, digest, modified.map(|time| time.as_micros() as u64)]))
}

/// What stands before a record's own place: the name of the folder, where a folder was given.
pub(super) fn uri_prefix(given: &Path, base_dir: &Path) -> String {
    let name = given.file_name().filter(|_| base_dir.join(given).is_dir());
    name.map(|name| format!("{}/", name.to_string_lossy())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_have_names_of_their_own() {
        let spec = |paths: &[&str]| -> IngestSpec { serde_json::from_value(json!({ "paths": paths })).unwrap() };
        let names = |paths: &[&str]| all(&spec(paths), "docs").into_iter().map(|s| s.name).collect::<Vec<_>>();
        assert_eq!(names(&["../a/train.jsonl"]), ["docs"]);
        assert_eq!(names(&["a/x.md", "b/x.md", ".."]), ["docs/x.md", "docs/x.md-2", "docs/root"]);
    }
}
