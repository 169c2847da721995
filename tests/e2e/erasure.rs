//! A person is erased from everywhere: events, documents, dataset shards, samples, projections, exports and backups.

use crate::support::Place;
use cairn_schemas::Blake3;
use serde_json::json;
use std::path::{Path, PathBuf};

/// Texts that no file may hold after the erasure, and one that must stay.
const ALICE: &str = "alice of quokka street";
const ALICE_SECRET: &str = "quokka-7f3a9c-of-alice";
const BOB_SECRET: &str = "wombat-11d04e-of-bob";

const PIPELINE: &str = r#"
project: people
seed: 3
jobs:
  - name: letters
    ingest: { paths: [letters.jsonl], access_policy: private, language: en, dedup: off }
  - name: corpus
    dataset:
      version: 1.0.0
      rows: [{ from: letters, instruction: "{{ text }}", output: "yes", text: "{{ text }}", split: { train: 0.5, test: 0.5 } }]
  - name: vocabulary
    tokenizer: { dataset: corpus, vocabulary: 300 }
  - name: base
    train: { method: pretrain, base_model: "scratch:layers=1,width=16,heads=2,feed_forward=32,vocabulary=300,context=256", dataset: corpus, tokenizer: vocabulary, steps: 4, batch_size: 2, sequence_length: 64, learning_rate: 1.0e-3, checkpoint_every: 4, register: base }
  - name: exam
    evaluate: { subject: base, suite: s, dataset: corpus, split: test, tasks: [{ name: answers, kind: generate, max_new_tokens: 2, metrics: [exact_match] }] }
  - name: gate
    gate: { subject: base, evaluations: [exam], require: ["answers.exact_match >= 0"] }
  - name: live
    deploy: { model: base, gate: gate, deployment: helper }
"#;

fn place() -> Place {
    let place = Place::new();
    let letter = |n: usize| {
        let (author, secret) =
            if n.is_multiple_of(10) { (ALICE, ALICE_SECRET) } else { ("bob of wombat road", BOB_SECRET) };
        json!({ "author": author, "text": format!("Letter {n}: I wrote {secret} on a card and kept it at home, number {n}.") })
            .to_string()
    };
    place.write("letters.jsonl", (0..60).map(letter).collect::<Vec<_>>().join("\n"));
    place.write("pipeline.yaml", PIPELINE);
    let said = |n: usize| {
        json!({
            "specversion": "1.0", "type": "cairn.custom.recorded.v1", "source": "crm", "id": n.to_string(), "subject": "calls",
            "data": { "kind": "crm.called", "data": {
                "n": n,
                "caller": { "$data_subject": ALICE, "value": format!("{ALICE_SECRET} {n}") },
                "agent": { "$data_subject": "bob of wombat road", "value": format!("{BOB_SECRET} {n}") },
            } },
        })
        .to_string()
    };
    place.cairn(&["run", "pipeline.yaml", "--artifacts", "layout"]).ok();
    place.append(&(0..3000).map(said).collect::<Vec<_>>().join("\n")).ok();
    place
}

/// Files below a folder that hold a text, as it is or in hexadecimal.
fn files_with(folder: &Path, text: &str) -> Vec<PathBuf> {
    let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    let holds = |path: &PathBuf| {
        let bytes = std::fs::read(path).unwrap();
        [text.as_bytes(), hex.as_bytes()].iter().any(|text| memchr::memmem::find(&bytes, text).is_some())
    };
    let files =
        walkdir::WalkDir::new(folder).into_iter().map(|entry| entry.unwrap()).filter(|e| e.file_type().is_file());
    files.map(|entry| entry.path().to_owned()).filter(holds).collect()
}

#[test]
fn nothing_of_an_erased_person_is_left_in_any_file_and_the_others_keep_theirs() {
    let place = place();
    place.cairn(&["export", "deployment:helper", "--to", "bundle"]).ok();
    place.cairn(&["backup", "backup"]).ok();
    place.cairn(&["vault", "backup", "vault-backup", "--expires", "2027-01-01T00:00:00Z"]).ok();
    let proof = place.path("before.proof");
    place.cairn(&["prove", "7", "-o", proof.to_str().unwrap()]).ok();
    assert!(!files_with(&place.data(), ALICE_SECRET).is_empty(), "documents are stored in shards");

    let planned = place.json(&["erase", "--data-subject", ALICE, "--plan"]);
    assert_eq!(planned["documents"].as_array().unwrap().len(), 6, "{}", planned["documents"]);
    assert_eq!(planned["positions"].as_array().unwrap().len(), 3006);
    let held = ["hold", "place", "h1", "--scope", "stream:calls", "--reason", "a court asked"];
    place.cairn(&held).ok();
    let erase =
        ["erase", "--data-subject", ALICE, "--basis", "GDPR Art. 17", "--request", "r-1", "--receipt", "receipt"];
    place.cairn(&erase).refuses(4, &["legal hold `h1`", "lift"]);
    place.cairn(&["hold", "lift", "h1", "--reason", "settled"]).ok();
    let erased = place.json(&erase);
    assert_eq!(erased["plan"]["models"], json!(["model://people/base@1"]), "{erased}");
    assert!(!erased["rewritten"].as_array().unwrap().is_empty(), "{erased}");

    for folder in [place.data(), place.path("bundle"), place.path("layout")] {
        for text in [ALICE, ALICE_SECRET] {
            let found = if folder.exists() { files_with(&folder, text) } else { Vec::new() };
            assert_eq!(found, [] as [PathBuf; 0], "{text}");
        }
    }
    assert!(!files_with(&place.data(), BOB_SECRET).is_empty(), "the others' rows go on");
    let events = place.cairn(&["--json", "log", "--type", "cairn.custom.recorded.v1"]).ok().out;
    assert!(!events.contains(ALICE_SECRET) && events.contains(BOB_SECRET) && events.contains("\"erased\":true"));

    let verified = place.json(&["verify"]);
    assert_eq!(verified["verdict"], "erased with authority", "{verified}");
    place.cairn(&["verify", proof.to_str().unwrap()]).ok();
    place.cairn(&["verify", "receipt"]).ok();
    // The same request again changes nothing more.
    let again = place.json(&erase);
    assert_eq!((&again["plan"]["keys"], &again["events"]), (&erased["plan"]["keys"], &erased["events"]));
    assert!(again["receipt"].as_str().unwrap().contains("\"events_with_sealed_fields\": 3006"), "{again}");
    place.cairn(&["erase", "--data-subject", "nobody of nowhere", "--plan"]).refuses(4, &["named by no event"]);
    place.cairn(&["erase", "--data-subject", "nobody of nowhere", "--basis", "x"]).refuses(4, &["named by no event"]);

    // A backup forgets at its next run. One from before, with its vault, is erased again before it answers.
    std::fs::create_dir(place.path("old")).unwrap();
    copy(&place.path("backup"), &place.path("old/backup"));
    place.cairn(&["backup", "backup"]).ok();
    assert_eq!(files_with(&place.path("backup"), ALICE_SECRET), [] as [PathBuf; 0], "the backup's next run");
    let register = place.data().join("register");
    let restored = place.path("restored");
    let (register, to) = (register.to_str().unwrap(), restored.to_str().unwrap());
    place.cairn(&["restore", "old/backup", "--to", to, "--vault", "vault-backup", "--register", register]).ok();
    assert_eq!(files_with(&restored, ALICE_SECRET), [] as [PathBuf; 0], "after a restore");
    std::fs::rename(place.data(), place.path("before")).unwrap();
    std::fs::rename(&restored, place.data()).unwrap();
    let events = place.cairn(&["--json", "log", "--type", "cairn.custom.recorded.v1"]).ok().out;
    assert!(!events.contains(ALICE_SECRET) && events.contains(BOB_SECRET), "the vault's backup is erased again");
}

/// Nobody wrote down whom a document is about: whoever asks for the erasure names the document.
const LETTERS: &str = r#"
project: people
jobs:
  - name: letters
    ingest: { paths: [letters.jsonl], author: the post office, access_policy: private, language: en, dedup: off }
"#;

#[test]
fn a_named_document_is_cut_from_the_shards_of_its_ingestion_unless_a_hold_covers_it() {
    let place = Place::new();
    let letter = |n: usize| {
        let secret = if n == 3 { ALICE_SECRET } else { BOB_SECRET };
        json!({ "text": format!("Letter {n}: I wrote {secret} on a card and kept it at home, number {n}.") })
            .to_string()
    };
    place.write("letters.jsonl", (0..10).map(letter).collect::<Vec<_>>().join("\n"));
    place.write("pipeline.yaml", LETTERS);
    place.cairn(&["run", "pipeline.yaml"]).ok();
    let shards = place.data().join("artifacts");
    let text = "Letter 3: I wrote quokka-7f3a9c-of-alice on a card and kept it at home, number 3.";
    let document = format!("doc:{}", Blake3::of(text.as_bytes()));
    assert_eq!(files_with(&shards, ALICE_SECRET).len(), 1, "the document is in one shard");

    let erase = |document: &str, more: &[&str]| {
        let mut args = vec!["erase", "--data-subject", ALICE, "--basis", "GDPR Art. 17", "--request", "r-2"];
        args.extend(["--receipt", "receipt", "--document", document]);
        args.extend(more);
        args.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let unknown = format!("doc:{}", "0".repeat(64));
    place.cairn(&erase(&unknown, &[])).refuses(3, &["no document", &unknown, "doc:<blake3>"]);
    place.cairn(&erase("ds://people/letters@1.0.0", &[])).refuses(3, &["no document", "doc:<blake3>"]);
    place.cairn(&["hold", "place", "case-9", "--reason", "a court asked"]).ok();
    for more in [&["--plan"] as &[&str], &[]] {
        place.cairn(&erase(&document, more)).refuses(4, &["legal hold `case-9` on `tenant`", "cairn hold lift"]);
    }
    assert_eq!(files_with(&shards, ALICE_SECRET).len(), 1, "what is held stays");
    place.cairn(&["hold", "lift", "case-9", "--reason", "settled"]).ok();

    let planned = place.cairn(&[vec!["--json".to_owned()], erase(&document, &["--plan"])].concat()).json();
    assert_eq!(planned["artifacts"][0]["fate"], "rewritten", "{planned}");
    assert_eq!(planned["artifacts"][0]["rows_removed"], 1, "{planned}");
    let erased = place.cairn(&[vec!["--json".to_owned()], erase(&document, &[])].concat()).json();
    assert_eq!(erased["plan"]["documents"], json!([document]), "{erased}");
    assert_eq!(erased["rewritten"].as_array().unwrap().len(), 1, "{erased}");
    assert_eq!(files_with(&place.data(), ALICE_SECRET), [] as [PathBuf; 0]);
    assert_eq!(files_with(&shards, "Letter 4: I wrote").len(), 1, "the other rows go on");
    assert_eq!(place.json(&["verify"])["verdict"], "erased with authority");
    place.cairn(&["verify", "receipt"]).ok();

    // The request is finished: it takes the same document again, and no other.
    place.cairn(&erase(&document, &[])).ok();
    let other = "Letter 4: I wrote wombat-11d04e-of-bob on a card and kept it at home, number 4.";
    let other = format!("doc:{}", Blake3::of(other.as_bytes()));
    place.cairn(&erase(&other, &[])).refuses(4, &["request `r-2`", "is finished", "request id of their own"]);
}

fn copy(from: &Path, to: &Path) {
    for entry in walkdir::WalkDir::new(from) {
        let entry = entry.unwrap();
        let target = to.join(entry.path().strip_prefix(from).unwrap());
        match entry.file_type().is_dir() {
            true => std::fs::create_dir(target).unwrap(),
            false => drop(std::fs::copy(entry.path(), target).unwrap()),
        }
    }
}
