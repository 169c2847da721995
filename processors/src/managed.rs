//! Copies that Cairn wrote outside the ledger's own files (bundles, model folders, the `--artifacts` layout): where they
//! are, so that an erasure can remove those that hold what is erased.

use crate::{Context, Error};
use cairn_schemas::{Blake3, Ref};
use std::path::{Path, PathBuf};

/// Where the notes stand in the data directory: one file a copy, that holds its path.
const FOLDER: &str = "exports";
const BUNDLE: &str = "bundle";
const LAYOUT: &str = "layout";

/// Notes where a bundle was written.
pub(crate) fn note_bundle(ctx: &Context, export: &str, path: &Path) -> Result<(), Error> {
    note(ctx, &format!("{BUNDLE}-{export}"), path)
}

/// Notes where the layout of document 02 was written.
pub(crate) fn note_layout(ctx: &Context, path: &Path) -> Result<(), Error> {
    let path = absolute(path)?;
    let name = Blake3::of(path.as_os_str().as_encoded_bytes()).to_hex();
    note(ctx, &format!("{LAYOUT}-{}", &name[..16]), &path)
}

fn note(ctx: &Context, name: &str, path: &Path) -> Result<(), Error> {
    let path = absolute(path)?;
    let folder = folder(ctx);
    std::fs::create_dir_all(&folder).map_err(Error::io("make", &folder))?;
    let file = folder.join(name);
    std::fs::write(&file, format!("{}\n", path.display())).map_err(Error::io("write", &file))
}

fn absolute(path: &Path) -> Result<PathBuf, Error> {
    std::path::absolute(path).map_err(Error::io("resolve", path))
}

fn folder(ctx: &Context) -> PathBuf {
    ctx.data_dir().join(FOLDER).join(ctx.tenant().as_str())
}

/// Removes the bundles of these exports and the folders of these dataset versions; gives what was there and is gone.
pub(crate) fn remove(ctx: &Context, exports: &[String], datasets: &[Ref]) -> Result<Vec<PathBuf>, Error> {
    let folder = folder(ctx);
    let mut removed = Vec::new();
    let Ok(notes) = std::fs::read_dir(&folder) else { return Ok(removed) };
    for note in notes {
        let file = note.map_err(Error::io("list", &folder))?.path();
        let path = std::fs::read_to_string(&file).map_err(Error::io("read", &file))?;
        let path = PathBuf::from(path.trim_end_matches('\n'));
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        match name.split_once('-') {
            Some((BUNDLE, export)) if exports.iter().any(|erased| erased == export) => {
                // Only what still is a bundle: somebody may have put another thing there.
                if cairn_ledger::looks_like_bundle(&path) {
                    remove_folder(&path, &mut removed)?;
                }
                std::fs::remove_file(&file).map_err(Error::io("remove", &file))?;
            }
            Some((LAYOUT, _)) => {
                for dataset in datasets {
                    let copy = path.join("datasets").join(crate::artifacts_layout::dataset_version(dataset));
                    if copy.is_dir() {
                        remove_folder(&copy, &mut removed)?;
                    }
                }
            }
            _ => {}
        }
    }
    Ok(removed)
}

fn remove_folder(path: &Path, removed: &mut Vec<PathBuf>) -> Result<(), Error> {
    std::fs::remove_dir_all(path).map_err(Error::io("remove", path))?;
    removed.push(path.to_owned());
    Ok(())
}
