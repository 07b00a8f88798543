//! The egress proxy next to none, and next to others: the same server, through a session's proxy, through
//! those that are named by `--peer`, and directly.
//!
//! The client stands where the browser stands: its sockets to the proxy are made inside the
//! session's namespace. The direct connections are made outside, where the server is. All of them are
//! on the same machine, and a proxied byte crosses loopback twice: half the direct throughput is
//! what the fastest proxy could reach where processors are scarce.
//!
//! | stage | what is done |
//! |---|---|
//! | bulk, 1 connection | one answer of many mebibytes |
//! | bulk, 64 connections | the same amount in 64 answers at once |
//! | new connection | dialled, one byte answered, closed; one after the other |
//! | new connections, 64 at once | the same by 64 clients, how many a second |
//! | CPU per GiB, per new connection | what of its cores' time the proxy took for the same work, all its threads together |
//! | idle tunnel | memory of the proxy's own for each of many that stand and say nothing |
//!
//! Every way but the direct one has the goals of the proxy: ahead of each peer, so many new tunnels a
//! second, so little memory for one that is idle.

mod peers;
mod road;

use std::{fs, net::SocketAddr, time::Duration};

use anyhow::Context;
use nix::{time::clock_getcpuclockid, unistd::Pid};

use self::{
    peers::{Peer, Software},
    road::Road,
};
use super::{
    Common, Ground, progress,
    report::{Goal, Report, Row, Sense, Unit},
    stats::{Samples, Summary},
};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// Rounds: in each all ways carry everything once
    #[arg(long, value_name = "N", default_value_t = 10,
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rounds: u32,
    /// MiB per bulk transfer
    #[arg(long, value_name = "MIB", default_value_t = 256,
          value_parser = clap::value_parser!(u32).range(1..=65_536))]
    mib: u32,
    /// Other proxies of this machine to measure as well
    #[arg(long = "peer", value_enum, value_delimiter = ',')]
    peers: Vec<Software>,
    #[command(flatten)]
    pub(super) common: Common,
}

/// What is done in each round, in this order.
const STAGES: [(&str, Unit); 7] = [
    ("bulk, 1 connection", Unit::MebibytesPerSecond),
    ("bulk, 64 connections", Unit::MebibytesPerSecond),
    ("new connection", Unit::Micros),
    ("new connections, 64 at once", Unit::PerSecond),
    ("CPU per GiB, 1 connection", Unit::Millis),
    ("CPU per new connection", Unit::Micros),
    ("CPU per new connection, 64 at once", Unit::Micros),
];
/// KiB for one of them are MiB for 1,024.
const IDLE_TUNNEL: &str = "idle tunnel";
/// The figures of one way, by stage.
type Found = [Samples; STAGES.len()];

/// How the server is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Direct,
    Connect,
    Plain,
    Peer(Software, SocketAddr),
}

pub(super) async fn measure(args: &Args, ground: &Ground) -> anyhow::Result<Report> {
    let mut report = Report::new("egress", ground.machine.clone());
    let daemon = ground.daemon(1, 0).await?;
    let session = daemon.create().await?;
    let (_pid, namespace) = daemon.inside(&session).await?;
    let road = Road {
        origin: ground.origin,
        namespace: &namespace,
    };
    let mut peers = Vec::new();
    for software in &args.peers {
        peers.push(Peer::start(*software, ground.origin).await?);
    }
    let mut ways = vec![Way::Direct, Way::Connect, Way::Plain];
    ways.extend(
        peers
            .iter()
            .map(|peer| Way::Peer(peer.software, peer.address)),
    );
    // First: memory that was needed for something else before would hide what tunnels take.
    let [_agent, relay] = daemon.pids().await?;
    let of_ours = [None, Some(relay), Some(relay)];
    let of_peers = peers.iter().map(|peer| Some(peer.pid()));
    let pids: Vec<Option<u32>> = of_ours.into_iter().chain(of_peers).collect();
    let mut idle = Vec::new();
    for (way, pid) in ways.iter().zip(&pids) {
        let Some(pid) = pid.filter(|_| way.is_tunnel()) else {
            continue;
        };
        progress(format_args!("idle tunnels, {}", way.as_str()));
        let memory: Samples = [road.idle(*way, pid).await?].into_iter().collect();
        idle.push((*way, memory.summary()));
    }
    let mut found: Vec<Found> = ways.iter().map(|_way| Default::default()).collect();
    for number in 0..args.rounds {
        progress(format_args!("round {} of {}", number + 1, args.rounds));
        for turn in 0..ways.len() {
            // Who goes first changes.
            let which = (turn + usize::try_from(number)?) % ways.len();
            let way = (ways[which], pids[which]);
            road.round(way, args.mib, &mut found[which]).await?;
        }
    }
    daemon.delete(&session).await?;
    for (index, (stage, unit)) in STAGES.into_iter().enumerate() {
        let of = |found: &Found| found[index].summary();
        let summaries: Vec<_> = ways.iter().copied().zip(found.iter().map(of)).collect();
        tell(&mut report, (stage, unit), &summaries);
    }
    for (way, summary) in idle {
        report.row(way.as_str(), IDLE_TUNNEL, Unit::Kibibytes, summary);
        if way == Way::Connect {
            report.goals.push(Goal {
                name: IDLE_TUNNEL.to_owned(),
                value: summary.p50,
                limit: 4.0,
                sense: Sense::AtMost,
                unit: "KiB",
            });
        }
    }
    Ok(report)
}

/// The rows of one stage next to the direct way, which is the first, and the goals of a tunnel in it.
fn tell(report: &mut Report, (stage, unit): (&'static str, Unit), found: &[(Way, Summary)]) {
    let base = found[0].1;
    let ratio = |summary: &Summary| summary.ratio_to(&base);
    for (way, summary) in found.iter().filter(|(_, summary)| summary.count > 0) {
        report.rows.push(Row {
            subject: way.as_str().to_owned(),
            stage,
            unit,
            summary: *summary,
            ratio: ratio(summary).filter(|_| *way != Way::Direct),
        });
    }
    let tunnel = found.iter().find(|(way, _)| *way == Way::Connect);
    let tunnel = tunnel.map(|(_, summary)| summary);
    let mut goal = |name, value, limit, unit| {
        report.goals.push(Goal {
            name,
            value,
            limit,
            sense: Sense::AtLeast,
            unit,
        });
    };
    if unit == Unit::PerSecond {
        let value = tunnel.and_then(ratio);
        goal(stage.to_owned(), value, 0.8, "× direct");
    }
    if unit == Unit::MebibytesPerSecond {
        for (way, peer) in found {
            if let Way::Peer(software, _) = way {
                let value = tunnel.and_then(|own| own.ratio_to(peer));
                let name = format!("{stage}, next to {}", software.as_str());
                goal(name, value, 1.0, "× its");
            }
        }
    }
}

/// Memory that is a process's own, KiB.
fn own_memory(pid: u32) -> anyhow::Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let count = line.and_then(|line| line.split_ascii_whitespace().next());
    Ok(count.context("no RssAnon")?.parse()?)
}

/// Time that a process has had of any core, seconds, threads that have ended included
/// (clock_getcpuclockid(3)).
fn cpu_time(pid: u32) -> anyhow::Result<f64> {
    let clock = clock_getcpuclockid(Pid::from_raw(pid.try_into()?))?;
    Ok(Duration::from(clock.now()?).as_secs_f64())
}

impl Way {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Connect => "CONNECT",
            Self::Plain => "plain HTTP",
            Self::Peer(software, _) => software.as_str(),
        }
    }

    /// Whether it is asked for tunnels, and tells what one costs.
    const fn is_tunnel(self) -> bool {
        match self {
            Self::Connect | Self::Peer(..) => true,
            Self::Direct | Self::Plain => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::bench::machine::Machine;

    #[test]
    fn a_tunnel_is_held_against_no_proxy_and_against_every_peer() {
        let of = |value: f64| [value].into_iter().collect::<Samples>().summary();
        let peer = Way::Peer(Software::Squid, ([127, 0, 0, 1], 3128).into());
        let found = [
            (Way::Direct, of(100.0)),
            (Way::Connect, of(60.0)),
            (Way::Plain, of(50.0)),
            (peer, of(30.0)),
        ];
        let mut report = Report::new("egress", Machine::default());
        for stage in STAGES {
            tell(&mut report, stage, &found);
        }
        let ratios = report.rows.iter().map(|row| row.ratio);
        let expected = [None, Some(0.6), Some(0.5), Some(0.3)].repeat(STAGES.len());
        assert_eq!(ratios.collect::<Vec<_>>(), expected);
        let goals = report.goals.iter().map(|goal| (goal.value, goal.met()));
        let expected = [
            (Some(2.0), Some(true)),
            (Some(2.0), Some(true)),
            (Some(0.6), Some(false)),
        ];
        assert_eq!(goals.collect::<Vec<_>>(), expected);
    }
}
