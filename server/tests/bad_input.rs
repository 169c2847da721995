//! Questions that are wrong, each answered by what was wrong and what would be right. What holds for every question is
//! asked of every question that the schema has.

mod common;

use common::{CHILD, DATASET, MODEL, RUN, TestServer, history};
use serde_json::{Value, json};

/// Questions about the log, this process, or positions themselves: they have no past of their own.
const WITHOUT_PAST: &[&str] = &["coverage", "log", "projections", "event", "events", "pipelineRun", "pipelineRuns"];
/// Of these only the state of now is kept: what an answer says is of now, and their descriptions say so.
const OF_NOW: &[&str] = &["paths"];
/// What they ask for is not in the short history: they are asked only what is wrong.
const UNANSWERED: &[&str] = &["compareEvaluations"];

fn filled() -> (TestServer, u64) {
    let server = TestServer::start();
    let last = server.record(&history());
    server.query(&format!("{{ coverage(atLeast: {last}) {{ position }} }}"));
    (server, last)
}

/// A field of the root, as introspection shows it.
struct Question {
    name: String,
    arguments: Vec<Value>,
    /// What is selected of it; nothing of a scalar.
    selection: &'static str,
}

fn questions(server: &TestServer) -> Vec<Question> {
    let ask = "{ __schema { queryType { fields { name args { name defaultValue type { kind name ofType { kind name ofType { kind name } } } }
        type { kind name ofType { kind name ofType { kind name ofType { kind name } } } } } } } }";
    let fields = server.query(ask)["__schema"]["queryType"]["fields"].as_array().unwrap().clone();
    let question = |field: &Value| {
        let mut of = &field["type"];
        while !of["ofType"].is_null() {
            of = &of["ofType"];
        }
        let selection = if of["kind"] == "OBJECT" { "{ __typename }" } else { "" };
        let arguments = field["args"].as_array().unwrap().clone();
        Question { name: field["name"].as_str().unwrap().to_owned(), arguments, selection }
    };
    fields.iter().map(question).collect()
}

impl Question {
    fn has(&self, name: &str) -> bool {
        self.arguments.iter().any(|argument| argument["name"] == name)
    }
    /// The question with what it cannot do without, and with these arguments.
    fn with(&self, more: &[(&str, String)]) -> String {
        let mut given: Vec<String> = more.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        for argument in &self.arguments {
            let name = argument["name"].as_str().unwrap();
            let required = argument["type"]["kind"] == "NON_NULL" && argument["defaultValue"].is_null();
            if required && !more.iter().any(|(given, _)| *given == name) {
                given.push(format!("{name}: {}", self.value(name, argument["type"]["ofType"]["kind"] == "LIST")));
            }
        }
        // Some ask for one of several arguments.
        let names_runs = given.iter().any(|given| given.starts_with("runs:"));
        if !names_runs && (self.name == "curves" || self.name == "aggregateCurves") {
            given.push(format!("runs: [\"{RUN}\"]"));
        }
        if self.name == "impact" {
            given.push(format!("of: [\"{DATASET}\"]"));
        }
        let given = if given.is_empty() { String::new() } else { format!("({})", given.join(", ")) };
        format!("{{ {}{given} {} }}", self.name, self.selection)
    }
    fn value(&self, argument: &str, is_list: bool) -> String {
        let one = match (self.name.as_str(), argument) {
            ("dataset", "ref") => DATASET.to_owned(),
            ("document", "ref") => format!("doc:{}", common::digest("d0")),
            ("evaluation", "ref") => "eval:exam/1".into(),
            ("deployment", _) => "math".into(),
            (_, "id" | "run" | "runs" | "before") => RUN.into(),
            ("diffRuns", "after") => CHILD.into(),
            (_, "metric" | "metrics") if self.name.to_lowercase().contains("curves") => "loss".into(),
            (_, "metric" | "metrics") => "format_validity".into(),
            (_, "task" | "tasks") => "answers".into(),
            (_, "ref" | "of" | "subject" | "subjects") => MODEL.into(),
            (_, "from") => DATASET.into(),
            (_, "to") => MODEL.into(),
            (_, "model" | "family") => "model://team/chat".into(),
            (_, "alias") => "production".into(),
            (_, "kind") => "run".into(),
            (question, argument) => panic!("what is a right {argument} of {question}?"),
        };
        let one = json!(one).to_string();
        if is_list { format!("[{one}]") } else { one }
    }
}

#[test]
fn every_question_can_be_asked_of_the_past_and_after_a_write() {
    let (server, last) = filled();
    for question in questions(&server) {
        if WITHOUT_PAST.contains(&question.name.as_str()) {
            continue;
        }
        let answered = |asked: &str| {
            let answer = server.graphql(asked, json!({}));
            assert!(
                answer.get("errors").is_none() || UNANSWERED.contains(&question.name.as_str()),
                "{asked}: {answer}"
            );
        };
        answered(&question.with(&[]));
        assert!(question.has("atLeast"), "{} has no atLeast", question.name);
        let at_least = |at: u64| question.with(&[("atLeast", at.to_string())]);
        answered(&at_least(last));
        let (code, message) = server.refusal(&at_least(last + 100));
        assert_eq!(code, "malformed-request", "{}", question.name);
        assert!(
            message.contains(&format!("position {} does not exist yet; the last one is {last}", last + 100)),
            "{message}"
        );
        if OF_NOW.contains(&question.name.as_str()) {
            continue;
        }
        assert!(question.has("asOf"), "{} has no asOf", question.name);
        let as_of = |text: &str| question.with(&[("asOf", text.to_owned())]);
        answered(&as_of(&last.to_string()));
        for (text, said) in [
            (format!("{}", last + 100), "does not exist yet; the last position is"),
            ("\"2222-01-01\"".into(), "in the future; it is 20"),
            ("\"2001-01-01T00:00:00Z\"".into(), "before the first event, which was recorded at 20"),
            (
                "\"yesterday\"".into(),
                "neither a position such as 1041 nor a recorded time such as 2026-01-31T12:00:00Z",
            ),
        ] {
            let (_, message) = server.refusal(&as_of(&text));
            assert!(message.contains(said), "{}: {message}", as_of(&text));
        }
    }
}

#[test]
fn a_cursor_of_another_question_is_refused_by_every_list() {
    let (server, _) = filled();
    let page = server.query("{ events(first: 2) { pageInfo { endCursor } } }");
    let foreign = page["events"]["pageInfo"]["endCursor"].to_string();
    for question in questions(&server) {
        if !question.has("first") || !question.has("after") || question.name == "events" {
            continue;
        }
        let asked = question.with(&[("after", foreign.clone())]);
        let (code, message) = server.refusal(&asked);
        assert_eq!(code, "malformed-request", "{asked}: {message}");
        assert!(message.contains("cursor"), "{asked}: {message}");
        for wrong in ["\"\"", "\"!\"", "\"bm90aGluZw\""] {
            let (_, message) = server.refusal(&question.with(&[("after", wrong.to_owned())]));
            assert!(message.contains("cursor"), "{}: {message}", question.name);
        }
        for (first, said) in [("0", "from 1 to"), ("-1", "from 1 to"), ("100000", "from 1 to")] {
            let (_, message) = server.refusal(&question.with(&[("first", first.to_owned())]));
            assert!(message.contains(said), "{} first {first}: {message}", question.name);
        }
    }
    let runs =
        server.query("{ runs(first: 1) { pageInfo { endCursor } } }")["runs"]["pageInfo"]["endCursor"].to_string();
    let (_, message) = server.refusal(&format!("{{ events(after: {runs}) {{ nodes {{ id }} }} }}"));
    assert!(message.contains("cursor"), "{message}");
    // The same list by another filter or in another order is another question.
    for other in ["filter: \"state = 'completed'\"", "orderBy: \"name\"", "newestFirst: false"] {
        let (_, message) =
            server.refusal(&format!("{{ runs(first: 1, after: {runs}, {other}) {{ nodes {{ id }} }} }}"));
        assert!(message.contains("cursor"), "{other}: {message}");
    }
}

#[test]
fn each_wrong_question_is_told_what_would_be_right() {
    let (server, _) = filled();
    let run = RUN;
    for (query, said) in [
        // metrics, refs, fields and names that are not there
        (format!(r#"{{ curves(runs: ["{run}"], metrics: ["los"]) {{ metric }} }}"#), "`loss`"),
        (r#"{ lineage(of: "thing:1") { truncated } }"#.into(), "a ref is"),
        (r#"{ model(ref: "deployment:math") { ref } }"#.into(), "names a deployment, not a model"),
        (r#"{ run(id: "seven") { id } }"#.into(), "a run id is a UUID"),
        ("{ runs { nodes { nme } } }".into(), r#"Unknown field "nme" on type "Run"."#),
        ("{ runs(frist: 1) { nodes { name } } }".into(), "frist"),
        (r#"{ runs(filter: "config.learning_rat < 1") { nodes { id } } }"#.into(), "config.learning_rate"),
        (r#"{ runs(orderBy: "metrics.los") { nodes { id } } }"#.into(), "metrics.loss"),
        // filters that do not parse
        (r#"{ runs(filter: "state = ") { nodes { id } } }"#.into(), "column 9"),
        (r#"{ runs(filter: "state = 'a' AND (name = 'b'") { nodes { id } } }"#.into(), "column"),
        (r#"{ runs(filter: "name ~ '('") { nodes { id } } }"#.into(), "column"),
        // ranges and numbers
        (format!(r#"{{ curves(runs: ["{run}"], metrics: ["loss"], from: 9, to: 1) {{ metric }} }}"#), "from"),
        (format!(r#"{{ curves(runs: ["{run}"], metrics: ["loss"], points: 1) {{ metric }} }}"#), "from 4 to"),
        (r#"{ lineage(of: "deployment:math", depth: -1) { truncated } }"#.into(), "from 0 to 100"),
        ("{ events(first: 1, last: 1) { nodes { id } } }".into(), "give one of them"),
        // too deep, too costly
        (format!("{{ runs {{ nodes {{ {} id {} }} }} }}", "parent { ".repeat(20), "} ".repeat(20)), "more than 20"),
        (
            "{ runs(first: 500) { nodes { dataset { documents(first: 500) { nodes { ref } } } } } }".into(),
            "more than 50000",
        ),
    ] {
        let (_, message) = server.refusal(&query);
        assert!(message.contains(said), "{query}: {message}");
    }
}
