//! Turns full frames files into the two immutable objects of a sealed segment, beside the sequencer.

use crate::error::Error;
use crate::layout::SegmentPart;
use crate::log::Log;
use crate::reader::LiveSegment;
use crate::segment::frames::FramesFile;
use crate::segment::writer::{SegmentStart, SegmentWriter};
use crate::segment::{Files, Sealed, SealedSlot, found_records};
use std::sync::Arc;
use std::sync::mpsc::Receiver;

/// Body of the sealer's thread.
pub(crate) fn run_sealer(logs: Receiver<Arc<Log>>) {
    for log in logs {
        if let Err(e) = seal_alone(&log) {
            tracing::warn!(log = %log.id, error = %e, "a full segment could not be sealed; the next seal tries again");
        }
    }
}

/// Seals what is full, beside whoever replaces payloads.
pub(crate) fn seal_alone(log: &Log) -> Result<(), Error> {
    let _sealing = log.writing.as_ref().expect("only logs open for writing are sealed").sealing.lock();
    seal_full(log)
}

/// Seals every frames file of a log but the last, which is being appended to. The caller holds `sealing`.
pub(crate) fn seal_full(log: &Log) -> Result<(), Error> {
    let segments = log.view.read().segments.clone();
    let Some((active, full)) = segments.split_last() else { return Ok(()) };
    let shelf = &log.writing.as_ref().expect("only logs open for writing are sealed").shelf;
    for segment in full {
        if let LiveSegment::Frames { file, start, .. } = &**segment {
            // Where a segment is sealed, opening finds its run and need not read it.
            shelf.publish(file.first)?;
            let sealed = seal(log, file, start)?;
            let size = sealed.open()?.entries.footer.after() - 1;
            replace(log, file.first, sealed)?;
            log.store_nodes(size);
        }
    }
    shelf.publish(active.first() - 1)?;
    shelf.compact(active.first())
}

fn seal(log: &Log, file: &FramesFile, start: &SegmentStart) -> Result<SealedSlot, Error> {
    let files = &log.files;
    let mut writer = SegmentWriter::create(&*files.disk, &files.layout, start.clone())?;
    let walked = file.walk(|at, frame| {
        writer.frame(frame.entries, frame.source_offsets)?;
        let records = found_records(&file.site, at.offset, frame, &mut |_| true)?;
        records.iter().try_for_each(|found| writer.record(&found.record))
    })?;
    if let Some(broken) = walked.broken.filter(|broken| !broken.blank) {
        return Err(file.damage_at(walked.end, writer.end().first, broken.mismatch));
    }
    let end = writer.end();
    writer.finish()?;
    let files_of = Files { first: start.first, frames: false, entries: true, generation: Some(0) };
    let slot = SealedSlot::new(files, files_of);
    check_against(&*slot.open()?, file, &end)?;
    Ok(slot)
}

/// Reads back what was sealed before the frames are given up.
fn check_against(sealed: &Sealed, file: &FramesFile, end: &SegmentStart) -> Result<(), Error> {
    let mut count = 0;
    sealed.walk(&mut |_| true, |found| {
        count += found.records.len() as u64;
        found.records.iter().try_for_each(crate::scan::check_record)
    })?;
    let footer = &sealed.entries.footer;
    assert_eq!(
        (file.first + count, footer.chain_after),
        (end.first, end.chain),
        "a seal must hold what the frames held"
    );
    Ok(())
}

fn replace(log: &Log, first: u64, sealed: SealedSlot) -> Result<(), Error> {
    {
        let mut view = log.view.write();
        let index = view.segments.partition_point(|segment| segment.first() < first);
        view.segments[index] = Arc::new(LiveSegment::Sealed(sealed));
    }
    let files = &log.files;
    let frames = files.layout.segment(first, SegmentPart::Frames);
    files.disk.remove(&frames).map_err(Error::io("removing", &frames))?;
    let folder = files.layout.segments();
    files.disk.sync_dir(&folder).map_err(Error::io("syncing", &folder))
}
