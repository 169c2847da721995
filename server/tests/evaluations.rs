//! Questions to the results over real HTTP: boards and their pages, the past, what is missing, comparisons by sample.

mod common;

use common::{DATASET, TestServer, digest, event};
use serde_json::{Value, json};

const RUN: &str = "018f4e9a-7c3b-7def-8123-00000000000a";

fn chat(version: u64) -> String {
    format!("model://team/chat@{version}")
}

fn completed(id: &str, subject: &str, value: f64, more: Value) -> Value {
    let measure = json!({ "name": "em", "value": value, "n": 4, "standard_error": 0.1, "higher_is_better": true });
    let mut data = json!({
        "evaluation": format!("eval:{id}"), "subject": subject, "suite": "core", "task": "gsm8k", "dataset": DATASET,
        "slice": "all", "metrics": [measure], "protocol_digest": digest("f0"),
        "protocol": { "how": { "max_new_tokens": 256 } },
    });
    data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let mut completed = event(id, "cairn.evaluation.completed.v1", data);
    completed["time"] = json!(format!("2026-01-0{}T00:00:00Z", 1 + id.len()));
    completed
}

fn scored(evaluation: &str, sample: usize, score: f64) -> Value {
    let id = format!("{evaluation}/{sample}");
    let metrics = json!([{ "name": "em", "value": score }]);
    let data =
        json!({ "evaluation": format!("eval:{evaluation}"), "sample": format!("s{sample}"), "metrics": metrics });
    event(&id, "cairn.evaluation.sample_scored.v1", data)
}

/// Three models, one of them measured by another protocol, one corrected; a failure; a run with a checkpoint left out.
fn filled() -> (TestServer, u64) {
    let server = TestServer::start();
    let unlike = json!({ "protocol_digest": digest("f1"), "protocol": { "how": { "max_new_tokens": 512 } } });
    let mut events = vec![
        completed("a", &chat(1), 0.25, json!({})),
        completed("bb", &chat(2), 0.75, json!({})),
        completed("ccc", &chat(3), 1.0, unlike),
        completed("dddd", &chat(4), 0.9, json!({})),
        event(
            "wrong",
            "cairn.evaluation.superseded.v1",
            json!({ "evaluation": "eval:dddd", "reason": "the answers leaked" }),
        ),
        event(
            "failed",
            "cairn.evaluation.failed.v1",
            json!({ "evaluation": "eval:f", "subject": chat(5), "suite": "core", "task": "gsm8k", "error": "out of memory" }),
        ),
    ];
    for step in [100, 200] {
        events.push(event(
            &format!("checkpoint/{step}"),
            "cairn.training.checkpoint_saved.v1",
            json!({
                "run": RUN, "step": step, "tokens": step * 10, "checkpoint": format!("artifact:{}", digest("c0")),
                "state_digest": digest("c1"), "weights_digest": digest("e0"),
            }),
        ));
    }
    events.push(completed("eeeee", &format!("run:{RUN}"), 0.5, json!({ "step": 200 })));
    for sample in 0..40 {
        events.push(scored("a", sample, f64::from(u8::from(sample % 4 == 0))));
        events.push(scored("bb", sample, f64::from(u8::from(sample % 4 != 1))));
    }
    let last = server.record(&events);
    server.query(&format!("{{ coverage(atLeast: {last}) {{ position }} }}"));
    (server, last)
}

fn subjects(board: &Value) -> Vec<String> {
    board["nodes"].as_array().unwrap().iter().map(|node| node["subject"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn boards_answer_about_the_past_in_pages() {
    let (server, _) = filled();
    let board = |arguments: &str| {
        let query = format!(
            r#"{{ leaderboard(task: "gsm8k", metric: "em"{arguments}) {{ total nodes {{ rank subject step value n evaluation
                superseded {{ reason }} }} edges {{ cursor }} pageInfo {{ hasNextPage endCursor }} }} }}"#
        );
        server.query(&query)["leaderboard"].clone()
    };
    let now = board("");
    let run = format!("run:{RUN}");
    assert_eq!(subjects(&now), [chat(3), chat(2), run.clone(), chat(1)]);
    let ranks: Vec<u64> = now["nodes"].as_array().unwrap().iter().map(|node| node["rank"].as_u64().unwrap()).collect();
    assert_eq!(ranks, [1, 1, 2, 3], "the first was measured by another protocol");
    assert_eq!(subjects(&board(", asOf: 4")), [chat(3), chat(4), chat(2), chat(1)]);
    assert_eq!(subjects(&board(r#", asOf: "4", validAt: "2026-01-03""#)), [chat(2), chat(1)]);
    assert_eq!(subjects(&board(r#", where: { protocol: "F1" }"#)), [chat(3)]);
    assert_eq!(subjects(&board(r#", where: { subject: "run:*", fromStep: 200 }"#)), [run]);

    let first = board(", first: 2");
    assert_eq!((subjects(&first), &first["total"]), (vec![chat(3), chat(2)], &json!(4)));
    let end = first["pageInfo"]["endCursor"].as_str().unwrap();
    // What is recorded between the pages does not move them.
    server.record(&[completed("ggggggg", &chat(7), 0.99, json!({}))]);
    let rest = board(&format!(r#", first: 5, after: "{end}""#));
    assert_eq!(subjects(&rest), subjects(&now)[2..]);
    assert_eq!((&rest["pageInfo"]["hasNextPage"], &rest["nodes"][0]["rank"]), (&json!(false), &json!(2)));

    let best = server.query(
        r#"{ best(task: "gsm8k", metric: "em", asOf: 4) { among standing { subject protocolDigest } }
            tasks(asOf: 2) { suite task metric slice results } }"#,
    );
    let groups: Vec<_> =
        best["best"].as_array().unwrap().iter().map(|b| (&b["standing"]["subject"], &b["among"])).collect();
    assert_eq!(groups, [(&json!(chat(4)), &json!(3)), (&json!(chat(3)), &json!(1))]);
    assert_eq!(
        best["tasks"],
        json!([{ "suite": "core", "task": "gsm8k", "metric": "em", "slice": "all", "results": 2 }])
    );
}

#[test]
fn all_results_page_in_order_and_say_what_is_superseded() {
    let (server, _) = filled();
    let results = |arguments: &str| {
        let query = format!(
            "{{ results(first: 2{arguments}) {{ nodes {{ subject position superseded {{ reason position }} }} pageInfo {{ hasNextPage endCursor }} }} }}"
        );
        server.query(&query)["results"].clone()
    };
    let first = results("");
    assert_eq!(subjects(&first), [chat(1), chat(2)]);
    let end = first["pageInfo"]["endCursor"].as_str().unwrap();
    let second = results(&format!(r#", after: "{end}""#));
    assert_eq!((subjects(&second), &second["pageInfo"]["hasNextPage"]), (vec![chat(3), chat(4)], &json!(true)));
    assert_eq!(second["nodes"][1]["superseded"], json!({ "reason": "the answers leaked", "position": 5 }));
    let only = results(r#", task: "gsm*", where: { subject: "model://team/chat@4" }, asOf: 4"#);
    assert_eq!((subjects(&only), &only["nodes"][0]["superseded"]), (vec![chat(4)], &Value::Null));
    let counted = |arguments: &str| {
        server.query(&format!("{{ results{arguments} {{ totalCount }} }}"))["results"]["totalCount"].clone()
    };
    for (arguments, total) in [
        ("", 5),
        ("(first: 2)", 5),
        ("(asOf: 3)", 3),
        (r#"(where: { subject: "model://team/*" })"#, 4),
        (&*format!(r#"(first: 2, after: "{end}")"#), 5),
    ] {
        assert_eq!(counted(arguments), total, "{arguments}");
    }
    let (_, message) =
        server.refusal(&format!(r#"{{ results(metric: "em", after: "{end}") {{ nodes {{ value }} }} }}"#));
    assert!(message.contains("belongs to `results/"), "{message}");
}

#[test]
fn what_is_missing_is_shown_as_missing() {
    let (server, _) = filled();
    let shown = |arguments: &str| -> Vec<String> {
        let found = server.query(&format!(
            "{{ matrix(task: \"gsm8k\"{arguments}) {{ total columns {{ suite task metric slice comparable }} pageInfo {{ hasNextPage }}
                rows {{ subject step cells {{ state result {{ value superseded {{ reason }} }} failure {{ error }} }} }} }} }}"
        ));
        let row = |row: &Value| {
            let cell = &row["cells"][0];
            let step = row["step"].as_u64().map(|step| format!("#{step}")).unwrap_or_default();
            let what = match cell["state"].as_str().unwrap() {
                "VALUE" => cell["result"]["value"].to_string(),
                "FAILED" => cell["failure"]["error"].as_str().unwrap().to_owned(),
                "SUPERSEDED" => cell["result"]["superseded"]["reason"].as_str().unwrap().to_owned(),
                other => other.to_owned(),
            };
            format!("{}{step} {what}", row["subject"].as_str().unwrap())
        };
        found["matrix"]["rows"].as_array().unwrap().iter().map(row).collect()
    };
    let named = format!(r#", subjects: ["{}", "{}", "{}", "{}"]"#, chat(5), chat(4), chat(1), chat(9));
    let row = |version: u64, what: &str| format!("{} {what}", chat(version));
    let all = [row(5, "out of memory"), row(4, "the answers leaked"), row(1, "0.25"), row(9, "NEVER_EVALUATED")];
    assert_eq!(shown(&named), all);
    assert_eq!(shown(&format!("{named}, asOf: 4"))[1], row(4, "0.9"));
    let steps = shown(&format!(r#", subjects: ["run:{RUN}"], byStep: true"#));
    assert_eq!(steps, [format!("run:{RUN}#100 NEVER_EVALUATED"), format!("run:{RUN}#200 0.5")]);
    assert_eq!(shown(r#", where: { subject: "model:*" }, first: 2"#), [row(1, "0.25"), row(2, "0.75")]);
}

#[test]
fn subjects_are_compared_by_sample_and_unlike_protocols_refused() {
    let (server, last) = filled();
    let ask = |subjects: &[String], more: &str| {
        format!(
            r#"{{ compareEvaluations(subjects: {}, task: "gsm8k", resamples: 500{more}) {{ metric method noVerdict paired
                sides {{ subject value }} differences {{ field values }} samples {{ sample scores }}
                pairs {{ first second difference low high higher lower ties pValue pAdjusted verdict }} }} }}"#,
            json!(subjects)
        )
    };
    let found = server.query(&ask(&[chat(1), chat(2)], ", samples: 1"))["compareEvaluations"].clone();
    assert_eq!((&found["metric"], &found["method"], &found["paired"]), (&json!("em"), &json!("MCNEMAR"), &json!(40)));
    let pair = &found["pairs"][0];
    assert_eq!((&pair["higher"], &pair["lower"], &pair["ties"]), (&json!(20), &json!(0), &json!(20)));
    assert_eq!((&pair["verdict"], &pair["difference"]), (&json!("SECOND_IS_BETTER"), &json!(0.5)));
    assert!(pair["low"].as_f64().unwrap() > 0.3 && pair["high"].as_f64().unwrap() < 0.7, "{pair}");
    assert_eq!(found["samples"], json!([{ "sample": "s10", "scores": [0.0, 1.0] }]));

    let (code, message) = server.refusal(&ask(&[chat(1), chat(3)], ""));
    assert!(code == "refused" && message.contains("protocol.how.max_new_tokens (256, 512)"), "{code}: {message}");
    let beside = server.query(&ask(&[chat(1), chat(3)], ", sideBySide: true"))["compareEvaluations"].clone();
    assert_eq!(beside["differences"], json!([{ "field": "protocol.how.max_new_tokens", "values": ["256", "512"] }]));
    assert_eq!((&beside["pairs"][0]["verdict"], &beside["method"]), (&Value::Null, &Value::Null));
    let past = server.query(&ask(&[chat(1), "eval:dddd".into()], ", asOf: 4"))["compareEvaluations"].clone();
    assert!(past["noVerdict"].as_str().unwrap().contains("kept no samples"), "{past}");

    let refused = |query: String, wanted: &str, said: &str| {
        let (code, message) = server.refusal(&query);
        assert!(code == wanted && message.contains(said), "{query}: {code}: {message}");
    };
    refused(ask(&[chat(1)], ""), "refused", "2 to 4");
    refused(ask(&[chat(1), "thing".into()], ""), "malformed-request", "a ref is");
    refused(ask(&[chat(1), chat(5)], ""), "refused", "out of memory");
    refused(ask(&[chat(1), chat(4)], ""), "refused", "the answers leaked");
    refused(ask(&[chat(1), chat(2)], ", samples: 501"), "malformed-request", "from 0 to 500");
    let board = |arguments: &str| format!("{{ leaderboard({arguments}) {{ total }} }}");
    refused(board(r#"task: "squad", metric: "em""#), "not-found", "the tasks are gsm8k");
    refused(board(r#"task: "gsm8k", metric: "f1""#), "not-found", "it has em");
    let gsm = r#"task: "gsm8k", metric: "em""#;
    refused(board(&format!("{gsm}, where: {{ fromStep: 9, toStep: 3 }}")), "malformed-request", "from 9 down to 3");
    refused(board(&format!(r#"{gsm}, where: {{ protocol: "xyz" }}"#)), "malformed-request", "hex digits");
    refused(board(&format!(r#"{gsm}, after: "1-2-3""#)), "malformed-request", "does not belong to this query");
    refused(board(&format!("{gsm}, asOf: {}", last + 1)), "malformed-request", "does not exist yet");
    refused(board(&format!(r#"{gsm}, asOf: "2020-01-01""#)), "malformed-request", "before the first event");
}

#[test]
fn a_name_that_nothing_goes_by_is_refused_and_the_last_of_two_results_counts() {
    let (server, _) = filled();
    for query in [
        r#"{ results(task: "gsm9k") { nodes { value } } }"#,
        r#"{ matrix(task: "gsm9k") { total } }"#,
        r#"{ best(task: "gsm8k", metric: "em", where: { suite: "cores" }) { among } }"#,
        r#"{ leaderboard(task: "gsm8k", metric: "em", where: { suite: "cores" }) { total } }"#,
    ] {
        let (_, message) = server.refusal(query);
        let is_told = message.contains("`gsm9k`: no result is of it; there are ") && message.contains("gsm8k")
            || message.contains("suite `cores`: no result is of it; there are core");
        assert!(is_told, "{query}: {message}");
    }
    let mut again = completed("a", &chat(1), 0.5, json!({}));
    again["id"] = json!("again");
    let last = server.record(&[again]);
    let answer =
        server.query(&format!(r#"{{ evaluation(ref: "eval:a", atLeast: {last}) {{ metrics {{ name value }} }} }}"#));
    let values: Vec<&Value> = answer["evaluation"]["metrics"].as_array().unwrap().iter().map(|m| &m["value"]).collect();
    assert_eq!(values, [&json!(0.5)], "{answer}");
}
