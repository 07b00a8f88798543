//! The gateway next to a direct connection: the same browser, the same page, the same client, once
//! through the gateway and once over a socket made inside the container.
//!
//! | stage | what is sent |
//! |---|---|
//! | round trip | one small `Runtime.evaluate` after the other |
//! | pipelined | many small ones at once; messages per second |
//! | large answers | evaluations that answer with 1 MiB each |
//! | large commands | evaluations of 1 MiB of text each |
//!
//! A third connection goes through a [`copier`]: what it costs more than the direct one is what any relay
//! costs that stands between the two. All take turns, and who goes first rotates.

use tokio::time::Instant;

use super::{
    Common, Ground,
    channel::{Channel, Script},
    copier, progress,
    report::{Goal, Report, Sense, Unit},
    stats::Samples,
};
use crate::instance::substrate::chromium;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// Rounds: in each both connections do everything once
    #[arg(long, value_name = "N", default_value_t = 30,
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rounds: u32,
    /// Round trips per round
    #[arg(long, value_name = "N", default_value_t = 100,
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    round_trips: u32,
    /// Small messages at once, per round; 0 leaves this out
    #[arg(long, value_name = "N", default_value_t = 250,
          value_parser = clap::value_parser!(u32).range(..=100_000))]
    pipelined: u32,
    /// Answers of a mebibyte each, and as many commands, per round; 0 leaves this out
    #[arg(long, value_name = "N", default_value_t = 8,
          value_parser = clap::value_parser!(u32).range(..=10_000))]
    large: u32,
    #[command(flatten)]
    pub(super) common: Common,
}

const DIRECT: &str = "direct";
const COPIED: &str = "bare copy";
const GATEWAY: &str = "gateway";
const ROUND_TRIP: &str = "round trip";
const STAGES: [(&str, Unit); 4] = [
    (ROUND_TRIP, Unit::Micros),
    (PIPELINED, Unit::PerSecond),
    (ANSWERS, Unit::MebibytesPerSecond),
    (COMMANDS, Unit::MebibytesPerSecond),
];
const PIPELINED: &str = "pipelined";
const ANSWERS: &str = "large answers";
const COMMANDS: &str = "large commands";

const MEBIBYTE: usize = 1 << 20;

struct Scripts {
    small: Script,
    answer: Script,
    command: Script,
}

pub(super) async fn measure(args: &Args, ground: &Ground) -> anyhow::Result<Report> {
    let mut report = Report::new("cdp", ground.machine.clone());
    let daemon = ground.daemon(1, 0).await?;
    let session = daemon.create().await?;
    let (_container, namespace) = daemon.inside(&session).await?;
    let path = namespace.devtools_path().await?;
    let direct = || namespace.dial(chromium::DEVTOOLS);
    let mut channels = [
        Channel::open(direct().await?, &path).await?,
        Channel::open(copier::before(direct().await?).await?, &path).await?,
        Channel::open(daemon.dial().await?, session.path()).await?,
    ];
    let scripts = Scripts {
        small: Script::new("1"),
        answer: Script::new(&format!("'x'.repeat({MEBIBYTE})")),
        command: Script::new(&format!("'{}'.length", "x".repeat(MEBIBYTE))),
    };
    let mut found: [[Samples; 4]; 3] = Default::default();
    // Caches, and the page's own just-in-time compiler.
    for channel in &mut channels {
        round(channel, &scripts, args, &mut Default::default()).await?;
    }
    for number in 0..args.rounds {
        if number % 10 == 0 {
            progress(format_args!("round {} of {}", number + 1, args.rounds));
        }
        for turn in 0..channels.len() {
            let which = (number as usize + turn) % channels.len();
            let (channel, found) = (&mut channels[which], &mut found[which]);
            round(channel, &scripts, args, found).await?;
        }
    }
    daemon.delete(&session).await?;
    tell(&mut report, &found);
    Ok(report)
}

async fn round(
    channel: &mut Channel,
    scripts: &Scripts,
    args: &Args,
    found: &mut [Samples; 4],
) -> anyhow::Result<()> {
    let [trips, pipelined, answers, commands] = found;
    for _ in 0..args.round_trips {
        let began = Instant::now();
        channel.evaluate(&scripts.small, 1).await?;
        trips.push(began.elapsed().as_secs_f64() * 1e6);
    }
    if args.pipelined > 0 {
        pipelined.push(rate(channel, &scripts.small, args.pipelined).await?);
    }
    if args.large > 0 {
        answers.push(rate(channel, &scripts.answer, args.large).await?);
        commands.push(rate(channel, &scripts.command, args.large).await?);
    }
    Ok(())
}

/// Evaluations a second, `count` of them at once.
async fn rate(channel: &mut Channel, script: &Script, count: u32) -> anyhow::Result<f64> {
    let began = Instant::now();
    channel.evaluate(script, count.into()).await?;
    Ok(f64::from(count) / began.elapsed().as_secs_f64())
}

fn tell(report: &mut Report, found: &[[Samples; 4]; 3]) {
    let [direct, copied, gateway] = found;
    for (index, (stage, unit)) in STAGES.into_iter().enumerate() {
        let (base, own) = (direct[index].summary(), gateway[index].summary());
        if base.count == 0 {
            continue;
        }
        report.pair(
            stage,
            unit,
            (DIRECT, base),
            (COPIED, copied[index].summary()),
        );
        let ratio = report.beside(stage, unit, &base, (GATEWAY, own));
        report.goals.push(if stage == ROUND_TRIP {
            Goal {
                name: "round trip, p50, more than direct".to_owned(),
                value: own.p50.zip(base.p50).map(|(own, base)| own - base),
                limit: 60.0,
                sense: Sense::AtMost,
                unit: "µs",
            }
        } else {
            Goal {
                name: stage.to_owned(),
                value: ratio,
                limit: 0.9,
                sense: Sense::AtLeast,
                unit: "× direct",
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::bench::machine::Machine;

    #[test]
    fn what_the_gateway_adds_is_a_difference_and_what_it_carries_a_ratio() {
        let of = |values: [f64; 4]| values.map(|value| [value].into_iter().collect::<Samples>());
        let found = [
            of([100.0, 50.0, 10.0, 10.0]),
            of([140.0, 45.0, 9.9, 9.0]),
            of([150.0, 40.0, 9.5, 5.0]),
        ];
        let mut report = Report::new("cdp", Machine::default());
        tell(&mut report, &found);
        let goals: Vec<_> = report
            .goals
            .iter()
            .map(|goal| (goal.value, goal.met()))
            .collect();
        assert_eq!(goals[0], (Some(50.0), Some(true)));
        assert_eq!(goals[1], (Some(0.8), Some(false)));
        assert_eq!(goals[2], (Some(0.95), Some(true)));
        assert_eq!(goals[3], (Some(0.5), Some(false)));
    }
}
