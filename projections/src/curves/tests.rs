//! Curves against a plain vector of points.

mod lines;
mod zoom;

use super::{Axis, CurveAnswer, CurveQuery, Curves, PROJECTION, Point, Smoothing};
use crate::projection::{Filled, Live};
use crate::store::Memory;
use crate::testing::{List, Random, resumed, run_id, step, training_started};
use cairn_schemas::events::training::{RunCancelled, RunFailed};
use cairn_schemas::{Event, Position, Recorded};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

/// A projection of events that came in batches of up to so many.
fn in_batches(events: Vec<Event>, batch_max: u64, seed: u64) -> Arc<Live> {
    let live = Live::new(&PROJECTION, Filled::over(Box::new(Memory::default())).unwrap());
    let (all, mut random) = (List::of(events).all(), Random::new(seed));
    let mut rest: &[Recorded] = &all;
    while !rest.is_empty() {
        let (batch, left) = rest.split_at((1 + random.below(batch_max) as usize).min(rest.len()));
        live.apply(batch).unwrap();
        rest = left;
    }
    Arc::new(live)
}

fn curves(events: Vec<Event>) -> Curves {
    Curves::over(in_batches(events, 1_000_000, 1))
}

/// What the points of a curve are, where NaN equals itself.
fn bits(points: &[Point]) -> Vec<(u64, i64, u64, u64, u32, u64)> {
    let of = |p: &Point| (p.step, p.time.as_micros(), p.tokens, p.value.to_bits(), p.attempt, p.position.get());
    points.iter().map(of).collect()
}

fn values(points: &[Point]) -> Vec<(u64, f64, u32)> {
    points.iter().map(|p| (p.step, p.value, p.attempt)).collect()
}

fn value(random: &mut Random) -> f64 {
    match random.below(40) {
        0 => f64::NAN,
        1 => f64::INFINITY,
        2 => f64::NEG_INFINITY,
        3 => f64::from_bits(0x7ff0_0000_0000_0001 | random.below(1 << 50)),
        4..20 => f64::from(random.below(1_000_000) as f32 / 1_024.0),
        _ => random.below(1_000_000) as f64 / 1_000.0,
    }
}

/// A point as it was logged.
#[derive(Clone, Copy, Debug)]
struct Logged {
    run: u64,
    metric: &'static str,
    step: u64,
    attempt: u32,
    value: f64,
    position: u64,
}

/// What was logged, and which attempts took over, in order of arrival.
#[derive(Default)]
struct Model {
    points: Vec<Logged>,
    takeovers: Vec<(u64, u32, u64, u64)>,
    events: Vec<Event>,
}

impl Model {
    fn event(&mut self, event: impl Into<Event>) -> u64 {
        self.events.push(event.into());
        self.events.len() as u64
    }

    fn log(&mut self, run: u64, attempt: u32, at: u64, metrics: &[(&'static str, f64)]) {
        let position = self.event(step(run, attempt, at, metrics));
        let point =
            |(metric, value): &(&'static str, f64)| Logged { run, metric, step: at, attempt, value: *value, position };
        self.points.extend(metrics.iter().map(point));
    }

    /// The points that count, by step.
    fn counting(&self, run: u64, metric: &str, as_of: u64) -> BTreeMap<u64, Logged> {
        let mut kept: BTreeMap<u64, Logged> = BTreeMap::new();
        for point in self.points.iter().filter(|p| p.run == run && p.metric == metric && p.position <= as_of) {
            let hides = |(of, attempt, from, position): &(u64, u32, u64, u64)| {
                *of == run && *position <= as_of && *attempt > point.attempt && *from < point.step
            };
            if !self.takeovers.iter().any(hides)
                && kept.get(&point.step).is_none_or(|known| known.attempt <= point.attempt)
            {
                kept.insert(point.step, *point);
            }
        }
        kept
    }

    fn expected(&self, run: u64, metric: &str, as_of: u64) -> Vec<(u64, i64, u64, u64, u32, u64)> {
        let of = |p: &Logged| {
            let time = crate::testing::recorded_at(p.step).as_micros();
            (p.step, time, p.step * 2_048, p.value.to_bits(), p.attempt, p.position)
        };
        self.counting(run, metric, as_of).values().map(of).collect()
    }

    /// Three runs whose events come in turns: a dense one, a sparse one, and one that logs each metric by itself; with
    /// late, repeated and out-of-order points, attempts that take over, and ends that were not the end.
    fn random(seed: u64, length: usize) -> Self {
        let mut random = Random::new(seed);
        let mut model = Model::default();
        let (mut attempts, mut ats) = ([1u32; 4], [0u64; 4]);
        while model.events.len() < length {
            let run = [1, 1, 1, 1, 1, 1, 2, 3][random.below(8) as usize];
            let (attempt, at) = (&mut attempts[run as usize], &mut ats[run as usize]);
            *at += [1, 1 + random.below(3), 1_000, 1][run as usize];
            let late = if random.below(20) == 0 { at.saturating_sub(random.below(100)).max(1) } else { *at };
            let given = if random.below(400) == 0 { 1 + random.below(*at) } else { late };
            let by = if *attempt > 1 && random.below(50) == 0 { *attempt - 1 } else { *attempt };
            let mut metrics = vec![("loss", value(&mut random)), ("grad_norm", 1.0)];
            if random.below(100) == 0 {
                metrics.push(("eval/acc", value(&mut random)));
            }
            if random.below(200) == 0 {
                metrics.push(("loss", value(&mut random)));
            }
            if run == 3 {
                metrics = vec![metrics[random.below(metrics.len() as u64) as usize]];
            }
            let (by, given) = (by, given);
            let (attempt_now, at_now) = (*attempt, *at);
            model.log(run, by, given, &metrics);
            match random.below(1_400) {
                0 | 1 => {
                    let from = random.below(at_now + 1);
                    let position = model.event(resumed(run, attempt_now + 1, from));
                    model.takeovers.push((run, attempt_now + 1, from, position));
                    (attempts[run as usize], ats[run as usize]) = (attempt_now + 1, from);
                }
                2 => {
                    let (run, error) = (run_id(run), "it fell over".to_owned());
                    model.event(RunFailed { run, attempt: attempt_now, step: at_now, error });
                }
                3 => {
                    let (run, reason) = (run_id(run), "enough".to_owned());
                    model.event(RunCancelled { run, attempt: attempt_now, step: at_now, reason });
                }
                _ => {}
            }
        }
        model
    }
}

const METRICS: [&str; 3] = ["loss", "grad_norm", "eval/acc"];

fn series_as_of(curves: &Curves, run: u64, metric: &str, as_of: Option<u64>) -> Vec<Point> {
    let as_of = as_of.and_then(Position::new);
    let known = curves.runs_metrics(&run_id(run), as_of).unwrap();
    if !known.iter().any(|name| name == metric) {
        return Vec::new();
    }
    let query = CurveQuery { as_of, ..CurveQuery::of(&run_id(run), metric) };
    curves.query(&query).unwrap().remove(0).points
}

#[test]
fn a_series_is_what_a_plain_vector_says() {
    for (seed, length, batch_max) in
        [(1, 40, 1), (2, 900, 5), (3, 3_000, 1), (4, 14_000, 40), (5, 30_000, 9_000), (6, 30_000, 700)]
    {
        println!("seed {seed}");
        let model = Model::random(seed, length);
        let live = in_batches(model.events.clone(), batch_max, seed);
        let curves = Curves::over(live.clone());
        let mut random = Random::new(seed);
        for run in 1..=3 {
            for metric in METRICS {
                let what = format!("seed {seed}, run {run}, {metric}");
                let found = series_as_of(&curves, run, metric, None);
                assert_eq!(bits(&found), model.expected(run, metric, u64::MAX), "{what}");
                assert!(found.iter().all(|point| point.x == point.step as f64));
                for _ in 0..3 {
                    let as_of = 1 + random.below(length as u64);
                    let found = series_as_of(&curves, run, metric, Some(as_of));
                    assert_eq!(bits(&found), model.expected(run, metric, as_of), "{what} as of {as_of}");
                }
            }
        }
    }
}

#[test]
fn no_attempt_is_lost() {
    let model = Model::random(21, 12_000);
    let curves = Curves::over(in_batches(model.events.clone(), 300, 21));
    for run in 1..=3 {
        let query = CurveQuery { attempts: true, ..CurveQuery::of(&run_id(run), "loss") };
        let found = curves.query(&query).unwrap().remove(0);
        let mut expected: Vec<&Logged> = model.points.iter().filter(|p| p.run == run && p.metric == "loss").collect();
        expected.sort_by_key(|p| (p.step, p.attempt));
        let expected: Vec<_> = expected.iter().map(|p| (p.step, p.attempt, p.value.to_bits(), p.position)).collect();
        let all: Vec<_> =
            found.points.iter().map(|p| (p.step, p.attempt, p.value.to_bits(), p.position.get())).collect();
        assert_eq!(all, expected);
        assert_eq!(found.total_points as usize, expected.len());
        let few = curves.query(&CurveQuery { points_max: Some(40), ..query }).unwrap().remove(0);
        assert!(few.points.len() <= 40 && !few.points.is_empty());
    }
}

#[test]
fn batches_change_the_layout_and_not_the_content() {
    let model = Model::random(31, 20_000);
    let digest = |batch_max, seed| {
        let live = in_batches(model.events.clone(), batch_max, seed);
        live.with(|filled| (filled.digest(&PROJECTION).unwrap(), filled.len()))
    };
    let ((one, few_rows), (other, rows)) = (digest(1_000_000, 1), digest(7, 2));
    assert_eq!(one, other);
    assert_ne!(few_rows, rows, "the layout is another");
    let mut changed = Model::random(31, 20_000);
    let Some(Event::StepLogged(last)) = changed.events.iter_mut().rev().find(|e| matches!(e, Event::StepLogged(_)))
    else {
        panic!("there are steps");
    };
    last.metrics[0].value = cairn_schemas::Real(f64::from_bits(last.metrics[0].value.0.to_bits() ^ 1));
    let live = in_batches(changed.events, 7, 2);
    assert_ne!(live.with(|filled| filled.digest(&PROJECTION).unwrap()), one);
}

#[test]
fn points_are_written_a_bounded_number_of_times() {
    // One event a batch: the rows that are left are few, and none holds everything.
    let events: Vec<Event> = (1..=9_000).map(|at| step(1, 1, at, &[("loss", 0.5), ("lr", at as f64)])).collect();
    let live = in_batches(events, 1, 1);
    let rows = live.with(Filled::len);
    assert!(rows < 40, "{rows} rows");
}

#[test]
fn summaries_of_metrics_are_what_their_points_say() {
    let model = Model::random(41, 24_000);
    let curves = Curves::over(in_batches(model.events.clone(), 3_000, 41));
    for (run, as_of) in [(1, u64::MAX), (2, u64::MAX), (3, u64::MAX), (1, 11_111)] {
        let found = curves.metrics(&run_id(run), Position::new(as_of)).unwrap();
        for summary in &found {
            let all = model.counting(run, &summary.name, as_of);
            let reals = || all.values().map(|p| p.value).filter(|value| !value.is_nan());
            assert_eq!(summary.points, all.len() as u64);
            assert_eq!(Some(&summary.first_step), all.keys().next());
            let last = all.values().last().unwrap();
            assert_eq!((summary.last.step, summary.last.value.to_bits()), (last.step, last.value.to_bits()));
            assert_eq!(summary.min, reals().reduce(f64::min));
            assert_eq!(summary.max, reals().reduce(f64::max));
        }
        let mut names: Vec<&str> = METRICS.into_iter().filter(|m| !model.counting(run, m, as_of).is_empty()).collect();
        names.sort_unstable();
        assert_eq!(found.iter().map(|summary| summary.name.as_str()).collect::<Vec<_>>(), names);
        let latest = curves.latest(&run_id(run), Position::new(as_of)).unwrap();
        assert_eq!(latest.len(), names.len());
    }
}

#[test]
fn bulk_blocks_are_the_series() {
    let model = Model::random(51, 20_000);
    let curves = Curves::over(in_batches(model.events.clone(), 2_000, 51));
    for as_of in [None, Position::new(9_999)] {
        let mut found = BTreeMap::<(String, String), Vec<_>>::new();
        let runs: Vec<_> = (1..=3).map(run_id).collect();
        let covered = curves
            .for_each_block::<crate::Error>(&runs, &["*".into()], as_of, |block| {
                let rows = found.entry((block.run.to_string(), block.metric.to_owned())).or_default();
                for n in 0..block.steps.len() {
                    rows.push((
                        block.steps[n],
                        block.times_micros[n],
                        block.tokens[n],
                        block.values[n].to_bits(),
                        block.attempts[n],
                        block.positions[n],
                    ));
                }
                Ok(ControlFlow::Continue(()))
            })
            .unwrap();
        assert_eq!(covered.unwrap().get(), as_of.map_or(model.events.len() as u64, Position::get));
        for run in 1..=3 {
            for metric in METRICS {
                let rows = found.remove(&(run_id(run).to_string(), metric.to_owned())).unwrap_or_default();
                assert_eq!(rows, model.expected(run, metric, covered.unwrap().get()));
            }
        }
        assert!(found.is_empty());
    }
}

#[test]
fn a_long_series_comes_in_several_blocks() {
    let curves = curves((1..=20_000).map(|at| step(1, 1, at, &[("loss", at as f64)])).collect());
    let (mut steps, mut blocks) = (Vec::new(), 0);
    let take = |block: &crate::curves::CurveBlock<'_>| {
        blocks += 1;
        steps.extend_from_slice(block.steps);
        Ok(if blocks == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    };
    curves.for_each_block::<crate::Error>(&[run_id(1)], &["loss".into()], None, take).unwrap();
    assert_eq!(blocks, 3, "it stops when told to");
    assert_eq!(steps, (1..=steps.len() as u64).collect::<Vec<_>>());
    assert!(steps.len() < 20_000);
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
    assert_eq!(curves.takeovers(&run_id(1), None).unwrap().len(), 1);
    let before = series_as_of(&curves, 1, "loss", Some(6));
    assert_eq!(values(&before), (1..=6).map(|at| (at, 1.0, 1)).collect::<Vec<_>>(), "before it was resumed");
}

#[test]
fn an_attempt_without_a_checkpoint_begins_anew() {
    let mut events: Vec<Event> = (1..=3).map(|at| step(1, 1, at, &[("loss", 1.0)])).collect();
    events.push(training_started(1, 2));
    events.push(step(1, 2, 1, &[("loss", 2.0)]));
    let curves = curves(events);
    assert_eq!(values(&curves.series(&run_id(1), "loss").unwrap()), [(1, 2.0, 2)]);
}

#[test]
fn senseless_questions_say_what_would_make_sense() {
    let curves = curves((1..=9).map(|at| step(1, 1, at, &[("train/loss", 1.0), ("eval/loss", 2.0)])).collect());
    let ask = |change: &dyn Fn(&mut CurveQuery)| {
        let mut query = CurveQuery::of(&run_id(1), "train/loss");
        change(&mut query);
        curves.query(&query).map_err(|error| error.to_string())
    };
    let refused = |change: &dyn Fn(&mut CurveQuery), words: &[&str]| {
        let error = ask(change).unwrap_err();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    };
    refused(&|q| q.metrics = vec!["train/los".into()], &["`train/los`", "they have `train/loss`"]);
    refused(&|q| q.metrics = vec!["valid/*".into()], &["`valid/*`", "`eval/loss`"]);
    refused(&|q| (q.from, q.to) = (Some(5.0), Some(2.0)), &["from 5 to 2", "lower end first"]);
    refused(&|q| q.to = Some(f64::NAN), &["NaN"]);
    refused(&|q| q.smoothing = Some(Smoothing::Ema(1.0)), &["weight of 1", "less than 1"]);
    refused(&|q| (q.attempts, q.resample) = (true, Some(4)), &["all attempts"]);
    let points = |change: &dyn Fn(&mut CurveQuery)| -> Vec<usize> {
        ask(change).unwrap().iter().map(|answer: &CurveAnswer| answer.points.len()).collect()
    };
    assert_eq!(points(&|q| q.metrics = vec!["*/loss".into(), "train/loss".into()]), [9, 9]);
    assert_eq!(points(&|q| (q.from, q.to) = (Some(2.5), Some(4.0))), [2]);
    assert_eq!(points(&|q| q.to = Some(-1.0)), [0]);
    assert_eq!(points(&|q| q.runs.push(run_id(9))), [9, 0], "nothing is known of that run");
    assert_eq!(points(&|q| q.runs = vec![run_id(9)]), [0]);
    assert_eq!(points(&|q| (q.axis, q.from) = (Axis::Tokens, Some(2_048.0 * 8.0))), [2]);
}
