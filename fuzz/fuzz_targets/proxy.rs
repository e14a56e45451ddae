//! Any octets in place of a header of the PROXY protocol.
#![no_main]
#![allow(dead_code, reason = "each target calls one of the checks")]

#[path = "../checks.rs"]
mod checks;
#[path = "../../tests/kit/mod.rs"]
mod kit;

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::check_proxy(data));
