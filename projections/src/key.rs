//! Keys of rows: a table's byte, then fields whose byte order is their own order. Text ends in `00 01`, and a zero
//! inside it is written `00 ff`, so that no text is a prefix of another's key.

use crate::Error;

/// A key, or the prefix of one.
#[derive(Clone, Debug)]
pub(crate) struct Key(Vec<u8>);

impl Key {
    pub(crate) fn of(table: u8) -> Self {
        let mut bytes = Vec::with_capacity(48);
        bytes.push(table);
        Self(bytes)
    }
    pub(crate) fn text(mut self, text: &str) -> Self {
        for byte in text.bytes() {
            self.0.push(byte);
            if byte == 0 {
                self.0.push(0xff);
            }
        }
        self.0.extend([0, 1]);
        self
    }
    /// The beginning of a text field: for ranges of all texts that begin so.
    pub(crate) fn text_prefix(self, text: &str) -> Self {
        let mut key = self.text(text);
        key.0.truncate(key.0.len() - 2);
        key
    }
    pub(crate) fn byte(mut self, value: u8) -> Self {
        self.0.push(value);
        self
    }
    pub(crate) fn u32(mut self, value: u32) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }
    pub(crate) fn u64(mut self, value: u64) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }
    pub(crate) fn bytes(mut self, value: &[u8]) -> Self {
        self.0.extend(value);
        self
    }
    pub(crate) fn done(self) -> Vec<u8> {
        self.0
    }
}

/// The first key after every key that begins with `prefix`; `None` where there is no such key.
pub(crate) fn after(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

/// Reads the fields of a key, in the order in which they were written.
pub(crate) struct Fields<'a> {
    table: &'static str,
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// `table` names the table in errors; its byte is passed over.
    pub(crate) fn of(table: &'static str, key: &'a [u8]) -> Self {
        Self { table, rest: key.get(1..).unwrap_or_default() }
    }
    pub(crate) fn text(&mut self) -> Result<String, Error> {
        let mut bytes = Vec::new();
        let mut at = 0;
        while let Some(&byte) = self.rest.get(at) {
            at += 1;
            if byte != 0 {
                bytes.push(byte);
                continue;
            }
            match self.rest.get(at) {
                Some(0xff) => bytes.push(0),
                Some(1) => {
                    self.rest = &self.rest[at + 1..];
                    return String::from_utf8(bytes).map_err(|e| Error::row(self.table, e));
                }
                _ => break,
            }
            at += 1;
        }
        Err(Error::row(self.table, "a text of its key has no end"))
    }
    pub(crate) fn byte(&mut self) -> Result<u8, Error> {
        self.take::<1>().map(|[byte]| byte)
    }
    pub(crate) fn u32(&mut self) -> Result<u32, Error> {
        self.take().map(u32::from_be_bytes)
    }
    pub(crate) fn u64(&mut self) -> Result<u64, Error> {
        self.take().map(u64::from_be_bytes)
    }
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (field, rest) =
            self.rest.split_first_chunk::<N>().ok_or_else(|| Error::row(self.table, "its key is too short"))?;
        self.rest = rest;
        Ok(*field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_sort_as_texts_and_come_back() {
        let texts = ["", "\0", "\0\u{1}", "a", "a\0", "a\0b", "ab", "b"];
        let keys: Vec<Vec<u8>> = texts.iter().map(|t| Key::of(7).text(t).u64(u64::MAX).done()).collect();
        let mut sorted = keys.clone();
        sorted.sort();
        for (text, key) in texts.iter().zip(&keys) {
            let mut fields = Fields::of("t", key);
            assert_eq!(fields.text().unwrap(), *text);
            assert_eq!(fields.u64().unwrap(), u64::MAX);
            assert!(fields.byte().is_err());
        }
        // A zero sorts before every other byte but after the end of a text, as in the texts themselves.
        assert_eq!(sorted.len(), keys.iter().collect::<std::collections::BTreeSet<_>>().len());
        assert!(keys[3] < keys[6] && keys[6] < keys[7]);
    }

    #[test]
    fn the_end_of_a_prefix_is_past_all_that_begin_with_it() {
        assert_eq!(after(&[1, 2]), Some(vec![1, 3]));
        assert_eq!(after(&[1, 0xff, 0xff]), Some(vec![2]));
        assert_eq!(after(&[0xff]), None);
    }
}
