//! Checkpoints: size and root of a log's tree in a C2SP signed note, and the Ed25519 keys that sign them.
//!
//! Sources: C2SP signed-note 1.0.0 and tlog-checkpoint 1.0.0.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use cairn_schemas::Sha256;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use sha2::Digest;

/// Signature type of a plain Ed25519 note signature.
const TYPE_ED25519: u8 = 0x01;
/// More signatures than this in one note are refused; the specification asks for at least 16.
const SIGNATURES_MAX: usize = 100;

/// What a checkpoint says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    pub origin: String,
    /// Events the tree covers.
    pub size: u64,
    pub root: Sha256,
}

/// A checkpoint with the note that carries its signatures, as it is stored and published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCheckpoint {
    pub checkpoint: Checkpoint,
    /// The whole signed note.
    pub note: String,
}

impl Checkpoint {
    fn body(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, BASE64.encode(self.root.as_bytes()))
    }

    pub(crate) fn sign(self, key: &LogSigner) -> SignedCheckpoint {
        let body = self.body();
        let signature = key.signing.sign(body.as_bytes()).to_bytes();
        let line = BASE64.encode([&key.verifier.id[..], &signature].concat());
        let note = format!("{body}\n\u{2014} {} {line}\n", key.verifier.name);
        SignedCheckpoint { checkpoint: self, note }
    }

    /// What a note says, whoever signed it. For notes whose signature was checked, or is no matter.
    pub(crate) fn of_note(note: &str) -> Result<Self, String> {
        let (body, _) = note.rsplit_once("\n\n").ok_or("an empty line before the signatures")?;
        Self::parse(&format!("{body}\n"))
    }

    /// Reads a body, which must be exactly what [`Checkpoint::body`] writes.
    fn parse(body: &str) -> Result<Self, String> {
        let lines: Vec<&str> = body.split('\n').collect();
        let [origin, size, root, ""] = lines[..] else {
            return Err(format!("three lines, not {}", lines.len().saturating_sub(1)));
        };
        let size = size.parse().map_err(|_| format!("a size, not `{size}`"))?;
        let root = BASE64.decode(root).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        let root = Sha256::from_bytes(root.ok_or("a root of 32 bytes in base64")?);
        let checkpoint = Self { origin: origin.to_owned(), size, root };
        match checkpoint.body() == body {
            true => Ok(checkpoint),
            false => Err("a size and a root in their canonical form".into()),
        }
    }
}

impl SignedCheckpoint {
    /// Reads a note that `verifier` has signed. Says what was expected where it does not hold.
    pub fn parse(note: &str, verifier: &LogVerifier) -> Result<Self, String> {
        let (body, signatures) = note.rsplit_once("\n\n").ok_or("an empty line before the signatures")?;
        let body = format!("{body}\n");
        let checkpoint = Checkpoint::parse(&body)?;
        if checkpoint.origin != verifier.name {
            return Err(format!("origin `{}`, not `{}`", verifier.name, checkpoint.origin));
        }
        let lines: Vec<&str> = signatures.strip_suffix('\n').ok_or("a newline at the end")?.split('\n').collect();
        if lines.len() > SIGNATURES_MAX {
            return Err(format!("at most {SIGNATURES_MAX} signatures, not {}", lines.len()));
        }
        let mut signed = false;
        for line in lines {
            signed |= verifier.check_line(line, body.as_bytes())?;
        }
        match signed {
            true => Ok(Self { checkpoint, note: note.to_owned() }),
            false => Err(format!("a signature by {}", verifier.encode())),
        }
    }
}

/// The public half of a log's key: what an outsider needs to check its checkpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogVerifier {
    name: String,
    id: [u8; 4],
    key: VerifyingKey,
}

impl LogVerifier {
    fn new(name: &str, key: VerifyingKey) -> Self {
        let mut hasher = sha2::Sha256::new();
        for part in [name.as_bytes(), b"\n", &[TYPE_ED25519], key.as_bytes()] {
            hasher.update(part);
        }
        let digest: [u8; 32] = hasher.finalize().into();
        Self { name: name.to_owned(), id: [digest[0], digest[1], digest[2], digest[3]], key }
    }

    /// The origin of the log that this key signs for.
    pub fn origin(&self) -> &str {
        &self.name
    }

    /// `name+hex(id)+base64(type ‖ key)`.
    pub fn encode(&self) -> String {
        let key = BASE64.encode([&[TYPE_ED25519], &self.key.as_bytes()[..]].concat());
        format!("{}+{}+{key}", self.name, hex::encode(self.id))
    }

    /// Reads a verifier key. Says what was expected where it is none.
    pub fn decode(text: &str) -> Result<Self, String> {
        let (name, key) = split_key(text)?;
        let key = VerifyingKey::from_bytes(&key).map_err(|_| "an Ed25519 public key")?;
        let verifier = Self::new(name, key);
        match verifier.encode() == text {
            true => Ok(verifier),
            false => Err("the key's own id in its canonical form".into()),
        }
    }

    /// Whether the line is this key's signature. Well-formed lines of other keys are passed over.
    fn check_line(&self, line: &str, body: &[u8]) -> Result<bool, String> {
        let malformed = || "a signature line: a dash, a name and base64".to_owned();
        let (name, blob) =
            line.strip_prefix("\u{2014} ").and_then(|rest| rest.split_once(' ')).ok_or_else(malformed)?;
        let blob = BASE64.decode(blob).map_err(|_| malformed())?;
        let (id, signature) = blob.split_first_chunk::<4>().ok_or_else(malformed)?;
        if name != self.name || *id != self.id {
            return Ok(false);
        }
        let signature = Signature::from_slice(signature).map_err(|_| "a signature of 64 bytes")?;
        match self.key.verify_strict(body, &signature) {
            Ok(()) => Ok(true),
            Err(_) => Err(format!("a signature that {} accepts", self.encode())),
        }
    }
}

/// The secret half.
pub(crate) struct LogSigner {
    signing: SigningKey,
    verifier: LogVerifier,
}

const PRIVATE_PREFIX: &str = "PRIVATE+KEY+";

impl LogSigner {
    pub(crate) fn new(origin: &str, seed: &[u8; 32]) -> Self {
        let signing = SigningKey::from_bytes(seed);
        let verifier = LogVerifier::new(origin, signing.verifying_key());
        Self { signing, verifier }
    }
    pub(crate) fn verifier(&self) -> &LogVerifier {
        &self.verifier
    }

    /// `PRIVATE+KEY+name+hex(id)+base64(type ‖ seed)`, as Go's `note.GenerateKey` writes it.
    pub(crate) fn encode(&self) -> String {
        let key = BASE64.encode([&[TYPE_ED25519], &self.signing.to_bytes()[..]].concat());
        format!("{PRIVATE_PREFIX}{}+{}+{key}", self.verifier.name, hex::encode(self.verifier.id))
    }

    pub(crate) fn decode(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix(PRIVATE_PREFIX).ok_or("a key that begins with PRIVATE+KEY+")?;
        let (name, seed) = split_key(rest)?;
        let signer = Self::new(name, &seed);
        match signer.encode() == text {
            true => Ok(signer),
            false => Err("the key's own id in its canonical form".into()),
        }
    }
}

/// Splits `name+id+base64(type ‖ 32 bytes)`. The id is checked by encoding again.
fn split_key(text: &str) -> Result<(&str, [u8; 32]), String> {
    let mut parts = text.splitn(3, '+');
    let (Some(name), Some(_id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
        return Err("a key of the form name+id+base64".into());
    };
    let bytes = BASE64.decode(key).map_err(|_| "a key in base64")?;
    match bytes.split_first() {
        Some((&TYPE_ED25519, key)) => Ok((name, key.try_into().map_err(|_| "a key of 32 bytes")?)),
        _ => Err("a key of type 1 (Ed25519)".into()),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The checkpoint of the worked example in docs/format.md.
    pub(crate) fn example() -> (LogSigner, SignedCheckpoint) {
        let signer = LogSigner::new("log.example.com/default/main/0", &[7; 32]);
        let mut tree = crate::tree::Tree::default();
        tree.push(b"hello cairn");
        let origin = signer.verifier().origin().to_owned();
        let signed = Checkpoint { origin, size: tree.size(), root: tree.root() }.sign(&signer);
        (signer, signed)
    }

    #[test]
    fn keys_and_notes_come_back() {
        let (signer, signed) = example();
        let verifier = LogVerifier::decode(&signer.verifier().encode()).unwrap();
        assert_eq!(SignedCheckpoint::parse(&signed.note, &verifier).unwrap(), signed);
        assert_eq!(LogSigner::decode(&signer.encode()).unwrap().verifier(), &verifier);
        let witnessed = format!("{}\u{2014} witness.example AAAAAAAA\n", signed.note);
        assert_eq!(SignedCheckpoint::parse(&witnessed, &verifier).unwrap().checkpoint, signed.checkpoint);
    }

    #[test]
    fn every_flipped_bit_of_a_note_and_of_the_keys_is_refused() {
        let (signer, signed) = example();
        let verifier = signer.verifier().clone();
        let flipped = |text: &str, check: &dyn Fn(&str) -> bool| {
            for at in 0..text.len() {
                for bit in 0..8 {
                    let mut bytes = text.as_bytes().to_vec();
                    bytes[at] ^= 1 << bit;
                    let refused = String::from_utf8(bytes).map_or(true, |other| check(&other));
                    assert!(refused, "byte {at} bit {bit} of {text}");
                }
            }
        };
        flipped(&signed.note, &|note| SignedCheckpoint::parse(note, &verifier).is_err());
        flipped(&verifier.encode(), &|key| LogVerifier::decode(key).is_err());
        flipped(&signer.encode(), &|key| LogSigner::decode(key).is_err());
    }

    /// Another log's key, and a note of another origin under the same key, are both refused.
    #[test]
    fn a_note_of_another_key_or_origin_is_refused() {
        let (_, signed) = example();
        let other = LogSigner::new("log.example.com/default/main/0", &[8; 32]);
        SignedCheckpoint::parse(&signed.note, other.verifier()).unwrap_err();
        let elsewhere = LogSigner::new("log.example.com/other/main/0", &[7; 32]);
        SignedCheckpoint::parse(&signed.note, elsewhere.verifier()).unwrap_err();
    }
}
