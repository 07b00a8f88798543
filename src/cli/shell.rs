//! Completions and manual pages, made from the command line's own definition.

use std::{io, path::PathBuf, process::ExitCode};

use clap_complete::Shell;

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
    clap_complete::generate(args.shell, command, "chaser", &mut io::stdout());
    Ok(ExitCode::SUCCESS)
}

pub(super) fn man(args: &Man, command: clap::Command) -> anyhow::Result<ExitCode> {
    std::fs::create_dir_all(&args.folder)?;
    clap_mangen::generate_to(command, &args.folder)?;
    Ok(ExitCode::SUCCESS)
}
