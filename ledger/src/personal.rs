//! Seals what an event holds about people under their keys, and opens it again where the keys are.

use crate::entry::Identity;
use crate::error::Error;
use crate::options::Random;
use crate::vault::{Held, Persons, Vault};
use cairn_schemas::personal::{Opened, TakenField, put_back, take};
use cairn_schemas::{Event, NewEvent, SealedField};
use std::collections::BTreeMap;

/// What was taken out of the events of a batch, by their index; most have nothing.
pub(crate) type Taken = BTreeMap<usize, Vec<TakenField>>;

/// Takes what is about people out of a batch.
pub(crate) fn take_from(events: &mut [NewEvent]) -> Result<Taken, Error> {
    let mut all = Taken::new();
    for (index, new) in events.iter_mut().enumerate() {
        let taken = take(&mut new.event, &mut new.envelope.extensions)
            .map_err(|e| cairn_schemas::Error::InBatch { index, source: Box::new(e) })?;
        if taken.is_empty() {
            continue;
        }
        check_comes_back(index, new, &taken)?;
        all.insert(index, taken);
    }
    Ok(all)
}

/// Puts back and takes out again: what does not come back is not written.
fn check_comes_back(index: usize, new: &NewEvent, taken: &[TakenField]) -> Result<(), Error> {
    let (mut event, mut extensions) = (new.event.clone(), new.envelope.extensions.clone());
    let fields: Vec<_> =
        taken.iter().map(|field| (field.pointer.clone(), Opened::Value(field.value.clone()))).collect();
    put_back(&mut event, &mut extensions, &fields);
    let again = take(&mut event, &mut extensions)?;
    match again == taken && event == new.event && extensions == new.envelope.extensions {
        true => Ok(()),
        false => Err(Error::NotReproducible {
            index,
            event_type: new.event.type_name(),
            why: "what is about people does not come back".into(),
        }),
    }
}

/// People that a batch is about.
pub(crate) fn subjects(taken: &Taken) -> impl Iterator<Item = &str> {
    taken.values().flatten().map(|field| field.subject.as_str())
}

/// Values as they are stored, and their MACs, which take their place in the event's content MAC.
#[derive(Default)]
pub(crate) struct SealedValues {
    pub(crate) fields: Vec<SealedField>,
    pub(crate) macs: Vec<[u8; 32]>,
}

pub(crate) fn seal(taken: &[TakenField], persons: &Persons, identity: &Identity, random: &dyn Random) -> SealedValues {
    let mut sealed = SealedValues::default();
    for TakenField { pointer, subject, value } in taken {
        let key = &persons[subject];
        let (nonce, ciphertext) = key.seal(value, &aad(identity, pointer), random);
        sealed.macs.push(key.mac(pointer, value));
        sealed.fields.push(SealedField { pointer: pointer.clone(), key: key.id, nonce, ciphertext });
    }
    sealed
}

/// A value belongs to its event and its place in it.
fn aad(identity: &Identity, pointer: &str) -> Vec<u8> {
    [&identity.0[..], pointer.as_bytes()].concat()
}

/// Values of an event, where their keys are. An error is what was expected of the field that does not open.
pub(crate) fn open(vault: &Vault, identity: &Identity, fields: &[SealedField]) -> Result<Vec<(String, Opened)>, Error> {
    let mut opened = Vec::with_capacity(fields.len());
    for SealedField { pointer, key: id, nonce, ciphertext } in fields {
        let value = match vault.key(*id)? {
            Held::Destroyed => Opened::Erased,
            Held::Unknown => Opened::Sealed,
            Held::Key(key) => match key.open(nonce, ciphertext, &aad(identity, pointer)) {
                Some(value) => Opened::Value(value),
                None => return Err(vault.does_not_open(*id, pointer)),
            },
        };
        opened.push((pointer.clone(), value));
    }
    Ok(opened)
}

/// Puts values back into a stored event, and gives the pointers of what is erased and of what is sealed.
pub(crate) fn restore(
    vault: &Vault,
    identity: &Identity,
    fields: &[SealedField],
    event: &mut Event,
    extensions: &mut BTreeMap<String, String>,
) -> Result<(Vec<String>, Vec<String>), Error> {
    if fields.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let opened = open(vault, identity, fields)?;
    put_back(event, extensions, &opened);
    let those = |which: Opened| {
        opened.iter().filter(|(_, opened)| *opened == which).map(|(pointer, _)| pointer.clone()).collect()
    };
    Ok((those(Opened::Erased), those(Opened::Sealed)))
}

/// Takes what is about people out of a stored event again as the version it reads as today has it, and gives the MACs.
/// Its keys must be there.
pub(crate) fn macs_today(
    vault: &Vault,
    identity: &Identity,
    fields: &[SealedField],
    event: &mut Event,
    extensions: &mut BTreeMap<String, String>,
) -> Result<Vec<[u8; 32]>, Error> {
    restore(vault, identity, fields, event, extensions)?;
    let taken = take(event, extensions)?;
    let keys = vault.living(taken.iter().map(|field| field.subject.as_str()))?;
    let mac = |field: &TakenField| keys.get(&field.subject).map(|key| key.mac(&field.pointer, &field.value));
    Ok(taken.iter().filter_map(mac).collect())
}

/// Whether some key of a stored event is gone, so that its content can no longer be compared.
pub(crate) fn is_erased(vault: &Vault, fields: &[SealedField]) -> Result<bool, Error> {
    for field in fields {
        if !matches!(vault.key(field.key)?, Held::Key(_)) {
            return Ok(true);
        }
    }
    Ok(false)
}
