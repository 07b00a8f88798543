//! The `chaser` binary: see [`chaser::cli`].

fn main() -> std::process::ExitCode {
    chaser::cli::main()
}
