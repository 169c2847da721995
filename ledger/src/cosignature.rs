//! Cosignatures: timestamped signatures on a checkpoint, by a witness with Ed25519 or by anyone with ML-DSA-44.
//!
//! Source: C2SP tlog-cosignature (key types 0x04 and 0x06, `cosignature/v1` and `subtree/v1`), C2SP signed-note.

use crate::checkpoint::{Checkpoint, SignedCheckpoint, key_id, signature_line, split_signature_line};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use cairn_schemas::Timestamp;
use ed25519_dalek::Signer as _;
use ml_dsa::MlDsa44;
use std::fmt;

const TYPE_ED25519: u8 = 0x04;
const TYPE_ML_DSA_44: u8 = 0x06;
const ML_DSA_44_KEY_BYTES: usize = 1312;
const SUBTREE_LABEL: &[u8; 12] = b"subtree/v1\n\0";
/// Names that an ML-DSA-44 cosignature can carry are at most this long.
pub(crate) const NAME_BYTES_MAX: usize = 255;

/// What an outsider needs to check a cosigner's signatures: its name and public key.
#[derive(Clone)]
pub struct CosignerKey {
    name: String,
    id: [u8; 4],
    key: Public,
}

#[derive(Clone)]
enum Public {
    Ed25519(ed25519_dalek::VerifyingKey),
    MlDsa44(Box<ml_dsa::VerifyingKey<MlDsa44>>),
}

/// A signature algorithm of cosignatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Ed25519,
    MlDsa44,
}

/// The secret half.
pub(crate) struct Cosigner {
    seed: [u8; 32],
    secret: Secret,
    key: CosignerKey,
}

enum Secret {
    Ed25519(Box<ed25519_dalek::SigningKey>),
    MlDsa44(Box<ml_dsa::SigningKey<MlDsa44>>),
}

impl CosignerKey {
    fn new(name: &str, key: Public) -> Self {
        let id = key_id(name, &key.encode());
        Self { name: name.to_owned(), id, key }
    }

    /// The name that its signature lines begin with.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `name+hex(id)+base64(type ‖ key)`.
    pub fn encode(&self) -> String {
        format!("{}+{}+{}", self.name, hex::encode(self.id), BASE64.encode(self.key.encode()))
    }

    /// Reads a verifier key of type 4 or 6. Says what was expected where it is none.
    pub fn decode(text: &str) -> Result<Self, String> {
        let (name, bytes) = split_key(text)?;
        let key = match bytes.split_first() {
            Some((&TYPE_ED25519, key)) => {
                let key = key.try_into().map_err(|_| "a key of 32 bytes")?;
                Public::Ed25519(ed25519_dalek::VerifyingKey::from_bytes(key).map_err(|_| "an Ed25519 public key")?)
            }
            Some((&TYPE_ML_DSA_44, key)) => {
                let key = ml_dsa::EncodedVerifyingKey::<MlDsa44>::try_from(key)
                    .map_err(|_| format!("a key of {ML_DSA_44_KEY_BYTES} bytes"))?;
                Public::MlDsa44(Box::new(ml_dsa::VerifyingKey::decode(&key)))
            }
            _ => return Err("a cosigner's key, of type 4 (Ed25519) or 6 (ML-DSA-44)".into()),
        };
        let decoded = Self::new(name, key);
        match decoded.encode() == text {
            true => Ok(decoded),
            false => Err("the key's own id in its canonical form".into()),
        }
    }

    /// Whether one of these signature lines is this key's on the checkpoint.
    pub fn has_cosigned(&self, signed: &SignedCheckpoint, lines: &str) -> bool {
        self.line_of(signed, lines).is_some()
    }

    /// This key's signature on the checkpoint among these lines.
    pub(crate) fn line_of<'a>(&self, signed: &SignedCheckpoint, lines: &'a str) -> Option<&'a str> {
        let body = signed.checkpoint.body();
        lines.lines().find(|line| matches!(self.check_line(line, &body, &signed.checkpoint), Ok(Some(_))))
    }

    /// When this key cosigned the checkpoint, in seconds since 1970, if the line is its signature. Well-formed lines of
    /// other keys are passed over. `body` is the checkpoint's text, extension lines included.
    pub(crate) fn check_line(&self, line: &str, body: &str, checkpoint: &Checkpoint) -> Result<Option<u64>, String> {
        let (name, id, blob) = split_signature_line(line)?;
        if name != self.name || id != self.id {
            return Ok(None);
        }
        let (time, signature) = blob.split_first_chunk::<8>().ok_or("a timestamp and a signature")?;
        let time = u64::from_be_bytes(*time);
        if i64::try_from(time).is_err() {
            return Err(format!("a time below 2^63, not {time}"));
        }
        let holds = match &self.key {
            Public::Ed25519(key) => ed25519_dalek::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_strict(&ed25519_message(time, body), &signature).is_ok()),
            Public::MlDsa44(key) => ml_dsa::Signature::<MlDsa44>::try_from(signature).is_ok_and(|signature| {
                key.verify_with_context(&ml_dsa_message(&self.name, time, checkpoint), &[], &signature)
            }),
        };
        match holds {
            true => Ok(Some(time)),
            false => Err(format!("a cosignature that the key of {} accepts", self.name)),
        }
    }
}

impl PartialEq for CosignerKey {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.key.encode() == other.key.encode()
    }
}
impl Eq for CosignerKey {}

impl fmt::Debug for CosignerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CosignerKey({}+{})", self.name, hex::encode(self.id))
    }
}

impl Public {
    /// The type and the key, as verifier keys and key ids have them.
    fn encode(&self) -> Vec<u8> {
        match self {
            Public::Ed25519(key) => [&[TYPE_ED25519], &key.as_bytes()[..]].concat(),
            Public::MlDsa44(key) => [&[TYPE_ML_DSA_44], &key.encode()[..]].concat(),
        }
    }
}

const PRIVATE_PREFIX: &str = "PRIVATE+KEY+";

impl Cosigner {
    pub(crate) fn new(name: &str, algorithm: Algorithm, seed: &[u8; 32]) -> Self {
        let (secret, public) = match algorithm {
            Algorithm::Ed25519 => {
                let key = ed25519_dalek::SigningKey::from_bytes(seed);
                let public = Public::Ed25519(key.verifying_key());
                (Secret::Ed25519(Box::new(key)), public)
            }
            Algorithm::MlDsa44 => {
                let key = ml_dsa::SigningKey::<MlDsa44>::from_seed(&(*seed).into());
                let public = Public::MlDsa44(Box::new(key.expanded_key().verifying_key()));
                (Secret::MlDsa44(Box::new(key)), public)
            }
        };
        Self { seed: *seed, secret, key: CosignerKey::new(name, public) }
    }
    pub(crate) fn key(&self) -> &CosignerKey {
        &self.key
    }

    /// `PRIVATE+KEY+name+hex(id)+base64(type ‖ seed)`; the seed of an ML-DSA-44 key is its FIPS 204 ξ.
    pub(crate) fn encode(&self) -> String {
        let kind = self.key.key.encode()[0];
        let key = BASE64.encode([&[kind], &self.seed[..]].concat());
        format!("{PRIVATE_PREFIX}{}+{}+{key}", self.key.name, hex::encode(self.key.id))
    }

    pub(crate) fn decode(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix(PRIVATE_PREFIX).ok_or("a key that begins with PRIVATE+KEY+")?;
        let (name, bytes) = split_key(rest)?;
        let (algorithm, seed) = match bytes.split_first() {
            Some((&TYPE_ED25519, seed)) => (Algorithm::Ed25519, seed),
            Some((&TYPE_ML_DSA_44, seed)) => (Algorithm::MlDsa44, seed),
            _ => return Err("a cosigner's key, of type 4 (Ed25519) or 6 (ML-DSA-44)".into()),
        };
        let signer = Self::new(name, algorithm, seed.try_into().map_err(|_| "a seed of 32 bytes")?);
        match signer.encode() == text {
            true => Ok(signer),
            false => Err("the key's own id in its canonical form".into()),
        }
    }

    /// The signature line for a checkpoint, with its newline. `body` is the checkpoint's text.
    pub(crate) fn cosign(&self, body: &str, checkpoint: &Checkpoint, now: Timestamp) -> String {
        let time = u64::try_from(now.as_micros() / 1_000_000).unwrap_or(0);
        let signature = match &self.secret {
            Secret::Ed25519(key) => key.sign(&ed25519_message(time, body)).to_bytes().to_vec(),
            Secret::MlDsa44(key) => {
                let message = ml_dsa_message(&self.key.name, time, checkpoint);
                let signature = key.expanded_key().sign_deterministic(&message, &[]);
                signature.expect("an empty context is allowed").encode().to_vec()
            }
        };
        signature_line(&self.key.name, self.key.id, &[&time.to_be_bytes(), &signature[..]].concat())
    }
}

fn ed25519_message(time: u64, body: &str) -> Vec<u8> {
    format!("cosignature/v1\ntime {time}\n{body}").into_bytes()
}

/// The structure `cosigned_message` of a whole tree. Extension lines are no part of it.
fn ml_dsa_message(cosigner: &str, time: u64, checkpoint: &Checkpoint) -> Vec<u8> {
    let mut message = SUBTREE_LABEL.to_vec();
    let name = |message: &mut Vec<u8>, name: &str| {
        // Longer names are refused where keys and logs are made; cut short, they give a signature that nobody accepts.
        let name = &name.as_bytes()[..name.len().min(NAME_BYTES_MAX)];
        message.push(name.len() as u8);
        message.extend_from_slice(name);
    };
    name(&mut message, cosigner);
    message.extend_from_slice(&time.to_be_bytes());
    name(&mut message, &checkpoint.origin);
    message.extend_from_slice(&0u64.to_be_bytes());
    message.extend_from_slice(&checkpoint.size.to_be_bytes());
    message.extend_from_slice(checkpoint.root.as_bytes());
    message
}

/// Splits `name+id+base64`. The id is checked by encoding again.
fn split_key(text: &str) -> Result<(&str, Vec<u8>), String> {
    let mut parts = text.splitn(3, '+');
    let (Some(name), Some(_id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
        return Err("a key of the form name+id+base64".into());
    };
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(format!("a name of 1 to {NAME_BYTES_MAX} bytes without spaces"));
    }
    Ok((name, BASE64.decode(key).map_err(|_| "a key in base64")?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::tests::example;

    const NAME: &str = "witness.example.com/w1";

    fn now() -> Timestamp {
        Timestamp::from_micros(1_679_315_147_999_999)
    }

    fn both() -> [Cosigner; 2] {
        [Algorithm::Ed25519, Algorithm::MlDsa44].map(|algorithm| Cosigner::new(NAME, algorithm, &[9; 32]))
    }

    fn cosigned(cosigner: &Cosigner) -> (SignedCheckpoint, String) {
        let (_, signed) = example();
        let line = cosigner.cosign(&signed.checkpoint.body(), &signed.checkpoint, now());
        (signed, line.strip_suffix('\n').unwrap().to_owned())
    }

    /// The example of the specification: a checkpoint with a witness's Ed25519 cosignature, whose key is not given there.
    #[test]
    fn an_ed25519_message_is_the_specifications() {
        let body = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
        let message = String::from_utf8(ed25519_message(1_679_315_147, body)).unwrap();
        assert_eq!(message, format!("cosignature/v1\ntime 1679315147\n{body}"));
    }

    #[test]
    fn an_ml_dsa_message_is_the_specifications_structure() {
        let checkpoint = Checkpoint { origin: "o".into(), size: 258, root: crate::tree::empty_root() };
        let expected =
            [&b"subtree/v1\n\0\x01n"[..], &7u64.to_be_bytes(), b"\x01o", &[0; 8], &258u64.to_be_bytes()].concat();
        assert_eq!(
            ml_dsa_message("n", 7, &checkpoint),
            [&expected, &crate::tree::empty_root().as_bytes()[..]].concat()
        );
    }

    #[test]
    fn keys_come_back_and_sizes_are_those_of_the_specification() {
        for (cosigner, key_bytes, signature_bytes) in
            both().iter().zip([(32, 64), (1312, 2420)]).map(|(c, (k, s))| (c, k, s))
        {
            let again = Cosigner::decode(&cosigner.encode()).unwrap();
            assert_eq!(again.key(), cosigner.key());
            assert_eq!(&CosignerKey::decode(&cosigner.key().encode()).unwrap(), cosigner.key());
            assert_eq!(cosigner.key().key.encode().len(), 1 + key_bytes);
            let (signed, line) = cosigned(cosigner);
            let (_, _, blob) = split_signature_line(&line).unwrap();
            assert_eq!(blob.len(), 8 + signature_bytes);
            let body = signed.checkpoint.body();
            assert_eq!(cosigner.key().check_line(&line, &body, &signed.checkpoint), Ok(Some(1_679_315_147)));
        }
    }

    #[test]
    fn no_changed_line_key_or_checkpoint_is_accepted() {
        for cosigner in both() {
            let (signed, line) = cosigned(&cosigner);
            let (body, key) = (signed.checkpoint.body(), cosigner.key());
            let step = if matches!(cosigner.secret, Secret::Ed25519(_)) { 1 } else { 97 };
            for at in (0..line.len() * 8).step_by(step) {
                let mut bytes = line.clone().into_bytes();
                bytes[at / 8] ^= 1 << (at % 8);
                let Ok(other) = String::from_utf8(bytes) else { continue };
                assert!(!matches!(key.check_line(&other, &body, &signed.checkpoint), Ok(Some(_))), "bit {at}");
            }
            let encoded = key.encode();
            for at in (0..encoded.len() * 8).step_by(step) {
                let mut bytes = encoded.clone().into_bytes();
                bytes[at / 8] ^= 1 << (at % 8);
                let Ok(other) = String::from_utf8(bytes) else { continue };
                assert!(CosignerKey::decode(&other).is_err(), "bit {at}");
            }
            let longer = Checkpoint { size: signed.checkpoint.size + 1, ..signed.checkpoint.clone() };
            key.check_line(&line, &longer.body(), &longer).unwrap_err();
            let other = Cosigner::new("another", Algorithm::Ed25519, &[9; 32]);
            assert_eq!(other.key().check_line(&line, &body, &signed.checkpoint), Ok(None));
        }
    }
}
