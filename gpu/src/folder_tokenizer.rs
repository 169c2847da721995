//! The tokenizer of a model's folder: any `tokenizer.json`, run by `tokenizers` as transformers runs it. Texts of control
//! tokens become control tokens, here as there. Truncation and padding that the file asks for are left to the caller.

use serde::Deserialize;
use serde_json::Value;
use tokenizers::tokenizer::{Encoding, PostProcessor};
use tokenizers::utils::truncation::{TruncationDirection, TruncationParams, TruncationStrategy, truncate_encodings};

use crate::detokenizer::{Detokenizer, TextStream, check_ids};
use crate::{Error, ModelFolder};

const IDS_MAX: usize = 1 << 20;
/// What a tokenizer must be able to read: a letter of every length in UTF-8, one of them never seen by anyone.
const EVERY_KIND: &str = "a é 中 🦀 \u{10FFFD}";

/// Text to ids and back, as the folder's files say. A copy shares nothing.
#[derive(Clone)]
pub struct FolderTokenizer {
    inner: tokenizers::Tokenizer,
    detokenizer: Detokenizer,
    ids: usize,
    digest: String,
}

/// A text, or two, as an encoder reads it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Encoded {
    pub tokens: Vec<u32>,
    /// Which of the two texts each token belongs to: 0 or 1.
    pub types: Vec<u32>,
    /// Whether tokens were left out to keep within the limit.
    pub is_cut: bool,
}

/// The part of the file that the library does not give back.
#[derive(Deserialize)]
struct Stored {
    #[serde(default)]
    decoder: Value,
}

impl FolderTokenizer {
    /// That of an opened folder.
    pub fn of_folder(folder: &ModelFolder) -> Result<Self, Error> {
        Self::from_json(folder.tokenizer_json()?.as_bytes())
    }

    /// Reads `tokenizer.json`.
    pub fn from_json(json: &[u8]) -> Result<Self, Error> {
        let stored: Stored = serde_json::from_slice(json).map_err(|source| malformed(source.to_string()))?;
        let mut inner = tokenizers::Tokenizer::from_bytes(json).map_err(|source| malformed(source.to_string()))?;
        inner.with_truncation(None).map_err(|source| malformed(source.to_string()))?;
        inner.with_padding(None);
        let ids = inner.get_vocab(true).into_values().max().map_or(0, |highest| highest as usize + 1);
        check_ids(ids, IDS_MAX)?;
        let detokenizer = Detokenizer::of_decoder(&inner, &stored.decoder, ids);
        let digest = blake3::hash(json).to_hex().to_string();
        let tokenizer = Self { inner, detokenizer, ids, digest };
        tokenizer.encode(EVERY_KIND)?;
        Ok(tokenizer)
    }

    /// BLAKE3 in hex of the file.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The least vocabulary of a model for this tokenizer: its highest id and one.
    pub fn vocabulary_size(&self) -> usize {
        self.ids
    }

    /// Ids of a text, nothing added: of what a chat template gave, which names its control tokens itself.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, Error> {
        Ok(self.encoding(text, false)?.get_ids().to_vec())
    }

    /// Ids of a text with what the post-processor adds, such as the token that begins a text.
    pub fn encode_prompt(&self, text: &str) -> Result<Vec<u32>, Error> {
        Ok(self.encoding(text, true)?.get_ids().to_vec())
    }

    /// A text as an encoder reads it: with what the post-processor adds, and its end cut off beyond `tokens_max`.
    pub fn encode_row(&self, text: &str, tokens_max: usize) -> Result<Encoded, Error> {
        self.processed(self.encoding(text, false)?, None, tokens_max)
    }

    /// `encode_row` of each, in parallel, in order.
    pub fn encode_rows(&self, texts: &[&str], tokens_max: usize) -> Result<Vec<Encoded>, Error> {
        let encodings = self.inner.encode_batch_fast(texts.to_vec(), false).map_err(|source| failed(&*source))?;
        encodings.into_iter().map(|encoding| self.processed(encoding, None, tokens_max)).collect()
    }

    /// Two texts as one row; the longer one is cut first.
    pub fn encode_pair(&self, first: &str, second: &str, tokens_max: usize) -> Result<Encoded, Error> {
        self.processed(self.encoding(first, false)?, Some(self.encoding(second, false)?), tokens_max)
    }

    /// Text of ids. Control tokens, and ids that there are not, give none; broken UTF-8 becomes U+FFFD, and what is whole
    /// beside it stays (the byte fallback of `tokenizers` marks all bytes of a run with a broken one).
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

    /// What the vocabulary calls an id: control tokens too, bytes in the tokenizer's own spelling.
    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    pub fn id_of(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    fn encoding(&self, text: &str, add_specials: bool) -> Result<Encoding, Error> {
        self.inner.encode_fast(text, add_specials).map_err(|source| failed(&*source))
    }

    fn processed(&self, first: Encoding, second: Option<Encoding>, tokens_max: usize) -> Result<Encoded, Error> {
        let added = self.inner.get_post_processor().map_or(0, |processor| processor.added_tokens(second.is_some()));
        if tokens_max <= added {
            let expected = format!("more than the {added} tokens that are added to every text");
            return Err(Error::invalid("tokens_max", tokens_max, expected));
        }
        let params = TruncationParams {
            direction: TruncationDirection::Right,
            max_length: tokens_max - added,
            strategy: TruncationStrategy::LongestFirst,
            stride: 0,
        };
        let given = first.len() + second.as_ref().map_or(0, Encoding::len);
        let cut = truncate_encodings(first, second, &params).map_err(|source| failed(&*source))?;
        let (mut first, mut second) = cut;
        // What was cut off is kept beside, and would be worked on as well.
        first.take_overflowing();
        second.as_mut().map(Encoding::take_overflowing);
        let encoding = self.inner.post_process(first, second, true).map_err(|source| failed(&*source))?;
        Ok(Encoded {
            tokens: encoding.get_ids().to_vec(),
            types: encoding.get_type_ids().to_vec(),
            is_cut: given > params.max_length,
        })
    }
}

impl std::fmt::Debug for FolderTokenizer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("FolderTokenizer").field("ids", &self.ids).field("digest", &self.digest).finish()
    }
}

fn malformed(reason: String) -> Error {
    Error::Format { what: "tokenizer.json".to_owned(), reason }
}

fn failed(source: &(dyn std::error::Error + 'static)) -> Error {
    Error::Format { what: "a text with tokenizer.json".to_owned(), reason: source.to_string() }
}
