//! Leaderboards and tallies, and how they stood before.

use super::{At, Board, Cell, Evals, Filter, Grid, PROJECTION, Ranked};
use crate::testing::{checkpoint, evaluation, gate, judgment, live, reference, run_id};
use cairn_schemas::events::evaluation::{EvaluationCompleted, EvaluationFailed, EvaluationSuperseded, SampleScored};
use cairn_schemas::events::judgment::{GateOutcome, Verdict};
use cairn_schemas::events::training::MetricValue;
use cairn_schemas::{Blake3, Event, Position, Real, Ref};

fn evals(events: Vec<Event>) -> Evals {
    Evals::over(live(&PROJECTION, events))
}

fn model(version: u64) -> Ref {
    reference(&format!("model://team/chat@{version}"))
}

fn of(id: &str, version: u64, value: f64) -> Event {
    evaluation(id, &model(version), &[("exact_match", value), ("loss", 1.0 - value)]).into()
}

fn superseded(id: &str) -> Event {
    EvaluationSuperseded { evaluation: Ref::eval(id).unwrap(), superseded_by: None, reason: "leaked".into() }.into()
}

fn at(position: u64) -> At {
    At::as_of(Position::new(position).unwrap())
}

fn board(metric: &str, at: At) -> Board {
    Board { task: "gsm8k".into(), metric: metric.into(), at, ..Board::default() }
}

fn shown(standings: &[Ranked]) -> Vec<(String, f64)> {
    standings.iter().map(|s| (s.standing.evaluation.to_string(), s.standing.value)).collect()
}

#[test]
fn the_best_stands_first_and_the_past_does_not_change() {
    let evals = evals(vec![of("a", 1, 0.2), of("b", 2, 0.9), of("c", 1, 0.5), superseded("b"), of("d", 3, f64::NAN)]);
    let stood = |at: At| shown(&evals.leaderboard(&board("exact_match", at), None, 10).unwrap().items);
    let row = |id: &str, value: f64| (format!("eval:{id}"), value);
    assert_eq!(stood(at(1)), [row("a", 0.2)]);
    assert_eq!(stood(at(2)), [row("b", 0.9), row("a", 0.2)]);
    assert_eq!(stood(at(3)), [row("b", 0.9), row("c", 0.5)]);
    assert_eq!(stood(at(4)), [row("c", 0.5)]);
    let now = stood(At::default());
    assert_eq!(now[0], row("c", 0.5));
    assert!(now[1].0 == "eval:d" && now[1].1.is_nan(), "what is not a number comes last");

    let losses = evals.leaderboard(&board("loss", at(3)), None, 10).unwrap();
    assert_eq!(shown(&losses.items), [row("b", 1.0 - 0.9), row("c", 0.5)], "lower is better");
    let best = evals.best(&board("exact_match", at(3))).unwrap();
    assert_eq!((best.len(), best[0].standing.value, best[0].among), (1, 0.9, 2));
    let refused = |board: &Board| evals.best(board).unwrap_err().to_string();
    assert!(refused(&board("speed", At::default())).contains("it has exact_match, loss"));
    let elsewhere = Board { task: "gsm".into(), ..board("loss", At::default()) };
    assert!(refused(&elsewhere).contains("the tasks are gsm8k"));
    let nothing = self::evals(vec![]);
    assert!(nothing.best(&elsewhere).unwrap_err().to_string().contains("no results are recorded yet"));
}

#[test]
fn results_of_other_protocols_slices_and_steps_stand_for_themselves() {
    let with = |id: &str, change: &dyn Fn(&mut EvaluationCompleted)| {
        let mut completed = evaluation(id, &model(1), &[("exact_match", 0.5)]);
        change(&mut completed);
        Event::from(completed)
    };
    let evals = evals(vec![
        with("a", &|_| {}),
        with("b", &|e| e.protocol_digest = Blake3::of(b"another")),
        with("c", &|e| e.slice = "hard".into()),
        with("d", &|e| e.step = Some(7)),
        with("e", &|_| {}),
    ]);
    let whole = board("exact_match", At::default());
    let page = evals.leaderboard(&whole, None, 3).unwrap();
    let ids = |items: &[Ranked]| items.iter().map(|s| s.standing.evaluation.to_string()).collect::<Vec<_>>();
    assert_eq!(ids(&page.items), ["eval:b", "eval:c", "eval:d"], "equal values in order of position");
    assert!(page.items.iter().all(|item| item.rank == 1) && page.has_more && page.total == 4);
    let rest = evals.leaderboard(&whole, Some(&page.items[2].cursor), 3).unwrap();
    assert_eq!((ids(&rest.items), rest.has_more, rest.items[0].rank), (vec!["eval:e".to_owned()], false, 1));
    let another = Board { filter: Filter { slice: Some("h*".into()), ..Filter::default() }, ..whole.clone() };
    assert_eq!(ids(&evals.leaderboard(&another, None, 3).unwrap().items), ["eval:c"]);
    assert!(evals.leaderboard(&another, Some(&page.items[2].cursor), 3).is_err(), "a cursor of another board");
    let best: Vec<_> = evals.best(&whole).unwrap().into_iter().map(|b| (b.standing.slice, b.among)).collect();
    assert_eq!(best, [("all".into(), 2), ("all".into(), 1), ("hard".into(), 1)], "the last used protocol first");
    let tasks =
        |at: &At| evals.tasks(at).unwrap().into_iter().map(|t| (t.metric, t.slice, t.results)).collect::<Vec<_>>();
    let counted = |slice: &str, results: u64| ("exact_match".to_owned(), slice.to_owned(), results);
    assert_eq!(tasks(&At::default()), [counted("all", 4), counted("hard", 1)]);
    assert_eq!(tasks(&at(2)), [counted("all", 2)]);
}

#[test]
fn what_is_missing_is_shown_as_missing() {
    let of_run = |id: &str, step: Option<u64>, value: f64| {
        let completed = evaluation(id, &Ref::Run(run_id(2)), &[("exact_match", value)]);
        Event::from(EvaluationCompleted { step, ..completed })
    };
    let failed = |id: &str, version: u64, task: &str| -> Event {
        EvaluationFailed {
            evaluation: Ref::eval(id).unwrap(),
            subject: model(version),
            suite: "core".into(),
            task: task.into(),
            error: "out of memory".into(),
        }
        .into()
    };
    let evals = evals(vec![
        of("a", 1, 0.2),
        of("b", 2, 0.9),
        failed("c", 3, "gsm8k"),
        superseded("b"),
        failed("d", 1, "squad"),
        checkpoint(2, 1, 10),
        checkpoint(2, 1, 20),
        of_run("e", Some(20), 0.5),
    ]);
    let grid = Grid {
        subjects: vec![model(3), model(2), model(1), model(9)],
        filter: Filter { task: Some("gsm8k".into()), metric: Some("exact_match".into()), ..Filter::default() },
        ..Grid::default()
    };
    let states = |grid: &Grid| -> Vec<String> {
        let found = evals.matrix(grid, None, 100).unwrap();
        let cell = |cell: &Cell| match cell {
            Cell::Value(s) => format!("{}", s.value),
            Cell::Failed(m) => m.error.clone(),
            Cell::Superseded(s) => s.superseded.as_ref().unwrap().reason.clone(),
            Cell::NeverEvaluated => "never".into(),
        };
        let row = |row: &super::GridRow| {
            let cells: Vec<String> = row.cells.iter().map(cell).collect();
            let step = row.step.map(|step| format!("#{step}")).unwrap_or_default();
            format!("{}{step}: {}", row.subject, cells.join(", "))
        };
        found.rows.iter().map(row).collect()
    };
    let chat = |version: u64, rest: &str| format!("model://team/chat@{version}: {rest}");
    assert_eq!(states(&grid), [chat(3, "out of memory"), chat(2, "leaked"), chat(1, "0.2"), chat(9, "never")]);
    let before = Grid { at: at(2), ..grid.clone() };
    assert_eq!(states(&before), [chat(3, "never"), chat(2, "0.9"), chat(1, "0.2"), chat(9, "never")]);

    let steps = Grid { subjects: vec![Ref::Run(run_id(2))], by_step: true, ..grid.clone() };
    let run = Ref::Run(run_id(2));
    assert_eq!(states(&steps), [format!("{run}#10: never"), format!("{run}#20: 0.5")]);
    let first = Grid { at: at(6), ..steps };
    assert_eq!(states(&first), [format!("{run}#10: never")]);

    let whole = evals.matrix(&Grid::default(), None, 100).unwrap();
    let columns: Vec<_> = whole.columns.iter().map(|c| (c.task.as_str(), c.metric.as_deref())).collect();
    assert_eq!(columns, [("gsm8k", Some("exact_match")), ("gsm8k", Some("loss")), ("squad", None)]);
    assert_eq!(whole.rows_total, 4);
    let page = evals.matrix(&Grid::default(), None, 3).unwrap();
    let rest = evals.matrix(&Grid::default(), Some(&page.rows[2].cursor), 3).unwrap();
    assert_eq!([page.rows, rest.rows].concat(), whole.rows);
    assert!(page.has_more && !rest.has_more);
}

#[test]
fn a_subject_shows_all_it_got_and_what_is_missing() {
    let failed = EvaluationFailed {
        evaluation: Ref::eval("f").unwrap(),
        subject: model(1),
        suite: "core".into(),
        task: "squad".into(),
        error: "out of memory".into(),
    };
    let score = |value| SampleScored {
        evaluation: Ref::eval("a").unwrap(),
        sample: "s1".into(),
        metrics: vec![MetricValue { name: "em".into(), value: Real(value) }],
    };
    let evals = evals(vec![
        of("a", 1, 0.2),
        of("b", 2, 0.9),
        failed.into(),
        superseded("a"),
        superseded("a"),
        score(0.0).into(),
        score(1.0).into(),
    ]);
    let mine = evals.of_subject(&model(1), &At::default()).unwrap();
    assert_eq!(mine.iter().map(|s| s.metric.as_str()).collect::<Vec<_>>(), ["exact_match", "loss"]);
    let superseded = mine[0].superseded.as_ref().unwrap();
    assert_eq!((superseded.reason.as_str(), superseded.position.get()), ("leaked", 4));
    assert_eq!((mine[0].n, mine[0].standard_error, mine[0].position.get()), (200, Some(0.01), 1));
    assert_eq!(evals.of_evaluation(&Ref::eval("b").unwrap(), &At::default()).unwrap().len(), 2);
    let missing = evals.missing(&model(1), &At::default()).unwrap();
    assert_eq!((missing.len(), missing[0].task.as_str(), missing[0].error.as_str()), (1, "squad", "out of memory"));
    assert!(evals.missing(&model(1), &at(2)).unwrap().is_empty());
    assert!(evals.of_subject(&model(1), &at(3)).unwrap()[0].superseded.is_none());
    let scores = |as_of| evals.samples(&Ref::eval("a").unwrap(), Position::new(as_of)).unwrap();
    assert_eq!(scores(7), [("s1".into(), "em".into(), 1.0)]);
    assert_eq!(scores(6), [("s1".into(), "em".into(), 0.0)]);
    assert_eq!(scores(5), []);
}

#[test]
fn a_superseded_judgment_is_not_counted() {
    let subject = model(1);
    let evals = evals(vec![
        judgment("a", &subject, Verdict::Pass, None),
        judgment("b", &subject, Verdict::Fail, None),
        judgment("c", &subject, Verdict::Unscored, None),
        judgment("d", &subject, Verdict::Pass, Some("b")),
        judgment("e", &subject, Verdict::Pass, Some("b")),
        judgment("f", &model(2), Verdict::Fail, None),
        gate("g", &subject),
    ]);
    let tallies = evals.judgments(&subject, None).unwrap();
    let [tally] = &tallies[..] else { panic!("one judge, one criterion: {tallies:?}") };
    assert_eq!((tally.passed, tally.failed, tally.unscored, tally.n()), (3, 0, 1, 3));
    assert_eq!(
        (tally.judge.as_str(), tally.judge_kind.as_str(), tally.pass_rate()),
        ("validator@1", "rule", Some(1.0))
    );
    let before = evals.judgments(&subject, Position::new(3)).unwrap();
    assert_eq!(
        (before[0].passed, before[0].failed, before[0].unscored),
        (1, 1, 1),
        "as of before they were superseded"
    );
    assert_eq!(evals.judgments(&model(3), None).unwrap(), []);
    let gates = evals.gates(&subject, &At::default()).unwrap();
    assert_eq!((gates.len(), gates[0].outcome, gates[0].position.get()), (1, GateOutcome::Block, 7));
}

#[test]
fn a_name_that_nothing_goes_by_is_refused() {
    let filter = |suite: Option<&str>, task: Option<&str>| Filter {
        suite: suite.map(Into::into),
        task: task.map(Into::into),
        ..Filter::default()
    };
    let known = evals(vec![of("a", 1, 0.2)]);
    let task = known.tasks(&At::default()).unwrap().remove(0);
    for wrong in [filter(Some("zz"), None), filter(None, Some("nope")), filter(Some("zz*"), None)] {
        let results = known.results(&wrong, &At::default(), None, 1).unwrap_err().to_string();
        assert!(results.contains(&task.suite) || results.contains(&task.task), "{results}");
        assert_eq!(known.results_total(&wrong, &At::default()).unwrap_err().to_string(), results);
        let grid = Grid { filter: wrong.clone(), ..Grid::default() };
        assert_eq!(known.matrix(&grid, None, 1).unwrap_err().to_string(), results);
        let board =
            Board { task: task.task.clone(), metric: task.metric.clone(), filter: wrong.clone(), ..Board::default() };
        // A board's own task stands in the place of the filter's.
        assert_eq!(known.best(&board).is_err(), wrong.suite.is_some());
        assert_eq!(known.leaderboard(&board, None, 1).is_err(), wrong.suite.is_some());
        // Where nothing is recorded at all, nothing is found.
        assert_eq!(evals(vec![]).results(&wrong, &At::default(), None, 1).unwrap(), (vec![], false));
    }
    // Known later, and not by then: that is an answer.
    assert!(known.results(&filter(None, Some(&task.task)), &At::default(), None, 1).is_ok());
    let failed = EvaluationFailed {
        evaluation: Ref::eval("f").unwrap(),
        subject: model(1),
        suite: "new".into(),
        task: "hard".into(),
        error: "out of memory".into(),
    };
    let failing = evals(vec![of("a", 1, 0.2), failed.into()]);
    assert_eq!(failing.results(&filter(Some("new"), Some("hard")), &At::default(), None, 1).unwrap().0, []);
}

#[test]
fn an_evaluation_completed_again_has_its_last_results() {
    let evals = evals(vec![of("a", 1, 0.2), of("a", 1, 0.7)]);
    let a = Ref::eval("a").unwrap();
    let shown = |at: &At| -> Vec<(String, f64)> {
        evals.of_evaluation(&a, at).unwrap().into_iter().map(|s| (s.metric, s.value)).collect()
    };
    let now = shown(&At::default());
    assert_eq!((now.len(), now[0].1), (2, 0.7), "{now:?}");
    assert_eq!(shown(&at(1))[0].1, 0.2);
    let grid = evals.matrix(&Grid::default(), None, 9).unwrap();
    let cells = grid.rows[0].cells.iter().filter_map(|cell| match cell {
        Cell::Value(standing) => Some((standing.metric.clone(), standing.value)),
        _ => None,
    });
    assert_eq!(cells.collect::<Vec<_>>(), now);
}
