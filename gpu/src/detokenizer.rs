//! From token ids back to text, whole or as they come: what a decoder does, restated as the bytes that each id stands for,
//! so that text cut anywhere between two tokens never splits a character.

use std::sync::Arc;

use serde_json::Value;

use crate::Error;

/// The mark by which sentence pieces stand for a space.
const SPACE_MARK: char = '\u{2581}';
const REPLACEMENT: &str = "\u{FFFD}";

/// Ids to text. A copy shares what it holds.
#[derive(Clone)]
pub struct Detokenizer {
    kind: Arc<Kind>,
}

enum Kind {
    /// Each id stands for bytes, wherever it stands.
    Pieces { pieces: Pieces, start: Start, unknown: &'static str },
    /// The decoder looks at neighbours: it is asked anew for the whole text.
    Whole(Box<tokenizers::Tokenizer>),
}

/// The bytes of each id, one after another.
#[derive(Default)]
struct Pieces {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

/// What happens to spaces where a text begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Start {
    Kept,
    /// So many go.
    Strip(usize),
    /// All of the first token go.
    FirstToken,
}

impl Detokenizer {
    /// Of a table: the bytes of each id, empty for what is not text. Other ids become U+FFFD.
    pub(crate) fn of_bytes<'b>(table: impl IntoIterator<Item = &'b [u8]>) -> Self {
        let mut pieces = Pieces::default();
        table.into_iter().for_each(|bytes| pieces.push(bytes));
        Self { kind: Arc::new(Kind::Pieces { pieces, start: Start::Kept, unknown: REPLACEMENT }) }
    }

    /// As `decoder` of a `tokenizer.json` has it. Special tokens, and ids that there are not, give no text.
    pub(crate) fn of_decoder(inner: &tokenizers::Tokenizer, decoder: &Value, ids: usize) -> Self {
        let Some(rule) = Rule::of(decoder) else {
            return Self { kind: Arc::new(Kind::Whole(Box::new(inner.clone()))) };
        };
        let added = inner.get_added_tokens_decoder();
        let mut pieces = Pieces::default();
        for id in 0..ids as u32 {
            let is_text = added.get(&id).is_none_or(|token| !token.special);
            match inner.id_to_token(id).filter(|_| is_text) {
                Some(token) => pieces.push(&rule.bytes(&token)),
                None => pieces.push(&[]),
            }
        }
        Self { kind: Arc::new(Kind::Pieces { pieces, start: rule.start, unknown: "" }) }
    }

    /// Text of ids. Broken UTF-8, which a model can produce, becomes U+FFFD.
    pub fn decode(&self, ids: &[u32]) -> String {
        let mut stream = self.stream();
        let mut text: String = ids.iter().map(|id| stream.push(*id)).collect();
        text.push_str(&stream.finish());
        text
    }

    /// For ids that come one after another, from the beginning of a text.
    pub fn stream(&self) -> TextStream {
        let start = match &*self.kind {
            Kind::Pieces { start, .. } => *start,
            Kind::Whole(_) => Start::Kept,
        };
        TextStream { detokenizer: self.clone(), start, waiting: Vec::new(), ids: Vec::new(), given: 0 }
    }

    /// The bytes an id stands for, where that does not depend on its neighbours: empty for a special, none for an id
    /// that there is not.
    pub fn token_bytes(&self, id: u32) -> Option<&[u8]> {
        match &*self.kind {
            Kind::Pieces { pieces, .. } => pieces.get(id),
            Kind::Whole(_) => None,
        }
    }
}

impl Pieces {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.ends.push(self.bytes.len());
    }

    fn get(&self, id: u32) -> Option<&[u8]> {
        let end = *self.ends.get(id as usize)?;
        let begin = (id as usize).checked_sub(1).map_or(0, |before| self.ends[before]);
        Some(&self.bytes[begin..end])
    }
}

/// Text of tokens as they come, cut where a character is whole.
pub struct TextStream {
    detokenizer: Detokenizer,
    start: Start,
    /// Bytes that are no character yet.
    waiting: Vec<u8>,
    /// For a decoder that is asked for the whole text: all ids, and the bytes given out.
    ids: Vec<u32>,
    given: usize,
}

impl TextStream {
    /// The text that this token completes; empty while a character is not whole.
    pub fn push(&mut self, id: u32) -> String {
        let kind = self.detokenizer.kind.clone();
        match &*kind {
            Kind::Pieces { pieces, unknown, .. } => {
                self.take(pieces.get(id).unwrap_or(unknown.as_bytes()));
                self.whole_characters()
            }
            Kind::Whole(inner) => {
                self.ids.push(id);
                let text = inner.decode(&self.ids, true).unwrap_or_default();
                if text.ends_with(REPLACEMENT) {
                    return String::new();
                }
                self.beyond_given(&text)
            }
        }
    }

    /// What is left at the end: bytes that never became a character.
    pub fn finish(mut self) -> String {
        let kind = self.detokenizer.kind.clone();
        match &*kind {
            Kind::Pieces { .. } => String::from_utf8_lossy(&self.waiting).into_owned(),
            Kind::Whole(inner) => {
                let text = inner.decode(&self.ids, true).unwrap_or_default();
                self.beyond_given(&text)
            }
        }
    }

    /// Whether a character has begun and is not whole.
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    fn take(&mut self, bytes: &[u8]) {
        match self.start {
            Start::Kept => self.waiting.extend_from_slice(bytes),
            Start::FirstToken => {
                self.waiting.extend(bytes.iter().filter(|byte| **byte != b' '));
                if !bytes.is_empty() {
                    self.start = Start::Kept;
                }
            }
            Start::Strip(most) => {
                let spaces = bytes.iter().take(most).take_while(|byte| **byte == b' ').count();
                self.waiting.extend_from_slice(&bytes[spaces..]);
                self.start = match spaces < bytes.len() || spaces == most {
                    true => Start::Kept,
                    false => Start::Strip(most - spaces),
                };
            }
        }
    }

    fn whole_characters(&mut self) -> String {
        let mut text = String::new();
        loop {
            match std::str::from_utf8(&self.waiting) {
                Ok(whole) => {
                    text.push_str(whole);
                    self.waiting.clear();
                    return text;
                }
                Err(error) => {
                    let valid = error.valid_up_to();
                    text.push_str(std::str::from_utf8(&self.waiting[..valid]).expect("checked a line above"));
                    let Some(broken) = error.error_len() else {
                        self.waiting.drain(..valid);
                        return text;
                    };
                    text.push_str(REPLACEMENT);
                    self.waiting.drain(..valid + broken);
                }
            }
        }
    }

    fn beyond_given(&mut self, text: &str) -> String {
        let beyond = text.get(self.given..).unwrap_or_default().to_owned();
        self.given += beyond.len();
        beyond
    }
}

/// How a token of the vocabulary becomes bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Rule {
    spelling: Spelling,
    byte_fallback: bool,
    start: Start,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Spelling {
    /// GPT-2's printable stand-ins for bytes.
    Bytes,
    /// Text with marks for spaces.
    Marks,
}

impl Rule {
    /// Of those decoders that look at one token at a time; none of any other.
    fn of(decoder: &Value) -> Option<Self> {
        let kind = |decoder: &Value| decoder.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
        let one = |spelling, start| Some(Self { spelling, byte_fallback: false, start });
        match kind(decoder).as_str() {
            "ByteLevel" => one(Spelling::Bytes, Start::Kept),
            "Metaspace" => one(Spelling::Marks, metaspace(decoder)?),
            "Sequence" => {
                let parts = decoder.get("decoders")?.as_array()?;
                if let [only] = parts.as_slice() {
                    return Self::of(only);
                }
                let mut rule = Self { spelling: Spelling::Marks, byte_fallback: false, start: Start::Kept };
                let mut is_fused = false;
                for (at, part) in parts.iter().enumerate() {
                    match kind(part).as_str() {
                        "Replace" if at == 0 => spaces_for_marks(part)?,
                        "ByteFallback" if !is_fused => rule.byte_fallback = true,
                        "Metaspace" if !is_fused && at + 1 == parts.len() => rule.start = metaspace(part)?,
                        "Fuse" => is_fused = true,
                        "Strip" if is_fused && at + 1 == parts.len() => rule.start = strip(part)?,
                        _ => return None,
                    }
                }
                let has_marks = parts.first().is_some_and(|part| kind(part) == "Replace")
                    || parts.last().is_some_and(|part| kind(part) == "Metaspace");
                has_marks.then_some(rule)
            }
            _ => None,
        }
    }

    fn bytes(&self, token: &str) -> Vec<u8> {
        if self.byte_fallback
            && token.len() == 6
            && let Some(digits) = token.strip_prefix("<0x").and_then(|rest| rest.strip_suffix('>'))
            && let Ok(byte) = u8::from_str_radix(digits, 16)
        {
            return vec![byte];
        }
        match self.spelling {
            Spelling::Marks => token.replace(SPACE_MARK, " ").into_bytes(),
            Spelling::Bytes => {
                let bytes: Option<Vec<u8>> = token.chars().map(byte_of_char).collect();
                // A token that was added, with characters that stand for no byte, is its own text.
                bytes.unwrap_or_else(|| token.as_bytes().to_vec())
            }
        }
    }
}

fn metaspace(part: &Value) -> Option<Start> {
    if part.get("replacement").and_then(Value::as_str) != Some("\u{2581}") {
        return None;
    }
    let keeps = part.get("prepend_scheme").is_some_and(|scheme| scheme == "never")
        || (part.get("prepend_scheme").is_none() && part.get("add_prefix_space") == Some(&Value::Bool(false)));
    Some(if keeps { Start::Kept } else { Start::FirstToken })
}

fn spaces_for_marks(part: &Value) -> Option<()> {
    let is_mark = part.pointer("/pattern/String").and_then(Value::as_str) == Some("\u{2581}");
    (is_mark && part.get("content").and_then(Value::as_str) == Some(" ")).then_some(())
}

fn strip(part: &Value) -> Option<Start> {
    let count = |name: &str| part.get(name).and_then(Value::as_u64);
    let is_space = part.get("content").and_then(Value::as_str) == Some(" ");
    (is_space && count("stop") == Some(0)).then_some(Start::Strip(count("start")? as usize))
}

/// The byte that one of GPT-2's printable stand-ins means: visible Latin-1 means itself, U+0100 and on the other bytes.
pub(crate) fn byte_of_char(symbol: char) -> Option<u8> {
    let hidden = |at: u32| match at {
        0..=32 => Some(at as u8),
        33..=66 => Some((at - 33) as u8 + 0x7F),
        67 => Some(0xAD),
        _ => None,
    };
    match symbol {
        '!'..='~' | '\u{A1}'..='\u{AC}' | '\u{AE}'..='\u{FF}' => Some(symbol as u8),
        '\u{100}'.. => hidden(symbol as u32 - 0x100),
        _ => None,
    }
}

/// Refuses a vocabulary too large to hold a table of.
pub(crate) fn check_ids(ids: usize, most: usize) -> Result<(), Error> {
    match ids <= most {
        true => Ok(()),
        false => Err(Error::Format {
            what: "tokenizer.json".to_owned(),
            reason: format!("its highest id is {}, at most {} is supported", ids - 1, most - 1),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rule(decoder: Value) -> Option<Rule> {
        Rule::of(&decoder)
    }

    #[test]
    fn every_byte_has_one_stand_in() {
        let mut meant: Vec<u8> = ('\0'..='\u{200}').filter_map(byte_of_char).collect();
        meant.sort_unstable();
        assert_eq!(meant, (0..=u8::MAX).collect::<Vec<_>>());
        assert_eq!((byte_of_char('Ġ'), byte_of_char('Ċ'), byte_of_char('ł')), (Some(b' '), Some(b'\n'), Some(0xA0)));
    }

    #[test]
    fn only_decoders_of_single_tokens_become_rules() {
        let mark = json!({"type": "Replace", "pattern": {"String": "▁"}, "content": " "});
        let strip = |start: u32, stop: u32| json!({"type": "Strip", "content": " ", "start": start, "stop": stop});
        let (fallback, fuse) = (json!({"type": "ByteFallback"}), json!({"type": "Fuse"}));
        let of = |parts: &[&Value]| rule(json!({"type": "Sequence", "decoders": parts}));
        let llama = of(&[&mark, &fallback, &fuse, &strip(1, 0)]).unwrap();
        assert_eq!((llama.start, llama.byte_fallback), (Start::Strip(1), true));
        assert_eq!((llama.bytes("▁a▁"), llama.bytes("<0xE4>")), (b" a ".to_vec(), vec![0xE4]));
        assert_eq!(of(&[&mark, &fallback, &fuse]).unwrap().start, Start::Kept);
        for parts in [&[&mark, &fallback, &strip(1, 0), &fuse][..], &[&mark, &fuse, &strip(0, 1)], &[&fallback, &fuse]]
        {
            assert_eq!(of(parts), None, "{parts:?}");
        }
        assert_eq!(rule(json!({"type": "WordPiece", "prefix": "##"})), None);
        let metaspace = |scheme: &str| json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme});
        assert_eq!(rule(metaspace("always")).unwrap().start, Start::FirstToken);
        assert_eq!(rule(metaspace("never")).unwrap().start, Start::Kept);
        assert_eq!(rule(json!({"type": "ByteLevel"})).unwrap().bytes("Ġé"), vec![b' ', 0xE9]);
    }

    #[test]
    fn leading_spaces_go_across_tokens() {
        let table: [&[u8]; 4] = [b" ", b"  a", b"b ", b""];
        let mut detokenizer = Detokenizer::of_bytes(table);
        for (start, ids, text) in [
            (Start::Strip(2), &[0, 1, 0][..], " a "),
            (Start::Strip(1), &[1], " a"),
            (Start::FirstToken, &[3, 1, 0], "a "),
            (Start::FirstToken, &[0, 1], "  a"),
        ] {
            match Arc::get_mut(&mut detokenizer.kind).unwrap() {
                Kind::Pieces { start: kept, .. } => *kept = start,
                Kind::Whole(_) => unreachable!("made of bytes above"),
            }
            assert_eq!(detokenizer.decode(ids), text, "{start:?} {ids:?}");
        }
    }

    #[test]
    fn characters_come_whole_and_broken_ones_once_they_are_known_to_be() {
        let bytes: Vec<[u8; 1]> = (0..=u8::MAX).map(|byte| [byte]).collect();
        let detokenizer = Detokenizer::of_bytes(bytes.iter().map(|byte| &byte[..]));
        let mut stream = detokenizer.stream();
        let pushed: Vec<String> = "é🦀\u{1}".bytes().map(|byte| stream.push(u32::from(byte))).collect();
        assert_eq!(pushed, ["", "é", "", "", "", "🦀", "\u{1}"]);
        for bytes in [&b"\xF0\x9F\xA6"[..], b"a\xFFb", b"\xE4\xBDa", b"\x80\x80", b"\xF0\x9F\xF0\x9F\xA6\x80"] {
            let ids: Vec<u32> = bytes.iter().map(|byte| u32::from(*byte)).collect();
            assert_eq!(detokenizer.decode(&ids), String::from_utf8_lossy(bytes), "{bytes:?}");
        }
        assert_eq!(detokenizer.decode(&[999]), "\u{FFFD}");
    }
}
