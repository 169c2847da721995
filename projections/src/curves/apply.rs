//! Events to points.

use super::block;
use super::pyramid::{Kept, effective};
use super::rows::{self, CHUNKS_MAX, Series, Stored, Summary, TAIL_POINTS};
use crate::Error;
use crate::attempts::{self, Takeover};
use crate::projection::Rows;
use cairn_schemas::events::training::StepLogged;
use cairn_schemas::{Event, Recorded, RunId};

pub(super) fn apply(recorded: &Recorded, rows: &mut Rows<'_>) -> Result<(), Error> {
    match &recorded.event {
        Event::StepLogged(step) => log_step(recorded, step, rows),
        // A later attempt that names no checkpoint began anew.
        Event::RunStarted(e) if e.attempt > 1 => take_over(e.run, e.attempt, None, rows),
        Event::RunResumed(e) => take_over(e.run, e.attempt, Some(e.from_step), rows),
        _ => Ok(()),
    }
}

fn log_step(recorded: &Recorded, step: &StepLogged, rows: &mut Rows<'_>) -> Result<(), Error> {
    let run = step.run.to_string();
    for metric in &step.metrics {
        let point = Stored {
            step: step.step,
            time_micros: step.time.unwrap_or(recorded.occurred_at).as_micros(),
            tokens: step.tokens,
            value: metric.value.0,
            attempt: step.attempt,
        };
        add(rows, &run, &metric.name, point)?;
    }
    Ok(())
}

fn add(rows: &mut Rows<'_>, run: &str, metric: &str, point: Stored) -> Result<(), Error> {
    let key = rows::series(run, metric);
    let mut series: Series = rows.read("curves.series", &key)?.unwrap_or_default();
    let is_first = series.points == 0;
    series.step_min = if is_first { point.step } else { series.step_min.min(point.step) };
    series.step_max = series.step_max.max(point.step);
    series.points += 1;
    series.tail.push(point);
    if series.tail.len() == TAIL_POINTS {
        let tail = std::mem::take(&mut series.tail);
        if series.chunks + 1 == CHUNKS_MAX {
            seal(rows, run, metric, &mut series, tail)?;
        } else {
            rows.write(rows::chunk(run, metric, series.chunks), &tail);
            series.chunks += 1;
        }
    }
    rows.write(key, &series);
    Ok(())
}

/// Makes the open chunks and `tail` the next block.
fn seal(rows: &mut Rows<'_>, run: &str, metric: &str, series: &mut Series, tail: Vec<Stored>) -> Result<(), Error> {
    let mut points: Vec<Stored> = Vec::with_capacity(TAIL_POINTS * CHUNKS_MAX as usize);
    for number in 0..series.chunks {
        let key = rows::chunk(run, metric, number);
        let chunk: Option<Vec<Stored>> = rows.read("curves.chunk", &key)?;
        points.extend(chunk.ok_or_else(|| Error::row("curves.chunk", format!("chunk {number} is missing")))?);
        rows.delete(key);
    }
    points.extend(tail);
    // The sort is stable: of points of one step and attempt, the one that arrived last stays last.
    points.sort_by_key(|point| (point.step, point.attempt));
    rows.put(rows::block(run, metric, series.blocks), block::seal(&points));
    rows.write(rows::summary(run, metric, series.blocks), &summary(&points));
    series.blocks += 1;
    series.chunks = 0;
    Ok(())
}

/// `points` are not empty and sorted by step.
fn summary(points: &[Stored]) -> Summary {
    let attempts = || points.iter().map(|point| point.attempt);
    Summary {
        step_min: points[0].step,
        step_max: points[points.len() - 1].step,
        attempt_min: attempts().min().unwrap_or_default(),
        attempt_max: attempts().max().unwrap_or_default(),
        kept: Kept::of(&effective(&[], points.to_vec())),
    }
}

fn take_over(run: RunId, attempt: u32, from_step: Option<u64>, rows: &mut Rows<'_>) -> Result<(), Error> {
    let key = rows::takeovers(&run.to_string());
    let mut takeovers: Vec<Takeover> = rows.read("curves.takeovers", &key)?.unwrap_or_default();
    attempts::take_over(&mut takeovers, attempt, from_step);
    rows.write(key, &takeovers);
    Ok(())
}
