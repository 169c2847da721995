//! One log of an open ledger: its identity and keys, what readers see of it, and the writer that the sequencer uses.

use crate::checkpoint::{LogSigner, LogVerifier, SignedCheckpoint};
use crate::continuity::Continuity;
use crate::error::Error;
use crate::event::{Prepared, is_same_content};
use crate::index::Index;
use crate::keys;
use crate::layout::{Layout, LogId, SegmentPart};
use crate::options::Options;
use crate::payload::{MacKeys, RecordKind};
use crate::placement::{Appended, First};
use crate::reader::{self, LiveSegment, View};
use crate::recovery;
use crate::scan::{LogFiles, Scan, ScannedSegment};
use crate::segment::Segment;
use crate::storage::{Storage, read_small};
use crate::writer::Writer;
use cairn_schemas::Position;
use parking_lot::{Mutex, RwLock};
use std::sync::Arc;

pub(crate) struct Log {
    pub(crate) id: LogId,
    pub(crate) files: LogFiles,
    pub(crate) verifier: LogVerifier,
    pub(crate) view: RwLock<View>,
    /// `None` where the ledger is open read-only.
    pub(crate) writing: Option<Writing>,
}

/// What only a ledger that is open for writing has.
pub(crate) struct Writing {
    pub(crate) mac_keys: MacKeys,
    pub(crate) signer: LogSigner,
    /// Used by the sequencer alone.
    pub(crate) writer: Mutex<Writer>,
}

/// How a log is opened.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Write,
    ReadOnly,
}

impl Log {
    /// Creates a log's folder, keys and first segment. Safe to repeat after a crash in the middle.
    pub(crate) fn create(layout: &Layout, id: &LogId, origin: &str, options: &Options) -> Result<(), Error> {
        let disk = &*options.storage;
        let log = layout.log(id);
        let segments = log.segments();
        disk.create_dirs(&segments).map_err(Error::io("creating", &segments))?;
        keys::ensure_mac_key(disk, layout, &id.tenant, &*options.random)?;
        let signer = keys::ensure_signer(disk, layout, id, origin, &*options.random)?;
        recovery::create_frames(disk, &log.segment(1, SegmentPart::Frames))?;
        // The public key comes last: where it stands, the log is whole.
        keys::write_verifier(disk, &log.verifier_key(), signer.verifier())
    }

    /// Opens a log. `None` if its creation was cut short before anything could be appended.
    pub(crate) fn open(
        layout: &Layout,
        id: &LogId,
        origin: &str,
        options: &Options,
        mode: Mode,
    ) -> Result<Option<Self>, Error> {
        let disk = options.storage.clone();
        let log = layout.log(id);
        let files = LogFiles::new(disk.clone(), &layout.dir, &id.to_string(), log.clone());
        let Some(verifier) = keys::read_verifier(&*disk, layout, &log.verifier_key())? else {
            return if has_events(&files)? { Err(missing_key(layout, &log.verifier_key())) } else { Ok(None) };
        };
        check_origin(layout, id, origin, &verifier)?;
        let secrets = match mode {
            Mode::ReadOnly => None,
            Mode::Write => Some(read_secrets(&*disk, layout, id, &verifier)?),
        };
        let checkpoint = read_checkpoint(&files, &verifier)?;
        let (index, mut scan) = scan_into_index(&files, &verifier, checkpoint.as_ref())?;
        if mode == Mode::Write {
            recovery::recover(&files, &mut scan, &*options.clock)?;
        } else {
            recovery::settle(&files, &scan)?;
        }
        let Scan { state, segments, .. } = scan;
        let segments: Vec<_> = segments.into_iter().map(live).collect();
        let view = View { segments: segments.clone(), head: state.head, chain: state.chain, checkpoint };
        let writing = match secrets {
            None => None,
            Some((mac_keys, signer)) => {
                let writer = Writer::new(options, &segments, state, index)?;
                Some(Writing { mac_keys, signer, writer: Mutex::new(writer) })
            }
        };
        Ok(Some(Self { id: id.clone(), files, verifier, view: RwLock::new(view), writing }))
    }

    /// Looks up an event that was recorded before, to tell a repeat from a conflict.
    pub(crate) fn lookup(&self, position: Position, new: &Prepared, keys: &MacKeys) -> Result<First, Error> {
        let (entry, kind, stored) =
            reader::one(&self.view, position)?.expect("the index holds positions up to the head");
        let appended = Appended {
            position,
            stream_version: entry.stream_version,
            duplicate: true,
            recorded_at: entry.recorded_at,
        };
        let same_content = kind == RecordKind::Replacement || is_same_content(new, entry.event_type, &stored, keys);
        Ok(First { appended, same_content })
    }

    pub(crate) fn head(&self) -> Option<Position> {
        Position::new(self.view.read().head)
    }
}

pub(crate) fn has_events(files: &LogFiles) -> Result<bool, Error> {
    let listing = crate::segment::list(&*files.disk, &files.site, &files.root, &files.layout);
    match listing {
        Ok(listing) => {
            for segment in &listing.segments {
                let path = files.layout.segment(segment.first, SegmentPart::Frames);
                let bytes = read_small(&*files.disk, &path)?;
                if segment.entries || bytes.is_some_and(|bytes| !bytes.is_empty()) {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

/// A log's key is made for that log: one that was put in the place of another is refused.
pub(crate) fn check_origin(layout: &Layout, id: &LogId, origin: &str, verifier: &LogVerifier) -> Result<(), Error> {
    match verifier.origin() == origin {
        true => Ok(()),
        false => {
            let path = layout.log(id).verifier_key();
            Err(keys::damaged(layout, &path, format!("a key for origin {origin}"), verifier.origin()))
        }
    }
}

pub(crate) fn missing_key(layout: &Layout, path: &std::path::Path) -> Error {
    keys::damaged(layout, path, "a key".into(), "no file")
}

pub(crate) fn read_secrets(
    disk: &dyn Storage,
    layout: &Layout,
    id: &LogId,
    verifier: &LogVerifier,
) -> Result<(MacKeys, LogSigner), Error> {
    let mac_key = keys::read_mac_key(disk, layout, &id.tenant)?
        .ok_or_else(|| missing_key(layout, &layout.mac_key(&id.tenant)))?;
    let path = layout.signing_key(id);
    let signer = keys::read_signer(disk, layout, id)?.ok_or_else(|| missing_key(layout, &path))?;
    match signer.verifier() == verifier {
        true => Ok((MacKeys::derive(&mac_key.0), signer)),
        false => Err(keys::damaged(layout, &path, format!("the secret half of {}", verifier.encode()), "another key")),
    }
}

/// Reads the stored checkpoint and checks its signature.
pub(crate) fn read_checkpoint(files: &LogFiles, verifier: &LogVerifier) -> Result<Option<SignedCheckpoint>, Error> {
    let site = files.at(files.layout.checkpoint());
    let Some(bytes) = read_small(&*files.disk, site.path())? else { return Ok(None) };
    let parsed = String::from_utf8(bytes)
        .map_err(|_| "UTF-8 text".into())
        .and_then(|note| SignedCheckpoint::parse(&note, verifier));
    let refused = |expected: String| site.damage(None, 0, crate::error::Mismatch::new(0, expected, "another note"));
    parsed.map(Some).map_err(refused)
}

/// State that a scan of this log starts from: the origin's genesis, and what its checkpoint promises.
pub(crate) fn start_state(verifier: &LogVerifier, checkpoint: Option<&SignedCheckpoint>) -> Continuity {
    let state = Continuity::new(verifier.origin());
    match checkpoint {
        Some(signed) => state.promised(signed.checkpoint.size, signed.checkpoint.root),
        None => state,
    }
}

fn scan_into_index(
    files: &LogFiles,
    verifier: &LogVerifier,
    checkpoint: Option<&SignedCheckpoint>,
) -> Result<(Index, Scan), Error> {
    let mut index = Index::default();
    let size = checkpoint.map_or(0, |signed| signed.checkpoint.size);
    let scan = files.scan(
        start_state(verifier, checkpoint),
        size,
        |entry| entry.stream_version == 1,
        &mut |entries, found| {
            for entry in entries {
                if !index.insert(entry.identity, entry.position) {
                    let found_twice =
                        crate::error::Mismatch::new(0, "an event not recorded before", "a repeat of an identity");
                    return Err(found.entries_site.damage(Some(entry.position.get()), found.entries_at, found_twice));
                }
            }
            for record in &found.records {
                let stream = cairn_schemas::StoredPayload::decode(record.record.bytes)?.stream;
                if !index.insert_stream(stream, record.entry.stream.0) {
                    let named_twice =
                        crate::error::Mismatch::new(0, "a stream not named before", "a repeat of its name");
                    return Err(record.site.damage(Some(record.entry.position.get()), record.at, named_twice));
                }
            }
            Ok(())
        },
    )?;
    Ok((index, scan))
}

fn live(scanned: ScannedSegment) -> Arc<LiveSegment> {
    Arc::new(match scanned.segment {
        Segment::Sealed(sealed) => LiveSegment::Sealed(sealed),
        Segment::Frames(file) => {
            LiveSegment::Frames { file, frames: RwLock::new(scanned.frames), start: scanned.start }
        }
    })
}
