//! Values of a `config.json` by key, refused by name where they are not what they should be.

use serde_json::{Map, Value};

use crate::Error;

/// An object of a configuration; `null` counts as absent, as in Python.
#[derive(Clone, Copy)]
pub(super) struct Keys<'a> {
    /// Keys above this object, each with a dot.
    path: &'a str,
    keys: &'a Map<String, Value>,
}

impl<'a> Keys<'a> {
    pub(super) fn of(value: &'a Value) -> Result<Self, Error> {
        let keys = value.as_object().ok_or_else(|| Error::Format {
            what: "config.json".to_owned(),
            reason: "it is not a JSON object".to_owned(),
        })?;
        Ok(Self { path: "", keys })
    }

    pub(super) fn get(&self, key: &str) -> Option<&'a Value> {
        self.keys.get(key).filter(|value| !value.is_null())
    }

    /// Whether the key stands there, be it as `null`.
    pub(super) fn mentions(&self, key: &str) -> bool {
        self.keys.contains_key(key)
    }

    pub(super) fn object(&self, key: &str, path: &'a str) -> Result<Option<Keys<'a>>, Error> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Object(keys)) => Ok(Some(Self { path, keys })),
            Some(other) => Err(self.invalid(key, other, "an object")),
        }
    }

    pub(super) fn whole(&self, key: &str) -> Result<usize, Error> {
        self.whole_maybe(key)?.ok_or_else(|| self.invalid(key, "missing", "a whole number"))
    }

    pub(super) fn whole_maybe(&self, key: &str) -> Result<Option<usize>, Error> {
        let Some(value) = self.get(key) else { return Ok(None) };
        // Some tools write whole numbers as 8192.0.
        let whole =
            value.as_u64().or_else(|| value.as_f64().filter(|x| x.fract() == 0.0 && *x >= 0.0).map(|x| x as u64));
        match whole.and_then(|number| usize::try_from(number).ok()) {
            Some(number) => Ok(Some(number)),
            None => Err(self.invalid(key, value, "a whole number")),
        }
    }

    pub(super) fn real(&self, key: &str) -> Result<f64, Error> {
        self.real_maybe(key)?.ok_or_else(|| self.invalid(key, "missing", "a number"))
    }

    pub(super) fn real_maybe(&self, key: &str) -> Result<Option<f64>, Error> {
        let Some(value) = self.get(key) else { return Ok(None) };
        value.as_f64().map(Some).ok_or_else(|| self.invalid(key, value, "a number"))
    }

    pub(super) fn flag(&self, key: &str, default: bool) -> Result<bool, Error> {
        let Some(value) = self.get(key) else { return Ok(default) };
        value.as_bool().ok_or_else(|| self.invalid(key, value, "true or false"))
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<&'a str>, Error> {
        let Some(value) = self.get(key) else { return Ok(None) };
        value.as_str().map(Some).ok_or_else(|| self.invalid(key, value, "a text"))
    }

    /// Refuses every value but one; absent is that one.
    pub(super) fn only(&self, key: &str, supported: Value) -> Result<(), Error> {
        match self.get(key) {
            Some(found) if *found != supported => Err(self.invalid(key, found, format!("{supported}, or absent"))),
            _ => Ok(()),
        }
    }

    pub(super) fn invalid(&self, key: &str, found: impl ToString, expected: impl Into<String>) -> Error {
        Error::invalid(&format!("{}{key}", self.path), found, expected)
    }
}
