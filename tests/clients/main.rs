//! The clients against the real server: `clients/python` by pytest, mypy and ruff, in environments of their own.

mod server;

use cairn_tests::outside::{python, run, skipped};
use server::Server;
use std::path::{Path, PathBuf};
use std::process::Command;

fn package() -> PathBuf {
    cairn_tests::root().join("clients/python")
}

/// The interpreter of an environment under `.cache/`; `None`, with the reason printed, where it cannot be had.
fn environment(name: &str, minor: u32, requirements: &str) -> Option<PathBuf> {
    let requirements = cairn_tests::root().join("tests/clients").join(requirements);
    python(name, minor, &requirements).map_err(|why| skipped("the Python client", &why)).ok()
}

/// With every optional package.
fn full() -> Option<PathBuf> {
    environment("python-clients", 11, "requirements.txt")
}

/// With httpx alone, on the oldest Python there is.
fn bare() -> Option<PathBuf> {
    environment("python-clients-oldest", 9, "requirements-oldest.txt")
}

/// A module of the environment, run in the package's folder without leaving anything there.
fn module(python: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(python);
    command.args(["-B", "-m"]).args(arguments).current_dir(package()).env("PYTHONPATH", package().join("src"));
    command.env("MPLBACKEND", "agg").env_remove("CAIRN_URL");
    command
}

/// Runs the tests against a fresh server of their own and, where there is one, a server of what others published.
fn pytest(python: &Path, published: Option<&Server>) {
    let server = Server::start(&[], &[]);
    let mut command = module(python, &["pytest", "-p", "no:cacheprovider", "-q"]);
    command.env("CAIRN_TEST_URL", &server.url);
    if let Some(published) = published {
        command.env("CAIRN_TEST_REAL_URL", &published.url);
    }
    let said = run(&mut command).unwrap_or_else(|e| panic!("{e}"));
    let said = String::from_utf8(said).unwrap();
    println!("{said}");
    assert!(said.contains(" passed"), "{said}");
}

#[test]
fn the_python_client_gets_right_answers_from_the_real_server() {
    let Some(python) = full() else { return };
    let data = |folder: &str| cairn_tests::root().join("tests/data").join(folder).display().to_string();
    let import = |kind: &str, folder: &str| ["import", kind, &data(folder), "--project", kind].map(String::from);
    let published =
        [import("ladder", "olmo/ladder"), import("olmo", "olmo/official-1124"), import("datadecide", "datadecide")];
    pytest(&python, Some(&Server::start(&published, &[])));
}

#[test]
fn it_works_on_the_oldest_python_without_any_optional_package() {
    let Some(python) = bare() else { return };
    pytest(&python, None);
}

#[test]
fn it_is_typed_tidy_and_what_the_schema_says() {
    let Some(python) = full() else { return };
    let cache = tempfile::tempdir().unwrap();
    let cache = cache.path().to_str().unwrap();
    let mut generate = Command::new(&python);
    generate.arg("-B").arg(package().join("scripts/generate.py")).current_dir(cache);
    if std::env::var_os("CAIRN_UPDATE").is_none() {
        generate.arg("--check");
    }
    run(&mut generate).unwrap_or_else(|e| panic!("{e}"));
    for arguments in [
        &["mypy", "--strict", "--cache-dir", cache][..],
        &["ruff", "check", "--no-cache", "."],
        &["ruff", "format", "--no-cache", "--check", "."],
    ] {
        run(&mut module(&python, arguments)).unwrap_or_else(|e| panic!("{e}"));
    }
}

#[test]
fn it_installs_as_a_typed_package() {
    let Some(python) = full() else { return };
    let place = tempfile::tempdir().unwrap();
    // A copy: building leaves files beside the sources.
    let (copy, target) = (place.path().join("copy"), place.path().join("target"));
    run(Command::new("cp").arg("-r").arg(package()).arg(&copy)).unwrap();
    let flags = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--target"];
    run(Command::new(&python).args(flags).arg(&target).arg(&copy)).unwrap_or_else(|e| panic!("{e}"));
    assert!(target.join("cairn/py.typed").exists() && !target.join("tests").exists());
    let mut said = Command::new(&python);
    said.args(["-c", "import cairn; print(cairn.__version__)"]).env("PYTHONPATH", &target).current_dir(place.path());
    assert_eq!(run(&mut said).unwrap_or_else(|e| panic!("{e}")), b"0.1.0\n");
}
