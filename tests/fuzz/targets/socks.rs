#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| chaser_fuzz::promises::socks(data));
