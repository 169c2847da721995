//! The small text files that say what a ledger is and hold its keys. Each is refused unless it is byte for byte
//! what would be written for its content.

use crate::checkpoint::{LogSigner, LogVerifier};
use crate::cosignature::{Algorithm, Cosigner, CosignerKey};
use crate::error::{Damage, Error};
use crate::layout::{Layout, LogId};
use crate::options::Random;
use crate::storage::{Access, Storage, list_if_any, parent, read_small, write_whole};
use cairn_schemas::TenantId;
use std::collections::BTreeSet;
use std::path::Path;
use zeroize::Zeroizing;

const MARKER_LINE: &str = "cairn ledger 1";
const MAC_KEY_PREFIX: &str = "cairn-mac-key-1";
const VAULT_KEY_PREFIX: &str = "cairn-vault-key-1";
const CHECK_DIGITS: usize = 16;

/// What the `ledger` file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Marker {
    /// Every log's origin begins with it.
    pub(crate) origin: String,
}

impl Marker {
    pub(crate) fn new(origin: Option<&str>, random: &dyn Random) -> Result<Self, Error> {
        let origin = match origin {
            Some(origin) => origin.to_owned(),
            None => {
                let mut id = [0; 8];
                random.fill(&mut id);
                format!("cairn.local/{}", hex::encode(id))
            }
        };
        let wrong = origin.is_empty()
            || origin.contains("://")
            || origin.ends_with('/')
            || origin.chars().any(|c| c.is_whitespace() || c.is_control() || c == '+');
        match wrong {
            false => Ok(Self { origin }),
            true => Err(Error::NotALedger {
                dir: origin.into(),
                why: "an origin is a URL without scheme, trailing slash, spaces and `+`, such as log.example.com/team"
                    .into(),
            }),
        }
    }

    pub(crate) fn encode(&self) -> String {
        with_check(&format!("{MARKER_LINE}\norigin {}\n", self.origin), "check ")
    }

    pub(crate) fn decode(text: &str) -> Result<Self, String> {
        let mut lines = text.lines();
        if lines.next() != Some(MARKER_LINE) {
            return Err(format!("a first line `{MARKER_LINE}`"));
        }
        let origin = lines.next().and_then(|line| line.strip_prefix("origin ")).ok_or("a line `origin …`")?;
        canonical(Self { origin: origin.to_owned() }, text, Self::encode)
    }

    /// Origin of one log: unique, since every ledger's own origin is.
    pub(crate) fn log_origin(&self, log: &LogId) -> String {
        format!("{}/{log}", self.origin)
    }
}

/// The key that a tenant's MACs are made under.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct MacKey(pub(crate) [u8; 32]);

impl MacKey {
    fn encode(&self) -> String {
        encode_key(MAC_KEY_PREFIX, &self.0)
    }
    fn decode(text: &str) -> Result<Self, String> {
        canonical(Self(decode_key(MAC_KEY_PREFIX, text)?), text, Self::encode)
    }
}

/// The key that the keys of a tenant's people are wrapped under. Overwritten when it is dropped.
pub(crate) struct VaultKey(pub(crate) Zeroizing<[u8; 32]>);

impl VaultKey {
    fn encode(&self) -> String {
        encode_key(VAULT_KEY_PREFIX, &self.0)
    }
    fn decode(text: &str) -> Result<Self, String> {
        canonical(Self(Zeroizing::new(decode_key(VAULT_KEY_PREFIX, text)?)), text, Self::encode)
    }
}

fn encode_key(prefix: &str, key: &[u8; 32]) -> String {
    with_check(&format!("{prefix}+{}", hex::encode(key)), "+")
}

fn decode_key(prefix: &str, text: &str) -> Result<[u8; 32], String> {
    let key = text.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('+')).and_then(|rest| rest.get(..64));
    let mut bytes = [0; 32];
    match key.is_some_and(|key| hex::decode_to_slice(key, &mut bytes).is_ok()) {
        true => Ok(bytes),
        false => Err(format!("`{prefix}+` and 64 hexadecimal digits")),
    }
}

pub(crate) fn with_check(text: &str, before: &str) -> String {
    let check = blake3::hash(text.as_bytes()).to_hex();
    format!("{text}{before}{}\n", &check[..CHECK_DIGITS])
}

fn canonical<T>(value: T, text: &str, encode: impl Fn(&T) -> String) -> Result<T, String> {
    match encode(&value) == text {
        true => Ok(value),
        false => Err("the check digits of its own content".into()),
    }
}

/// Reads a small text file and decodes it; `None` where there is none, damage where it does not decode.
pub(crate) fn read_text<T>(
    disk: &dyn Storage,
    layout: &Layout,
    path: &Path,
    decode: impl FnOnce(&str) -> Result<T, String>,
) -> Result<Option<T>, Error> {
    let Some(bytes) = read_small(disk, path)? else { return Ok(None) };
    let decoded = String::from_utf8(bytes).map_err(|_| "UTF-8 text".to_owned()).and_then(|text| decode(&text));
    decoded.map(Some).map_err(|expected| damaged(layout, path, expected, "other content"))
}

pub(crate) fn damaged(layout: &Layout, path: &Path, expected: String, found: &str) -> Error {
    let file = layout.relative(path);
    Damage { log: "-".into(), position: None, file, offset: 0, expected, found: found.into() }.into()
}

fn line<T>(decode: impl FnOnce(&str) -> Result<T, String>) -> impl FnOnce(&str) -> Result<T, String> {
    |text| decode(text.strip_suffix('\n').ok_or("a newline at the end")?)
}

pub(crate) fn read_marker(disk: &dyn Storage, layout: &Layout) -> Result<Option<Marker>, Error> {
    read_text(disk, layout, &layout.marker(), Marker::decode)
}

pub(crate) fn read_mac_key(disk: &dyn Storage, layout: &Layout, tenant: &TenantId) -> Result<Option<MacKey>, Error> {
    read_text(disk, layout, &layout.mac_key(tenant), MacKey::decode)
}

pub(crate) fn read_vault_key(
    disk: &dyn Storage,
    layout: &Layout,
    tenant: &TenantId,
) -> Result<Option<VaultKey>, Error> {
    read_text(disk, layout, &layout.vault_key(tenant), VaultKey::decode)
}

/// Draws a tenant's vault key and stores it.
pub(crate) fn write_vault_key(
    disk: &dyn Storage,
    layout: &Layout,
    tenant: &TenantId,
    random: &dyn Random,
) -> Result<VaultKey, Error> {
    let mut key = VaultKey(Zeroizing::new([0; 32]));
    random.fill(&mut *key.0);
    write_secret(disk, &layout.vault_key(tenant), &key.encode())?;
    Ok(key)
}

pub(crate) fn read_signer(disk: &dyn Storage, layout: &Layout, log: &LogId) -> Result<Option<LogSigner>, Error> {
    read_text(disk, layout, &layout.signing_key(log), line(LogSigner::decode))
}

/// Reads a verifier key wherever it stands: in a log's folder, or in a bundle.
pub(crate) fn read_verifier(disk: &dyn Storage, layout: &Layout, path: &Path) -> Result<Option<LogVerifier>, Error> {
    read_text(disk, layout, path, line(LogVerifier::decode))
}

pub(crate) fn write_marker(disk: &dyn Storage, layout: &Layout, marker: &Marker) -> Result<(), Error> {
    write_whole(disk, &layout.marker(), Access::Default, marker.encode().as_bytes())
}

pub(crate) fn write_verifier(disk: &dyn Storage, path: &Path, key: &LogVerifier) -> Result<(), Error> {
    write_whole(disk, path, Access::Default, format!("{}\n", key.encode()).as_bytes())
}

/// The tenant's MAC key, drawn now if it has none.
pub(crate) fn ensure_mac_key(
    disk: &dyn Storage,
    layout: &Layout,
    tenant: &TenantId,
    random: &dyn Random,
) -> Result<MacKey, Error> {
    if let Some(key) = read_mac_key(disk, layout, tenant)? {
        return Ok(key);
    }
    let mut key = MacKey([0; 32]);
    random.fill(&mut key.0);
    write_secret(disk, &layout.mac_key(tenant), &key.encode())?;
    Ok(key)
}

/// A new signing key for a log of this origin, not stored yet.
pub(crate) fn draw_signer(origin: &str, random: &dyn Random) -> LogSigner {
    let mut seed = [0; 32];
    random.fill(&mut seed);
    LogSigner::new(origin, &seed)
}

/// Draws and stores the key of a log's second signature, both halves; or removes what an earlier attempt left.
pub(crate) fn ensure_second(
    disk: &dyn Storage,
    layout: &Layout,
    log: &LogId,
    origin: &str,
    wanted: bool,
    random: &dyn Random,
) -> Result<Option<Cosigner>, Error> {
    let (secret, public) = (layout.second_key(log), layout.log(log).second_verifier_key());
    if !wanted {
        for path in [&secret, &public] {
            match disk.remove(path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(Error::io("removing", path)(e)),
                _ => {}
            }
        }
        return Ok(None);
    }
    let mut seed = [0; 32];
    random.fill(&mut seed);
    let signer = Cosigner::new(origin, Algorithm::MlDsa44, &seed);
    CosignerKey::decode(&signer.key().encode()).map_err(|expected| Error::Key {
        path: public.clone(),
        why: format!("the origin {origin} is not {expected}"),
    })?;
    write_secret(disk, &secret, &format!("{}\n", signer.encode()))?;
    write_whole(disk, &public, Access::Default, format!("{}\n", signer.key().encode()).as_bytes())?;
    Ok(Some(signer))
}

pub(crate) fn read_second(disk: &dyn Storage, layout: &Layout, log: &LogId) -> Result<Option<Cosigner>, Error> {
    read_text(disk, layout, &layout.second_key(log), line(Cosigner::decode))
}

pub(crate) fn read_second_verifier(
    disk: &dyn Storage,
    layout: &Layout,
    log: &LogId,
) -> Result<Option<CosignerKey>, Error> {
    read_text(disk, layout, &layout.log(log).second_verifier_key(), line(CosignerKey::decode))
}

pub(crate) fn write_signer(disk: &dyn Storage, layout: &Layout, log: &LogId, signer: &LogSigner) -> Result<(), Error> {
    write_secret(disk, &layout.signing_key(log), &format!("{}\n", signer.encode()))
}

/// Logs that have a signing key, told by its name alone: readers may not be allowed to open it.
pub(crate) fn logs_with_signer(disk: &dyn Storage, layout: &Layout) -> Result<BTreeSet<LogId>, Error> {
    let mut found = BTreeSet::new();
    for name in list_if_any(disk, &layout.keys())? {
        let folder = layout.keys().join(&name);
        let names = list_if_any(disk, &folder)?;
        let tenant: TenantId = name
            .parse()
            .map_err(|_| damaged(layout, &folder, "a folder named after a tenant".into(), "another name"))?;
        found.extend(names.iter().filter_map(|name| LogId::of_signing_key(&tenant, name)));
    }
    Ok(found)
}

fn write_secret(disk: &dyn Storage, path: &Path, text: &str) -> Result<(), Error> {
    disk.create_dirs(parent(path)).map_err(Error::io("creating", parent(path)))?;
    write_whole(disk, path, Access::Owner, text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_of_marker_and_mac_key_is_refused() {
        let marker = Marker { origin: "log.example.com/a".into() };
        let key = MacKey([0xab; 32]);
        assert_eq!(Marker::decode(&marker.encode()), Ok(marker.clone()));
        assert!(MacKey::decode(&key.encode()).is_ok_and(|back| back == key));
        for (text, is_mac) in [(marker.encode(), false), (key.encode(), true)] {
            for at in 0..text.len() * 8 {
                let mut bytes = text.clone().into_bytes();
                bytes[at / 8] ^= 1 << (at % 8);
                let Ok(other) = String::from_utf8(bytes) else { continue };
                let refused = if is_mac { MacKey::decode(&other).is_err() } else { Marker::decode(&other).is_err() };
                assert!(refused, "bit {at} of {text}");
            }
        }
    }

    #[test]
    fn an_origin_is_a_url_without_scheme_slash_space_or_plus() {
        for origin in ["", "https://a.example", "a.example/", "a example", "a+b", "a\nb"] {
            Marker::new(Some(origin), &crate::options::SystemRandom).unwrap_err();
        }
        Marker::new(Some("log.example.com/team"), &crate::options::SystemRandom).unwrap();
        Marker::new(None, &crate::options::SystemRandom).unwrap();
    }
}
