//! One log of an open ledger: its identity and keys, what readers see of it, and what its writer needs.

use crate::checkpoint::{Checkpoint, LogSigner, LogVerifier, SignedCheckpoint};
use crate::continuity::Continuity;
use crate::cosignature::{Cosigner, CosignerKey};
use crate::error::{Error, Mismatch};
use crate::event::{Prepared, is_same_content};
use crate::index::Shelf;
use crate::keys;
use crate::layout::{Layout, LogId, SegmentPart};
use crate::lru::{Caches, Owner};
use crate::opening::Opening;
use crate::options::Options;
use crate::payload::{MacKeys, RecordKind};
use crate::placement::{Appended, Edge, First};
use crate::queue::Inbox;
use crate::reader::{self, LiveSegment, View};
use crate::recovery;
use crate::scan::{LogFiles, Scan, ScannedSegment};
use crate::segment::Segment;
use crate::signing::Signing;
use crate::storage::{Access, Storage, parent, read_small, write_whole};
use crate::tree::Tree;
use crate::tree::nodes::Nodes;
use crate::vault::{Vault, Vaults};
use crate::witnessed::{Witnessed, read_witnessed};
use crate::writer::Writer;
use cairn_schemas::{Clock, Position};
use parking_lot::{Mutex, RwLock};
use std::io;
use std::sync::Arc;

/// A log that has a folder or a signing key.
pub(crate) struct FoundLog {
    pub(crate) id: LogId,
    /// The signing key is the last file of a log's creation: where it stands, all others must.
    pub(crate) has_signer: bool,
}

pub(crate) struct Log {
    pub(crate) id: LogId,
    pub(crate) files: LogFiles,
    pub(crate) verifier: LogVerifier,
    /// Whose second signature its checkpoints bear.
    pub(crate) second_verifier: Option<CosignerKey>,
    pub(crate) view: RwLock<View>,
    pub(crate) vault: Arc<Vault>,
    pub(crate) nodes: Nodes,
    pub(crate) witnessed: RwLock<Option<Witnessed>>,
    /// `None` where the ledger is open read-only.
    pub(crate) writing: Option<Writing>,
}

/// What only a ledger that is open for writing has.
pub(crate) struct Writing {
    pub(crate) mac_keys: MacKeys,
    pub(crate) signer: LogSigner,
    /// What of the index the sealer shares with the writer.
    pub(crate) shelf: Arc<Shelf>,
    /// Signs checkpoints a second time, at the time that the clock gives.
    pub(crate) second: Option<(Cosigner, Arc<dyn Clock>)>,
    /// Used by one writer at a time.
    pub(crate) writer: Mutex<Writer>,
    pub(crate) inbox: Inbox,
    pub(crate) signing: Signing,
    /// Held while sealed segments are made or replaced.
    pub(crate) sealing: Mutex<()>,
}

/// How a log is opened.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Write,
    ReadOnly,
}

impl Log {
    /// Creates a log's folder, keys, first segment and first checkpoint. Safe to repeat after a crash in the middle.
    pub(crate) fn create(layout: &Layout, id: &LogId, origin: &str, options: &Options) -> Result<(), Error> {
        let disk = &*options.storage;
        let (log, signing_key) = (layout.log(id), layout.signing_key(id));
        if keys::read_signer(disk, layout, id)?.is_some() {
            // All was done, but perhaps for the last sync.
            return sync_folder(disk, parent(&signing_key));
        }
        for folder in [log.segments(), log.index()] {
            disk.create_dirs(&folder).map_err(Error::io("creating", &folder))?;
        }
        keys::ensure_mac_key(disk, layout, &id.tenant, &*options.random)?;
        let signer = keys::draw_signer(origin, &*options.random);
        recovery::create_frames(disk, &log.segment(1, SegmentPart::Frames))?;
        keys::write_verifier(disk, &log.verifier_key(), signer.verifier())?;
        let second = keys::ensure_second(disk, layout, id, origin, options.ml_dsa, &*options.random)?;
        let empty = Checkpoint { origin: origin.to_owned(), size: 0, root: Tree::default().root() }.sign(&signer);
        let empty = match &second {
            Some(second) => empty.sign_second(second, options.clock.now()),
            None => empty,
        };
        write_whole(disk, &log.checkpoint(), Access::Default, empty.note.as_bytes())?;
        // A folder that an earlier crash left may lack a durable name.
        for folder in [log.dir.as_path(), parent(&signing_key)] {
            for above in folder.ancestors().take_while(|above| above.starts_with(&layout.dir)) {
                sync_folder(disk, above)?;
            }
        }
        // The signing key comes last: where it stands, the log is whole, and whatever lacks then is damage.
        keys::write_signer(disk, layout, id, &signer)
    }

    /// Opens a log: the end of its sealed segments, and what follows them. `None` if its creation was cut short before
    /// anything could be appended.
    pub(crate) fn open(
        layout: &Layout,
        found: &FoundLog,
        origin: &str,
        options: &Options,
        caches: &Arc<Caches>,
        vaults: &Vaults,
    ) -> Result<Option<Self>, Error> {
        let mode = vaults.mode();
        let id = &found.id;
        let disk = options.storage.clone();
        let files = LogFiles::new(disk.clone(), &layout.dir, &id.to_string(), layout.log(id)).sharing(caches);
        let Some((verifier, checkpoint)) = read_identity(layout, found, origin, &files)? else { return Ok(None) };
        let witnessed = read_witnessed(&files, &verifier, &checkpoint)?;
        let secrets = match mode {
            Mode::ReadOnly => None,
            Mode::Write => {
                // The process that wrote the key may have been killed before its name was durable.
                sync_folder(&*disk, parent(&layout.signing_key(id)))?;
                Some(read_secrets(&*disk, layout, id, &verifier)?)
            }
        };
        let second_verifier = keys::read_second_verifier(&*disk, layout, id)?;
        let second = match mode {
            Mode::ReadOnly => None,
            Mode::Write => read_second_secret(&*disk, layout, id, second_verifier.as_ref())?,
        };
        let opening = Opening::find(&files, &verifier, &checkpoint)?;
        let (mut scan, index) = match &secrets {
            None => (opening.scan(&files, checkpoint.checkpoint.size)?, None),
            Some((mac_keys, _)) => {
                let (scan, tail) = opening.scan_tail(&files, checkpoint.checkpoint.size, mac_keys)?;
                let index = opening.open_index(&files, tail, &scan, mac_keys)?;
                (scan, Some(index))
            }
        };
        match mode {
            Mode::Write => recovery::recover(&files, &mut scan, &*options.clock)?,
            Mode::ReadOnly => recovery::settle(&files, &scan)?,
        }
        let Scan { mut state, segments, .. } = scan;
        let nodes = Nodes::new(state.tree.size(), std::mem::take(&mut state.bundle_roots));
        let segments: Vec<_> = segments.into_iter().map(|scanned| live(scanned, caches)).collect();
        let tree = state.tree.clone();
        let view = View { segments: segments.clone(), head: state.head, chain: state.chain, tree, checkpoint };
        let writing = match (secrets, index) {
            (Some((mac_keys, signer)), Some(index)) => {
                let shelf = index.shelf().clone();
                let edge = Edge::of(&state, index.streams());
                let writer = Mutex::new(Writer::new(options, &segments, edge, index)?);
                let (inbox, signing) = (Inbox::default(), Signing::default());
                let second = second.map(|second| (second, options.clock.clone()));
                Some(Writing { mac_keys, signer, second, shelf, writer, inbox, signing, sealing: Mutex::new(()) })
            }
            _ => None,
        };
        let vault = vaults.of(&id.tenant)?;
        Ok(Some(Self {
            id: id.clone(),
            files,
            verifier,
            second_verifier,
            view: RwLock::new(view),
            vault,
            nodes,
            witnessed: RwLock::new(witnessed),
            writing,
        }))
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
        let same_content =
            kind == RecordKind::Replacement || is_same_content(new, entry.event_type, &stored, keys, &self.vault)?;
        Ok(First { appended, same_content })
    }

    pub(crate) fn head(&self) -> Option<Position> {
        Position::new(self.view.read().head)
    }

    /// Returns once every event that has its recorded time is durable and in the view, or refused.
    pub(crate) fn settle(&self) {
        if let Some(writing) = &self.writing {
            drop(writing.writer.lock());
        }
    }
}

fn sync_folder(disk: &dyn Storage, folder: &std::path::Path) -> Result<(), Error> {
    disk.sync_dir(folder).map_err(Error::io("syncing", folder))
}

/// A log's public key and its checkpoint. `None` if its creation was cut short before anything could be appended.
pub(crate) fn read_identity(
    layout: &Layout,
    found: &FoundLog,
    origin: &str,
    files: &LogFiles,
) -> Result<Option<(LogVerifier, SignedCheckpoint)>, Error> {
    if !found.has_signer && !has_traces(files)? {
        return Ok(None);
    }
    let disk = &*files.disk;
    if disk.list(&files.layout.dir).is_err_and(|e| e.kind() == io::ErrorKind::NotFound) {
        let expected = format!("the log that {} signs", layout.relative(&layout.signing_key(&found.id)).display());
        return Err(files.site.damage(None, 0, Mismatch::new(0, expected, "no folder")));
    }
    let path = files.layout.verifier_key();
    let missing = || files.at(path.clone()).damage(None, 0, Mismatch::new(0, "the log's public key", "no file"));
    let verifier = keys::read_verifier(disk, layout, &path)?.ok_or_else(missing)?;
    check_origin(layout, &found.id, origin, &verifier)?;
    let checkpoint = read_checkpoint(files, &verifier)?;
    let second = keys::read_second_verifier(disk, layout, &found.id)?;
    checkpoint.check_own(second.as_ref()).map_err(|expected| {
        let site = files.at(files.layout.checkpoint());
        site.damage(None, 0, Mismatch::new(0, expected, "others"))
    })?;
    Ok(Some((verifier, checkpoint)))
}

/// Whether a log without a signing key once had one: it holds events, or a checkpoint that covers some.
fn has_traces(files: &LogFiles) -> Result<bool, Error> {
    let checkpoint = read_small(&*files.disk, &files.layout.checkpoint())?;
    let covers_some = checkpoint.is_some_and(|note| note.split(|byte| *byte == b'\n').nth(1) != Some(b"0"));
    Ok(covers_some || has_events(files)?)
}

fn has_events(files: &LogFiles) -> Result<bool, Error> {
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
        Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(false),
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

fn missing_key(layout: &Layout, path: &std::path::Path) -> Error {
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

/// The secret half of a log's second key, which stands where its public half does.
pub(crate) fn read_second_secret(
    disk: &dyn Storage,
    layout: &Layout,
    id: &LogId,
    verifier: Option<&CosignerKey>,
) -> Result<Option<Cosigner>, Error> {
    let path = layout.second_key(id);
    match (keys::read_second(disk, layout, id)?, verifier) {
        (Some(second), Some(verifier)) if second.key() == verifier => Ok(Some(second)),
        (None, None) => Ok(None),
        (None, Some(_)) => Err(missing_key(layout, &path)),
        (Some(_), _) => {
            let expected =
                format!("the secret half of {}", layout.relative(&layout.log(id).second_verifier_key()).display());
            Err(keys::damaged(layout, &path, expected, "another key"))
        }
    }
}

/// Reads the stored checkpoint, which every log has from its creation on, and checks its signature.
pub(crate) fn read_checkpoint(files: &LogFiles, verifier: &LogVerifier) -> Result<SignedCheckpoint, Error> {
    let site = files.at(files.layout.checkpoint());
    let Some(bytes) = read_small(&*files.disk, site.path())? else {
        let expected = "a signed checkpoint, which every log has from its creation on";
        return Err(site.damage(None, 0, Mismatch::new(0, expected, "no file")));
    };
    let parsed = String::from_utf8(bytes)
        .map_err(|_| "UTF-8 text".into())
        .and_then(|note| SignedCheckpoint::parse(&note, verifier));
    parsed.map_err(|expected: String| site.damage(None, 0, Mismatch::new(0, expected, "another note")))
}

/// State that a scan of this log starts from: the origin's genesis, and what its checkpoint promises.
pub(crate) fn start_state(verifier: &LogVerifier, signed: &SignedCheckpoint) -> Continuity {
    Continuity::new(verifier.origin()).promised(signed.checkpoint.size, signed.checkpoint.root)
}

fn live(scanned: ScannedSegment, caches: &Arc<Caches>) -> Arc<LiveSegment> {
    Arc::new(match scanned.segment {
        Segment::Sealed(slot) => LiveSegment::Sealed(slot),
        Segment::Frames(file) => LiveSegment::Frames {
            file,
            frames: RwLock::new(scanned.frames),
            start: scanned.start.expect("files of frames are always read"),
            owner: Owner::new(caches),
        },
    })
}
