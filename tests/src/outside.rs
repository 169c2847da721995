//! Tools that are not ours (Python and its packages, Go), each in an environment of its own under `.cache/`.
//!
//! What a machine lacks is no failure: the reason is given, and whoever asked prints it and goes on.

use crate::root;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs a command to its end. `Err` holds what it printed.
pub fn run(command: &mut Command) -> Result<Vec<u8>, String> {
    let output = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    match output.status.success() {
        true => Ok(output.stdout),
        false => {
            let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            Err(format!("{command:?} ended with {}:\n{out}\n{err}", output.status))
        }
    }
}

/// Prints why a part of the test did not run.
pub fn skipped(what: &str, why: &str) {
    println!("SKIPPED {what}: {}", why.trim());
    eprintln!("SKIPPED {what}: {}", why.trim());
}

/// An interpreter of at least version 3.`minor` with these packages, in `.cache/<name>`. `Err` says what is missing.
///
/// `requirements` pins versions and digests; where it changes, the environment is made anew.
pub fn python(name: &str, minor: u32, requirements: &Path) -> Result<PathBuf, String> {
    let folder = root().join(".cache").join(name);
    std::fs::create_dir_all(root().join(".cache")).map_err(|e| e.to_string())?;
    // Test processes that want the same environment wait for one another.
    let lock = File::create(folder.with_extension("lock")).map_err(|e| e.to_string())?;
    lock.lock().map_err(|e| e.to_string())?;
    let wanted = std::fs::read(requirements).map_err(|e| e.to_string())?;
    let (stamp, python) = (folder.join("requirements.txt"), folder.join("bin/python"));
    if std::fs::read(&stamp).is_ok_and(|found| found == wanted) && version(&python).is_some_and(|found| found >= minor)
    {
        return Ok(python);
    }
    let base = interpreter(minor).ok_or(format!("no Python 3.{minor} or later on this machine"))?;
    run(Command::new(base).args(["-m", "venv", "--clear"]).arg(&folder))?;
    let arguments = ["-m", "pip", "install", "--quiet", "--require-hashes", "--only-binary=:all:", "--requirement"];
    run(Command::new(&python).args(arguments).arg(requirements))?;
    std::fs::write(&stamp, wanted).map_err(|e| e.to_string())?;
    Ok(python)
}

/// The first interpreter that is new enough, on the path or among those that pyenv keeps.
fn interpreter(minor: u32) -> Option<PathBuf> {
    let names = (minor..minor + 4).rev().map(|minor| format!("python3.{minor}")).chain(["python3".into()]);
    let kept = std::env::var_os("HOME").map(|home| Path::new(&home).join(".pyenv/versions"));
    let kept = kept.and_then(|folder| std::fs::read_dir(folder).ok()).into_iter().flatten().flatten();
    let mut all: Vec<PathBuf> = names.map(PathBuf::from).collect();
    all.extend(kept.map(|version| version.path().join("bin/python3")));
    all.into_iter().filter(|python| version(python).is_some_and(|found| found >= minor)).max_by_key(|python| {
        // The oldest that will do: it is the one with the most ready-made packages.
        std::cmp::Reverse(version(python))
    })
}

/// The minor version of a Python 3 that runs and can make environments.
fn version(python: &Path) -> Option<u32> {
    let script = "import sys, venv, ensurepip; print(sys.version_info.minor * (sys.version_info.major == 3))";
    let output = Command::new(python).args(["-c", script]).output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}
