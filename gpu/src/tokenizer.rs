//! Byte-level BPE, trained and run by `tokenizers`. Any UTF-8 text encodes and comes back unchanged.
//! Invariant: text never becomes a special id. Specials are entries of the vocabulary that no merge can
//! reach and that are not registered as added tokens, so `<|eos|>` typed by a user is seven plain characters.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Deserialize;
use tokenizers::decoders::byte_level::ByteLevel;
use tokenizers::models::bpe::{BPE, BpeTrainer, Vocab};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::tokenizer::{AddedToken, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer, Trainer};

use crate::Error;
use crate::detokenizer::{Detokenizer, TextStream, byte_of_char};

/// Text of the special tokens; the id of each is its index.
const SPECIALS: [&str; 5] = ["<|pad|>", "<|bos|>", "<|eos|>", "<|user|>", "<|assistant|>"];
const BYTES: usize = 256;
const VOCABULARY_MAX: usize = 1 << 20;
/// The trainer counts pairs in 32 bits; no pair occurs more often than there are bytes.
const TRAINING_BYTES_MAX: u64 = i32::MAX as u64;

/// Text to ids and back. Digits stand alone; words are split as in GPT-2.
#[derive(Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    /// No bytes for a special.
    detokenizer: Detokenizer,
    ids: usize,
    json: String,
}

/// The part of a `tokenizer.json` that differs between two of ours.
#[derive(Deserialize)]
struct Stored {
    model: StoredModel,
}

#[derive(Deserialize)]
struct StoredModel {
    vocab: BTreeMap<String, u32>,
    merges: Vec<(String, String)>,
}

impl Tokenizer {
    pub const PAD: u32 = 0;
    pub const BOS: u32 = 1;
    pub const EOS: u32 = 2;
    pub const USER: u32 = 3;
    pub const ASSISTANT: u32 = 4;

    /// Learns merges from `texts` until there are `vocabulary` entries, specials and single bytes included;
    /// fewer where the texts have no pair left. The same texts, in any order, give the same tokenizer.
    pub fn train(texts: impl Iterator<Item = String> + Send, vocabulary: usize) -> Result<Self, Error> {
        if !(BYTES + SPECIALS.len()..=VOCABULARY_MAX).contains(&vocabulary) {
            let least = BYTES + SPECIALS.len();
            let expected = format!("from {least} (every byte and special) to {VOCABULARY_MAX}");
            return Err(Error::invalid("vocabulary", vocabulary, expected));
        }
        let mut trainer = BpeTrainer::builder()
            .show_progress(false)
            .vocab_size(vocabulary)
            .special_tokens(SPECIALS.map(|text| AddedToken::from(text, true)).to_vec())
            .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
            .build();
        let read = AtomicU64::new(0);
        let counted = texts.inspect(|text| {
            read.fetch_add(text.len() as u64, Ordering::Relaxed);
        });
        trainer.feed(counted, split).map_err(|source| malformed(source.to_string()))?;
        if read.load(Ordering::Relaxed) > TRAINING_BYTES_MAX {
            let expected = format!("at most {TRAINING_BYTES_MAX} bytes; train on a sample");
            return Err(Error::invalid("texts", format!("{} bytes", read.into_inner()), expected));
        }
        let mut model = BPE::default();
        trainer.train(&mut model).map_err(|source| malformed(source.to_string()))?;
        let stored = serde_json::to_string(&model).and_then(|text| serde_json::from_str(&text));
        let stored: StoredModel = stored.map_err(|source| malformed(source.to_string()))?;
        // One entry a merge is what makes training independent of hash order: no token has two derivations.
        assert_eq!(stored.vocab.len(), SPECIALS.len() + BYTES + stored.merges.len(), "a token was derived twice");
        Self::build(stored)
    }

    /// Reads what `to_json` wrote. Other tokenizers are refused: their splitting or specials would differ.
    pub fn from_json(json: &str) -> Result<Self, Error> {
        let parsed: serde_json::Value = serde_json::from_str(json).map_err(|source| malformed(source.to_string()))?;
        let stored: Stored = serde_json::from_str(json).map_err(|source| malformed(source.to_string()))?;
        let tokenizer = Self::build(stored.model)?;
        let ours: serde_json::Value = serde_json::from_str(&tokenizer.json).expect("written a moment ago");
        if let Some(key) = difference(&ours, &parsed) {
            return Err(malformed(format!("`{key}` is not as in a tokenizer made here")));
        }
        Ok(tokenizer)
    }

    /// Canonical text in the `tokenizer.json` format of Hugging Face, without added tokens.
    pub fn to_json(&self) -> String {
        self.json.clone()
    }

    /// BLAKE3 in hex of the canonical text.
    pub fn digest(&self) -> String {
        blake3::hash(self.json.as_bytes()).to_hex().to_string()
    }

    /// Ids in use: the least vocabulary of a model for this tokenizer.
    pub fn vocabulary_size(&self) -> usize {
        self.ids
    }

    /// The id of a special token, by its text.
    pub fn special(&self, name: &str) -> Result<u32, Error> {
        let id = SPECIALS.iter().position(|&text| text == name);
        id.map(|id| id as u32).ok_or_else(|| Error::invalid("special", name, format!("one of {}", SPECIALS.join(", "))))
    }

    /// Plain text only: never gives a special id.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let encoding = self.inner.encode_fast(text, false).expect("every byte is in the vocabulary");
        encoding.get_ids().to_vec()
    }

    /// `encode` of each, in parallel, in order.
    pub fn encode_batch(&self, texts: &[&str]) -> Vec<Vec<u32>> {
        let encodings = self.inner.encode_batch_fast(texts.to_vec(), false);
        let encodings = encodings.expect("every byte is in the vocabulary");
        encodings.iter().map(|encoding| encoding.get_ids().to_vec()).collect()
    }

    /// The bytes an id stands for: empty for a special, none for an id outside the vocabulary.
    pub fn token_bytes(&self, id: u32) -> Option<&[u8]> {
        self.detokenizer.token_bytes(id)
    }

    /// Text of ids. Specials are left out; ids outside the vocabulary and broken UTF-8, which a model can
    /// produce, become U+FFFD.
    pub fn decode(&self, ids: &[u32]) -> String {
        self.detokenizer.decode(ids)
    }

    /// For ids that come one after another.
    pub fn stream(&self) -> TextStream {
        self.detokenizer.stream()
    }

    pub fn detokenizer(&self) -> &Detokenizer {
        &self.detokenizer
    }

    /// A document for pretraining: bos, text, eos.
    pub fn render_document(&self, text: &str) -> Vec<u32> {
        [&[Self::BOS], self.encode(text).as_slice(), &[Self::EOS]].concat()
    }

    /// The chat template up to where the answer begins: bos, user, prompt, assistant.
    pub fn render(&self, prompt: &str) -> Vec<u32> {
        [&[Self::BOS, Self::USER], self.encode(prompt).as_slice(), &[Self::ASSISTANT]].concat()
    }

    /// What follows `render`: the answer and eos.
    pub fn render_answer(&self, answer: &str) -> Vec<u32> {
        [self.encode(answer).as_slice(), &[Self::EOS]].concat()
    }

    fn build(stored: StoredModel) -> Result<Self, Error> {
        let bytes = check(&stored)?;
        let model = BPE::builder()
            .vocab_and_merges(stored.vocab.into_iter().collect::<Vocab>(), stored.merges)
            .build()
            .map_err(|source| malformed(source.to_string()))?;
        let mut inner = tokenizers::Tokenizer::new(model);
        inner.with_pre_tokenizer(Some(pre_tokenizer())).with_decoder(Some(byte_level()));
        let json = inner.to_string(false).map_err(|source| malformed(source.to_string()))?;
        let detokenizer = Detokenizer::of_bytes(bytes.iter().map(Vec::as_slice));
        Ok(Self { inner, detokenizer, ids: bytes.len(), json })
    }
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let entries = self.vocabulary_size();
        formatter.debug_struct("Tokenizer").field("entries", &entries).field("digest", &self.digest()).finish()
    }
}

/// Bytes of each id, after checking what the rest relies on: ids without gaps, specials where they belong and
/// out of reach of every merge, every byte present.
fn check(stored: &StoredModel) -> Result<Vec<Vec<u8>>, Error> {
    let mut entries: Vec<Option<&str>> = vec![None; stored.vocab.len()];
    for (text, &id) in &stored.vocab {
        match entries.get_mut(id as usize) {
            Some(entry @ None) => *entry = Some(text),
            _ => return Err(malformed(format!("id {id} of entry {text:?} is out of range or taken"))),
        }
    }
    for (id, special) in SPECIALS.into_iter().enumerate() {
        if stored.vocab.get(special) != Some(&(id as u32)) {
            return Err(malformed(format!("special {special} does not have id {id}")));
        }
    }
    let reaches_special = |merge: &&(String, String)| SPECIALS.contains(&format!("{}{}", merge.0, merge.1).as_str());
    if let Some((left, right)) = stored.merges.iter().find(reaches_special) {
        return Err(malformed(format!("merge of {left:?} and {right:?} makes a special token of plain text")));
    }
    let alphabet = byte_of_each_char();
    if let Some(missing) = alphabet.keys().find(|symbol| !stored.vocab.contains_key(&symbol.to_string())) {
        return Err(malformed(format!("the entry {missing:?} of a single byte is missing")));
    }
    let to_bytes = |(id, entry): (usize, Option<&str>)| {
        if id < SPECIALS.len() {
            return Ok(Vec::new());
        }
        let text = entry.expect("as many distinct ids as entries");
        let bytes: Option<Vec<u8>> = text.chars().map(|symbol| alphabet.get(&symbol).copied()).collect();
        bytes.ok_or_else(|| malformed(format!("entry {text:?} is not byte-level")))
    };
    entries.into_iter().enumerate().map(to_bytes).collect()
}

/// GPT-2's printable stand-ins for bytes.
fn byte_of_each_char() -> BTreeMap<char, u8> {
    ('\0'..='\u{200}').filter_map(|symbol| Some((symbol, byte_of_char(symbol)?))).collect()
}

fn byte_level() -> ByteLevel {
    ByteLevel::new(false, false, true)
}

fn pre_tokenizer() -> Sequence {
    Sequence::new(vec![PreTokenizerWrapper::Digits(Digits::new(true)), PreTokenizerWrapper::ByteLevel(byte_level())])
}

fn split(text: &str) -> tokenizers::Result<Vec<String>> {
    let mut pieces = PreTokenizedString::from(text);
    pre_tokenizer().pre_tokenize(&mut pieces)?;
    let splits = pieces.get_splits(OffsetReferential::Original, OffsetType::Byte);
    Ok(splits.into_iter().map(|(piece, ..)| piece.to_owned()).collect())
}

/// The first top-level or model key on which two tokenizer files differ.
fn difference(ours: &serde_json::Value, theirs: &serde_json::Value) -> Option<String> {
    let (ours, theirs) = (ours.as_object()?, theirs.as_object()?);
    let keys = ours.keys().chain(theirs.keys());
    let key = keys.into_iter().find(|&key| ours.get(key) != theirs.get(key))?;
    match (ours.get(key), theirs.get(key)) {
        (Some(inner), Some(other)) => {
            Some(difference(inner, other).map_or(key.clone(), |below| format!("{key}.{below}")))
        }
        _ => Some(key.clone()),
    }
}

fn malformed(reason: String) -> Error {
    Error::Format { what: "tokenizer".to_owned(), reason }
}
