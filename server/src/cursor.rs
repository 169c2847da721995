//! Opaque cursors: where a reader stands in an ordered answer. A cursor names the query it belongs to, so that one of
//! another query is refused by name; nothing else about its text is promised.

use crate::problem::Problem;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cairn_schemas::Position;

/// Longest cursor that is looked at, in bytes.
const CURSOR_BYTES_MAX: usize = 4096;
/// The family of cursors into the log.
const LOG: &str = "log";

/// `after` in the answer of the query family `of`.
pub(crate) fn encode(of: &str, after: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{}:{after}", escaped(of)))
}

/// A family without the sign that ends it: families name refs, and these have colons.
fn escaped(family: &str) -> String {
    family.replace('%', "%25").replace(':', "%3A")
}

/// What [`encode`] was given, where the cursor belongs to `of`.
pub(crate) fn decode(of: &str, cursor: &str) -> Result<String, Problem> {
    let malformed =
        || Problem::malformed(format!("`{}` is not a cursor; use one that an earlier answer gave", shown(cursor)));
    if cursor.len() > CURSOR_BYTES_MAX {
        return Err(malformed());
    }
    let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| malformed())?;
    let text = String::from_utf8(bytes).map_err(|_| malformed())?;
    match text.split_once(':') {
        Some((family, after)) if family == escaped(of) => Ok(after.to_owned()),
        Some((family, _)) => {
            let family = family.replace("%3A", ":").replace("%25", "%");
            Err(Problem::malformed(format!("the cursor `{}` belongs to `{family}`, not to `{of}`", shown(cursor))))
        }
        None => Err(malformed()),
    }
}

/// The cursor of a reader who has seen everything up to `position`; `None` has seen nothing.
pub(crate) fn of_position(position: Option<Position>) -> String {
    encode(LOG, &position.map_or(0, Position::get).to_string())
}

/// The last position that the cursor's reader has seen.
pub(crate) fn to_position(cursor: &str) -> Result<Option<Position>, Problem> {
    let after = decode(LOG, cursor)?;
    let number: u64 = after.parse().map_err(|_| {
        Problem::malformed(format!("`{}` is not a cursor; use one that an earlier answer gave", shown(cursor)))
    })?;
    Ok(Position::new(number))
}

fn shown(cursor: &str) -> String {
    cursor.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_round_trips_and_nothing_is_before_the_first() {
        for position in [None, Position::new(1), Position::new(u64::MAX)] {
            assert_eq!(to_position(&of_position(position)).unwrap(), position);
        }
    }

    #[test]
    fn a_family_may_name_a_ref() {
        let families = ["documents of ds://team/web@1.0.0", "documents of ds", "100%", "100%3A", "100:"];
        for family in families {
            let cursor = encode(family, "a:b+1");
            for other in families {
                match decode(other, &cursor) {
                    Ok(after) => assert_eq!((other, after.as_str()), (family, "a:b+1")),
                    Err(error) => assert!(error.detail.contains(&format!("belongs to `{family}`")), "{}", error.detail),
                }
            }
        }
    }

    #[test]
    fn a_cursor_of_another_query_is_refused_by_name() {
        let error = to_position(&encode("runs", "x")).unwrap_err();
        assert!(error.detail.contains("belongs to `runs`"), "{}", error.detail);
        for wrong in ["!", "", "bG9nOng", &"a".repeat(2000)] {
            assert!(to_position(wrong).unwrap_err().detail.contains("is not a cursor"), "{wrong}");
        }
    }
}
