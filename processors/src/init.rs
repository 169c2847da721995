//! `init_pipeline`: looks at data and writes a commented pipeline for it that runs as it is.
//!
//! It reads what an ingestion would read, by the same rules, so that what the comments say is what happened to the
//! records and the splits it proposes are not empty.

mod level;
mod look;
mod plan;
mod shape;
mod write;

use crate::{Error, Pipeline};
use std::path::{Path, PathBuf};

/// Most paths that are looked at.
const PATHS_MAX: usize = 100;

/// A pipeline over these files and folders, as YAML with comments. Paths stand in it as they are given, so the file
/// belongs into the folder that they are relative to.
pub fn init_pipeline(paths: &[PathBuf]) -> Result<String, Error> {
    if paths.is_empty() || paths.len() > PATHS_MAX {
        let why = format!("name 1 to {PATHS_MAX} files or folders; supported: {}", crate::readers::SUPPORTED);
        return Err(Error::refused(format!("{} paths", paths.len()), why));
    }
    let groups = look::groups(paths)?;
    let text = write::pipeline(&plan::Plan::of(groups)?);
    Pipeline::parse(&text, Path::new("."))
        .map_err(|e| Error::Stored { what: "the pipeline".into(), why: e.to_string() })?;
    Ok(text)
}
