use super::*;
use serde_json::json;
use std::fs;

/// A folder of files to read, gone at the end of the test.
struct Folder(tempfile::TempDir);

impl Folder {
    fn of(files: &[(&str, &[u8])]) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        for (name, bytes) in files {
            let path = folder.path(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        folder
    }
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

fn read_with(path: &Path, options: &Options) -> Result<(Vec<Item>, Summary), Error> {
    let mut items = Vec::new();
    let summary = read_path(path, options, &mut |item| {
        items.push(item);
        Ok::<(), Error>(())
    })?;
    Ok((items, summary))
}

fn read_one(name: &str, bytes: &[u8]) -> Vec<Item> {
    let folder = Folder::of(&[(name, bytes)]);
    read_with(&folder.path(name), &Options::default()).unwrap().0
}

fn records(items: &[Item]) -> Vec<(&str, Value)> {
    let record = |item: &'_ Item| match item {
        Item::Record(r) => Some((r.source_uri.clone(), Value::Object(r.fields.clone()))),
        _ => None,
    };
    let owned: Vec<(String, Value)> = items.iter().filter_map(record).collect();
    owned.into_iter().map(|(uri, fields)| (&*uri.leak(), fields)).collect()
}

fn rejections(items: &[Item]) -> Vec<(&str, Option<u64>, &'static str, &str)> {
    let rejected = |item: &'_ Item| match item {
        Item::Rejected(r) => Some(r.clone()),
        _ => None,
    };
    let owned = items.iter().filter_map(rejected);
    owned.map(|r| (&*r.source_uri.leak(), r.line, r.rule, &*r.detail.leak())).collect()
}

/// The one rejection of a file, as rule, line, offset and detail.
fn only_rejection(items: &[Item]) -> (&'static str, Option<u64>, Option<u64>, String) {
    let found: Vec<&Rejected> =
        items.iter().filter_map(|i| if let Item::Rejected(r) = i { Some(r) } else { None }).collect();
    assert_eq!(found.len(), 1, "{items:?}");
    (found[0].rule, found[0].line, found[0].offset, found[0].detail.clone())
}

fn file_read(items: &[Item]) -> &FileRead {
    match items.last() {
        Some(Item::FileRead(file)) => file,
        other => panic!("expected the file's end, found {other:?}"),
    }
}

#[test]
fn jsonl_gives_its_good_lines_and_names_the_others() {
    let bytes = b"{\"a\":1}\n\n  \n[1]\n{\"a\":2,\"b\":\"x\xff\"}\r\n{\"b\": tru}\n{\"c\":3}\r\n{\"d\":\"cut o";
    let items = read_one("x.jsonl", bytes);
    assert_eq!(records(&items), [("x.jsonl#L1", json!({"a": 1})), ("x.jsonl#L7", json!({"c": 3}))]);
    let found = rejections(&items);
    let places: Vec<_> = found.iter().map(|(uri, line, rule, _)| (*uri, *line, *rule)).collect();
    assert_eq!(
        places,
        [
            ("x.jsonl#L4", Some(4), "not_an_object"),
            ("x.jsonl#L5", Some(5), "non_utf8"),
            ("x.jsonl#L6", Some(6), "invalid_json"),
            ("x.jsonl#L8", Some(8), "invalid_json"),
        ]
    );
    assert!(found[0].3.contains("an array"), "{}", found[0].3);
    let at = bytes.iter().position(|b| *b == 0xff).unwrap();
    assert!(found[1].3.contains(&format!("byte {at} ")), "{}", found[1].3);
    assert!(found[2].3.contains("line 6, column 10"), "{}", found[2].3);
    assert!(found[3].3.contains("cut off"), "{}", found[3].3);
    let file = file_read(&items);
    assert_eq!((file.records, file.rejected, file.bytes), (2, 4, bytes.len() as u64));
    assert_eq!(file.blake3, Blake3::of(bytes));
    assert_eq!(file.sha256.as_bytes()[..], <sha2::Sha256 as sha2::Digest>::digest(bytes)[..]);
    assert_eq!(file.content_type, "application/jsonl");
}

#[test]
fn a_long_line_is_counted_and_passed_over() {
    let options = Options { line_bytes_max: 16, ..Options::default() };
    let exact = format!("{{\"a\":\"{}\"}}", "x".repeat(8));
    assert_eq!(exact.len(), 16);
    let long = "y".repeat(1_000_000);
    let bytes = format!("{exact}\n{long}\n{{\"b\":1}}\n{exact}z");
    let folder = Folder::of(&[("x.jsonl", bytes.as_bytes())]);
    let (items, _) = read_with(&folder.path("x.jsonl"), &options).unwrap();
    assert_eq!(records(&items).len(), 2);
    let found = rejections(&items);
    assert_eq!((found[0].1, found[0].2), (Some(2), "line_too_long"));
    assert!(found[0].3.contains("1000000 bytes") && found[0].3.contains("at most 16"), "{}", found[0].3);
    assert!(found[1].3.contains("17 bytes"), "{}", found[1].3);
    assert_eq!(file_read(&items).blake3, Blake3::of(bytes.as_bytes()));
}

/// A sparse file stands for the huge line of a broken export; it costs no disk and, read rightly, no memory.
#[test]
fn a_huge_line_is_not_held() {
    let folder = Folder::of(&[]);
    let path = folder.path("huge.jsonl");
    let bytes = 256_u64 << 20;
    fs::File::create(&path).unwrap().set_len(bytes).unwrap();
    let (items, summary) = read_with(&path, &Options::default()).unwrap();
    let (rule, line, _, detail) = only_rejection(&items);
    assert_eq!((rule, line), ("line_too_long", Some(1)));
    assert!(detail.contains(&bytes.to_string()), "{detail}");
    assert_eq!(summary, Summary { files: 1, records: 0, rejected: 1, bytes });
}

#[test]
fn json_comes_in_three_shapes() {
    let one = json!({"q": "1"});
    let two = json!({"q": "2"});
    let array = read_one("a.json", b"[{\"q\":\"1\"}, {\"q\":\"2\"}]");
    assert_eq!(records(&array), [("a.json#/0", one.clone()), ("a.json#/1", two.clone())]);
    let wrapped =
        read_one("b.json", b"{\"version\": \"1.1\", \"data\": [{\"q\":\"1\"}, {\"q\":\"2\"}], \"n\": {\"x\": [2]}}");
    assert_eq!(records(&wrapped), [("b.json#/data/0", one.clone()), ("b.json#/data/1", two.clone())]);
    assert_eq!(Value::Object(file_read(&wrapped).header.clone()), json!({"version": "1.1", "n": {"x": [2]}}));
    let alone = read_one("c.json", b"{\"questions/all\": [{\"q\":\"1\"}]}");
    assert_eq!(records(&alone), [("c.json#/questions~1all/0", one.clone())]);
    let object = read_one("d.json", b"\xef\xbb\xbf{\"q\": \"1\"}\n");
    assert_eq!(records(&object), [("d.json", one)]);
    for whole in [
        json!({"messages": [{"role": "user", "content": "hi"}]}),
        json!({"text": "t", "data": [1, 2, 3]}),
        json!({"text": "t", "sections": [{"a": 1}]}),
    ] {
        assert_eq!(records(&read_one("e.json", whole.to_string().as_bytes())), [("e.json", whole)]);
    }
}

#[test]
fn json_that_is_not_whole_yields_no_record_at_all() {
    let items = read_one("x.json", b"[{\"q\":\"1\"},\n {\"q\":\"2\"}, {\"q\":");
    let (rule, line, _, detail) = only_rejection(&items);
    assert_eq!((rule, line), ("invalid_json", Some(2)));
    assert!(detail.contains("line 2, column") && detail.contains("cut off"), "{detail}");
    let (rule, _, _, detail) = only_rejection(&read_one("x.json", b"{\"q\":\"1\"}\n{\"q\":\"2\"}\n"));
    assert_eq!(rule, "invalid_json");
    assert!(detail.contains(".jsonl"), "{detail}");
}

#[test]
fn json_of_other_shapes_is_named() {
    for (bytes, rule, part) in [
        (&b"\"text\""[..], "not_an_object", "a string"),
        (b"[]", "empty_file", "empty array"),
        (b"{}", "empty_file", "empty object"),
        (b"[{\"a\":\"\xff\"}]", "non_utf8", "byte 7"),
        (b"{\"data\":[{\"a\":1}],\"rows\":[{\"a\":1}]}", "ambiguous_records", "data, rows"),
        (b"\xff\xfe[\0]\0", "non_utf8", "UTF-16"),
    ] {
        let (found, _, _, detail) = only_rejection(&read_one("x.json", bytes));
        assert_eq!(found, rule, "{detail}");
        assert!(detail.contains(part), "{detail}");
    }
    let mixed = read_one("x.json", b"[{\"a\":1}, 7, {\"a\":2}]");
    assert_eq!(records(&mixed).len(), 2);
    assert_eq!(rejections(&mixed)[0].0, "x.json#/1");
}

#[test]
fn json_records_and_documents_are_bounded() {
    let options = Options { line_bytes_max: 100, document_bytes_max: 1_000, records: None };
    let big = "x".repeat(500);
    let folder = Folder::of(&[
        ("a.json", format!("[{{\"a\":1}}, {{\"a\":\"{big}\"}}, {{\"a\":2}}]").as_bytes()),
        ("b.json", format!("{{\"a\":\"{big}\",\"b\":\"{big}\"}}").as_bytes()),
        ("c.json", format!("{{\"data\":[{{\"a\":1}}],\"around\":[[\"{big}\"],[\"{big}\"]]}}").as_bytes()),
        ("d.json", format!("[\"{big}{big}\"]").as_bytes()),
        ("e.txt", format!("{big}{big}!").as_bytes()),
    ]);
    let (items, _) = read_with(folder.0.path(), &options).unwrap();
    let found: Vec<_> = rejections(&items).into_iter().map(|(uri, _, rule, _)| (uri, rule)).collect();
    assert_eq!(
        found,
        [
            ("a.json#/1", "record_too_large"),
            ("b.json", "document_too_large"),
            ("c.json", "document_too_large"),
            ("d.json", "record_too_large"),
            ("e.txt", "document_too_large"),
        ]
    );
    assert_eq!(records(&items).len(), 2);
}

#[test]
fn csv_rows_are_named_by_the_header() {
    let bytes = "\u{feff}id,text,\r\n1,\"two\nlines, \"\"quoted\"\"\",x\r\n\r\n2,only\r\n3,ö,y";
    let items = read_one("x.csv", bytes.as_bytes());
    assert_eq!(
        records(&items),
        [
            ("x.csv#L2", json!({"id": "1", "text": "two\nlines, \"quoted\"", "column_3": "x"})),
            ("x.csv#L6", json!({"id": "3", "text": "ö", "column_3": "y"})),
        ]
    );
    let (rule, line, _, detail) = only_rejection(&items);
    assert_eq!((rule, line), ("wrong_field_count", Some(5)));
    assert!(detail.contains("2 fields") && detail.contains("3"), "{detail}");
    assert_eq!(records(&read_one("x.tsv", b"a\tb\n1,2\t3\n"))[0].1, json!({"a": "1,2", "b": "3"}));
}

#[test]
fn csv_that_cannot_be_right_is_named() {
    assert_eq!(records(&read_one("x.csv", b"a,b\n1,5\" pipe"))[0].1, json!({"a": "1", "b": "5\" pipe"}));
    for (bytes, rule, part) in [
        (&b"1,2\n3,4\n"[..], "bad_header", "only numbers"),
        (b"a,a\n1,2\n", "bad_header", "column 2"),
        (b"a,b\n", "empty_file", "no others"),
        (b"a,b\n1,\xff\n", "non_utf8", "byte 6"),
        (b"a,b\n1,\"open\n2,3\n4,5\n", "unclosed_quote", "line 2"),
        (b"a,b\n1,\"open\n2,3\"\n4,5,6", "wrong_field_count", "line 4"),
    ] {
        let items = read_one("x.csv", bytes);
        let (found, _, _, detail) = only_rejection(&items);
        assert_eq!(found, rule, "{detail}");
        assert!(detail.contains(part), "{detail}");
    }
}

#[test]
fn a_quote_left_open_costs_a_bounded_row() {
    let options = Options { line_bytes_max: 64, ..Options::default() };
    let bytes = format!("a,b\n1,\"{}\n2,3\n", "x,y\n".repeat(1_000));
    let folder = Folder::of(&[("x.csv", bytes.as_bytes())]);
    let (items, _) = read_with(&folder.path("x.csv"), &options).unwrap();
    let (rule, line, _, detail) = only_rejection(&items);
    assert_eq!((rule, line), ("line_too_long", Some(2)));
    assert!(detail.contains("quote left open"), "{detail}");
}

#[test]
fn markdown_front_matter_is_metadata() {
    let items = read_one("x.md", b"---\ntitle: A\ntags: [x, y]\ndate: 2024-05-01\n---\n# Head\n\nBody\n");
    assert_eq!(records(&items)[0].1, json!({"title": "A", "tags": ["x", "y"], "date": "2024-05-01"}));
    let Item::Record(record) = &items[0] else { panic!("{items:?}") };
    assert_eq!(record.text.as_deref(), Some("# Head\n\nBody\n"));
    assert_eq!((record.source_uri.as_str(), record.content_type), ("x.md", "text/markdown"));
    for plain in ["# No front matter\n", "---\nnever closed\n", "--- not it\n---\n"] {
        let Item::Record(record) = &read_one("x.markdown", plain.as_bytes())[0] else { panic!("{plain}") };
        assert_eq!(record.text.as_deref(), Some(plain));
        assert!(record.fields.is_empty());
    }
    let (rule, line, _, detail) = only_rejection(&read_one("x.md", b"---\na: 1\nb: [1\n---\ntext\n"));
    assert_eq!(rule, "bad_front_matter");
    assert!(line.is_some_and(|l| (3..=4).contains(&l)) && detail.contains("key: value"), "{line:?} {detail}");
    assert_eq!(only_rejection(&read_one("x.md", b"---\njust words\n---\ntext\n")).0, "bad_front_matter");
}

#[test]
fn text_is_kept_as_it_is() {
    let items = read_one("x.txt", "\u{feff}one\r\ntwo \n".as_bytes());
    let Item::Record(record) = &items[0] else { panic!("{items:?}") };
    assert_eq!(record.text.as_deref(), Some("one\r\ntwo \n"));
    let (rule, _, offset, _) = only_rejection(&read_one("x.txt", b"abc\xe9"));
    assert_eq!((rule, offset), ("non_utf8", Some(3)));
}

#[test]
fn empty_files_of_every_kind_are_named_once() {
    for name in ["x.jsonl", "x.json", "x.csv", "x.tsv", "x.md", "x.txt"] {
        for bytes in [&b""[..], b" \n \n"] {
            let items = read_one(name, bytes);
            if name.ends_with("sv") && !bytes.is_empty() {
                continue; // a row of white space is a header, and is covered there
            }
            let (rule, ..) = only_rejection(&items);
            assert_eq!(rule, "empty_file", "{name}");
            assert_eq!(file_read(&items).bytes, bytes.len() as u64);
        }
    }
}

#[test]
fn folders_are_walked_in_order_and_name_what_they_do_not_read() {
    let folder = Folder::of(&[
        ("b/2.txt", b"two"),
        ("b/10.txt", b"ten"),
        ("a b#1.txt", b"odd name"),
        ("photo.png", b"\x89PNG"),
        ("LICENSE", b"text"),
        (".hidden.txt", b"no"),
        (".git/config.txt", b"no"),
    ]);
    std::os::unix::fs::symlink(folder.path("b/2.txt"), folder.path("link.txt")).unwrap();
    let (items, summary) = read_with(folder.0.path(), &Options::default()).unwrap();
    let uris: Vec<&str> = records(&items).into_iter().map(|(uri, _)| uri).collect();
    assert_eq!(uris, ["a%20b%231.txt", "b/10.txt", "b/2.txt"]);
    let found = rejections(&items);
    assert_eq!(
        found.iter().map(|r| (r.0, r.2)).collect::<Vec<_>>(),
        [("LICENSE", "unsupported_kind"), ("link.txt", "unsupported_kind"), ("photo.png", "unsupported_kind"),]
    );
    assert!(found[2].3.contains(".png") && found[2].3.contains(".jsonl"), "{}", found[2].3);
    assert_eq!(summary, Summary { files: 3, records: 3, rejected: 3, bytes: 14 });
    let again = read_with(folder.0.path(), &Options::default()).unwrap().0;
    assert_eq!(items, again);
}

#[test]
fn what_is_named_and_cannot_be_read_is_an_error() {
    let folder = Folder::of(&[("x.pdf", b"%PDF")]);
    let error = |path: &Path| read_with(path, &Options::default()).unwrap_err().to_string();
    let refused = error(&folder.path("x.pdf"));
    assert!(refused.contains(".pdf") && refused.contains(SUPPORTED), "{refused}");
    assert!(error(&folder.path("nothing.txt")).contains("no file or folder at"));
    let empty = Folder::of(&[]);
    assert!(error(empty.0.path()).contains("holds no files"));
}

#[test]
fn the_sinks_error_ends_the_reading_and_comes_back() {
    #[derive(Debug, PartialEq)]
    enum Mine {
        Stop,
        Reader,
    }
    impl From<Error> for Mine {
        fn from(_: Error) -> Self {
            Mine::Reader
        }
    }
    for (name, bytes) in [
        ("x.jsonl", &b"{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n"[..]),
        ("x.json", b"[{\"a\":1},{\"a\":2},{\"a\":3}]"),
        ("x.csv", b"a\n1\n2\n3\n"),
    ] {
        let folder = Folder::of(&[(name, bytes)]);
        let mut seen = 0;
        let result = read_path(&folder.path(name), &Options::default(), &mut |_| {
            seen += 1;
            if seen == 2 { Err(Mine::Stop) } else { Ok(()) }
        });
        assert_eq!((result, seen), (Err(Mine::Stop), 2), "{name}");
    }
    let missing = read_path(Path::new("/nonexistent/x.txt"), &Options::default(), &mut |_| Ok(()));
    assert_eq!(missing, Err(Mine::Reader));
}

/// What a path of records leads to, as place and fields.
fn read_below(name: &str, bytes: &[u8], path: &str) -> Result<Vec<Item>, Error> {
    let folder = Folder::of(&[(name, bytes)]);
    let options = Options { records: Some(path.parse().unwrap()), ..Options::default() };
    read_with(&folder.path(name), &options).map(|(items, _)| items)
}

#[test]
fn a_path_of_arrays_leads_to_records_with_the_plain_fields_around_them() {
    let squad = br#"{"version": 2, "data": [{"title": "T", "id": "a", "tags": ["x"], "paragraphs": [
        {"context": "c1", "id": "p", "qas": [{"id": "q1", "question": "?", "answers": [{"text": "yes"}]}, 7]},
        {"context": "c2", "qas": [{"id": "q2", "question": "!"}]}, {"context": "c3", "qas": []}]}], "licence": "x"}"#;
    let items = read_below("s.json", squad, "data.paragraphs.qas").unwrap();
    let found = records(&items);
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].0, "s.json#/data/0/paragraphs/0/qas/0");
    // Of two outer names the nearer one has the shorter name, whatever their order.
    let expected = json!({"id": "q1", "question": "?", "answers": [{"text": "yes"}], "context": "c1", "parent_id": "p",
        "parent_parent_id": "a", "title": "T", "version": 2, "licence": "x"});
    assert_eq!(found[0].1, expected);
    assert_eq!((found[1].1["context"].clone(), found[1].1["parent_id"].clone()), (json!("c2"), json!("a")));
    let rejected = rejections(&items);
    let rules: Vec<_> = rejected.iter().map(|r| (r.0, r.2)).collect();
    assert_eq!(
        rules,
        [("s.json#/data/0/paragraphs/0/qas/1", "not_an_object"), ("s.json#/data/0/paragraphs/2", "no_records")]
    );
    assert_eq!((file_read(&items).records, file_read(&items).rejected), (2, 2));
}

#[test]
fn a_path_goes_through_objects_lines_and_outermost_arrays() {
    let items = read_below("a.json", br#"{"body": {"n": 1, "rows": [{"t": "x"}]}}"#, "body.rows").unwrap();
    assert_eq!(records(&items), [("a.json#/body/rows/0", json!({"t": "x", "n": 1}))]);
    let items =
        read_below("b.json", br#"[{"k": 1, "turns": [{"t": "x"}]}, {"turns": [{"t": "y"}]}]"#, "turns").unwrap();
    let expected = [("b.json#/0/turns/0", json!({"t": "x", "k": 1})), ("b.json#/1/turns/0", json!({"t": "y"}))];
    assert_eq!(records(&items), expected);
    let items = read_below("c.jsonl", b"{\"k\":1,\"turns\":[{\"t\":\"x\"}]}\n{\"other\":2}\n", "turns").unwrap();
    assert_eq!(records(&items), [("c.jsonl#L1/turns/0", json!({"t": "x", "k": 1}))]);
    assert_eq!(rejections(&items)[0].2, "no_records");
}

#[test]
fn a_path_that_meets_nothing_is_an_error_that_names_what_is_there() {
    for (name, bytes, path, said) in [
        (
            "a.json",
            &br#"{"data": [{"title": "t", "paragraphs": []}]}"#[..],
            "data.sections",
            "the keys there are title, paragraphs",
        ),
        ("a.json", br#"{"data": [{"title": "t"}], "version": 1}"#, "rows", "the keys there are data, version"),
        ("a.json", br#"{"data": [{"title": "t"}]}"#, "data.title", "`title` is a string; expected an array of objects"),
        ("a.json", br#"{"data": []}"#, "data", "the array `data` is empty"),
        ("a.jsonl", b"{\"a\": 1}\n", "b", "the keys there are a"),
        ("a.csv", b"a,b\n1,2\n", "a", "the other keys there are b"),
    ] {
        let error = read_below(name, bytes, path).unwrap_err().to_string();
        assert!(error.contains(&format!("`records: {path}` meets nothing")) && error.contains(said), "{error}");
    }
    let items = read_below("a.txt", b"a text", "data").unwrap();
    assert_eq!(rejections(&items)[0].2, "no_records");
    for path in ["", "a..b", ".a"] {
        assert!(path.parse::<RecordPath>().unwrap_err().contains("joined by dots"), "{path}");
    }
}
