//! Progress of a pipeline: a bar on a terminal, a line a job elsewhere, nothing for programs.

use cairn_processors::{JobInfo, JobOutcome, Observer};
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::time::Instant;

/// A bar on standard error, hidden where that is no terminal.
pub(crate) fn bar(hidden: bool) -> ProgressBar {
    if hidden || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style =
        ProgressStyle::with_template("{spinner} {prefix} [{bar:32}] {pos}/{len} {msg}").expect("the template is valid");
    ProgressBar::new(0).with_style(style)
}

/// Told by the runner how the jobs go.
pub(crate) struct Progress {
    bar: ProgressBar,
    json: bool,
    began: std::sync::Mutex<Instant>,
}

impl Progress {
    pub(crate) fn new(json: bool) -> Self {
        Self { bar: bar(json), json, began: std::sync::Mutex::new(Instant::now()) }
    }
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
    fn say(&self, line: &str) {
        if !self.json {
            self.bar.suspend(|| say!("{line}"));
        }
    }
}

impl Observer for Progress {
    fn job_started(&self, job: &JobInfo) {
        *self.began.lock().expect("no holder panics") = Instant::now();
        self.bar.reset();
        self.bar.set_prefix(format!("{} {}", job.kind, job.name));
        self.bar.set_message("");
    }

    fn progress(&self, _: &JobInfo, done: u64, total: u64, message: &str) {
        self.bar.set_length(total);
        self.bar.set_position(done);
        self.bar.set_message(message.to_owned());
    }

    fn job_finished(&self, job: &JobInfo, outcome: &JobOutcome) {
        let seconds = self.began.lock().expect("no holder panics").elapsed().as_secs_f64();
        let head = format!("{:<9} {:<14}", job.kind.to_string(), job.name);
        self.say(&match outcome {
            JobOutcome::Done { summary } => format!("{head} done     {seconds:6.1} s  {}", words(summary)),
            JobOutcome::Skipped { summary, .. } => format!("{head} recorded           {}", words(summary)),
            JobOutcome::Blocked { reason, .. } => format!("{head} BLOCKED  {seconds:6.1} s  {reason}"),
            JobOutcome::Cancelled => format!("{head} stopped  {seconds:6.1} s"),
            JobOutcome::Failed { error } => format!("{head} FAILED   {seconds:6.1} s  {}", error.chain()),
        });
    }
}

/// A job's summary in one line: its scalar figures, in its own order.
fn words(summary: &serde_json::Value) -> String {
    let Some(fields) = summary.as_object() else { return String::new() };
    let word = |(name, value): (&String, &serde_json::Value)| match value {
        serde_json::Value::String(text) if text.len() == 64 => Some(format!("{name} {}…", &text[..12])),
        serde_json::Value::String(text) => Some(format!("{name} {text}")),
        serde_json::Value::Number(number) => Some(format!("{name} {}", figure(number))),
        serde_json::Value::Bool(flag) => Some(format!("{name} {flag}")),
        _ => None,
    };
    fields.iter().filter_map(word).collect::<Vec<_>>().join(", ")
}

fn figure(number: &serde_json::Number) -> String {
    match number.as_f64() {
        Some(value) if !number.is_u64() && !number.is_i64() => format!("{value:.4}"),
        _ => number.to_string(),
    }
}
