//! Finds values marked as about a person in free-form JSON, by byte range, so that nothing around them changes.
//!
//! A mark is `{"$data_subject": "alice", "value": …}`; what stands in its place while the value is away is [`HOLE`].

use std::borrow::Cow;
use std::ops::Range;

/// Member that names the person.
pub(super) const MEMBER: &str = "$data_subject";
/// Stands where a value was taken out.
pub(super) const HOLE: &str = r#"{"$data_subject":null}"#;
/// Longest name of a person, in bytes.
pub(super) const SUBJECT_BYTES_MAX: usize = 1024;

/// An object that has the member.
#[derive(Debug, PartialEq)]
pub(super) enum Object {
    Mark {
        subject: String,
    },
    /// Nothing but the member, and that is null.
    Hole,
    /// The member is null and others stand beside it: what readers were shown of a value that was gone.
    Shown,
    Wrong(&'static str),
}

#[derive(Debug, PartialEq)]
pub(super) struct Found {
    pub(super) range: Range<usize>,
    /// JSON pointer inside the scanned text.
    pub(super) pointer: String,
    pub(super) object: Object,
}

/// Whether a text may hold a mark; cheap where it does not. An escape may hide a letter of the member's name.
pub(super) fn may_be_in(text: &str) -> bool {
    let has = |needle: &str| memchr::memmem::find(text.as_bytes(), needle.as_bytes()).is_some();
    has(MEMBER) || has("\\u00")
}

/// Objects with the member, each after those inside it. `text` must be JSON, as every `RawJson` is.
pub(super) fn scan(text: &str) -> Vec<Found> {
    let mut scan = Scan { text, open: Vec::new(), found: Vec::new() };
    let mut at = 0;
    while at < text.len() {
        at = scan.token(at);
    }
    scan.found
}

/// An object or array that is not closed yet.
struct Open {
    start: usize,
    is_object: bool,
    /// The present member's name with its quotes; of an array, nothing.
    name: Option<Range<usize>>,
    /// Members or items before the present one.
    count: usize,
    subject: Option<Range<usize>>,
    has_value: bool,
}

struct Scan<'a> {
    text: &'a str,
    /// Grows with the depth of nesting.
    open: Vec<Open>,
    found: Vec<Found>,
}

impl Scan<'_> {
    /// Takes the token at `at` and gives the place after it.
    fn token(&mut self, at: usize) -> usize {
        let bytes = self.text.as_bytes();
        match bytes[at] {
            opening @ (b'{' | b'[') => {
                let is_object = opening == b'{';
                self.open.push(Open { start: at, is_object, name: None, count: 0, subject: None, has_value: false });
                at + 1
            }
            b'}' | b']' => {
                self.close(at + 1);
                at + 1
            }
            b',' => {
                if let Some(open) = self.open.last_mut() {
                    open.name = None;
                    open.count += 1;
                }
                at + 1
            }
            b'"' => {
                let end = end_of_string(bytes, at);
                match self.open.last_mut() {
                    Some(open) if open.is_object && open.name.is_none() => open.name = Some(at..end),
                    _ => self.value(at..end),
                }
                end
            }
            b':' | b' ' | b'\t' | b'\n' | b'\r' => at + 1,
            _ => {
                let length = bytes[at..].iter().position(|byte| b",]} \t\n\r".contains(byte));
                let end = length.map_or(bytes.len(), |length| at + length);
                self.value(at..end);
                end
            }
        }
    }

    /// A member's value, or an array's item, was read to its end.
    fn value(&mut self, range: Range<usize>) {
        let Some(open) = self.open.last_mut() else { return };
        let Some(name) = &open.name else { return };
        match &*plain(&self.text[name.clone()]) {
            // A second one makes the object wrong, since it then has more members than a mark has.
            MEMBER => open.subject = Some(range),
            "value" => open.has_value = true,
            _ => {}
        }
    }

    fn close(&mut self, end: usize) {
        let closed = self.open.pop().expect("JSON closes what it opened");
        if let Some(subject) = &closed.subject {
            let object = self.object(&closed, &self.text[subject.clone()]);
            let pointer = self.pointer();
            self.found.push(Found { range: closed.start..end, pointer, object });
        }
        self.value(closed.start..end);
    }

    fn object(&self, closed: &Open, subject: &str) -> Object {
        let members = closed.count + 1;
        if subject == "null" {
            return if members == 1 { Object::Hole } else { Object::Shown };
        }
        if !subject.starts_with('"') {
            return Object::Wrong("`$data_subject` must be the person's name, as text");
        }
        let subject = plain(subject).into_owned();
        match subject.len() {
            0 => Object::Wrong("`$data_subject` is empty; name the person"),
            1..=SUBJECT_BYTES_MAX if members == 2 && closed.has_value => Object::Mark { subject },
            1..=SUBJECT_BYTES_MAX => Object::Wrong("beside `$data_subject` there must be `value` and nothing else"),
            _ => Object::Wrong("`$data_subject` is longer than 1024 bytes"),
        }
    }

    /// Where the object that was just closed stands.
    fn pointer(&self) -> String {
        let mut pointer = String::new();
        for open in &self.open {
            pointer.push('/');
            match &open.name {
                Some(name) => pointer += &plain(&self.text[name.clone()]).replace('~', "~0").replace('/', "~1"),
                None => pointer += &open.count.to_string(),
            }
        }
        pointer
    }
}

/// The place after a string that begins at `at`.
fn end_of_string(bytes: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    loop {
        match memchr::memchr2(b'"', b'\\', &bytes[at..]).map(|more| at + more) {
            Some(end) if bytes[end] == b'"' => return end + 1,
            Some(escape) => at = escape + 2,
            None => return bytes.len(),
        }
    }
}

/// What a string says, without quotes and escapes.
fn plain(quoted: &str) -> Cow<'_, str> {
    match memchr::memchr(b'\\', quoted.as_bytes()) {
        None => Cow::Borrowed(&quoted[1..quoted.len() - 1]),
        // A lone surrogate has no text; it names nothing that we look for.
        Some(_) => serde_json::from_str::<String>(quoted).map_or(Cow::Borrowed(quoted), Cow::Owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(text: &str) -> Vec<(String, String, &str)> {
        let found = scan(text).into_iter().filter_map(|found| match found.object {
            Object::Mark { subject } => Some((found.pointer, subject, &text[found.range])),
            _ => None,
        });
        found.collect()
    }

    #[test]
    fn marks_are_found_with_their_place_and_text() {
        let text = r#"{"a/b": [1, { "value" : {"x": "}\"{"}, "$data_subject":"al\u0069ce" }, true], "c~": "x", "d":
            {"\u0024data_subject": "bob", "value": -1.50e3}}"#;
        let expected = [
            ("/a~1b/1", "alice", r#"{ "value" : {"x": "}\"{"}, "$data_subject":"al\u0069ce" }"#),
            ("/d", "bob", r#"{"\u0024data_subject": "bob", "value": -1.50e3}"#),
        ];
        let expected = expected.map(|(pointer, subject, text)| (pointer.to_owned(), subject.to_owned(), text));
        assert_eq!(marks(text), expected);
        assert!(may_be_in(text) && may_be_in(r#"{"\u0024data_subject":"a","value":1}"#) && !may_be_in(r#"{"a":"$"}"#));
        assert_eq!(marks(r#"{"$data_subject":"a","value":null}"#)[0].0, "");
        assert_eq!(marks(r#""$data_subject""#), []);
        assert_eq!(marks(r#"["$data_subject", "value"]"#), []);
    }

    #[test]
    fn whatever_has_the_member_and_is_no_mark_says_why() {
        for text in [
            r#"{"$data_subject":1,"value":1}"#,
            r#"{"$data_subject":"","value":1}"#,
            r#"{"$data_subject":"a"}"#,
            r#"{"$data_subject":"a","valve":1}"#,
            r#"{"$data_subject":"a","value":1,"more":1}"#,
            r#"{"$data_subject":"a","$data_subject":"b","value":1}"#,
            r#"{"$data_subject":{"value":1},"value":1}"#,
        ] {
            let found = scan(text);
            assert!(matches!(found[..], [Found { object: Object::Wrong(_), .. }]), "{text}: {found:?}");
        }
        assert_eq!(scan(HOLE)[0].object, Object::Hole);
        assert_eq!(scan(r#"{"$data_subject":null,"erased":true}"#)[0].object, Object::Shown);
    }

    #[test]
    fn nesting_of_any_depth_is_walked() {
        let depth = 200_000;
        let text = format!("{}{}{}", "[".repeat(depth), r#"{"$data_subject":"a","value":1}"#, "]".repeat(depth));
        assert_eq!(marks(&text).len(), 1);
    }
}
