//! Bulk reads over real HTTP: the same rows in every format, in our readers and in those that people use; as of a
//! position; and what is wrong with a question, said before anything is sent.

mod common;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, UInt64Type};
use arrow_array::{Array, RecordBatch};
use arrow_ipc::reader::{FileReader, StreamReader};
use cairn_tests::outside;
use common::{MODEL, RUN, TestServer, digest, event, history};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{Cursor, Read, Write};
use std::process::Command;

const TABLES: [&str; 3] = ["curves", "evals", "runs"];
const JSON: (&str, &str) = ("content-type", "application/json");

/// A history with reals that are not numbers, texts that CSV must quote, and a superseded evaluation.
fn filled() -> (TestServer, u64) {
    let server = TestServer::start();
    server.record(&history());
    let steps: Vec<Value> =
        [json!("NaN"), json!("Infinity"), json!("-Infinity"), json!(-0.0), json!(5e-324), json!(0.1)]
            .into_iter()
            .enumerate()
            .map(|(n, value)| {
                let metrics = json!([{ "name": "odd, \"name\"", "value": value }, { "name": "val/acc", "value": 0.5 }]);
                let data = json!({ "run": common::CHILD, "step": n, "tokens": n, "metrics": metrics });
                event(&format!("odd/{n}"), "cairn.training.step_logged.v2", data)
            })
            .collect();
    server.record(&steps);
    let measured = |id: &str, value: f64| {
        let metric = json!({ "name": "f1", "value": value, "n": 10, "higher_is_better": true });
        event(
            id,
            "cairn.evaluation.completed.v1",
            json!({
                "evaluation": format!("eval:{id}"), "subject": MODEL, "suite": "a, b", "task": "\"quoted\"\nlines", "slice": "all",
                "metrics": [metric], "protocol_digest": digest("f1"),
            }),
        )
    };
    let before = server.record(&[measured("old", 0.25), measured("new", 0.5)]);
    server.record(&[event(
        "superseded",
        "cairn.evaluation.superseded.v1",
        json!({
            "evaluation": "eval:old", "superseded_by": "eval:new", "reason": "a wrong prompt",
        }),
    )]);
    (server, before)
}

fn file(bytes: &[u8]) -> Vec<RecordBatch> {
    FileReader::try_new(Cursor::new(bytes), None).unwrap().map(Result::unwrap).collect()
}

fn rows(batches: &[RecordBatch]) -> usize {
    batches.iter().map(RecordBatch::num_rows).sum()
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

#[test]
fn every_format_has_the_same_rows_and_says_what_it_covers() {
    let (server, before) = filled();
    let head = before + 1;
    for table in TABLES {
        let get = |extension: &str| {
            let answer = server.get(&format!("/v1/{table}.{extension}?atLeast={head}&asOf={head}"));
            assert_eq!(answer.status, 200, "{}", answer.text);
            assert_eq!(answer.header("cairn-position"), head.to_string());
            let (size, root) = answer.header("cairn-checkpoint").split_once(' ').unwrap();
            let note = server.get("/log/default/checkpoint").text;
            assert_eq!(note.lines().skip(1).take(2).collect::<Vec<_>>(), [size, root]);
            let named = format!("attachment; filename=\"{table}.{extension}\"");
            assert_eq!(answer.header("content-disposition"), named);
            answer
        };
        let of_file = file(&get("arrow").bytes);
        let metadata = of_file[0].schema().metadata().clone();
        assert_eq!(metadata["cairn.position"], head.to_string());
        let streamed: Vec<RecordBatch> =
            StreamReader::try_new(Cursor::new(get("arrows").bytes), None).unwrap().map(Result::unwrap).collect();
        assert_eq!(of_file, streamed, "{table}");
        let parquet = ParquetRecordBatchReaderBuilder::try_new(axum::body::Bytes::from(get("parquet").bytes)).unwrap();
        assert_eq!(parquet.schema().metadata()["cairn.position"], head.to_string());
        let parquet: Vec<RecordBatch> = parquet.build().unwrap().map(Result::unwrap).collect();
        assert_eq!(rows(&parquet), rows(&of_file));
        for (a, b) in parquet[0].columns().iter().zip(of_file[0].columns()) {
            assert_eq!(a, b, "{table}");
        }
        let csv = get("csv");
        assert_eq!(csv.header("content-type"), "text/csv; charset=utf-8; header=present");
        let names: Vec<String> = of_file[0].schema().fields().iter().map(|field| field.name().clone()).collect();
        assert_eq!(csv.text.lines().next().unwrap(), names.join(","));
        let json_lines = lines(&get("jsonl").text);
        assert_eq!(json_lines.len(), rows(&of_file), "{table}");
        assert_eq!(json_lines[0].as_object().unwrap().keys().collect::<Vec<_>>(), names.iter().collect::<Vec<_>>());
    }
}

#[test]
fn curves_come_whole_with_every_bit_and_are_chosen_by_run_and_metric() {
    let (server, head) = filled();
    let odd = server.get(&format!("/v1/curves.jsonl?runs={}&metrics=odd*&atLeast={head}", common::CHILD));
    let values: Vec<Value> = lines(&odd.text).into_iter().map(|line| line["value"].clone()).collect();
    assert_eq!(values, [json!("NaN"), json!("Infinity"), json!("-Infinity"), json!(-0.0), json!(5e-324), json!(0.1)]);
    let batches = file(&server.get(&format!("/v1/curves.arrow?runs={RUN}&metrics=loss")).bytes);
    assert_eq!(rows(&batches), 60);
    let steps = batches[0].column_by_name("step").unwrap().as_primitive::<UInt64Type>().values().to_vec();
    assert_eq!(steps, (1..=60).collect::<Vec<_>>());
    let values = batches[0].column_by_name("value").unwrap().as_primitive::<Float64Type>();
    assert!(values.value(32).is_nan() && values.value(0) == 8.0);
    // The same question as a body: names are taken as they are, commas and all.
    let body = json!({ "runs": [common::CHILD], "metrics": ["odd, \"name\""] }).to_string();
    let posted = server.post("/v1/curves.jsonl", &[JSON], body);
    assert_eq!(posted.text, odd.text);
    let csv =
        server.post("/v1/curves.csv", &[JSON], json!({ "runs": [common::CHILD], "metrics": ["odd*"] }).to_string());
    assert!(csv.text.contains(&format!("{},\"odd, \"\"name\"\"\",0,", common::CHILD)), "{}", csv.text);
    // Nothing chosen is an answer too, with its columns.
    let none = file(&server.get("/v1/curves.arrow?filter=state%20=%20%22none%22").bytes);
    assert_eq!(rows(&none), 0);
    let all = lines(&server.get("/v1/curves.jsonl").text);
    assert_eq!(all.len(), 60 + 6 + 6);
}

#[test]
fn the_past_stays_as_it_was() {
    let (server, before) = filled();
    let evals =
        |as_of: u64, more: &str| lines(&server.get(&format!("/v1/evals.jsonl?asOf={as_of}&metric=f1{more}")).text);
    let of = |lines: &[Value]| -> Vec<String> {
        lines.iter().map(|line| line["evaluation"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(of(&evals(before, "")), ["eval:exam/1", "eval:old", "eval:new"]);
    assert_eq!(of(&evals(before + 1, "")), ["eval:exam/1", "eval:new"]);
    let all = evals(before + 1, "&superseded=true");
    assert_eq!(all[1]["superseded_reason"], "a wrong prompt");
    assert_eq!(all[1]["superseded_by"], "eval:new");
    assert_eq!(evals(before, "&superseded=true")[1]["superseded_reason"], Value::Null);
    let early = lines(&server.get("/v1/curves.jsonl?asOf=14").text);
    assert_eq!(early.len(), 10, "the first steps stand at positions 5 to 14");
    assert!(early.iter().zip(5..).all(|(line, position)| line["position"] == position), "{early:?}");
}

#[test]
fn a_filter_chooses_runs_and_paths_are_columns() {
    let (server, head) = filled();
    let get = |path: &str| server.get(&format!("/v1/{path}&atLeast={head}"));
    let runs =
        lines(&get("runs.jsonl?filter=config.learning_rate%20%3C%201e-2&columns=config.learning_rate,method").text);
    assert_eq!(runs.len(), 1, "{runs:?}");
    assert_eq!(runs[0]["ref"], format!("run:{RUN}"));
    assert_eq!((&runs[0]["config.learning_rate"], &runs[0]["method"]), (&json!(0.004), &json!("pretrain")));
    assert_eq!(runs[0]["config"], json!({ "learning_rate": 0.004 }));
    assert_eq!(runs[0]["parent"], Value::Null);
    let ordered = get("runs.jsonl?orderBy=method%20DESC,%20name&filter=method%20IS%20NOT%20NULL");
    let methods: Vec<Value> = lines(&ordered.text).into_iter().map(|line| line["method"].clone()).collect();
    assert_eq!(methods, ["sft", "pretrain"]);
    let batches = file(&get("runs.arrow?columns=config.learning_rate").bytes);
    let rate = batches[0].column_by_name("config.learning_rate").unwrap().as_primitive::<Float64Type>();
    assert!(rate.iter().any(|value| value == Some(0.004)) && rate.null_count() > 0);
    let curves = lines(&get("curves.jsonl?filter=method%20=%20%22pretrain%22").text);
    assert!(curves.len() == 60 && curves.iter().all(|line| line["run"] == RUN));
    for (path, said) in [
        ("runs.csv?filter=config.lr%20%3C%3C%201", "column"),
        ("runs.csv?filter=config.learning_rat%20%3C%201", "config.learning_rate"),
        ("runs.csv?columns=config.learning_rat", "config.learning_rate"),
        ("curves.csv?filter=nothing%20=%201", "nothing"),
    ] {
        get(path).problem(400, "malformed-request", said);
    }
    let unknown = "018f4e9a-7c3b-7def-8123-ffffffffffff";
    get(&format!("curves.csv?runs={unknown}")).problem(404, "not-found", "has not heard of run:018f4e9a");
}

#[test]
fn wrong_questions_are_refused_before_anything_is_sent() {
    let (server, head) = filled();
    let beyond = head + 100;
    for (path, said) in [
        ("curves.arrow?run=x", "/v1/curves has no argument `run`; it takes runs, "),
        ("curves.arrow?runs=seven", "a run id is a UUID"),
        ("curves.arrow?metrics=los", "none of these runs has a metric `los`; they have `loss`"),
        ("evals.parquet?superseded=maybe", "`maybe` is neither true nor false"),
        ("evals.parquet?fromStep=9&toStep=1", "give the lower step first"),
        ("evals.parquet?fromStep=soon", "`soon` is not a whole number from 0"),
        ("evals.parquet?protocol=xyz", "is not the beginning of a digest"),
        ("evals.parquet?validAt=soon", "RFC 3339"),
        ("runs.csv?asOf=yesterday", "neither a position such as 1041 nor a recorded time"),
        (&*format!("runs.csv?asOf={beyond}"), "the last position is"),
        ("runs.csv?asOf=2001-01-01", "before the first event, which was recorded at"),
        (&*format!("runs.csv?atLeast={beyond}"), "does not exist yet"),
        ("runs.csv?asOf=1&asOf=2", "`asOf` is given as `1` and as `2`"),
    ] {
        server.get(&format!("/v1/{path}")).problem(400, "malformed-request", said);
    }
    for name in ["task", "suite", "metric", "slice"] {
        let unknown = server.get(&format!("/v1/evals.csv?{name}=nope&atLeast={head}"));
        unknown.problem(404, "not-found", &format!("{name} `nope`: no result is of it; there are "));
    }
    let post = |body: &str| server.post("/v1/curves.arrow", &[JSON], body);
    post("[]").problem(400, "malformed-request", "the body is not a question");
    post(r#"{"runs": [{}]}"#).problem(400, "malformed-request", "where a text, a number or a list of them goes");
    server.get("/v1/curves.xlsx").problem(404, "not-found", "/v1/{curves,evals,runs}.{arrow,arrows,parquet,csv,jsonl}");
    // Nothing recorded yet: tables without rows.
    let empty = TestServer::start();
    for table in TABLES {
        let answer = empty.get(&format!("/v1/{table}.arrow"));
        assert_eq!((answer.header("cairn-position"), answer.header("cairn-checkpoint")), ("0", "none"));
        assert_eq!(rows(&file(&answer.bytes)), 0);
    }
}

#[test]
fn a_reader_that_does_not_read_holds_the_server_to_a_few_chunks() {
    let server = TestServer::start();
    let run = |n: u64| format!("018f4e9a-7c3b-7def-8123-{n:012}");
    for n in 0..40u64 {
        let steps: Vec<Value> = (0..1000u64)
            .map(|step| {
                let metrics: Vec<Value> =
                    (0..5).map(|m| json!({ "name": format!("m{m}"), "value": step as f64 / 3.0 })).collect();
                let data = json!({ "run": run(n), "step": step, "tokens": step, "metrics": metrics });
                event(&format!("{n}/{step}"), "cairn.training.step_logged.v2", data)
            })
            .collect();
        server.record(&[event(
            &format!("run/{n}"),
            "cairn.training.run_started.v1",
            json!({ "run": run(n), "method": "sft" }),
        )]);
        server.record(&steps);
    }
    // Five of them: four are let in and stand still, the fifth is told to come again.
    let mut readers: Vec<std::net::TcpStream> = (0..4)
        .map(|_| {
            let mut socket = std::net::TcpStream::connect(server.address).unwrap();
            write!(socket, "GET /v1/curves.jsonl?atLeast=40040 HTTP/1.0\r\nhost: {}\r\n\r\n", server.address).unwrap();
            let mut first = [0; 64];
            socket.read_exact(&mut first).unwrap();
            socket
        })
        .collect();
    server.get("/v1/curves.jsonl").problem(429, "busy", "4 bulk reads are being answered");
    // The stores are not held meanwhile: what is recorded now is applied, and asked for.
    let at = server.record(&[common::custom("later", "x")]);
    let covered = server.query(&format!("{{ coverage(atLeast: {at}) {{ position }} }}"));
    assert_eq!(covered["coverage"]["position"], at);
    // One that goes on gets all of it; those that leave make room.
    let mut whole = Vec::new();
    readers.remove(0).read_to_end(&mut whole).unwrap();
    let text = String::from_utf8(whole).unwrap();
    assert_eq!(text.matches("\"attempt\":").count(), 40 * 1000 * 5);
    drop(readers);
    let again = common::eventually(|| Some(server.get("/v1/curves.arrow")).filter(|answer| answer.status == 200));
    assert_eq!(rows(&file(&again.bytes)), 40 * 1000 * 5);
    let page = server.get("/metrics").text;
    assert!(page.contains("cairn_bulk_rows_total{table=\"curves\",format=\"jsonl\"}"), "{page}");
}

#[test]
fn an_answer_is_read_in_parts_of_one_length() {
    let (server, before) = filled();
    let head = before + 1;
    server.query(&format!("{{ coverage(atLeast: {head}) {{ position }} }}"));
    let part = |path: &str, range: &str| server.get_with(path, &[("range", range)]);
    for format in ["parquet", "arrow", "csv", "jsonl"] {
        let path = format!("/v1/evals.{format}?suite=*");
        let whole = server.get(&path);
        assert_eq!(whole.header("accept-ranges"), "bytes");
        let asked = server.head(&path);
        let (length, tag) = (asked.header("content-length").parse::<usize>().unwrap(), asked.header("etag").to_owned());
        assert_eq!((asked.status, asked.header("accept-ranges"), asked.bytes.len()), (200, "bytes", 0));
        assert_eq!(asked.header("cairn-position"), whole.header("cairn-position"));
        assert!(tag.starts_with(&format!("\"{}-", whole.header("cairn-position"))), "{tag}");
        assert_eq!(length, whole.bytes.len());
        let all = part(&path, "bytes=0-").bytes;
        // Files hold members of their metadata in no order.
        assert!(["parquet", "arrow"].contains(&format) || all == whole.bytes, "{format}");
        let last = part(&path, "bytes=-9");
        assert_eq!((last.status, last.header("content-length"), last.header("etag")), (206, "9", tag.as_str()));
        assert_eq!(last.header("content-range"), format!("bytes {}-{}/{length}", length - 9, length - 1));
        let parts = [part(&path, "bytes=0-99"), part(&path, "bytes=100-"), part(&path, "bytes=0-999999999")];
        assert_eq!([parts[0].status, parts[1].status, parts[2].status], [206; 3]);
        assert_eq!([&parts[0].bytes[..], &parts[1].bytes].concat(), all, "{format}");
        assert_eq!(parts[2].bytes, all);
        let beyond = part(&path, &format!("bytes={length}-"));
        beyond.problem(416, "out-of-range", &format!("has {length} bytes"));
        assert_eq!(beyond.header("content-range"), format!("bytes */{length}"));
        // Several at once, and units that are not bytes, are answered by all of it.
        for range in ["bytes=0-1,4-5", "rows=0-1"] {
            let all = part(&path, range);
            assert_eq!((all.status, all.bytes.len()), (200, length));
        }
    }
    let asked = server.head("/v1/curves.jsonl?filter=state%20=%20%22none%22");
    assert_eq!(asked.header("content-length"), "0");
    part("/v1/evals.csv?fromStep=9&toStep=1", "bytes=0-1").problem(400, "malformed-request", "lower step first");
}

#[test]
fn parts_are_of_one_answer_though_the_log_grows() {
    let (server, before) = filled();
    let head = before + 1;
    server.query(&format!("{{ coverage(atLeast: {head}) {{ position }} }}"));
    let path = "/v1/runs.jsonl";
    let part = |headers: &[(&str, &str)]| server.get_with(path, headers);
    let (whole, before) = (server.get(path), server.head(path));
    let started = json!({ "run": "018f4e9a-7c3b-7def-8123-00000000a001", "method": "sft" });
    let at = server.record(&[event("later", "cairn.training.run_started.v1", started)]);
    server.query(&format!("{{ coverage(atLeast: {at}) {{ position }} }}"));
    let tag = before.header("etag");
    let (rest, length) = (part(&[("range", "bytes=10-")]), before.header("content-length"));
    assert_eq!((&rest.bytes[..], rest.header("etag")), (&whole.bytes[10..], tag), "what was begun is gone on with");
    // Whoever asks for the length or the end begins anew.
    let after = server.head(path);
    assert_ne!((after.header("etag"), after.header("content-length")), (tag, length));
    assert_eq!(after.header("cairn-position"), at.to_string());
    let rest = part(&[("range", "bytes=10-"), ("if-match", tag)]);
    assert_eq!((rest.status, &rest.bytes[..]), (206, &whole.bytes[10..]), "the one that is named is still there");
    part(&[("range", "bytes=10-"), ("if-match", "\"1-other\"")]).problem(412, "changed", "the answer is \"");
    let all = part(&[("range", "bytes=10-"), ("if-range", tag)]);
    assert_eq!((all.status, all.header("content-length")), (200, after.header("content-length")));
    // As of a position it is the same for ever.
    let past = format!("/v1/evals.jsonl?asOf={head}");
    assert_eq!(server.head(&past).header("etag"), server.head(&past).header("etag"));
}

#[test]
fn every_column_is_documented_with_its_type() {
    let docs = std::fs::read_to_string(cairn_tests::root().join("docs/queries.md")).unwrap();
    let server = TestServer::start();
    for table in TABLES {
        let answer = server.get(&format!("/v1/{table}.arrow"));
        let schema = FileReader::try_new(Cursor::new(answer.bytes), None).unwrap().schema();
        for field in schema.fields() {
            let kind = match field.data_type().to_string().as_str() {
                "Dictionary(Int32, Utf8)" => "dictionary".to_owned(),
                "Timestamp(µs, \"UTC\")" => "timestamp".to_owned(),
                "Utf8" if field.metadata().contains_key("content") => "JSON".to_owned(),
                "Utf8" => "text".to_owned(),
                other => other.to_lowercase(),
            };
            let null = if field.is_nullable() { ", null" } else { "" };
            let line = format!("| `{}` | {kind}{null} | {} |", field.name(), field.metadata()["description"]);
            assert!(docs.contains(&line), "docs/queries.md has no line\n{line}");
        }
    }
}

#[test]
fn the_readers_that_people_use_agree() {
    let folder = cairn_tests::root().join("tests/readers");
    let python = match outside::python("readers", 11, &folder.join("requirements.txt")) {
        Ok(python) => python,
        Err(why) => return outside::skipped("pyarrow, pandas, polars and DuckDB on bulk reads", &why),
    };
    let (server, head) = filled();
    server.query(&format!("{{ coverage(atLeast: {head}) {{ position }} }}"));
    let read = outside::run(Command::new(python).arg(folder.join("read.py")).arg(server.url("")).args(TABLES)).unwrap();
    let mut by_table: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for reading in lines(&String::from_utf8(read).unwrap()) {
        by_table.entry(reading["table"].as_str().unwrap().to_owned()).or_default().push(reading);
    }
    for table in TABLES {
        let readings = &by_table[table];
        assert_eq!(readings.len(), 19, "{table}");
        assert!(!readings[0]["rows"].as_array().unwrap().is_empty());
        for reading in readings {
            assert_eq!(
                reading["rows"], readings[0]["rows"],
                "{table}: {} and {}",
                reading["reader"], readings[0]["reader"]
            );
        }
    }
}
