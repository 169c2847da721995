//! The append path, durable throughout, beside what the device itself takes to write and sync as much in the same run.
//!
//! Read each row against the device's: the ratio is the figure, not the time. `CAIRN_BENCH_EVENTS` sets how many events
//! the long row appends (1,000,000 unless told; 10,000,000 is what the goals are for), `CAIRN_BENCH_ROWS` which rows run
//! (names separated by commas; all unless told).

mod device;
mod load;
mod rows;
mod table;
mod verification;

use std::path::PathBuf;

/// Events of the long row, where the environment does not say.
const EVENTS: u64 = 1_000_000;
/// Names a ledger's directory: the program then appends to it until it is killed.
pub(crate) const CHILD: &str = "CAIRN_BENCH_CHILD";

fn main() {
    if let Some(dir) = std::env::var_os(CHILD) {
        return load::append_until_killed(&PathBuf::from(dir));
    }
    let events = std::env::var("CAIRN_BENCH_EVENTS").ok().map_or(EVENTS, |text| text.parse().expect("a number"));
    let wanted = std::env::var("CAIRN_BENCH_ROWS").unwrap_or_default();
    let is_wanted = |row: &str| wanted.is_empty() || wanted.split(',').any(|name| name == row);
    let device = device::Device::measure();
    table::header();
    device.show();
    if is_wanted("callers") {
        rows::callers(&device);
    }
    if is_wanted("window") {
        rows::window(&device, events);
    }
    if is_wanted("verification") {
        verification::verification(events);
    }
    if is_wanted("latency") {
        rows::latency(1);
        rows::latency(100);
    }
    if is_wanted("kill") {
        rows::kill(events / 100);
        rows::kill(events);
    }
}
