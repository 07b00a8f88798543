//! `chaser route …`: the node's egress routes, over its own gRPC socket.

use std::{fs, path::PathBuf, process::ExitCode, time::Duration};

use serde_json::{Value, json};

use super::{
    fail::{CONFIG, FAILED, fail},
    node::{Common, connect, refused},
    output,
    table::{Align, Table},
};
use crate::wire::node as pb;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Every route: state, sessions, bytes, connections and what became of them
    List(Common),
    /// One route
    Show(One),
    /// Look whether a route works, now
    Check(One),
    /// Add the routes of a file (TOML, `[[route]]` tables); a restart finds them
    Add {
        /// The file
        file: PathBuf,
        #[command(flatten)]
        common: Common,
    },
    /// Take out what was added under a name; sessions keep what they have
    Rm(One),
    /// Give a route to nobody new; sessions keep what they have
    Drain(One),
    /// Back in service
    Undrain(One),
    /// Read all routes and the list of denied hosts again; sessions keep their routes
    Reload(Common),
}

#[derive(Debug, clap::Args)]
pub(super) struct One {
    /// Name of the route
    name: String,
    #[command(flatten)]
    common: Common,
}

pub(super) async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::List(common) => list(&common).await?,
        Command::Show(one) => show(&one).await?,
        Command::Check(one) => return check(&one).await,
        Command::Add { file, common } => add(&file, &common).await?,
        Command::Rm(one) => {
            let mut node = connect(&one.common.runtime_dir).await?;
            let name = one.name.clone();
            let request = pb::RemoveRouteRequest { name };
            node.remove_route(request).await.map_err(refused)?;
            said(&one.common, json!({ "removed": one.name }), "removed")?;
        }
        Command::Drain(one) => drain(&one, false).await?,
        Command::Undrain(one) => drain(&one, true).await?,
        Command::Reload(common) => {
            let mut node = connect(&common.runtime_dir).await?;
            let answer = node.reload_routes(pb::ReloadRoutesRequest {}).await;
            let routes = answer.map_err(refused)?.into_inner().routes;
            said(
                &common,
                json!({ "routes": routes }),
                &format!("{routes} routes"),
            )?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn said(common: &Common, told: Value, words: &str) -> anyhow::Result<()> {
    if common.json {
        return output::json(&told);
    }
    output::line(words);
    Ok(())
}

async fn routes(common: &Common) -> anyhow::Result<Vec<pb::EgressRoute>> {
    let mut node = connect(&common.runtime_dir).await?;
    let answer = node.list_routes(pb::ListRoutesRequest {}).await;
    Ok(answer.map_err(refused)?.into_inner().routes)
}

fn as_json(of: &pb::EgressRoute) -> Value {
    let traffic = of.traffic.unwrap_or_default();
    json!({
        "name": of.name,
        "description": of.description,
        "region": of.region,
        "tags": of.tags,
        "cost": of.cost,
        "state": of.state,
        "fault": of.fault,
        "capacity": of.capacity,
        "sessions": of.sessions,
        "resting": of.resting_until.is_some(),
        "exit_ip": of.exit_ip,
        "served": of.served,
        "failed": of.failed,
        "faults": of.faults,
        "error_rate": error_rate(of),
        "target_failed": of.target_failed,
        "bytes_up": traffic.up,
        "bytes_down": traffic.down,
        "time_zone": of.time_zone,
        "locale": of.locale,
    })
}

/// The share of connections that failed by the route's own fault; none before the first one.
fn error_rate(of: &pb::EgressRoute) -> Option<f64> {
    let of_all = of.served + of.failed;
    #[expect(clippy::cast_precision_loss, reason = "a share, for people")]
    (of_all > 0).then(|| of.failed as f64 / of_all as f64)
}

/// `refused 3, target 1`: what failed, by whose fault.
fn failures(of: &pb::EgressRoute) -> String {
    let mut each: Vec<_> = of
        .faults
        .iter()
        .map(|(why, count)| (&**why, *count))
        .collect();
    each.sort_unstable();
    each.push(("target", of.target_failed));
    let each = each.into_iter().filter(|(_, count)| *count > 0);
    let each: Vec<_> = each.map(|(why, count)| format!("{why} {count}")).collect();
    each.join(", ")
}

async fn list(common: &Common) -> anyhow::Result<()> {
    let routes = routes(common).await?;
    if common.json {
        let all: Vec<_> = routes.iter().map(as_json).collect();
        return output::json(&json!(all));
    }
    let mut table = Table::new([
        ("ROUTE", Align::Left),
        ("LEADS", Align::Left),
        ("REGION", Align::Left),
        ("STATE", Align::Left),
        ("SESSIONS", Align::Right),
        ("UP", Align::Right),
        ("DOWN", Align::Right),
        ("SERVED", Align::Right),
        ("ERRORS", Align::Right),
        ("EXIT", Align::Left),
        ("FAILED", Align::Left),
    ]);
    for of in routes {
        let state = match (&*of.state, &*of.fault, of.resting_until) {
            ("well", "", Some(_)) => "resting".to_owned(),
            (state, "", _) => state.to_owned(),
            (state, fault, _) => format!("{state} ({fault})"),
        };
        let traffic = of.traffic.unwrap_or_default();
        let errors = error_rate(&of).map(|rate| format!("{:.1} %", rate * 100.0));
        let failures = failures(&of);
        table.row([
            of.name,
            of.description,
            of.region,
            state,
            format!("{}/{}", of.sessions, of.capacity),
            output::bytes(traffic.up),
            output::bytes(traffic.down),
            of.served.to_string(),
            errors.unwrap_or_else(|| "-".to_owned()),
            of.exit_ip,
            failures,
        ]);
    }
    output::print(table);
    Ok(())
}

async fn show(one: &One) -> anyhow::Result<()> {
    let routes = routes(&one.common).await?;
    let found = routes.iter().find(|route| route.name == one.name);
    let found = found.ok_or_else(|| fail(FAILED, format!("there is no route `{}`", one.name)))?;
    let told = as_json(found);
    if one.common.json {
        return output::json(&told);
    }
    let mut table = Table::new([("", Align::Left), ("", Align::Left)]);
    for (name, value) in told.as_object().into_iter().flatten() {
        let text = value.as_str().map(str::to_owned);
        table.row([name.clone(), text.unwrap_or_else(|| value.to_string())]);
    }
    output::print(table.to_string().trim_start());
    Ok(())
}

async fn check(one: &One) -> anyhow::Result<ExitCode> {
    let mut node = connect(&one.common.runtime_dir).await?;
    let name = one.name.clone();
    let answer = node.check_route(pb::CheckRouteRequest { name }).await;
    let seen = answer.map_err(refused)?.into_inner();
    let took = seen.took.and_then(|took| Duration::try_from(took).ok());
    let took = took.unwrap_or_default().as_secs_f64();
    let told = json!({
        "works": seen.works,
        "reason": seen.reason,
        "detail": seen.detail,
        "status": seen.status,
        "exit_ip": seen.exit_ip,
        "took_seconds": took,
    });
    let words = if seen.works {
        let exit = match &*seen.exit_ip {
            "" => String::new(),
            ip => format!(", comes out at {ip}"),
        };
        format!("works ({took:.3} s{exit})")
    } else {
        format!("does not work: {} ({})", seen.reason, seen.detail)
    };
    said(&one.common, told, &words)?;
    Ok(if seen.works {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(FAILED)
    })
}

async fn add(file: &PathBuf, common: &Common) -> anyhow::Result<()> {
    let tables = fs::read_to_string(file)
        .map_err(|error| fail(CONFIG, format!("{}: {error}", file.display())))?;
    let mut node = connect(&common.runtime_dir).await?;
    let answer = node.add_routes(pb::AddRoutesRequest { tables }).await;
    let names = answer.map_err(refused)?.into_inner().names;
    said(
        common,
        json!({ "added": names }),
        &format!("added: {}", names.join(", ")),
    )
}

async fn drain(one: &One, back: bool) -> anyhow::Result<()> {
    let mut node = connect(&one.common.runtime_dir).await?;
    let name = one.name.clone();
    let request = pb::DrainRouteRequest { name, back };
    node.drain_route(request).await.map_err(refused)?;
    let words = if back { "in service" } else { "out of service" };
    said(
        &one.common,
        json!({ "route": one.name, "drained": !back }),
        words,
    )
}
