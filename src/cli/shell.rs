//! Completions and manual pages, made from the command line's own definition.

use std::{path::PathBuf, process::ExitCode};

use clap_complete::Shell;

use super::output;

#[derive(Debug, clap::Args)]
pub(super) struct Completions {
    /// For which shell
    shell: Shell,
}

#[derive(Debug, clap::Args)]
pub(super) struct Man {
    /// The folder
    folder: PathBuf,
}

pub(super) fn completions(
    args: &Completions,
    command: &mut clap::Command,
) -> anyhow::Result<ExitCode> {
    // Not straight to stdout, which panics there when the reader has gone.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, command, "chaser", &mut script);
    output::print(String::from_utf8_lossy(&script));
    Ok(ExitCode::SUCCESS)
}

pub(super) fn man(args: &Man, command: clap::Command) -> anyhow::Result<ExitCode> {
    std::fs::create_dir_all(&args.folder)?;
    clap_mangen::generate_to(command, &args.folder)?;
    Ok(ExitCode::SUCCESS)
}
