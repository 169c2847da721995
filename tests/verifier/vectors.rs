//! Committed directories, sound and forged, with what must be said of each. A forger can make every checksum right; chain,
//! commitments, tree and signature are what is left to find it by.
//!
//! `CAIRN_UPDATE=1` writes `vectors.json` anew, from the committed ledger and the verdicts of Cairn's own verifier.

use crate::support::*;
use cairn_ledger::Ledger;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

const SEGMENTS: &str = "logs/default/main/0/segments";

/// Files by path; the changes of one vector are made to a copy of the committed ledger.
struct Forgery(Vec<(PathBuf, Vec<u8>)>);

impl Forgery {
    fn file(&mut self, path: &str) -> &mut Vec<u8> {
        let found = self.0.iter_mut().find(|(name, _)| name == Path::new(path));
        &mut found.unwrap_or_else(|| panic!("no file {path}")).1
    }
    fn segment(&mut self, name: &str) -> &mut Vec<u8> {
        self.file(&format!("{SEGMENTS}/{name}"))
    }
    fn add(&mut self, path: &str, bytes: Vec<u8>) {
        self.0.push((path.into(), bytes));
    }
    fn remove(&mut self, path: &str) {
        self.0.retain(|(name, _)| name != Path::new(path));
    }
}

fn number(bytes: &[u8]) -> usize {
    bytes.iter().fold(0, |number, &byte| number << 8 | usize::from(byte))
}

/// Makes the checksums of a sealed object right again: of its one stretch or block, and of its footer.
fn reseal(object: &mut [u8]) {
    let tail = object.len() - 16;
    let footer = tail - number(&object[tail..tail + 4]);
    let is_entries = &object[tail + 8..] == b"CAIRNENT";
    let checksum = crc32c::crc32c(&object[..footer]).to_be_bytes();
    let at = footer + if is_entries { 116 + 8 } else { 36 + 24 };
    object[at..at + 4].copy_from_slice(&checksum);
    let checksum = crc32c::crc32c(&object[footer..tail]).to_be_bytes();
    object[tail + 4..tail + 8].copy_from_slice(&checksum);
}

/// Makes both checksums of the frame at the front right again.
fn reframe(frames: &mut [u8]) {
    let header = crc32c::crc32c(&frames[..44]).to_be_bytes();
    frames[44..48].copy_from_slice(&header);
    let end = 48 + number(&frames[32..36]) + number(&frames[36..40]) + number(&frames[40..44]);
    let whole = crc32c::crc32c(&frames[..end]).to_be_bytes();
    frames[end..end + 4].copy_from_slice(&whole);
}

type Edit = fn(&mut Forgery);

const REDACTED: &str = "a payload and an artifact replaced by the word of an event";
const PERSONAL: &str = "personal fields that are sealed";
const COMPRESSED: &str = "blocks that are compressed";
/// Makes a ledger in a folder.
type Grow = fn(&Path) -> Ledger;

/// Ledgers of their own, written once: from then on the committed vectors hold them.
const GROWN: &[(&str, Grow)] =
    &[(REDACTED, |dir| redacted(dir, 1)), (PERSONAL, |dir| about_people(dir, 1)), (COMPRESSED, compressed)];

const SEALED: &str = "00000000000000000001";
const LATER: &str = "00000000000000000008";
const FRAMES: &str = "00000000000000000011.frames";
const REPLACED: &str = "00000000000000000002.g1.payloads";
const VECTORS: &[(&str, Edit)] = &[
    ("as it was written", |_| ()),
    ("a temporary file, which is worthless", |l| l.add(&format!("{SEGMENTS}/{LATER}.entries.tmp"), vec![1])),
    ("reserved space after the last frame", |l| l.segment(FRAMES).extend([0; 600])),
    ("a frame that a crash cut short, before any checkpoint covered it", |l| {
        let torn = l.segment(FRAMES)[..100].to_vec();
        l.segment(FRAMES).extend(torn);
    }),
    ("a payload changed, its checksums made right", |l| {
        let object = l.segment(&format!("{SEALED}.g0.payloads"));
        object[60] ^= 1;
        reseal(object);
    }),
    ("a salt changed, its checksums made right", |l| {
        let object = l.segment(&format!("{SEALED}.g0.payloads"));
        object[6] ^= 1;
        reseal(object);
    }),
    ("a replacement that nothing authorises", |l| {
        let object = l.segment(&format!("{SEALED}.g0.payloads"));
        object[0] = 1;
        reseal(object);
    }),
    ("a time changed, its checksums made right", |l| {
        let object = l.segment(&format!("{SEALED}.entries"));
        object[2 + 17] ^= 1;
        reseal(object);
    }),
    ("a time earlier than the one before", |l| {
        let object = l.segment(&format!("{LATER}.entries"));
        object[2 + 12] = 0;
        reseal(object);
    }),
    ("a type changed, its checksums made right", |l| {
        let object = l.segment(&format!("{SEALED}.entries"));
        object[2 + 18] ^= 1;
        reseal(object);
    }),
    ("a stream number changed, its checksums made right", |l| {
        let object = l.segment(&format!("{LATER}.entries"));
        object[2 + 29] ^= 2;
        reseal(object);
    }),
    ("an identity MAC changed, its checksums made right", |l| {
        let object = l.segment(&format!("{SEALED}.entries"));
        object[2 + 74] ^= 1;
        reseal(object);
    }),
    ("a chain head changed, its checksums made right", |l| {
        let object = l.segment(&format!("{LATER}.entries"));
        object[2 + 90] ^= 1;
        reseal(object);
    }),
    ("the last frame's payload changed, its checksums made right", |l| {
        let frames = l.segment(FRAMES);
        let at = frames.len() - 13;
        frames[at] ^= 1;
        reframe(frames);
    }),
    ("the last frame's position changed, its checksums made right", |l| {
        let frames = l.segment(FRAMES);
        frames[23] ^= 1;
        reframe(frames);
    }),
    ("the last frame twice", |l| {
        let twice = l.segment(FRAMES).clone();
        l.segment(FRAMES).extend(twice);
    }),
    ("the last frame gone, which the checkpoint covers", |l| l.segment(FRAMES).clear()),
    ("the last frame zeros, which the checkpoint covers", |l| l.segment(FRAMES).fill(0)),
    ("the last frame cut short, which the checkpoint covers", |l| l.segment(FRAMES).truncate(200)),
    ("a segment gone from the middle", |l| {
        l.remove(&format!("{SEGMENTS}/00000000000000000004.entries"));
        l.remove(&format!("{SEGMENTS}/00000000000000000004.g0.payloads"));
    }),
    ("payloads gone", |l| l.remove(&format!("{SEGMENTS}/{SEALED}.g0.payloads"))),
    ("entries gone", |l| l.remove(&format!("{SEGMENTS}/{SEALED}.entries"))),
    ("payloads of another segment", |l| {
        let other = l.segment(&format!("{LATER}.g0.payloads")).clone();
        *l.segment(&format!("{SEALED}.g0.payloads")) = other;
    }),
    ("a generation that says of itself that it is another", |l| {
        let same = l.segment(&format!("{SEALED}.g0.payloads")).clone();
        l.add(&format!("{SEGMENTS}/{SEALED}.g1.payloads"), same);
    }),
    ("a name among the segments that none of them has", |l| l.add(&format!("{SEGMENTS}/notes.txt"), vec![1])),
    ("the checkpoint gone", |l| l.remove("logs/default/main/0/checkpoint")),
    ("a checkpoint of another size", |l| {
        let note = String::from_utf8(l.file("logs/default/main/0/checkpoint").clone()).unwrap();
        *l.file("logs/default/main/0/checkpoint") = note.replacen("\n11\n", "\n10\n", 1).into_bytes();
    }),
    ("a checkpoint without a signature", |l| {
        let note = String::from_utf8(l.file("logs/default/main/0/checkpoint").clone()).unwrap();
        let unsigned = note.split_once("\n\n").unwrap().0.to_owned() + "\n\n";
        *l.file("logs/default/main/0/checkpoint") = unsigned.into_bytes();
    }),
    ("a MAC key of the right form that is another", |l| {
        let text = format!("cairn-mac-key-1+{}", "11".repeat(32));
        let check = &blake3::hash(text.as_bytes()).to_hex()[..16];
        *l.file("keys/default/mac.key") = format!("{text}+{check}\n").into_bytes();
    }),
    ("the marker of another origin", |l| {
        let text = "cairn ledger 1\norigin log.example.org\n";
        let check = &blake3::hash(text.as_bytes()).to_hex()[..16];
        *l.file("ledger") = format!("{text}check {check}\n").into_bytes();
    }),
    ("an artifact of other content", |l| {
        let path = l.0.iter().find(|(path, _)| path.starts_with("artifacts")).unwrap().0.display().to_string();
        l.file(&path).push(b'!');
    }),
    ("an artifact's SHA-256 of something else", |l| {
        let path = l.0.iter().find(|(path, _)| path.extension().is_some_and(|e| e == "sha256")).unwrap().0.clone();
        l.file(path.to_str().unwrap())[0] ^= 1;
    }),
];

/// Changes to the ledgers of [`GROWN`], each after the name of its ledger.
const CHANGED: &[(&str, &str, Edit)] = &[
    (REDACTED, "a replacement changed, its checksums made right", |l| {
        let object = l.segment(REPLACED);
        let at = find(object, b"[redacted]").or(find(object, b"null")).unwrap();
        object[at] ^= 1;
        reseal(object);
    }),
    (REDACTED, "a replacement where no event lists one", |l| {
        let object = l.segment(&format!("{SEALED}.g0.payloads"));
        object[0] = 1;
        reseal(object);
    }),
    (REDACTED, "an older generation beside its successor", |l| {
        let object = l.segment(REPLACED).clone();
        l.add(&format!("{SEGMENTS}/00000000000000000002.g0.payloads"), object);
    }),
    (PERSONAL, "a sealed field changed, its checksums made right", |l| {
        let object = l.segment(&format!("{SEALED}.g0.payloads"));
        let at = find(object, b"/data/caller").unwrap() + 70;
        object[at] ^= 1;
        reseal(object);
    }),
    (PERSONAL, "an entry that denies its sealed fields, its checksums made right", |l| {
        let object = l.segment(&format!("{SEALED}.entries"));
        object[2 + 1] ^= 2;
        reseal(object);
    }),
    (COMPRESSED, "a compressed block changed", |l| {
        l.segment(&format!("{SEALED}.g0.payloads"))[90] ^= 1;
    }),
    (COMPRESSED, "a compressed block changed, its checksums made right", |l| {
        let object = l.segment(&format!("{SEALED}.g0.payloads"));
        object[90] ^= 1;
        reseal(object);
    }),
];

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// The changes to the committed ledger: each changed file as hex, `null` where it is gone.
fn changes(forged: &[(PathBuf, Vec<u8>)]) -> Value {
    let (base, mut changed) = (committed(), serde_json::Map::new());
    for (path, bytes) in forged {
        if !base.iter().any(|same| same == &(path.clone(), bytes.clone())) {
            changed.insert(path.display().to_string(), json!(hex::encode(bytes)));
        }
    }
    for (path, _) in base.iter().filter(|(path, _)| !forged.iter().any(|(name, _)| name == path)) {
        changed.insert(path.display().to_string(), Value::Null);
    }
    Value::Object(changed)
}

/// The directory that changes to the committed ledger give.
fn changed(vector: &Value) -> Vec<(PathBuf, Vec<u8>)> {
    let mut forgery = Forgery(committed());
    for (path, bytes) in vector["changes"].as_object().unwrap() {
        forgery.remove(path);
        if let Some(bytes) = bytes.as_str() {
            forgery.add(path, hex::decode(bytes).unwrap());
        }
    }
    forgery.0
}

fn path() -> PathBuf {
    cairn_tests::root().join("tests/verifier/vectors.json")
}

fn stored() -> Vec<Value> {
    serde_json::from_slice(&std::fs::read(path()).unwrap()).unwrap()
}

fn is_update() -> bool {
    std::env::var_os("CAIRN_UPDATE").is_some()
}

fn grown(name: &str, grow: fn(&Path) -> Ledger) -> Vec<(PathBuf, Vec<u8>)> {
    if !is_update() {
        let vector = stored().into_iter().find(|vector| vector["name"] == name);
        return changed(&vector.unwrap_or_else(|| panic!("no vector `{name}`: CAIRN_UPDATE=1 writes it")));
    }
    let dir = in_memory();
    drop(grow(dir.path()));
    files(dir.path())
}

fn vector(name: &str, base: Vec<(PathBuf, Vec<u8>)>, edit: Edit) -> Value {
    let mut forgery = Forgery(base);
    edit(&mut forgery);
    let dir = in_memory();
    write_files(dir.path(), &forgery.0);
    let said = cairn_says(dir.path());
    let first = said.first.map(|(log, position, file)| json!({ "log": log, "position": position, "file": file }));
    json!({ "name": name, "changes": changes(&forgery.0), "verdict": said.verdict, "first": first })
}

fn vectors() -> Vec<Value> {
    let mut all: Vec<Value> = VECTORS.iter().map(|(name, edit)| vector(name, committed(), *edit)).collect();
    for (name, grow) in GROWN {
        let base = grown(name, *grow);
        all.push(vector(name, base.clone(), |_| ()));
        let of_it = CHANGED.iter().filter(|(of, _, _)| of == name);
        all.extend(of_it.map(|(_, name, edit)| vector(name, base.clone(), *edit)));
    }
    all
}

#[test]
fn the_committed_vectors_are_what_cairn_says_today() {
    let vectors = vectors();
    let text = serde_json::to_string_pretty(&vectors).unwrap() + "\n";
    if is_update() {
        std::fs::write(path(), &text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path()).unwrap(), text, "{}", path().display());
    let count = |verdict: &str| vectors.iter().filter(|vector| vector["verdict"] == verdict).count();
    assert_eq!((count("intact"), count("erased with authority")), (4 + 2, 1), "every other is found");
}

#[test]
fn the_verifier_in_python_says_of_each_committed_vector_what_it_must() {
    let Some(mut outsider) = Outsider::start() else { return };
    let vectors = stored();
    assert_eq!(vectors.len(), VECTORS.len() + GROWN.len() + CHANGED.len());
    for vector in vectors {
        let dir = in_memory();
        write_files(dir.path(), &changed(&vector));
        let first = &vector["first"];
        let expected = Said {
            verdict: vector["verdict"].as_str().unwrap().into(),
            first: first["log"]
                .as_str()
                .map(|log| (log.into(), first["position"].as_u64(), first["file"].as_str().unwrap().into())),
        };
        assert_eq!(outsider.says(dir.path()), expected, "{}", vector["name"]);
    }
}
