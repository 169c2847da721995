//! From chat messages to the tokens that a fine-tuned model was trained to continue.

use crate::Error;
use cairn_gpu::Tokenizer;
use serde::{Deserialize, Serialize};

/// Most messages of one request.
const MESSAGES_MAX: usize = 256;

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: String,
    pub content: String,
}

impl Message {
    pub fn user(content: impl Into<String>) -> Self {
        Self { role: "user".to_owned(), content: content.into() }
    }

    pub(crate) fn to_json(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("two texts serialise")
    }
}

/// The chat template: bos, then user and assistant turns, each answer ended by eos, then the mark after which the
/// answer begins. A system message stands before the text of the user message that follows it. One user message gives
/// exactly what fine-tuning rendered.
pub fn render(messages: &[Message], tokenizer: &Tokenizer) -> Result<Vec<u32>, Error> {
    let refused = |what: String, why: &str| Err(Error::refused(what, why));
    if messages.is_empty() || messages.len() > MESSAGES_MAX {
        return refused(format!("{} messages", messages.len()), &format!("send 1 to {MESSAGES_MAX}"));
    }
    let mut tokens = vec![Tokenizer::BOS];
    let mut system: Vec<&str> = Vec::new();
    let mut answered = true;
    for (index, message) in messages.iter().enumerate() {
        match message.role.as_str() {
            "system" => system.push(&message.content),
            "user" if !answered => {
                return refused(format!("messages[{index}]"), "is a second user message in a row; join the two");
            }
            "user" => {
                let text = match system.is_empty() {
                    true => message.content.clone(),
                    false => format!("{}\n{}", std::mem::take(&mut system).join("\n"), message.content),
                };
                tokens.push(Tokenizer::USER);
                tokens.extend(tokenizer.encode(&text));
                tokens.push(Tokenizer::ASSISTANT);
                answered = false;
            }
            "assistant" if answered => {
                return refused(format!("messages[{index}]"), "is an assistant message that answers no user message");
            }
            "assistant" => {
                tokens.extend(tokenizer.render_answer(&message.content));
                answered = true;
            }
            other => {
                let what = format!("messages[{index}].role `{other}`");
                return refused(what, "expected system, user or assistant");
            }
        }
    }
    if answered {
        return refused("the last message".to_owned(), "is not the user's; there is nothing to answer");
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokenizer() -> Tokenizer {
        Tokenizer::train(["one two three".to_owned()].into_iter(), 270).unwrap()
    }

    fn message(role: &str, content: &str) -> Message {
        Message { role: role.into(), content: content.into() }
    }

    #[test]
    fn one_user_message_is_what_fine_tuning_rendered() {
        let tokenizer = tokenizer();
        assert_eq!(render(&[Message::user("one")], &tokenizer).unwrap(), tokenizer.render("one"));
        let system = [message("system", "be short"), Message::user("one")];
        assert_eq!(render(&system, &tokenizer).unwrap(), tokenizer.render("be short\none"));
    }

    #[test]
    fn turns_follow_each_other() {
        let tokenizer = tokenizer();
        let turns = [Message::user("one"), message("assistant", "two"), Message::user("three")];
        let expected =
            [tokenizer.render("one"), tokenizer.render_answer("two"), tokenizer.render("three")[1..].to_vec()];
        assert_eq!(render(&turns, &tokenizer).unwrap(), expected.concat());
    }

    #[test]
    fn what_cannot_be_answered_is_refused() {
        let tokenizer = tokenizer();
        for (messages, why) in [
            (vec![], "0 messages"),
            (vec![message("robot", "x")], "role `robot`"),
            (vec![message("assistant", "x")], "answers no user"),
            (vec![Message::user("x"), Message::user("y")], "in a row"),
            (vec![Message::user("x"), message("assistant", "y")], "nothing to answer"),
        ] {
            let error = render(&messages, &tokenizer).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
