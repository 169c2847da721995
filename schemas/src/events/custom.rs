//! Family `custom`: producers' own kinds, described by a JSON Schema that is itself in the ledger.

use super::{Fact, facts};
use crate::personal::texts;
use crate::{Links, RawJson, Ref};

facts! {
    /// A JSON Schema for a kind of custom event was registered.
    pub struct SchemaRegistered {
        /// Name of the kind: `acme.label_imported`.
        pub kind: String,
        pub schema: RawJson,
    }
    /// Something of a producer's own kind happened.
    pub struct CustomRecorded {
        pub kind: String,
        /// What it is about.
        pub about: Option<Ref>,
        #[serde(default)]
        pub used: Vec<Ref>,
        #[serde(default)]
        pub produced: Vec<Ref>,
        pub data: RawJson,
    }
}

impl Fact for SchemaRegistered {
    fn stream(&self) -> String {
        format!("schema:{}", self.kind)
    }
    fn links(&self) -> Links {
        Links::default()
    }
}
impl Fact for CustomRecorded {
    fn stream(&self) -> String {
        match &self.about {
            Some(reference) => reference.stream(),
            None => format!("custom:{}", self.kind),
        }
    }
    fn links(&self) -> Links {
        Links::default().used(&self.used).produced(&self.produced)
    }
}

texts! {
    SchemaRegistered { schema }
    CustomRecorded { data }
}
