//! Which events a reader wants: by type, by stream, by project. Words that could never match are refused with what would.

use crate::problem::{Kind, Problem};
use cairn_schemas::{Recorded, TYPE_NAMES};

/// Most words of one filter.
const TYPES_MAX: usize = 64;

/// Keeps an event that matches every part given.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    types: Vec<TypePattern>,
    stream: Option<String>,
    project: Option<String>,
}

#[derive(Clone, Debug)]
enum TypePattern {
    Exact(String),
    Prefix(String),
}

impl Filter {
    pub(crate) fn new(types: &[String], stream: Option<String>, project: Option<String>) -> Result<Self, Problem> {
        if types.len() > TYPES_MAX {
            return Err(Problem::malformed(format!("{} types in the filter; at most {TYPES_MAX}", types.len())));
        }
        let types = types.iter().map(|word| parse(word)).collect::<Result<_, _>>()?;
        Ok(Self { types, stream, project })
    }

    pub(crate) fn matches(&self, event: &Recorded) -> bool {
        let type_name = event.event.type_name();
        let wanted = |pattern: &TypePattern| match pattern {
            TypePattern::Exact(name) => name == type_name,
            TypePattern::Prefix(prefix) => type_name.starts_with(prefix.as_str()),
        };
        (self.types.is_empty() || self.types.iter().any(wanted))
            && self.stream.as_ref().is_none_or(|stream| *stream == event.stream)
            && self.project.as_ref().is_none_or(|project| *project == event.project)
    }
}

/// `cairn.training.step_logged.v2`, the same without its version, or a beginning followed by `*`.
fn parse(word: &str) -> Result<TypePattern, Problem> {
    let pattern = match word.strip_suffix('*') {
        Some(prefix) => TypePattern::Prefix(prefix.to_owned()),
        // Stored events are read in their latest version, so an older one named here means that.
        None => match word.rsplit_once(".v") {
            Some((name, version)) if version.bytes().all(|b| b.is_ascii_digit()) => {
                latest(name).unwrap_or_else(|| word.to_owned()).into()
            }
            _ => latest(word).unwrap_or_else(|| word.to_owned()).into(),
        },
    };
    let known = match &pattern {
        TypePattern::Exact(name) => TYPE_NAMES.contains(&name.as_str()),
        TypePattern::Prefix(prefix) => TYPE_NAMES.iter().any(|name| name.starts_with(prefix.as_str())),
    };
    if known {
        return Ok(pattern);
    }
    let shown: String = word.chars().take(100).collect();
    let family = |name: &&str| name.split('.').nth(1).map(str::to_owned);
    let mut families: Vec<String> = TYPE_NAMES.iter().filter_map(family).collect();
    families.dedup();
    Err(Problem::new(
        Kind::UnknownEventType,
        format!(
            "no event type matches `{shown}`; give a type such as cairn.training.step_logged.v2 or a beginning such as \
             cairn.training.*; the families are {}",
            families.join(", ")
        ),
    ))
}

impl From<String> for TypePattern {
    fn from(name: String) -> Self {
        TypePattern::Exact(name)
    }
}

/// The latest version of a type named without its version.
fn latest(name: &str) -> Option<String> {
    let same = |known: &&&str| known.rsplit_once(".v").is_some_and(|(bare, _)| bare == name);
    TYPE_NAMES.iter().find(same).map(|known| (*known).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_may_be_whole_without_version_old_or_a_beginning() {
        for word in [
            "cairn.training.step_logged.v2",
            "cairn.training.step_logged",
            "cairn.training.step_logged.v1",
            "cairn.tr*",
        ] {
            assert!(parse(word).is_ok(), "{word}");
        }
        for word in ["cairn.training", "step_logged", "", "cairn.nothing.*"] {
            let problem = parse(word).unwrap_err();
            assert_eq!(problem.kind, Kind::UnknownEventType, "{word}");
            assert!(problem.detail.contains("the families are data, dataset, training"), "{}", problem.detail);
        }
    }
}
