//! Lists by filter and order, against plain lists; and the past, against catalogs of that past.

use super::*;
use crate::Curves;
use crate::catalog::tests::catalog;
use crate::projection::{Filled, Live};
use crate::store::Memory;
use crate::testing::{List, Random, artifact, job_completed, job_started, reference, run_id, step};
use cairn_schemas::events::annotation::AnnotationRecorded;
use cairn_schemas::events::training::{RunCompleted, RunForked, RunStarted};
use cairn_schemas::{Event, RawJson};
use serde_json::{Value, json};
use std::sync::Arc;

fn started(run: u64, config: &Value) -> Event {
    let name = Some(format!("run {}", run % 7));
    RunStarted {
        run: run_id(run),
        method: if run.is_multiple_of(3) { "sft" } else { "pretrain" }.into(),
        name,
        attempt: 1,
        dataset: None,
        tokenizer: None,
        base_model: None,
        parent: None,
        code: RawJson::default(),
        config: RawJson::of(config),
        environment: RawJson::default(),
        seed: run % 4,
        graphs: vec![],
        identity: None,
        steps_planned: None,
    }
    .into()
}

fn completed(run: u64) -> Event {
    RunCompleted {
        run: run_id(run),
        attempt: 1,
        steps: 9,
        tokens: 1,
        duration_ms: 5,
        weights: None,
        weights_digest: None,
        metrics: vec![],
        divergences: vec![],
    }
    .into()
}

fn annotated(subject: &str, tags: Value, owner: Option<&str>, note: Option<&str>) -> Event {
    let (owner, note) = (owner.map(Into::into), note.map(Into::into));
    AnnotationRecorded { subject: reference(subject), tags: RawJson::of(&tags), owner, note }.into()
}

/// Runs of every kind, changed again and again.
fn life(random: &mut Random, events: usize) -> Vec<Event> {
    let value = |random: &mut Random| match random.below(6) {
        0 => Value::Null,
        1 => json!(random.below(5)),
        2 => json!(random.below(100) as f64 / 8.0 - 3.0),
        3 => json!(["", "a", "b", "ab", "é"][random.below(5) as usize]),
        4 => json!(random.below(2) == 0),
        _ => json!("NaN"),
    };
    let one = |random: &mut Random| {
        let run = random.below(40);
        match random.below(12) {
            0..4 => started(run, &json!({ "x": value(random), "deep": { "y": value(random) }, "list": [1, "a"] })),
            4 => job_started(run, 1, "train", vec![]).into(),
            5 => job_completed(run, 1, vec![]),
            6 => completed(run),
            7 => step(run, 1, random.below(50), &[("loss", random.below(20) as f64), ("lr", 0.5)]),
            8 => step(run, 1, random.below(50), &[("lr", random.below(9) as f64), ("loss", f64::NAN), ("more", 1.0)]),
            9 => RunForked { run: run_id(run), from_run: run_id(run + 1), from_step: 3, checkpoint: artifact("c") }
                .into(),
            10 => annotated(
                &format!("run:{}", run_id(run)),
                json!({ "team": value(random) }),
                Some(["me", ""][random.below(2) as usize]),
                None,
            ),
            _ => annotated(&format!("run:{}", run_id(run)), json!({ "x": random.below(3) }), None, Some("seen")),
        }
    };
    (0..events).map(|_| one(random)).collect()
}

fn all(catalog: &Catalog, question: &Find) -> Vec<Item> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = catalog.find(&Find { after, ..question.clone() }).unwrap();
        assert!(page.items.len() == question.first || !page.has_more);
        found.extend(page.items);
        if !page.has_more {
            assert_eq!(found.len() as u64, page.total);
            return found;
        }
        after = found.last().map(|item| item.cursor.clone());
    }
}

fn refs(items: &[Item]) -> Vec<&str> {
    items.iter().map(|item| item.entity.reference.as_str()).collect()
}

const FILTERS: [&str; 12] = [
    "",
    "metrics.loss < 9 OR step > 40",
    "config.x > 0",
    "config.x IS NULL OR config.deep.y = 'a'",
    "NOT tags.team = 'b' AND state != 'failed'",
    "state IN ('running', 'completed') AND seed BETWEEN 1 AND 2",
    "name LIKE 'run%' AND name ~ '[0-3]'",
    "config.list HAS 'a' AND method = 'pretrain'",
    "owner IS NOT NULL OR notes LIKE '%seen%'",
    "updated_position > 20 AND created_at >= '2026-01-01'",
    "config.deep IS NOT NULL AND tags IS NULL",
    "config IS NULL OR parent IS NOT NULL",
];
const ORDERS: [&str; 6] =
    ["", "name", "config.x DESC, seed", "config.deep.y", "updated_at DESC", "tags.team, name DESC, seed DESC"];

fn question(filter: &str, order: &str, newest_first: bool, first: usize) -> Find {
    let filter = (!filter.is_empty()).then(|| filter.to_owned());
    Find { kind: "run".into(), filter, order_by: Some(order.into()), newest_first, first, ..Find::default() }
}

/// Where a value stands among others: its class, then itself.
type Rank = (u8, f64, String);

fn rank(value: Option<Cell<'_>>) -> Rank {
    match value {
        Some(Cell::Number(number)) if number.is_nan() => (1, 0.0, String::new()),
        Some(Cell::Number(number)) => (0, number, String::new()),
        Some(Cell::Bool(value)) => (2, f64::from(value), String::new()),
        Some(Cell::Text(text)) => (3, 0.0, text.to_owned()),
        None => (4, 0.0, String::new()),
    }
}

#[test]
fn orders_and_pages_are_those_of_a_plain_sort() {
    for seed in 0..6 {
        println!("seed {seed}");
        let catalog = catalog(life(&mut Random::new(seed), 300));
        let everything = all(&catalog, &question("", "", false, 1_000));
        for (filter, order) in FILTERS.iter().flat_map(|filter| ORDERS.iter().map(move |order| (filter, order))) {
            let newest_first = seed % 2 == 0;
            let wanted = all(&catalog, &question(filter, "", false, 1_000));
            let mut rows: Vec<(usize, Vec<Rank>)> = catalog
                .0
                .read_view(|lists: &Lists, store| {
                    let table = lists.table("run", store)?;
                    let number = |item: &Item| everything.iter().position(|other| other.entity == item.entity).unwrap();
                    let keys = |row: usize| {
                        let parts = filter::order(order).unwrap();
                        parts.iter().map(|part| rank(table.column(&part.path.name).unwrap().get(row as u32))).collect()
                    };
                    Ok(wanted.iter().map(|item| (number(item), keys(number(item)))).collect())
                })
                .unwrap();
            let directions: Vec<Direction> = filter::order(order).unwrap().iter().map(|part| part.direction).collect();
            rows.sort_by(|(one_row, one), (other_row, other)| {
                for (direction, (one, other)) in directions.iter().zip(one.iter().zip(other)) {
                    let within = one.1.partial_cmp(&other.1).unwrap().then_with(|| one.2.cmp(&other.2));
                    let within = if *direction == Direction::Descending { within.reverse() } else { within };
                    let ordering = one.0.cmp(&other.0).then(within);
                    if ordering.is_ne() {
                        return ordering;
                    }
                }
                if newest_first { other_row.cmp(one_row) } else { one_row.cmp(other_row) }
            });
            let expected: Vec<&str> = rows.iter().map(|(row, _)| everything[*row].entity.reference.as_str()).collect();
            for first in [1, 3, 7, 1_000] {
                let found = all(&catalog, &question(filter, order, newest_first, first));
                assert_eq!(refs(&found), expected, "seed {seed}, {filter}, by {order}, {first} a page");
            }
            assert_eq!(catalog.count_where("run", Some(filter), None).unwrap() as usize, expected.len());
        }
    }
}

#[test]
fn lists_in_memory_stay_in_step_with_the_rows() {
    for seed in 0..4 {
        println!("seed {seed}");
        let mut random = Random::new(seed);
        let live = Arc::new(Live::new(&crate::catalog::PROJECTION, Filled::over(Box::new(Memory::default())).unwrap()));
        let curves = Curves::over(crate::testing::live(&crate::curves::PROJECTION, []));
        let stepped = Catalog::over(live.clone(), curves);
        let (list, mut events) = (List::default(), Vec::new());
        for _ in 0..30 {
            let length = 1 + random.below(30) as usize;
            let more = life(&mut random, length);
            events.extend(more.clone());
            list.extend(more);
            let from = live.watermark().map_or(0, |watermark| watermark.position.get() as usize);
            live.apply(&list.all()[from..]).unwrap();
            let fresh = catalog(events.clone());
            assert_eq!(stepped.paths("run").unwrap(), fresh.paths("run").unwrap(), "seed {seed}");
            let order = ORDERS[random.below(6) as usize];
            let filter = FILTERS[random.below(12) as usize];
            let ask =
                |catalog: &Catalog| catalog.find(&question(filter, order, true, 1_000)).map_err(|e| e.to_string());
            assert_eq!(ask(&stepped), ask(&fresh), "seed {seed}, {filter} by {order}");
        }
    }
}

#[test]
fn the_past_is_as_a_catalog_of_that_past_has_it() {
    for seed in 0..4 {
        println!("seed {seed}");
        let mut events = life(&mut Random::new(seed), 600);
        events.retain(|event| !matches!(event, Event::RunCompleted(_)));
        events.truncate(400);
        let now = catalog(events.clone());
        for length in [1, 2, 17, 100, 250, 399, 400] {
            let (then, position) = (catalog(events[..length].to_vec()), Position::new(length as u64));
            for run in 0..40 {
                let reference = format!("run:{}", run_id(run));
                let known = then.get(&reference).unwrap();
                assert_eq!(now.state(&reference, position).unwrap(), known, "seed {seed}, {reference} at {length}");
            }
            for (filter, order) in FILTERS.iter().zip(ORDERS.iter().cycle()) {
                let ask = question(filter, order, true, 5);
                // A path that nothing had then is not known to the catalog of then.
                let Ok(_) = then.find(&ask) else { continue };
                let found = all(&now, &Find { as_of: position, ..ask.clone() });
                let expected = all(&then, &ask);
                let shown = |items: &[Item]| items.iter().map(|item| item.entity.clone()).collect::<Vec<_>>();
                assert_eq!(shown(&found), shown(&expected), "seed {seed}, {filter} by {order} at {length}");
                assert_eq!(now.count_where("run", Some(filter), position).unwrap() as usize, found.len());
            }
        }
    }
}

#[test]
fn states_far_back_are_few_rows_away() {
    let mut events = vec![started(1, &json!({ "lr": 0.1 }))];
    events.extend((0..3_000).map(|n| annotated(&format!("run:{}", run_id(1)), json!({ "n": n }), None, None)));
    let catalog = catalog(events);
    let reference = format!("run:{}", run_id(1));
    let (_, before) = catalog.0.reads();
    for position in [1, 2, 500, 2_999, 3_000, 3_001] {
        let state = catalog.state(&reference, Position::new(position)).unwrap().unwrap();
        let expected = (position > 1).then(|| json!(position - 2));
        assert_eq!(state.tags.get("n"), expected.as_ref());
        assert_eq!(state.attributes["training"]["config"]["lr"], 0.1);
    }
    let (_, after) = catalog.0.reads();
    assert!(after - before <= 6 * 67, "{} rows for 6 states", after - before);
    assert_eq!(catalog.changes(&reference).unwrap().len(), 3_001);
}

#[test]
fn tags_owners_and_notes_come_and_go() {
    let model = "model://team/chat@3";
    let events = vec![
        annotated(model, json!({ "team": "search", "tier": 2 }), Some("ada"), Some("first")),
        annotated(model, json!({ "tier": null, "ok": true }), None, Some("second")),
        annotated(model, json!({}), Some(""), None),
        annotated("deployment:prod", json!("no object"), None, None),
    ];
    let catalog = catalog(events);
    let entity = catalog.get(model).unwrap().unwrap();
    assert_eq!(Value::Object(entity.tags), json!({ "team": "search", "ok": true }));
    assert_eq!((entity.owner, entity.attributes), (None, json!({})));
    assert_eq!(entity.notes.iter().map(|note| note.note.as_str()).collect::<Vec<_>>(), ["first", "second"]);
    let then = catalog.state(model, Position::new(2)).unwrap().unwrap();
    assert_eq!(then.owner.as_deref(), Some("ada"));
    let found = catalog.matching_refs("model", "tags.team = 'search' AND tags.ok = true", None, 10).unwrap();
    assert_eq!((found.refs, found.total), (vec![reference(model)], 1));
    assert_eq!(catalog.count_where("model", Some("owner = 'ada'"), Position::new(2)).unwrap(), 1);
    assert_eq!(catalog.get("deployment:prod").unwrap().unwrap().tags.len(), 0);
}

#[test]
fn cursors_of_other_questions_are_refused() {
    let catalog = catalog(life(&mut Random::new(9), 200));
    let cursor = catalog.find(&question("config.x > 0", "name", false, 2)).unwrap().items[0].cursor.clone();
    let after = Some(cursor);
    assert!(catalog.find(&Find { after: after.clone(), ..question("config.x > 0", "name", false, 3) }).is_ok());
    for other in [
        question("config.x > 1", "name", false, 2),
        question("config.x > 0", "name DESC", false, 2),
        question("config.x > 0", "name", true, 2),
        question("", "", false, 2),
        Find { kind: "training".into(), ..question("config.x > 0", "name", false, 2) },
        Find { as_of: Position::new(7), ..question("config.x > 0", "name", false, 2) },
        Find { only: vec![("state", "running".into())], ..question("config.x > 0", "name", false, 2) },
    ] {
        let error = catalog.find(&Find { after: after.clone(), ..other.clone() }).unwrap_err();
        assert!(matches!(error, Error::Cursor { .. }), "{other:?}: {error}");
    }
    for wrong in ["", "zz", "00ff"] {
        let asked = Find { after: Some(wrong.into()), ..question("config.x > 0", "name", false, 2) };
        assert!(matches!(catalog.find(&asked), Err(Error::Cursor { .. })));
    }
}

#[test]
fn a_page_goes_on_where_the_last_ended_though_what_it_sorted_by_has_changed() {
    let mut events: Vec<Event> = (0..10).map(|run| started(run, &json!({ "x": run }))).collect();
    let before = catalog(events.clone());
    let first = before.find(&question("", "config.x", false, 4)).unwrap();
    // The last item of the page moves to the end.
    events.push(started(3, &json!({ "x": 99 })));
    let after = Some(first.items[3].cursor.clone());
    let catalog = catalog(events);
    let rest = catalog.find(&Find { after, ..question("", "config.x", false, 100) }).unwrap();
    let expected: Vec<String> = [4, 5, 6, 7, 8, 9, 3].map(|run| format!("run:{}", run_id(run))).into();
    assert_eq!(refs(&rest.items), expected);

    let columns = vec!["config.x".to_owned(), "method".into(), "error".into()];
    let shown = catalog.find(&Find { columns, ..question("seed = 3", "", false, 1) }).unwrap();
    assert_eq!(shown.items[0].values, [Some(json!(99.0)), Some(json!("sft")), None]);
    let unknown = catalog.find(&Find { columns: vec!["config.y".into()], ..question("", "", false, 1) }).unwrap_err();
    assert!(unknown.to_string().contains("no run has `config.y`; the nearest paths are `config.x`"), "{unknown}");
}

#[test]
fn parts_of_lists_and_unknown_kinds() {
    let catalog = catalog(vec![started(1, &json!({})), job_started(2, 1, "ingest", vec![]).into()]);
    let total = |kind: &str, filter: Option<&str>| catalog.count_where(kind, filter, None);
    assert_eq!(total("run", Some("seed IS NULL")).unwrap(), 1);
    assert_eq!(total("training", Some("state = 'running'")).unwrap(), 1);
    assert_eq!(total("run", Some("kind = 'ingest'")).unwrap(), 1);
    assert_eq!(total("gate", Some("state IS NULL")).unwrap(), 0);
    assert!(matches!(total("runs", Some("a = 1")), Err(Error::UnknownKind { .. })));
}
