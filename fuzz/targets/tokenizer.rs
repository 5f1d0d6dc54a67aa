#![no_main]
// The tokenizer room holds back panics of the library below it, so a panic is a fault only if it comes out. They are
// not shown, since there may be many, except when one input is looked at.
libfuzzer_sys::fuzz_target!(
    init: if std::env::var_os("SHOW_PANICS").is_none() {
        std::panic::set_hook(Box::new(|_| {}));
    },
    |data: &[u8]| bertology_fuzz::tokenizer(data)
);
