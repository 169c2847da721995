//! Templates over a record's fields (minijinja): how records become texts, and documents become rows.
//!
//! A field that is not there is an error that names those that are; nothing is escaped. Besides minijinja's own there
//! are two filters: `before('x')` gives what stands before the first `x`, or everything where there is none, and
//! `after('x')` what follows it, or nothing.

mod words;

use crate::Error;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior, Value, context};
use serde_json::Map;
use std::collections::BTreeMap;

/// The record as a whole, where it has no field of that name: `record["a b"]` is a field that is no name.
const RECORD: &str = "record";
/// Longest part of a template that is quoted in a message.
const QUOTED_CHARS_MAX: usize = 60;
/// Most field names that a message lists.
const FIELDS_NAMED_MAX: usize = 30;

/// Templates ready to be rendered, by name.
pub(crate) struct Templates {
    environment: Environment<'static>,
    /// The text of each, for messages.
    sources: BTreeMap<String, String>,
}

impl Templates {
    pub(crate) fn new<'n, 't>(templates: impl IntoIterator<Item = (&'n str, &'t str)>) -> Result<Self, Error> {
        let mut environment = environment();
        let mut sources = BTreeMap::new();
        for (name, source) in templates {
            let added = environment.add_template_owned(name.to_owned(), source.to_owned());
            added.map_err(|e| malformed(source, &e))?;
            sources.insert(name.to_owned(), source.to_owned());
        }
        Ok(Self { environment, sources })
    }

    /// Renders one template over `fields`; `text` is the document's own, where it has one and no field of that name.
    pub(crate) fn render(
        &self,
        name: &str,
        fields: &Map<String, serde_json::Value>,
        text: Option<&str>,
    ) -> Result<String, Error> {
        let template = self.environment.get_template(name).expect("only names that were added are asked for");
        let values = Value::from(Serde(fields));
        let values = match fields.contains_key(RECORD) {
            true => values,
            false => context! { record => Value::from(Serde(fields)), ..values },
        };
        let values = match text {
            Some(text) if !fields.contains_key("text") => context! { text => text, ..values },
            _ => values,
        };
        template.render(values).map_err(|e| {
            let source = &self.sources[name];
            if e.kind() != ErrorKind::UndefinedError {
                return malformed(source, &e);
            }
            let there =
                |field: &String| fields.contains_key(field) || field == RECORD || (field == "text" && text.is_some());
            let mut missing: Vec<String> =
                template.undeclared_variables(false).into_iter().filter(|f| !there(f)).collect();
            missing.sort();
            undefined(source, &missing, fields, text.is_some())
        })
    }
}

/// Whether a template can be read at all.
pub(crate) fn check(source: &str) -> Result<(), Error> {
    let templates = Templates::new([("template", source)])?;
    words::unknown(source, &templates.environment).map_or(Ok(()), |error| Err(malformed(source, &error)))
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    // What is printed must be there; `{% if field %}` may ask.
    environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    let syntax = SyntaxConfig::builder().keep_trailing_newline(true).build();
    environment.set_syntax(syntax.expect("the default delimiters are a syntax"));
    environment.add_filter("before", |text: String, mark: String| match text.split_once(&mark) {
        Some((before, _)) => before.to_owned(),
        None => text,
    });
    environment.add_filter("after", |text: String, mark: String| match text.split_once(&mark) {
        Some((_, after)) => after.to_owned(),
        None => String::new(),
    });
    environment
}

fn short(source: &str) -> String {
    let mut short: String = source.chars().take(QUOTED_CHARS_MAX).collect();
    if short.len() < source.len() {
        short.push('…');
    }
    short.replace('\n', "\\n")
}

fn malformed(source: &str, error: &minijinja::Error) -> Error {
    let place = error.line().filter(|_| source.contains('\n')).map(|line| format!(" in its line {line}"));
    let why = format!("{}{}", error.detail().unwrap_or("it is malformed"), place.unwrap_or_default());
    let right = match error.kind() {
        ErrorKind::UnknownFilter => "; there are before, after and minijinja's own, such as trim, replace and lower",
        ErrorKind::UnknownTest => "; there are minijinja's own, such as defined and none",
        _ => "",
    };
    Error::Template { template: short(source), why: format!("{}: {why}{right}", error.kind()) }
}

fn undefined(source: &str, missing: &[String], fields: &Map<String, serde_json::Value>, has_text: bool) -> Error {
    let mut there: Vec<&str> = fields.keys().map(String::as_str).take(FIELDS_NAMED_MAX).collect();
    if has_text && !fields.contains_key("text") {
        there.push("text");
    }
    let there =
        if there.is_empty() { "it has none".to_owned() } else { format!("its fields are {}", there.join(", ")) };
    let what = match missing {
        [] => "it uses a member that the record does not have".to_owned(),
        names => {
            format!("the record has no field {}", names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", "))
        }
    };
    Error::Template { template: short(source), why: format!("{what}; {there}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn render(source: &str, record: serde_json::Value, text: Option<&str>) -> Result<String, Error> {
        let templates = Templates::new([("t", source)])?;
        templates.render("t", record.as_object().unwrap(), text)
    }

    #[test]
    fn fields_text_and_filters() {
        let record = json!({"question": "2 < 3?", "answer": "yes\n#### 1", "n": 7, "tags": ["a", "b"]});
        let source = "{{ question }}\n{{ answer | before('####') }}";
        assert_eq!(render(source, record.clone(), None).unwrap(), "2 < 3?\nyes\n");
        assert_eq!(render("{{ answer | after('####') | trim }}", record.clone(), None).unwrap(), "1");
        assert_eq!(
            render("{{ answer | after('x') }}{{ question | before('x') }}", record.clone(), None).unwrap(),
            "2 < 3?"
        );
        assert_eq!(render("{{ n }}: {{ tags | join(',') }}\n", record.clone(), None).unwrap(), "7: a,b\n");
        assert_eq!(render("{{ text }}", json!({}), Some("doc")).unwrap(), "doc");
        assert_eq!(render("{{ text }}", json!({"text": "own"}), Some("doc")).unwrap(), "own");
        let odd = json!({"a b": "spaced", "answers": [{"text": "first"}]});
        assert_eq!(render("{{ record[\"a b\"] }} {{ answers[0].text }}", odd, None).unwrap(), "spaced first");
        assert_eq!(render("{{ record }}", json!({"record": "own"}), None).unwrap(), "own");
        // What stands in a field is text and never a template.
        assert_eq!(render("{{ a }}", json!({"a": "{{ b }}"}), None).unwrap(), "{{ b }}");
        assert_eq!(render("{% if input %}{{ input }}{% else %}-{% endif %}", record, None).unwrap(), "-");
    }

    #[test]
    fn a_missing_field_is_named_with_those_there_are() {
        let error = render("{{ question }} {{ respnse }}", json!({"question": "q", "response": "r"}), Some("t"));
        let error = error.unwrap_err().to_string();
        assert!(error.contains("no field `respnse`"), "{error}");
        assert!(error.contains("its fields are question, response, text"), "{error}");
        let error = render("{{ record['a c'] }}", json!({"a b": 1}), None).unwrap_err().to_string();
        assert!(error.contains("does not have; its fields are a b"), "{error}");
    }

    #[test]
    fn unknown_filters_and_tests_are_found_without_a_record() {
        for (source, word) in [
            ("{{ a | truncate(9) }}", "truncate"),
            ("{% if b %}{{ a|trim | bogus }}{% endif %}", "bogus"),
            ("{% for x in tags %}{% if x is strange %}{{ x }}{% endif %}{% endfor %}", "strange"),
            ("{% filter shout %}{{ a }}{% endfilter %}", "shout"),
            ("{% raw %}{{ a | x }}{% endraw %}{{ a | y }}", "y"),
        ] {
            let error = check(source).unwrap_err().to_string();
            assert!(error.contains("unknown ") && error.contains(&format!(" {word} ")), "{source}: {error}");
        }
        for source in [
            "{{ a | trim | before('| x') }}{# | x #}{% raw %}{{ a | x }}{% endraw %} | x",
            "{{ \"}} \\\" | x\" ~ a.is | after('#') }}{% if a is not none and b is defined %}{% endif %}",
            "{% filter upper %}{{ a }}{% endfilter %}{{ {'a': a | lower}.a }}",
        ] {
            check(source).unwrap_or_else(|error| panic!("{source}: {error}"));
        }
    }

    #[test]
    fn a_malformed_template_says_so() {
        for source in ["{{ question", "{{ a | nofilter }}", "{% if %}"] {
            let error = render(source, json!({"a": 1}), None).unwrap_err().to_string();
            assert!(error.starts_with(&format!("template `{source}`: ")), "{error}");
        }
    }
}
