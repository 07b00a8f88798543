//! End to end, against real Docker and real Chromium.

fn main() {}
