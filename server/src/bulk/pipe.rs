//! From a blocking writer to an HTTP body: a few chunks in flight, and a reader that takes none for a while is left.

use crate::problem::{Kind, Problem};
use axum::body::{Body, Bytes};
use std::io::{self, Write};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

/// Bytes of one chunk.
const CHUNK_BYTES: usize = 256 << 10;
/// Chunks that wait for the reader.
const CHUNKS_MAX: usize = 4;
/// How long a reader may take nothing.
const STALL_MAX: Duration = Duration::from_secs(60);

type Sender = mpsc::Sender<Result<Bytes, io::Error>>;

/// Where encoders write to. Used on a thread that may block.
pub(super) struct Pipe {
    buffer: Vec<u8>,
    to: Sender,
    stopping: watch::Receiver<bool>,
    runtime: Handle,
}

/// Ends the body by an error, which its reader meets in place of an end.
pub(super) struct Breaker(Sender, Handle);

impl Pipe {
    pub(super) fn new(stopping: watch::Receiver<bool>) -> (Self, Body) {
        let (to, mut from) = mpsc::channel(CHUNKS_MAX);
        let body = Body::from_stream(async_stream::stream! {
            while let Some(chunk) = from.recv().await {
                yield chunk;
            }
        });
        (Self { buffer: Vec::with_capacity(CHUNK_BYTES), to, stopping, runtime: Handle::current() }, body)
    }

    pub(super) fn breaker(&self) -> Breaker {
        Breaker(self.to.clone(), self.runtime.clone())
    }

    fn send(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK_BYTES));
        let Self { to, stopping, .. } = self;
        let sent = async {
            tokio::select! {
                sent = tokio::time::timeout(STALL_MAX, to.send(Ok(chunk.into()))) => match sent {
                    Ok(Ok(())) => Ok(()),
                    Ok(Err(_)) => Err(io::Error::new(io::ErrorKind::BrokenPipe, "the reader left")),
                    Err(_) => Err(io::Error::new(io::ErrorKind::BrokenPipe, format!("the reader took nothing for {STALL_MAX:?}"))),
                },
                _ = stopping.wait_for(|stop| *stop) => Err(io::Error::new(io::ErrorKind::BrokenPipe, "the server is stopping")),
            }
        };
        self.runtime.block_on(sent)
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() >= CHUNK_BYTES {
            self.send()?;
        }
        let taken = bytes.len().min(CHUNK_BYTES.saturating_sub(self.buffer.len()).max(1));
        self.buffer.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.send()
    }
}

impl Breaker {
    pub(super) fn break_off(&self, problem: &Problem) {
        let error = io::Error::other(problem.detail.clone());
        // Whoever left needs no word of it.
        let _ = self.1.block_on(tokio::time::timeout(STALL_MAX, self.0.send(Err(error))));
    }
}

/// What a failed write means: its reader left, or an encoder could not go on.
pub(super) fn failed(error: io::Error) -> Problem {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Problem::new(Kind::Unavailable, error.to_string()),
        io::ErrorKind::FileTooLarge => Problem::new(Kind::TooLarge, error.to_string()),
        io::ErrorKind::StorageFull => Problem::new(Kind::DiskFull, "no room for an answer in parts").retry_after(30),
        _ => Problem::internal(error.to_string()),
    }
}
