//! What opening for writing does after a crash: cuts an incomplete last frame into quarantine, keeps the rest, syncs it.

use crate::error::Error;
use crate::layout::SegmentPart;
use crate::scan::{LogFiles, Scan, ScannedSegment};
use crate::segment::Segment;
use crate::segment::frames::FramesFile;
use crate::segment::writer::SegmentStart;
use crate::storage::{Access, Storage, StoredFile, parent, write_whole};
use cairn_schemas::Clock;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Bytes copied at once.
const COPY_BYTES: usize = 1 << 20;

/// Creates an empty frames file with a durable name, or opens one that a crash left empty.
pub(crate) fn create_frames(disk: &dyn Storage, path: &Path) -> Result<Arc<dyn StoredFile>, Error> {
    let file = match disk.create_new(path, Access::Default) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => disk.open_writable(path),
        other => other,
    };
    let file = file.map_err(crate::storage::full_or("creating", path, 0))?;
    disk.sync_dir(parent(path))
        .map_err(|e| Error::OutcomeUnknown { why: format!("syncing {}: {e}", path.display()) })?;
    Ok(file)
}

/// Makes the log on disk equal to what the scan kept, durably, and leaves a frames file to append to.
pub(crate) fn recover(files: &LogFiles, scan: &mut Scan, clock: &dyn Clock) -> Result<(), Error> {
    let disk = &*files.disk;
    // A process that was killed may have left names that only the page cache knows. What is built on them comes after.
    let folder = files.layout.segments();
    disk.sync_dir(&folder).map_err(Error::io("syncing", &folder))?;
    for name in &scan.temporary {
        remove(disk, &files.layout.segments().join(name))?;
    }
    for &(first, part) in &scan.leftover {
        remove(disk, &files.layout.segment(first, part))?;
    }
    reopen_last(files, scan)?;
    let tail = scan.tail.take();
    let durable_before = scan.durable_before;
    let next = scan.state.head + 1;
    let Some(ScannedSegment { segment: Segment::Frames(file), frames, .. }) = scan.segments.last() else {
        return append_frames_file(files, scan);
    };
    if let Some(tail) = &tail {
        if !tail.broken.blank {
            quarantine(files, file, tail.end, tail.file_bytes, clock)?;
        }
        file.file.set_bytes(tail.end).map_err(file.site.io("cutting"))?;
        let cut = tail.file_bytes - tail.end;
        tracing::warn!(file = %file.site.path().display(), position = next, bytes = cut, "cut an incomplete last frame");
    }
    let doubtful = frames.iter().find(|frame| frame.first > durable_before).map(|frame| frame.offset);
    if let Some(offset) = doubtful {
        rewrite(file, offset)?;
    }
    file.file.sync().map_err(file.site.io("syncing"))
}

/// A reader's part: what it shows, it syncs first. It writes nothing.
pub(crate) fn settle(_files: &LogFiles, scan: &Scan) -> Result<(), Error> {
    let Some(ScannedSegment { segment: Segment::Frames(file), .. }) = scan.segments.last() else { return Ok(()) };
    match file.file.sync() {
        // Nobody can be appending to a file system that takes no writes.
        Err(e) if e.kind() == io::ErrorKind::ReadOnlyFilesystem => Ok(()),
        other => other.map_err(file.site.io("syncing")),
    }
}

/// The scan had opened the last frames file for reading only.
fn reopen_last(files: &LogFiles, scan: &mut Scan) -> Result<(), Error> {
    if let Some(ScannedSegment { segment: Segment::Frames(file), .. }) = scan.segments.last_mut() {
        file.file = files.disk.open_writable(file.site.path()).map_err(file.site.io("opening"))?;
    }
    Ok(())
}

/// Where the last segment is sealed, a new frames file follows it.
fn append_frames_file(files: &LogFiles, scan: &mut Scan) -> Result<(), Error> {
    let first = scan.state.head + 1;
    let site = files.at(files.layout.segment(first, SegmentPart::Frames));
    let file = create_frames(&*files.disk, site.path())?;
    let start = Some(SegmentStart { first, chain: scan.state.chain, tree: scan.state.tree.clone() });
    let segment = Segment::Frames(FramesFile { site, file, first });
    scan.segments.push(ScannedSegment { segment, frames: Vec::new(), start });
    Ok(())
}

/// Keeps the bytes that are about to be cut, under a name that no earlier cut has.
fn quarantine(files: &LogFiles, file: &FramesFile, from: u64, to: u64, clock: &dyn Clock) -> Result<(), Error> {
    let folder = files.layout.quarantine();
    files.disk.create_dirs(&folder).map_err(Error::io("creating", &folder))?;
    let length = usize::try_from(to - from).expect("a segment fits the address space");
    let mut bytes = vec![0; length];
    file.file.read_exact_at(&mut bytes, from).map_err(file.site.io("reading"))?;
    let name = format!("{:020}.{from}.{}.frames", file.first, clock.now().as_micros());
    write_whole(&*files.disk, &folder.join(name), Access::Default, &bytes)
}

/// Writes the bytes again that no sync is known to have covered: after a failed sync the page cache calls them clean
/// although the disk may lack them, and a sync alone would not write them.
fn rewrite(file: &FramesFile, mut offset: u64) -> Result<(), Error> {
    let end = file.file.bytes().map_err(file.site.io("measuring"))?;
    let mut bytes = Vec::new();
    while offset < end {
        bytes.resize(COPY_BYTES.min((end - offset) as usize), 0);
        file.file.read_exact_at(&mut bytes, offset).map_err(file.site.io("reading"))?;
        file.file.write_all_at(&bytes, offset).map_err(file.site.io("rewriting"))?;
        offset += bytes.len() as u64;
    }
    Ok(())
}

fn remove(disk: &dyn Storage, path: &Path) -> Result<(), Error> {
    match disk.remove(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io("removing", path)(e)),
        _ => Ok(()),
    }
}
