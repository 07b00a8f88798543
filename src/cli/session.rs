//! `chaser session …`: the public API from a shell.

use std::{process::ExitCode, time::Duration};

use hyper::Method;
use serde_json::{Value, json};

use super::{
    fail::{FAILED, fail},
    output,
    rest::{Api, Client},
    table::{Align, Table},
};

/// Between two looks at a session that is watched.
const LOOK: Duration = Duration::from_millis(500);

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Order a session
    Create(Create),
    /// Show one session
    Get(One),
    /// List sessions, newest first
    List(List),
    /// Print a line for every change of a session until it has ended
    Watch(One),
    /// End a session
    Delete(One),
}

#[derive(Debug, clap::Args)]
pub(super) struct Create {
    /// Lifetime in seconds
    #[arg(long, value_name = "SECONDS")]
    ttl: Option<u64>,
    /// Device profile
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// What runs under it: chromium, or a kind of Android device [default: chromium]
    #[arg(long, value_name = "KIND")]
    substrate: Option<String>,
    /// Return once the session is ready (or has failed)
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
pub(super) struct One {
    /// Session id
    session: String,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// How many, at most
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100))]
    limit: u32,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
pub(super) struct Common {
    #[command(flatten)]
    api: Api,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Create(args) => create(args).await,
        Command::Get(args) => get(args).await,
        Command::List(args) => list(args).await,
        Command::Watch(args) => watch(args).await,
        Command::Delete(args) => delete(args).await,
    }
}

async fn create(args: Create) -> anyhow::Result<ExitCode> {
    let client = args.common.api.client()?;
    let mut order = json!({});
    if let Some(ttl) = args.ttl {
        order["ttl_seconds"] = json!(ttl);
    }
    if let Some(profile) = args.profile {
        order["profile"] = json!(profile);
    }
    if let Some(substrate) = args.substrate {
        order["substrate"] = json!(substrate);
    }
    let mut session = client
        .call(Method::POST, "/v1/sessions", Some(&order))
        .await?
        .unwrap_or_default();
    while args.wait && session["status"] == "creating" {
        tokio::time::sleep(Duration::from_millis(50)).await;
        session = fetch(&client, word(&session, "id")).await?;
    }
    show(&session, args.common.json)?;
    Ok(verdict(&session))
}

async fn get(args: One) -> anyhow::Result<ExitCode> {
    let session = fetch(&args.common.api.client()?, &args.session).await?;
    show(&session, args.common.json)?;
    Ok(ExitCode::SUCCESS)
}

async fn list(args: List) -> anyhow::Result<ExitCode> {
    let client = args.common.api.client()?;
    let path = format!("/v1/sessions?limit={}", args.limit);
    let answer = client
        .call(Method::GET, &path, None)
        .await?
        .unwrap_or_default();
    if args.common.json {
        output::json(&answer)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new([
        ("SESSION", Align::Left),
        ("STATUS", Align::Left),
        ("ENDED", Align::Left),
        ("EGRESS", Align::Left),
        ("UP", Align::Right),
        ("DOWN", Align::Right),
        ("AGE", Align::Right),
    ]);
    for session in answer["data"].as_array().into_iter().flatten() {
        table.row([
            word(session, "id").to_owned(),
            word(session, "status").to_owned(),
            ending(session),
            word(session, "proxy_ip").to_owned(),
            output::bytes(session["bytes_up"].as_u64().unwrap_or(0)),
            output::bytes(session["bytes_down"].as_u64().unwrap_or(0)),
            output::age(word(session, "created_at")),
        ]);
    }
    output::print(table);
    Ok(ExitCode::SUCCESS)
}

async fn watch(args: One) -> anyhow::Result<ExitCode> {
    let client = args.common.api.client()?;
    let mut last = Value::Null;
    loop {
        let session = fetch(&client, &args.session).await?;
        let seen = json!([
            session["status"],
            session["bytes_up"],
            session["bytes_down"],
            session["progress"]
        ]);
        if seen != last {
            last = seen;
            if args.common.json {
                output::line(&session);
            } else {
                output::line(format_args!(
                    "{:<9} up {:>9}  down {:>9}  {}{}",
                    word(&session, "status"),
                    output::bytes(session["bytes_up"].as_u64().unwrap_or(0)),
                    output::bytes(session["bytes_down"].as_u64().unwrap_or(0)),
                    ending(&session),
                    step(&session["progress"]),
                ));
            }
        }
        if matches!(word(&session, "status"), "closed" | "error") {
            return Ok(verdict(&session));
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn delete(args: One) -> anyhow::Result<ExitCode> {
    let client = args.common.api.client()?;
    client
        .call(Method::DELETE, &path_of(&args.session)?, None)
        .await?;
    if args.common.json {
        output::json(&json!({ "id": args.session, "deleted": true }))?;
    } else {
        output::line("deleted");
    }
    Ok(ExitCode::SUCCESS)
}

async fn fetch(client: &Client, id: &str) -> anyhow::Result<Value> {
    Ok(client
        .call(Method::GET, &path_of(id)?, None)
        .await?
        .unwrap_or_default())
}

/// An id goes into a path: nothing but an id may.
fn path_of(id: &str) -> anyhow::Result<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if id.is_empty() || !id.chars().all(plain) {
        return Err(fail(FAILED, format!("`{id}` is no session id")));
    }
    Ok(format!("/v1/sessions/{id}"))
}

fn show(session: &Value, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        return output::json(session);
    }
    let mut table = Table::new([("", Align::Left), ("", Align::Left)]);
    for key in [
        "id",
        "status",
        "device",
        "cdp_url",
        "proxy_ip",
        "bytes_up",
        "bytes_down",
        "connections",
        "created_at",
        "ready_at",
        "expires_at",
        "ended_at",
        "ended_reason",
    ] {
        let value = &session[key];
        if !value.is_null() {
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            table.row([key.to_owned(), text]);
        }
    }
    if let Some(message) = session["error"]["message"].as_str() {
        let code = word(&session["error"], "code");
        table.row(["error".to_owned(), format!("{message} ({code})")]);
    }
    for (can, yes) in session["capabilities"].as_object().into_iter().flatten() {
        table.row([can.clone(), yes.to_string()]);
    }
    if !session["progress"].is_null() {
        table.row(["progress".to_owned(), step(&session["progress"])]);
    }
    for of in session["bytes_by_host"].as_array().into_iter().flatten() {
        let host = of["host"].as_str().unwrap_or("(all others)");
        let text = format!("{} up, {} down", of["bytes_up"], of["bytes_down"]);
        table.row([host.to_owned(), text]);
    }
    output::print(table.to_string().trim_start());
    Ok(())
}

fn word<'a>(session: &'a Value, key: &str) -> &'a str {
    session[key].as_str().unwrap_or_default()
}

fn ending(session: &Value) -> String {
    let reason = word(session, "ended_reason");
    if reason.is_empty() {
        word(&session["error"], "code").to_owned()
    } else {
        reason.to_owned()
    }
}

/// `boot: waiting for Android to boot, since 3 s of at most 90 s`.
fn step(progress: &Value) -> String {
    if progress.is_null() {
        return String::new();
    }
    let (word, doing) = (word(progress, "step"), word(progress, "doing"));
    let since = output::age(self::word(progress, "since"));
    let limit = &progress["limit_seconds"];
    format!("{word}: {doing}, since {since} of at most {limit} s")
}

/// A session that failed is a failed command.
fn verdict(session: &Value) -> ExitCode {
    if word(session, "status") == "error" {
        ExitCode::from(FAILED)
    } else {
        ExitCode::SUCCESS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_id_becomes_part_of_a_path() {
        assert_eq!(path_of("sess_0-a").unwrap(), "/v1/sessions/sess_0-a");
        for other in ["", "..", "../keys", "a?b", "a/b", "a%2fb"] {
            path_of(other).unwrap_err();
        }
    }
}
