//! Refs: how a person or a program names a thing, everywhere.
//!
//! `ds://project/name@1.2.0`, `model://project/name@3`, `run:<uuid>`, `doc:<blake3>`, `eval:<id>`,
//! `judgment:<id>`, `deployment:<id>`, `artifact:<blake3>`.

use crate::encoding::text_form;
use crate::error::quoted;
use crate::ids::{ProjectName, RunId, check_name};
use crate::{Blake3, Error};
use semver::Version;
use std::fmt;
use std::str::FromStr;

const FORMS: &str = "a ref is ds://project/name@1.2.0, model://project/name@3, run:<uuid>, doc:<blake3>, eval:<id>, \
                     judgment:<id>, deployment:<id> or artifact:<blake3>";

/// Longest id of an evaluation, judgment or deployment, in bytes.
const ID_BYTES_MAX: usize = 128;

/// The name of one thing.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, bincode::Encode, bincode::Decode)]
pub enum Ref {
    Dataset {
        project: ProjectName,
        name: String,
        #[bincode(with_serde)]
        version: Version,
    },
    Model {
        project: ProjectName,
        name: String,
        version: u64,
    },
    Run(RunId),
    Doc(Blake3),
    Eval(String),
    Judgment(String),
    Deployment(String),
    Artifact(Blake3),
}

impl Ref {
    /// The word for the kind of thing named: `dataset`, `model`, `run`, `document`, …
    pub fn kind(&self) -> &'static str {
        match self {
            Ref::Dataset { .. } => "dataset",
            Ref::Model { .. } => "model",
            Ref::Run(_) => "run",
            Ref::Doc(_) => "document",
            Ref::Eval(_) => "evaluation",
            Ref::Judgment(_) => "judgment",
            Ref::Deployment(_) => "deployment",
            Ref::Artifact(_) => "artifact",
        }
    }

    pub fn dataset(project: &ProjectName, name: &str, version: Version) -> Result<Self, Error> {
        check_name("dataset name", name)?;
        Ok(Ref::Dataset { project: project.clone(), name: name.to_owned(), version })
    }

    pub fn model(project: &ProjectName, name: &str, version: u64) -> Result<Self, Error> {
        check_name("model name", name)?;
        if version == 0 {
            return Err(malformed(name, "versions of a model count from 1"));
        }
        Ok(Ref::Model { project: project.clone(), name: name.to_owned(), version })
    }

    pub fn deployment(id: &str) -> Result<Self, Error> {
        id_of("deployment", id).map(Ref::Deployment)
    }

    pub fn eval(id: &str) -> Result<Self, Error> {
        id_of("evaluation", id).map(Ref::Eval)
    }

    pub fn judgment(id: &str) -> Result<Self, Error> {
        id_of("judgment", id).map(Ref::Judgment)
    }

    /// What an event about this thing is filed under: a dataset and a model without their version.
    pub fn stream(&self) -> String {
        match self {
            Ref::Dataset { project, name, .. } => format!("ds://{project}/{name}"),
            Ref::Model { project, name, .. } => format!("model://{project}/{name}"),
            other => other.to_string(),
        }
    }
}

fn malformed(given: &str, why: &str) -> Error {
    Error::Malformed { what: "ref", given: quoted(given), why: why.to_owned() }
}

fn id_of(what: &'static str, id: &str) -> Result<String, Error> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/');
    if !id.is_empty() && id.len() <= ID_BYTES_MAX && id.bytes().all(allowed) {
        return Ok(id.to_owned());
    }
    Err(Error::Malformed {
        what,
        given: quoted(id),
        why: "an id is 1 to 128 of letters, digits, `-`, `_`, `.`, `/`".into(),
    })
}

/// Splits `project/name@version`.
fn versioned<'a>(whole: &str, rest: &'a str) -> Result<(ProjectName, &'a str, &'a str), Error> {
    let (path, version) = rest.rsplit_once('@').ok_or_else(|| malformed(whole, "it names no version after `@`"))?;
    let (project, name) = path.split_once('/').ok_or_else(|| malformed(whole, "expected project/name@version"))?;
    check_name("name", name)?;
    Ok((project.parse()?, name, version))
}

impl fmt::Display for Ref {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ref::Dataset { project, name, version } => write!(f, "ds://{project}/{name}@{version}"),
            Ref::Model { project, name, version } => write!(f, "model://{project}/{name}@{version}"),
            Ref::Run(id) => write!(f, "run:{id}"),
            Ref::Doc(digest) => write!(f, "doc:{digest}"),
            Ref::Eval(id) => write!(f, "eval:{id}"),
            Ref::Judgment(id) => write!(f, "judgment:{id}"),
            Ref::Deployment(id) => write!(f, "deployment:{id}"),
            Ref::Artifact(digest) => write!(f, "artifact:{digest}"),
        }
    }
}

impl FromStr for Ref {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        if let Some(rest) = text.strip_prefix("ds://") {
            let (project, name, version) = versioned(text, rest)?;
            let version = Version::parse(version).map_err(|e| malformed(text, &format!("version: {e}")))?;
            return Ok(Ref::Dataset { project, name: name.to_owned(), version });
        }
        if let Some(rest) = text.strip_prefix("model://") {
            let (project, name, version) = versioned(text, rest)?;
            let number = version.parse::<u64>().ok().filter(|v| *v > 0 && v.to_string() == version);
            let version = number.ok_or_else(|| malformed(text, "a model's version is a whole number from 1"))?;
            return Ok(Ref::Model { project, name: name.to_owned(), version });
        }
        let (kind, id) = text.split_once(':').ok_or_else(|| malformed(text, FORMS))?;
        match kind {
            "run" => Ok(Ref::Run(id.parse()?)),
            "doc" => Ok(Ref::Doc(id.parse()?)),
            "artifact" => Ok(Ref::Artifact(id.parse()?)),
            "eval" => Ref::eval(id),
            "judgment" => Ref::judgment(id),
            "deployment" => Ref::deployment(id),
            _ => Err(malformed(text, FORMS)),
        }
    }
}
text_form!(Ref, "ref", "^(ds://|model://|run:|doc:|eval:|judgment:|deployment:|artifact:).+$");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_round_trips() {
        let hex = "ab".repeat(32);
        for text in [
            "ds://team/web@1.2.0-rc.1".to_owned(),
            "model://team/chat@3".to_owned(),
            "run:018f4e9a-7c3b-7def-8123-456789abcdef".to_owned(),
            format!("doc:{hex}"),
            "eval:suite/a-1".to_owned(),
            "judgment:x".to_owned(),
            "deployment:prod".to_owned(),
            format!("artifact:{hex}"),
        ] {
            assert_eq!(text.parse::<Ref>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_ref_is_refused_with_a_reason() {
        for (text, why) in [
            ("mistral-7b", "a ref is"),
            ("ds://team/web", "names no version"),
            ("ds://team/web@1", "version"),
            ("model://team/chat@0", "from 1"),
            ("model://team/chat@01", "from 1"),
            ("ds://Team/web@1.0.0", "a-z"),
            ("run:7", "UUID"),
            ("doc:abc", "64 hexadecimal"),
            ("deployment:", "1 to 128"),
            ("table:x", "a ref is"),
        ] {
            let error = text.parse::<Ref>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
