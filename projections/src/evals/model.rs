//! Boards, results and grids against a plain list of results, on histories with corrections, late imports and failures.

use super::{At, Board, Cell, Evals, Filter, Grid, PROJECTION, Place, Ranked, Standing};
use crate::projection::{Filled, Live};
use crate::store::Memory;
use crate::testing::{Random, checkpoint, evaluation, recorded, recorded_at, reference, run_id};
use cairn_schemas::events::evaluation::{EvaluationCompleted, EvaluationFailed, EvaluationSuperseded};
use cairn_schemas::{Blake3, Event, Position, Real, Recorded, Ref};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One result, as a list would hold it.
#[derive(Clone, Debug)]
struct Plain {
    position: u64,
    ordinal: u32,
    occurred: i64,
    e: EvaluationCompleted,
}

impl Plain {
    fn metric(&self) -> &str {
        &self.e.metrics[self.ordinal as usize].name
    }
    fn value(&self) -> f64 {
        self.e.metrics[self.ordinal as usize].value.0
    }
    fn group(&self) -> (String, String, Blake3) {
        (self.e.suite.clone(), self.e.slice.clone(), self.e.protocol_digest)
    }
}

/// The history as plain lists.
#[derive(Default)]
struct Model {
    results: Vec<Plain>,
    superseded: Vec<(Ref, u64, i64)>,
    failed: Vec<(EvaluationFailed, u64, i64)>,
}

impl Model {
    fn take(&mut self, event: &Recorded) {
        let (position, occurred) = (event.position.get(), event.occurred_at.as_micros());
        match &event.event {
            Event::EvaluationCompleted(e) => {
                let plain = |ordinal: u32| Plain { position, ordinal, occurred, e: e.clone() };
                self.results.extend((0..e.metrics.len() as u32).map(plain));
            }
            Event::EvaluationSuperseded(e) => self.superseded.push((e.evaluation.clone(), position, occurred)),
            Event::EvaluationFailed(e) => self.failed.push((e.clone(), position, occurred)),
            _ => {}
        }
    }

    fn superseded(&self, evaluation: &Ref, at: &At) -> Option<u64> {
        let all = self.superseded.iter().filter(|(of, ..)| of == evaluation);
        all.filter(|(_, position, occurred)| holds(at, *position, *occurred)).map(|(_, position, _)| *position).min()
    }

    fn takes(filter: &Filter, plain: &Plain) -> bool {
        let same = |wanted: &Option<String>, is: &str| {
            wanted.as_ref().is_none_or(|wanted| match wanted.strip_suffix('*') {
                Some(beginning) => is.starts_with(beginning),
                None => wanted == is,
            })
        };
        let e = &plain.e;
        let in_range = filter.from_step.is_none_or(|from| e.step.is_some_and(|step| step >= from))
            && filter.to_step.is_none_or(|to| e.step.is_some_and(|step| step <= to));
        same(&filter.suite, &e.suite)
            && same(&filter.task, &e.task)
            && same(&filter.metric, plain.metric())
            && same(&filter.slice, &e.slice)
            && same(&filter.subject, &e.subject.to_string())
            && (filter.dataset.is_none() || e.dataset.as_ref().is_some_and(|d| same(&filter.dataset, &d.to_string())))
            && filter.protocol.as_ref().is_none_or(|prefix| e.protocol_digest.to_hex().starts_with(prefix))
            && in_range
    }

    /// The latest result of each place that stands.
    fn standing(&self, filter: &Filter, at: &At) -> Vec<&Plain> {
        let mut latest: BTreeMap<String, &Plain> = BTreeMap::new();
        let order = |plain: &Plain| (at.valid_at.map_or(0, |_| plain.occurred), plain.position, plain.ordinal);
        for plain in &self.results {
            let counts =
                holds(at, plain.position, plain.occurred) && self.superseded(&plain.e.evaluation, at).is_none();
            if !counts || !Self::takes(filter, plain) {
                continue;
            }
            let e = &plain.e;
            let place = (&e.suite, &e.task, plain.metric(), &e.slice, &e.subject, e.step, e.protocol_digest);
            let known = latest.entry(format!("{place:?}")).or_insert(plain);
            if order(known) < order(plain) {
                *known = plain;
            }
        }
        latest.into_values().collect()
    }

    /// The whole board: evaluation, ordinal, rank.
    fn board(&self, board: &Board) -> Vec<(String, u32, u64)> {
        let exact = |text: &str| Some(text.to_owned());
        let filter = Filter { task: exact(&board.task), metric: exact(&board.metric), ..board.filter.clone() };
        let part = Filter {
            task: exact(&board.task),
            metric: exact(&board.metric),
            suite: filter.suite.clone(),
            slice: filter.slice.clone(),
            ..Filter::default()
        };
        let by_then = |plain: &&Plain| board.at.as_of.is_none_or(|as_of| plain.position <= as_of.get());
        let newest = self.results.iter().filter(|plain| Self::takes(&part, plain)).rfind(by_then);
        let higher = newest.is_none_or(|plain| plain.e.metrics[plain.ordinal as usize].higher_is_better);
        let merit = |plain: &Plain| match plain.value() {
            value if value.is_nan() => (true, 0.0),
            value if higher => (false, -value),
            value => (false, value),
        };
        let mut standing = self.standing(&filter, &board.at);
        let before = |a: (bool, f64), b: (bool, f64)| a.partial_cmp(&b).unwrap();
        standing.sort_by(|a, b| before(merit(a), merit(b)).then((a.position, a.ordinal).cmp(&(b.position, b.ordinal))));
        let rank = |plain: &Plain| {
            let better = |other: &&&Plain| other.group() == plain.group() && before(merit(other), merit(plain)).is_lt();
            1 + standing.iter().filter(better).count() as u64
        };
        standing.iter().map(|plain| (plain.e.evaluation.to_string(), plain.ordinal, rank(plain))).collect()
    }
}

fn holds(at: &At, position: u64, occurred: i64) -> bool {
    at.as_of.is_none_or(|as_of| position <= as_of.get()) && at.valid_at.is_none_or(|time| occurred <= time.as_micros())
}

fn pick<'a>(random: &mut Random, from: &[&'a str]) -> &'a str {
    from[random.below(from.len() as u64) as usize]
}

fn subject(random: &mut Random) -> Ref {
    match random.below(3) {
        0 => Ref::Run(run_id(random.below(3))),
        _ => reference(&format!("model://team/chat@{}", 1 + random.below(12))),
    }
}

fn completed(random: &mut Random, id: &str) -> Event {
    let subject = subject(random);
    let names = ["exact_match", "f1", "loss"];
    let metrics: Vec<(&str, f64)> = (0..1 + random.below(3))
        .map(|_| {
            let value = match random.below(12) {
                0 => f64::NAN,
                1 => f64::INFINITY,
                2 => -0.0,
                value => (value as f64 - 6.0) / 4.0,
            };
            (pick(random, &names), value)
        })
        .collect();
    let mut event = evaluation(id, &subject, &metrics);
    event.suite = pick(random, &["core", "extra"]).into();
    event.task = pick(random, &["gsm8k", "squad"]).into();
    event.slice = pick(random, &["all", "all", "hard"]).into();
    event.protocol_digest = Blake3::of(&[random.below(2) as u8]);
    event.step = (random.below(2) == 0).then(|| random.below(3) * 100);
    event.dataset = (random.below(3) > 0).then(|| reference(&format!("ds://team/test@1.{}.0", random.below(2))));
    if random.below(20) == 0 {
        event.metrics.iter_mut().for_each(|measure| measure.higher_is_better ^= true);
    }
    event.metrics.iter_mut().for_each(|measure| measure.standard_error = Some(Real(0.125)));
    event.into()
}

fn history(random: &mut Random, length: u64) -> Vec<Recorded> {
    (1..=length)
        .map(|position| {
            let id = format!("e{}", random.below(length));
            let event = match random.below(10) {
                0 | 1 => EvaluationSuperseded {
                    evaluation: Ref::eval(&id).unwrap(),
                    superseded_by: None,
                    reason: format!("reason {position}"),
                }
                .into(),
                2 => EvaluationFailed {
                    evaluation: Ref::eval(&id).unwrap(),
                    subject: subject(random),
                    suite: pick(random, &["core", "extra"]).into(),
                    task: pick(random, &["gsm8k", "squad", "other"]).into(),
                    error: format!("error {position}"),
                }
                .into(),
                3 => checkpoint(random.below(3), 1, random.below(4) * 100),
                _ => completed(random, &id),
            };
            let mut recorded = recorded(position, event);
            // Some history comes late.
            if random.below(3) == 0 {
                recorded.occurred_at = recorded_at(random.below(length));
            }
            recorded
        })
        .collect()
}

fn some_at(random: &mut Random, length: u64) -> At {
    At {
        as_of: (random.below(2) == 0).then(|| Position::new(1 + random.below(length)).unwrap()),
        valid_at: (random.below(2) == 0).then(|| recorded_at(random.below(length + 2))),
    }
}

fn some_filter(random: &mut Random) -> Filter {
    let mut maybe = |from: &[&str]| {
        let wanted = pick(random, from).to_owned();
        (random.below(4) == 0).then_some(wanted)
    };
    let mut filter = Filter {
        suite: maybe(&["core", "extra", "none"]),
        slice: maybe(&["all", "hard", "*"]),
        dataset: maybe(&["ds://team/test@1.0.0", "ds://team/*"]),
        subject: maybe(&["model://team/chat@1*", "run:*", "model://team/chat@3"]),
        protocol: maybe(&[&Blake3::of(&[0]).to_hex()[..8], "ffff"]),
        ..Filter::default()
    };
    if random.below(4) == 0 {
        filter.from_step = Some(random.below(2) * 100);
        filter.to_step = (random.below(2) == 0).then(|| 100 + random.below(2) * 100);
    }
    filter
}

fn shown(items: &[Ranked]) -> Vec<(String, u32, u64)> {
    items.iter().map(|item| (item.standing.evaluation.to_string(), item.standing.ordinal, item.rank)).collect()
}

/// Whether a filter is refused, since nothing goes by a name of it.
fn refuses(evals: &Evals, model: &Model, filter: &Filter) -> bool {
    let Err(error) = evals.results(filter, &At::default(), None, 1) else { return false };
    let takes = |filter: Filter| model.results.iter().any(|plain| Model::takes(&filter, plain));
    let of_suite = Filter { suite: filter.suite.clone(), ..Filter::default() };
    let of_slice = Filter { slice: filter.slice.clone(), ..Filter::default() };
    assert!(!takes(of_suite) || !takes(of_slice), "{error}");
    assert!(matches!(error, crate::Error::Unknown { .. }), "{error}");
    true
}

fn boards_agree(evals: &Evals, model: &Model, random: &mut Random, length: u64, said: &str) {
    let board = Board {
        task: pick(random, &["gsm8k", "squad"]).into(),
        metric: pick(random, &["exact_match", "f1", "loss"]).into(),
        filter: some_filter(random),
        at: some_at(random, length),
    };
    if refuses(evals, model, &board.filter) {
        return;
    }
    let Ok(whole) = evals.leaderboard(&board, None, 10_000) else {
        assert!(
            !model.results.iter().any(|plain| plain.e.task == board.task && plain.metric() == board.metric),
            "{said}"
        );
        return;
    };
    let expected = model.board(&board);
    assert_eq!(shown(&whole.items), expected, "{said}: {board:?}");
    assert_eq!(whole.total, expected.len() as u64);
    let (mut paged, mut after) = (Vec::new(), None);
    loop {
        let page = evals.leaderboard(&board, after.as_deref(), 1 + random.below(4) as usize).unwrap();
        after = page.items.last().map(|item| item.cursor.clone());
        paged.extend(page.items);
        if !page.has_more {
            break;
        }
    }
    assert_eq!(shown(&paged), expected, "{said}, in pages: {board:?}");

    let mut best: BTreeMap<_, (String, u64)> = BTreeMap::new();
    for (item, (evaluation, ..)) in whole.items.iter().zip(&expected) {
        let s = &item.standing;
        let group = (s.suite.clone(), s.slice.clone(), s.protocol_digest.to_hex());
        best.entry(group).or_insert_with(|| (evaluation.clone(), 0)).1 += 1;
    }
    let found: BTreeMap<_, _> = evals
        .best(&board)
        .unwrap()
        .into_iter()
        .map(|found| {
            let s = found.standing;
            ((s.suite, s.slice, s.protocol_digest.to_hex()), (s.evaluation.to_string(), found.among))
        })
        .collect();
    assert_eq!(found, best, "{said}: {board:?}");
}

fn results_agree(evals: &Evals, model: &Model, random: &mut Random, length: u64, said: &str) {
    let (mut filter, at) = (some_filter(random), some_at(random, length));
    if refuses(evals, model, &filter) {
        filter = Filter::default();
    }
    let key = |s: &Standing| (s.position.get(), s.ordinal, s.superseded.as_ref().map(|s| s.position.get()));
    let taken = model.results.iter().filter(|plain| holds(&at, plain.position, plain.occurred));
    let expected: Vec<_> = taken
        .filter(|plain| Model::takes(&filter, plain))
        .map(|plain| (plain.position, plain.ordinal, model.superseded(&plain.e.evaluation, &at)))
        .collect();
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let (page, more) = evals.results(&filter, &at, after, 1 + random.below(40) as usize).unwrap();
        assert!(page.iter().all(|standing| filter.takes(standing)));
        after = page.last().map(Place::of);
        found.extend(page.iter().map(key));
        if !more {
            break;
        }
    }
    assert_eq!(found, expected, "{said}: {filter:?} {at:?}");

    let one = subject(random);
    let of_one = |plain: &&Plain| plain.e.subject == one && holds(&at, plain.position, plain.occurred);
    let expected: Vec<_> = model.results.iter().filter(of_one).map(|p| (p.position, p.ordinal)).collect();
    let found: Vec<_> = evals.of_subject(&one, &at).unwrap().iter().map(|s| (s.position.get(), s.ordinal)).collect();
    assert_eq!(found, expected, "{said}: {one} {at:?}");
    let Some(any) = model.results.get(random.below(length) as usize) else { return };
    let of_it = |plain: &&Plain| plain.e.evaluation == any.e.evaluation && holds(&at, plain.position, plain.occurred);
    let mut last: BTreeMap<_, (i64, u64, u32)> = BTreeMap::new();
    for p in model.results.iter().filter(of_it) {
        let time = if at.valid_at.is_some() { p.occurred } else { 0 };
        let known = last.entry((&p.e.suite, &p.e.task, p.metric(), &p.e.slice)).or_default();
        *known = (*known).max((time, p.position, p.ordinal));
    }
    let mut expected: Vec<_> = last.into_values().map(|(_, position, ordinal)| (position, ordinal)).collect();
    expected.sort_unstable();
    let found = evals.of_evaluation(&any.e.evaluation, &at).unwrap();
    assert_eq!(found.iter().map(|s| (s.position.get(), s.ordinal)).collect::<Vec<_>>(), expected, "{said}: {at:?}");
}

fn grids_agree(evals: &Evals, model: &Model, random: &mut Random, length: u64, said: &str) {
    let grid = Grid {
        subjects: (0..random.below(3)).map(|_| subject(random)).collect(),
        by_step: random.below(2) == 0,
        filter: some_filter(random),
        at: some_at(random, length),
    };
    if refuses(evals, model, &grid.filter) {
        return;
    }
    let found = evals.matrix(&grid, None, 1_000).unwrap();
    for row in &found.rows {
        for (column, cell) in found.columns.iter().zip(&row.cells) {
            let mine = |plain: &&Plain| {
                plain.e.subject == row.subject
                    && (!grid.by_step || plain.e.step == row.step)
                    && (&plain.e.suite, &plain.e.task) == (&column.suite, &column.task)
                    && Some(plain.metric()) == column.metric.as_deref()
                    && Some(&plain.e.slice) == column.slice.as_ref()
                    && holds(&grid.at, plain.position, plain.occurred)
                    && Model::takes(&grid.filter, plain)
            };
            let all: Vec<&Plain> = model.results.iter().filter(mine).collect();
            let stands = |plain: &&&Plain| model.superseded(&plain.e.evaluation, &grid.at).is_none();
            let order = |p: &&&Plain| (p.e.step, grid.at.valid_at.map_or(0, |_| p.occurred), p.position, p.ordinal);
            let value = all.iter().filter(stands).max_by_key(order).map(|p| (p.position, p.ordinal));
            let superseded = all.iter().filter(|p| !stands(p)).map(|p| (p.position, p.ordinal)).max();
            let is_failed = |(e, position, occurred): &&(EvaluationFailed, u64, i64)| {
                e.subject == row.subject
                    && (!grid.by_step || row.step.is_none())
                    && (&e.suite, &e.task) == (&column.suite, &column.task)
                    && holds(&grid.at, *position, *occurred)
            };
            let failed = model.failed.iter().filter(is_failed).map(|(_, position, _)| *position).max();
            let shown = match cell {
                Cell::Value(s) => ("value", Some((s.position.get(), s.ordinal))),
                Cell::Superseded(s) => ("superseded", Some((s.position.get(), s.ordinal))),
                Cell::Failed(m) => ("failed", Some((m.position.get(), 0))),
                Cell::NeverEvaluated => ("never", None),
            };
            let expected = match (value, superseded, failed) {
                (Some(value), ..) => ("value", Some(value)),
                (None, superseded, Some(failed)) if superseded.is_none_or(|(at, _)| at < failed) => {
                    ("failed", Some((failed, 0)))
                }
                (None, Some(superseded), _) => ("superseded", Some(superseded)),
                (None, None, _) => ("never", None),
            };
            assert_eq!(shown, expected, "{said}: {grid:?} {row:?} {column:?}");
        }
    }
    for subject in &grid.subjects {
        assert!(found.rows.iter().any(|row| row.subject == *subject), "{said}: a named subject has a row");
    }
    if grid.subjects.is_empty() {
        let mut rows: Vec<_> = found.rows.iter().map(|row| (row.subject.clone(), row.step)).collect();
        for plain in model.standing(&Filter { dataset: None, protocol: None, ..grid.filter.clone() }, &grid.at) {
            let row = (plain.e.subject.clone(), plain.e.step.filter(|_| grid.by_step));
            assert!(rows.contains(&row), "{said}: {row:?} is missing");
        }
        rows.dedup();
        assert_eq!(rows.len() as u64, found.rows_total, "{said}: rows stand once, in order");
    }
}

#[test]
fn boards_results_and_grids_are_those_of_a_plain_list() {
    for seed in 0..12 {
        println!("seed {seed}");
        let mut random = Random::new(seed);
        let length = 20 + random.below(300);
        let events = history(&mut random, length);
        let live = Arc::new(Live::new(&PROJECTION, Filled::over(Box::new(Memory::default())).unwrap()));
        let (evals, mut model) = (Evals::over(live.clone()), Model::default());
        let mut rest = &events[..];
        while !rest.is_empty() {
            let (batch, after) = rest.split_at((1 + random.below(60) as usize).min(rest.len()));
            live.apply(batch).unwrap();
            batch.iter().for_each(|event| model.take(event));
            rest = after;
            // From the first question on, the view is kept in step by the batches.
            if random.below(3) == 0 || rest.is_empty() {
                let said = format!("seed {seed}, {} events", events.len() - rest.len());
                for _ in 0..8 {
                    boards_agree(&evals, &model, &mut random, length, &said);
                    results_agree(&evals, &model, &mut random, length, &said);
                    grids_agree(&evals, &model, &mut random, length, &said);
                }
            }
        }
    }
}

#[test]
fn an_answer_about_the_past_never_changes() {
    for seed in 100..106 {
        println!("seed {seed}");
        let mut random = Random::new(seed);
        let events = history(&mut random, 200);
        let live = Arc::new(Live::new(&PROJECTION, Filled::over(Box::new(Memory::default())).unwrap()));
        let evals = Evals::over(live.clone());
        live.apply(&events[..120]).unwrap();
        let at = At { as_of: Position::new(100), valid_at: (seed % 2 == 0).then(|| recorded_at(70)) };
        let board = Board { task: "gsm8k".into(), metric: "loss".into(), at, ..Board::default() };
        let answer = || {
            let items = evals.leaderboard(&board, None, 1_000).unwrap().items;
            let grid = Grid { at, ..Grid::default() };
            let bits = |s: &Standing| (s.evaluation.clone(), s.ordinal, s.value.to_bits(), s.superseded.clone());
            let items: Vec<_> = items.iter().map(|item| (item.rank, bits(&item.standing))).collect();
            (format!("{items:?}"), format!("{:?}", evals.matrix(&grid, None, 100).unwrap().rows.len()))
        };
        let before = answer();
        for batch in events[120..].chunks(9) {
            live.apply(batch).unwrap();
            assert_eq!(answer(), before, "seed {seed}");
        }
    }
}
