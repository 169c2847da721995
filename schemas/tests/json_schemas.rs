//! `schemas/json` holds what the types say. `CAIRN_UPDATE=1` writes it anew.

use std::collections::BTreeSet;
use std::path::Path;

#[test]
fn committed_schemas_are_what_the_types_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("json");
    let update = std::env::var_os("CAIRN_UPDATE").is_some();
    let files = cairn_schemas::json_schema::files();
    for (name, text) in &files {
        let path = folder.join(name);
        if update {
            std::fs::write(&path, text).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(&committed, text, "{name} is out of date: run `make generate`");
    }
    let named: BTreeSet<String> = files.into_iter().map(|(name, _)| name).collect();
    let present: BTreeSet<String> =
        std::fs::read_dir(&folder).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(present, named, "a schema that no type has any more lies in schemas/json");
}
