//! Runs that went on from other runs, smoothing, resampling and aggregates.

use super::*;
use crate::curves::{AggregateQuery, Offset};
use crate::testing::{artifact, checkpoint};
use cairn_schemas::events::training::{RunCompleted, RunForked, RunStarted};

fn forked(run: u64, from_run: u64, from_step: u64) -> Event {
    RunForked { run: run_id(run), from_run: run_id(from_run), from_step, checkpoint: artifact("checkpoint") }.into()
}

fn started_from(run: u64, parent: u64) -> Event {
    let Event::RunStarted(started) = training_started(run, 1) else { unreachable!() };
    RunStarted { parent: Some(run_id(parent)), ..started }.into()
}

fn completed(run: u64, steps: u64, tokens: u64) -> Event {
    RunCompleted {
        run: run_id(run),
        attempt: 1,
        steps,
        tokens,
        duration_ms: 1,
        weights: None,
        weights_digest: None,
        metrics: vec![],
        divergences: vec![],
    }
    .into()
}

fn steps(run: u64, range: impl Iterator<Item = u64>, value: f64) -> Vec<Event> {
    range.map(|at| step(run, 1, at, &[("loss", value)])).collect()
}

fn ask(curves: &Curves, run: u64, axis: Axis, ancestors: bool) -> CurveAnswer {
    let query = CurveQuery { axis, ancestors, ..CurveQuery::of(&run_id(run), "loss") };
    curves.query(&query).unwrap().remove(0)
}

#[test]
fn a_pretraining_and_what_was_made_of_it_lie_on_one_axis() {
    let mut events = steps(1, 1..=100, 1.0);
    events.push(forked(2, 1, 60));
    events.extend(steps(2, 1..=30, 2.0));
    events.push(completed(2, 30, 30 * 2_048));
    events.push(started_from(3, 2));
    events.extend(steps(3, 1..=5, 3.0));
    let curves = curves(events);

    let alone = ask(&curves, 3, Axis::LineageTokens, false);
    assert_eq!(alone.parts.len(), 1);
    assert_eq!(alone.parts[0].tokens_before, Offset::Known(90 * 2_048));
    assert_eq!(
        alone.points.iter().map(|p| p.x).collect::<Vec<_>>(),
        (91..=95).map(|n| n as f64 * 2_048.0).collect::<Vec<_>>()
    );

    for (axis, scale) in [(Axis::Tokens, 2_048.0), (Axis::Step, 1.0), (Axis::LineageSteps, 1.0)] {
        let whole = ask(&curves, 3, axis, true);
        let found: Vec<(f64, f64)> = whole.points.iter().map(|p| (p.x, p.value)).collect();
        let expected: Vec<(f64, f64)> = (1..=95)
            .map(|n| {
                (
                    f64::from(n) * scale,
                    if n <= 60 {
                        1.0
                    } else if n <= 90 {
                        2.0
                    } else {
                        3.0
                    },
                )
            })
            .collect();
        assert_eq!(found, expected, "{axis:?}");
        assert_eq!(whole.parts.iter().map(|part| part.to_step).collect::<Vec<_>>(), [Some(60), Some(30), None]);
        let few = CurveQuery { axis, ancestors: true, points_max: Some(12), ..CurveQuery::of(&run_id(3), "loss") };
        let few = curves.query(&few).unwrap().remove(0);
        assert!(few.points.len() <= 12 && few.points.windows(2).all(|pair| pair[0].x < pair[1].x));
        assert_eq!(few.points.last().map(|p| p.x), Some(95.0 * scale));
    }
    assert_eq!(ask(&curves, 3, Axis::Step, false).points[0].x, 1.0, "alone it counts its own steps");
}

#[test]
fn what_is_not_known_is_not_called_nothing() {
    // A parent of which only checkpoints are known, one whose producer does not count tokens, and one unheard of.
    let mut events = vec![checkpoint(1, 1, 1_000), checkpoint(1, 1, 3_000), forked(2, 1, 1_000), forked(3, 1, 2_000)];
    events.push(forked(4, 1, 5_000));
    for at in 1..=10 {
        let Event::StepLogged(mut uncounted) = step(5, 1, at, &[("loss", 1.0)]) else { unreachable!() };
        uncounted.tokens = 0;
        events.push(uncounted.into());
    }
    events.extend([forked(6, 5, 10), forked(7, 99, 10), forked(9, 8, 3), forked(8, 9, 3)]);
    for run in [2, 3, 4, 6, 7, 8] {
        events.extend(steps(run, 1..=2, 1.0));
    }
    let curves = curves(events);
    let before = |run: u64| ask(&curves, run, Axis::LineageTokens, false);
    assert_eq!(before(2).parts[0].tokens_before, Offset::Known(1_000 * 2_048));
    assert_eq!(before(3).parts[0].tokens_before, Offset::Estimated(2_000 * 2_048));
    assert_eq!(before(3).points[0].x, 2_001.0 * 2_048.0);
    for (run, words) in [(4, "the tokens by step 5000"), (6, "the tokens by step 10"), (7, "the tokens"), (8, "circle")]
    {
        let answer = before(run);
        let why = answer.unplaced.unwrap();
        assert!(why.contains(words), "{why}");
        assert!(answer.points.is_empty());
    }
    assert_eq!(ask(&curves, 6, Axis::LineageSteps, false).points[0].x, 11.0, "its steps are known");
    assert_eq!(ask(&curves, 7, Axis::Step, false).points.len(), 2);
}

#[test]
fn an_origin_counts_from_its_own_position_on() {
    let mut events = steps(1, 1..=10, 1.0);
    events.extend(steps(2, 1..=3, 2.0));
    events.push(forked(2, 1, 10));
    let curves = curves(events);
    let query = CurveQuery { axis: Axis::LineageSteps, ..CurveQuery::of(&run_id(2), "loss") };
    let first =
        |as_of| curves.query(&CurveQuery { as_of: Position::new(as_of), ..query.clone() }).unwrap()[0].points[0].x;
    assert_eq!((first(13), first(14)), (1.0, 11.0));
}

#[test]
fn smoothing_comes_before_points_are_left_out() {
    let events: Vec<Event> = (1..=20_000).map(|at| step(1, 1, at, &[("loss", (at * 7_919 % 101) as f64)])).collect();
    let curves = curves(events);
    let query = CurveQuery { smoothing: Some(Smoothing::Mean(5)), ..CurveQuery::of(&run_id(1), "loss") };
    let all = curves.query(&query).unwrap().remove(0);
    for (n, point) in all.points.iter().enumerate() {
        let window = (n.saturating_sub(4)..=n).map(|at| ((at as u64 + 1) * 7_919 % 101) as f64);
        let (sum, count) = window.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
        assert!((point.value - sum / count).abs() < 1e-9);
    }
    let few = CurveQuery { points_max: Some(80), from: Some(1_000.0), ..query };
    let few = curves.query(&few).unwrap().remove(0);
    assert!(few.points.len() <= 80 && few.points[0].step >= 1_000);
    assert_eq!(few.total_points, 19_001);
    for point in few.points {
        assert_eq!(point.value, all.points[point.step as usize - 1].value);
    }
}

#[test]
fn resampled_points_are_even() {
    let curves = curves((0..=50).map(|n| step(1, 1, n * n, &[("loss", (n * n) as f64 * 3.0)])).collect());
    let query = CurveQuery { resample: Some(101), ..CurveQuery::of(&run_id(1), "loss") };
    let answer = curves.query(&query).unwrap().remove(0);
    assert_eq!((answer.points.len(), answer.total_points, answer.exact), (101, 51, false));
    for (n, point) in answer.points.iter().enumerate() {
        assert!((point.x - n as f64 * 25.0).abs() < 1e-9 && (point.value - point.x * 3.0).abs() < 1e-9, "{point:?}");
        assert!(point.step as f64 <= point.x);
    }
}

fn aggregate(runs: &[u64]) -> AggregateQuery {
    AggregateQuery {
        runs: runs.iter().map(|run| run_id(*run)).collect(),
        metric: "loss".into(),
        axis: Axis::Step,
        from: None,
        to: None,
        points_max: 100,
        quantiles: vec![0.5],
        as_of: None,
        smoothing: None,
        ancestors: false,
    }
}

#[test]
fn seeds_are_taken_together_where_they_logged() {
    let mut events = Vec::new();
    for (run, value) in [(1, 1.0), (2, 3.0), (3, 8.0)] {
        events.extend((1..=10).map(|n| step(run, 1, n * 10, &[("loss", value * n as f64)])));
    }
    // One that logged half as often, and not to the end; and a NaN, which counts as nothing.
    events.extend((1..=4).map(|n| step(4, 1, n * 20, &[("loss", n as f64 * 8.0)])));
    events.push(step(5, 1, 50, &[("loss", f64::NAN)]));
    let curves = curves(events);
    let found = curves.aggregate(&aggregate(&[1, 2, 3, 4, 5, 6])).unwrap();
    assert!(found.exact);
    assert_eq!(found.runs, (1..=5).map(run_id).collect::<Vec<_>>(), "the sixth has nothing");
    assert_eq!(found.points.len(), 10);
    for (n, point) in (1..).zip(&found.points) {
        let scale = f64::from(n);
        let has_fourth = (2..=8).contains(&n);
        let expected = if has_fourth { [1.0, 3.0, 4.0, 8.0].as_slice() } else { &[1.0, 3.0, 8.0] };
        let count = expected.len() as f64;
        assert_eq!((point.x, point.n), (scale * 10.0, expected.len()), "{n}");
        assert!((point.mean - scale * expected.iter().sum::<f64>() / count).abs() < 1e-9);
        assert_eq!((point.min, point.max), (scale, scale * 8.0));
        assert!((point.quantiles[0] - scale * if has_fourth { 3.5 } else { 3.0 }).abs() < 1e-9);
    }
}

#[test]
fn dense_seeds_keep_their_spikes() {
    let value = |run: u64, at: u64| if (run, at) == (2, 7_777) { 1e6 } else { run as f64 };
    let events: Vec<Event> =
        (1..=10_000u64).flat_map(|at| (1..=3).map(move |run| step(run, 1, at, &[("loss", value(run, at))]))).collect();
    let curves = curves(events);
    let found = curves.aggregate(&aggregate(&[1, 2, 3])).unwrap();
    assert!(!found.exact && found.points.len() == 100);
    assert!(found.points.iter().all(|p| p.n == 3 && p.min == 1.0 && p.quantiles[0] >= 2.0));
    let spikes: Vec<&_> = found.points.iter().filter(|p| p.max == 1e6).collect();
    assert!(spikes.len() == 1 && (spikes[0].x - 7_777.0).abs() <= 101.0 && spikes[0].mean > 1_000.0);
    assert!(found.points.iter().filter(|p| p.max != 1e6).all(|p| (p.mean, p.max) == (2.0, 3.0)));
}

#[test]
fn a_run_infinite_both_ways_still_counts() {
    let value = |run: u64, at: u64| match (run, at) {
        (2, 2_500) => f64::INFINITY,
        (2, 2_501) => f64::NEG_INFINITY,
        (3, 2_502) => 1e6,
        (3, 2_503) => -1e6,
        (3, 7_500) => f64::INFINITY,
        _ => run as f64,
    };
    let events: Vec<Event> =
        (1..=10_000u64).flat_map(|at| (1..=3).map(move |run| step(run, 1, at, &[("loss", value(run, at))]))).collect();
    let curves = curves(events);
    let found = curves.aggregate(&aggregate(&[1, 2, 3])).unwrap();
    assert!(!found.exact && found.points.iter().all(|point| point.n == 3));
    let near = |x: f64| found.points.iter().min_by(|a, b| (a.x - x).abs().total_cmp(&(b.x - x).abs())).unwrap();
    let both = near(2_500.0);
    assert_eq!((both.min, both.max), (f64::NEG_INFINITY, f64::INFINITY));
    assert!(both.mean.is_finite() && both.quantiles[0] == 2.0, "{both:?}");
    let up = near(7_500.0);
    assert_eq!((up.min, up.max, up.mean), (1.0, f64::INFINITY, f64::INFINITY));
    // Without the run of infinities, its finite spikes are there to see.
    let third = curves.aggregate(&aggregate(&[1, 3])).unwrap();
    assert!(third.points.iter().any(|point| (point.min, point.max) == (-1e6, 1e6)));
    // Where there is nothing finite beside them there is no mean.
    let only = super::curves(
        (1..=1_000)
            .map(|at| step(1, 1, at, &[("loss", if at % 2 == 0 { f64::INFINITY } else { f64::NEG_INFINITY })]))
            .collect(),
    );
    let found = only.aggregate(&aggregate(&[1])).unwrap();
    let is_told = |p: &crate::curves::AggregatePoint| {
        (p.n, p.min, p.max) == (1, f64::NEG_INFINITY, f64::INFINITY) && p.mean.is_nan() && p.quantiles[0].is_nan()
    };
    assert!(found.points[1..99].iter().all(is_told), "{:?}", found.points);
}

#[test]
fn a_metric_that_none_has_is_not_nothing() {
    let curves = curves(steps(1, 1..=9, 1.0));
    let wrong = AggregateQuery { metric: "los".into(), ..aggregate(&[1, 2]) };
    let error = curves.aggregate(&wrong).unwrap_err().to_string();
    assert!(error.contains("`los`; they have `loss`"), "{error}");
    // A star is no pattern here.
    assert!(curves.aggregate(&AggregateQuery { metric: "lo*".into(), ..aggregate(&[1]) }).is_err());
    assert!(curves.aggregate(&AggregateQuery { metric: "los".into(), ..aggregate(&[2]) }).unwrap().points.is_empty());
}
