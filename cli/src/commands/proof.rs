//! Checking a proof file offline: an event's inclusion, or that a log begins with what an older checkpoint signs.

use super::{Outcome, done, print_json};
use crate::{Globals, exit};
use anyhow::Context as _;
use cairn_ledger::{ConsistencyProof, EntryFacts, InclusionProof, Ledger, LogVerifier, SignedCheckpoint};
use std::path::{Path, PathBuf};

/// Checks the proof in `file` against `key`, or the key of the ledger in the data directory where that is its log's.
pub(crate) fn verify(globals: &Globals, file: &Path, key: Option<&str>, since: Option<&PathBuf>) -> Outcome {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    if cairn_ledger::looks_like_statement(&text) {
        return statement(globals, file, &text, key);
    }
    match text.starts_with("old ") {
        true => consistency(globals, file, &ConsistencyProof::decode(&text)?, key, since),
        false => inclusion(globals, file, &InclusionProof::decode(&text)?, key),
    }
}

/// A receipt of an erasure, or another text that a log's key signed.
fn statement(globals: &Globals, file: &Path, text: &str, key: Option<&str>) -> Outcome {
    // The signature's line names the log.
    let signer =
        text.lines().rev().find_map(|line| line.strip_prefix("\u{2014} ")?.split(' ').next()).unwrap_or_default();
    let (key, whose) = trusted(globals, signer, key)?;
    let body = cairn_ledger::verify_statement(text, &key)
        .map_err(|expected| exit::wrong_input(format!("{} lacks {expected}", file.display())))?;
    if globals.json {
        print_json(&serde_json::json!({ "verdict": "signed", "verifier_key": key.encode(), "statement": body }));
        return done();
    }
    say!("signed: {}", body.lines().next().unwrap_or_default());
    say!("  signed by          {}", key.encode());
    say!("  ({whose})");
    done()
}

fn inclusion(globals: &Globals, file: &Path, proof: &InclusionProof, key: Option<&str>) -> Outcome {
    let (key, whose) = trusted(globals, &proof.note, key)?;
    let entry = proof.entry.as_ref().ok_or_else(|| {
        exit::wrong_input(format!(
            "{} has no line `extra` with the entry, so that there is nothing to check",
            file.display()
        ))
    })?;
    let signed = proof.verify(&key, entry)?;
    let facts = EntryFacts::decode(proof.index, entry)?;
    let checkpoint = &signed.checkpoint;
    if globals.json {
        print_json(&serde_json::json!({
            "verdict": "proved", "position": facts.position, "recorded_at": facts.recorded_at.to_string(),
            "commitment": facts.commitment, "payload_bytes": facts.payload_bytes, "origin": checkpoint.origin,
            "size": checkpoint.size, "root": checkpoint.root, "verifier_key": key.encode(),
        }));
        return done();
    }
    say!("proved: position {} of {} is in its tree of {} entries", facts.position, checkpoint.origin, checkpoint.size);
    say!("  recorded at        {}", facts.recorded_at);
    say!("  type code          {:#06x} version {}", facts.event_type.code, facts.event_type.version);
    say!("  payload            {} bytes, commitment {}", facts.payload_bytes, facts.commitment);
    say!("  root               {}", checkpoint.root);
    say!("  signed by          {}", key.encode());
    say!("  ({whose})");
    done()
}

fn consistency(
    globals: &Globals,
    file: &Path,
    proof: &ConsistencyProof,
    key: Option<&str>,
    since: Option<&PathBuf>,
) -> Outcome {
    let Some(since) = since else {
        return Err(exit::wrong_input(format!(
            "{} leads from an older checkpoint to a newer one; name the older one with --since FILE",
            file.display()
        )));
    };
    let (key, whose) = trusted(globals, &proof.note, key)?;
    let note = std::fs::read_to_string(since).with_context(|| format!("cannot read {}", since.display()))?;
    let old = SignedCheckpoint::parse(&note, &key)
        .map_err(|expected| exit::wrong_input(format!("{} lacks {expected}", since.display())))?;
    let new = proof.verify(&key, &old.checkpoint)?.checkpoint;
    if globals.json {
        print_json(&serde_json::json!({
            "verdict": "consistent", "origin": new.origin, "old_size": old.checkpoint.size, "size": new.size,
            "root": new.root, "verifier_key": key.encode(),
        }));
        return done();
    }
    say!("consistent: the tree of {} entries of {} begins with that of {}", new.size, new.origin, old.checkpoint.size);
    say!("  root               {}", new.root);
    say!("  signed by          {}", key.encode());
    say!("  ({whose})");
    done()
}

/// The key to trust, and a word on why. A proof alone cannot say whom to trust: anybody can sign a log of their own.
fn trusted(globals: &Globals, note: &str, key: Option<&str>) -> anyhow::Result<(LogVerifier, &'static str)> {
    if let Some(key) = key {
        let key = LogVerifier::decode(key).map_err(|expected| {
            exit::wrong_input(format!("--key expects {expected}; `cairn status` shows a ledger's"))
        })?;
        return Ok((key, "the key that --key names"));
    }
    let origin = note.lines().next().unwrap_or_default();
    if globals.data.is_dir() {
        let ledger = Ledger::open_read_only(&globals.data)?;
        let keys = ledger.tenants().into_iter().filter_map(|tenant| ledger.verifier_key(&tenant));
        if let Some(key) = keys.filter_map(|key| LogVerifier::decode(&key).ok()).find(|key| key.origin() == origin) {
            return Ok((key, "the key of the ledger in the data directory"));
        }
    }
    Err(exit::wrong_input(format!(
        "the proof is of {origin}, whose key is not known here: name it with --key, as its owner published it"
    )))
}
