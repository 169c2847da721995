//! See `cairn_ledger::fuzzing::payload`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cairn_ledger::fuzzing::payload(bytes));
