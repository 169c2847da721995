//! Family `governance`: keys, policies, exports, erasure and holds.

use super::{Fact, facts};
use crate::personal::texts;
use crate::{Blake3, Links, RawJson, Ref, Sha256, Timestamp};

/// A list that fits one event is page 1 of 1.
fn one() -> u32 {
    1
}

facts! {
    /// An API key was issued.
    pub struct KeyIssued {
        pub key: String,
        /// The user or service it is for.
        pub holder: String,
        pub scopes: Vec<String>,
        pub expires_at: Option<Timestamp>,
    }
    /// An API key was revoked.
    pub struct KeyRevoked {
        pub key: String,
        pub reason: String,
    }
    /// A policy was set or changed.
    pub struct PolicyChanged {
        pub policy: String,
        pub config: RawJson,
        pub reason: String,
    }
    /// Somebody was refused.
    pub struct AccessDenied {
        pub actor: String,
        pub action: String,
        pub target: String,
        pub reason: String,
    }
    /// Data left the ledger.
    pub struct ExportProduced {
        pub export: String,
        pub subject: Ref,
        /// First and last position that it covers.
        pub from: u64,
        pub to: u64,
        /// BLAKE3 of the bundle's manifest.
        pub digest: Blake3,
        #[serde(default)]
        pub artifacts: Vec<Ref>,
    }
    /// Erasure of a data subject was asked for.
    pub struct ErasureRequested {
        pub request: String,
        /// Keyed digest of who it is about; never the name.
        pub data_subject: Blake3,
        pub basis: String,
    }
    /// A data subject was erased: their keys are destroyed, so that what was sealed under them is gone for ever.
    ///
    /// Lists that are too long for one event come as pages of the same request.
    pub struct SubjectErased {
        pub request: String,
        /// Keyed digest of who it is about; never the name.
        pub data_subject: Blake3,
        pub basis: String,
        #[serde(default = "one")]
        pub page: u32,
        #[serde(default = "one")]
        pub pages: u32,
        /// Ids of the destroyed keys, in hexadecimal.
        #[serde(default)]
        pub keys: Vec<String>,
        /// Models trained on what was erased.
        #[serde(default)]
        pub models: Vec<Ref>,
        /// Documents that held it.
        #[serde(default)]
        pub documents: Vec<Ref>,
        /// Artifacts that held it and were destroyed.
        #[serde(default)]
        pub artifacts: Vec<Ref>,
        /// How many events, and artifacts, of the whole request held it.
        pub events: u64,
        pub artifact_count: u64,
        /// When the last backup of the vault that holds a destroyed key expires; none where there is no backup.
        pub vault_backups_expire_at: Option<Timestamp>,
    }
    /// Payloads were replaced: free text and personal fields are gone, refs and the rest stay. Only the ledger says so.
    ///
    /// Lists that are too long for one event come as pages of the same request.
    pub struct PayloadsRedacted {
        pub request: String,
        pub basis: String,
        /// The log that the positions are of. In a log that continues another they are history, and no authority.
        pub origin: String,
        #[serde(default = "one")]
        pub page: u32,
        #[serde(default = "one")]
        pub pages: u32,
        pub replacements: Vec<Replacement>,
        /// Artifacts that were destroyed with them.
        #[serde(default)]
        pub artifacts: Vec<Ref>,
    }
    /// A payload that was put in the place of another.
    pub struct Replacement {
        pub position: u64,
        /// What the replacement commits to, in place of the entry.
        pub commitment: Blake3,
    }
    /// The first event of a log that goes on where another was restored behind what was known of it.
    pub struct LogContinued {
        /// Origin of the log before.
        pub origin: String,
        /// How much of it follows this event, and the root of its tree at that size.
        pub size: u64,
        pub root: Sha256,
        /// The size and root that were known of it: what lies between is lost.
        pub known_size: Option<u64>,
        pub known_root: Option<Sha256>,
        pub reason: String,
    }
    /// Erasure is blocked until the hold is lifted.
    pub struct LegalHoldPlaced {
        pub hold: String,
        pub scope: String,
        pub reason: String,
    }
    /// A hold was lifted.
    pub struct LegalHoldLifted {
        pub hold: String,
        pub reason: String,
    }
}

macro_rules! about {
    ($($type:ident in $stream:literal by $field:ident;)*) => {$(
        impl Fact for $type {
            fn stream(&self) -> String {
                format!(concat!($stream, ":{}"), self.$field)
            }
            fn links(&self) -> Links {
                Links::default()
            }
        }
    )*};
}
about! {
    KeyIssued in "key" by key;
    KeyRevoked in "key" by key;
    PolicyChanged in "policy" by policy;
    AccessDenied in "access" by target;
    ErasureRequested in "erasure" by request;
    SubjectErased in "erasure" by request;
    PayloadsRedacted in "redaction" by request;
    LogContinued in "log" by origin;
    LegalHoldPlaced in "hold" by hold;
    LegalHoldLifted in "hold" by hold;
}
impl Fact for ExportProduced {
    fn stream(&self) -> String {
        format!("export:{}", self.export)
    }
    fn links(&self) -> Links {
        Links::default().used([&self.subject]).used(&self.artifacts)
    }
}

texts! {
    KeyIssued { holder by holder }
    KeyRevoked { reason }
    PolicyChanged { config, reason }
    AccessDenied { actor by actor, reason }
    ExportProduced {}
    ErasureRequested { basis }
    SubjectErased { basis }
    LegalHoldPlaced { reason }
    LegalHoldLifted { reason }
    PayloadsRedacted { basis }
    LogContinued { reason }
}
