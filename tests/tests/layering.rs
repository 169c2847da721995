//! Imports go down the floors of the house and never up: held over the manifests (`cargo metadata`) and the sources.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// Each crate and the crates of the house that it may know.
const MAY_KNOW: &[(&str, &[&str])] = &[
    ("cairn-schemas", &[]),
    ("cairn-gpu", &[]),
    ("cairn-ledger", &["cairn-schemas"]),
    ("cairn-projections", &["cairn-ledger", "cairn-schemas"]),
    ("cairn-processors", &["cairn-gpu", "cairn-ledger", "cairn-projections", "cairn-schemas"]),
    ("cairn-server", &["cairn-gpu", "cairn-ledger", "cairn-processors", "cairn-projections", "cairn-schemas"]),
    (
        "cairn-cli",
        &["cairn-gpu", "cairn-ledger", "cairn-processors", "cairn-projections", "cairn-schemas", "cairn-server"],
    ),
];

/// Libraries that only one crate may name, so that their types leak nowhere.
const ONLY_IN: &[(&str, &[&str])] = &[
    ("ort", &["cairn-gpu"]),
    ("sled", &["cairn-projections"]),
    ("fjall", &["cairn-projections"]),
    ("axum", &["cairn-server"]),
    ("async-graphql", &["cairn-server"]),
    ("ed25519-dalek", &["cairn-ledger"]),
];

fn metadata() -> serde_json::Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(cairn_tests::root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Name, folder, and normal dependencies of every member.
fn members() -> BTreeMap<String, (std::path::PathBuf, BTreeSet<String>)> {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().unwrap();
    let member = |package: &serde_json::Value| {
        let manifest = std::path::PathBuf::from(package["manifest_path"].as_str().unwrap());
        let dependencies = package["dependencies"].as_array().unwrap().iter();
        let normal = dependencies.filter(|d| d["kind"].is_null()).map(|d| d["name"].as_str().unwrap().to_owned());
        (package["name"].as_str().unwrap().to_owned(), (manifest.parent().unwrap().to_owned(), normal.collect()))
    };
    packages.iter().map(member).collect()
}

#[test]
fn every_crate_knows_only_the_floors_below() {
    let members = members();
    let listed: BTreeSet<&str> = MAY_KNOW.iter().map(|(name, _)| *name).chain(["cairn-tests"]).collect();
    let present: BTreeSet<&str> = members.keys().map(String::as_str).collect();
    assert_eq!(present, listed, "a crate has no floor, or a floor no crate");
    for (name, allowed) in MAY_KNOW {
        let (folder, dependencies) = &members[*name];
        for dependency in dependencies.iter().filter(|d| d.starts_with("cairn-")) {
            assert!(allowed.contains(&dependency.as_str()), "{name} must not know {dependency} ({})", folder.display());
        }
        for (library, homes) in ONLY_IN {
            assert!(!dependencies.contains(*library) || homes.contains(name), "{name} must not know {library}");
        }
    }
}

#[test]
fn sources_name_no_crate_that_their_manifest_does_not() {
    for (name, (folder, dependencies)) in members() {
        for file in walkdir::WalkDir::new(folder.join("src")).into_iter().map(Result::unwrap) {
            if file.path().extension().is_none_or(|e| e != "rs") {
                continue;
            }
            let text = std::fs::read_to_string(file.path()).unwrap();
            for (other, _) in MAY_KNOW {
                let mentioned = text.contains(&format!("{}::", other.replace('-', "_")));
                let known = *other == name || dependencies.contains(*other);
                assert!(!mentioned || known, "{} names {other}", file.path().display());
            }
        }
    }
}

#[test]
fn no_source_file_outgrows_its_room() {
    const LINES_MAX: usize = 800;
    for (_, (folder, _)) in members() {
        for file in walkdir::WalkDir::new(folder).into_iter().map(Result::unwrap) {
            if file.path().extension().is_some_and(|e| e == "rs") {
                let lines = std::fs::read_to_string(file.path()).unwrap().lines().count();
                assert!(lines <= LINES_MAX, "{} has {lines} lines: split it", file.path().display());
            }
        }
    }
}
