//! What operators, browsers and outsiders meet: health, metrics, checkpoints, the page, refusals, and the end.

mod common;

use common::{TestServer, custom, eventually};
use serde_json::json;

const JSON: (&str, &str) = ("content-type", "application/json");

#[test]
fn health_and_readiness_say_how_far_the_projections_are() {
    let server = TestServer::start();
    assert_eq!(server.get("/healthz").json()["status"], "alive");
    server.record(&[custom("1", "one")]);
    let ready = eventually(|| {
        let ready = server.get("/readyz");
        assert_eq!(ready.status, 200, "{}", ready.text);
        Some(ready.json()).filter(|ready| ready["projections"]["catalog"] == 1)
    });
    assert_eq!((&ready["status"], &ready["head"]), (&json!("ready"), &json!(1)));
}

#[test]
fn projections_are_rebuilt_while_the_server_answers() {
    let server = TestServer::start();
    let head = server.record(&common::history());
    let ask = "query($at: Position!) { runs(first: 10, atLeast: $at) { totalCount } }";
    let before = server.graphql(ask, json!({ "at": head }))["data"].clone();
    let generation = |name: &str| {
        let folder = server.folder().join("data/projections/default");
        let used = std::fs::read_to_string(folder.join(format!("{name}.live"))).unwrap();
        used.trim().split('-').nth(2).unwrap().parse::<u64>().unwrap()
    };
    let was = ["curves", "catalog"].map(generation);
    let rebuild = |given: serde_json::Value| {
        let mutation = "mutation($names: [String!], $engine: String) { rebuild(projections: $names, engine: $engine) { name \
                        state answers watermark engine } }";
        server.graphql(mutation, given)
    };
    let rebuilt = rebuild(json!({ "names": ["catalog"], "engine": "fjall" }));
    let catalog =
        json!({ "name": "catalog", "state": "FOLLOWING", "answers": true, "watermark": head, "engine": "fjall" });
    assert_eq!(rebuilt["data"]["rebuild"][2], catalog, "{rebuilt}");
    assert_eq!(["curves", "catalog"].map(generation), [was[0], was[1] + 1]);
    assert_eq!(server.graphql(ask, json!({ "at": head }))["data"], before);
    for (given, said) in [
        (json!({ "names": ["katalog"] }), "there is no projection `katalog`; the projections are curves, evals"),
        (json!({ "engine": "rocks" }), "`rocks` is not a storage engine"),
    ] {
        let refused = rebuild(given);
        let error = &refused["errors"][0];
        assert_eq!(error["extensions"]["code"], "malformed-request", "{refused}");
        assert!(error["message"].as_str().unwrap().contains(said), "{refused}");
    }
    // As every write it is not for pages of other sites.
    let body = json!({ "query": "mutation { rebuild { name } }" }).to_string();
    let foreign = [JSON, ("origin", "https://evil.example")];
    server.post("/graphql", &foreign, &body).problem(403, "foreign-origin", "evil.example");
    server.post("/graphql", &[("content-type", "text/plain")], &body).problem(415, "unsupported-media-type", "json");
}

#[test]
fn metrics_count_appends_requests_and_lag() {
    let server = TestServer::start();
    server.record(&[custom("1", "one"), custom("2", "two")]);
    server.send(&custom("1", "one"));
    server.send(&custom("1", "other"));
    let page = eventually(|| {
        let page = server.get("/metrics");
        assert_eq!((page.status, page.header("content-type")), (200, "text/plain; version=0.0.4; charset=utf-8"));
        let followed = page.text.contains("cairn_projection_lag_events{projection=\"lineage\"} 0");
        followed.then_some(page.text)
    });
    for line in [
        "cairn_events_appended_total 2",
        "cairn_events_duplicate_total 1",
        "cairn_appends_refused_total{kind=\"conflicting-event\"} 1",
        "cairn_ledger_head_position 2",
        "cairn_append_duration_seconds_count 2",
        "cairn_http_requests_total{route=\"/v1/events\",method=\"POST\",status=\"201\"} 1",
        "cairn_http_requests_total{route=\"/v1/events\",method=\"POST\",status=\"409\"} 1",
        "cairn_projection_watermark_position{projection=\"curves\"} 2",
    ] {
        assert!(page.contains(line), "{line} is not in\n{page}");
    }
}

#[test]
fn the_checkpoint_is_the_ledgers_signed_note() {
    let server = TestServer::start();
    server.get("/log/default/checkpoint").problem(404, "not-found", "no log yet");
    server.record(&[custom("1", "one"), custom("2", "two")]);
    let note = server.get("/log/default/checkpoint");
    assert_eq!(note.header("content-type"), "text/plain; charset=utf-8");
    let expected = server.ctx.ledger().checkpoint(server.ctx.tenant()).unwrap();
    assert_eq!((note.text.as_str(), expected.checkpoint.size), (expected.note.as_str(), 2));
    server.get("/log/other/checkpoint").problem(404, "not-found", "`other`");
    server.get("/log/No%20Such/checkpoint").problem(400, "malformed-request", "tenant");
}

#[test]
fn the_page_needs_no_other_server_and_opens_on_five_queries() {
    let server = TestServer::start();
    let home = server.get("/");
    assert_eq!((home.status, home.header("location")), (307, "/graphql"));
    let page = server.get("/graphql");
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert!(page.header("content-security-policy").contains("default-src 'none'"));
    assert!(!page.text.contains("http://") && !page.text.contains("https://"), "{}", page.text);
    let sources = page.text.split(['"', '\'']).filter(|word| word.starts_with("/graphql/assets/"));
    let mut count = 0;
    for source in sources {
        let file = server.get(source);
        assert!(file.status == 200 && !file.text.is_empty(), "{source}: {}", file.status);
        count += 1;
    }
    assert_eq!(count, 7);
    let begin = page.text.find("id=\"prepared\">").unwrap() + "id=\"prepared\">".len();
    let prepared = &page.text[begin..begin + page.text[begin..].find("</script>").unwrap()];
    let queries: Vec<String> = serde_json::from_str(&prepared.replace("<\\/", "</")).unwrap();
    assert_eq!(queries.len(), 5);
    // On one with a history each prepared query is answered without an error.
    for filled in [false, true] {
        if filled {
            let head = server.record(&common::history());
            server.query(&format!("{{ coverage(atLeast: {head}) {{ position }} }}"));
        }
        for query in &queries {
            let answer = server.graphql(query, json!({}));
            // Where nothing is recorded, a task that is asked for by name is not known.
            let unknown = |error: &serde_json::Value| !filled && error["extensions"]["code"] == "not-found";
            let errors = answer["errors"].as_array().cloned().unwrap_or_default();
            assert!(errors.iter().all(unknown), "{query}\n{answer}");
        }
    }
    server.get("/graphql/assets/none.js").problem(404, "not-found", "no such file");
}

#[test]
fn a_chat_that_cannot_be_answered_says_why() {
    let server = TestServer::start();
    let chat = |body: serde_json::Value| server.post("/v1/inference/chat", &[JSON], body.to_string());
    let messages = json!([{ "role": "user", "content": "2+2?" }]);
    chat(json!({ "deployment_id": "nowhere", "messages": messages })).problem(404, "not-found", "deployment");
    let streamed = json!({ "deployment_id": "nowhere", "messages": messages, "generation": { "stream": true } });
    chat(streamed).problem(404, "not-found", "deployment");
    chat(json!({ "deployment_id": "d", "messages": messages, "tools": [] })).problem(
        400,
        "unsupported-parameter",
        "tools is not supported yet",
    );
    chat(json!({ "deployment_id": "d", "messages": messages, "generation": { "beams": 4 } })).problem(
        400,
        "unsupported-parameter",
        "generation.beams is not known",
    );
    chat(json!({ "messages": messages })).problem(400, "malformed-request", "deployment_id is missing");
    server.post("/v1/inference/chat", &[("content-type", "text/plain")], "hi").problem(
        415,
        "unsupported-media-type",
        "application/json",
    );
    let page = server.get("/metrics").text;
    assert!(page.contains("cairn_inference_requests_total{outcome=\"not-found\"} 2"), "{page}");
    // A prompt that was refused is no event.
    assert_eq!(server.query("{ log { size } }")["log"]["size"], 0);
}

#[test]
fn pages_of_other_sites_and_foreign_names_are_refused() {
    let server = TestServer::start();
    let body = custom("1", "one").to_string();
    let foreign = [JSON, ("origin", "https://evil.example")];
    server.post("/v1/events", &foreign, &body).problem(403, "foreign-origin", "evil.example");
    server.post("/v1/events", &[JSON, ("host", "evil.example")], &body).problem(
        421,
        "foreign-host",
        "127.0.0.1 or localhost",
    );
    let own = server.url("");
    assert_eq!(server.post("/v1/events", &[JSON, ("origin", own.as_str())], &body).status, 201);
    // A form of another site can send these without asking first; GraphQL takes none of them.
    for media in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"] {
        server.post("/graphql", &[("content-type", media)], r#"{"query":"{ log { size } }"}"#).problem(
            415,
            "unsupported-media-type",
            "application/json",
        );
    }
}

#[test]
fn a_stopped_server_ends_cleanly_and_gives_the_directory_back() {
    let server = TestServer::start();
    server.record(&[custom("1", "one")]);
    let (ctx, address) = (server.ctx.clone(), server.address);
    server.stop().unwrap();
    assert!(std::net::TcpStream::connect(address).is_err());
    assert_eq!(ctx.ledger().head(ctx.tenant()).map(|head| head.get()), Some(1));
}
