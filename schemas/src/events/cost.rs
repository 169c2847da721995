//! Family `cost`: what things took, in units and money.

use super::{Fact, facts};
use crate::personal::texts;
use crate::{Links, Real, Ref};

facts! {
    /// A cost was recorded.
    pub struct CostRecorded {
        /// What it was for.
        pub subject: Ref,
        /// `training`, `inference`, `storage`, …
        pub category: String,
        pub quantity: Real,
        /// `cpu_second`, `gpu_second`, `token`, …
        pub unit: String,
        pub amount: Option<Real>,
        /// ISO 4217.
        pub currency: Option<String>,
    }
}

impl Fact for CostRecorded {
    fn stream(&self) -> String {
        self.subject.stream()
    }
    fn links(&self) -> Links {
        Links::default().used([&self.subject])
    }
}

texts! {
    CostRecorded {}
}
