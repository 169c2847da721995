//! Backups beside a server, and what is restored from them: the same ledger, read-only, or on under a new origin.

use crate::support::Place;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command};

fn said(ids: std::ops::Range<u32>) -> String {
    let event = |id| {
        format!(
            r#"{{"specversion":"1.0","type":"cairn.custom.recorded.v1","source":"me","id":"e{id}","data":{{"kind":"note.made","data":{{"text":"note {id}"}}}}}}"#
        )
    };
    ids.map(|id| event(id) + "\n").collect()
}

/// Stops the server, also where the test fails.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status();
        let _ = self.0.wait();
    }
}

fn serve(place: &Place) -> Serving {
    let mut serving = Serving(place.start(&["serve", "--listen", "127.0.0.1:0"]));
    let mut first = String::new();
    BufReader::new(serving.0.stdout.as_mut().unwrap()).read_line(&mut first).unwrap();
    assert!(first.contains("http://"), "{first}");
    serving
}

/// Puts a restored ledger in the place of the data directory.
fn put_in_place(place: &Place, name: &str, aside: &str) {
    std::fs::rename(place.data(), place.path(aside)).unwrap();
    std::fs::rename(place.path(name), place.data()).unwrap();
}

fn shown(place: &Place) -> (Vec<Value>, Value) {
    (place.events("cairn.custom.recorded.v1"), place.json(&["verify"]))
}

#[test]
fn a_ledger_comes_back_from_its_backups() {
    let place = Place::new();
    place.append(&said(0..20)).ok();
    let serving = serve(&place);
    let first = place.json(&["backup", "backups/ledger"]);
    assert_eq!((first["logs"][0]["size"].as_u64(), first["logs"][0]["later_events"].as_u64()), (Some(20), Some(0)));
    place.cairn(&["vault", "backup", "backups/vault"]).refuses(2, &["--expires"]);
    place.cairn(&["vault", "backup", "backups/vault", "--expires", "2999-12-31"]).ok();
    let again = place.json(&["backup", "--full", "backups/ledger"]);
    assert_eq!((again["copied_bytes"].as_u64(), &again["repaired"]), (Some(0), &serde_json::json!([])));
    drop(serving);
    let (events, verified) = shown(&place);

    place.cairn(&["restore", "backups/ledger", "--to", "restored"]).refuses(2, &["--register"]);
    let restore = ["restore", "backups/ledger", "--no-register", "--to", "restored", "--vault", "backups/vault"];
    let report = place.json(&restore);
    assert_eq!((report["read_only"].as_bool(), report["has_keys"].as_bool()), (Some(false), Some(true)));
    place.cairn(&restore).refuses(4, &["absent or empty"]);
    put_in_place(&place, "restored", "lost");
    let (found, found_verified) = shown(&place);
    assert_eq!(events, found);
    assert_eq!(verified["logs"][0]["root"], found_verified["logs"][0]["root"]);
    place.append(&said(0..20)).ok();
    assert!(place.append(&said(20..25)).ok().out.contains("last position 25"));
    place.cairn(&["verify"]).ok();

    // Five events later, the backup is behind what is known.
    place.cairn(&["vault", "backup", "backups/vault", "--expires", "2999-12-31"]).ok();
    std::fs::copy(place.data().join("logs/default/main/0/checkpoint"), place.path("known")).unwrap();
    let behind = ["restore", "backups/ledger", "--no-register", "--vault", "backups/vault", "--known", "known", "--to"];
    let report = place.json(&[&behind[..], &["read-only"]].concat());
    assert_eq!((report["read_only"].as_bool(), report["behind"][0]["known_size"].as_u64()), (Some(true), Some(25)));
    let report = place.json(&[&behind[..], &["goes-on", "--new-origin", "log.example.com/2"]].concat());
    assert_eq!((report["read_only"].as_bool(), &report["continued_as"]), (Some(false), &"log.example.com/2".into()));
    put_in_place(&place, "read-only", "newer");
    place.append(&said(25..26)).refuses(4, &["read-only", "holds 20 events", "25"]);
    assert_eq!(shown(&place).0.len(), 20);
    put_in_place(&place, "goes-on", "read-only-again");
    assert!(place.append(&said(0..30)).ok().out.contains("10 appended, 20 were there already; last position 31"));
    place.cairn(&["verify"]).ok();
    assert_eq!(place.events("cairn.governance.log_continued.v1")[0]["data"]["size"], 20);

    // A byte of the backup changes.
    let list = place.path("backups/ledger/backup");
    let text = std::fs::read_to_string(&list).unwrap();
    std::fs::write(&list, text.replacen("taken 2", "taken 3", 1)).unwrap();
    place.cairn(&[&behind[..], &["never"]].concat()).refuses(5, &["check digits"]);
}

#[test]
fn without_a_vault_a_restored_ledger_can_be_read() {
    let place = Place::new();
    place.append(&said(0..5)).ok();
    place.cairn(&["backup", "ledger"]).ok();
    place.cairn(&["vault", "backup", "vault", "--expires", "2999-12-31"]).ok();
    place.cairn(&["restore", "ledger", "--no-register", "--to", "restored"]).ok();
    put_in_place(&place, "restored", "lost");
    assert_eq!(shown(&place).0.len(), 5);
    place.append(&said(5..6)).refuses(4, &["no keys", "cairn vault restore"]);
    place.cairn(&["vault", "restore", "vault", "--no-register"]).ok();
    place.append(&said(5..6)).ok();
    place.cairn(&["verify"]).ok();
}
