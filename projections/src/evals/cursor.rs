//! Cursors: a place in an answer, and the question and position that it belongs to, so that all pages of an answer are as
//! of one position and a cursor of another question is refused.

use crate::Error;
use cairn_schemas::{Blake3, Position};
use std::hash::{Hash, Hasher};

/// The place as numbers, behind the question's fingerprint and the position.
pub(super) fn encode<const N: usize>(question: &impl Hash, as_of: Option<Position>, place: [u64; N]) -> String {
    let mut text = format!("{:x}-{:x}", fingerprint(question), as_of.map_or(0, Position::get));
    place.iter().for_each(|number| text.push_str(&format!("-{number:x}")));
    text
}

/// What [`encode`] was given for this question.
pub(super) fn decode<const N: usize>(
    question: &impl Hash,
    cursor: &str,
) -> Result<(Option<Position>, [u64; N]), Error> {
    let wrong = || Error::Cursor { given: cursor.to_owned() };
    let numbers: Result<Vec<u64>, _> = cursor.split('-').map(|number| u64::from_str_radix(number, 16)).collect();
    let numbers = numbers.map_err(|_| wrong())?;
    let [known, as_of, place @ ..] = &numbers[..] else { return Err(wrong()) };
    let place = place.try_into().map_err(|_| wrong())?;
    if *known != fingerprint(question) {
        return Err(wrong());
    }
    Ok((Position::new(*as_of), place))
}

fn fingerprint(question: &impl Hash) -> u64 {
    let mut bytes = Collected(Vec::new());
    question.hash(&mut bytes);
    let digest = Blake3::of(&bytes.0);
    u64::from_le_bytes(digest.as_bytes()[..8].try_into().expect("eight bytes"))
}

/// The bytes that are hashed, so that the hash is the same in every process.
struct Collected(Vec<u8>);

impl Hasher for Collected {
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend(bytes);
    }
    fn finish(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_belongs_to_its_question() {
        for as_of in [None, Position::new(7)] {
            let cursor = encode(&"question", as_of, [u64::MAX, 0, 5]);
            assert_eq!(decode(&"question", &cursor).unwrap(), (as_of, [u64::MAX, 0, 5]));
            assert!(decode::<3>(&"another", &cursor).is_err());
            assert!(decode::<2>(&"question", &cursor).is_err());
        }
        for wrong in ["", "-", "x", "1-2-3", "1-2-3-fffffffffffffffff"] {
            assert!(decode::<1>(&"question", wrong).unwrap_err().to_string().contains("does not belong"), "{wrong}");
        }
    }
}
