//! Which results a question is about.

use super::Standing;
use super::columns::{Columns, Failure, NONE, Place, Series};
use crate::Error;
use cairn_schemas::{Position, Timestamp};
use std::collections::BTreeSet;

/// Names that an error lists at most.
const NAMED_MAX: usize = 20;

/// When: what the ledger knew at a position, and of that what had happened by a time. An answer as of a position never
/// changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct At {
    /// Only what was recorded up to here; all of it where absent.
    pub as_of: Option<Position>,
    /// Only what had occurred by then, as its producer says: history that was imported late is asked in its own time.
    /// A later measurement then stands before a later record.
    pub valid_at: Option<Timestamp>,
}

impl At {
    pub fn as_of(position: Position) -> Self {
        Self { as_of: Some(position), valid_at: None }
    }
    /// Whether an event is part of the answer.
    pub(super) fn holds(&self, position: u64, occurred_micros: i64) -> bool {
        self.as_of.is_none_or(|as_of| position <= as_of.get())
            && self.valid_at.is_none_or(|time| occurred_micros <= time.as_micros())
    }
}

/// Which results. In texts `*` stands for any characters; what is absent takes all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Filter {
    pub suite: Option<String>,
    pub task: Option<String>,
    pub metric: Option<String>,
    pub slice: Option<String>,
    /// `ds://team/web@*` is every version.
    pub dataset: Option<String>,
    /// The first digits of a protocol's digest, in hex.
    pub protocol: Option<String>,
    /// `model://team/chat@*` is every version.
    pub subject: Option<String>,
    /// Steps of checkpoints, both included; results without a step are left out where either is given.
    pub from_step: Option<u64>,
    pub to_step: Option<u64>,
}

impl Filter {
    /// Refuses what can match nothing by its form.
    pub(super) fn check(&self) -> Result<(), Error> {
        if let (Some(from), Some(to)) = (self.from_step, self.to_step)
            && from > to
        {
            let why = format!("it goes from {from} down to {to}; give the lower step first");
            return Err(Error::question("the range of steps", why));
        }
        if let Some(protocol) = &self.protocol
            && (protocol.is_empty() || protocol.len() > 64 || !protocol.bytes().all(|b| b.is_ascii_hexdigit()))
        {
            let why = "it is not the beginning of a digest; give 1 to 64 hex digits of a result's protocol digest";
            return Err(Error::question(format!("protocol `{protocol}`"), why));
        }
        Ok(())
    }

    /// Refuses the name of a suite, task, metric or slice that nothing was ever recorded under, where anything was.
    pub(super) fn check_names(&self, columns: &Columns) -> Result<(), Error> {
        type Of<T> = fn(&T) -> Option<u32>;
        type Side<'a> = (&'a str, &'a Option<String>, Of<Series>, Of<Failure>);
        let sides: [Side<'_>; 4] = [
            ("suite", &self.suite, |series| Some(series.key.suite), |failure| Some(failure.suite)),
            ("task", &self.task, |series| Some(series.key.task), |failure| Some(failure.task)),
            ("metric", &self.metric, |series| Some(series.key.metric), |_| None),
            ("slice", &self.slice, |series| Some(series.key.slice), |_| None),
        ];
        for (what, given, of_series, of_failure) in sides {
            let Some(given) = given else { continue };
            let numbers = columns.series.iter().filter_map(of_series);
            let numbers = numbers.chain(columns.failures.iter().filter_map(of_failure));
            let known: BTreeSet<&str> = numbers.map(|number| columns.texts.text(number)).collect();
            if !known.is_empty() && !known.iter().any(|name| matches(given, name)) {
                let why = format!("no result is of it; there are {}", listed(&known));
                return Err(Error::Unknown { what: format!("{what} `{given}`"), why });
            }
        }
        Ok(())
    }

    fn takes_step(&self, step: Option<u64>) -> bool {
        if self.from_step.is_none() && self.to_step.is_none() {
            return true;
        }
        step.is_some_and(|step| {
            self.from_step.is_none_or(|from| step >= from) && self.to_step.is_none_or(|to| step <= to)
        })
    }

    fn takes_protocol(&self, digest: &[u8; 32]) -> bool {
        let begins = |prefix: &String| hex::encode(digest).starts_with(&prefix.to_ascii_lowercase());
        self.protocol.as_ref().is_none_or(begins)
    }

    /// The same question put to one result.
    pub fn takes(&self, standing: &Standing) -> bool {
        let dataset = || standing.dataset.as_ref().map(ToString::to_string);
        fits(&self.suite, &standing.suite)
            && fits(&self.task, &standing.task)
            && fits(&self.metric, &standing.metric)
            && fits(&self.slice, &standing.slice)
            && self.takes_step(standing.step)
            && self.takes_protocol(standing.protocol_digest.as_bytes())
            && (self.dataset.is_none() || dataset().is_some_and(|dataset| fits(&self.dataset, &dataset)))
            && (self.subject.is_none() || fits(&self.subject, &standing.subject.to_string()))
    }
}

/// The first names of some, and how many more there are.
pub(super) fn listed(names: &BTreeSet<&str>) -> String {
    let mut listed: Vec<&str> = names.iter().copied().take(NAMED_MAX).collect();
    let more = format!("{} more", names.len() - listed.len());
    if names.len() > listed.len() {
        listed.push(&more);
    }
    listed.join(", ")
}

fn fits(pattern: &Option<String>, text: &str) -> bool {
    pattern.as_ref().is_none_or(|pattern| matches(pattern, text))
}

/// Whether `text` is what `pattern` says, in which `*` stands for any characters.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        // The earliest place leaves most room for what follows.
        let Some(at) = text.find(part) else { return false };
        text = &text[at + part.len()..];
    }
    text.len() >= last.len() && text.ends_with(last)
}

/// A filter over the columns: each subject and dataset is looked at once.
pub(super) struct Sieve<'a> {
    columns: &'a Columns,
    filter: &'a Filter,
    subjects: Memo,
    datasets: Memo,
}

impl<'a> Sieve<'a> {
    pub(super) fn new(columns: &'a Columns, filter: &'a Filter) -> Self {
        let memo = |pattern: &Option<String>, texts: usize| Memo(pattern.as_ref().map(|_| vec![None; texts]));
        let subjects = memo(&filter.subject, columns.subjects.len());
        let datasets = memo(&filter.dataset, columns.datasets.len());
        Self { columns, filter, subjects, datasets }
    }

    pub(super) fn takes_series(&self, series: &Series) -> bool {
        let text = |number: u32| self.columns.texts.text(number);
        fits(&self.filter.task, text(series.key.task))
            && fits(&self.filter.metric, text(series.key.metric))
            && self.takes_part(series)
    }

    /// The suite and the slice.
    pub(super) fn takes_part(&self, series: &Series) -> bool {
        let text = |number: u32| self.columns.texts.text(number);
        fits(&self.filter.suite, text(series.key.suite)) && fits(&self.filter.slice, text(series.key.slice))
    }

    /// A task's failures, which have neither metric nor slice.
    pub(super) fn takes_task(&self, suite: u32, task: u32) -> bool {
        let text = |number: u32| self.columns.texts.text(number);
        fits(&self.filter.suite, text(suite)) && fits(&self.filter.task, text(task))
    }

    /// By group, whether its protocol is wanted.
    pub(super) fn groups(&self, series: &Series) -> Vec<bool> {
        series.groups.iter().map(|digest| self.filter.takes_protocol(digest)).collect()
    }

    /// The place apart from its protocol.
    pub(super) fn takes_place(&mut self, place: &Place) -> bool {
        self.takes_place_at(place.subject, place.step)
    }

    pub(super) fn takes_place_at(&mut self, subject: u32, step: Option<u64>) -> bool {
        let columns = self.columns;
        self.filter.takes_step(step)
            && self.subjects.get(subject, || fits(&self.filter.subject, columns.subjects.text(subject)))
    }

    pub(super) fn takes_dataset(&mut self, dataset: u32) -> bool {
        if self.filter.dataset.is_none() {
            return true;
        }
        let columns = self.columns;
        dataset != NONE && self.datasets.get(dataset, || fits(&self.filter.dataset, columns.datasets.text(dataset)))
    }
}

/// Answers by number; `None` where all are taken.
struct Memo(Option<Vec<Option<bool>>>);

impl Memo {
    fn get(&mut self, number: u32, ask: impl FnOnce() -> bool) -> bool {
        match &mut self.0 {
            None => true,
            Some(known) => *known[number as usize].get_or_insert_with(ask),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, text, fit) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("", "", true),
            ("*", "", true),
            ("*", "model://x/y@1", true),
            ("a*", "abc", true),
            ("a*", "bac", false),
            ("*c", "abc", true),
            ("*c", "abcd", false),
            ("a*c", "ac", true),
            ("ab*bc", "abc", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*bc*c", "abc", false),
            ("a**c", "abc", true),
            ("*ab*", "aab", true),
            ("model://team/chat@*", "model://team/chat@12", true),
            ("model://team/chat@*", "model://team/chatty@12", false),
        ] {
            assert_eq!(matches(pattern, text), fit, "`{pattern}` on `{text}`");
        }
    }

    #[test]
    fn what_can_match_nothing_is_refused() {
        let refused = |filter: Filter| filter.check().unwrap_err().to_string();
        let steps = Filter { from_step: Some(9), to_step: Some(3), ..Filter::default() };
        assert!(refused(steps).contains("from 9 down to 3"));
        for protocol in ["", "xyz", &"a".repeat(65)] {
            let filter = Filter { protocol: Some(protocol.to_owned()), ..Filter::default() };
            assert!(refused(filter).contains("1 to 64 hex digits"));
        }
        let whole = Filter { from_step: Some(3), to_step: Some(3), protocol: Some("0aF".into()), ..Filter::default() };
        whole.check().unwrap();
    }
}
