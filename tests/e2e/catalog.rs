//! `cairn runs` and `cairn show`: runs by filter and order, things now and as they were, what is wrong with a question.

use crate::support::Place;
use serde_json::json;

fn id(n: u64) -> String {
    format!("018f4e9a-7c3b-7def-8123-{n:012}")
}

fn event(id: &str, kind: &str, data: &serde_json::Value) -> String {
    json!({ "specversion": "1.0", "type": kind, "source": "urn:e2e", "id": id, "data": data }).to_string()
}

#[test]
fn runs_are_listed_by_filter_and_things_shown_as_they_were() {
    let place = Place::new();
    let mut lines: Vec<String> = (0..12)
        .map(|n| {
            let config = json!({ "lr": n as f64 / 100.0 });
            event(
                &format!("s{n}"),
                "cairn.training.run_started.v1",
                &json!({ "run": id(n), "method": "pretrain", "name": format!("try {n}"), "config": config }),
            )
        })
        .collect();
    let model = "model://team/chat@1";
    lines.push(event("m", "cairn.model.version_registered.v1", &json!({ "model": model })));
    lines.push(event(
        "a",
        "cairn.model.alias_assigned.v1",
        &json!({ "alias": "production", "model": model, "reason": "the best" }),
    ));
    let tags = json!({ "subject": format!("run:{}", id(3)), "tags": { "team": "search" }, "note": "looks good" });
    lines.push(event("n", "cairn.annotation.recorded.v1", &tags));
    place.append(&lines.join("\n")).ok();

    let found = place.json(&[
        "runs",
        "config.lr < 0.04 AND config.lr > 0",
        "--sort",
        "config.lr DESC",
        "--columns",
        "config.lr,tags.team",
    ]);
    assert_eq!(found["total"], 3);
    let row = |n: usize| (found["runs"][n]["run"]["name"].clone(), found["runs"][n]["columns"].clone());
    assert_eq!(row(0), (json!("try 3"), json!({ "config.lr": 0.03, "tags.team": "search" })));
    assert_eq!(row(2), (json!("try 1"), json!({ "config.lr": 0.01, "tags.team": null })));
    let table = place.cairn(&["runs", "--limit", "5", "--columns", "seed"]).ok().out;
    assert!(table.contains("try 11") && table.contains("5 of 12 runs; --limit shows more"), "{table}");
    assert_eq!(place.json(&["runs", "--as-of", "4"])["total"], 4);
    let paths = place.cairn(&["runs", "--paths"]).ok().out;
    assert!(paths.contains("config.lr"), "{paths}");

    let now = place.cairn(&["show", &format!("run:{}", id(3))]).ok().out;
    assert!(now.contains("tag         team = \"search\"") && now.contains("looks good"), "{now}");
    let then = place.json(&["show", &format!("run:{}", id(3)), "--as-of", "12"]);
    assert_eq!((&then["entity"]["tags"], &then["entity"]["state"]), (&json!({}), &json!("running")));
    let production = place.json(&["show", "model://team/chat@production"]);
    assert_eq!(production["entity"]["reference"], model);
    let history = place.cairn(&["show", "model://team/chat", "--alias", "production"]).ok().out;
    assert!(history.contains(model) && history.contains("the best"), "{history}");

    place.cairn(&["runs", "config.lr < "]).refuses(4, &["column 13", "expected a value"]);
    place.cairn(&["runs", "lr < 1"]).refuses(4, &["`config.lr`"]);
    place.cairn(&["runs", "--as-of", "99"]).refuses(4, &["15"]);
    place.cairn(&["show", "deployment:none"]).refuses(3, &["deployment:none"]);
    place.cairn(&["show", "model://team/chat", "--alias", "none"]).refuses(3, &["`none`"]);
}
