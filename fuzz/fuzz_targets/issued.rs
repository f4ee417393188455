#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tower_jwt_auth::checks::fuzz::issued(bytes));
