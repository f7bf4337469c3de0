//! `npm run search -- kernel`: any bytes as a job, and all that must hold of every job.

#![no_main]

#[path = "../../crates/kernel/tests/common/mod.rs"]
mod common;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| common::bytes::check(bytes));
