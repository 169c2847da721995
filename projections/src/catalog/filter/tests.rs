//! Filters are read as they are written, say where they are wrong, and find what asking row by row finds.

use super::eval::{Like, has};
use super::parse::compiled;
use super::*;
use crate::catalog::columns::{Cell, Table};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn literal() -> impl Strategy<Value = Literal> {
    let value = prop_oneof![
        prop_oneof![
            Just(0.0),
            Just(-0.0),
            Just(1.0),
            Just(2.5),
            Just(-3.0),
            Just(f64::NAN),
            Just(f64::INFINITY),
            any::<f64>()
        ]
        .prop_map(Scalar::Number),
        prop_oneof![Just("a".to_owned()), Just("ab".to_owned()), Just("it's".to_owned()), ".{0,6}"]
            .prop_map(Scalar::Text),
        any::<bool>().prop_map(Scalar::Bool),
    ];
    value.prop_map(|value| Literal { value, at: 0 })
}

fn path() -> impl Strategy<Value = Path> {
    let known = prop_oneof![Just("config.x"), Just("config.y"), Just("tags.z"), Just("config.list")];
    known.prop_map(|name| Path { name: name.into(), at: 0 })
}

fn test() -> impl Strategy<Value = Test> {
    prop_oneof![
        (0usize..6, literal()).prop_map(|(which, literal)| Test::Compare(Comparison::ALL[which], literal)),
        prop::collection::vec(literal(), 1..4).prop_map(Test::In),
        (literal(), literal()).prop_map(|(low, high)| match (&low.value, &high.value) {
            // A range that is reversed is refused.
            (Scalar::Number(from), Scalar::Number(to)) if from > to => Test::Between(high, low),
            (Scalar::Text(from), Scalar::Text(to)) if from > to => Test::Between(high, low),
            _ => Test::Between(low, high),
        }),
        "[ab%_'\\\\]{0,4}".prop_map(Test::Like),
        "[ab.']{1,4}".prop_map(Test::Matches),
        literal().prop_map(Test::Has),
        Just(Test::IsNull),
    ]
}

fn any_filter(path: impl Strategy<Value = Path> + 'static) -> impl Strategy<Value = Filter> {
    let leaf = (path, test()).prop_map(|(path, test)| Filter::Test(path, test));
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4).prop_map(Filter::And),
            prop::collection::vec(inner.clone(), 2..4).prop_map(Filter::Or),
            inner.prop_map(|inner| Filter::Not(Box::new(inner))),
        ]
    })
}

type Row = BTreeMap<&'static str, Scalar>;

fn row() -> impl Strategy<Value = Row> {
    let value = || prop::option::weighted(0.7, literal().prop_map(|literal| literal.value));
    let list = prop::option::of(prop_oneof![Just(r#"["a",1,true]"#), Just("[]"), Just("[no list")]);
    (value(), value(), value(), list).prop_map(|(x, y, z, list)| {
        let list = list.map(|text| Scalar::Text(text.into()));
        let cells = [("config.x", x), ("config.y", y), ("tags.z", z), ("config.list", list)];
        cells.into_iter().filter_map(|(path, value)| Some((path, value?))).collect()
    })
}

/// What docs/queries.md says, row by row.
fn holds(filter: &Filter, row: &Row) -> Option<bool> {
    match filter {
        Filter::Not(inner) => holds(inner, row).map(|yes| !yes),
        Filter::And(parts) => any_of(parts, row, false),
        Filter::Or(parts) => any_of(parts, row, true),
        Filter::Test(path, Test::IsNull) => Some(!row.contains_key(path.name.as_str())),
        Filter::Test(path, test) => asked(test, row.get(path.name.as_str())?),
    }
}

/// One of the parts that is `wins` decides; else one that is unknown.
fn any_of(parts: &[Filter], row: &Row, wins: bool) -> Option<bool> {
    let answers: Vec<Option<bool>> = parts.iter().map(|part| holds(part, row)).collect();
    match answers.contains(&Some(wins)) {
        true => Some(wins),
        false => (!answers.contains(&None)).then_some(!wins),
    }
}

fn asked(test: &Test, value: &Scalar) -> Option<bool> {
    match (test, value) {
        (Test::Compare(comparison, literal), value) => compared(*comparison, value, &literal.value),
        (Test::In(literals), value) => {
            Some(literals.iter().any(|literal| compared(Comparison::Equal, value, &literal.value) == Some(true)))
        }
        (Test::Between(low, high), value) => {
            let [low, high] = [(Comparison::AtLeast, low), (Comparison::AtMost, high)]
                .map(|(comparison, literal)| compared(comparison, value, &literal.value));
            match (low, high) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            }
        }
        (Test::Like(pattern), Scalar::Text(text)) => Some(is_like(pattern, text)),
        (Test::Matches(pattern), Scalar::Text(text)) => Some(compiled(pattern).unwrap().is_match(text)),
        (Test::Has(literal), Scalar::Text(text)) => has(Cell::Text(text), &literal.value),
        _ => None,
    }
}

fn compared(comparison: Comparison, value: &Scalar, literal: &Scalar) -> Option<bool> {
    let equality = |is_equal: bool| match comparison {
        Comparison::Equal => Some(is_equal),
        Comparison::Unequal => Some(!is_equal),
        _ => None,
    };
    match (value, literal) {
        (Scalar::Number(a), Scalar::Number(b)) => {
            let is_equal = a == b || (a.is_nan() && b.is_nan());
            equality(is_equal).or(Some(match comparison {
                Comparison::Less => a < b,
                Comparison::AtMost => a <= b,
                Comparison::Greater => a > b,
                _ => a >= b,
            }))
        }
        (Scalar::Text(a), Scalar::Text(b)) => equality(a == b).or(Some(match comparison {
            Comparison::Less => a < b,
            Comparison::AtMost => a <= b,
            Comparison::Greater => a > b,
            _ => a >= b,
        })),
        (value, literal) => equality(value == literal),
    }
}

/// LIKE without a regular expression.
fn is_like(pattern: &str, text: &str) -> bool {
    let (mut pattern, mut rest) = (pattern.chars(), text.chars());
    match pattern.next() {
        None => text.is_empty(),
        Some('\\') if pattern.as_str().starts_with(['%', '_', '\\']) => {
            let c = pattern.next();
            rest.next() == c && is_like(pattern.as_str(), rest.as_str())
        }
        Some('%') => (0..=text.chars().count())
            .any(|skip| is_like(pattern.as_str(), &text.chars().skip(skip).collect::<String>())),
        Some(c) => {
            rest.next().is_some_and(|first| (c == '_' || c == first) && is_like(pattern.as_str(), rest.as_str()))
        }
    }
}

fn table_of(rows: &[Row]) -> Table {
    let mut table = Table::new("run");
    for (index, row) in rows.iter().enumerate() {
        let number = table.push(format!("run:{index}"));
        table.set(number, |each| {
            for (path, value) in row {
                match value {
                    Scalar::Number(number) => each(path, Cell::Number(*number)),
                    Scalar::Bool(value) => each(path, Cell::Bool(*value)),
                    Scalar::Text(text) => each(path, Cell::Text(text)),
                }
            }
        });
    }
    // All paths are known, whatever the rows have.
    let mut all = Table::new("run");
    let last = all.push("run:all");
    all.set(last, |each| {
        ["config.x", "config.y", "tags.z", "config.list"].iter().for_each(|path| each(path, Cell::Bool(true)))
    });
    table.know(&["config.x", "config.y", "tags.z", "config.list"], &all);
    table
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn what_is_written_is_read_as_it_was(filter in any_filter(".{1,8}".prop_map(|name| Path { name, at: 0 }))) {
        let text = filter.to_string();
        let read: Filter = text.parse().unwrap_or_else(|e| panic!("{e}"));
        prop_assert_eq!(&read, &filter, "{}", text);
        prop_assert_eq!(read.to_string(), text);
    }

    #[test]
    fn any_text_is_read_or_refused_at_a_place_in_it(text in "[a-c.'\"`()=<!~,% 0-9eE-]{0,20}|(AND|OR|NOT|IN|x|=|1| |\\(|\\)){0,12}|.{0,12}") {
        match text.parse::<Filter>() {
            Ok(filter) => prop_assert_eq!(filter.to_string().parse::<Filter>().unwrap(), filter),
            Err(error) => {
                prop_assert!(text.is_char_boundary(error.offset), "{}", error);
                prop_assert!(error.to_string().ends_with('^'));
            }
        }
    }

    #[test]
    fn columns_find_what_asking_row_by_row_finds(filter in any_filter(path()), rows in prop::collection::vec(row(), 0..80)) {
        let table = table_of(&rows);
        let text = filter.to_string();
        let read: Filter = text.parse().unwrap();
        let found = matching(&text, &read, &table).unwrap().yes;
        for (index, row) in rows.iter().enumerate() {
            prop_assert_eq!(found.get(index), holds(&filter, row) == Some(true), "{} on {:?}", text, row);
        }
        // What is not found is either denied or unknown.
        let denied = matching(&text, &Filter::Not(Box::new(read)), &table).unwrap().yes;
        for (index, row) in rows.iter().enumerate() {
            prop_assert_eq!(denied.get(index), holds(&filter, row) == Some(false), "NOT {} on {:?}", text, row);
        }
    }

    #[test]
    fn like_is_as_it_is_said(pattern in "[ab%_.*\\\\]{0,6}|a?%[ab]{0,2}%", text in "[ab.*\n\\\\%_]{0,6}") {
        prop_assert_eq!(Like::new(&pattern).unwrap().is_match(&text), is_like(&pattern, &text));
    }
}

#[test]
fn what_people_write_is_understood() {
    for (given, shown) in [
        (
            "config.optimizer.lr < 1e-3 AND tags.team = \"search\"",
            "config.optimizer.lr < 0.001 AND tags.team = 'search'",
        ),
        ("a=1 or b=2 and not c=3", "a = 1.0 OR b = 2.0 AND NOT c = 3.0"),
        ("(a = 1 OR b = 2) AND c = 3", "(a = 1.0 OR b = 2.0) AND c = 3.0"),
        ("state not in ('failed','cancelled')", "state NOT IN ('failed', 'cancelled')"),
        ("name like 'olmo%' AND name NOT LIKE '%\\_%'", "name LIKE 'olmo%' AND name NOT LIKE '%\\_%'"),
        ("name ~ '^a.*b$' and name !~ \"c\"", "name MATCHES '^a.*b$' AND name NOT MATCHES 'c'"),
        ("tags.`my team`.x is not null", "`tags.my team.x` IS NOT NULL"),
        ("metrics.eval/loss between -1 and 2.5", "metrics.eval/loss BETWEEN -1.0 AND 2.5"),
        ("metrics.loss = nan or metrics.loss <> -inf", "metrics.loss = NAN OR metrics.loss != -INFINITY"),
        ("aliases has 'production'", "aliases HAS 'production'"),
        ("`in` = true", "`in` = true"),
        ("x='it''s'", "x = 'it''s'"),
    ] {
        let filter: Filter = given.parse().unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(filter.to_string(), shown);
    }
    let order = order("metrics.loss desc, -name, `a b` ASC").unwrap();
    let shown: Vec<String> = order.iter().map(OrderBy::to_string).collect();
    assert_eq!(shown, ["metrics.loss DESC", "name DESC", "`a b`"]);
    assert!(super::order("  ").unwrap().is_empty());
}

#[test]
fn what_is_wrong_is_shown_at_its_column() {
    for (given, column, why) in [
        ("", 1, "expected a path such as config.lr, NOT or `(`, found the end"),
        ("lr <", 5, "expected a value: a number, a 'text', true or false, found the end"),
        ("lr < < 3", 6, "expected a value"),
        (
            "lr 3",
            4,
            "expected a comparison (=, !=, <, <=, >, >=, IN, LIKE, MATCHES, BETWEEN, HAS, IS NULL) after `lr`, found the number 3.0",
        ),
        ("lr = 3 state = 'x'", 8, "expected AND, OR or the end, found `state`"),
        ("state = running", 9, "a text stands in quotes: 'running'"),
        ("state = 'running", 9, "has no end"),
        ("(a = 1 OR b = 2", 1, "this `(` is never closed"),
        ("a = 1)", 6, "closes nothing"),
        ("a IN (1, 2", 11, "expected a comma or `)`"),
        ("a IN 1", 6, "expected `(`"),
        ("a BETWEEN 1 OR 2", 13, "expected AND and the upper end"),
        ("a = NULL", 5, "IS NULL"),
        ("a NOT = 3", 7, "expected IN, LIKE, MATCHES, HAS or BETWEEN after NOT"),
        ("a ~ '(b'", 5, "the regular expression is wrong: unclosed group"),
        ("a = 3x", 5, "`3x` is not a number"),
        ("1 < a", 1, "the path stands left of the comparison"),
        ("a = 1 AND ; b", 11, "`;` means nothing here"),
        ("order = 1 AND in = 2", 15, "found the keyword IN; a path of that name stands in backticks"),
        ("a. = 1", 1, "is not a path"),
        ("ä = 'x' AND\n  b = ", 7, "expected a value"),
    ] {
        let error = given.parse::<Filter>().unwrap_err();
        assert!(error.column() == column && error.to_string().contains(why), "{given}: {error}");
    }
    let error = "config.lr < 1 AND (state = x)".parse::<Filter>().unwrap_err().to_string();
    assert_eq!(
        error,
        "the filter is wrong at column 28: expected a value, found `x`; a text stands in quotes: 'x'\n  \
         config.lr < 1 AND (state = x)\n                             ^"
    );
    assert!("ä = 'x' AND\n  b = ".parse::<Filter>().unwrap_err().to_string().contains("line 2, column 7"));
    let deep = format!("{}a = 1{}", "(".repeat(80), ")".repeat(80));
    assert!(deep.parse::<Filter>().unwrap_err().to_string().contains("deeper than 64"));
    assert!("x".repeat(20_000).parse::<Filter>().unwrap_err().to_string().contains("at most 16384"));
    assert!(order("a b").unwrap_err().to_string().contains("the order is wrong at column 3: expected ASC, DESC"));
    assert!(order("a,").unwrap_err().to_string().contains("expected a path to sort by"));
}

#[test]
fn unknown_paths_and_wrong_times_are_named() {
    let mut table = Table::new("run");
    let row = table.push("run:1");
    table.set(row, |each| {
        ["config.optimizer.lr", "config.lr_min", "tags.team"].iter().for_each(|path| each(path, Cell::Number(1.0)))
    });
    let refused = |text: &str| matching(text, &text.parse().unwrap(), &table).err().unwrap();
    for (text, column, why) in [
        ("name = 'x' AND lr < 1", 16, "no run has `lr`; the nearest paths are `config.optimizer.lr`"),
        ("tags.taem = 'x'", 1, "`tags.team`"),
        ("created_at > 'yesterday'", 14, "RFC 3339"),
        ("created_at > 5", 14, "`created_at` is a time"),
        ("created_at LIKE '2026%'", 1, "is a time; compare it"),
        ("tags.team BETWEEN 5 AND 1", 19, "the range from 5.0 to 1.0 is reversed; give the lower end first"),
        ("tags.team NOT BETWEEN 'b' AND 'a'", 23, "from 'b' to 'a' is reversed"),
        ("created_at BETWEEN '2026-02-01' AND '2026-01-31T23:59:59Z'", 20, "is reversed"),
        (
            "config.optimizer = 1",
            1,
            "`config.optimizer` has values in it, not one of its own; name one of them, such as `config.optimizer.lr`",
        ),
        ("config.optimize IS NULL", 1, "no run has `config.optimize`"),
    ] {
        let error = refused(text);
        assert!(error.column() == column && error.to_string().contains(why), "{text}: {error}");
    }
}

#[test]
fn an_object_is_there_where_anything_in_it_is() {
    let mut table = Table::new("run");
    for (run, paths) in [
        ("run:1", &["config.optimizer.lr", "config.x"][..]),
        ("run:2", &["config.optimizer"]),
        ("run:3", &["config.optimizer2.lr"]),
        ("run:4", &[]),
    ] {
        let row = table.push(run);
        table.set(row, |each| paths.iter().for_each(|path| each(path, Cell::Number(1.0))));
    }
    let found = |text: &str| matching(text, &text.parse().unwrap(), &table).unwrap().yes.iter().collect::<Vec<u32>>();
    assert_eq!(found("config.optimizer IS NOT NULL"), [0, 1]);
    assert_eq!(found("config.optimizer IS NULL"), [2, 3]);
    assert_eq!(found("config IS NOT NULL AND NOT config.x IS NULL"), [0]);
    assert_eq!(found("config IS NULL"), [3]);
}

#[test]
fn like_finds_its_own_signs_behind_a_backslash() {
    for (pattern, text, is_found) in [
        ("100\\%", "100%", true),
        ("100\\%", "1000", false),
        ("a\\_b%", "a_bc", true),
        ("a\\_b%", "axbc", false),
        ("%\\%%", "5 % of", true),
        ("%\\%%", "5 of", false),
        ("c:\\\\x\\y", "c:\\x\\y", true),
    ] {
        assert_eq!(Like::new(pattern).unwrap().is_match(text), is_found, "{pattern} on {text}");
    }
}
