//! Events to points, and points to panels.

use super::column::Effort;
use super::panel::{self, Coordinates, Head, Panel, ordered};
use super::pyramid::{Kept, effective};
use super::rows::{self, Entries, Entry, Fragment, NAME_TABLE, Open, Origin, RUN_TABLE, Run, Stored, TAIL_ROWS};
use crate::Error;
use crate::projection::Rows;
use cairn_schemas::events::training::{MetricValue, StepLogged};
use cairn_schemas::{Event, Recorded, RunId, ShortText};

/// Rows of a sealed panel, at least.
pub(super) const PANEL_ROWS: usize = 4_096;
/// Values that a metric of a sealed panel has on average, at least: each has an entry in the index.
const PANEL_VALUES: usize = 128;
/// Where there are this many rows, metrics may have fewer.
const PANEL_ROWS_MAX: usize = 1 << 16;
/// Values of a run's own row, beyond which they become a fragment.
const TAIL_VALUES: usize = 1_024;
/// Fragments of about one size that become one.
const FRAGMENTS_MERGED: usize = 8;
/// With fewer points than this a metric's part of a panel is read rather than summed up.
const KEPT_POINTS_MIN: usize = 256;
/// Entries that a metric's part of a panel has, at most.
const PIECES_MAX: usize = 8;

pub(super) fn apply(recorded: &Recorded, rows: &mut Rows<'_>) -> Result<(), Error> {
    let position = recorded.position.get();
    match &recorded.event {
        Event::StepLogged(step) => log_step(recorded, step, rows),
        Event::RunStarted(e) => {
            if let Some(parent) = e.parent {
                let header = &mut rows.edit::<Run>(RUN_TABLE, &rows::run(&e.run))?.header;
                header.origins.push(Origin { run: parent, from_step: None, position });
            }
            // A later attempt that names no checkpoint began anew.
            if e.attempt > 1 {
                take_over(e.run, e.attempt, None, position, rows)?;
            }
            Ok(())
        }
        Event::RunForked(e) => {
            let header = &mut rows.edit::<Run>(RUN_TABLE, &rows::run(&e.run))?.header;
            header.origins.push(Origin { run: e.from_run, from_step: Some(e.from_step), position });
            Ok(())
        }
        Event::RunResumed(e) => take_over(e.run, e.attempt, Some(e.from_step), position, rows),
        Event::CheckpointSaved(e) => {
            rows.write(rows::tokens(&e.run, e.step, position), &e.tokens);
            Ok(())
        }
        Event::CheckpointListed(e) => {
            if let Some(tokens) = e.tokens {
                rows.write(rows::tokens(&e.run, e.step, position), &tokens);
            }
            Ok(())
        }
        Event::RunCompleted(e) => {
            rows.write(rows::tokens(&e.run, e.steps, position), &e.tokens);
            settle(&e.run, rows)
        }
        Event::RunFailed(e) => settle(&e.run, rows),
        Event::RunCancelled(e) => settle(&e.run, rows),
        _ => Ok(()),
    }
}

fn take_over(
    run: RunId,
    attempt: u32,
    from_step: Option<u64>,
    position: u64,
    rows: &mut Rows<'_>,
) -> Result<(), Error> {
    rows.edit::<Run>(RUN_TABLE, &rows::run(&run))?.header.take_over(attempt, from_step, position);
    Ok(())
}

fn log_step(recorded: &Recorded, step: &StepLogged, rows: &mut Rows<'_>) -> Result<(), Error> {
    let axis = Coordinates {
        step: step.step,
        time: ordered(step.time.unwrap_or(recorded.occurred_at).as_micros()),
        tokens: step.tokens,
        attempt: step.attempt,
        position: recorded.position.get(),
    };
    let key = rows::run(&step.run);
    let mut run: &mut Run = rows.edit(RUN_TABLE, &key)?;
    if run.open.is_none() {
        open(&step.run, rows)?;
        run = rows.edit(RUN_TABLE, &key)?;
    }
    if !run.knows(&step.metrics) {
        learn(&key, &step.metrics, rows)?;
        run = rows.edit(RUN_TABLE, &key)?;
    }
    match run.push(axis, &step.metrics) {
        true => seal(&step.run, rows),
        false => Ok(()),
    }
}

impl Run {
    fn opened(&mut self) -> &mut Open {
        self.open.get_or_insert_default()
    }

    /// Whether the slots of all these metrics are known. If so they are the pattern.
    fn knows(&mut self, metrics: &[MetricValue]) -> bool {
        let open = self.opened();
        let is_same = |(metric, (name, _)): (&MetricValue, &(ShortText, u32))| metric.name == *name;
        if open.pattern.len() == metrics.len() && metrics.iter().zip(&open.pattern).all(is_same) {
            return true;
        }
        open.pattern.clear();
        for metric in metrics {
            let Some(slot) = open.slots.get(&metric.name) else { return false };
            open.pattern.push((metric.name.clone(), *slot));
        }
        true
    }

    /// Adds the points of metrics that it knows; says whether there are enough to be sealed.
    fn push(&mut self, axis: Coordinates, metrics: &[MetricValue]) -> bool {
        self.header.points += metrics.len() as u64;
        let open = self.opened();
        let slots = open.pattern.iter().map(|(_, slot)| *slot);
        open.panel.push(axis, slots.zip(metrics.iter().map(|metric| metric.value.0)));
        let rows = open.before.0 + open.panel.rows();
        rows >= PANEL_ROWS && is_full(rows, open.before.1 + open.panel.values(), open.panel.width())
    }
}

fn is_full(rows: usize, values: usize, width: usize) -> bool {
    rows >= PANEL_ROWS && (values >= PANEL_VALUES * width || rows >= PANEL_ROWS_MAX)
}

/// Finds or makes the slots of metrics.
fn learn(key: &[u8], metrics: &[MetricValue], rows: &mut Rows<'_>) -> Result<(), Error> {
    for metric in metrics {
        let run: &mut Run = rows.edit(RUN_TABLE, key)?;
        if run.opened().slots.contains_key(&metric.name) {
            continue;
        }
        let number = number_of(&metric.name, rows)?;
        let run: &mut Run = rows.edit(RUN_TABLE, key)?;
        let slot = run.header.slot_of(number).unwrap_or_else(|| run.header.add(number));
        run.opened().slots.insert(metric.name.clone(), slot);
    }
    let known = rows.edit::<Run>(RUN_TABLE, key)?.knows(metrics);
    debug_assert!(known, "they were just learnt");
    Ok(())
}

/// Names are kept once for all runs, in which they are the same again and again.
fn number_of(name: &str, rows: &mut Rows<'_>) -> Result<u32, Error> {
    let key = rows::name(name);
    if let Some(number) = rows.look::<u32>(NAME_TABLE, &key)? {
        return Ok(*number);
    }
    let count: &mut u32 = rows.edit(NAME_TABLE, &rows::names())?;
    let number = *count;
    *count += 1;
    rows.write(key, &number);
    rows.write(rows::number(number), &name.to_owned());
    Ok(number)
}

/// Makes a run ready for points: its latest ones go on growing, or become a fragment where they are enough.
fn open(run: &RunId, rows: &mut Rows<'_>) -> Result<(), Error> {
    let row: &mut Run = rows.edit(RUN_TABLE, &rows::run(run))?;
    let mut open = Open::default();
    let tail = std::mem::take(&mut row.tail);
    if tail.rows() < TAIL_ROWS && tail.values() < TAIL_VALUES {
        open.panel = inline(&tail)?;
    } else {
        let number = row.header.fragments_made;
        let (height, values) = (tail.rows() as u32, tail.values() as u32);
        row.header.fragments.push(Fragment { number, rows: height, values, segments: 0 });
        row.header.fragments_made += 1;
        rows.write(rows::fragment(run, number, 0), &tail);
        merge(run, rows)?;
    }
    let row: &mut Run = rows.edit(RUN_TABLE, &rows::run(run))?;
    open.before = row.header.fragments_size();
    row.open = Some(Box::new(open));
    Ok(())
}

/// Makes one fragment of the last ones, where so many of about the last one's size or less stand together.
fn merge(run: &RunId, rows: &mut Rows<'_>) -> Result<(), Error> {
    let fragments = &rows.edit::<Run>(RUN_TABLE, &rows::run(run))?.header.fragments;
    let level = fragments.last().map_or(0, level);
    let small = fragments.iter().rev().take_while(|fragment| self::level(fragment) <= level).count();
    match small >= FRAGMENTS_MERGED {
        true => replace(run, small, rows),
        false => Ok(()),
    }
}

fn level(fragment: &Fragment) -> u32 {
    (fragment.values / TAIL_VALUES as u32).max(1).ilog(FRAGMENTS_MERGED as u32)
}

/// What will not grow any more for now: one fragment, or a sealed panel where there is enough.
fn settle(run: &RunId, rows: &mut Rows<'_>) -> Result<(), Error> {
    let key = rows::run(run);
    let Some(row) = rows.edit_known::<Run>(RUN_TABLE, &key)? else { return Ok(()) };
    if row.open.is_none() && row.tail.rows() == 0 && row.header.fragments.len() < 2 {
        return Ok(());
    }
    let all = row.header.fragments.len();
    replace(run, all, rows)
}

/// Seals everything that is not sealed yet.
fn seal(run: &RunId, rows: &mut Rows<'_>) -> Result<(), Error> {
    let all = rows.edit::<Run>(RUN_TABLE, &rows::run(run))?.header.fragments.len();
    replace(run, all, rows)
}

/// Makes one panel of the last `count` fragments and of all points behind them.
fn replace(run: &RunId, count: usize, rows: &mut Rows<'_>) -> Result<(), Error> {
    let key = rows::run(run);
    let row: &mut Run = rows.edit(RUN_TABLE, &key)?;
    let fragments = row.header.fragments.split_off(row.header.fragments.len() - count);
    let is_all = row.header.fragments.is_empty();
    let tail = std::mem::take(&mut row.tail);
    let latest = row.open.as_mut().map(|open| std::mem::take(&mut open.panel));
    let mut panel = Panel::default();
    for fragment in &fragments {
        panel.append(&take_fragment(run, fragment, rows)?);
    }
    match latest {
        Some(latest) if panel.rows() == 0 => panel = latest,
        Some(latest) => panel.append(&latest),
        None => panel.append(&inline(&tail)?),
    }
    if panel.rows() > 0 {
        if is_all && is_full(panel.rows(), panel.values(), panel.width()) {
            write_sealed(run, &panel, rows)?;
        } else {
            write_fragment(run, &panel, rows)?;
        }
    }
    let row: &mut Run = rows.edit(RUN_TABLE, &key)?;
    let before = row.header.fragments_size();
    if let Some(open) = &mut row.open {
        open.before = before;
    }
    Ok(())
}

fn inline(head: &Head) -> Result<Panel, Error> {
    Panel::read(head, &mut |_| Err(Error::row(panel::TABLE, "a run's own row has segments")))
}

fn take_fragment(run: &RunId, fragment: &Fragment, rows: &mut Rows<'_>) -> Result<Panel, Error> {
    let missing = || Error::row(panel::TABLE, format!("fragment {} of run:{run} is missing", fragment.number));
    let part = |number: u32| rows::fragment(run, fragment.number, number);
    let head: Head = rows.read(panel::TABLE, &part(0))?.ok_or_else(missing)?;
    let panel =
        Panel::read(&head, &mut |segment| rows.read(panel::TABLE, &part(segment as u32 + 1))?.ok_or_else(missing))?;
    for number in 0..=fragment.segments {
        rows.delete(rows::fragment(run, fragment.number, number));
    }
    Ok(panel)
}

fn write_fragment(run: &RunId, panel: &Panel, rows: &mut Rows<'_>) -> Result<(), Error> {
    let (head, segments) = panel.to_rows(Effort::Full);
    let header = &mut rows.edit::<Run>(RUN_TABLE, &rows::run(run))?.header;
    let number = header.fragments_made;
    header.fragments_made += 1;
    header.fragments.push(Fragment {
        number,
        rows: panel.rows() as u32,
        values: panel.values() as u32,
        segments: segments.len() as u32,
    });
    rows.write(rows::fragment(run, number, 0), &head);
    for (part, segment) in (1..).zip(&segments) {
        rows.write(rows::fragment(run, number, part), segment);
    }
    Ok(())
}

fn write_sealed(run: &RunId, panel: &Panel, rows: &mut Rows<'_>) -> Result<(), Error> {
    let header = &mut rows.edit::<Run>(RUN_TABLE, &rows::run(run))?.header;
    let number = header.sealed;
    header.sealed += 1;
    let (head, segments) = panel.to_rows(Effort::Full);
    rows.write(rows::sealed(run, number, 0), &head);
    for (part, segment) in (1..).zip(&segments) {
        rows.write(rows::sealed(run, number, part), segment);
    }
    for (slot, column) in panel.present() {
        let at = |n: usize| Stored::of(panel.axes.at(column.presence.row(n)), column.values[n]);
        let points: Vec<Stored> = (0..column.values.len()).map(at).collect();
        let key = rows::index(run, slot, number);
        rows.edit::<Entries>(rows::INDEX_TABLE, &key)?.0.extend(entries(number, points));
    }
    Ok(())
}

/// Entries of a metric's points, which are in order of arrival. Points that came late stand apart: otherwise one of them
/// would make its panel reach over all others.
fn entries(panel: u32, mut points: Vec<Stored>) -> Vec<Entry> {
    let mut by_step: Vec<u64> = points.iter().map(|point| point.step).collect();
    by_step.sort_unstable();
    let (from, to) = (by_step[0], by_step[by_step.len() - 1]);
    if to - from < 4 * points.len() as u64 {
        return vec![entry(panel, points)];
    }
    let mut gaps: Vec<(u64, u64)> = by_step.windows(2).map(|pair| (pair[1] - pair[0], pair[1])).collect();
    gaps.sort_unstable();
    // An even metric has no gap that is much longer than its usual one.
    let usual = gaps[gaps.len() / 2].0.max(1);
    let is_wide = |(gap, _): &&(u64, u64)| *gap > usual.saturating_mul(points.len() as u64 / 4 + 16);
    let mut starts: Vec<u64> =
        gaps.iter().rev().take(PIECES_MAX - 1).take_while(is_wide).map(|(_, step)| *step).collect();
    starts.sort_unstable();
    points.sort_by_key(|point| starts.partition_point(|start| *start <= point.step));
    let pieces = points.chunk_by(|a, b| !starts.iter().any(|start| (a.step < *start) != (b.step < *start)));
    pieces.map(|piece| entry(panel, piece.to_vec())).collect()
}

/// `points` are not empty, and in order of arrival.
fn entry(panel: u32, mut points: Vec<Stored>) -> Entry {
    fn range<T: Copy + Ord>(points: &[Stored], field: impl Fn(&Stored) -> T) -> (T, T) {
        let first = field(&points[0]);
        points.iter().map(field).fold((first, first), |(min, max), value| (min.min(value), max.max(value)))
    }
    let steps = range(&points, |p| p.step);
    let times = range(&points, |p| p.time);
    let tokens = range(&points, |p| p.tokens);
    let attempts = range(&points, |p| p.attempt);
    let positions = range(&points, |p| p.position);
    effective(&[], &mut points);
    let kept = (points.len() >= KEPT_POINTS_MIN).then(|| Kept::of(&points));
    Entry { panel, points: points.len() as u32, steps, times, tokens, attempts, positions, kept }
}
