//! What witnesses said of this log: the newest checkpoint that some of them cosigned, kept beside the log's own.

use crate::checkpoint::{Checkpoint, LogVerifier, SignedCheckpoint, is_line_of};
use crate::cosignature::CosignerKey;
use crate::error::{Error, Mismatch};
use crate::ledger::Ledger;
use crate::log::Log;
use crate::scan::LogFiles;
use crate::storage::{Access, read_small, write_whole};
use cairn_schemas::TenantId;
use std::time::{Duration, Instant};

const FIRST_LINE: &str = "cairn witnessed 1";
/// How long the cosigned checkpoint is the published one although a newer, not yet cosigned one was signed.
const PUBLISHED_FOR: Duration = Duration::from_secs(10);
/// Cosigners of one checkpoint.
const WITNESSES_MAX: usize = 50;

/// The newest cosigned checkpoint.
#[derive(Clone, Debug)]
pub(crate) struct Witnessed {
    pub(crate) keys: Vec<CosignerKey>,
    pub(crate) signed: SignedCheckpoint,
    /// When its first cosignature came; `None` where it was read from the disk.
    since: Option<Instant>,
}

impl Witnessed {
    fn encode(&self) -> String {
        let keys: String = self.keys.iter().map(|key| format!("witness {}\n", key.encode())).collect();
        format!("{FIRST_LINE}\n{keys}\n{}", self.signed.note)
    }

    fn decode(text: &str, verifier: &LogVerifier) -> Result<Self, String> {
        let (head, note) = text.split_once("\n\n").ok_or("an empty line before the checkpoint")?;
        let mut lines = head.split('\n');
        if lines.next() != Some(FIRST_LINE) {
            return Err(format!("a first line `{FIRST_LINE}`"));
        }
        let keys = lines.map(|line| CosignerKey::decode(line.strip_prefix("witness ").ok_or("lines `witness KEY`")?));
        let keys = keys.collect::<Result<Vec<_>, String>>()?;
        let signed = SignedCheckpoint::parse(note, verifier)?;
        for key in &keys {
            if cosignature(&signed, key)?.is_none() {
                return Err(format!("a cosignature by {}", key.name()));
            }
        }
        let own = signed.lines().len() - keys.len().min(signed.lines().len());
        let foreign = signed.lines().iter().filter(|line| !is_line_of(line, verifier.origin())).count();
        match foreign == keys.len() && own > 0 {
            true => Ok(Self { keys, signed, since: None }),
            false => Err(format!("{} cosignatures, one of each witness", keys.len())),
        }
    }

    /// Whether it is published rather than the newest checkpoint.
    fn is_published(&self, newest: &Checkpoint) -> bool {
        self.signed.checkpoint == *newest || self.since.is_some_and(|since| since.elapsed() < PUBLISHED_FOR)
    }
}

/// The line by which a key cosigned the checkpoint.
fn cosignature(signed: &SignedCheckpoint, key: &CosignerKey) -> Result<Option<String>, String> {
    let body = signed.checkpoint.body();
    for line in signed.lines() {
        if key.check_line(line, &body, &signed.checkpoint)?.is_some() {
            return Ok(Some(line.to_owned()));
        }
    }
    Ok(None)
}

/// Reads what witnesses said. It is of a checkpoint that was stored before: one beyond the stored one means that the
/// log was taken back.
pub(crate) fn read_witnessed(
    files: &LogFiles,
    verifier: &LogVerifier,
    stored: &SignedCheckpoint,
) -> Result<Option<Witnessed>, Error> {
    let site = files.at(files.layout.witnessed());
    let Some(bytes) = read_small(&*files.disk, site.path())? else { return Ok(None) };
    let decoded = String::from_utf8(bytes).map_err(|_| "UTF-8 text".to_owned());
    let witnessed = decoded
        .and_then(|text| Witnessed::decode(&text, verifier))
        .map_err(|expected| site.damage(None, 0, Mismatch::new(0, expected, "another text")))?;
    let (cosigned, size) = (witnessed.signed.checkpoint.size, stored.checkpoint.size);
    if cosigned > size || (cosigned == size && witnessed.signed.checkpoint != stored.checkpoint) {
        let expected = format!("the checkpoint of size {cosigned} that witnesses cosigned, or a later one");
        let site = files.at(files.layout.checkpoint());
        return Err(site.damage(None, 0, Mismatch::new(0, expected, format!("one of size {size}"))));
    }
    Ok(Some(witnessed))
}

impl Log {
    /// The checkpoint to publish, given the newest: a cosigned one if that is recent enough.
    pub(crate) fn published(&self, newest: SignedCheckpoint) -> SignedCheckpoint {
        match &*self.witnessed.read() {
            Some(witnessed) if witnessed.is_published(&newest.checkpoint) => witnessed.signed.clone(),
            _ => newest,
        }
    }
}

impl Ledger {
    /// The checkpoint that was stored last: what witnesses are asked to cosign. It may lag behind what is durable.
    pub fn stored_checkpoint(&self, tenant: &TenantId) -> Option<SignedCheckpoint> {
        Some(self.log(tenant)?.view.read().checkpoint.clone())
    }

    /// Size of the newest checkpoint that this witness is known to have cosigned, 0 for none.
    pub fn cosigned_size(&self, tenant: &TenantId, witness: &CosignerKey) -> u64 {
        let Some(log) = self.log(tenant) else { return 0 };
        let witnessed = log.witnessed.read();
        let cosigned = witnessed.as_ref().filter(|witnessed| witnessed.keys.contains(witness));
        cosigned.map_or(0, |witnessed| witnessed.signed.checkpoint.size)
    }

    /// Keeps the cosignatures that witnesses gave for a checkpoint of this log, and publishes them with it.
    ///
    /// `answers` are each a witness's key and the signature lines it sent. Lines that its key does not accept are passed
    /// over; gives how many cosignatures were new. Those for a checkpoint older than the newest cosigned one are of no use any more.
    pub fn keep_cosignatures(
        &self,
        tenant: &TenantId,
        signed: &SignedCheckpoint,
        answers: &[(CosignerKey, String)],
    ) -> Result<usize, Error> {
        let log = self.log(tenant).ok_or_else(|| Error::NoLog { tenant: tenant.clone() })?;
        if log.writing.is_none() {
            return Err(Error::ReadOnly);
        }
        let mut kept = log.witnessed.write();
        let current = kept.as_ref().filter(|kept| kept.signed.checkpoint.size >= signed.checkpoint.size);
        let mut next = match current {
            Some(current) if current.signed.checkpoint != signed.checkpoint => return Ok(0),
            Some(current) => current.clone(),
            None => Witnessed { keys: Vec::new(), signed: self.own_only(&log, signed)?, since: Some(Instant::now()) },
        };
        let before = next.keys.len();
        for (key, lines) in answers {
            let Some(line) = key.line_of(signed, lines) else { continue };
            if !next.keys.contains(key) && next.keys.len() < WITNESSES_MAX && key.name() != log.verifier.origin() {
                next.signed.note.push_str(line);
                next.signed.note.push('\n');
                next.keys.push(key.clone());
            }
        }
        let fresh = next.keys.len() - before;
        if fresh > 0 {
            let path = log.files.layout.witnessed();
            write_whole(&*log.files.disk, &path, Access::Default, next.encode().as_bytes())?;
            *kept = Some(next);
        }
        Ok(fresh)
    }

    /// The checkpoint with the log's own signatures alone, which must be right.
    fn own_only(&self, log: &Log, signed: &SignedCheckpoint) -> Result<SignedCheckpoint, Error> {
        let mut own = SignedCheckpoint::parse(&signed.note, &log.verifier)
            .map_err(|expected| Error::Proof { why: format!("the checkpoint lacks {expected}") })?;
        let lines: String = own
            .lines()
            .iter()
            .filter(|line| is_line_of(line, log.verifier.origin()))
            .map(|l| format!("{l}\n"))
            .collect();
        own.note = format!("{}\n{lines}", own.checkpoint.body());
        Ok(own)
    }
}
