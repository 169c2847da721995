//! The runs of a log and the full parts that wait to become runs. The writer asks, the sealer publishes and merges.

use super::part::Part;
use super::run::{self, Fault, RUN_EVENTS_MAX, Run, RunMeta, parse_name};
use super::source::Source;
use super::{StreamKey, StreamState};
use crate::entry::Identity;
use crate::error::Error;
use crate::scan::LogFiles;
use crate::storage::{TEMPORARY_SUFFIX, list_if_any};
use cairn_schemas::{Blake3, Position};
use parking_lot::{Mutex, RwLock};
use std::sync::Arc;

/// Runs of about one length that are merged into one: an event's record is rewritten log8(segments) times, and a new
/// identity meets at most 7 filters for each power of 8.
const FAN_IN: usize = 8;
/// Times that a lookup begins again after a run was built again.
const ATTEMPTS: usize = 3;

/// The end of the sealed segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Base {
    pub(crate) head: u64,
    pub(crate) chain: Blake3,
}

pub(crate) struct Shelf {
    files: LogFiles,
    source: Box<dyn Source>,
    held: RwLock<Held>,
    /// Held while files change.
    changing: Mutex<()>,
}

/// Both in order of positions, without a gap, from position 1 to the writer's own part.
#[derive(Default)]
struct Held {
    runs: Vec<Arc<Run>>,
    parts: Vec<Arc<Part>>,
}

/// What a run could not answer, and which.
type Failed = (Arc<Run>, Fault);

impl Held {
    fn position(&self, identity: &Identity) -> Result<Option<Position>, Failed> {
        let in_parts = self.parts.iter().find_map(|part| part.position(identity));
        match in_parts {
            Some(position) => Ok(Some(position)),
            None => self.newest(|run| run.position(identity)),
        }
    }

    fn stream(&self, key: &StreamKey) -> Result<Option<StreamState>, Failed> {
        match self.parts.iter().rev().find_map(|part| part.stream(key)) {
            Some(state) => Ok(Some(state)),
            None => self.newest(|run| run.stream(key)),
        }
    }

    fn newest<T>(&self, ask: impl Fn(&Run) -> Result<Option<T>, Fault>) -> Result<Option<T>, Failed> {
        for run in self.runs.iter().rev() {
            if let Some(found) = ask(run).map_err(|fault| (run.clone(), fault))? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn streams(&self) -> u64 {
        self.runs.last().map_or(0, |run| run.meta.streams)
    }
}

impl Shelf {
    /// Opens the runs of the sealed segments that begin at `segments` and end at `base`. What is missing, damaged or
    /// of another history is built from the segments, and files that no longer count are removed.
    pub(crate) fn open(
        files: LogFiles,
        source: Box<dyn Source>,
        segments: &[u64],
        genesis: Blake3,
        base: Base,
    ) -> Result<Self, Error> {
        let folder = files.layout.index();
        files.disk.create_dirs(&folder).map_err(Error::io("creating", &folder))?;
        let found = found_runs(&files)?;
        let runs = cover(found, segments, genesis, base).or_else(|found| choose(found, segments, base, &*source))?;
        let shelf = Self { files, source, held: RwLock::default(), changing: Mutex::new(()) };
        for (at, first) in segments.iter().enumerate() {
            let streams = {
                let mut held = shelf.held.write();
                let covered = held.runs.last().is_some_and(|run| run.meta.last >= *first);
                if covered {
                    continue;
                }
                if let Some(run) = runs.iter().find(|run| run.meta.first == *first) {
                    held.runs.push(run.clone());
                    continue;
                }
                held.streams()
            };
            tracing::info!(log = %shelf.files.layout.dir.display(), segment = at, first, "building the index again");
            let run = Run::write(&shelf.files, &shelf.source.part(*first, streams)?)?;
            shelf.held.write().runs.push(Arc::new(run));
        }
        shelf.remove_others()?;
        Ok(shelf)
    }

    /// Number of streams in the runs' segments.
    pub(crate) fn streams(&self) -> u64 {
        self.held.read().streams()
    }

    pub(super) fn position(&self, identity: &Identity) -> Result<Option<Position>, Error> {
        self.ask(|held| held.position(identity))
    }

    pub(super) fn stream(&self, key: &StreamKey) -> Result<Option<StreamState>, Error> {
        self.ask(|held| held.stream(key))
    }

    /// Asks, and asks again once what was damaged has been built from the segments: nobody waits less for the truth.
    fn ask<T>(&self, question: impl Fn(&Held) -> Result<Option<T>, Failed>) -> Result<Option<T>, Error> {
        for _ in 0..ATTEMPTS {
            let answer = question(&self.held.read());
            match answer {
                Ok(found) => return Ok(found),
                Err((_, Fault::Failed(error))) => return Err(error),
                Err((run, Fault::Unsound(why))) => self.rebuild(&run, &why)?,
            }
        }
        let answer = question(&self.held.read());
        answer.map_err(|(run, fault)| unreadable(&run, fault))
    }

    /// Takes a full part, which is asked until it is published as a run.
    pub(crate) fn take(&self, part: Part) {
        assert!(part.end.is_some(), "only full parts are put on the shelf");
        self.held.write().parts.push(Arc::new(part));
    }

    /// Turns the parts of the segments up to the one that begins at `first` into runs.
    pub(crate) fn publish(&self, first: u64) -> Result<(), Error> {
        let _changing = self.changing.lock();
        loop {
            let Some(part) = self.held.read().parts.first().filter(|part| part.first <= first).cloned() else {
                return Ok(());
            };
            let run = Arc::new(Run::write(&self.files, &part)?);
            let mut held = self.held.write();
            held.parts.remove(0);
            held.runs.push(run);
        }
    }

    /// Merges runs of segments that begin before `first`, while there are enough of one length.
    pub(crate) fn compact(&self, first: u64) -> Result<(), Error> {
        let _changing = self.changing.lock();
        loop {
            let runs = self.held.read().runs.clone();
            let sealed = runs.partition_point(|run| run.meta.last < first);
            let Some(inputs) = mergeable(&runs[..sealed]) else { return Ok(()) };
            match Run::merge(&self.files, inputs) {
                Ok(merged) => self.replace(inputs, Arc::new(merged)),
                Err(Fault::Failed(error)) => return Err(error),
                Err(Fault::Unsound(why)) => {
                    for run in inputs {
                        self.rebuild_held(run, &why)?;
                    }
                }
            }
        }
    }

    /// Puts one run in the place of others, in memory and then on the disk.
    fn replace(&self, inputs: &[Arc<Run>], merged: Arc<Run>) {
        {
            let mut held = self.held.write();
            let at = held.runs.iter().position(|run| Arc::ptr_eq(run, &inputs[0])).expect("only changing() replaces");
            held.runs.splice(at..at + inputs.len(), [merged.clone()]);
        }
        inputs.iter().filter(|run| run.meta.segments != merged.meta.segments).for_each(|run| run.remove());
    }

    fn rebuild(&self, run: &Arc<Run>, why: &str) -> Result<(), Error> {
        let _changing = self.changing.lock();
        self.rebuild_held(run, why)
    }

    /// Builds a run again from its segments, unless somebody has done so.
    fn rebuild_held(&self, run: &Arc<Run>, why: &str) -> Result<(), Error> {
        let before = {
            let held = self.held.read();
            let Some(at) = held.runs.iter().position(|found| Arc::ptr_eq(found, run)) else { return Ok(()) };
            if at == 0 { 0 } else { held.runs[at - 1].meta.streams }
        };
        let log = self.files.layout.dir.display();
        tracing::warn!(%log, first = run.meta.first, last = run.meta.last, why, "a run of the index is built again");
        let mut pieces: Vec<Arc<Run>> = Vec::new();
        for first in &run.meta.segments {
            let streams = pieces.last().map_or(before, |piece| piece.meta.streams);
            pieces.push(Arc::new(Run::write(&self.files, &self.source.part(*first, streams)?)?));
        }
        let whole = match &pieces[..] {
            [one] => one.clone(),
            several => {
                let merged = Run::merge(&self.files, several).map_err(|fault| unreadable(run, fault))?;
                pieces.iter().for_each(|piece| piece.remove());
                Arc::new(merged)
            }
        };
        self.replace(std::slice::from_ref(run), whole);
        Ok(())
    }

    /// Removes files of runs that were merged into others, or are none of this log's, and what was never finished.
    fn remove_others(&self) -> Result<(), Error> {
        let folder = self.files.layout.index();
        let held = self.held.read();
        let counts = |range| held.runs.iter().any(|run| (run.meta.first, run.meta.last) == range);
        for name in list_if_any(&*self.files.disk, &folder)? {
            let is_ours = parse_name(name.strip_suffix(TEMPORARY_SUFFIX).unwrap_or(&name)).is_some();
            if is_ours && !parse_name(&name).is_some_and(counts) {
                let path = folder.join(&name);
                self.files.disk.remove(&path).map_err(Error::io("removing", &path))?;
            }
        }
        Ok(())
    }
}

fn unreadable(run: &Run, fault: Fault) -> Error {
    match fault {
        Fault::Failed(error) => error,
        Fault::Unsound(why) => Error::WriterEnded {
            why: format!("the index of positions {} to {} cannot be read back: {why}", run.meta.first, run.meta.last),
        },
    }
}

/// Every run whose footer is whole, by first position, the longest first.
fn found_runs(files: &LogFiles) -> Result<Vec<Arc<Run>>, Error> {
    let mut names: Vec<_> =
        list_if_any(&*files.disk, &files.layout.index())?.iter().filter_map(|name| parse_name(name)).collect();
    names.sort_unstable_by_key(|(first, last)| (*first, std::cmp::Reverse(*last)));
    let mut runs = Vec::new();
    for (first, last) in names {
        match Run::open(files, first, last) {
            Ok(run) => runs.push(Arc::new(run)),
            Err(Fault::Failed(error)) => return Err(error),
            Err(Fault::Unsound(why)) => {
                tracing::warn!(file = run::file_name(first, last), why, "a run of the index does not count");
            }
        }
    }
    Ok(runs)
}

/// Whether a run covers exactly the segments from index `at` on, as they are listed; gives the index after them.
fn covers(meta: &RunMeta, segments: &[u64], at: usize, base: Base) -> Option<usize> {
    let end = at + meta.segments.len();
    let last = if end == segments.len() { base.head } else { segments.get(end)? - 1 };
    (!meta.segments.is_empty() && segments.get(at..end)? == meta.segments && meta.last == last).then_some(end)
}

/// The runs that cover all segments, each beginning with the chain head that the one before ended with: since the last
/// ends with the log's own head, all of them are of its history. Gives everything back where that does not come out.
fn cover(found: Vec<Arc<Run>>, segments: &[u64], genesis: Blake3, base: Base) -> Result<Vec<Arc<Run>>, Vec<Arc<Run>>> {
    let (mut runs, mut at, mut chain) = (Vec::new(), 0, genesis);
    while at < segments.len() {
        let fits = |run: &&Arc<Run>| run.meta.chain_before == chain && covers(&run.meta, segments, at, base).is_some();
        let Some(run) = found.iter().find(|run| run.meta.first == segments[at] && fits(run)) else {
            return Err(found);
        };
        at += run.meta.segments.len();
        chain = run.meta.chain_after;
        runs.push(run.clone());
    }
    match at == 0 || chain == base.chain {
        true => Ok(runs),
        false => Err(found),
    }
}

/// The runs that do count where some do not: each must begin and end as its own segments say.
fn choose(found: Vec<Arc<Run>>, segments: &[u64], base: Base, source: &dyn Source) -> Result<Vec<Arc<Run>>, Error> {
    let (mut runs, mut at) = (Vec::new(), 0);
    while at < segments.len() {
        let mut next = at + 1;
        for run in found.iter().filter(|run| run.meta.first == segments[at]) {
            let Some(end) = covers(&run.meta, segments, at, base) else { continue };
            let chain = (source.chain(segments[at])?.0, source.chain(segments[end - 1])?.1);
            if (run.meta.chain_before, run.meta.chain_after) == chain {
                runs.push(run.clone());
                next = end;
                break;
            }
        }
        at = next;
    }
    Ok(runs)
}

/// Whether the index knows these segments, in this order, up to `base`: then their footers need not be asked.
pub(crate) fn vouched(files: &LogFiles, segments: &[u64], genesis: Blake3, base: Base) -> bool {
    found_runs(files).is_ok_and(|found| cover(found, segments, genesis, base).is_ok())
}

/// The first [`FAN_IN`] runs of one length that follow one another and are not too long together.
fn mergeable(runs: &[Arc<Run>]) -> Option<&[Arc<Run>]> {
    let level = |run: &Run| run.meta.segments.len().ilog(FAN_IN);
    runs.windows(FAN_IN).find(|window| {
        window.iter().all(|run| level(run) == level(&window[0]))
            && window.iter().map(|run| run.meta.events()).sum::<u64>() <= RUN_EVENTS_MAX
    })
}
