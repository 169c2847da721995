//! Witnesses: what they cosign, what they refuse, what they remember; and what a log keeps of it.

use crate::common::*;
use cairn_ledger::{
    CosignerKey, Error, Ledger, LogVerifier, Options, Refusal, SignedCheckpoint, VerifyOptions, Witness,
    WitnessOptions, verify,
};
use std::path::Path;
use std::sync::Arc;

const NAME: &str = "witness.example.com/w1";

fn witness(dir: &Path, logs: &[&Ledger]) -> Witness {
    named(dir, logs, NAME)
}

fn named(dir: &Path, logs: &[&Ledger], name: &str) -> Witness {
    let keys = logs.iter().map(|ledger| LogVerifier::decode(&ledger.verifier_key(&tenant()).unwrap()).unwrap());
    let name = Some(name.to_owned());
    Witness::open(dir, keys.collect(), WitnessOptions { name, clock: options().clock, ..WitnessOptions::default() })
        .unwrap()
}

fn request(ledger: &Ledger, old: u64, signed: &SignedCheckpoint) -> String {
    ledger.prove_consistency(&tenant(), old, Some(signed)).unwrap().1.encode()
}

fn log(dir: &Path, ids: std::ops::Range<u64>) -> Ledger {
    let ledger = Ledger::open(dir, options()).unwrap();
    append_each(&ledger, ids);
    ledger
}

fn newest(ledger: &Ledger) -> SignedCheckpoint {
    ledger.checkpoint(&tenant()).unwrap()
}

fn status(refused: Result<String, Refusal>) -> u16 {
    refused.unwrap_err().status()
}

#[test]
fn a_witness_answers_as_the_protocol_has_it() {
    let (dir, place) = (in_memory(), in_memory());
    let ledger = log(dir.path(), 0..5);
    let first = newest(&ledger);
    append_each(&ledger, 5..9);
    let second = newest(&ledger);
    let witness = witness(place.path(), &[&ledger]);

    let line = witness.add_checkpoint(&request(&ledger, 0, &first)).unwrap();
    assert!(line.starts_with(&format!("\u{2014} {NAME} ")) && line.ends_with('\n'));
    assert!(witness.key().has_cosigned(&first, &line) && !witness.key().has_cosigned(&second, &line));
    let stored = std::fs::read_dir(place.path().join("logs")).unwrap().next().unwrap().unwrap().path();
    assert_eq!(std::fs::read_to_string(&stored).unwrap(), first.note);

    let conflict = witness.add_checkpoint(&request(&ledger, 0, &second));
    assert!(matches!(conflict, Err(Refusal::Conflict { size: 5 })), "it says where it stands");
    witness.add_checkpoint(&request(&ledger, 5, &first)).expect("the same again is cosigned again");
    assert_eq!(status(witness.add_checkpoint(&request(&ledger, 3, &second))), 409);
    let good = request(&ledger, 5, &second);
    assert_eq!(status(witness.add_checkpoint(&good.replacen("old 5", "old 10", 1))), 400);
    let proof: Vec<&str> = good.lines().collect();
    let without_a_hash = good.replacen(&format!("{}\n", proof[1]), "", 1);
    assert_eq!(status(witness.add_checkpoint(&without_a_hash)), 422);
    for malformed in ["", "old", "old 5", "old 05\n\n", &good.replacen("old 5", "old 05", 1), &format!(" {good}")] {
        assert_eq!(status(witness.add_checkpoint(malformed)), 400, "{malformed}");
    }
    let unsigned = good.replace(second.note.lines().last().unwrap(), "\u{2014} somebody AAAAAAAA");
    assert_eq!(status(witness.add_checkpoint(&unsigned)), 403);
    let elsewhere = in_memory();
    let other =
        Ledger::open(elsewhere.path(), Options { origin: Some("other.example.com".into()), ..options() }).unwrap();
    append_each(&other, 0..1);
    assert_eq!(status(witness.add_checkpoint(&request(&other, 0, &newest(&other)))), 404);

    witness.add_checkpoint(&good).unwrap();
    assert_eq!(std::fs::read_to_string(&stored).unwrap(), second.note);
    assert_eq!(status(witness.add_checkpoint(&request(&ledger, 5, &first))), 409, "never back to a smaller size");
}

/// What it cosigned outlives it; its key stays; nobody else uses its folder meanwhile.
#[test]
fn a_witness_remembers_across_a_restart() {
    let (dir, place) = (in_memory(), in_memory());
    let ledger = log(dir.path(), 0..5);
    let first = newest(&ledger);
    let before = witness(place.path(), &[&ledger]);
    before.add_checkpoint(&request(&ledger, 0, &first)).unwrap();
    let key = before.key().clone();
    let twice = Witness::open(place.path(), Vec::new(), WitnessOptions::default());
    assert!(matches!(twice, Err(Error::AlreadyOpen { .. })));
    drop(before);

    let after = witness(place.path(), &[&ledger]);
    assert_eq!((after.key(), after.logs()), (&key, vec![("log.example.com/default/main/0".to_owned(), 5)]));
    append_each(&ledger, 5..6);
    let second = newest(&ledger);
    assert!(matches!(after.add_checkpoint(&request(&ledger, 0, &second)), Err(Refusal::Conflict { size: 5 })));
    after.add_checkpoint(&request(&ledger, 5, &second)).unwrap();
    drop(after);
    let renamed = WitnessOptions { name: Some("another".into()), ..WitnessOptions::default() };
    assert!(matches!(Witness::open(place.path(), Vec::new(), renamed), Err(Error::Key { .. })));
}

/// Two ledgers with the same keys: after they part, the witness follows the one it saw first.
#[test]
fn a_fork_is_refused() {
    let (one, two, place) = (in_memory(), in_memory(), in_memory());
    let honest = log(one.path(), 0..4);
    drop(log(two.path(), 0..4));
    drop(honest);
    copy(one.path(), two.path());
    let (honest, fork) = (log(one.path(), 10..14), log(two.path(), 20..24));
    assert_eq!(honest.verifier_key(&tenant()), fork.verifier_key(&tenant()));
    let witness = witness(place.path(), &[&honest]);
    witness.add_checkpoint(&request(&honest, 0, &newest(&honest))).unwrap();
    assert_eq!(newest(&honest).checkpoint.size, newest(&fork).checkpoint.size);
    let same_size = witness.add_checkpoint(&request(&fork, 8, &newest(&fork)));
    assert!(matches!(same_size, Err(Refusal::Conflict { size: 8 })));
    append_each(&fork, 24..30);
    assert_eq!(status(witness.add_checkpoint(&request(&fork, 8, &newest(&fork)))), 422);
    append_each(&honest, 14..15);
    witness.add_checkpoint(&request(&honest, 8, &newest(&honest))).expect("the first history goes on");
}

/// A whole ledger, its keys and checkpoint included, put back to an older copy of itself verifies; the witness knows.
#[test]
fn a_log_that_was_rolled_back_is_found() {
    let (dir, old, place) = (in_memory(), in_memory(), in_memory());
    drop(log(dir.path(), 0..4));
    copy(dir.path(), old.path());
    let ledger = log(dir.path(), 4..9);
    let witness = witness(place.path(), &[&ledger]);
    witness.add_checkpoint(&request(&ledger, 0, &newest(&ledger))).unwrap();
    drop(ledger);
    assert!(verify(old.path(), &VerifyOptions::default()).unwrap().is_intact(), "by itself it cannot know");
    let back = Ledger::open(old.path(), options()).unwrap();
    assert!(matches!(witness.add_checkpoint(&request(&back, 4, &newest(&back))), Err(Refusal::Conflict { size: 9 })));
    append_each(&back, 100..110);
    assert_eq!(
        status(witness.add_checkpoint(&request(&back, 9, &newest(&back)))),
        422,
        "nor does growing past it help"
    );
}

/// Whatever comes at once, sizes only grow, and the stored checkpoint is the last that was cosigned.
#[test]
fn requests_for_one_log_at_once_are_answered_one_after_another() {
    let (dir, place) = (in_memory(), in_memory());
    let ledger = log(dir.path(), 0..1);
    let witness = Arc::new(witness(place.path(), &[&ledger]));
    let mut checkpoints = vec![newest(&ledger)];
    for id in 1..40 {
        append_each(&ledger, id..id + 1);
        checkpoints.push(newest(&ledger));
    }
    let cosigned: Vec<u64> = std::thread::scope(|scope| {
        let pushers = checkpoints.chunks(10).map(|chunk| {
            let (witness, ledger) = (witness.clone(), &ledger);
            scope.spawn(move || {
                let mut cosigned = Vec::new();
                for signed in chunk {
                    let mut old = 0;
                    while old <= signed.checkpoint.size {
                        match witness.add_checkpoint(&request(ledger, old, signed)) {
                            Ok(_) => {
                                cosigned.push(signed.checkpoint.size);
                                break;
                            }
                            Err(Refusal::Conflict { size }) => old = size,
                            Err(other) => panic!("{other}"),
                        }
                    }
                }
                cosigned
            })
        });
        let pushers: Vec<_> = pushers.collect();
        pushers.into_iter().flat_map(|pusher| pusher.join().unwrap()).collect()
    });
    assert_eq!((cosigned.iter().max(), witness.logs()[0].1), (Some(&40), 40));
    let stored = std::fs::read_dir(place.path().join("logs")).unwrap().next().unwrap().unwrap().path();
    assert_eq!(std::fs::read_to_string(stored).unwrap(), checkpoints[39].note);
}

#[test]
fn a_log_keeps_cosignatures_and_publishes_them() {
    let (dir, place, second_place) = (in_memory(), in_memory(), in_memory());
    let ledger = log(dir.path(), 0..5);
    let signed = newest(&ledger);
    let one = witness(place.path(), &[&ledger]);
    let two = named(second_place.path(), &[&ledger], "witness.example.org");
    let cosign = |witness: &Witness, old, signed: &SignedCheckpoint| {
        (witness.key().clone(), witness.add_checkpoint(&request(&ledger, old, signed)).unwrap())
    };
    let (first, other) = (cosign(&one, 0, &signed), cosign(&two, 0, &signed));
    let foreign = (first.0.clone(), other.1.clone());
    assert_eq!(ledger.keep_cosignatures(&tenant(), &signed, &[foreign]).unwrap(), 0, "another key's line");
    assert_eq!(ledger.keep_cosignatures(&tenant(), &signed, std::slice::from_ref(&first)).unwrap(), 1);
    assert_eq!(ledger.keep_cosignatures(&tenant(), &signed, &[first.clone(), other.clone()]).unwrap(), 1);
    let published = ledger.published_checkpoint(&tenant()).unwrap();
    assert_eq!(published.note, format!("{}{}{}", signed.note, first.1, other.1));
    let proof = ledger.prove(&tenant(), position(2), Some(&published)).unwrap();
    assert!(proof.encode().ends_with(&published.note), "proofs carry them too");
    assert_eq!((ledger.cosigned_size(&tenant(), one.key()), ledger.cosigned_size(&tenant(), two.key())), (5, 5));

    append_each(&ledger, 5..7);
    let newer = newest(&ledger);
    assert_eq!(ledger.published_checkpoint(&tenant()).unwrap(), published, "for a while, until the newer is cosigned");
    ledger.keep_cosignatures(&tenant(), &newer, &[cosign(&one, 5, &newer)]).unwrap();
    assert_eq!(ledger.keep_cosignatures(&tenant(), &signed, &[other]).unwrap(), 0, "of an older one");
    let published = ledger.published_checkpoint(&tenant()).unwrap();
    assert_eq!(published.checkpoint, newer.checkpoint);
    drop(ledger);

    let ledger = Ledger::open(dir.path(), options()).unwrap();
    assert_eq!(ledger.published_checkpoint(&tenant()).unwrap(), published);
    assert_eq!(ledger.cosigned_size(&tenant(), two.key()), 0);
    assert!(verify(dir.path(), &VerifyOptions::default()).unwrap().is_intact());
}

/// The kept cosignatures are truth: every changed bit of them is found, and so is a log cut back behind them.
#[test]
fn changed_cosignatures_and_a_log_cut_back_behind_them_are_found() {
    let (dir, old, place) = (in_memory(), in_memory(), in_memory());
    drop(log(dir.path(), 0..4));
    copy(dir.path(), old.path());
    let ledger = log(dir.path(), 4..6);
    let signed = newest(&ledger);
    let witness = witness(place.path(), &[&ledger]);
    let line = witness.add_checkpoint(&request(&ledger, 0, &signed)).unwrap();
    ledger.keep_cosignatures(&tenant(), &signed, &[(witness.key().clone(), line)]).unwrap();
    drop(ledger);
    let path = Path::new("logs/default/main/0/witnessed");
    let whole = std::fs::read(dir.path().join(path)).unwrap();
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        std::fs::write(dir.path().join(path), &flipped).unwrap();
        let report = verify(dir.path(), &VerifyOptions { artifacts: false, ..VerifyOptions::default() }).unwrap();
        assert_eq!(report.damage.len(), 1, "byte {at}");
        assert_eq!(report.damage[0].file, path, "byte {at}");
    }
    std::fs::write(dir.path().join(path), &whole).unwrap();
    // The checkpoint taken back and the entries cut, but what the witness said left in its place.
    std::fs::write(old.path().join(path), &whole).unwrap();
    assert!(matches!(Ledger::open(old.path(), options()), Err(Error::Damaged(_))));
    let report = verify(old.path(), &VerifyOptions::default()).unwrap();
    assert_eq!(report.damage.len(), 1, "{report:?}");
    assert!(report.damage[0].expected.contains("witnesses cosigned"), "{:?}", report.damage);
}

#[test]
fn a_witness_key_is_read_as_it_is_printed() {
    let place = in_memory();
    let witness = Witness::open(place.path(), Vec::new(), WitnessOptions::default()).unwrap();
    assert!(witness.key().name().starts_with("cairn.local/witness/"));
    assert_eq!(&CosignerKey::decode(&witness.key().encode()).unwrap(), witness.key());
    for wrong in ["", "a b", "a+b", &"x".repeat(256)] {
        let options = WitnessOptions { name: Some(wrong.into()), ..WitnessOptions::default() };
        assert!(Witness::open(in_memory().path(), Vec::new(), options).is_err(), "{wrong}");
    }
}

/// A log that signs twice: both signatures stand in every checkpoint, and neither key can go without being missed.
#[test]
fn a_second_signature_is_checked_and_missed() {
    let (dir, place) = (in_memory(), in_memory());
    let twice = || Options { ml_dsa: true, ..options() };
    let ledger = Ledger::open(dir.path(), twice()).unwrap();
    append_each(&ledger, 0..3);
    let signed = newest(&ledger);
    let second = CosignerKey::decode(&ledger.second_verifier_key(&tenant()).unwrap()).unwrap();
    assert_eq!(second.name(), signed.checkpoint.origin);
    let lines: Vec<&str> = signed.note.lines().skip(4).collect();
    assert!(lines.len() == 2 && second.has_cosigned(&signed, lines[1]) && !second.has_cosigned(&signed, lines[0]));
    let witness = witness(place.path(), &[&ledger]);
    let line = witness.add_checkpoint(&request(&ledger, 0, &signed)).unwrap();
    ledger.keep_cosignatures(&tenant(), &signed, &[(witness.key().clone(), line.clone())]).unwrap();
    assert_eq!(ledger.published_checkpoint(&tenant()).unwrap().note, format!("{}{line}", signed.note));
    drop(ledger);

    let ledger = Ledger::open(dir.path(), options()).unwrap();
    append_each(&ledger, 3..4);
    assert!(second.has_cosigned(&newest(&ledger), &newest(&ledger).note), "a log keeps what it was created with");
    drop(ledger);
    let tenant_keys = dir.path().join("keys/default/main-0.ml-dsa-44.key");
    let public = dir.path().join("logs/default/main/0/verifier.ml-dsa-44.key");
    let checkpoint = dir.path().join("logs/default/main/0/checkpoint");
    assert!(verify(dir.path(), &VerifyOptions::default()).unwrap().is_intact());
    let is_found = |what: &str| {
        assert_eq!(verify(dir.path(), &VerifyOptions::default()).unwrap().damage.len(), 1, "{what}");
        assert!(matches!(Ledger::open(dir.path(), options()), Err(Error::Damaged(_))), "{what}");
    };
    let [secret_bytes, public_bytes, note] =
        [&tenant_keys, &public, &checkpoint].map(|path| std::fs::read(path).unwrap());
    for lost in [vec![&tenant_keys], vec![&public], vec![&tenant_keys, &public]] {
        lost.iter().for_each(|path| std::fs::remove_file(path).unwrap());
        is_found(&format!("without {lost:?}"));
        std::fs::write(&tenant_keys, &secret_bytes).unwrap();
        std::fs::write(&public, &public_bytes).unwrap();
    }
    let text = String::from_utf8(note.clone()).unwrap();
    let without = text.lines().take(5).map(|line| format!("{line}\n")).collect::<String>();
    std::fs::write(&checkpoint, without).unwrap();
    is_found("without the second line");
    for at in (text.find("\n\n").unwrap()..text.len()).step_by(61) {
        let mut flipped = note.clone();
        flipped[at] ^= 1;
        std::fs::write(&checkpoint, flipped).unwrap();
        is_found(&format!("byte {at} of the note"));
    }
    std::fs::write(&checkpoint, note).unwrap();
    assert!(verify(dir.path(), &VerifyOptions::default()).unwrap().is_intact());
}
