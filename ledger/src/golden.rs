//! Golden bytes: what docs/format.md shows, what `tests/golden` holds and what the code writes are one and the same.

use crate::checkpoint::tests::example as checkpoint_example;
use crate::entry::tests::example as entry_example;
use crate::frame::tests::example as frame_example;
use crate::{chain, payload};
use cairn_schemas::TypeCode;
use std::collections::BTreeMap;
use std::path::Path;

fn here(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Compares with the committed text. The format is fixed: a difference is a fault, unless a new version was added.
fn assert_golden(name: &str, text: &str) {
    let path = here("tests/golden").join(name);
    if std::env::var_os("CAIRN_UPDATE").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap();
    assert_eq!(committed, text, "{}", path.display());
    let page = std::fs::read_to_string(here("../docs/format.md")).unwrap();
    for line in text.lines() {
        assert!(page.contains(line), "docs/format.md lacks `{line}` of {name}");
    }
}

/// Hex in lines of 32 bytes.
fn lines(bytes: &[u8]) -> String {
    bytes.chunks(32).map(|chunk| hex::encode(chunk) + "\n").collect()
}

#[test]
fn entry() {
    assert_golden("entry.hex", &lines(&entry_example().encode()));
}

#[test]
fn frame() {
    assert_golden("frame.hex", &lines(&frame_example()));
}

#[test]
fn checkpoint_and_keys() {
    let (signer, signed) = checkpoint_example();
    assert_golden("checkpoint.txt", &signed.note);
    assert_golden("verifier.key", &format!("{}\n", signer.verifier().encode()));
    assert_golden("signing.key", &format!("{}\n", signer.encode()));
}

#[test]
fn hashes() {
    let genesis = chain::genesis("log.example.com/default/main/0");
    let next = chain::next(&genesis, &[0, 1, 0xff]);
    let commitment = payload::commitment(&[0x5a; 32], b"hello cairn");
    let keys = payload::MacKeys::derive(&[0x11; 32]);
    let identity = hex::encode(keys.identity("default", "test", "e1").0);
    let extensions = BTreeMap::from([("shade".to_owned(), "green".to_owned())]);
    let content = hex::encode(keys.content(&payload::Content {
        event_type: TypeCode { code: 0x0a02, version: 1 },
        stream: "custom:test.said",
        causation: None,
        extensions: &extensions,
        data: b"data",
        personal: &[],
    }));
    let stream = hex::encode(keys.stream("custom:test.said").0);
    let text = format!(
        "genesis {genesis}\nnext {next}\ncommitment {commitment}\nidentity {identity}\ncontent {content}\nstream {stream}\n"
    );
    assert_golden("hashes.txt", &text);
}
