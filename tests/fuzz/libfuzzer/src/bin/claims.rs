//! libFuzzer at [`fuzz::claims`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::claims::run(data));
