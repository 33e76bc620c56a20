//! libFuzzer at [`fuzz::fetched`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::fetched::run(data));
