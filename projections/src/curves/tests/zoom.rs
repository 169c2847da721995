//! Any zoom keeps its first point, of every bucket the least, the greatest and the last, a NaN, and beside infinities
//! the finite extremes.

use super::*;
use crate::curves::curve::Range;
use crate::curves::query::Logical;

/// The points, and the parts of the axis of which extremes were kept.
fn zoom(curves: &Curves, query: &CurveQuery) -> (Vec<Point>, bool, Vec<(f64, f64)>) {
    let answer = curves.query(query).unwrap().remove(0);
    let range = Range::of(query.axis, query.from, query.to).unwrap().unwrap();
    let buckets = curves.0.read(|store| {
        let line = Logical::of(store, query.runs[0], query.axis, query)?;
        let (curve, _) = line.curve(&query.metrics[0], range)?;
        let found = curve.find(query)?;
        assert_eq!((found.points.len(), found.exact), (answer.points.len(), answer.exact));
        Ok(found.buckets.iter().map(|(from, to)| (range.shown(*from), range.shown(*to))).collect())
    });
    (answer.points, answer.exact, buckets.unwrap())
}

/// Checks a zoom against all points of the same question.
fn check(curves: &Curves, query: &CurveQuery, what: &str) {
    let points_max = query.points_max.unwrap();
    let all = curves.query(&CurveQuery { points_max: None, ..query.clone() }).unwrap().remove(0);
    assert!(all.exact);
    let (few, exact, buckets) = zoom(curves, query);
    assert!(few.len() <= points_max, "{what}: {} points", few.len());
    assert!(few.windows(2).all(|pair| (pair[0].x, pair[0].step) < (pair[1].x, pair[1].step)), "{what}");
    if all.points.len() <= points_max {
        assert_eq!(bits(&few), bits(&all.points), "{what}");
        assert!(exact);
        return;
    }
    assert!(!exact && buckets.len() <= points_max / 4, "{what}");
    assert_eq!(bits(&few[..1]), bits(&all.points[..1]), "{what}: the first point");
    let known: BTreeMap<u64, &Point> = all.points.iter().map(|p| (p.step, p)).collect();
    assert!(few.iter().all(|p| bits(&[*p]) == bits(&[*known[&p.step]])), "{what}: only points of the series");
    let mut covered = 0;
    for (from, to) in buckets {
        let inside = |points: &[Point]| -> Vec<Point> {
            points.iter().filter(|p| (from..=to).contains(&p.x)).copied().collect()
        };
        let (part, kept) = (inside(&all.points), inside(&few));
        covered += part.len();
        let numbers = |points: &[Point], is_wanted: fn(f64) -> bool| {
            points.iter().map(|p| p.value).filter(|v| is_wanted(*v)).collect::<Vec<_>>()
        };
        let least = |points: &[Point], of| numbers(points, of).into_iter().reduce(f64::min);
        let greatest = |points: &[Point], of| numbers(points, of).into_iter().reduce(f64::max);
        let first_nan = |points: &[Point]| points.iter().find(|p| p.value.is_nan()).map(|p| p.step);
        // Fewer than seven points have no room for everything.
        type Kind = (usize, fn(f64) -> bool);
        let kinds: [Kind; 2] = [(4, |v| !v.is_nan()), (7, f64::is_finite)];
        for (_, of) in kinds.into_iter().filter(|(least_max, _)| points_max >= *least_max) {
            assert_eq!(least(&kept, of), least(&part, of), "{what}, {from} to {to}");
            assert_eq!(greatest(&kept, of), greatest(&part, of), "{what}, {from} to {to}");
        }
        if points_max > 4 {
            assert_eq!(first_nan(&kept), first_nan(&part), "{what}, {from} to {to}");
        }
        assert_eq!(bits(&kept[kept.len() - 1..]), bits(&part[part.len() - 1..]), "{what}, {from} to {to}");
    }
    assert_eq!(covered, all.points.len(), "{what}: every point is in a bucket");
}

#[test]
fn no_spike_is_lost_at_any_zoom() {
    for (seed, length, batch_max) in [(11, 700, 10), (12, 40_000, 100_000), (13, 36_000, 400)] {
        println!("seed {seed}");
        let model = Model::random(seed, length);
        let curves = Curves::over(in_batches(model.events.clone(), batch_max, seed));
        let mut random = Random::new(seed);
        for run in 1..=3 {
            let last = *model.counting(run, "loss", u64::MAX).keys().last().unwrap();
            for (n, points_max) in [4, 9, 40, 61, 500, 4_000, 5, 6, 7, 8, 13].into_iter().enumerate() {
                let mut ends = [random.below(last + 10), random.below(last + 10)];
                ends.sort_unstable();
                let query = CurveQuery {
                    points_max: Some(points_max),
                    from: (n % 2 == 1).then_some(ends[0] as f64),
                    to: (n % 3 == 1).then_some(ends[1] as f64),
                    as_of: Position::new(if n == 4 { length as u64 / 2 } else { 0 }),
                    ..CurveQuery::of(&run_id(run), "loss")
                };
                check(&curves, &query, &format!("seed {seed}, run {run}, {query:?}"));
                let by_tokens = CurveQuery {
                    axis: Axis::Tokens,
                    from: query.from.map(|from| from * 2_048.0),
                    to: query.to.map(|to| to * 2_048.0),
                    ..query.clone()
                };
                check(&curves, &by_tokens, &format!("seed {seed}, run {run}, {by_tokens:?}"));
                let by_time = CurveQuery { axis: Axis::Time, from: None, to: None, ..query };
                check(&curves, &by_time, &format!("seed {seed}, run {run}, {by_time:?}"));
            }
        }
    }
}

#[test]
fn a_finite_spike_is_not_hidden_by_an_infinity() {
    let value = |at: u64| match at {
        100 | 30_000 => f64::INFINITY,
        104 => 1e6,
        108 => -1e6,
        112 => f64::NEG_INFINITY,
        30_004 => 1e7,
        _ => 1.0 + (at % 7) as f64,
    };
    for length in [2_000, 60_000] {
        let curves = curves((1..=length).map(|at| step(1, 1, at, &[("loss", value(at))])).collect());
        for points_max in [7, 40, 100, 500] {
            let query = CurveQuery { points_max: Some(points_max), ..CurveQuery::of(&run_id(1), "loss") };
            check(&curves, &query, &format!("{points_max} of {length}"));
            let few = curves.query(&query).unwrap().remove(0);
            let steps: Vec<u64> = few.points.iter().map(|p| p.step).collect();
            let spikes: &[u64] = if length == 2_000 { &[1, 100, 104, 108, 112] } else { &[1, 108, 112, 30_004] };
            assert!(spikes.iter().all(|at| steps.contains(at)), "{points_max} of {length}: {steps:?}");
        }
    }
}

#[test]
fn many_infinities_still_keep_to_the_bound() {
    let value = |at: u64| [f64::INFINITY, at as f64, f64::NEG_INFINITY, -(at as f64), f64::NAN, 1.0][at as usize % 6];
    let curves = curves((1..=20_000).map(|at| step(1, 1, at, &[("loss", value(at))])).collect());
    for points_max in [4, 5, 6, 7, 8, 9, 12, 13, 14, 40, 500, 3_999] {
        for from in [None, Some(1_660.0)] {
            let query = CurveQuery { points_max: Some(points_max), from, ..CurveQuery::of(&run_id(1), "loss") };
            check(&curves, &query, &format!("{points_max} points from {from:?}"));
        }
    }
}

/// A clean run of many panels.
fn clean(steps: u64) -> (Arc<Live>, [u64; 3]) {
    let spikes = [5, steps / 3, steps - 1];
    let value = |at: u64| if spikes.contains(&at) { 1e9 } else { (at % 17) as f64 };
    (in_batches((1..=steps).map(|at| step(1, 1, at, &[("loss", value(at))])).collect(), 1_000_000, 1), spikes)
}

/// Deletes the sealed panels.
fn forget(live: &Live, panels: std::ops::Range<u32>) {
    let keys = panels.map(|panel| (crate::curves::rows::sealed(&run_id(1), panel, 0), None));
    live.read(|store| store.commit(&crate::store::Changes::of(keys))).unwrap();
}

#[test]
fn whole_panels_are_answered_by_their_extremes() {
    let (live, _) = clean(20 * 4_096 + 100);
    let curves = Curves::over(live.clone());
    let query = CurveQuery { points_max: Some(17), ..CurveQuery::of(&run_id(1), "loss") };
    let few = curves.query(&query).unwrap().remove(0);
    assert!(few.points.len() <= 17 && !few.exact);
    assert_eq!(few.total_points, 20 * 4_096 + 100);
    assert_eq!(few.points.iter().filter(|p| p.value == 1e9).count(), 3, "each in another quarter");
    // The same where the panels are gone and only the index is left: they were not read.
    forget(&live, 0..20);
    let again = curves.query(&query).unwrap().remove(0);
    assert_eq!(bits(&again.points), bits(&few.points));
    assert_eq!(curves.metrics(&run_id(1), None).unwrap()[0].points, few.total_points);
    assert!(curves.series(&run_id(1), "loss").is_err(), "all points need the panels");
}

#[test]
fn late_points_do_not_make_panels_reach_over_others() {
    let mut events: Vec<Event> = Vec::new();
    for at in 1..=30 * 4_096u64 {
        events.push(step(1, 1, at, &[("loss", at as f64)]));
        if at % 9_000 == 0 {
            events.push(step(1, 1, 1 + at / 3, &[("loss", -1.0)]));
        }
    }
    let live = in_batches(events, 1_000_000, 1);
    let curves = Curves::over(live.clone());
    let query = CurveQuery { points_max: Some(40), ..CurveQuery::of(&run_id(1), "loss") };
    check(&curves, &query, "late points");
    let few = curves.query(&query).unwrap().remove(0);
    // The late points, and what they replaced, lie in a few panels; the others are not needed.
    let late: Vec<u32> = (1..=13).flat_map(|n| [(n * 9_000 / 4_096) as u32, (1 + n * 3_000) as u32 / 4_096]).collect();
    (0..29)
        .filter(|panel| (0..=1).all(|n| !late.contains(&(panel + n))))
        .for_each(|panel| forget(&live, panel..panel + 1));
    assert_eq!(bits(&curves.query(&query).unwrap().remove(0).points), bits(&few.points));
}

#[test]
fn a_sparse_metric_is_found_without_what_lies_between() {
    let metrics = |at: u64| match at % 8_192 {
        0 => vec![("loss", at as f64), ("eval", -(at as f64))],
        _ => vec![("loss", at as f64)],
    };
    let events: Vec<Event> = (1..=20 * 4_096u64).map(|at| step(1, 1, at, &metrics(at))).collect();
    let live = in_batches(events, 1_000_000, 1);
    let curves = Curves::over(live.clone());
    let expected: Vec<(u64, f64, u32)> = (1..=10).map(|n| (n * 8_192, -((n * 8_192) as f64), 1)).collect();
    assert_eq!(values(&curves.series(&run_id(1), "eval").unwrap()), expected);
    // Only every second panel has it.
    (0..10).for_each(|n| forget(&live, 2 * n..2 * n + 1));
    assert_eq!(values(&curves.series(&run_id(1), "eval").unwrap()), expected);
}
