//! GraphQL over real HTTP on a short history: each question, its pages, its nested fields, and its refusals.

mod common;

use common::{CHILD, DATASET, MODEL, RUN, TestServer, custom, digest, event, history};
use serde_json::{Value, json};

fn filled() -> (TestServer, u64) {
    let server = TestServer::start();
    let last = server.record(&history());
    // Fields of one query are answered side by side: each that is to be of some age has to be asked after that.
    server.query(&format!("{{ coverage(atLeast: {last}) {{ position }} }}"));
    (server, last)
}

#[test]
fn a_deployment_is_followed_down_to_its_documents() {
    let (server, last) = filled();
    let data = server.query(&format!(
        r#"{{ deployment(name: "math", atLeast: {last}) {{
            ref state target weightsDigest
            history {{ type model reason gate }}
            model {{ ref parameters weightsDigest aliases
                run {{ id method dataset {{ ref rows documentCount splits {{ name rows }} documents(first: 5) {{ nodes {{ ref author language }} }} }} }}
                results {{ task metric value n standardError }}
                gates {{ gate outcome checks {{ condition observed detail }} }} }}
            lineage(depth: 10) {{ nodes {{ ref kind depth }} edges {{ from to eventType position }} truncated }} }} }}"#
    ));
    let deployment = &data["deployment"];
    assert_eq!(deployment["ref"], "deployment:math");
    assert_eq!((&deployment["state"], &deployment["weightsDigest"]), (&json!("active"), &json!(digest("e0"))));
    let history = &deployment["history"];
    assert_eq!(
        (&history[0]["type"], &history[1]["type"], &history[1]["model"]),
        (&json!("created"), &json!("promoted"), &json!(MODEL))
    );
    let model = &deployment["model"];
    assert_eq!((&model["parameters"], &model["run"]["id"]), (&json!(1070000), &json!(RUN)));
    assert_eq!(model["run"]["dataset"]["splits"], json!([{ "name": "train", "rows": 40 }]));
    let documents = json!([{ "ref": format!("doc:{}", digest("d0")), "author": "A", "language": "en" }]);
    assert_eq!(model["run"]["dataset"]["documents"]["nodes"], documents);
    assert_eq!(
        model["results"][0],
        json!({ "task": "answers", "metric": "format_validity", "value": 0.95, "n": 200, "standardError": 0.02 })
    );
    assert_eq!(
        (&model["gates"][0]["outcome"], &model["gates"][0]["checks"][0]["observed"]),
        (&json!("PASS"), &json!(0.95))
    );
    let kinds: Vec<&str> =
        deployment["lineage"]["nodes"].as_array().unwrap().iter().map(|node| node["kind"].as_str().unwrap()).collect();
    for kind in ["deployment", "model", "run", "dataset", "document"] {
        assert!(kinds.contains(&kind), "{kind} is not in {kinds:?}");
    }
    assert_eq!(deployment["lineage"]["truncated"], false);
}

#[test]
fn runs_know_their_parents_checkpoints_and_curves() {
    let (server, last) = filled();
    let data = server.query(&format!(
        r#"{{ run(id: "{CHILD}", atLeast: {last}) {{ method kind state parent {{ id name state metrics metricSummaries {{ name points }} config
            checkpoints {{ step tokens weightsDigest }}
            curves(metrics: ["loss"], x: TOKENS, points: 8) {{ metric axis points {{ x step value }} }} }} }}
            whole: curves(runs: ["run:{RUN}"], metrics: ["lo*"], atLeast: {last}) {{ metric exact totalPoints points {{ value }} }}
            along: curves(runs: ["{CHILD}"], metrics: ["loss"], x: LINEAGE_TOKENS, ancestors: true, points: 8) {{
                axis parts {{ run toStep tokensBefore estimated }} points {{ x }} }}
            smooth: curves(runs: ["{RUN}"], metrics: ["loss"], smoothing: {{ ema: 0.9 }}, resample: 5) {{ exact points {{ x }} }}
            seeds: aggregateCurves(runs: ["{RUN}", "{CHILD}"], metric: "loss", quantiles: [0.5]) {{
                runs exact points {{ x n mean min max quantiles }} }} }}"#
    ));
    let parent = &data["run"]["parent"];
    assert_eq!(
        (&parent["id"], &parent["state"], &parent["metrics"]),
        (&json!(RUN), &json!("completed"), &json!(["loss"]))
    );
    assert_eq!(parent["metricSummaries"], json!([{ "name": "loss", "points": 60 }]));
    assert_eq!(parent["config"], json!({ "learning_rate": 0.004 }));
    assert_eq!(parent["checkpoints"], json!([{ "step": 60, "tokens": 122880, "weightsDigest": digest("e0") }]));
    let points = parent["curves"][0]["points"].as_array().unwrap();
    assert!(points.len() <= 8 && points.len() >= 3, "{points:?}");
    assert_eq!(points.last().unwrap()["x"], 122880.0);
    assert!(points.iter().any(|point| point["value"] == "NaN"), "the NaN was lost: {points:?}");
    assert_eq!(data["whole"][0]["points"].as_array().unwrap().len(), 60);
    assert_eq!((&data["whole"][0]["exact"], &data["whole"][0]["totalPoints"]), (&json!(true), &json!(60)));
    let along = &data["along"][0];
    assert_eq!((&along["axis"], &along["parts"][0]["run"]), (&json!("LINEAGE_TOKENS"), &json!(RUN)));
    assert_eq!(along["parts"].as_array().unwrap().last().unwrap()["run"], CHILD);
    assert_eq!(data["smooth"][0]["points"].as_array().unwrap().len(), 5);
    let seeds = &data["seeds"][0];
    assert_eq!(seeds["points"][0]["quantiles"].as_array().unwrap().len(), 1);
    let (_, message) = server.refusal(&format!(r#"{{ curves(runs: ["{RUN}"], metrics: ["los"]) {{ metric }} }}"#));
    assert!(message.contains("`los`") && message.contains("they have `loss`"), "{message}");
}

#[test]
fn lists_page_in_both_orders_and_filter() {
    let server = TestServer::start();
    let run = |n: u64| format!("018f4e9a-7c3b-7def-8123-{n:012}");
    let started = |n: u64| {
        let method = if n.is_multiple_of(2) { "sft" } else { "pretrain" };
        let mut event =
            event(&n.to_string(), "cairn.training.run_started.v1", json!({ "run": run(n), "method": method }));
        event["project"] = json!(if n < 10 { "alpha" } else { "beta" });
        event
    };
    let last = server.record(&(0..25).map(started).collect::<Vec<_>>());
    let mut after = Value::Null;
    let mut seen: Vec<String> = Vec::new();
    for (length, more) in [(10, true), (10, true), (5, false)] {
        let query = "query($after: String, $last: Position) { runs(first: 10, after: $after, newestFirst: false, atLeast: $last) {
            nodes { id } edges { cursor } pageInfo { hasNextPage hasPreviousPage endCursor } } }";
        let page = server.graphql(query, json!({ "after": after, "last": last }))["data"]["runs"].clone();
        let ids: Vec<String> =
            page["nodes"].as_array().unwrap().iter().map(|node| node["id"].as_str().unwrap().to_owned()).collect();
        assert_eq!((ids.len(), &page["pageInfo"]["hasNextPage"]), (length, &json!(more)));
        assert_eq!(page["pageInfo"]["hasPreviousPage"], !after.is_null());
        seen.extend(ids);
        after = page["pageInfo"]["endCursor"].clone();
    }
    assert_eq!(seen, (0..25).map(run).collect::<Vec<_>>());

    // A cursor inside a page goes on right behind its item.
    let page = server.query("{ runs(first: 5) { nodes { id } edges { cursor } } }");
    let third = page["runs"]["edges"][2]["cursor"].as_str().unwrap();
    let rest = server.query(&format!(r#"{{ runs(first: 2, after: "{third}") {{ nodes {{ id }} }} }}"#));
    assert_eq!(rest["runs"]["nodes"], json!([{ "id": run(21) }, { "id": run(20) }]));

    let alpha = server.query(
        r#"{ runs(first: 4, project: "alpha", kind: "train") { nodes { id } pageInfo { hasNextPage endCursor } } }"#,
    );
    assert_eq!(
        (&alpha["runs"]["nodes"][0]["id"], &alpha["runs"]["pageInfo"]["hasNextPage"]),
        (&json!(run(9)), &json!(true))
    );
    let end = alpha["runs"]["pageInfo"]["endCursor"].as_str().unwrap();
    let rest = server.query(&format!(r#"{{ runs(first: 10, after: "{end}", project: "alpha", kind: "train") {{ nodes {{ id }} pageInfo {{ hasNextPage }} }} }}"#));
    assert_eq!(
        (rest["runs"]["nodes"].as_array().unwrap().len(), &rest["runs"]["pageInfo"]["hasNextPage"]),
        (6, &json!(false))
    );

    let (code, message) = server.refusal(&format!(r#"{{ models(after: "{end}") {{ nodes {{ ref }} }} }}"#));
    assert!(
        code == "malformed-request" && message.contains("belongs to `training/newest`, not to `model/newest`"),
        "{message}"
    );
}

#[test]
fn events_page_forwards_and_backwards() {
    let server = TestServer::start();
    server.record(&(1..=30).map(|n| custom(&n.to_string(), "x")).collect::<Vec<_>>());
    let positions = |page: &Value| -> Vec<u64> {
        page["events"]["nodes"].as_array().unwrap().iter().map(|node| node["position"].as_u64().unwrap()).collect()
    };
    let first = server.query("{ events(first: 3) { nodes { position type source data } pageInfo { hasNextPage hasPreviousPage endCursor } } }");
    assert_eq!(positions(&first), [1, 2, 3]);
    assert_eq!(
        first["events"]["nodes"][0]["data"],
        json!({ "kind": "acme.noted", "used": [], "produced": [], "data": { "text": "x" } })
    );
    let end = first["events"]["pageInfo"]["endCursor"].as_str().unwrap();
    let next = server.query(&format!(
        r#"{{ events(first: 100, after: "{end}") {{ nodes {{ position }} pageInfo {{ hasNextPage }} }} }}"#
    ));
    assert_eq!((positions(&next), &next["events"]["pageInfo"]["hasNextPage"]), ((4..=30).collect(), &json!(false)));
    let last =
        server.query("{ events(last: 2) { nodes { position } pageInfo { hasPreviousPage hasNextPage startCursor } } }");
    assert_eq!(positions(&last), [29, 30]);
    let start = last["events"]["pageInfo"]["startCursor"].as_str().unwrap();
    let before = server.query(&format!(
        r#"{{ events(last: 3, before: "{start}") {{ nodes {{ position }} pageInfo {{ hasNextPage }} }} }}"#
    ));
    assert_eq!((positions(&before), &before["events"]["pageInfo"]["hasNextPage"]), (vec![26, 27, 28], &json!(true)));

    let one = server
        .query("{ event(position: 7) { id stream used cloudEvent recordedAt } none: event(position: 31) { id } }");
    assert_eq!((&one["event"]["id"], &one["none"]), (&json!("7"), &Value::Null));
    assert_eq!(one["event"]["cloudEvent"]["specversion"], "1.0");
    for (query, said) in [
        ("{ events(first: 1, last: 1) { nodes { id } } }", "give one of them"),
        ("{ events(first: 501) { nodes { id } } }", "from 1 to 500"),
        (r#"{ events(first: 1, before: "bG9nOjE") { nodes { id } } }"#, "first goes with after"),
        (r#"{ events(types: ["cairn.x"]) { nodes { id } } }"#, "the families are"),
        (r#"{ events(after: "!") { nodes { id } } }"#, "not a cursor"),
    ] {
        let (_, message) = server.refusal(query);
        assert!(message.contains(said), "{query}: {message}");
    }
}

#[test]
fn names_resolve_and_wrong_ones_are_named() {
    let (server, last) = filled();
    let data = server.query(&format!(
        r#"{{ a: model(ref: "model://team/chat", atLeast: {last}) {{ ref }} b: dataset(ref: "ds://team/web") {{ ref manifest }}
            c: model(ref: "model://team/chat@9") {{ ref }} d: run(id: "018f4e9a-7c3b-7def-8123-ffffffffffff") {{ id }}
            e: deployment(name: "deployment:math") {{ ref }} f: dataset(ref: "ds://team/none") {{ ref }} }}"#
    ));
    assert_eq!(
        (&data["a"]["ref"], &data["b"]["ref"], &data["e"]["ref"]),
        (&json!(MODEL), &json!(DATASET), &json!("deployment:math"))
    );
    assert_eq!((&data["c"], &data["d"], &data["f"]), (&Value::Null, &Value::Null, &Value::Null));
    for (query, said) in [
        (r#"{ model(ref: "mistral-7b") { ref } }"#, "a ref is"),
        (r#"{ model(ref: "deployment:math") { ref } }"#, "names a deployment, not a model"),
        (r#"{ run(id: "seven") { id } }"#, "a run id is a UUID"),
        (r#"{ lineage(of: "thing:1") { truncated } }"#, "a ref is"),
        (r#"{ lineage(of: "deployment:math", depth: -1) { truncated } }"#, "from 0 to 100"),
        (
            r#"{ curves(runs: ["018f4e9a-7c3b-7def-8123-456789abcdef"], metrics: ["loss"], points: 1) { metric } }"#,
            "from 4 to 20000",
        ),
        (
            r#"{ leaderboard(task: "a", metric: "b", asOf: "soon") { total } }"#,
            "nor a recorded time such as 2026-01-31",
        ),
        (r#"{ run(id: "018f4e9a-7c3b-7def-8123-456789abcdef", atLeast: 100000) { id } }"#, "does not exist yet"),
    ] {
        let (_, message) = server.refusal(query);
        assert!(message.contains(said), "{query}: {message}");
    }
}

#[test]
fn deep_costly_and_invalid_queries_are_refused_with_their_limits() {
    let server = TestServer::start();
    let deep = format!("{{ runs {{ nodes {{ {} id {} }} }} }}", "parent { ".repeat(20), "} ".repeat(20));
    let (code, message) = server.refusal(&deep);
    assert!(code == "too-deep" && message.contains("23 levels deep, more than 20"), "{code}: {message}");
    let (code, message) =
        server.refusal(&format!("{{ runs {{ nodes {{ {} id {} }} }} }}", "parent { ".repeat(62), "} ".repeat(62)));
    assert!(code == "too-deep" && message.contains("65 levels deep, more than 20"), "{code}: {message}");
    let costly = "{ runs(first: 500) { nodes { dataset { documents(first: 500) { nodes { ref name } } } } } }";
    let (code, message) = server.refusal(costly);
    assert!(
        code == "too-costly" && message.contains("the query costs ") && message.contains(", more than 50000"),
        "{code}: {message}"
    );
    let walks = |runs: u64, walk: &str| {
        format!(
            "{{ runs(first: {runs}) {{ nodes {{ lineage{walk} {{ nodes {{ ref kind }} edges {{ from to }} }} }} }} }}"
        )
    };
    for (runs, walk) in [(500, "(direction: BOTH, depth: 100, limit: 10000, fanOut: 500)"), (20, "(limit: 10000)")] {
        let (code, message) = server.refusal(&walks(runs, walk));
        assert!(code == "too-costly" && message.contains("more than 50000"), "{walk}: {code}: {message}");
    }
    server.query(&walks(500, "(depth: 1, fanOut: 5)"));
    server.query(&walks(20, ""));
    let (code, message) = server.refusal("{ nothing }");
    assert!(code == "invalid-query" && message.contains("nothing"), "{code}: {message}");
    let json_type = [("content-type", "application/json")];
    server.post("/graphql", &json_type, "[]").problem(400, "malformed-request", "batches of queries");
    server.post("/graphql", &json_type, "{").problem(400, "malformed-request", "not a GraphQL request");
}

#[test]
fn questions_about_what_nobody_heard_of_are_refused_by_name() {
    let (server, last) = filled();
    let other = "ds://none/x@1.0.0";
    let (run, unheard) = ("018f4e9a-7c3b-7def-8123-ffffffffffff", "run:018f4e9a-7c3b-7def-8123-ffffffffffff");
    for (query, name) in [
        (format!(r#"{{ impact(of: ["{MODEL}", "{other}"]) {{ total }} }}"#), other),
        (format!(r#"{{ lineage(of: "{other}") {{ truncated }} }}"#), other),
        (format!(r#"{{ neighbours(of: "{other}") {{ total }} }}"#), other),
        (format!(r#"{{ path(from: "{MODEL}", to: "{other}") {{ relation }} }}"#), other),
        (format!(r#"{{ path(from: "{other}", to: "{MODEL}") {{ relation }} }}"#), other),
        (format!(r#"{{ diffDocuments(from: ["{DATASET}"], to: ["{other}"]) {{ added }} }}"#), other),
        (format!(r#"{{ curves(runs: ["{RUN}", "{run}"], metrics: ["loss"]) {{ metric }} }}"#), unheard),
        (format!(r#"{{ aggregateCurves(runs: ["{run}"], metric: "loss") {{ metric }} }}"#), unheard),
    ] {
        let (code, message) = server.refusal(&query);
        assert!(
            code == "not-found" && message.contains(&format!("nothing is called {name}")),
            "{query}: {code}: {message}"
        );
    }
    // Something may come later.
    let (code, message) = server.refusal(&format!(r#"{{ lineage(of: "{MODEL}", asOf: 3) {{ truncated }} }}"#));
    assert!(code == "not-found" && message.contains("as of position 3"), "{code}: {message}");
    server.query(&format!(r#"{{ lineage(of: "{MODEL}", asOf: {last}) {{ truncated }} }}"#));
    // What is only named by others is known.
    server.query(&format!(r#"{{ lineage(of: "artifact:{}") {{ truncated }} }}"#, digest("e1")));
}

#[test]
fn fragments_cannot_make_a_short_text_a_long_query() {
    let server = TestServer::start();
    // Each fragment spreads the next one ten times: ten to the thirtieth fields.
    let bomb: String =
        (0..30).map(|n| format!("fragment F{n} on Query {{ {} }} ", format!("...F{} ", n + 1).repeat(10))).collect();
    let (code, message) = server.refusal(&format!("{{ ...F0 }} {bomb} fragment F30 on Query {{ log {{ size }} }}"));
    assert!(
        code == "too-costly" && message.contains("once its fragments are spread, more than 10000"),
        "{code}: {message}"
    );
    let (code, message) =
        server.refusal("{ ...A } fragment A on Query { ...B ...B } fragment B on Query { ...A ...A }");
    assert!(code == "invalid-query" && message.contains("spreads itself"), "{code}: {message}");
    let long = format!("{{ log {{ size }} }} # {}", "x".repeat(300_000));
    let (code, message) = server.refusal(&long);
    assert!(
        code == "too-large" && message.contains("at most 262144") && message.contains("as variables"),
        "{code}: {message}"
    );
}

#[test]
fn a_query_may_be_named_by_its_digest_once_its_text_is_known() {
    let server = TestServer::start();
    let text = "query($n: Int) { events(first: $n) { nodes { id } } }";
    // As sha256sum gives it.
    let digest = "77281a3182fbdbaff1444927048ca312406e637564c8b27f1a6862b6f7a8b058";
    let ask = |query: Option<&str>, digest: Value| {
        let mut body = json!({ "variables": { "n": 1 }, "extensions": { "persistedQuery": digest } });
        if let Some(query) = query {
            body["query"] = query.into();
        }
        server.post("/graphql", &[("content-type", "application/json")], body.to_string()).json()
    };
    server.record(&[custom("1", "one")]);
    let named = json!({ "version": 1, "sha256Hash": digest });
    let unknown = ask(None, named.clone());
    assert_eq!(unknown["errors"][0]["message"], "PersistedQueryNotFound", "{unknown}");
    assert_eq!(unknown["errors"][0]["extensions"]["code"], "PERSISTED_QUERY_NOT_FOUND");
    for query in [Some(text), None, None] {
        let answer = ask(query, named.clone());
        assert_eq!(answer["data"]["events"]["nodes"], json!([{ "id": "1" }]), "{answer}");
    }
    for (query, digest, said) in [
        (Some("{ log { size } }"), named, "digest the text as it is sent"),
        (None, json!({ "version": 2, "sha256Hash": digest }), "version is 2; 1 is supported"),
        (None, json!({ "version": 1, "sha256Hash": "x" }), "64 hexadecimal digits"),
        (None, json!({ "hash": digest }), "is not of the form"),
    ] {
        let answer = ask(query, digest);
        assert!(answer["errors"][0]["message"].as_str().unwrap().contains(said), "{answer}");
        assert_eq!(answer["errors"][0]["extensions"]["code"], "malformed-request");
    }
}

#[test]
fn a_past_state_is_a_position_or_a_recorded_time() {
    let server = TestServer::start();
    let of = |as_of: &str| format!("{{ coverage(asOf: {as_of}) {{ position checkpoint }} }}");
    assert!(server.refusal(&of("1")).1.contains("the log is empty"));
    let times: Vec<String> = (1..=3)
        .map(|n| {
            let at = server.record(&[custom(&n.to_string(), "x")]);
            let event = server.query(&format!("{{ event(position: {at}) {{ recordedAt }} }}"));
            event["event"]["recordedAt"].as_str().unwrap().to_owned()
        })
        .collect();
    for (as_of, position) in
        [("2", 2), ("\"2\"", 2), (&*format!("\"{}\"", times[0]), 1), (&*format!("\"{}\"", times[2]), 3)]
    {
        let coverage = server.query(&of(as_of))["coverage"].clone();
        assert_eq!(coverage["position"], position, "{as_of}");
        assert!(coverage["checkpoint"].as_str().is_some(), "{coverage}");
    }
    for (as_of, said) in [
        ("4", format!("the last position is 3, recorded at {}", times[2])),
        ("\"2001-01-01\"", format!("before the first event, which was recorded at {}", times[0])),
        ("\"2222-01-01T00:00:00Z\"", "in the future; it is 20".into()),
        ("\"yesterday\"", "neither a position such as 1041 nor a recorded time".into()),
        ("0", "before the first event, whose position is 1".into()),
        ("true", "AsOf".into()),
    ] {
        let (code, message) = server.refusal(&of(as_of));
        assert!(message.contains(&said), "{as_of}: {message}");
        assert!(["malformed-request", "invalid-query"].contains(&&*code), "{code}");
    }
}

#[test]
fn every_answer_names_a_checkpoint_that_covers_its_position() {
    let server = TestServer::start();
    let ask = || server.graphql("{ log { size } }", json!({}))["extensions"]["coverage"].clone();
    assert_eq!(ask(), json!({ "position": null, "checkpoint": null }));
    for n in 1..=5u64 {
        server.record(&[custom(&n.to_string(), "x")]);
        let covered = server.graphql(&format!("{{ coverage(atLeast: {n}) {{ position }} }}"), json!({}));
        assert!(covered.get("errors").is_none(), "{covered}");
        let covered = ask();
        assert_eq!(covered["position"], n);
        // The root is that of the signed note of this size.
        let note = server.get("/log/default/checkpoint").text;
        let lines: Vec<&str> = note.lines().collect();
        assert_eq!(
            (covered["checkpoint"]["size"].to_string(), &covered["checkpoint"]["root"]),
            (lines[1].to_owned(), &json!(lines[2]))
        );
        assert!(covered["checkpoint"]["size"].as_u64() >= Some(n));
    }
    // A refusal too says what it was decided on.
    let refused = server.graphql("{ nothing }", json!({}));
    assert_eq!(refused["extensions"]["coverage"]["position"], 5, "{refused}");
}

#[test]
fn answers_name_what_they_cover_and_writers_read_their_own_writes() {
    let server = TestServer::start();
    let empty = server.graphql(
        "{ coverage { position head checkpoint } log { size head checkpoint verifierKey chainHead } }",
        json!({}),
    );
    assert_eq!(empty["extensions"]["coverage"]["position"], Value::Null);
    assert_eq!(
        empty["data"]["log"],
        json!({ "size": 0, "head": null, "checkpoint": null, "verifierKey": null, "chainHead": null })
    );

    for n in 1..=20u64 {
        let at = server.record(&[event(
            &n.to_string(),
            "cairn.model.alias_assigned.v1",
            json!({ "alias": format!("a{n}"), "model": MODEL }),
        )]);
        let body = json!({ "query": format!(r#"{{ model(ref: "{MODEL}") {{ aliases }} }}"#) }).to_string();
        let answer = server
            .post("/graphql", &[("content-type", "application/json"), ("cairn-at-least", &at.to_string())], body)
            .json();
        assert_eq!(answer["data"]["model"]["aliases"].as_array().unwrap().len() as u64, n, "{answer}");
        assert!(answer["extensions"]["coverage"]["position"].as_u64() >= Some(at));
    }
    let data = server.query("{ coverage(atLeast: 20) { position head checkpoint } log { size verifierKey chainHead } projections { name watermark lag } }");
    assert_eq!(
        (&data["coverage"]["position"], &data["coverage"]["head"], &data["log"]["size"]),
        (&json!(20), &json!(20), &json!(20))
    );
    assert!(data["coverage"]["checkpoint"].as_str().unwrap().contains("\n20\n"));
    let names: Vec<&str> =
        data["projections"].as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["curves", "evals", "catalog", "lineage"]);
    let json_type = ("content-type", "application/json");
    server.post("/graphql", &[json_type, ("cairn-at-least", "soon")], "{}").problem(400, "malformed-request", "");
}

#[test]
fn events_are_appended_by_mutation() {
    let server = TestServer::start();
    let append = |event: Value| {
        server.graphql("mutation($e: JSON!) { append(event: $e) { position duplicate cursor } }", json!({ "e": event }))
    };
    let first = append(custom("1", "one"));
    assert_eq!(
        (&first["data"]["append"][0]["position"], &first["data"]["append"][0]["duplicate"]),
        (&json!(1), &json!(false))
    );
    let batch = append(json!([custom("2", "two"), custom("3", "three")]));
    assert_eq!(batch["data"]["append"][1]["position"], 3);
    assert_eq!(append(custom("1", "one"))["data"]["append"][0]["duplicate"], true);
    let conflict = append(custom("1", "other"));
    let error = &conflict["errors"][0];
    assert_eq!(
        (&error["extensions"]["code"], &error["extensions"]["position"]),
        (&json!("conflicting-event"), &json!(1)),
        "{conflict}"
    );
    assert_eq!(append(json!({ "id": "x" }))["errors"][0]["extensions"]["code"], "malformed-event");
}

#[test]
fn promotions_that_cannot_be_are_refused() {
    let (server, last) = filled();
    server.query(&format!("{{ coverage(atLeast: {last}) {{ position }} }}"));
    let (code, message) =
        server.refusal(&format!(r#"mutation {{ promote(deployment: "nowhere", model: "{MODEL}") {{ model }} }}"#));
    assert!(code == "not-found" && message.contains("deployment:nowhere"), "{code}: {message}");
    let (code, message) = server.refusal(r#"mutation { rollBack(deployment: "math", reason: "slow") { model } }"#);
    assert!(code == "refused" && message.contains("no earlier model"), "{code}: {message}");
    let (code, _) = server.refusal(r#"mutation { cancelPipeline(id: "x") { id } }"#);
    assert_eq!(code, "not-found");
}

#[test]
fn the_introspection_of_common_tools_is_within_the_limits() {
    let server = TestServer::start();
    let schema = server.query(include_str!("common/introspection.graphql"));
    let types = schema["__schema"]["types"].as_array().unwrap();
    assert!(types.iter().any(|known| known["name"] == "Deployment"), "{types:?}");
}
