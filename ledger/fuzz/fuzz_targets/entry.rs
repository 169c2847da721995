//! See `cairn_ledger::fuzzing::entry`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cairn_ledger::fuzzing::entry(bytes));
