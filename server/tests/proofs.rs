//! What an outsider is served: checkpoint, tiles, proofs; and acknowledgements that carry their proof.

mod common;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use cairn_ledger::{InclusionProof, LogVerifier, SignedCheckpoint, leaf_hash, verify_consistency, verify_inclusion};
use cairn_schemas::Sha256;
use common::{TestServer, custom};
use serde_json::{Value, json};

fn key(server: &TestServer) -> LogVerifier {
    LogVerifier::decode(&server.ctx.ledger().verifier_key(server.ctx.tenant()).unwrap()).unwrap()
}

fn record(server: &TestServer, ids: std::ops::Range<usize>) {
    server.record(&ids.map(|id| custom(&format!("e{id}"), "said")).collect::<Vec<_>>());
}

fn hash(value: &Value) -> Sha256 {
    Sha256::from_bytes(BASE64.decode(value.as_str().unwrap()).unwrap().try_into().unwrap())
}
fn hashes(value: &Value) -> Vec<Sha256> {
    value.as_array().unwrap().iter().map(hash).collect()
}

#[test]
fn tiles_bundles_and_proofs_are_served() {
    let server = TestServer::start();
    server.get("/log/default/tile/0/000.p/1").problem(404, "not-found", "no log yet");
    record(&server, 0..300);
    let note = server.get("/log/default/checkpoint").text;
    let signed = SignedCheckpoint::parse(&note, &key(&server)).unwrap();
    assert_eq!(signed.checkpoint.size, 300);

    for (path, bytes) in [("0/000", 8192), ("0/001.p/44", 44 * 32), ("1/000.p/1", 32), ("0/001.p/7", 7 * 32)] {
        let tile = server.get(&format!("/log/default/tile/{path}"));
        assert_eq!((tile.status, tile.bytes.len()), (200, bytes), "{path}");
        assert_eq!(tile.header("content-type"), "application/octet-stream");
        assert_eq!(tile.header("cache-control"), "public, max-age=31536000, immutable");
    }
    let bundle = server.get("/log/default/tile/entries/001.p/44").bytes;
    let leaves = server.get("/log/default/tile/0/001.p/44").bytes;
    let first = usize::from(u16::from_be_bytes([bundle[0], bundle[1]]));
    assert_eq!(leaf_hash(&bundle[2..2 + first]).as_bytes()[..], leaves[..32]);
    for path in ["0/001.p/45", "0/001", "2/000.p/1", "0/000.p/256", "0/0", "entries/001", "x", "data/000", "64/000"] {
        server.get(&format!("/log/default/tile/{path}")).problem(404, "not-found", "tile/");
    }

    let proof = server.get("/log/default/proof/257");
    assert_eq!(proof.header("content-type"), "text/plain; charset=utf-8");
    let proof = InclusionProof::decode(&proof.text).unwrap();
    assert_eq!(proof.index, 256);
    assert_eq!(proof.verify(&key(&server), proof.entry.as_ref().unwrap()).unwrap(), signed);
    server.get("/log/default/proof/301").problem(404, "not-found", "position 301");
    server.get("/log/default/proof/0").problem(400, "malformed-request", "position");

    for (query, old, new) in
        [("old=7", 7, 300), ("old=7&new=256", 7, 256), ("old=0", 0, 300), ("old=300&new=300", 300, 300)]
    {
        let proof = server.get(&format!("/log/default/consistency?{query}")).json();
        assert_eq!((proof["old_size"].as_u64(), proof["new_size"].as_u64()), (Some(old), Some(new)));
        let (old_root, new_root) = (hash(&proof["old_root"]), hash(&proof["new_root"]));
        verify_consistency(old, &old_root, new, &new_root, &hashes(&proof["hashes"])).unwrap();
        assert!(new != 300 || new_root == signed.checkpoint.root);
        assert_eq!(proof["checkpoint"], note.as_str());
    }
    server.get("/log/default/consistency?old=301").problem(400, "malformed-request", "301");
    server.get("/log/default/consistency?old=1&new=301").problem(404, "not-found", "301");
    server.get("/log/default/consistency").problem(400, "malformed-request", "?old=N");
}

#[test]
fn an_acknowledgement_carries_its_proof_where_it_is_asked_for() {
    let server = TestServer::start();
    record(&server, 0..10);
    let batch: Vec<Value> = (5..300).map(|id| custom(&format!("b{id}"), "in a batch")).collect();
    let headers = [("content-type", "application/cloudevents-batch+json")];
    let ask = |query: &str| server.post(&format!("/v1/events{query}"), &headers, json!(batch).to_string());
    let fresh = ask("?proof=true");
    assert_eq!(fresh.status, 201, "{}", fresh.text);
    let check = |receipt: Value| {
        let signed = SignedCheckpoint::parse(receipt["checkpoint"].as_str().unwrap(), &key(&server)).unwrap();
        let (size, root) = (signed.checkpoint.size, signed.checkpoint.root);
        let events = receipt["events"].as_array().unwrap();
        assert_eq!(events.len(), batch.len());
        for event in events {
            let proof = &event["proof"];
            assert_eq!(proof["index"].as_u64().unwrap() + 1, event["position"].as_u64().unwrap());
            let entry = BASE64.decode(proof["entry"].as_str().unwrap()).unwrap();
            let path = hashes(&proof["hashes"]);
            verify_inclusion(&leaf_hash(&entry), proof["index"].as_u64().unwrap(), size, &path, &root).unwrap();
        }
    };
    check(fresh.json());
    let repeated = ask("?proof=true");
    assert_eq!(repeated.status, 200);
    check(repeated.json());
    let plain = ask("").json();
    assert!(plain.get("checkpoint").is_none() && plain["events"][0].get("proof").is_none());
    ask("?proof=yes").problem(400, "malformed-request", "?proof=true");
}
