//! The erasure register: what was destroyed, so that a restored backup is erased again before it answers.
//!
//! One file a tenant, outside the backups of logs and vault. Lines are only added; each carries a keyed check over the
//! check before it. It holds no personal data: positions, commitments, key ids, keyed digests of artifacts.

mod apply;
mod line;

pub use apply::Applied;
pub(crate) use line::{Line, Unit, Units};

use crate::error::{Error, Mismatch};
use crate::layout::Layout;
use crate::payload::MacKeys;
use crate::site::Site;
use crate::storage::{Access, Storage, StoredFile, Window, full_or, parent, write_whole};
use cairn_schemas::TenantId;
use std::io;
use std::path::Path;
use std::sync::Arc;

const HEADER: &str = "cairn register 1\n";
/// No line is longer: a page of replacements takes most of it.
const LINE_BYTES_MAX: usize = 1 << 20;
const CHECK_BYTES: usize = 16;
/// What a crash leaves written or not as a whole.
const SECTOR_BYTES: usize = 512;

type Check = [u8; CHECK_BYTES];

/// A tenant's register, open for adding to it.
pub(crate) struct Register {
    disk: Arc<dyn Storage>,
    site: Site,
    keys: MacKeys,
    /// `None` until the first line is added.
    file: Option<Arc<dyn StoredFile>>,
    state: State,
}

/// Where a register ends.
#[derive(Clone, Copy, Debug)]
struct State {
    /// Offset after the last whole line.
    end: u64,
    check: Check,
    /// Redactions that were begun and not finished.
    unfinished: u64,
}

impl Register {
    /// Opens a tenant's register, which need not exist. Reads its last lines alone, if they are whole.
    pub(crate) fn open(
        disk: &Arc<dyn Storage>,
        layout: &Layout,
        tenant: &TenantId,
        keys: &MacKeys,
    ) -> Result<Self, Error> {
        Self::open_file(disk, &layout.dir, &layout.register(tenant), keys)
    }

    pub(crate) fn open_file(disk: &Arc<dyn Storage>, root: &Path, path: &Path, keys: &MacKeys) -> Result<Self, Error> {
        let site = Site::new("-", root, path.to_owned());
        let file = match disk.open_writable(path) {
            Ok(file) => Some(file),
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => return Err(site.io("opening")(e)),
        };
        let state = match &file {
            None => State { end: 0, check: genesis(keys), unfinished: 0 },
            Some(file) => match tail(&**file, &site, keys)? {
                Some(state) => state,
                None => read(&**file, &site, keys, &mut |_| Ok(()))?,
            },
        };
        Ok(Self { disk: disk.clone(), site, keys: keys.clone(), file, state })
    }

    /// Redactions that were begun and not finished.
    pub(crate) fn unfinished(&self) -> u64 {
        self.state.unfinished
    }

    /// Hands out every line in order, each checked.
    pub(crate) fn each(&self, each: &mut dyn FnMut(Line) -> Result<(), Error>) -> Result<(), Error> {
        match &self.file {
            None => Ok(()),
            Some(file) => read(&**file, &self.site, &self.keys, each).map(drop),
        }
    }

    /// Adds lines, durably.
    pub(crate) fn add(&mut self, lines: &[Line]) -> Result<(), Error> {
        let (mut text, mut state) = (Vec::new(), self.state);
        if self.file.is_none() {
            self.create()?;
            state.end = HEADER.len() as u64;
            self.state = state;
        }
        for line in lines {
            state.unfinished = line.unfinished_after(state.unfinished);
            let body = line.encode(state.unfinished);
            assert!(body.len() + 2 * CHECK_BYTES + 2 <= LINE_BYTES_MAX, "a line of the register is bounded");
            state.check = next(&self.keys, &state.check, body.as_bytes());
            text.extend_from_slice(format!("{body} {}\n", hex::encode(state.check)).as_bytes());
        }
        state.end += text.len() as u64;
        let (file, path) = (self.file.as_ref().expect("just created"), self.site.path());
        let length = text.len() as u64;
        // What a crash left after the last whole line is overwritten, and what is left of it cut.
        let written = file
            .set_bytes(self.state.end)
            .and_then(|()| file.write_all_at(&text, self.state.end))
            .and_then(|()| file.sync());
        written.map_err(full_or("writing", path, length))?;
        self.state = state;
        Ok(())
    }

    fn create(&mut self) -> Result<(), Error> {
        let path = self.site.path();
        self.disk.create_dirs(parent(path)).map_err(Error::io("creating", parent(path)))?;
        write_whole(&*self.disk, path, Access::Owner, HEADER.as_bytes())?;
        self.file = Some(self.disk.open_writable(path).map_err(Error::io("opening", path))?);
        Ok(())
    }
}

/// Reads a register that is opened by nobody; one that is not there says nothing.
pub(crate) fn read_only(
    disk: &dyn Storage,
    root: &Path,
    path: &Path,
    keys: &MacKeys,
    each: &mut dyn FnMut(Line) -> Result<(), Error>,
) -> Result<(), Error> {
    let site = Site::new("-", root, path.to_owned());
    match disk.open(path) {
        Ok(file) => read(&*file, &site, keys, each).map(drop),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(site.io("opening")(e)),
    }
}

fn genesis(keys: &MacKeys) -> Check {
    next(keys, &[0; CHECK_BYTES], HEADER.as_bytes())
}

fn next(keys: &MacKeys, before: &Check, body: &[u8]) -> Check {
    keys.register_line(before, body)[..CHECK_BYTES].try_into().expect("16 of 32 bytes")
}

/// Splits a line into what is checked and its check.
fn split(line: &[u8]) -> Option<(&str, Check)> {
    let text = std::str::from_utf8(line).ok()?;
    let (body, digits) = text.rsplit_once(' ')?;
    let mut check = [0; CHECK_BYTES];
    hex::decode_to_slice(digits, &mut check).ok()?;
    (hex::encode(check) == digits).then_some((body, check))
}

/// Reads all lines. A last one that a write left incomplete is passed over; the next to be added takes its place.
fn read(
    file: &dyn StoredFile,
    site: &Site,
    keys: &MacKeys,
    each: &mut dyn FnMut(Line) -> Result<(), Error>,
) -> Result<State, Error> {
    let file_bytes = file.bytes().map_err(site.io("measuring"))?;
    let mut window = Window::new(file, file_bytes);
    let header = window.get(0, HEADER.len()).map_err(site.io("reading"))?;
    if header != HEADER.as_bytes() {
        let found = String::from_utf8_lossy(header).into_owned();
        return Err(site.damage(None, 0, Mismatch::new(0, format!("`{}`", HEADER.trim_end()), format!("`{found}`"))));
    }
    let mut state = State { end: HEADER.len() as u64, check: genesis(keys), unfinished: 0 };
    while state.end < file_bytes {
        let bytes = window.get(state.end, LINE_BYTES_MAX).map_err(site.io("reading"))?;
        let length = bytes.iter().position(|&byte| byte == b'\n');
        let line = length.map(|length| &bytes[..length]);
        let parsed = line.and_then(|line| {
            let (body, check) =
                split(line).filter(|(body, check)| next(keys, &state.check, body.as_bytes()) == *check)?;
            Some((Line::decode(body)?, check))
        });
        let Some(((line, unfinished), check)) = parsed else {
            let is_last = length.is_none_or(|length| state.end + length as u64 + 1 == file_bytes);
            let is_torn = line.is_none_or(|line| lacks_sector(line, state.end));
            if is_last && is_torn {
                break;
            }
            let expected = "a line with the check that follows from the one before";
            return Err(site.damage(None, state.end, Mismatch::new(0, expected, "another")));
        };
        if line.unfinished_after(state.unfinished) != unfinished {
            let expected = format!("a line that leaves {} unfinished", line.unfinished_after(state.unfinished));
            return Err(site.damage(None, state.end, Mismatch::new(0, expected, unfinished)));
        }
        state.end += length.expect("a line was parsed") as u64 + 1;
        state.check = check;
        state.unfinished = unfinished;
        each(line)?;
    }
    Ok(state)
}

/// Whether a sector that a line at this offset covers reads as zeros: one that the last write did not reach.
fn lacks_sector(line: &[u8], at: u64) -> bool {
    let to_next = SECTOR_BYTES - at as usize % SECTOR_BYTES;
    let (first, rest) = line.split_at(to_next.min(line.len()));
    let is_zeros = |part: &[u8]| !part.is_empty() && part.iter().all(|byte| *byte == 0);
    is_zeros(first) || rest.chunks(SECTOR_BYTES).any(is_zeros)
}

/// The state at the end, from the last two lines; `None` where these alone do not tell it.
fn tail(file: &dyn StoredFile, site: &Site, keys: &MacKeys) -> Result<Option<State>, Error> {
    let file_bytes = file.bytes().map_err(site.io("measuring"))?;
    let from = file_bytes.saturating_sub(2 * LINE_BYTES_MAX as u64);
    let mut bytes = vec![0; (file_bytes - from) as usize];
    file.read_exact_at(&mut bytes, from).map_err(site.io("reading"))?;
    let Some(whole) = bytes.strip_suffix(b"\n") else { return Ok(None) };
    let mut lines = whole.rsplit(|&byte| byte == b'\n');
    let (last, before) = (lines.next().and_then(split), lines.next().and_then(split));
    let (Some((body, check)), Some((_, before))) = (last, before) else { return Ok(None) };
    if next(keys, &before, body.as_bytes()) != check {
        return Ok(None);
    }
    let Some((_, unfinished)) = Line::decode(body) else { return Ok(None) };
    Ok(Some(State { end: file_bytes, check, unfinished }))
}
