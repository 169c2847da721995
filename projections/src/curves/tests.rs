//! Curves against a plain sorted map.

use super::rows::{CHUNKS_MAX, TAIL_POINTS};
use super::{Curves, PROJECTION, Point};
use crate::testing::{Random, live, resumed, run_id, step, training_started};
use cairn_schemas::Event;
use std::collections::BTreeMap;

const BLOCK_POINTS: u64 = TAIL_POINTS as u64 * CHUNKS_MAX as u64;

fn curves(events: Vec<Event>) -> Curves {
    Curves::over(live(&PROJECTION, events))
}

/// Equal where NaN equals itself.
fn bits(points: &[Point]) -> Vec<(u64, i64, u64, u64, u32)> {
    points.iter().map(|p| (p.step, p.time.as_micros(), p.tokens, p.value.to_bits(), p.attempt)).collect()
}

fn values(points: &[Point]) -> Vec<(u64, f64, u32)> {
    points.iter().map(|p| (p.step, p.value, p.attempt)).collect()
}

fn value(random: &mut Random) -> f64 {
    match random.below(40) {
        0 => f64::NAN,
        1 => f64::INFINITY,
        2 => f64::NEG_INFINITY,
        _ => random.below(1_000_000) as f64 / 1_000.0,
    }
}

/// A run with late, repeated and out-of-order points, and attempts that take over; and what a map makes of it.
fn run(seed: u64, steps: u64) -> (Vec<Event>, BTreeMap<u64, (f64, u32)>) {
    let mut random = Random::new(seed);
    let (mut events, mut takeovers) = (vec![training_started(1, 1)], vec![(1, 0)]);
    let mut all: Vec<(u32, u64, f64)> = Vec::new();
    let (mut attempt, mut at) = (1, 0);
    for _ in 0..steps {
        at += 1 + random.below(3);
        let given = if random.below(20) == 0 { at.saturating_sub(random.below(100)).max(1) } else { at };
        let by = if attempt > 1 && random.below(50) == 0 { attempt - 1 } else { attempt };
        let value = value(&mut random);
        all.push((by, given, value));
        events.push(step(1, by, given, &[("loss", value), ("other", 1.0)]));
        if random.below(700) == 0 {
            attempt += 1;
            at = random.below(at + 1);
            takeovers.push((attempt, at));
            events.push(resumed(1, attempt, at));
        }
    }
    let mut model: BTreeMap<u64, (f64, u32)> = BTreeMap::new();
    for (by, step, value) in all {
        let is_hidden = takeovers.iter().any(|(later, from)| *later > by && *from < step);
        if !is_hidden && model.get(&step).is_none_or(|(_, known)| *known <= by) {
            model.insert(step, (value, by));
        }
    }
    (events, model)
}

#[test]
fn a_series_is_what_a_sorted_map_says() {
    for (seed, steps) in [(1, 40), (2, 900), (3, 3 * BLOCK_POINTS + 77), (4, 2 * BLOCK_POINTS)] {
        let (events, model) = run(seed, steps);
        let curves = curves(events);
        let series = curves.series(&run_id(1), "loss").unwrap();
        let expected: Vec<_> =
            model.iter().map(|(step, (value, attempt))| (*step, value.to_bits(), *attempt)).collect();
        let found: Vec<_> = series.iter().map(|p| (p.step, p.value.to_bits(), p.attempt)).collect();
        assert_eq!(found, expected, "seed {seed}");
        assert!(series.iter().all(|p| p.tokens == p.step * 2_048));
        assert_eq!(bits(&series[series.len() - 1..]), bits(&[curves.last(&run_id(1), "loss").unwrap().unwrap()]));
        assert_eq!(curves.all_attempts(&run_id(1), "loss").unwrap().len() as u64, steps, "seed {seed}: none is lost");
        assert_eq!(curves.runs_metrics(&run_id(1)).unwrap(), ["loss", "other"]);
        assert!(curves.series(&run_id(2), "loss").unwrap().is_empty());
    }
}

#[test]
fn no_spike_is_lost_by_downsampling() {
    for (seed, steps) in [(11, 300), (12, 6 * BLOCK_POINTS), (13, 5 * BLOCK_POINTS + 500)] {
        let (events, _) = run(seed, steps);
        let curves = curves(events);
        let all = curves.series(&run_id(1), "loss").unwrap();
        let middle = all[all.len() / 2].step;
        for (from, to, points_max) in [(0, u64::MAX, 4), (0, u64::MAX, 60), (middle, u64::MAX, 40), (7, middle, 500)] {
            let part: Vec<Point> = all.iter().filter(|p| (from..=to).contains(&p.step)).copied().collect();
            let few = curves.zoom(&run_id(1), "loss", from..=to, points_max).unwrap();
            let what = format!("seed {seed}, {from} to {to} in {points_max}");
            assert!(few.len() <= points_max, "{what}: {} points", few.len());
            let finite = |points: &[Point]| points.iter().map(|p| p.value).filter(|v| !v.is_nan()).collect::<Vec<_>>();
            let least = |points: &[Point]| finite(points).into_iter().reduce(f64::min);
            let greatest = |points: &[Point]| finite(points).into_iter().reduce(f64::max);
            let nan = |points: &[Point]| points.iter().any(|p| p.value.is_nan());
            assert_eq!(least(&few), least(&part), "{what}");
            assert_eq!(greatest(&few), greatest(&part), "{what}");
            assert_eq!(nan(&few), nan(&part), "{what}");
            assert_eq!(bits(&few[few.len() - 1..]), bits(&part[part.len() - 1..]), "{what}");
            assert!(few.windows(2).all(|pair| pair[0].step < pair[1].step), "{what}");
            let known: BTreeMap<u64, Point> = part.iter().map(|p| (p.step, *p)).collect();
            assert!(few.iter().all(|p| bits(&[*p]) == bits(&[known[&p.step]])), "{what}: only points of the series");
        }
        assert_eq!(bits(&curves.downsample(&run_id(1), "loss", all.len().max(steps as usize)).unwrap()), bits(&all));
    }
}

#[test]
fn summaries_give_what_the_points_give() {
    // One clean attempt: whole blocks fall into one bucket and are answered from their summaries.
    let spikes = [5, 3_000, 9_999];
    let value = |at: u64| if spikes.contains(&at) { 1e9 } else { (at % 17) as f64 };
    let events: Vec<Event> = (1..=10 * BLOCK_POINTS).map(|at| step(1, 1, at, &[("loss", value(at))])).collect();
    let live = live(&PROJECTION, events);
    let curves = Curves::over(live.clone());
    let few = curves.downsample(&run_id(1), "loss", 8).unwrap();
    assert!(few.len() <= 8);
    assert_eq!(few.iter().filter(|p| p.value == 1e9).count(), 2, "one in each half");
    // The same answer where the blocks are gone and only summaries are left: they were not read.
    live.read(|store| {
        let keys = (0..10).map(|number| super::rows::block(&run_id(1).to_string(), "loss", number));
        // Blocks 4 and 9 touch two buckets or none.
        let gone = keys.enumerate().filter(|(n, _)| n % 5 != 4).map(|(_, key)| (key, None));
        store.commit(&crate::store::Changes::of(gone))
    })
    .unwrap();
    assert_eq!(bits(&curves.downsample(&run_id(1), "loss", 8).unwrap()), bits(&few));
}

#[test]
fn a_later_attempt_replaces_what_came_after_its_checkpoint() {
    let metric = |value| [("loss", value)];
    let mut events: Vec<Event> = (1..=6).map(|at| step(1, 1, at, &metric(1.0))).collect();
    events.push(resumed(1, 2, 3));
    events.extend((4..=5).map(|at| step(1, 2, at, &metric(2.0))));
    // A late point of the first attempt, and one that is said twice.
    events.push(step(1, 1, 7, &metric(1.5)));
    events.push(step(1, 1, 2, &metric(1.25)));
    let curves = curves(events);
    let series = curves.series(&run_id(1), "loss").unwrap();
    assert_eq!(values(&series), [(1, 1.0, 1), (2, 1.25, 1), (3, 1.0, 1), (4, 2.0, 2), (5, 2.0, 2)]);
    assert_eq!(curves.all_attempts(&run_id(1), "loss").unwrap().len(), 10);
    assert_eq!(curves.takeovers(&run_id(1)).unwrap().len(), 1);
}

#[test]
fn an_attempt_without_a_checkpoint_begins_anew() {
    let mut events: Vec<Event> = (1..=3).map(|at| step(1, 1, at, &[("loss", 1.0)])).collect();
    events.push(training_started(1, 2));
    events.push(step(1, 2, 1, &[("loss", 2.0)]));
    let curves = curves(events);
    assert_eq!(values(&curves.series(&run_id(1), "loss").unwrap()), [(1, 2.0, 2)]);
}
