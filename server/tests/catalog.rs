//! Lists by filter and order, counts, past states, aliases and annotations over real HTTP; and their refusals.

mod common;

use common::{TestServer, event};
use serde_json::{Value, json};

fn id(n: u64) -> String {
    format!("018f4e9a-7c3b-7def-8123-{n:012}")
}

/// Thirty trainings with their settings, some of which go on to log a step.
fn filled() -> (TestServer, u64) {
    let server = TestServer::start();
    let started = |n: u64| {
        let config = json!({ "optimizer": { "lr": n as f64 / 1000.0 }, "layers": 4 + n % 3 });
        let data = json!({ "run": id(n), "method": if n.is_multiple_of(2) { "sft" } else { "pretrain" }, "config": config, "seed": n % 5 });
        event(&format!("s{n}"), "cairn.training.run_started.v1", data)
    };
    let mut events: Vec<Value> = (0..30).map(started).collect();
    for n in (0..30).step_by(3) {
        let metrics = json!([{ "name": "loss", "value": 3.0 - n as f64 / 20.0 }]);
        let data = json!({ "run": id(n), "step": 7, "tokens": 70, "metrics": metrics });
        events.push(event(&format!("l{n}"), "cairn.training.step_logged.v2", data));
    }
    let tags = json!({ "subject": format!("run:{}", id(4)), "tags": { "team": "search" }, "owner": "ada" });
    events.push(event("a", "cairn.annotation.recorded.v1", tags));
    let last = server.record(&events);
    server.query(&format!("{{ coverage(atLeast: {last}) {{ position }} }}"));
    (server, last)
}

fn ids(page: &Value) -> Vec<&str> {
    page["nodes"].as_array().unwrap().iter().map(|node| node["id"].as_str().unwrap()).collect()
}

#[test]
fn runs_are_found_by_filter_and_sorted_by_any_path_page_by_page() {
    let (server, _) = filled();
    let found = server.query(
        r#"{ runs(filter: "config.optimizer.lr < 5e-3 AND seed != 2") { totalCount nodes { id } }
             tagged: runs(filter: "tags.team = 'search' AND owner = 'ada'") { nodes { id owner tags notes { note } } }
             best: runs(filter: "metrics.loss IS NOT NULL", orderBy: "metrics.loss", first: 3) { totalCount nodes { id progress } }
             sft: runs(filter: "config.layers = 4", state: "running", kind: "train", newestFirst: false, first: 2) { totalCount nodes { id } }
             count(kind: "run", filter: "method = 'sft'") all: count(kind: "training") }"#,
    );
    assert_eq!(ids(&found["runs"]), [id(4), id(3), id(1), id(0)]);
    assert_eq!(found["runs"]["totalCount"], 4);
    let tagged = json!([{ "id": id(4), "owner": "ada", "tags": { "team": "search" }, "notes": [] }]);
    assert_eq!(found["tagged"]["nodes"], tagged);
    assert_eq!((ids(&found["best"]), &found["best"]["totalCount"]), (vec![&*id(27), &*id(24), &*id(21)], &json!(10)));
    assert_eq!(found["best"]["nodes"][0]["progress"]["metrics"]["loss"], 1.65);
    assert_eq!((ids(&found["sft"]), &found["sft"]["totalCount"]), (vec![&*id(0), &*id(3)], &json!(10)));
    assert_eq!((&found["count"], &found["all"]), (&json!(15), &json!(30)));

    let query = "query($after: String) { runs(first: 7, after: $after, filter: \"config.layers > 4\", orderBy: \"seed DESC, config.optimizer.lr\") {
        totalCount nodes { id config } pageInfo { hasNextPage endCursor } } }";
    let (mut after, mut keys, mut pages) = (Value::Null, Vec::new(), 0);
    loop {
        let page = server.graphql(query, json!({ "after": after }))["data"]["runs"].clone();
        pages += 1;
        assert_eq!(page["totalCount"], 20);
        for node in page["nodes"].as_array().unwrap() {
            let lr = node["config"]["optimizer"]["lr"].as_f64().unwrap();
            keys.push((-(((lr * 1000.0).round() as i64) % 5), (lr * 1000.0).round() as i64));
        }
        after = page["pageInfo"]["endCursor"].clone();
        if page["pageInfo"]["hasNextPage"] == false {
            break;
        }
    }
    assert_eq!((pages, keys.len()), (3, 20));
    assert!(keys.is_sorted(), "{keys:?}");
}

#[test]
fn wrong_filters_orders_and_cursors_say_what_would_be_right() {
    let (server, last) = filled();
    for (query, said) in [
        (r#"{ runs(filter: "config.lr <") { nodes { id } } }"#, "column 12: expected a value"),
        (r#"{ runs(filter: "optimizer.lr < 1") { nodes { id } } }"#, "the nearest paths are `config.optimizer.lr`"),
        (
            r#"{ runs(orderBy: "metrics.los") { nodes { id } } }"#,
            "the order is wrong at column 1: no run has `metrics.los`",
        ),
        (r#"{ count(kind: "runs") }"#, "the kinds are artifact, dataset"),
        (r#"{ entity(ref: "thing:1") { ref } }"#, "a ref is"),
        (r#"{ aliasHistory(model: "model://team/chat@1", alias: "a") { model } }"#, "model://project/name"),
        (r#"mutation { annotate(ref: "deployment:d") { position } }"#, "nothing is said"),
        (r#"mutation { annotate(ref: "deployment:d", tags: [1]) { position } }"#, "tags are an object"),
        (r#"mutation { annotate(ref: "deployment:d", tags: {a: {b: 1}}) { position } }"#, "the tag `a` needs"),
    ] {
        let (code, message) = server.refusal(query);
        assert!(code == "malformed-request" && message.contains(said), "{query}: {message}");
    }
    let refused = server.graphql(r#"{ runs(filter: "a = 1 AND ;") { nodes { id } } }"#, json!({}));
    assert_eq!(
        (&refused["errors"][0]["extensions"]["column"], &refused["errors"][0]["extensions"]["offset"]),
        (&json!(11), &json!(10))
    );
    let cursor = server.query(r#"{ runs(filter: "seed = 1", first: 1) { pageInfo { endCursor } } }"#);
    let cursor = cursor["runs"]["pageInfo"]["endCursor"].as_str().unwrap().to_owned();
    let (_, message) =
        server.refusal(&format!(r#"{{ runs(filter: "seed = 2", after: "{cursor}") {{ nodes {{ id }} }} }}"#));
    assert!(message.contains("does not belong to this query"), "{message}");
    let (_, message) = server.refusal(&format!("{{ count(kind: \"run\", asOf: {}) }}", last + 1_000));
    assert!(message.contains(&last.to_string()), "{message}");
}

#[test]
fn the_past_is_asked_by_position_and_does_not_change() {
    let (server, last) = filled();
    let run = format!("run:{}", id(4));
    let ask = format!(
        r#"{{ now: entity(ref: "{run}") {{ owner tags updatedPosition }}
              then: entity(ref: "{run}", asOf: 30) {{ kind state owner tags attributes }}
              before: entity(ref: "{run}", asOf: 4) {{ ref }}
              run(id: "{run}", asOf: 30) {{ owner method }}
              runs(asOf: 10, filter: "seed < 3", first: 100) {{ totalCount nodes {{ id }} }}
              tagged: count(kind: "run", filter: "tags.team = 'search'", asOf: 40)
              count(kind: "run", asOf: 12) }}"#
    );
    let answer = server.query(&ask);
    assert_eq!(answer["now"], json!({ "owner": "ada", "tags": { "team": "search" }, "updatedPosition": last }));
    let then = &answer["then"];
    assert_eq!(
        (&then["kind"], &then["state"], &then["owner"], &then["tags"]),
        (&json!("run"), &json!("running"), &Value::Null, &json!({}))
    );
    assert_eq!(then["attributes"]["training"]["config"]["optimizer"]["lr"], 0.004);
    assert_eq!((&answer["before"], &answer["run"]), (&Value::Null, &json!({ "owner": null, "method": "sft" })));
    assert_eq!((answer["runs"]["totalCount"].as_u64(), ids(&answer["runs"])[0]), (Some(6), &*id(7)));
    assert_eq!((&answer["tagged"], &answer["count"]), (&json!(0), &json!(12)));

    // More is said of it; the past stays.
    let said = server.query(&format!(
        r#"mutation {{ annotate(ref: "{run}", tags: {{team: null, tier: 2}}, owner: "", note: "seen") {{ position }} }}"#
    ));
    let position = said["annotate"]["position"].as_u64().unwrap();
    // Fields are answered side by side: each that is to see the annotation waits for it.
    let now = server.query(&format!(
        r#"{{ entity(ref: "{run}", atLeast: {position}) {{ owner tags notes {{ note position }} }}
              runs(filter: "tags.tier = 2 AND notes LIKE '%seen%'", atLeast: {position}) {{ nodes {{ id }} }} }}"#
    ));
    assert_eq!(
        now["entity"],
        json!({ "owner": null, "tags": { "tier": 2 }, "notes": [{ "note": "seen", "position": position }] })
    );
    assert_eq!(ids(&now["runs"]), [id(4)]);
    let again = server.query(&ask.replace("now: entity", "other: entity"));
    for part in ["then", "before", "run", "runs", "tagged", "count"] {
        assert_eq!(again[part], answer[part], "{part}");
    }
}

#[test]
fn what_was_production_when() {
    let server = TestServer::start();
    let registered = |n: u64| {
        event(
            &format!("r{n}"),
            "cairn.model.version_registered.v1",
            json!({ "model": format!("model://team/chat@{n}"), "parameters": n * 10 }),
        )
    };
    let assigned = |n: u64| {
        let data =
            json!({ "alias": "production", "model": format!("model://team/chat@{n}"), "reason": format!("gate {n}") });
        event(&format!("a{n}"), "cairn.model.alias_assigned.v1", data)
    };
    let cleared =
        event("c", "cairn.model.alias_cleared.v1", json!({ "alias": "production", "model": "model://team/chat@2" }));
    let last = server.record(&[registered(1), assigned(1), registered(2), assigned(2), cleared]);
    server.query(&format!("{{ coverage(atLeast: {last}) {{ position }} }}"));
    let answer = server.query(&format!(
        r#"{{ aliasHistory(model: "model://team/chat", alias: "production", atLeast: {last}) {{ model reason position }}
              first: aliasHistory(model: "model://team/chat", alias: "production", asOf: 3) {{ model }}
              then: model(ref: "model://team/chat@production", asOf: 3) {{ ref aliases }}
              later: model(ref: "model://team/chat@production", asOf: 4) {{ ref run {{ id }} }}
              now: model(ref: "model://team/chat@production") {{ ref }}
              latest: model(ref: "model://team/chat", asOf: 2) {{ ref }}
              models(filter: "aliases HAS 'production'", asOf: 4) {{ nodes {{ ref parameters }} }}
              paths(kind: "model") {{ path numbers others }} }}"#
    ));
    let change = |n: u64, position: u64| json!({ "model": format!("model://team/chat@{n}"), "reason": format!("gate {n}"), "position": position });
    let history = json!([change(1, 2), change(2, 4), { "model": null, "reason": null, "position": 5 }]);
    assert_eq!(answer["aliasHistory"], history);
    assert_eq!(answer["first"], json!([{ "model": "model://team/chat@1" }]));
    assert_eq!(answer["then"], json!({ "ref": "model://team/chat@1", "aliases": ["production"] }));
    assert_eq!((&answer["later"]["ref"], &answer["now"]), (&json!("model://team/chat@2"), &Value::Null));
    assert_eq!(answer["latest"]["ref"], "model://team/chat@1");
    assert_eq!(answer["models"]["nodes"], json!([{ "ref": "model://team/chat@2", "parameters": 20 }]));
    let paths = answer["paths"].as_array().unwrap();
    assert!(paths.contains(&json!({ "path": "parameters", "numbers": 2, "others": 0 })), "{paths:?}");
}

#[test]
fn things_of_any_kind_are_listed() {
    let server = TestServer::start();
    let last = server.record(&common::history());
    // Fields are answered side by side, and only the one that waits would wait.
    server.query(&format!("{{ coverage(atLeast: {last}) {{ position }} }}"));
    let answer = server.query(
        r#"{ artifacts: entities(kind: "artifact", filter: "role = 'checkpoint'") { totalCount nodes { ref kind name attributes } }
              documents: entities(kind: "document", orderBy: "name") { nodes { name state } }
              gates: entities(kind: "gate", newestFirst: false, first: 1) { totalCount nodes { ref state } pageInfo { hasNextPage } }
              evaluations(filter: "metrics.format_validity > 0.9 AND task = 'answers'") { nodes { ref task } }
              deployments(filter: "active.model IS NOT NULL", orderBy: "target DESC, name") { nodes { ref target } } }"#
    );
    assert_eq!(answer["artifacts"]["nodes"][0]["name"], "checkpoint");
    assert_eq!(answer["documents"]["nodes"][0]["state"], "ingested");
    assert_eq!(answer["gates"]["totalCount"], 1);
    assert_eq!(answer["evaluations"]["nodes"], json!([{ "ref": "eval:exam/1", "task": "answers" }]));
    assert_eq!(answer["deployments"]["nodes"][0]["ref"], "deployment:math");
}

#[test]
fn a_run_is_there_from_its_first_step_on_and_a_fork_is_its_parent() {
    let server = TestServer::start();
    let metrics = json!([{ "name": "loss", "value": 2.5 }]);
    let (first, second, third) = (id(1), id(2), id(3));
    let started = |run: &str, config: Value| {
        event(run, "cairn.training.run_started.v1", json!({ "run": run, "method": "sft", "config": config }))
    };
    let fork = json!({
        "run": second, "from_run": first, "from_step": 3,
        "checkpoint": format!("artifact:{}", common::digest("c0")),
    });
    let ended = json!({ "run": third, "steps": 9, "tokens": 90, "duration_ms": 5 });
    let last = server.record(&[
        event(
            "step",
            "cairn.training.step_logged.v2",
            json!({ "run": first, "step": 3, "tokens": 9, "metrics": metrics }),
        ),
        started(&second, json!({ "lr": 0.1 })),
        event("fork", "cairn.training.run_forked.v1", fork),
        event("ended", "cairn.training.run_completed.v1", ended),
        started(&third, json!({ "lr": 0.1, "warmup": null })),
    ]);
    let answer = server.query(&format!(r#"{{ run(id: "{first}", atLeast: {last}) {{ state name }} }}"#));
    assert_eq!(answer["run"], json!({ "state": "running", "name": format!("run:{first}") }));
    let answer = server.query(&format!(
        r#"{{ runs(newestFirst: false) {{ totalCount nodes {{ id state }} }} met: run(id: "{first}") {{ metrics }}
             fork: run(id: "{second}") {{ parent {{ id }} }} forks: runs(filter: "parent = 'run:{first}'") {{ nodes {{ id }} }}
             late: run(id: "{third}") {{ state method }}
             diffRuns(before: "{second}", after: "{third}") {{ config {{ nodes {{ path change before after }} }} }} }}"#
    ));
    assert_eq!((&answer["runs"]["totalCount"], ids(&answer["runs"])), (&json!(3), vec![&*first, &*second, &*third]));
    assert_eq!(answer["met"]["metrics"], json!(["loss"]));
    assert_eq!((&answer["fork"]["parent"]["id"], ids(&answer["forks"])), (&json!(first), vec![&*second]));
    assert_eq!(answer["late"], json!({ "state": "completed", "method": "sft" }), "its start came late");
    let added = json!([{ "path": "warmup", "change": "ADDED", "before": null, "after": null }]);
    assert_eq!(answer["diffRuns"]["config"]["nodes"], added);
}
