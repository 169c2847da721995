//! Witness server and client against each other: cosignatures are kept and published, and a witness that hangs or
//! contradicts delays nothing.

mod common;

use cairn_ledger::{LogVerifier, SignedCheckpoint, Witness, WitnessOptions};
use cairn_processors::Context;
use cairn_server::{WitnessAddress, WitnessServer};
use common::{TestServer, custom, eventually};
use std::net::TcpListener;
use std::thread::JoinHandle;
use tempfile::TempDir;
use tokio::sync::oneshot;

/// A witness of its own, on a free port.
struct TestWitness {
    address: WitnessAddress,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl TestWitness {
    fn start(folder: &TempDir, log: LogVerifier) -> Self {
        let witness = Witness::open(folder.path(), vec![log], WitnessOptions::default()).unwrap();
        let key = witness.key().clone();
        let (stop, stopped) = oneshot::channel();
        let (tell, told) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
            runtime.block_on(async {
                let server = WitnessServer::bind("127.0.0.1:0".parse().unwrap(), witness).await.unwrap();
                tell.send(server.local_addr()).unwrap();
                server.run(async { stopped.await.unwrap_or(()) }).await.unwrap();
            });
        });
        let url = format!("http://{}", told.recv().unwrap());
        Self { address: WitnessAddress { url, key }, stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for TestWitness {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// The key of the log, which the first event makes.
fn begin(ctx: &Context, id: &str) -> LogVerifier {
    let event = cairn_schemas::NewEvent::from_cloudevent(custom(id, "first").to_string().as_bytes()).unwrap();
    ctx.ledger().append(ctx.tenant(), vec![event]).unwrap();
    LogVerifier::decode(&ctx.ledger().verifier_key(ctx.tenant()).unwrap()).unwrap()
}

fn published(server: &TestServer) -> SignedCheckpoint {
    let ledger = server.ctx.ledger();
    let key = LogVerifier::decode(&ledger.verifier_key(server.ctx.tenant()).unwrap()).unwrap();
    SignedCheckpoint::parse(&server.get("/log/default/checkpoint").text, &key).unwrap()
}

#[test]
fn checkpoints_are_cosigned_published_and_carried_by_proofs() {
    let (folder, mut witness) = (TempDir::new().unwrap(), None);
    // One that takes connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = TestServer::start_with(|ctx, options| {
        let started = TestWitness::start(&folder, begin(ctx, "0"));
        let silent = format!("http://{}", silent.local_addr().unwrap());
        options.witnesses = vec![WitnessAddress { url: silent, ..started.address.clone() }, started.address.clone()];
        witness = Some(started);
    });
    let key = witness.as_ref().unwrap().address.key.clone();
    for round in 1..4 {
        let head = server.record(&[custom(&format!("{round}"), "said")]);
        eventually(|| {
            let signed = published(&server);
            (signed.checkpoint.size == head && key.has_cosigned(&signed, &signed.note)).then_some(())
        });
    }
    let proof = server.get("/log/default/proof/2").text;
    assert!(proof.contains(&format!("\u{2014} {} ", key.name())), "{proof}");
    let metrics = server.get("/metrics").text;
    assert!(metrics.contains("cairn_witness_pushes_total") && metrics.contains("outcome=\"cosigned\""), "{metrics}");
    server.stop().unwrap();
}

/// The witness has seen a longer log than this one, as after a restore of an old copy: that is told, and nothing stops.
#[test]
fn a_witness_that_stands_further_is_an_accusation() {
    let (folder, mut witness, longer) = (TempDir::new().unwrap(), None, TempDir::new().unwrap());
    let server = TestServer::start_with(|ctx, options| {
        let key = begin(ctx, "0");
        let ledger = ctx.ledger();
        ledger.checkpoint(ctx.tenant()).unwrap();
        copy(ctx.ledger().dir(), longer.path());
        let later = cairn_ledger::Ledger::open(longer.path(), cairn_ledger::Options::default()).unwrap();
        let event = cairn_schemas::NewEvent::from_cloudevent(custom("later", "x").to_string().as_bytes()).unwrap();
        later.append(ctx.tenant(), vec![event]).unwrap();
        let signed = later.checkpoint(ctx.tenant()).unwrap();
        let request = later.prove_consistency(ctx.tenant(), 0, Some(&signed)).unwrap().1.encode();
        let seen = Witness::open(folder.path(), vec![key.clone()], WitnessOptions::default()).unwrap();
        seen.add_checkpoint(&request).unwrap();
        drop(seen);
        let started = TestWitness::start(&folder, key);
        options.witnesses = vec![started.address.clone()];
        witness = Some(started);
    });
    let told = |outcome: &str| {
        let outcome = format!("outcome=\"{outcome}\"");
        eventually(|| server.get("/metrics").text.contains(&outcome).then_some(()));
    };
    told("ahead");
    server.record(&[custom("1", "another history"), custom("2", "goes on")]);
    told("fork");
    assert_eq!(published(&server).checkpoint.size, 3, "what no witness cosigned is published without");
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    for item in std::fs::read_dir(from).unwrap() {
        let item = item.unwrap();
        match item.file_type().unwrap().is_dir() {
            true => {
                std::fs::create_dir_all(to.join(item.file_name())).unwrap();
                copy(&item.path(), &to.join(item.file_name()));
            }
            false => drop(std::fs::copy(item.path(), to.join(item.file_name())).unwrap()),
        }
    }
}
