//! `chaser image`: the images that browsers start from.
//!
//! The recipe travels inside the binary, so a host without a checkout builds the same image.

use std::{
    fs::{self, DirBuilder},
    io::{self, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process::{ExitCode, Stdio},
};

use anyhow::Context;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::process::Command;

use crate::{
    daemon::config::Config,
    docker::{Docker, ImageFacts},
    instance::substrate::chromium,
};

/// Everything that `images/chromium/build` reads, as it lies in the source tree.
const RECIPE: &[(&str, &str)] = &[
    ("steps.sh", include_str!("../../images/steps.sh")),
    (
        "chromium/build",
        include_str!("../../images/chromium/build"),
    ),
    (
        "chromium/packages",
        include_str!("../../images/chromium/packages"),
    ),
    (
        "chromium/customize",
        include_str!("../../images/chromium/customize"),
    ),
    (
        "chromium/policies.json",
        include_str!("../../images/chromium/policies.json"),
    ),
    (
        "chromium/fonts.conf",
        include_str!("../../images/chromium/fonts.conf"),
    ),
    (
        "chromium/locales",
        include_str!("../../images/chromium/locales"),
    ),
    (
        "chromium/phone.c",
        include_str!("../../images/chromium/phone.c"),
    ),
    (
        "chromium/compile",
        include_str!("../../images/chromium/compile"),
    ),
];

/// `chaser image …`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What to do.
    #[command(subcommand)]
    pub(super) command: ImageCommand,
}

/// The commands of `chaser image`.
#[derive(Debug, clap::Subcommand)]
pub(super) enum ImageCommand {
    /// Build the Chromium image from Debian packages; nothing to do where the recipe is unchanged.
    Build {
        /// Build also when the recipe is unchanged: this is how a newer Chromium comes in.
        #[arg(long)]
        force: bool,
        /// Leave `navigator.platform` as Debian built it (workers will say `Linux x86_64`).
        #[arg(long)]
        no_platform_patch: bool,
        /// Let memory, cores and network be the machine's own, as far as no override reaches them.
        #[arg(long)]
        no_phone_shim: bool,
        /// Print the image as JSON; progress goes to stderr.
        #[arg(long)]
        json: bool,
    },
    /// List the images on this host.
    List {
        /// Print JSON instead of a table.
        #[arg(long)]
        json: bool,
    },
}

/// Runs one command.
///
/// # Errors
/// When Docker does not answer or the recipe cannot be written out.
pub(super) async fn run(args: &Args, config: &Config) -> anyhow::Result<ExitCode> {
    match args.command {
        ImageCommand::Build {
            force,
            no_platform_patch,
            no_phone_shim,
            json,
        } => {
            let mut flags = vec!["--image", &config.instance.image];
            flags.extend(force.then_some("--force"));
            flags.extend(no_platform_patch.then_some("--no-platform-patch"));
            flags.extend(no_phone_shim.then_some("--no-phone-shim"));
            let code = build(&flags, json).await?;
            if code == ExitCode::SUCCESS && json {
                let docker = Docker::connect(&config.node.docker).await?;
                let facts = docker.image(&config.instance.image).await?;
                let facts = facts.context("the image was built, but Docker does not have it")?;
                writeln!(io::stdout(), "{:#}", object(&facts))?;
            }
            Ok(code)
        }
        ImageCommand::List { json } => {
            let docker = Docker::connect(&config.node.docker).await?;
            let images = docker.images(Some(chromium::RECIPE_LABEL)).await?;
            let text = if json {
                let objects: Vec<_> = images.iter().map(object).collect();
                format!("{:#}\n", serde_json::Value::from(objects))
            } else {
                table(&images)
            };
            io::stdout().write_all(text.as_bytes())?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// A directory that goes when its owner is done.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> io::Result<Self> {
        let name = format!("chaser-recipe-{}", uuid::Uuid::now_v7());
        let path = std::env::temp_dir().join(name);
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Left behind it costs a few kilobytes, and there is nobody to tell.
        drop(fs::remove_dir_all(&self.0));
    }
}

fn write_out(recipe: &[(&str, &str)], into: &Path) -> io::Result<()> {
    for (name, text) in recipe {
        let path = into.join("images").join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, text)?;
    }
    Ok(())
}

async fn build(flags: &[&str], quiet_stdout: bool) -> anyhow::Result<ExitCode> {
    let scratch = Scratch::new().context("cannot make a directory for the recipe")?;
    write_out(RECIPE, &scratch.0).context("cannot write the recipe out")?;
    let mut command = Command::new("bash");
    command
        .arg(scratch.0.join("images/chromium/build"))
        .args(flags)
        .env("CHASER_LOG_DIR", scratch.0.join("log"))
        .stdin(Stdio::null())
        .kill_on_drop(true);
    if quiet_stdout {
        command.stdout(io::stderr());
    }
    let status = command.status().await.context("cannot run bash")?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(ExitCode::from(code.unwrap_or(1)))
}

fn label<'a>(facts: &'a ImageFacts, name: &str) -> &'a str {
    facts.labels.get(name).map_or("-", String::as_str)
}

/// RFC 3339 whichever way Docker said it.
fn created(facts: &ImageFacts) -> String {
    let seconds = facts.created.parse().ok();
    seconds
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .and_then(|at| at.format(&Rfc3339).ok())
        .unwrap_or_else(|| facts.created.clone())
}

fn object(facts: &ImageFacts) -> serde_json::Value {
    serde_json::json!({
        "id": facts.id,
        "names": facts.names,
        "chromium": label(facts, chromium::VERSION_LABEL),
        "recipe": label(facts, chromium::RECIPE_LABEL),
        "platform_patch": label(facts, chromium::PATCH_LABEL) == "1",
        "phone_shim": label(facts, chromium::SHIM_LABEL) == "1",
        "size": facts.size,
        "created_at": created(facts),
    })
}

fn table(images: &[ImageFacts]) -> String {
    let row = |name: &str, chromium: &str, recipe: &str, size: &str, created: &str| {
        format!("{name:<32}{chromium:<17}{recipe:<19}{size:>7}  {created}\n")
    };
    let mut text = row("NAME", "CHROMIUM", "RECIPE", "SIZE", "CREATED");
    for facts in images {
        text += &row(
            facts.names.first().map_or("-", String::as_str),
            label(facts, chromium::VERSION_LABEL),
            label(facts, chromium::RECIPE_LABEL),
            &format!("{} MB", facts.size / 1_000_000),
            &created(facts),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn facts(created: &str) -> ImageFacts {
        ImageFacts {
            id: "sha256:0".to_owned(),
            names: vec!["chaser/chromium:latest".to_owned()],
            labels: BTreeMap::from([(
                chromium::VERSION_LABEL.to_owned(),
                "156.0.8078.79".to_owned(),
            )]),
            size: 677_000_000,
            created: created.to_owned(),
        }
    }

    /// The script names its inputs; a new one that is not embedded would break the build elsewhere.
    #[test]
    fn the_embedded_recipe_is_whole() {
        let scratch = Scratch::new().unwrap();
        write_out(RECIPE, &scratch.0).unwrap();
        let script = fs::read_to_string(scratch.0.join("images/chromium/build")).unwrap();
        let inputs = script
            .lines()
            .find_map(|l| l.strip_prefix("readonly INPUTS=("))
            .unwrap();
        for input in inputs.trim_end_matches(')').split(' ') {
            assert!(
                scratch.0.join("images/chromium").join(input).exists(),
                "{input}"
            );
        }
        let path = scratch.0.clone();
        drop(scratch);
        assert!(!path.exists());
    }

    #[test]
    fn both_ways_of_saying_when_become_one() {
        assert_eq!(created(&facts("1763942400")), "2025-11-24T00:00:00Z");
        assert_eq!(
            created(&facts("2025-11-24T00:00:00Z")),
            "2025-11-24T00:00:00Z"
        );
    }

    #[test]
    fn the_table_lines_up() {
        let text = table(&[facts("0")]);
        let mut lines = text.lines();
        let at = lines.next().unwrap().find("CHROMIUM").unwrap();
        assert_eq!(lines.next().unwrap().find("156"), Some(at));
    }
}
