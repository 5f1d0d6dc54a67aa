#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| bertology_fuzz::trainings(data));
