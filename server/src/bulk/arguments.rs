//! What a bulk read was asked for: the same names in the URL and in a JSON body, each known to the table or refused.

use super::table::Table;
use crate::problem::Problem;
use cairn_ledger::AsOf;
use cairn_schemas::{Position, RunId};
use serde_json::Value;
use std::collections::BTreeMap;
use std::str::FromStr;

/// Arguments of every table.
const COMMON: [&str; 2] = ["asOf", "atLeast"];
/// Values of one argument.
const VALUES_MAX: usize = 100_000;

/// Values by name. In a URL a name may be repeated, and its values divided by commas; in JSON a value is one value, or a list.
#[derive(Debug, Default)]
pub(super) struct Arguments(BTreeMap<String, Vec<String>>);

impl Arguments {
    pub(super) fn of_pairs(table: &Table, pairs: Vec<(String, String)>) -> Result<Self, Problem> {
        let mut arguments = Self::default();
        for (name, value) in pairs {
            // In these commas mean something else.
            match name.as_str() {
                "filter" | "orderBy" => arguments.add(table, name, vec![value])?,
                _ => arguments.add(table, name, value.split(',').map(|part| part.trim().to_owned()).collect())?,
            }
        }
        Ok(arguments)
    }

    pub(super) fn of_json(table: &Table, body: &[u8]) -> Result<Self, Problem> {
        let wrong = |why: String| {
            Problem::malformed(format!("the body is not a question: {why}; send an object such as {{\"asOf\": 1041}}"))
        };
        let object: serde_json::Map<String, Value> = serde_json::from_slice(body).map_err(|e| wrong(e.to_string()))?;
        let mut arguments = Self::default();
        for (name, value) in object {
            let text = |value: Value| match value {
                Value::String(text) => Ok(text),
                Value::Number(number) => Ok(number.to_string()),
                Value::Bool(truth) => Ok(truth.to_string()),
                other => Err(wrong(format!("`{name}` holds {other}, where a text, a number or a list of them goes"))),
            };
            let values = match value {
                Value::Null => continue,
                Value::Array(values) => values.into_iter().map(text).collect::<Result<_, _>>()?,
                one => vec![text(one)?],
            };
            arguments.add(table, name, values)?;
        }
        Ok(arguments)
    }

    fn add(&mut self, table: &Table, name: String, values: Vec<String>) -> Result<(), Problem> {
        let mut known = table.arguments.iter().map(|(name, _)| *name).chain(COMMON);
        if !known.any(|known| known == name) {
            let shown: String = name.chars().take(60).collect();
            let known: Vec<&str> = table.arguments.iter().map(|(name, _)| *name).chain(COMMON).collect();
            let detail = format!("/v1/{} has no argument `{shown}`; it takes {}", table.name, known.join(", "));
            return Err(Problem::malformed(detail));
        }
        let all = self.0.entry(name).or_default();
        all.extend(values.into_iter().filter(|value| !value.is_empty()));
        if all.len() > VALUES_MAX {
            let detail =
                format!("more than {VALUES_MAX} values of one argument; a filter names more things in fewer words");
            return Err(Problem::malformed(detail));
        }
        Ok(())
    }

    /// The same for the same question.
    pub(super) fn key(&self) -> String {
        format!("{:?}", self.0)
    }

    pub(super) fn list(&self, name: &str) -> &[String] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    pub(super) fn one(&self, name: &str) -> Result<Option<&str>, Problem> {
        match self.list(name) {
            [] => Ok(None),
            [one] => Ok(Some(one)),
            [first, second, ..] => {
                Err(Problem::malformed(format!("`{name}` is given as `{first}` and as `{second}`; give one value")))
            }
        }
    }

    pub(super) fn parsed<T>(&self, name: &str) -> Result<Option<T>, Problem>
    where
        T: FromStr<Err: std::fmt::Display>,
    {
        let parse = |text: &str| text.parse().map_err(|e| Problem::malformed(format!("{name}: {e}")));
        self.one(name)?.map(parse).transpose()
    }

    /// A list that is written as one text, whether it came as one or not.
    pub(super) fn sentence(&self, name: &str) -> Option<String> {
        let parts = self.list(name);
        (!parts.is_empty()).then(|| parts.join(", "))
    }

    /// A whole number from 0.
    pub(super) fn whole(&self, name: &str) -> Result<Option<u64>, Problem> {
        let parse = |text: &str| {
            let wrong = || Problem::malformed(format!("{name}: `{text}` is not a whole number from 0"));
            text.parse().map_err(|_| wrong())
        };
        self.one(name)?.map(parse).transpose()
    }

    pub(super) fn truth(&self, name: &str) -> Result<bool, Problem> {
        match self.one(name)? {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(other) => Err(Problem::malformed(format!("{name}: `{other}` is neither true nor false"))),
        }
    }

    pub(super) fn runs(&self) -> Result<Vec<RunId>, Problem> {
        let parse = |text: &String| text.parse().map_err(|e: cairn_schemas::Error| Problem::malformed(e.to_string()));
        self.list("runs").iter().map(parse).collect()
    }

    pub(super) fn as_of(&self) -> Result<Option<AsOf>, Problem> {
        let text = self.one("asOf")?;
        Ok(text.map(str::parse).transpose()?)
    }

    pub(super) fn at_least(&self) -> Result<Option<Position>, Problem> {
        self.parsed("atLeast")
    }
}
