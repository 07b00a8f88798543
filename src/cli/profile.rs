//! `chaser profile …`: the devices that sessions can be.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use serde_json::{Value, json};

use super::{
    fail::{CONFIG, FAILED, fail, sentence},
    output,
    settings::Place,
    table::{Align, Table},
};
use crate::{
    daemon::config::Config,
    docker::Docker,
    instance::substrate::chromium,
    profile::{self, Catalogue, InvalidProfile, Profile},
};

/// `chaser profile …`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What to do.
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the profiles: those that are built in, and those of `profile.dir`
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one profile, what its browser is started with and how it introduces itself
    Show {
        /// Name of the profile
        name: String,
        /// Print JSON
        #[arg(long, conflicts_with = "toml")]
        json: bool,
        /// Print the profile as a file, to begin one of your own with
        #[arg(long)]
        toml: bool,
    },
    /// Check profile files; exit code 64 when one of them is wrong
    Check {
        /// Profiles in TOML
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

pub(super) async fn run(args: Args, place: Place) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::List { json } => list(&catalogue(&place.load()?)?, json),
        Command::Show { name, json, toml } => {
            let config = place.load()?;
            let profiles = catalogue(&config)?;
            let Some(profile) = profiles.named(&name) else {
                let names = profiles.names().join(", ");
                let said = format!("no profile is named `{name}`; there is: {names}");
                return Err(fail(FAILED, said));
            };
            if toml {
                output::print(toml::to_string(&*profile)?);
                return Ok(ExitCode::SUCCESS);
            }
            let version = version(&config).await;
            show(&profile, &config, version.as_deref(), json)
        }
        Command::Check { files, json } => check(&files, json),
    }
}

fn catalogue(config: &Config) -> anyhow::Result<Catalogue> {
    Catalogue::load(&config.profile).map_err(|error| fail(CONFIG, sentence(&error)))
}

fn list(profiles: &Catalogue, as_json: bool) -> anyhow::Result<ExitCode> {
    if as_json {
        let all: Vec<_> = profiles
            .all()
            .map(|(profile, file)| json!({ "profile": profile, "file": file }))
            .collect();
        output::json(&all)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new([
        ("PROFILE", Align::Left),
        ("DEVICE", Align::Left),
        ("KIND", Align::Left),
        ("ANDROID", Align::Right),
        ("SCREEN", Align::Right),
        ("DPR", Align::Right),
        ("FROM", Align::Left),
    ]);
    for (profile, file) in profiles.all() {
        let screen = &profile.screen;
        table.row([
            profile.name.clone(),
            profile.title.clone(),
            profile.identity.form_factors.join(", ").to_lowercase(),
            profile.identity.android_version.clone(),
            format!("{}x{}", screen.width, screen.height),
            screen.device_pixel_ratio.to_string(),
            file.map_or_else(|| "built in".to_owned(), |file| file.display().to_string()),
        ]);
    }
    output::print(table);
    Ok(ExitCode::SUCCESS)
}

/// The Chromium in the configured image, where Docker can say it.
async fn version(config: &Config) -> Option<String> {
    let docker = Docker::connect(&config.node.docker).await.ok()?;
    let image = docker.image(&config.instance.image).await.ok()??;
    image.labels.get(chromium::VERSION_LABEL).cloned()
}

fn show(
    profile: &Profile,
    config: &Config,
    version: Option<&str>,
    as_json: bool,
) -> anyhow::Result<ExitCode> {
    let image = &config.instance.image;
    let mut spec = chromium::container(image, profile, &config.instance);
    let major = version.and_then(|version| version.split('.').next()?.parse().ok());
    if let Some(major) = major {
        spec.command.push(chromium::user_agent_flag(profile, major));
    }
    let user_agent = major.map(|major| profile.user_agent(major));
    if as_json {
        output::json(&json!({
            "profile": profile,
            "chromium": version,
            "user_agent": user_agent,
            "environment": spec.env,
            "launch_flags": spec.command,
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new([("", Align::Left), ("", Align::Left)]);
    rows(&mut table, "", &serde_json::to_value(profile)?);
    let unknown = || format!("known once the image {image} is there (chaser image build)");
    table.row(["user agent".to_owned(), user_agent.unwrap_or_else(unknown)]);
    output::print(table.to_string().trim_start());
    output::line("\nits browser's environment and launch flags:");
    for word in spec.env.iter().chain(&spec.command) {
        output::line(format_args!("  {word}"));
    }
    Ok(ExitCode::SUCCESS)
}

/// One row a field, dotted.
fn rows(table: &mut Table, at: &str, value: &Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let dotted = if at.is_empty() {
                    name.clone()
                } else {
                    format!("{at}.{name}")
                };
                rows(table, &dotted, value);
            }
        }
        Value::String(text) => table.row([at.to_owned(), text.clone()]),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().filter_map(Value::as_str).collect();
            table.row([at.to_owned(), items.join(", ")]);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {
            table.row([at.to_owned(), value.to_string()]);
        }
    }
}

fn check(files: &[PathBuf], as_json: bool) -> anyhow::Result<ExitCode> {
    let mut names = Catalogue::built_in().names();
    let checked: Vec<_> = files
        .iter()
        .map(|file| (file, read(file, &mut names)))
        .collect();
    if as_json {
        let all: Vec<_> = checked
            .iter()
            .map(|(file, read)| match read {
                Ok(name) => json!({ "file": file, "profile": name, "problem": null }),
                Err(problem) => json!({ "file": file, "profile": null, "problem": problem }),
            })
            .collect();
        output::json(&all)?;
    } else {
        for (file, read) in &checked {
            let file = file.display();
            match read {
                Ok(name) => output::line(format_args!("ok      {file}: `{name}`")),
                Err(problem) => output::line(format_args!("wrong   {file}: {problem}")),
            }
        }
    }
    Ok(if checked.iter().all(|(_, read)| read.is_ok()) {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(CONFIG)
    })
}

/// The name of the profile in a file, or what is wrong with it. `names` are taken.
fn read(file: &Path, names: &mut Vec<String>) -> Result<String, String> {
    let text = fs::read_to_string(file).map_err(|error| format!("cannot be read: {error}"))?;
    let profile = profile::parse(&text).map_err(|error: InvalidProfile| error.to_string())?;
    if names.contains(&profile.name) {
        return Err(format!(
            "the name `{}` is taken by a profile that is built in or by an earlier file; give it \
             another `name`",
            profile.name
        ));
    }
    names.push(profile.name.clone());
    Ok(profile.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_checked_as_the_daemon_would() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("mine.toml");
        let own = Profile {
            name: "mine".to_owned(),
            ..Profile::clone(&Catalogue::built_in().default_profile())
        };
        let text = toml::to_string(&own).unwrap();
        fs::write(&file, &text).unwrap();
        let fresh = |file: &Path| read(file, &mut Catalogue::built_in().names());
        assert_eq!(fresh(&file).unwrap(), "mine");
        let mut taken = vec!["mine".to_owned()];
        let clash = read(&file, &mut taken).unwrap_err();
        assert!(clash.contains("`mine` is taken"), "{clash}");
        fs::write(&file, text.replace("\"mine\"", "\"default\"")).unwrap();
        assert!(fresh(&file).unwrap_err().contains("`default` is taken"));
        fs::write(&file, text.replace("touch_points = 5", "touch_points = 0")).unwrap();
        let wrong = fresh(&file).unwrap_err();
        assert!(wrong.contains("`input.touch_points` is 0"), "{wrong}");
        let gone = fresh(Path::new("/nowhere.toml")).unwrap_err();
        assert!(gone.contains("cannot be read"), "{gone}");
    }

    #[test]
    fn fields_are_shown_dotted() {
        let mut table = Table::new([("", Align::Left), ("", Align::Left)]);
        rows(
            &mut table,
            "",
            &json!({ "a": { "b": [ "x", "y" ], "c": 7 } }),
        );
        assert_eq!(table.to_string(), "\na.b  x, y\na.c  7\n");
    }
}
