//! The lines of a register, and what is left to be done of the redactions that they name.

use crate::payload::ArtifactMac;
use cairn_schemas::events::governance::Replacement;
use cairn_schemas::{Blake3, Sha256};

/// One line. Texts that people chose are written in hexadecimal.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Line {
    /// A redaction begins: nothing of it was destroyed before this line.
    Redact(Unit),
    /// It is finished: nothing that it replaced is stored any more.
    Done { unit: String },
    /// Keys of data subjects were destroyed; ids in hexadecimal.
    Keys { request: String, keys: Vec<String> },
    /// A size and root that were signed: a restored log that holds less is behind.
    Checkpoint { origin: String, size: u64, root: Sha256 },
    /// Artifacts were destroyed.
    Artifacts { request: String, artifacts: Vec<ArtifactMac> },
}

/// What one redaction event says, and one line of the register.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Unit {
    /// The log that the positions are of.
    pub(crate) origin: String,
    pub(crate) request: String,
    pub(crate) basis: String,
    pub(crate) page: u32,
    pub(crate) pages: u32,
    pub(crate) replacements: Vec<Replacement>,
    pub(crate) artifacts: Vec<ArtifactMac>,
}

impl Unit {
    /// What distinguishes it from all others: of the same request, the same replacements are the same unit.
    pub(crate) fn id(&self) -> String {
        let digest = Blake3::of(format!("{} {} {}", self.origin, hex(&self.request), self.lists()).as_bytes());
        digest.to_hex()[..32].to_owned()
    }

    fn lists(&self) -> String {
        let replacement = |put: &Replacement| format!("{}:{}", put.position, put.commitment);
        format!("{} {}", list(self.replacements.iter().map(replacement)), macs(&self.artifacts))
    }
}

impl Line {
    pub(crate) fn unfinished_after(&self, before: u64) -> u64 {
        match self {
            Line::Redact(_) => before + 1,
            Line::Done { .. } => before.saturating_sub(1),
            Line::Keys { .. } | Line::Artifacts { .. } | Line::Checkpoint { .. } => before,
        }
    }

    /// The line without its check: a word, how many redactions are unfinished after it, its values.
    pub(crate) fn encode(&self, unfinished: u64) -> String {
        match self {
            Line::Redact(unit) => format!(
                "redact {unfinished} {} {} {} {} {} {}",
                unit.origin,
                hex(&unit.request),
                hex(&unit.basis),
                unit.page,
                unit.pages,
                unit.lists()
            ),
            Line::Checkpoint { origin, size, root } => format!("checkpoint {unfinished} {origin} {size} {root}"),
            Line::Done { unit } => format!("done {unfinished} {unit}"),
            Line::Keys { request, keys } => {
                format!("keys {unfinished} {} {}", hex(request), list(keys.iter().cloned()))
            }
            Line::Artifacts { request, artifacts } => {
                format!("artifacts {unfinished} {} {}", hex(request), macs(artifacts))
            }
        }
    }

    /// `None` for what [`Line::encode`] would not write.
    pub(crate) fn decode(body: &str) -> Option<(Self, u64)> {
        let mut words = body.split(' ');
        let (word, unfinished) = (words.next()?, words.next()?.parse().ok()?);
        let line = match word {
            "redact" => Line::Redact(Unit {
                origin: words.next()?.to_owned(),
                request: unhex(words.next()?)?,
                basis: unhex(words.next()?)?,
                page: words.next()?.parse().ok()?,
                pages: words.next()?.parse().ok()?,
                replacements: items(words.next()?).map(replacement).collect::<Option<_>>()?,
                artifacts: items(words.next()?).map(mac).collect::<Option<_>>()?,
            }),
            "checkpoint" => Line::Checkpoint {
                origin: words.next()?.to_owned(),
                size: words.next()?.parse().ok()?,
                root: words.next()?.parse().ok()?,
            },
            "done" => Line::Done { unit: words.next()?.to_owned() },
            "keys" => {
                Line::Keys { request: unhex(words.next()?)?, keys: items(words.next()?).map(str::to_owned).collect() }
            }
            "artifacts" => Line::Artifacts {
                request: unhex(words.next()?)?,
                artifacts: items(words.next()?).map(mac).collect::<Option<_>>()?,
            },
            _ => return None,
        };
        (line.encode(unfinished) == body).then_some((line, unfinished))
    }
}

fn hex(text: &str) -> String {
    list([text].iter().filter(|text| !text.is_empty()).map(hex::encode))
}

fn unhex(word: &str) -> Option<String> {
    items(word).next().map_or(Some(String::new()), |digits| String::from_utf8(hex::decode(digits).ok()?).ok())
}

fn macs(artifacts: &[ArtifactMac]) -> String {
    list(artifacts.iter().map(|mac| hex::encode(mac.0)))
}

fn list(items: impl Iterator<Item = String>) -> String {
    let all = items.collect::<Vec<_>>().join(",");
    if all.is_empty() { "-".to_owned() } else { all }
}

fn items(word: &str) -> impl Iterator<Item = &str> {
    word.split(',').filter(|item| *item != "-")
}

fn replacement(item: &str) -> Option<Replacement> {
    let (position, commitment) = item.split_once(':')?;
    Some(Replacement { position: position.parse().ok()?, commitment: commitment.parse().ok()? })
}

fn mac(item: &str) -> Option<ArtifactMac> {
    let mut mac = [0; 16];
    hex::decode_to_slice(item, &mut mac).ok()?;
    Some(ArtifactMac(mac))
}

/// The redactions of a register, in the order in which they began. Grows with the number of replacements.
#[derive(Debug, Default)]
pub(crate) struct Units {
    pub(crate) begun: Vec<Unit>,
    pub(crate) done: Vec<Unit>,
}

impl Units {
    pub(crate) fn take(&mut self, line: Line) {
        match line {
            Line::Redact(unit) => self.begun.push(unit),
            Line::Done { unit } => {
                if let Some(index) = self.begun.iter().position(|begun| begun.id() == unit) {
                    self.done.push(self.begun.remove(index));
                }
            }
            Line::Keys { .. } | Line::Artifacts { .. } | Line::Checkpoint { .. } => {}
        }
    }
}
