//! Which log is which, and where its files stand inside the ledger's directory.

use cairn_schemas::TenantId;
use std::fmt;
use std::path::{Path, PathBuf};

const SIGNING_KEY_SUFFIX: &str = ".signing.key";
pub(crate) const REGISTER_SUFFIX: &str = ".register";

/// What a log is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum LogKind {
    /// Events.
    Main,
    /// Sensitive reads, apart from the main log so that they do not inflate lineage.
    Audit,
    /// Heads of other logs.
    Root,
}

impl LogKind {
    const ALL: [LogKind; 3] = [LogKind::Main, LogKind::Audit, LogKind::Root];

    fn name(self) -> &'static str {
        match self {
            LogKind::Main => "main",
            LogKind::Audit => "audit",
            LogKind::Root => "root",
        }
    }
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// A log's identity, part of its origin, its paths and its keys.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct LogId {
    pub(crate) tenant: TenantId,
    pub(crate) kind: LogKind,
    pub(crate) shard: u32,
}

impl LogId {
    pub(crate) fn main(tenant: &TenantId) -> Self {
        Self { tenant: tenant.clone(), kind: LogKind::Main, shard: 0 }
    }

    fn signing_key_name(&self) -> String {
        format!("{}-{}{SIGNING_KEY_SUFFIX}", self.kind.name(), self.shard)
    }

    /// Which of the tenant's logs a file of this name holds the signing key of.
    pub(crate) fn of_signing_key(tenant: &TenantId, name: &str) -> Option<Self> {
        let (kind, shard) = name.strip_suffix(SIGNING_KEY_SUFFIX)?.split_once('-')?;
        let id = Self { tenant: tenant.clone(), kind: LogKind::parse(kind)?, shard: shard.parse().ok()? };
        (id.signing_key_name() == name).then_some(id)
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.tenant, self.kind.name(), self.shard)
    }
}

/// Paths of one ledger.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) dir: PathBuf,
}

impl Layout {
    pub(crate) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }
    /// Says that this is a ledger, of which format and under which origin.
    pub(crate) fn marker(&self) -> PathBuf {
        self.dir.join("ledger")
    }
    /// What a restored ledger may not do; no file in any other.
    pub(crate) fn restored(&self) -> PathBuf {
        self.dir.join("restored")
    }
    /// Backups of keys and vault that were taken, and when they expire.
    pub(crate) fn vault_backups(&self) -> PathBuf {
        self.dir.join("vault-backups")
    }
    pub(crate) fn lock(&self) -> PathBuf {
        self.dir.join("lock")
    }
    /// Room kept for when the disk is full.
    pub(crate) fn reserve(&self) -> PathBuf {
        self.dir.join("reserve")
    }
    pub(crate) fn logs(&self) -> PathBuf {
        self.dir.join("logs")
    }
    pub(crate) fn all_artifacts(&self) -> PathBuf {
        self.dir.join("artifacts")
    }
    pub(crate) fn artifacts(&self, tenant: &TenantId) -> PathBuf {
        self.all_artifacts().join(tenant.as_str())
    }
    pub(crate) fn registers(&self) -> PathBuf {
        self.dir.join("register")
    }
    /// What was destroyed of a tenant's.
    pub(crate) fn register(&self, tenant: &TenantId) -> PathBuf {
        self.registers().join(format!("{tenant}{REGISTER_SUFFIX}"))
    }
    pub(crate) fn keys(&self) -> PathBuf {
        self.dir.join("keys")
    }
    pub(crate) fn mac_key(&self, tenant: &TenantId) -> PathBuf {
        self.keys().join(tenant.as_str()).join("mac.key")
    }
    /// Key that the keys of the tenant's people are wrapped under.
    pub(crate) fn vault_key(&self, tenant: &TenantId) -> PathBuf {
        self.keys().join(tenant.as_str()).join("vault.key")
    }
    pub(crate) fn vault(&self) -> PathBuf {
        self.dir.join("vault")
    }
    pub(crate) fn persons(&self, tenant: &TenantId) -> PathBuf {
        self.vault().join(tenant.as_str()).join("persons.keys")
    }
    pub(crate) fn signing_key(&self, log: &LogId) -> PathBuf {
        self.keys().join(log.tenant.as_str()).join(log.signing_key_name())
    }
    /// The key of the log's second signature, if it has one.
    pub(crate) fn second_key(&self, log: &LogId) -> PathBuf {
        self.keys().join(log.tenant.as_str()).join(format!("{}-{}.ml-dsa-44.key", log.kind.name(), log.shard))
    }
    pub(crate) fn log(&self, log: &LogId) -> LogLayout {
        LogLayout { dir: self.logs().join(log.to_string()) }
    }
    /// A path as it is shown in findings.
    pub(crate) fn relative(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.dir).unwrap_or(path).to_owned()
    }
}

/// Paths of one log.
#[derive(Clone, Debug)]
pub(crate) struct LogLayout {
    pub(crate) dir: PathBuf,
}

impl LogLayout {
    pub(crate) fn verifier_key(&self) -> PathBuf {
        self.dir.join("verifier.key")
    }
    pub(crate) fn checkpoint(&self) -> PathBuf {
        self.dir.join("checkpoint")
    }
    /// The public half of the key of the second signature, if the log has one.
    pub(crate) fn second_verifier_key(&self) -> PathBuf {
        self.dir.join("verifier.ml-dsa-44.key")
    }
    /// What witnesses cosigned.
    pub(crate) fn witnessed(&self) -> PathBuf {
        self.dir.join("witnessed")
    }
    /// Nodes of the tree: derived, may be lost.
    pub(crate) fn tree(&self) -> PathBuf {
        self.dir.join("tree")
    }
    pub(crate) fn segments(&self) -> PathBuf {
        self.dir.join("segments")
    }
    /// Derived: runs of the index.
    pub(crate) fn index(&self) -> PathBuf {
        self.dir.join("index")
    }
    pub(crate) fn quarantine(&self) -> PathBuf {
        self.dir.join("quarantine")
    }
    pub(crate) fn segment(&self, first: u64, part: SegmentPart) -> PathBuf {
        self.segments().join(part.file_name(first))
    }
}

/// Which file of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SegmentPart {
    Frames,
    Entries,
    Payloads { generation: u32 },
}

impl SegmentPart {
    pub(crate) fn file_name(self, first: u64) -> String {
        match self {
            SegmentPart::Frames => format!("{first:020}.frames"),
            SegmentPart::Entries => format!("{first:020}.entries"),
            SegmentPart::Payloads { generation } => format!("{first:020}.g{generation}.payloads"),
        }
    }

    /// The inverse of [`SegmentPart::file_name`]; `None` for any name that it would not give.
    pub(crate) fn parse(name: &str) -> Option<(u64, SegmentPart)> {
        let (first, rest) = name.split_once('.')?;
        let first: u64 = first.parse().ok()?;
        let part = match rest {
            "frames" => SegmentPart::Frames,
            "entries" => SegmentPart::Entries,
            _ => {
                let generation = rest.strip_prefix('g')?.strip_suffix(".payloads")?.parse().ok()?;
                SegmentPart::Payloads { generation }
            }
        };
        (part.file_name(first) == name).then_some((first, part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_signing_key_tells_its_log() {
        let tenant = TenantId::default();
        let log = LogId { tenant: tenant.clone(), kind: LogKind::Audit, shard: 12 };
        assert_eq!(LogId::of_signing_key(&tenant, "audit-12.signing.key"), Some(log));
        for name in ["mac.key", "audit-012.signing.key", "other-0.signing.key", "main-0.signing.key.tmp"] {
            assert_eq!(LogId::of_signing_key(&tenant, name), None, "{name}");
        }
    }

    #[test]
    fn file_names_come_back_and_no_other_name_does() {
        for part in [SegmentPart::Frames, SegmentPart::Entries, SegmentPart::Payloads { generation: 12 }] {
            assert_eq!(SegmentPart::parse(&part.file_name(513)), Some((513, part)));
        }
        for name in
            ["1.frames", "00000000000000000001.g01.payloads", "00000000000000000001.frames.tmp", "notes.txt", ""]
        {
            assert_eq!(SegmentPart::parse(name), None, "{name}");
        }
    }
}
