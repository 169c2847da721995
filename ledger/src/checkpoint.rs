//! Checkpoints: size and root of a log's tree in a C2SP signed note, and the Ed25519 keys that sign them.
//!
//! Sources: C2SP signed-note 1.0.0 and tlog-checkpoint 1.0.0.

use crate::cosignature::{Cosigner, CosignerKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use cairn_schemas::{Sha256, Timestamp};
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
    /// The signed text.
    pub(crate) fn body(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, BASE64.encode(self.root.as_bytes()))
    }

    pub(crate) fn sign(self, key: &LogSigner) -> SignedCheckpoint {
        let body = self.body();
        let signature = key.sign(body.as_bytes());
        let note = format!("{body}\n{}", signature_line(&key.verifier.name, key.verifier.id, &signature));
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
    /// Adds the log's second signature.
    pub(crate) fn sign_second(mut self, key: &Cosigner, now: Timestamp) -> Self {
        self.note += &key.cosign(&self.checkpoint.body(), &self.checkpoint, now);
        self
    }

    /// Whether the note bears the log's own signatures and no other under its name: the second one if there is a key.
    pub(crate) fn check_own(&self, second: Option<&CosignerKey>) -> Result<(), String> {
        let own = self.lines().into_iter().filter(|line| is_line_of(line, &self.checkpoint.origin)).count();
        match second {
            Some(key) if !key.has_cosigned(self, &self.note) => Err(format!("a second signature by {}", key.name())),
            _ if own != 1 + usize::from(second.is_some()) => Err(format!(
                "{} signatures by {}, as it has keys",
                1 + usize::from(second.is_some()),
                self.checkpoint.origin
            )),
            _ => Ok(()),
        }
    }
}

/// Whether a signature line bears this name.
pub(crate) fn is_line_of(line: &str, name: &str) -> bool {
    line.strip_prefix("\u{2014} ").and_then(|rest| rest.strip_prefix(name)).is_some_and(|rest| rest.starts_with(' '))
}

/// A note of any log, as a witness is sent it: extension lines are allowed, and whose signatures it bears is not checked.
pub(crate) struct ForeignNote<'a> {
    pub(crate) checkpoint: Checkpoint,
    /// The signed text, extension lines included.
    pub(crate) body: &'a str,
    pub(crate) lines: Vec<&'a str>,
}

impl<'a> ForeignNote<'a> {
    pub(crate) fn parse(note: &'a str) -> Result<Self, String> {
        let (body, lines) = split_note(note)?;
        if note.chars().any(|c| c < ' ' && c != '\n') {
            return Err("no control characters".into());
        }
        let third = body.match_indices('\n').nth(2).ok_or("three lines: origin, size, root")?.0;
        let (head, extensions) = body.split_at(third + 1);
        if extensions.starts_with('\n') || extensions.contains("\n\n") {
            return Err("no empty lines among the extension lines".into());
        }
        Ok(Self { checkpoint: Checkpoint::parse(head)?, body, lines })
    }

    /// Whether `verifier` signed it.
    pub(crate) fn is_signed_by(&self, verifier: &LogVerifier) -> bool {
        self.lines.iter().any(|line| verifier.check_line(line, self.body.as_bytes()) == Ok(true))
    }
}

/// The text of a note, and its signature lines.
pub(crate) fn split_note(note: &str) -> Result<(&str, Vec<&str>), String> {
    let (body, signatures) = note.rsplit_once("\n\n").ok_or("an empty line before the signatures")?;
    let lines: Vec<&str> = signatures.strip_suffix('\n').ok_or("a newline at the end")?.split('\n').collect();
    match lines.len() > SIGNATURES_MAX {
        true => Err(format!("at most {SIGNATURES_MAX} signatures, not {}", lines.len())),
        false => Ok((&note[..body.len() + 1], lines)),
    }
}

/// Key id of a signature type and public key under a name (C2SP signed-note, "Signature types").
pub(crate) fn key_id(name: &str, type_and_key: &[u8]) -> [u8; 4] {
    let mut hasher = sha2::Sha256::new();
    for part in [name.as_bytes(), b"\n", type_and_key] {
        hasher.update(part);
    }
    let digest: [u8; 32] = hasher.finalize().into();
    [digest[0], digest[1], digest[2], digest[3]]
}

/// A signature line with its newline.
pub(crate) fn signature_line(name: &str, id: [u8; 4], signature: &[u8]) -> String {
    format!("\u{2014} {name} {}\n", BASE64.encode([&id[..], signature].concat()))
}

/// Name, key id and signature of a signature line.
pub(crate) fn split_signature_line(line: &str) -> Result<(&str, [u8; 4], Vec<u8>), String> {
    let malformed = || "a signature line: a dash, a name and base64".to_owned();
    let (name, blob) = line.strip_prefix("\u{2014} ").and_then(|rest| rest.split_once(' ')).ok_or_else(malformed)?;
    let mut blob = BASE64.decode(blob).map_err(|_| malformed())?;
    let id = *blob.first_chunk::<4>().ok_or_else(malformed)?;
    Ok((name, id, blob.split_off(4)))
}

impl SignedCheckpoint {
    /// The signature lines of the note.
    pub(crate) fn lines(&self) -> Vec<&str> {
        split_note(&self.note).map(|(_, lines)| lines).unwrap_or_default()
    }

    /// Reads a note that `verifier` has signed. Says what was expected where it does not hold.
    pub fn parse(note: &str, verifier: &LogVerifier) -> Result<Self, String> {
        let (body, lines) = split_note(note)?;
        let checkpoint = Checkpoint::parse(body)?;
        if checkpoint.origin != verifier.name {
            return Err(format!("origin `{}`, not `{}`", verifier.name, checkpoint.origin));
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
        let id = key_id(name, &[&[TYPE_ED25519], &key.as_bytes()[..]].concat());
        Self { name: name.to_owned(), id, key }
    }

    /// The origin of the log that this key signs for.
    pub fn origin(&self) -> &str {
        &self.name
    }

    pub(crate) fn id(&self) -> [u8; 4] {
        self.id
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
    pub(crate) fn check_line(&self, line: &str, body: &[u8]) -> Result<bool, String> {
        let (name, id, signature) = split_signature_line(line)?;
        if name != self.name || id != self.id {
            return Ok(false);
        }
        let signature = Signature::from_slice(&signature).map_err(|_| "a signature of 64 bytes")?;
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

    /// Signs a text.
    pub(crate) fn sign(&self, text: &[u8]) -> [u8; 64] {
        self.signing.sign(text).to_bytes()
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
