//! See `cairn_ledger::fuzzing::frame`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cairn_ledger::fuzzing::frame(bytes));
