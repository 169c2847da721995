//! Earlier executions, found by their key.

use crate::{Context, Error, history};
use cairn_schemas::events::job::JobStarted;
use cairn_schemas::{Blake3, Event, Position, Ref, RunId};
use std::collections::HashMap;

/// The latest attempt at some work.
#[derive(Clone, Debug, PartialEq)]
pub struct PastJob {
    pub run: RunId,
    pub attempt: u32,
    pub state: State,
}

/// How far an attempt came.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// Not to its end: it runs, or was killed.
    Started,
    Completed {
        outputs: Vec<Ref>,
        summary: serde_json::Value,
    },
    Failed,
    Cancelled,
}

/// Every job of the log by its key, as far as it was read. Kept with the context, so that the log is read once.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// The position to read on from; none where nothing was read.
    next: Option<Position>,
    by_key: HashMap<Blake3, PastJob>,
    /// The key of each run.
    keys: HashMap<RunId, Blake3>,
}

impl Index {
    fn apply(&mut self, event: &Event) {
        match event {
            Event::JobStarted(JobStarted { run, attempt, key, reproduces: None, .. }) => {
                self.keys.insert(*run, *key);
                self.by_key.insert(*key, PastJob { run: *run, attempt: *attempt, state: State::Started });
            }
            Event::JobCompleted(e) => {
                let (outputs, summary) = (e.outputs.clone(), e.summary.to_value());
                self.end(e.run, e.attempt, State::Completed { outputs, summary });
            }
            Event::JobFailed(e) => self.end(e.run, e.attempt, State::Failed),
            Event::JobCancelled(e) => self.end(e.run, e.attempt, State::Cancelled),
            _ => {}
        }
    }

    /// An end of an attempt that another followed changes nothing.
    fn end(&mut self, run: RunId, attempt: u32, state: State) {
        let job = self.keys.get(&run).and_then(|key| self.by_key.get_mut(key));
        if let Some(job) = job.filter(|job| job.run == run && job.attempt == attempt) {
            job.state = state;
        }
    }
}

/// The latest run of this key. Reads what was recorded since the last call; the first call reads the whole log.
pub(super) fn find(ctx: &Context, key: &Blake3) -> Result<Option<PastJob>, Error> {
    let mut index = ctx.jobs().lock();
    let from = index.next;
    history::all(ctx, from, &mut |recorded| {
        index.apply(&recorded.event);
        index.next = recorded.position.next();
    })?;
    Ok(index.by_key.get(key).cloned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_schemas::RawJson;
    use cairn_schemas::events::job::{JobCompleted, JobFailed};

    fn started(run: RunId, key: Blake3, attempt: u32) -> Event {
        let spec = RawJson::default();
        let (kind, name) = ("ingest".to_owned(), "docs".to_owned());
        JobStarted {
            run,
            kind,
            name,
            pipeline: None,
            attempt,
            key,
            spec,
            inputs: vec![],
            resolved_at: None,
            reproduces: None,
        }
        .into()
    }

    fn fold(key: &Blake3, events: &[Event]) -> Option<PastJob> {
        let mut index = Index::default();
        events.iter().for_each(|event| index.apply(event));
        index.by_key.get(key).cloned()
    }

    #[test]
    fn the_latest_attempt_of_the_latest_run_counts() {
        let (key, other) = (Blake3::of(b"a"), Blake3::of(b"b"));
        let (first, second) = (RunId::generate(), RunId::generate());
        let failed = |run, attempt| Event::from(JobFailed { run, attempt, error: "x".into() });
        let completed =
            JobCompleted { run: first, attempt: 2, outputs: vec![], duration_ms: 1, summary: RawJson::default() };
        assert_eq!(fold(&key, &[started(second, other, 1)]), None);
        let mut events = vec![started(first, key, 1)];
        assert_eq!(fold(&key, &events).unwrap().state, State::Started);
        events.push(failed(first, 1));
        assert_eq!(fold(&key, &events).unwrap().state, State::Failed);
        events.extend([started(first, key, 2), failed(second, 2), failed(first, 1)]);
        assert_eq!(fold(&key, &events), Some(PastJob { run: first, attempt: 2, state: State::Started }));
        events.push(completed.into());
        assert!(matches!(fold(&key, &events).unwrap().state, State::Completed { .. }));
        events.push(started(second, key, 1));
        assert_eq!(fold(&key, &events), Some(PastJob { run: second, attempt: 1, state: State::Started }));
    }
}
