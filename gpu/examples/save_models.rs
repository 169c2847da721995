//! Writes the small models of `tests/golden/models` as folders, read in and written out by this crate, for
//! `tests/golden/check_saved.py`, which loads them with transformers:  save_models FOLDER

#[allow(dead_code, reason = "shared with tests")]
#[path = "../tests/folders/mod.rs"]
mod folders;

use std::path::PathBuf;

use cairn_gpu::{FolderParts, ModelFolder};
use folders::Golden;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let target = PathBuf::from(std::env::args().nth(1).ok_or("usage: save_models FOLDER")?);
    for entry in std::fs::read_dir(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/models"))? {
        let path = entry?.path();
        let name = path.file_stem().and_then(|name| name.to_str()).ok_or("a golden has a name")?;
        let dir = tempfile::tempdir()?;
        Golden::read(name).write(dir.path());
        let folder = ModelFolder::open(dir.path())?;
        ModelFolder::write(&target.join(name), folder.config(), &folder.weights()?, &FolderParts::default())?;
        println!("{}", target.join(name).display());
    }
    Ok(())
}
