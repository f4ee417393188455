#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| tower_jwt_auth::checks::fuzz::verdicts(octets));
