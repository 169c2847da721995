//! Bytes of one file: read in bounded pieces, digested on the way, and checked to be UTF-8 without being held.

use cairn_schemas::{Blake3, Sha256};
use sha2::Digest;
use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

const BUFFER_BYTES: usize = 256 << 10;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// One open file whose digests cover exactly the bytes read so far.
pub(super) struct Input {
    reader: BufReader<Digesting<File>>,
    position: u64,
}

/// What `read_line` found.
pub(super) enum Line {
    /// The line is in the buffer, without its line end; it began at this byte of the file.
    Whole {
        offset: u64,
    },
    /// The line is longer than allowed and was passed over: nothing of it was kept.
    TooLong {
        bytes: u64,
    },
    End,
}

/// What `read_document` found.
pub(super) enum Document {
    Whole(Vec<u8>),
    TooLarge { bytes: u64 },
}

/// Size and digests of a whole file.
pub(super) struct Digests {
    pub(super) blake3: Blake3,
    pub(super) sha256: Sha256,
    pub(super) bytes: u64,
}

impl Input {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let digesting = Digesting {
            inner: File::open(path)?,
            blake3: blake3::Hasher::new(),
            sha256: sha2::Sha256::new(),
            bytes: 0,
        };
        Ok(Self { reader: BufReader::with_capacity(BUFFER_BYTES, digesting), position: 0 })
    }

    /// Reads one line into `line`, holding at most `bytes_max` of it. A byte order mark at the file's start is dropped.
    pub(super) fn read_line(&mut self, line: &mut Vec<u8>, bytes_max: usize) -> io::Result<Line> {
        line.clear();
        let mut offset = self.position;
        // One byte more than allowed, so that a line of exactly the allowed length still shows its line end.
        let taken = (&mut self.reader).take(bytes_max as u64 + 1).read_until(b'\n', line)?;
        self.position += taken as u64;
        if taken == 0 {
            return Ok(Line::End);
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        } else if line.len() > bytes_max {
            let ended = self.skip_line()?;
            return Ok(Line::TooLong { bytes: self.position - offset - u64::from(ended) });
        }
        if offset == 0 && line.starts_with(BYTE_ORDER_MARK) {
            line.drain(..BYTE_ORDER_MARK.len());
            offset += BYTE_ORDER_MARK.len() as u64;
        }
        Ok(Line::Whole { offset })
    }

    /// Passes over the rest of a line; says whether a line end closed it.
    fn skip_line(&mut self) -> io::Result<bool> {
        loop {
            let buffered = self.reader.fill_buf()?;
            if buffered.is_empty() {
                return Ok(false);
            }
            let found = memchr::memchr(b'\n', buffered);
            let used = found.map_or(buffered.len(), |at| at + 1);
            self.reader.consume(used);
            self.position += used as u64;
            if found.is_some() {
                return Ok(true);
            }
        }
    }

    /// Reads the whole file where it has at most `bytes_max` bytes; passes over it otherwise.
    pub(super) fn read_document(&mut self, bytes_max: usize) -> io::Result<Document> {
        let mut bytes = Vec::new();
        (&mut self.reader).take(bytes_max as u64 + 1).read_to_end(&mut bytes)?;
        if bytes.len() > bytes_max {
            drop(bytes);
            return Ok(Document::TooLarge { bytes: self.drain()? });
        }
        if bytes.starts_with(BYTE_ORDER_MARK) {
            bytes.drain(..BYTE_ORDER_MARK.len());
        }
        Ok(Document::Whole(bytes))
    }

    /// The bytes themselves, for parsers that drive the reading.
    pub(super) fn reader(&mut self) -> &mut impl BufRead {
        &mut self.reader
    }

    /// Reads to the end, so that the digests are the file's; gives its length.
    fn drain(&mut self) -> io::Result<u64> {
        loop {
            let buffered = self.reader.fill_buf()?.len();
            if buffered == 0 {
                return Ok(self.reader.get_ref().bytes);
            }
            self.reader.consume(buffered);
        }
    }

    /// Reads whatever is left and gives the digests of the whole file.
    pub(super) fn finish(mut self) -> io::Result<Digests> {
        self.drain()?;
        let Digesting { blake3, sha256, bytes, .. } = self.reader.into_inner();
        Ok(Digests {
            blake3: Blake3::from_bytes(*blake3.finalize().as_bytes()),
            sha256: Sha256::from_bytes(sha256.finalize().into()),
            bytes,
        })
    }
}

/// Digests what passes through.
struct Digesting<R> {
    inner: R,
    blake3: blake3::Hasher,
    sha256: sha2::Sha256,
    bytes: u64,
}

impl<R: Read> Read for Digesting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.blake3.update(&buffer[..read]);
        self.sha256.update(&buffer[..read]);
        self.bytes += read as u64;
        Ok(read)
    }
}

/// Checks a stream of bytes to be UTF-8, whatever pieces it comes in.
#[derive(Default)]
pub(super) struct Utf8Check {
    /// An incomplete character at the end of what was fed.
    carry: [u8; 4],
    carry_length: usize,
    fed: u64,
    invalid_at: Option<u64>,
}

impl Utf8Check {
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while self.carry_length > 0 && self.invalid_at.is_none() {
            let Some((&first, after)) = rest.split_first() else { return };
            self.carry[self.carry_length] = first;
            self.carry_length += 1;
            match std::str::from_utf8(&self.carry[..self.carry_length]) {
                Ok(_) => self.carry_length = 0,
                Err(e) if e.error_len().is_none() => {}
                Err(_) => self.invalid_at = Some(self.fed + 1 - self.carry_length as u64),
            }
            self.fed += 1;
            rest = after;
        }
        if self.invalid_at.is_none()
            && let Err(e) = std::str::from_utf8(rest)
        {
            let (_, tail) = rest.split_at(e.valid_up_to());
            match e.error_len() {
                Some(_) => self.invalid_at = Some(self.fed + e.valid_up_to() as u64),
                None => {
                    self.carry[..tail.len()].copy_from_slice(tail);
                    self.carry_length = tail.len();
                }
            }
        }
        self.fed += rest.len() as u64;
    }

    /// Offset of the first byte that is not UTF-8, counted over all that was fed; an unfinished character counts.
    pub(super) fn invalid_at(&self) -> Option<u64> {
        self.invalid_at.or_else(|| (self.carry_length > 0).then(|| self.fed - self.carry_length as u64))
    }

    /// Forgets what was found, so that the next record of the stream is judged alone; offsets go on counting.
    pub(super) fn restart(&mut self) {
        self.carry_length = 0;
        self.invalid_at = None;
    }
}

/// A reader that feeds a `Utf8Check`, and counts.
pub(super) struct Checked<'a, R> {
    pub(super) inner: R,
    pub(super) utf8: &'a mut Utf8Check,
}

impl<R: Read> Read for Checked<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.utf8.feed(&buffer[..read]);
        Ok(read)
    }
}

/// A reader that counts what was taken and refuses to go past a mark, which bounds what a parser may hold.
pub(super) struct Metered<'a, R> {
    pub(super) inner: R,
    pub(super) meter: &'a Meter,
}

#[derive(Default)]
pub(super) struct Meter {
    taken: Cell<u64>,
    stop_at: Cell<Option<u64>>,
    stopped: Cell<bool>,
    /// Whether anything but white space was taken.
    written: Cell<bool>,
}

impl Meter {
    pub(super) fn taken(&self) -> u64 {
        self.taken.get()
    }
    /// From here on at most `bytes` more, or without limit.
    pub(super) fn allow(&self, bytes: Option<usize>) {
        self.stop_at.set(bytes.map(|n| self.taken.get() + n as u64));
    }
    /// Whether nothing but white space was taken.
    pub(super) fn blank(&self) -> bool {
        !self.written.get()
    }
    /// Whether the mark was met.
    pub(super) fn stopped(&self) -> bool {
        self.stopped.get()
    }
}

impl<R: Read> Read for Metered<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.meter.stop_at.get().is_some_and(|stop| self.meter.taken.get() >= stop) {
            self.meter.stopped.set(true);
            return Err(io::Error::other("a value is larger than the limit"));
        }
        let read = self.inner.read(buffer)?;
        self.meter.taken.set(self.meter.taken.get() + read as u64);
        if !self.meter.written.get() {
            self.meter.written.set(!buffer[..read].iter().all(u8::is_ascii_whitespace));
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_in_pieces(bytes: &[u8], piece: usize) -> Option<u64> {
        let mut check = Utf8Check::default();
        bytes.chunks(piece).for_each(|chunk| check.feed(chunk));
        check.invalid_at()
    }

    #[test]
    fn utf8_is_judged_alike_in_pieces_of_any_size() {
        let texts: [&[u8]; 9] = [
            b"",
            b"plain",
            "aé€😀z".as_bytes(),
            b"ab\xff",
            b"\xe2\x82",
            b"ab\xe2\x82z",
            "€€\u{7f}".as_bytes(),
            b"a\xf0\x9f\x98",
            b"\xc3\xa9\xc3",
        ];
        for bytes in texts {
            let expected = std::str::from_utf8(bytes).err().map(|e| e.valid_up_to() as u64);
            for piece in 1..=bytes.len().max(1) {
                assert_eq!(check_in_pieces(bytes, piece), expected, "{bytes:?} in pieces of {piece}");
            }
        }
    }
}
