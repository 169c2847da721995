//! From an entity to values at paths: `config.optimizer.lr`, `tags.team`, `metrics.loss`.

use super::Cell;
use crate::catalog::rows::{EntityRow, Progress};
use serde_json::{Map, Value};

/// Objects and lists nested deeper than this are kept as JSON text.
const DEPTH_MAX: usize = 32;
/// Items of a list with objects in it that get paths of their own.
const ITEMS_MAX: usize = 64;

/// Attributes that have a column of another meaning, or none.
const LEFT_OUT: [&str; 13] = [
    "annotations",
    "ref",
    "name",
    "state",
    "project",
    "owner",
    "notes",
    "tags",
    "created_at",
    "updated_at",
    "created_position",
    "updated_position",
    "progress",
];
/// Parts of a run's training and job that are told by the run itself, by its progress, or as `config`.
const LEFT_OUT_OF_RUNS: [&str; 10] =
    ["name", "state", "kind", "config", "spec", "metrics", "tokens", "resumes", "divergences", "parent"];

/// Gives each value of an entity with its path.
pub(in crate::catalog) fn flatten(reference: &str, row: &EntityRow, each: &mut dyn FnMut(&str, Cell<'_>)) {
    each("ref", Cell::Text(reference));
    each("name", Cell::Text(&row.name));
    if !row.state.is_empty() {
        each("state", Cell::Text(&row.state));
    }
    each("project", Cell::Text(&row.project));
    for (path, when) in [("created", row.created), ("updated", row.updated)] {
        let (at, position) = match path {
            "created" => ("created_at", "created_position"),
            _ => ("updated_at", "updated_position"),
        };
        each(at, Cell::Number(when.micros as f64));
        each(position, Cell::Number(when.position as f64));
    }
    let attributes = &*row.attributes;
    let mut walk = Walk { path: String::with_capacity(64), each };
    walk.annotations(attributes);
    match row.kind.as_str() {
        "run" => walk.run(attributes),
        "evaluation" => walk.evaluation(attributes),
        _ => walk.attributes(attributes, &LEFT_OUT),
    }
}

/// Gives what a run's steps say.
pub(in crate::catalog) fn flatten_progress(progress: &Progress, each: &mut dyn FnMut(&str, Cell<'_>)) {
    each("step", Cell::Number(progress.step as f64));
    each("tokens", Cell::Number(progress.tokens as f64));
    each("step_position", Cell::Number(progress.when.position as f64));
    let mut path = String::from("metrics.");
    for latest in &progress.metrics {
        path.truncate("metrics.".len());
        path.push_str(&latest.name);
        each(&path, Cell::Number(latest.value));
    }
}

struct Walk<'f> {
    path: String,
    each: &'f mut dyn FnMut(&str, Cell<'_>),
}

impl Walk<'_> {
    fn at(&mut self, path: &str, value: &Value) {
        self.path.clear();
        self.path.push_str(path);
        self.value(value, 0);
    }

    fn attributes(&mut self, attributes: &Map<String, Value>, left_out: &[&str]) {
        for (name, value) in attributes {
            if !left_out.contains(&name.as_str()) {
                self.at(name, value);
            }
        }
    }

    fn annotations(&mut self, attributes: &Map<String, Value>) {
        let annotations = attributes.get("annotations").and_then(Value::as_object);
        // A source names its owner itself.
        let owner = annotations.and_then(|annotations| annotations.get("owner")).or_else(|| attributes.get("owner"));
        if let Some(owner) = owner {
            self.at("owner", owner);
        }
        let Some(annotations) = annotations else { return };
        if let Some(tags) = annotations.get("tags") {
            self.at("tags", tags);
        }
        let notes = annotations.get("notes").and_then(Value::as_array).into_iter().flatten();
        let notes: Vec<&str> = notes.filter_map(|note| note["note"].as_str()).collect();
        if !notes.is_empty() {
            (self.each)("notes", Cell::Text(&notes.join("\n")));
        }
    }

    fn run(&mut self, attributes: &Map<String, Value>) {
        let part = |name: &str| attributes.get(name).and_then(Value::as_object);
        let (job, training) = (part("job"), part("training"));
        let of = |part: Option<&'_ Map<String, Value>>, name: &str| part.and_then(|part| part.get(name)).cloned();
        let own = if training.is_some() { "train" } else { "ingest" };
        (self.each)("trains", Cell::Bool(training.is_some()));
        self.at("kind", &of(job, "kind").unwrap_or_else(|| own.into()));
        if let Some(name) = job.and_then(|job| job.get("name")) {
            self.at("job", name);
        }
        let config = training.and_then(|training| training.get("config"));
        if let Some(config) = config.or_else(|| job.and_then(|job| job.get("spec"))) {
            self.at("config", config);
        }
        // A fork says more than a start.
        let fork = training.and_then(|training| training.get("forked_from")).and_then(|fork| fork.get("from_run"));
        let parent = fork.or_else(|| training.and_then(|training| training.get("parent")));
        if let Some(parent) = parent.and_then(Value::as_str) {
            (self.each)("parent", Cell::Text(&format!("run:{parent}")));
        }
        for (name, value) in job.into_iter().flatten() {
            let is_said = training.is_some_and(|training| training.get(name).is_some_and(|value| !value.is_null()));
            if !is_said && !LEFT_OUT_OF_RUNS.contains(&name.as_str()) {
                self.at(name, value);
            }
        }
        if let Some(training) = training {
            self.attributes(training, &LEFT_OUT_OF_RUNS);
        }
        self.attributes(attributes, &["annotations", "job", "training", "progress"]);
    }

    /// Metrics are found by their names.
    fn evaluation(&mut self, attributes: &Map<String, Value>) {
        for metric in attributes.get("metrics").and_then(Value::as_array).into_iter().flatten() {
            if let Some(name) = metric["name"].as_str() {
                self.at(&format!("metrics.{name}"), &metric["value"]);
            }
        }
        let left_out: Vec<&str> = LEFT_OUT.into_iter().chain(["metrics"]).collect();
        self.attributes(attributes, &left_out);
    }

    fn value(&mut self, value: &Value, depth: usize) {
        match value {
            Value::Null => {}
            Value::Bool(value) => (self.each)(&self.path, Cell::Bool(*value)),
            Value::Number(number) => (self.each)(&self.path, Cell::Number(number.as_f64().unwrap_or(f64::NAN))),
            Value::String(text) => (self.each)(&self.path, cell_of_text(text)),
            Value::Object(members) if depth < DEPTH_MAX => {
                let length = self.path.len();
                for (name, value) in members {
                    self.path.push('.');
                    self.path.push_str(name);
                    self.value(value, depth + 1);
                    self.path.truncate(length);
                }
            }
            Value::Array(items)
                if depth < DEPTH_MAX && items.iter().any(|item| item.is_object() || item.is_array()) =>
            {
                let length = self.path.len();
                for (index, item) in items.iter().enumerate().take(ITEMS_MAX) {
                    self.path.push('.');
                    self.path.push_str(&index.to_string());
                    self.value(item, depth + 1);
                    self.path.truncate(length);
                }
            }
            Value::Array(_) | Value::Object(_) => (self.each)(&self.path, Cell::Text(&value.to_string())),
        }
    }
}

/// Reals that JSON's numbers cannot say are words.
fn cell_of_text(text: &str) -> Cell<'_> {
    match text {
        "NaN" => Cell::Number(f64::NAN),
        "Infinity" => Cell::Number(f64::INFINITY),
        "-Infinity" => Cell::Number(f64::NEG_INFINITY),
        text => Cell::Text(text),
    }
}
