//! Family `governance`: keys, policies, exports, erasure and holds.

use super::{Fact, facts};
use crate::{Blake3, Links, RawJson, Ref, Timestamp};

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
    /// A data subject was erased.
    pub struct SubjectErased {
        pub request: String,
        pub data_subject: Blake3,
        /// Models trained on what was erased.
        #[serde(default)]
        pub models: Vec<Ref>,
        pub events: u64,
        #[serde(default)]
        pub artifacts: u64,
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
