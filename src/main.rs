//! The `chaser` binary: see [`chaser::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    chaser::cli::main()
}
