//! What a past state is called, and which position it means.

use crate::common::*;
use cairn_ledger::{AsOf, Error, Ledger};
use cairn_schemas::{Position, Timestamp};

fn refusal(ledger: &Ledger, as_of: AsOf) -> String {
    match ledger.resolve(&tenant(), as_of) {
        Err(error @ Error::AsOf { .. }) => error.to_string(),
        other => panic!("{as_of} gave {other:?}"),
    }
}

fn moved(time: Timestamp, micros: i64) -> AsOf {
    AsOf::Recorded(Timestamp::from_micros(time.as_micros() + micros))
}

#[test]
fn a_time_means_the_last_event_recorded_by_then() {
    let folder = in_memory();
    let ledger = Ledger::open(folder.path(), options()).unwrap();
    // Batches of one to five events: all of a batch have one recorded time.
    let mut id = 0;
    for batch in 0..40u64 {
        let events = (0..batch % 5 + 1).map(|_| {
            id += 1;
            event(&id.to_string(), "x")
        });
        ledger.append(&tenant(), events.collect()).unwrap();
    }
    let all = read_all(&ledger);
    let last_by =
        |time: Timestamp| all.iter().filter(|event| event.recorded_at <= time).map(|event| event.position).max();
    for event in &all {
        assert_eq!(ledger.resolve(&tenant(), event.position.into()).unwrap(), event.position);
        for micros in [-1, 0, 1, 999_999] {
            let AsOf::Recorded(time) = moved(event.recorded_at, micros) else { unreachable!() };
            match last_by(time) {
                Some(expected) => {
                    assert_eq!(ledger.resolve(&tenant(), AsOf::Recorded(time)).unwrap(), expected, "{time}")
                }
                None => assert!(refusal(&ledger, AsOf::Recorded(time)).contains("before the first event")),
            }
        }
    }
    drop(ledger);
    let ledger = Ledger::open_read_only(folder.path()).unwrap();
    for event in &all {
        assert_eq!(ledger.resolve(&tenant(), AsOf::Recorded(event.recorded_at)).ok(), last_by(event.recorded_at));
    }
}

#[test]
fn what_is_not_there_yet_or_no_more_is_refused_with_what_is() {
    let folder = in_memory();
    let ledger = Ledger::open(folder.path(), options()).unwrap();
    assert!(refusal(&ledger, Position::FIRST.into()).contains("the log is empty"));
    append_each(&ledger, 1..=3);
    let all = read_all(&ledger);
    let beyond = refusal(&ledger, position(4).into());
    assert!(beyond.contains("as of `4`") && beyond.contains("the last position is 3"), "{beyond}");
    assert!(beyond.contains(&all[2].recorded_at.to_string()), "{beyond}");
    let future = refusal(&ledger, moved(all[2].recorded_at, 3_600_000_000));
    assert!(future.contains("in the future; it is 2026-01-01") && future.contains("position is 3"), "{future}");
    let before = refusal(&ledger, moved(all[0].recorded_at, -1));
    assert!(before.contains(&format!("recorded at {}", all[0].recorded_at)), "{before}");
}

#[test]
fn an_as_of_is_written_as_a_position_or_a_time() {
    assert_eq!("1041".parse::<AsOf>().unwrap(), AsOf::Position(position(1041)));
    for text in ["2026-01-31", "2026-01-31T12:00:00+02:00"] {
        assert_eq!(text.parse::<AsOf>().unwrap(), AsOf::Recorded(text.parse().unwrap()));
    }
    let before = "0".parse::<AsOf>().unwrap_err().to_string();
    assert!(before.contains("before the first event, whose position is 1"), "{before}");
    for wrong in ["", "-1", "now", "yesterday", "99999999999999999999999", "2026-13-01", "1.5"] {
        let error = wrong.parse::<AsOf>().unwrap_err().to_string();
        assert!(error.contains("position such as 1041") && error.contains("2026-01-31T12:00:00Z"), "{error}");
    }
}
