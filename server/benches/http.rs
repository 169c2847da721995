//! Durable appends over HTTP, the load generator on the same machine: batches of 256, and single events from many connections.
//!
//! Each figure stands beside what the device takes to write and sync as much, measured in the same run. Figures include the
//! projections that follow the log meanwhile, since a server always has them.
//!
//! Usage: `cargo bench -p cairn-server --bench http [-- SECONDS]`.

use cairn_processors::Context;
use cairn_server::{ServerOptions, bind};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Events of one batch.
const BATCH: usize = 256;
/// Length of an event's `data`.
const DATA_BYTES: usize = 512;
/// Connections that send batches.
const BATCH_CONNECTIONS: usize = 4;
/// Connections that send one event a request.
const SINGLE_CONNECTIONS: usize = 128;

static NEXT_ID: AtomicU64 = AtomicU64::new(0);

fn main() {
    // `cargo bench` passes `--bench`.
    let seconds = std::env::args().skip(1).find_map(|word| word.parse().ok()).unwrap_or(5);
    let time = Duration::from_secs(seconds);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Served::start(folder.path());
    println!(
        "| what | connections | events/s | requests/s | p50 ms | p99 ms | device write + sync of as much, p50 ms |"
    );
    println!("|---|---|---|---|---|---|---|");
    for (what, connections, events) in
        [("batches of 256", BATCH_CONNECTIONS, BATCH), ("single events", SINGLE_CONNECTIONS, 1)]
    {
        load(server.address, connections, events, Duration::from_secs(1));
        let mut latencies = load(server.address, connections, events, time);
        latencies.sort_unstable();
        let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
        let requests = latencies.len() as f64 / time.as_secs_f64();
        let device = device(folder.path(), events * (DATA_BYTES + 250));
        println!(
            "| {what} | {connections} | {:.0} | {requests:.0} | {:.2} | {:.2} | {device:.2} |",
            requests * events as f64,
            at(0.5),
            at(0.99),
        );
    }
    server.stop();
}

/// The real server over a real ledger.
struct Served {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

impl Served {
    fn start(folder: &std::path::Path) -> Self {
        let ctx = Context::open(&folder.join("data")).expect("a new ledger");
        let options = ServerOptions { listen: "127.0.0.1:0".parse().expect("an address"), ..ServerOptions::default() };
        let (stop, stopped) = oneshot::channel();
        let (tell, told) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let server = bind(ctx, options).await.expect("a free port");
                tell.send(server.local_addr()).expect("the bench waits");
                server.run(async { stopped.await.unwrap_or(()) }).await.expect("an orderly end");
            });
        });
        Self { address: told.recv().expect("the server's address"), stop, thread }
    }

    fn stop(self) {
        self.stop.send(()).expect("the server runs");
        self.thread.join().expect("an orderly end");
    }
}

/// Sends requests for a while, one after another on each connection; gives the time that each took.
fn load(address: SocketAddr, connections: usize, events: usize, time: Duration) -> Vec<Duration> {
    std::thread::scope(|scope| {
        let one = || {
            let mut connection = Connection::open(address);
            let (mut latencies, end) = (Vec::new(), Instant::now() + time);
            while Instant::now() < end {
                connection.prepare(events);
                let begun = Instant::now();
                connection.send();
                latencies.push(begun.elapsed());
            }
            latencies
        };
        let threads: Vec<_> = (0..connections).map(|_| scope.spawn(one)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("a client ends well")).collect()
    })
}

/// A connection that is kept open, and its buffers.
struct Connection {
    stream: TcpStream,
    request: String,
    response: Vec<u8>,
    text: String,
}

impl Connection {
    fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_nodelay(true).expect("a TCP connection");
        let words = "loss accuracy tokens learning rate gradient norm checkpoint evaluation shard ";
        let text = words.chars().cycle().take(DATA_BYTES - 60).collect();
        Self { stream, request: String::new(), response: vec![0; 64 << 10], text }
    }

    fn prepare(&mut self, events: usize) {
        let mut body = String::with_capacity(events * (DATA_BYTES + 250));
        let first = NEXT_ID.fetch_add(events as u64, Ordering::Relaxed);
        for index in 0..events as u64 {
            let id = first + index;
            let separator = if index == 0 { "" } else { "," };
            write!(
                body,
                r#"{separator}{{"specversion":"1.0","type":"cairn.custom.recorded.v1","source":"bench","id":"{id}","data":{{"kind":"bench.said","data":{{"n":{id},"text":"{}"}}}}}}"#,
                self.text
            )
            .expect("a string takes text");
        }
        self.request.clear();
        let (media, open, close) = match events {
            1 => ("application/cloudevents+json", "", ""),
            _ => ("application/cloudevents-batch+json", "[", "]"),
        };
        let length = body.len() + open.len() + close.len();
        write!(
            self.request,
            "POST /v1/events HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: {media}\r\ncontent-length: {length}\r\n\r\n{open}{body}{close}"
        )
        .expect("a string takes text");
    }

    fn send(&mut self) {
        self.stream.write_all(self.request.as_bytes()).expect("the server reads");
        let mut filled = 0;
        loop {
            if filled == self.response.len() {
                self.response.resize(filled * 2, 0);
            }
            let read = self.stream.read(&mut self.response[filled..]).expect("the server answers");
            assert!(read > 0, "the server closed the connection");
            filled += read;
            let answer = &self.response[..filled];
            let Some(head) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
            let headers = std::str::from_utf8(&answer[..head]).expect("ASCII headers");
            assert!(headers.starts_with("HTTP/1.1 201"), "{}", String::from_utf8_lossy(answer));
            let length = headers.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
            if filled == head + 4 + length.parse::<usize>().expect("a number") {
                return;
            }
        }
    }
}

/// Median milliseconds to write so many bytes at the end of a file and sync them.
fn device(folder: &std::path::Path, bytes: usize) -> f64 {
    let file = File::create(folder.join("device")).expect("a file");
    let buffer = vec![7; bytes];
    let mut times: Vec<f64> = (0..200u64)
        .map(|index| {
            let begun = Instant::now();
            file.write_all_at(&buffer, index * bytes as u64).expect("room");
            file.sync_data().expect("a sync");
            begun.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_unstable_by(f64::total_cmp);
    times[times.len() / 2]
}
