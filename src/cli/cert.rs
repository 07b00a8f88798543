//! `chaser cert …`: a development authority, and certificates of it.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use secrecy::{ExposeSecret, SecretString};

use super::{
    fail::{CONFIG, FAILED, fail},
    output,
};
use crate::tls::{Authority, Wanted};

const CA: &str = "ca.pem";
const CA_KEY: &str = "ca.key";

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Make an authority, and a certificate each for the server and for a client of the node
    Init {
        /// The folder, made if it is missing: ca, server and client, each `.pem` and `.key`
        folder: PathBuf,
        /// DNS names and addresses that the server is reached by
        #[arg(long = "host", value_name = "NAME", default_values = ["localhost", "127.0.0.1", "::1"])]
        hosts: Vec<String>,
        #[command(flatten)]
        lasting: Lasting,
    },
    /// Make one more certificate of the authority in the folder; one of this name is replaced
    Issue {
        /// The folder that `init` made
        folder: PathBuf,
        /// Its common name, and the name of its files
        name: String,
        /// DNS names and addresses that its holder is reached by
        #[arg(long = "host", value_name = "NAME")]
        hosts: Vec<String>,
        /// A SPIFFE id, such as spiffe://example.org/control
        #[arg(long, value_name = "URI")]
        spiffe: Option<String>,
        #[command(flatten)]
        lasting: Lasting,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct Lasting {
    /// How long certificates are good for
    #[arg(long, value_name = "DURATION", default_value = "90days", value_parser = humantime::parse_duration)]
    valid_for: Duration,
}

pub(super) fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Init {
            folder,
            hosts,
            lasting,
        } => init(&folder, &hosts, lasting.valid_for)?,
        Command::Issue {
            folder,
            name,
            hosts,
            spiffe,
            lasting,
        } => {
            if name.is_empty() || name.contains(['/', '\0']) || name == "ca" {
                return Err(fail(
                    CONFIG,
                    "the name must be one that a file can have, and not `ca`",
                ));
            }
            let wanted = Wanted {
                common_name: &name,
                spiffe: spiffe.as_deref(),
                hosts: &hosts,
                valid_for: lasting.valid_for,
            };
            issue(&folder, &authority(&folder)?, &wanted)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn init(folder: &Path, hosts: &[String], valid_for: Duration) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    if folder.join(CA_KEY).exists() {
        let said = format!(
            "{} holds an authority already; `chaser cert issue` makes more certificates of it",
            folder.display()
        );
        return Err(fail(FAILED, said));
    }
    let authority = Authority::create("chaser development authority")?;
    write(&folder.join(CA), authority.certificate(), 0o644)?;
    write(&folder.join(CA_KEY), authority.key().expose_secret(), 0o600)?;
    for (common_name, hosts) in [("server", hosts), ("client", &[])] {
        let wanted = Wanted {
            common_name,
            spiffe: None,
            hosts,
            valid_for,
        };
        issue(folder, &authority, &wanted)?;
    }
    let shown = folder.display();
    output::line(format!(
        "[tls]\ncert = \"{shown}/server.pem\"\nkey = \"{shown}/server.key\"\nclient_ca = \"{shown}/{CA}\""
    ));
    Ok(())
}

fn authority(folder: &Path) -> anyhow::Result<Authority> {
    let read = |name: &str| {
        let path = folder.join(name);
        fs::read_to_string(&path).with_context(|| {
            format!(
                "{} cannot be read: `chaser cert init` makes it",
                path.display()
            )
        })
    };
    Ok(Authority::of(read(CA)?, SecretString::from(read(CA_KEY)?))?)
}

fn issue(folder: &Path, authority: &Authority, wanted: &Wanted<'_>) -> anyhow::Result<()> {
    let issued = authority.issue(wanted)?;
    let path = |kind: &str| folder.join(format!("{}.{kind}", wanted.common_name));
    write(&path("key"), issued.key.expose_secret(), 0o600)?;
    write(&path("pem"), &issued.certificate, 0o644)
}

/// Whole or not at all: a reload must not find half of it.
fn write(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let beside = path.with_extension(format!("new.{}", std::process::id()));
    let written = || -> std::io::Result<()> {
        let mut options = OpenOptions::new();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    written().with_context(|| format!("{} cannot be written", path.display()))
}
