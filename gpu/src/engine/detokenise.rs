//! Text of an answer as it comes: whole characters only, and nothing that may yet become a stop text.

use crate::{Detokenizer, TextStream};

/// The text of one answer.
pub(super) struct AnswerText {
    stream: Option<TextStream>,
    stops: Vec<String>,
    /// Text that may become a stop text.
    held: String,
}

impl AnswerText {
    /// The answer goes on after `prompt`: a space before its first word is not that of a text's beginning.
    pub(super) fn new(detokenizer: Option<&Detokenizer>, stops: &[String], prompt: &[u32]) -> Self {
        let stream = detokenizer.map(|detokenizer| {
            let mut stream = detokenizer.stream();
            prompt.last().map(|&token| stream.push(token));
            stream
        });
        Self { stream, stops: stops.to_vec(), held: String::new() }
    }

    /// The text that became certain with this token, and whether a stop text came.
    pub(super) fn push(&mut self, token: u32) -> (String, bool) {
        match &mut self.stream {
            Some(stream) => {
                let fresh = stream.push(token);
                self.release(&fresh)
            }
            None => (String::new(), false),
        }
    }

    /// What is left when no more tokens come, and whether a stop text was in it.
    pub(super) fn finish(&mut self) -> (String, bool) {
        let fresh = self.stream.take().map(TextStream::finish).unwrap_or_default();
        let (mut text, stopped) = self.release(&fresh);
        if !stopped {
            text.push_str(&std::mem::take(&mut self.held));
        }
        (text, stopped)
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
    use crate::Tokenizer;

    /// Everything in the stream's pieces, with the number of tokens after which each came.
    fn pieces(stops: &[&str], bytes: &[u8]) -> (Vec<(usize, String)>, String, bool) {
        let tokenizer = Tokenizer::train(["a b".to_owned()].into_iter(), 261).unwrap();
        let stops: Vec<String> = stops.iter().map(|&stop| stop.to_owned()).collect();
        // Single bytes are entries of their own, found by what they stand for.
        let token = |byte: u8| (0..261).find(|&id| tokenizer.token_bytes(id) == Some(&[byte])).unwrap();
        let mut stream = AnswerText::new(Some(tokenizer.detokenizer()), &stops, &[token(b'x')]);
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
        let (found, rest, _) = pieces(&[], &[b'a', 0xF0, 0x9F]);
        assert_eq!((found, rest.as_str()), (vec![(1, "a".to_owned())], "\u{FFFD}"));
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
        let mut stream = AnswerText::new(None, &[], &[1, 2]);
        assert_eq!(stream.push(3), (String::new(), false));
        assert_eq!(stream.finish(), (String::new(), false));
    }
}
