//! The schema is committed, so that a change of it is seen. `CAIRN_UPDATE=1 cargo test -p cairn-server --test sdl` writes it.

use std::path::Path;

#[test]
fn the_committed_schema_is_the_servers() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas/graphql/cairn.graphql");
    let sdl = cairn_server::sdl();
    if std::env::var_os("CAIRN_UPDATE").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &sdl).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    let differing = committed.lines().zip(sdl.lines()).position(|(committed, now)| committed != now);
    assert!(
        committed == sdl,
        "schemas/graphql/cairn.graphql differs from the server's schema, first at line {}; CAIRN_UPDATE=1 writes it",
        differing.map_or_else(|| "after its end".to_owned(), |line| (line + 1).to_string())
    );
}

#[test]
fn every_type_field_and_argument_is_documented() {
    let sdl = cairn_server::sdl();
    let (mut documented, mut in_text) = (false, false);
    // The last block names the three roots and nothing of ours.
    let ours = sdl.split("\nschema {").next().unwrap();
    for (number, line) in ours.lines().enumerate() {
        let trimmed = line.trim();
        if trimmed == "\"\"\"" {
            (in_text, documented) = (!in_text, true);
        }
        if in_text || trimmed == "\"\"\"" {
            continue;
        }
        let ours = line.starts_with('\t') && !trimmed.starts_with(['}', ')']);
        let declared = ["type ", "enum ", "scalar ", "input "].iter().any(|word| line.starts_with(word));
        assert!(documented || !(ours || declared), "line {}: `{trimmed}` has no description", number + 1);
        documented = false;
    }
}
