//! Foreign verifiers on a log that Cairn wrote: the crates `signed_note` and `tlog_tiles`, Go's `note` and `tlog`, and
//! `aics-tlog` in Python. Each accepts the committed log, and refuses it where a byte is changed.

mod crates;
mod fixture;
mod programs;
