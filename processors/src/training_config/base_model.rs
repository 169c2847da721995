//! What training starts from: a registered model, a folder, or random weights of a stated shape.

use cairn_schemas::Ref;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// What a person is told who names a model that nobody made here.
const EXPECTED: &str = "use a registered model such as model://project/name@3, the path of a folder with its weights, \
                        scratch:small, or scratch:layers=4,width=128,heads=2,feed_forward=352,vocabulary=2048,context=256";
/// The recipe of the demo: 1.07 M parameters.
const SMALL: &str = "layers=4,width=128,heads=2,feed_forward=352,vocabulary=2048,context=256";
/// A byte-level vocabulary holds every byte and the special tokens.
pub(crate) const VOCABULARY_MIN: u32 = 261;

/// What training starts from.
#[derive(Clone, Debug, PartialEq)]
pub enum BaseModel {
    Registered(Ref),
    /// A folder that exists, as written in the config.
    Folder(PathBuf),
    Scratch(Scratch),
}

/// The shape of a decoder whose weights are drawn at random.
#[derive(Clone, Debug, PartialEq)]
pub struct Scratch {
    pub layers: u32,
    pub width: u32,
    pub heads: u32,
    pub feed_forward: u32,
    /// The tokenizer's where it is not given.
    pub vocabulary: Option<u32>,
    /// Positions; the rows' length where it is not given.
    pub context: Option<u32>,
}

impl BaseModel {
    /// The message follows the name `base_model`.
    pub(super) fn parse(text: &str, folder: &Path) -> Result<Self, String> {
        if let Some(shape) = text.strip_prefix("scratch:") {
            return shape.parse().map(BaseModel::Scratch).map_err(|e: String| format!(": {e}"));
        }
        if text.starts_with("model://") {
            return text.parse().map(BaseModel::Registered).map_err(|e: cairn_schemas::Error| format!(": {e}"));
        }
        let path = folder.join(text);
        if path.is_dir() {
            return Ok(BaseModel::Folder(PathBuf::from(text)));
        }
        if path.exists() {
            return Err(format!(" `{text}` is a file; {EXPECTED}"));
        }
        Err(format!(" `{text}` is neither a registered model nor a folder that exists; {EXPECTED}"))
    }
}

impl fmt::Display for BaseModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BaseModel::Registered(reference) => reference.fmt(f),
            BaseModel::Folder(path) => path.display().fmt(f),
            BaseModel::Scratch(scratch) => write!(f, "scratch:{scratch}"),
        }
    }
}

impl fmt::Display for Scratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Scratch { layers, width, heads, feed_forward, vocabulary, context } = self;
        write!(f, "layers={layers},width={width},heads={heads},feed_forward={feed_forward}")?;
        for (key, value) in [("vocabulary", vocabulary), ("context", context)] {
            if let Some(value) = value {
                write!(f, ",{key}={value}")?;
            }
        }
        Ok(())
    }
}

impl FromStr for Scratch {
    type Err = String;

    /// `small`, or `key=value` pairs between commas.
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let pairs = if text == "small" { SMALL } else { text };
        if !pairs.contains('=') {
            return Err(format!("scratch:{text} is no known preset; write scratch:small or scratch:{SMALL}"));
        }
        let mut values: [Option<u32>; 6] = [None; 6];
        for pair in pairs.split(',') {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (key, value) = (key.trim(), value.trim());
            let Some(slot) = KEYS.iter().position(|known| *known == key) else {
                return Err(format!("scratch has no `{key}`; its keys are {}", KEYS.join(", ")));
            };
            let number = value.parse::<u32>().ok().filter(|n| *n > 0);
            let number = number.ok_or(format!("scratch: {key} is `{value}`; expected a whole number from 1"))?;
            if values[slot].replace(number).is_some() {
                return Err(format!("scratch gives {key} twice; give it once"));
            }
        }
        let needed = |slot: usize| values[slot].ok_or(format!("scratch lacks {}; write scratch:{SMALL}", KEYS[slot]));
        let scratch = Scratch {
            layers: needed(0)?,
            width: needed(1)?,
            heads: needed(2)?,
            feed_forward: needed(3)?,
            vocabulary: values[4],
            context: values[5],
        };
        scratch.check().map(|()| scratch)
    }
}

const KEYS: [&str; 6] = ["layers", "width", "heads", "feed_forward", "vocabulary", "context"];

impl Scratch {
    fn check(&self) -> Result<(), String> {
        let Scratch { width, heads, .. } = self;
        if !width.is_multiple_of(*heads) || !(width / heads).is_multiple_of(2) {
            return Err(format!(
                "scratch: width {width} over {heads} heads is not an even whole number of positions a head; \
                 rotary embedding turns them in pairs, so choose a width that 2 x {heads} divides"
            ));
        }
        match self.vocabulary.filter(|entries| *entries < VOCABULARY_MIN) {
            Some(entries) => Err(format!(
                "scratch: vocabulary is {entries}; a byte-level vocabulary has at least {VOCABULARY_MIN} entries"
            )),
            None => Ok(()),
        }
    }
}
