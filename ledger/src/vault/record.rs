//! A person's key as the vault stores it: 128 bytes, so that none crosses a sector, wrapped under the vault's own key.

use crate::error::Mismatch;
use crate::options::Random;
use cairn_schemas::{Blake3, KeyId};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

pub(crate) const RECORD_BYTES: usize = 128;
const CHECKED_BYTES: usize = 120;
const CHECK_TAG: &[u8] = b"cairn/v1/vault-record\0";
const WRAP_TAG: &[u8] = b"cairn/v1/person-key\0";
const DIGEST_KEY_CONTEXT: &str = "cairn v1 vault person digest key";
const SUBJECT_KEY_CONTEXT: &str = "cairn v1 data subject digest key";
const WRAPPING_KEY_CONTEXT: &str = "cairn v1 vault wrapping key";
const FIELD_MAC_CONTEXT: &str = "cairn v1 personal content mac key";

/// A secret of 32 bytes, overwritten when it is dropped.
pub(crate) type Secret = Zeroizing<[u8; 32]>;

/// The keys that a tenant's `vault.key` gives.
pub(crate) struct VaultKeys {
    digest: Secret,
    subject: Secret,
    wrapping: Secret,
}

/// A person's key.
pub(crate) struct PersonKey {
    pub(crate) id: KeyId,
    pub(crate) secret: Secret,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum VaultRecord {
    Key {
        id: KeyId,
        /// Keyed digest of the person's name.
        digest: [u8; 32],
        nonce: [u8; 24],
        wrapped: [u8; 48],
    },
    /// A key that was destroyed: its id alone is left, so that what was erased is not taken for lost.
    Destroyed { id: KeyId },
}

impl VaultRecord {
    pub(crate) fn encode(&self) -> [u8; RECORD_BYTES] {
        let mut bytes = [0; RECORD_BYTES];
        match self {
            VaultRecord::Destroyed { id } => bytes[..16].copy_from_slice(&id.0),
            VaultRecord::Key { id, digest, nonce, wrapped } => {
                bytes[..16].copy_from_slice(&id.0);
                bytes[16..48].copy_from_slice(digest);
                bytes[48..72].copy_from_slice(nonce);
                bytes[72..120].copy_from_slice(wrapped);
            }
        }
        let check = check(&bytes[..CHECKED_BYTES]);
        bytes[CHECKED_BYTES..].copy_from_slice(&check);
        bytes
    }

    pub(crate) fn decode(bytes: &[u8; RECORD_BYTES]) -> Result<Self, Mismatch> {
        let expected = check(&bytes[..CHECKED_BYTES]);
        if bytes[CHECKED_BYTES..] != expected {
            let (expected, found) = (hex::encode(expected), hex::encode(&bytes[CHECKED_BYTES..]));
            return Err(Mismatch::new(CHECKED_BYTES, format!("check {expected} of a person's key"), found));
        }
        let id = KeyId(bytes[..16].try_into().expect("16 bytes"));
        if bytes[16..CHECKED_BYTES].iter().all(|byte| *byte == 0) {
            return Ok(VaultRecord::Destroyed { id });
        }
        Ok(VaultRecord::Key {
            id,
            digest: bytes[16..48].try_into().expect("32 bytes"),
            nonce: bytes[48..72].try_into().expect("24 bytes"),
            wrapped: bytes[72..120].try_into().expect("48 bytes"),
        })
    }

    pub(crate) fn id(&self) -> KeyId {
        match self {
            VaultRecord::Key { id, .. } | VaultRecord::Destroyed { id } => *id,
        }
    }
}

fn check(bytes: &[u8]) -> [u8; RECORD_BYTES - CHECKED_BYTES] {
    let hash = blake3::Hasher::new().update(CHECK_TAG).update(bytes).finalize();
    hash.as_bytes()[..RECORD_BYTES - CHECKED_BYTES].try_into().expect("8 of 32 bytes")
}

fn wrap_aad(id: KeyId, digest: &[u8; 32]) -> Vec<u8> {
    [WRAP_TAG, &id.0, digest].concat()
}

impl VaultKeys {
    pub(crate) fn derive(vault_key: &[u8; 32]) -> Self {
        let key = |context| Zeroizing::new(blake3::derive_key(context, vault_key));
        Self { digest: key(DIGEST_KEY_CONTEXT), subject: key(SUBJECT_KEY_CONTEXT), wrapping: key(WRAPPING_KEY_CONTEXT) }
    }

    /// What the vault finds a person's key by.
    pub(crate) fn digest(&self, subject: &str) -> [u8; 32] {
        *blake3::keyed_hash(&self.digest, subject.as_bytes()).as_bytes()
    }

    /// What events call a person by. Another key, so that the vault's records cannot be told from it.
    pub(crate) fn subject(&self, subject: &str) -> Blake3 {
        Blake3::from_bytes(*blake3::keyed_hash(&self.subject, subject.as_bytes()).as_bytes())
    }

    /// A new key for a person, and its record.
    pub(crate) fn draw(&self, subject: &str, random: &dyn Random) -> (PersonKey, VaultRecord) {
        let (mut id, mut secret, mut nonce) = ([0; 16], Zeroizing::new([0; 32]), [0; 24]);
        random.fill(&mut id);
        random.fill(&mut *secret);
        random.fill(&mut nonce);
        let (id, digest) = (KeyId(id), self.digest(subject));
        let payload = Payload { msg: &*secret, aad: &wrap_aad(id, &digest) };
        let wrapped = self.cipher().encrypt(&XNonce::from(nonce), payload).expect("32 bytes can be encrypted");
        let wrapped = wrapped.try_into().expect("32 bytes and a tag of 16");
        (PersonKey { id, secret }, VaultRecord::Key { id, digest, nonce, wrapped })
    }

    /// The key of a record; `None` if it was destroyed, a mismatch if it was wrapped under another vault's key.
    pub(crate) fn unwrap(&self, record: &VaultRecord) -> Result<Option<PersonKey>, Mismatch> {
        let VaultRecord::Key { id, digest, nonce, wrapped } = record else { return Ok(None) };
        let payload = Payload { msg: wrapped, aad: &wrap_aad(*id, digest) };
        let secret = self.cipher().decrypt(&XNonce::from(*nonce), payload).map(Zeroizing::new).map_err(|_| {
            Mismatch::new(72, "a key wrapped under this tenant's vault.key", "one that does not open under it")
        })?;
        let mut key = PersonKey { id: *id, secret: Zeroizing::new([0; 32]) };
        key.secret.copy_from_slice(&secret);
        Ok(Some(key))
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new((&*self.wrapping).into())
    }
}

impl PersonKey {
    pub(crate) fn seal(&self, value: &str, aad: &[u8], random: &dyn Random) -> ([u8; 24], Vec<u8>) {
        let mut nonce = [0; 24];
        random.fill(&mut nonce);
        let payload = Payload { msg: value.as_bytes(), aad };
        let ciphertext = self.cipher().encrypt(&XNonce::from(nonce), payload).expect("a payload can be encrypted");
        (nonce, ciphertext)
    }

    /// `None` where the bytes are not what was sealed.
    pub(crate) fn open(&self, nonce: &[u8; 24], ciphertext: &[u8], aad: &[u8]) -> Option<String> {
        let opened = self.cipher().decrypt(&XNonce::from(*nonce), Payload { msg: ciphertext, aad }).ok()?;
        String::from_utf8(opened).ok()
    }

    /// Keyed digest of a value, which nobody can test a guess against once the key is destroyed.
    pub(crate) fn mac(&self, pointer: &str, value: &str) -> [u8; 32] {
        let key = Zeroizing::new(blake3::derive_key(FIELD_MAC_CONTEXT, &*self.secret));
        let mut mac = blake3::Hasher::new_keyed(&key);
        for field in [pointer, value] {
            mac.update(&(field.len() as u64).to_be_bytes()).update(field.as_bytes());
        }
        *mac.finalize().as_bytes()
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new((&*self.secret).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::SystemRandom;

    #[test]
    fn a_key_comes_back_from_its_record_under_its_vaults_key_alone() {
        let (keys, others) = (VaultKeys::derive(&[1; 32]), VaultKeys::derive(&[2; 32]));
        let (key, record) = keys.draw("alice", &SystemRandom);
        let bytes = record.encode();
        assert_eq!(VaultRecord::decode(&bytes).unwrap(), record);
        let back = keys.unwrap(&record).unwrap().unwrap();
        assert!(back.id == key.id && *back.secret == *key.secret);
        assert!(others.unwrap(&record).is_err());
        let VaultRecord::Key { id, nonce, wrapped, .. } = record else { unreachable!() };
        let moved = VaultRecord::Key { id, digest: keys.digest("bob"), nonce, wrapped };
        assert!(keys.unwrap(&moved).is_err(), "a key belongs to its person");
        let destroyed = VaultRecord::Destroyed { id };
        assert_eq!(VaultRecord::decode(&destroyed.encode()).unwrap(), destroyed);
        assert!(keys.unwrap(&destroyed).unwrap().is_none());
        assert_ne!(keys.digest("alice"), *keys.subject("alice").as_bytes());
        for bit in 0..RECORD_BYTES * 8 {
            let mut other = bytes;
            other[bit / 8] ^= 1 << (bit % 8);
            VaultRecord::decode(&other).unwrap_err();
        }
        VaultRecord::decode(&[0; RECORD_BYTES]).unwrap_err();
    }

    #[test]
    fn a_value_opens_under_its_key_at_its_place_alone() {
        let keys = VaultKeys::derive(&[1; 32]);
        let (alice, bob) = (keys.draw("alice", &SystemRandom).0, keys.draw("bob", &SystemRandom).0);
        let (nonce, sealed) = alice.seal("secret", b"here", &SystemRandom);
        assert_eq!(alice.open(&nonce, &sealed, b"here").as_deref(), Some("secret"));
        assert_eq!((alice.open(&nonce, &sealed, b"there"), bob.open(&nonce, &sealed, b"here")), (None, None));
        assert_ne!(alice.mac("/a", "secret"), bob.mac("/a", "secret"));
        assert_ne!(alice.mac("/a", "secret"), alice.mac("/as", "ecret"));
    }
}
