//! Text of tokens as they come: whole characters only, and nothing that may yet become a stop text.

use std::sync::Arc;

use crate::Tokenizer;

/// Tokens of the prompt that the first ones of an answer are read after: some tokenizers write a word's space only
/// where something stands before it.
const CONTEXT_TOKENS: usize = 4;
/// Tokens that may wait for a character to become whole. One of four bytes needs three more; what still is none then
/// never will be.
const WAITING_TOKENS_MAX: usize = 8;

/// The text of one answer.
pub(super) struct TextStream {
    tokenizer: Option<Arc<Tokenizer>>,
    stops: Vec<String>,
    tokens: Vec<u32>,
    /// Tokens that give the present ones their surroundings begin here.
    window: usize,
    /// Tokens whose text was taken.
    read: usize,
    /// Text that may become a stop text.
    held: String,
}

impl TextStream {
    pub(super) fn new(tokenizer: Option<Arc<Tokenizer>>, stops: &[String], prompt: &[u32]) -> Self {
        let tokens = prompt[prompt.len().saturating_sub(CONTEXT_TOKENS)..].to_vec();
        let read = tokens.len();
        Self { tokenizer, stops: stops.to_vec(), tokens, window: 0, read, held: String::new() }
    }

    /// The text that became certain with this token, and whether a stop text came.
    pub(super) fn push(&mut self, token: u32) -> (String, bool) {
        self.tokens.push(token);
        let waiting = self.tokens.len() - self.read;
        let fresh = self.fresh(waiting > WAITING_TOKENS_MAX);
        self.release(&fresh)
    }

    /// What is left when no more tokens come, and whether a stop text was in it.
    pub(super) fn finish(&mut self) -> (String, bool) {
        let fresh = self.fresh(true);
        let (mut text, stopped) = self.release(&fresh);
        if !stopped {
            text.push_str(&std::mem::take(&mut self.held));
        }
        (text, stopped)
    }

    /// Text of the tokens not read yet, unless it ends within a character.
    fn fresh(&mut self, at_any_rate: bool) -> String {
        let Some(tokenizer) = &self.tokenizer else { return String::new() };
        let before = tokenizer.decode(&self.tokens[self.window..self.read]);
        let with = tokenizer.decode(&self.tokens[self.window..]);
        let Some(fresh) = with.strip_prefix(before.as_str()) else {
            // Joined to what came before into other text; it is read together with what comes next.
            if at_any_rate {
                (self.window, self.read) = (self.read, self.tokens.len());
                return tokenizer.decode(&self.tokens[self.window..]);
            }
            return String::new();
        };
        if fresh.is_empty() || (fresh.ends_with('\u{FFFD}') && !at_any_rate) {
            return String::new();
        }
        (self.window, self.read) = (self.read, self.tokens.len());
        fresh.to_owned()
    }

    fn release(&mut self, fresh: &str) -> (String, bool) {
        self.held.push_str(fresh);
        let found = self.stops.iter().filter_map(|stop| self.held.find(stop.as_str())).min();
        if let Some(at) = found {
            self.held.truncate(at);
            return (std::mem::take(&mut self.held), true);
        }
        let kept = self.stops.iter().map(|stop| beginning_at_end(&self.held, stop)).max().unwrap_or(0);
        let rest = self.held.split_off(self.held.len() - kept);
        (std::mem::replace(&mut self.held, rest), false)
    }
}

/// Bytes of the longest end of `text` that `stop` begins with.
fn beginning_at_end(text: &str, stop: &str) -> usize {
    let lengths = stop.char_indices().map(|(at, _)| at).filter(|&at| at > 0 && at <= text.len());
    lengths.filter(|&length| text.as_bytes().ends_with(&stop.as_bytes()[..length])).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokenizer() -> Arc<Tokenizer> {
        Arc::new(Tokenizer::train(["a b".to_owned()].into_iter(), 261).unwrap())
    }

    /// Everything in the stream's pieces, with the number of tokens after which each came.
    fn pieces(stops: &[&str], bytes: &[u8]) -> (Vec<(usize, String)>, String, bool) {
        let tokenizer = tokenizer();
        let stops: Vec<String> = stops.iter().map(|&stop| stop.to_owned()).collect();
        // Single bytes are entries of their own, found by what they stand for.
        let token = |byte: u8| (0..261).find(|&id| tokenizer.token_bytes(id) == Some(&[byte])).unwrap();
        let mut stream = TextStream::new(Some(tokenizer.clone()), &stops, &[token(b'x')]);
        let mut found = Vec::new();
        for (at, &byte) in bytes.iter().enumerate() {
            let (text, stopped) = stream.push(token(byte));
            if !text.is_empty() {
                found.push((at + 1, text));
            }
            if stopped {
                return (found, String::new(), true);
            }
        }
        let (rest, stopped) = stream.finish();
        (found, rest, stopped)
    }

    #[test]
    fn a_character_comes_when_its_last_byte_does() {
        let (found, rest, _) = pieces(&[], "aé🙂b".as_bytes());
        let expected = [(1, "a"), (3, "é"), (7, "🙂"), (8, "b")].map(|(at, text)| (at, text.to_owned()));
        assert_eq!((found, rest), (expected.to_vec(), String::new()));
    }

    #[test]
    fn bytes_that_are_no_character_come_in_the_end() {
        let (found, rest, _) = pieces(&[], &[b'a', 0xF0, 0x9F]);
        assert_eq!((found, rest.as_str()), (vec![(1, "a".to_owned())], "\u{FFFD}"));
        let (found, rest, _) = pieces(&[], &[0x80; 20]);
        let text: String = found.into_iter().map(|(_, text)| text).chain([rest]).collect();
        assert_eq!(text, "\u{FFFD}".repeat(20), "text waits for a character only so long");
    }

    #[test]
    fn a_stop_text_is_cut_off_wherever_tokens_divide_it() {
        for (text, expected) in [("one STOP two", "one "), ("one STO", "one STO"), ("STSTOP", "ST"), ("STOP", "")] {
            let (found, rest, stopped) = pieces(&["STOP", "XYZ"], text.as_bytes());
            let joined: String = found.into_iter().map(|(_, text)| text).chain([rest]).collect();
            assert_eq!((joined.as_str(), stopped), (expected, text.contains("STOP")), "{text}");
        }
        let (found, _, _) = pieces(&["é!"], "aé?".as_bytes());
        let expected = [(1, "a"), (4, "é?")].map(|(at, text)| (at, text.to_owned()));
        assert_eq!(found, expected, "what may become a stop text waits");
    }

    #[test]
    fn without_a_tokenizer_there_is_no_text() {
        let mut stream = TextStream::new(None, &[], &[1, 2]);
        assert_eq!(stream.push(3), (String::new(), false));
        assert_eq!(stream.finish(), (String::new(), false));
    }
}
