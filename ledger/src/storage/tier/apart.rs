//! A folder as an object store must not be the ledger's own: an object and the local copy that is dropped for it would
//! be one file.

use crate::error::Error;
use std::io;
use std::path::{Path, PathBuf};

/// Refuses a store whose folder, or the `logs` in it, holds the ledger in `dir` or lies in it, whatever leads there.
pub(super) fn check(url: &str, dir: &Path) -> Result<(), Error> {
    let Some(store) = url.strip_prefix("file://").map(Path::new).filter(|path| path.is_absolute()) else {
        return Ok(());
    };
    let both = |folder: &Path| {
        let found = [folder.to_owned(), folder.join("logs")].map(|path| real(&path));
        let [folder, logs] = found.map(|found| found.map_err(Error::io("finding", folder)));
        Ok::<_, Error>([folder?, logs?])
    };
    let dir = std::path::absolute(dir).map_err(Error::io("finding", dir))?;
    let (theirs, ours) = (both(store)?, both(&dir)?);
    let overlap = |a: &PathBuf, b: &PathBuf| a.starts_with(b) || b.starts_with(a);
    match theirs.iter().any(|their| ours.iter().any(|our| overlap(their, our))) {
        false => Ok(()),
        true => {
            let why = format!(
                "this folder and the ledger's own, {}, are one or lie in each other; an object store is another folder",
                ours[0].display()
            );
            Err(Error::Key { path: url.into(), why })
        }
    }
}

/// The path without links, also where its end does not exist yet.
fn real(path: &Path) -> io::Result<PathBuf> {
    match (path.canonicalize(), path.parent(), path.file_name()) {
        (Err(e), Some(parent), Some(name)) if e.kind() == io::ErrorKind::NotFound => Ok(real(parent)?.join(name)),
        (found, ..) => found,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_overlaps_the_ledger_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let data = root.path().join("data");
        std::fs::create_dir_all(data.join("logs")).unwrap();
        std::os::unix::fs::symlink(&data, root.path().join("link")).unwrap();
        std::fs::create_dir(root.path().join("linked-logs")).unwrap();
        std::os::unix::fs::symlink(data.join("logs"), root.path().join("linked-logs/logs")).unwrap();
        let url = |name: &str| format!("file://{}", root.path().join(name).display());
        for name in
            ["data", "data/", "data/logs", "data/new/store", "", "link", "link/new", "linked-logs", "data/../data"]
        {
            let refused = check(&url(name), &data).unwrap_err().to_string();
            assert!(refused.contains("the ledger's own"), "{name}: {refused}");
        }
        for name in ["data2", "store/new", "data/../store"] {
            check(&url(name), &data).unwrap();
        }
        assert!(check(&url("new"), &root.path().join("new")).is_err(), "also where neither exists yet");
    }
}
