//! The frames file: what is appended to, until it is sealed. Reading it finds where whole frames end, and why.

use super::locate::wrong_in_frame;
use crate::continuity::At;
use crate::error::{Error, Mismatch};
use crate::frame::{Frame, FrameHeader, HEADER_BYTES, MAGIC};
use crate::site::Site;
use crate::storage::{StoredFile, Window};
use std::sync::Arc;

/// Where a frame stands in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameAt {
    pub(crate) first: u64,
    pub(crate) offset: u64,
    pub(crate) bytes: u32,
}

pub(crate) struct FramesFile {
    pub(crate) site: Site,
    pub(crate) file: Arc<dyn StoredFile>,
    /// Position that the file's name promises.
    pub(crate) first: u64,
}

/// Why reading stopped before the end of the file.
#[derive(Debug)]
pub(crate) struct Break {
    pub(crate) mismatch: Mismatch,
    /// Whether bytes are missing, as after a crash: the file ends inside the frame, or a sector of it reads as zeros.
    pub(crate) incomplete: bool,
    /// Whether nothing but zeros follows: space that was reserved and never written.
    pub(crate) blank: bool,
}

/// What a walk over the file found.
#[derive(Debug)]
pub(crate) struct Walked {
    /// Offset after the last whole frame.
    pub(crate) end: u64,
    pub(crate) file_bytes: u64,
    pub(crate) broken: Option<Break>,
    /// The greatest durable head that any whole frame names.
    pub(crate) durable_before: u64,
}

const SECTOR_BYTES: u64 = 512;

impl FramesFile {
    /// Hands out whole frames in order, and stops at the first bytes that are not one.
    pub(crate) fn walk(&self, mut each: impl FnMut(FrameAt, &Frame<'_>) -> Result<(), Error>) -> Result<Walked, Error> {
        let file_bytes = self.file.bytes().map_err(self.site.io("measuring"))?;
        let mut window = Window::new(&*self.file, file_bytes);
        let mut walked = Walked { end: 0, file_bytes, broken: None, durable_before: 0 };
        while walked.end < file_bytes {
            let read = self.site.io("reading");
            let header = FrameHeader::decode(window.get(walked.end, HEADER_BYTES).map_err(read)?);
            let length = header.as_ref().map_or(HEADER_BYTES, FrameHeader::frame_bytes);
            let bytes = window.get(walked.end, length).map_err(self.site.io("reading"))?;
            let whole = match bytes.len() < length {
                true => Err(Mismatch::new(0, format!("{length} bytes of a frame"), format!("{} bytes", bytes.len()))),
                false => header.and_then(|_| Frame::decode(bytes)),
            };
            let frame = match whole {
                Ok(frame) => frame,
                Err(mismatch) => {
                    let incomplete = bytes.len() < length || has_blank_sector(walked.end, bytes);
                    let blank = is_blank_from(&mut window, walked.end).map_err(self.site.io("reading"))?;
                    walked.broken = Some(Break { mismatch, incomplete: incomplete || blank, blank });
                    return Ok(walked);
                }
            };
            let bytes = u32::try_from(length).expect("a frame is at most 16 MiB");
            each(FrameAt { first: frame.header.first.get(), offset: walked.end, bytes }, &frame)?;
            walked.durable_before = walked.durable_before.max(frame.header.durable_before);
            walked.end += length as u64;
        }
        Ok(walked)
    }

    /// The greatest durable head named by any frame header after `offset`; 0 for none. Searches byte by byte.
    pub(crate) fn durable_head_after(&self, offset: u64) -> Result<u64, Error> {
        let file_bytes = self.file.bytes().map_err(self.site.io("measuring"))?;
        let mut window = Window::new(&*self.file, file_bytes);
        let (mut at, mut durable) = (offset + 1, 0);
        const STEP: usize = 64 << 10;
        while at + (HEADER_BYTES as u64) <= file_bytes {
            let bytes = window.get(at, STEP + HEADER_BYTES).map_err(self.site.io("reading"))?;
            let last = (bytes.len() - HEADER_BYTES).min(STEP);
            for start in 0..=last {
                if bytes[start..].starts_with(&MAGIC)
                    && let Ok(header) = FrameHeader::decode(&bytes[start..start + HEADER_BYTES])
                {
                    durable = durable.max(header.durable_before);
                }
            }
            at += last as u64 + 1;
        }
        Ok(durable)
    }

    /// Turns a broken frame into a finding, at the very event that is wrong where that can be told.
    pub(crate) fn damage_at(&self, offset: u64, first: u64, mismatch: Mismatch) -> Error {
        let (position, mismatch) = self.wrong_event(offset, first).unwrap_or((first, mismatch));
        self.site.damage(Some(position), offset, mismatch)
    }

    fn wrong_event(&self, offset: u64, first: u64) -> Option<At> {
        let mut header = [0; HEADER_BYTES];
        self.file.read_exact_at(&mut header, offset).ok()?;
        let header = FrameHeader::decode(&header).ok()?;
        let mut bytes = vec![0; header.frame_bytes()];
        self.file.read_exact_at(&mut bytes, offset).ok()?;
        wrong_in_frame(&Frame::split(header, &bytes).ok()?, first)
    }

    /// Reads one frame that was whole before.
    pub(crate) fn read(&self, at: FrameAt) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; at.bytes as usize];
        self.file.read_exact_at(&mut bytes, at.offset).map_err(self.site.io("reading"))?;
        match Frame::decode(&bytes) {
            Ok(_) => Ok(bytes),
            Err(mismatch) => Err(self.damage_at(at.offset, at.first, mismatch)),
        }
    }

    /// The entries of a frame that was whole before, and their offset. Its header is checked, its CRC is not.
    pub(crate) fn read_entries(&self, at: FrameAt) -> Result<(u64, Vec<u8>), Error> {
        let mut header = [0; HEADER_BYTES];
        self.file.read_exact_at(&mut header, at.offset).map_err(self.site.io("reading"))?;
        let header = FrameHeader::decode(&header).map_err(|m| self.damage_at(at.offset, at.first, m))?;
        let offset = at.offset + header.entries_at() as u64;
        let mut entries = vec![0; header.entries_bytes as usize];
        self.file.read_exact_at(&mut entries, offset).map_err(self.site.io("reading"))?;
        Ok((offset, entries))
    }
}

/// Whether some disk sector, or the part of one, that a frame at `offset` covers reads as zeros only.
fn has_blank_sector(offset: u64, mut bytes: &[u8]) -> bool {
    let mut room = (SECTOR_BYTES - offset % SECTOR_BYTES) as usize;
    while !bytes.is_empty() {
        let (sector, rest) = bytes.split_at(room.min(bytes.len()));
        if sector.iter().all(|&byte| byte == 0) {
            return true;
        }
        bytes = rest;
        room = SECTOR_BYTES as usize;
    }
    false
}

fn is_blank_from(window: &mut Window<'_>, mut offset: u64) -> std::io::Result<bool> {
    while offset < window.file_bytes() {
        let bytes = window.get(offset, 64 << 10)?;
        if bytes.iter().any(|&byte| byte != 0) {
            return Ok(false);
        }
        offset += bytes.len() as u64;
    }
    Ok(true)
}
