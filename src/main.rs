//! The `chaser` binary: see [`chaser::cli`].

fn main() {}
