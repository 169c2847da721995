//! Chat templates of models' folders (Jinja), rendered as transformers renders them, within bounds: a template is a program
//! that came with the weights.

mod python;

use crate::Error;
use cairn_gpu::ModelFolder;
use jiff::Zoned;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde};
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior, Value};
use regex::Regex;
use serde_json::Map;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// The template for conversations with tools, where there is one; and the other.
const FOR_TOOLS: &str = "tool_use";
const DEFAULT: &str = "default";
/// Bytes of a template, and of what one renders.
const TEMPLATE_BYTES_MAX: usize = 1 << 20;
const RENDERED_BYTES_MAX: usize = 8 << 20;
/// Instructions of one rendering: a loop over a thousand messages takes a few hundred thousand.
const INSTRUCTIONS_MAX: u64 = 4_000_000;
/// Calls of macros within one another.
const DEPTH_MAX: usize = 64;

/// The tags by which transformers finds what an assistant wrote; they print nothing.
static GENERATION: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\{%(?P<l>[-+]?)\s*(?P<end>end)?generation\s*(?P<r>[-+]?)%\}").expect("a constant pattern")
});

/// The templates of a folder, ready to be rendered.
pub struct ChatTemplate {
    environment: Environment<'static>,
    /// Where it was found, for messages.
    place: String,
}

/// What a template is rendered over.
#[derive(Clone, Debug)]
pub struct Conversation<'a> {
    /// Each an object with `role` and `content`, and whatever else the template reads.
    pub messages: &'a [serde_json::Value],
    /// Definitions of functions that the model may call.
    pub tools: Option<&'a [serde_json::Value]>,
    /// Whether the beginning of an answer follows.
    pub add_generation_prompt: bool,
    /// `bos_token` and the others.
    pub specials: &'a BTreeMap<String, String>,
    /// Further variables, such as `enable_thinking`.
    pub more: &'a Map<String, serde_json::Value>,
    /// What `strftime_now` tells.
    pub now: Zoned,
}

impl ChatTemplate {
    /// Of a model's folder, which may have none.
    pub fn of_folder(folder: &ModelFolder) -> Result<Option<Self>, Error> {
        let texts = folder.texts();
        let Some(default) = &texts.chat_template else { return Ok(None) };
        let templates = [(DEFAULT, Some(default)), (FOR_TOOLS, texts.tool_template.as_ref())];
        let templates = templates.into_iter().filter_map(|(name, source)| Some((name, source?.as_str())));
        Self::new(templates, format!("the chat template of {}", folder.dir().display())).map(Some)
    }

    /// Of one text.
    pub fn of_text(source: &str) -> Result<Self, Error> {
        Self::new([(DEFAULT, source)], "the chat template".to_owned())
    }

    fn new<'t>(templates: impl IntoIterator<Item = (&'t str, &'t str)>, place: String) -> Result<Self, Error> {
        let mut environment = environment();
        for (name, source) in templates {
            if source.len() > TEMPLATE_BYTES_MAX {
                let why = format!("has {} bytes; a template of at most {TEMPLATE_BYTES_MAX} is read", source.len());
                return Err(Error::refused(place, why));
            }
            let source = GENERATION.replace_all(source, |tag: &regex::Captures| {
                let word = if tag.name("end").is_some() { "endif" } else { "if true" };
                format!("{{%{} {word} {}%}}", &tag["l"], &tag["r"])
            });
            let added = environment.add_template_owned(name.to_owned(), source.into_owned());
            added.map_err(|error| Error::refused(place.clone(), malformed(&error)))?;
        }
        Ok(Self { environment, place })
    }

    /// The text of a conversation. A conversation that the template refuses (`raise_exception`) is an error with its words.
    pub fn render(&self, conversation: &Conversation<'_>) -> Result<String, Error> {
        let named = |name: &str| self.environment.get_template(name).ok();
        let for_tools = conversation.tools.and_then(|_| named(FOR_TOOLS));
        let template = for_tools.or_else(|| named(DEFAULT)).expect("there is always a default");
        let mut context: BTreeMap<&str, Value> = BTreeMap::new();
        context.insert("documents", Value::from(()));
        context.extend(conversation.specials.iter().map(|(name, text)| (name.as_str(), Value::from(text.as_str()))));
        context.extend(conversation.more.iter().map(|(name, value)| (name.as_str(), Value::from(Serde(value)))));
        context.insert("messages", Value::from(Serde(conversation.messages)));
        context.insert("tools", Value::from(Serde(conversation.tools)));
        context.insert("add_generation_prompt", Value::from(conversation.add_generation_prompt));
        let now = conversation.now.clone();
        let tell = move |format: String| {
            jiff::fmt::strtime::format(format.as_bytes(), &now)
                .map_err(|error| minijinja::Error::new(ErrorKind::InvalidOperation, error.to_string()))
        };
        context.insert("strftime_now", Value::from_function(tell));
        let mut rendered = Bounded { bytes: Vec::new(), is_full: false };
        let outcome = template.render_captured_to(Value::from(context), &mut rendered);
        if rendered.is_full {
            return Err(Error::refused(
                self.place.clone(),
                format!("renders more than {RENDERED_BYTES_MAX} bytes; shorten the messages, or mend the template"),
            ));
        }
        match outcome {
            Ok(_) => Ok(String::from_utf8(rendered.bytes).expect("a template writes text")),
            Err(error) => Err(self.refusal(&error)),
        }
    }

    fn refusal(&self, error: &minijinja::Error) -> Error {
        if let Some(raised) = raised(error) {
            return Error::refused("the chat template refuses these messages", raised.0.clone());
        }
        let why = match error.kind() {
            ErrorKind::OutOfFuel => format!(
                "takes more than {INSTRUCTIONS_MAX} instructions for these messages: it loops for ever, or nearly so; mend it"
            ),
            _ => format!("cannot be rendered over these messages: {}", malformed(error)),
        };
        Error::refused(self.place.clone(), why)
    }
}

impl std::fmt::Debug for ChatTemplate {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("ChatTemplate").field("place", &self.place).finish_non_exhaustive()
    }
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    environment.set_syntax(syntax.expect("the default delimiters are a syntax"));
    environment.set_undefined_behavior(UndefinedBehavior::Lenient);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_fuel(Some(INSTRUCTIONS_MAX));
    environment.set_recursion_limit(DEPTH_MAX);
    environment.set_debug(false);
    environment.set_unknown_method_callback(|state, value, method, arguments| match (method, value.as_str()) {
        ("title", Some(text)) if arguments.is_empty() => Ok(Value::from(python::title(text))),
        _ => minijinja_contrib::pycompat::unknown_method_callback(state, value, method, arguments),
    });
    environment.set_formatter(|out, _, value| out.write_str(&python::text(value)).map_err(minijinja::Error::from));
    environment.add_filter("string", |value: &Value| python::text(value));
    environment.add_filter("tojson", |value: &Value, options: Kwargs| {
        let json = python::Json::of(&options)?;
        options.assert_all_used()?;
        json.write(value)
    });
    environment.add_function("raise_exception", |message: String| -> Result<Value, minijinja::Error> {
        let error = minijinja::Error::new(ErrorKind::InvalidOperation, message.clone());
        Err(error.with_source(Raised(message)))
    });
    environment
}

/// What a template says of messages that it does not take.
#[derive(Debug)]
struct Raised(String);

impl std::fmt::Display for Raised {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}
impl std::error::Error for Raised {}

fn raised(error: &minijinja::Error) -> Option<&Raised> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(raised) = error.downcast_ref() {
            return Some(raised);
        }
        cause = error.source();
    }
    None
}

fn malformed(error: &minijinja::Error) -> String {
    let place = error.line().map(|line| format!(" in line {line}")).unwrap_or_default();
    let detail = error.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
    format!("{}{place}{detail}", error.kind())
}

/// What was rendered so far; more than is allowed is an error of writing.
struct Bounded {
    bytes: Vec<u8>,
    is_full: bool,
}

impl std::io::Write for &mut Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.bytes.len() + bytes.len() > RENDERED_BYTES_MAX {
            self.is_full = true;
            return Err(std::io::Error::other("too much is rendered"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn render(source: &str, messages: serde_json::Value) -> Result<String, Error> {
        let (specials, more) = (BTreeMap::new(), Map::new());
        ChatTemplate::of_text(source)?.render(&Conversation {
            messages: messages.as_array().unwrap(),
            tools: None,
            add_generation_prompt: true,
            specials: &specials,
            more: &more,
            now: jiff::Timestamp::UNIX_EPOCH.to_zoned(jiff::tz::TimeZone::UTC),
        })
    }

    #[test]
    fn what_never_ends_is_ended() {
        let loops = "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}";
        let calls = "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}";
        let nested = "{% for a in messages recursive %}{{ loop(messages) }}{% endfor %}";
        let grows = "{% for a in range(100000) %}{{ messages[0].content }}{% endfor %}";
        for (source, said) in [
            (loops, "loops for ever"),
            (calls, "recursion limit"),
            (nested, "recursion limit"),
            (grows, "renders more than 8388608 bytes"),
        ] {
            let outcome = render(source, json!([{"role": "user", "content": "x".repeat(1000)}]));
            let error = outcome.expect_err(source).to_string();
            assert!(error.contains(said), "{source}: {error}");
        }
    }

    #[test]
    fn what_cannot_be_rendered_says_why() {
        for (source, said) in [
            ("{% for %}", "syntax error in line 1"),
            ("{{ raise_exception('roles must alternate') }}", "refuses these messages: roles must alternate"),
            ("\n{{ messages[0].content.no_such() }}", "line 2"),
            ("{{ nobody.there }}", "undefined value"),
            ("{{ messages | nothing }}", "unknown filter"),
            ("{% include 'other' %}", "template not found"),
        ] {
            let error = render(source, json!([{"role": "user", "content": "x"}])).unwrap_err().to_string();
            assert!(error.contains(said), "{source}: {error}");
        }
    }

    #[test]
    fn tools_may_have_a_template_of_their_own() {
        let both = ChatTemplate::new([(DEFAULT, "a"), (FOR_TOOLS, "b")], "x".to_owned()).unwrap();
        let (specials, more) = (BTreeMap::new(), Map::new());
        let tools = [json!({"type": "function"})];
        let show = |template: &ChatTemplate, tools| {
            let now = jiff::Timestamp::UNIX_EPOCH.to_zoned(jiff::tz::TimeZone::UTC);
            let conversation = Conversation {
                messages: &[],
                tools,
                add_generation_prompt: true,
                specials: &specials,
                more: &more,
                now,
            };
            template.render(&conversation).unwrap()
        };
        assert_eq!((show(&both, None), show(&both, Some(&tools[..]))), ("a".to_owned(), "b".to_owned()));
        assert_eq!(show(&ChatTemplate::of_text("a\n").unwrap(), Some(&tools[..])), "a");
    }
}
