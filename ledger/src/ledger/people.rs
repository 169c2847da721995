//! What the ledger does for the people that events are about: whose keys there are, where they are used, their end.

use super::Ledger;
use crate::error::Error;
use crate::reader::{self, SealedPage};
use cairn_schemas::{Blake3, KeyId, Position, TenantId};
use std::collections::BTreeSet;

/// Keys that were destroyed: what is sealed under them is gone for ever, in every copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestroyedKeys {
    /// What events call the person by.
    pub data_subject: Blake3,
    pub keys: Vec<KeyId>,
}

impl Ledger {
    /// Ids of the keys that a person's fields are sealed under: one, or none where nothing is known of the person.
    pub fn person_keys(&self, tenant: &TenantId, subject: &str) -> Result<Vec<KeyId>, Error> {
        self.0.vaults.of(tenant)?.keys_of(subject)
    }

    /// What events call a person by: a digest that only the holder of the tenant's vault can make.
    pub fn data_subject(&self, tenant: &TenantId, subject: &str) -> Result<Blake3, Error> {
        self.0.vaults.of(tenant)?.subject(subject, &*self.0.options.random)
    }

    /// Destroys a person's keys, durably. Safe to repeat; a new event about the person draws a new key.
    ///
    /// Legal holds are for the caller to look at, as is the register, which must have the keys' ids before.
    pub fn destroy_person(&self, tenant: &TenantId, subject: &str) -> Result<DestroyedKeys, Error> {
        let vault = self.0.vaults.of(tenant)?;
        let data_subject = vault.subject(subject, &*self.0.options.random)?;
        let keys = vault.keys_of(subject)?;
        self.destroy_keys(tenant, &keys)?;
        Ok(DestroyedKeys { data_subject, keys })
    }

    /// Destroys keys by their ids, as the erasure register lists them; ids that the vault does not know are noted as
    /// destroyed. Safe to repeat.
    pub fn destroy_keys(&self, tenant: &TenantId, keys: &[KeyId]) -> Result<(), Error> {
        if self.0.lock.is_none() {
            return Err(Error::ReadOnly);
        }
        self.0.vaults.of(tenant)?.destroy(keys, &*self.0.options.random)
    }

    pub(crate) fn destroy_again(&self, tenant: &TenantId, keys: &BTreeSet<KeyId>) -> Result<(), Error> {
        match self.0.vaults.of(tenant)?.destroy_again(keys, &*self.0.options.random) {
            // Living keys are overwritten where they stand, before anything takes room.
            Err(e @ Error::DiskFull { .. }) => {
                tracing::warn!(%tenant, error = %e, "keys that the vault never had are not noted as destroyed");
                Ok(())
            }
            other => other,
        }
    }

    /// Positions from `from` on whose events hold fields sealed under these keys, a page at a time. Reads the whole log.
    pub fn positions_sealed_under(
        &self,
        tenant: &TenantId,
        keys: &BTreeSet<KeyId>,
        from: Position,
    ) -> Result<SealedPage, Error> {
        match self.0.log(tenant) {
            Some(log) => reader::sealed_under(&log.view, keys, from),
            None => Ok(SealedPage::default()),
        }
    }
}
