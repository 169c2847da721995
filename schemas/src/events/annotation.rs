//! Family `annotation`: what people say of a thing beside what its own events say: tags, an owner, notes.

use super::{Fact, facts};
use crate::personal::texts;
use crate::{Links, RawJson, Ref};

facts! {
    /// Something was said of a thing. What is absent stays as it was.
    pub struct AnnotationRecorded {
        /// What it is said of.
        pub subject: Ref,
        /// An object: each name gets its value; null takes the name away.
        #[serde(default)]
        pub tags: RawJson,
        /// Who answers for it from now on; empty: nobody.
        pub owner: Option<String>,
        /// One more note, added to those there are.
        pub note: Option<String>,
    }
}

impl Fact for AnnotationRecorded {
    fn stream(&self) -> String {
        self.subject.stream()
    }
    fn links(&self) -> Links {
        Links::default().used([&self.subject])
    }
}

texts! {
    AnnotationRecorded { tags, owner by owner, note }
}
