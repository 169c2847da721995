//! What a page of things names is read together: the number of questions to the stores does not grow with the page.

mod common;

use common::{TestServer, event};
use serde_json::{Value, json};

const RUNS: u64 = 40;
/// Questions that a page may take however long it is: one a level for each kind of thing, and what the page itself takes.
const QUESTIONS_MAX: u64 = 8;

fn run(n: u64) -> String {
    format!("018f4e9a-7c3b-7def-8123-{n:012}")
}

/// Runs in a row, each gone on from the one before, on a dataset of its own.
fn filled() -> TestServer {
    let server = TestServer::start();
    let mut events: Vec<Value> = Vec::new();
    for n in 0..RUNS {
        let dataset = format!("ds://team/set{n}@1.0.0");
        let split = json!({ "name": "train", "rows": 1, "shards": [format!("artifact:{}", common::digest("a1"))], "digest": common::digest("d2") });
        events.push(event(&format!("set/{n}"), "cairn.dataset.version_committed.v1", json!({
            "dataset": dataset, "manifest": format!("artifact:{}", common::digest("a0")), "splits": [split], "rows": 1, "pages": 0,
        })));
        let mut started = json!({ "run": run(n), "method": "sft", "name": format!("r{n}"), "dataset": dataset });
        if n > 0 {
            started["parent"] = run(n - 1).into();
        }
        events.push(event(&format!("run/{n}"), "cairn.training.run_started.v1", started));
    }
    let last = server.record(&events);
    server.query(&format!("{{ coverage(atLeast: {last}) {{ position }} }}"));
    server
}

fn questions(server: &TestServer) -> u64 {
    server.ctx.projections().reads().iter().map(|(_, questions, _)| questions).sum()
}

#[test]
fn a_page_takes_as_many_questions_to_the_stores_however_long_it_is() {
    let server = filled();
    let taken = |first: u64| {
        let before = questions(&server);
        let page = server.query(&format!(
            "{{ runs(first: {first}, newestFirst: true) {{ nodes {{ id dataset {{ ref rows }} parent {{ id dataset {{ ref }} parent {{ id }} }} }} }} }}"
        ));
        let nodes = page["runs"]["nodes"].as_array().unwrap();
        assert_eq!(nodes.len() as u64, first);
        // Each has its own, not another's.
        for (at, node) in nodes.iter().enumerate() {
            let n = RUNS - 1 - at as u64;
            assert_eq!(
                (&node["id"], &node["dataset"]["ref"]),
                (&json!(run(n)), &json!(format!("ds://team/set{n}@1.0.0")))
            );
            if n > 0 {
                assert_eq!(node["parent"]["dataset"]["ref"], format!("ds://team/set{}@1.0.0", n - 1));
            }
        }
        questions(&server) - before
    };
    let (two, all) = (taken(2), taken(RUNS));
    assert!((1..=QUESTIONS_MAX).contains(&two), "{two} questions for a page of 2");
    assert!(all <= QUESTIONS_MAX, "{all} questions for a page of {RUNS}, {two} for one of 2");
}

#[test]
fn the_metrics_page_counts_questions_and_rows() {
    let server = filled();
    let before = server.get("/metrics").text;
    server.query("{ runs(first: 20) { nodes { id } } }");
    let after = server.get("/metrics").text;
    for name in ["cairn_projection_questions_total", "cairn_projection_rows_read_total"] {
        let of = |page: &str| -> u64 {
            let line = format!("{name}{{projection=\"catalog\"}} ");
            let at = page.find(&line).unwrap_or_else(|| panic!("{line} is not in\n{page}")) + line.len();
            page[at..].lines().next().unwrap().parse().unwrap()
        };
        assert!(of(&after) > of(&before), "{name}: {} and {}", of(&before), of(&after));
    }
    assert!(after.contains("cairn_query_duration_seconds_count{field=\"runs\",outcome=\"answered\"} 1"), "{after}");
    server.refusal("{ runs(first: 0) { nodes { id } } }");
    let refused = server.get("/metrics").text;
    assert!(refused.contains("cairn_query_duration_seconds_count{field=\"runs\",outcome=\"refused\"} 1"), "{refused}");
}
