//! Many sessions, one after the other and some at a time: are the daemons what they were before?

use std::sync::Arc;

use futures::{StreamExt, stream};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    super::{
        Common, Ground,
        daemon::Daemon,
        progress,
        report::{Report, Unit},
        stats::Samples,
    },
    feet::Feet,
};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// Sessions in all: one half one after the other, one half some at a time
    #[arg(long, value_name = "N", default_value_t = 500,
          value_parser = clap::value_parser!(u32).range(2..=100_000))]
    count: u32,
    /// How many at a time
    #[arg(long, value_name = "N", default_value_t = 20,
          value_parser = clap::value_parser!(u32).range(1..=200))]
    at_once: u32,
    #[command(flatten)]
    pub(in crate::cli::bench) common: Common,
}

pub(in crate::cli::bench) async fn measure(args: &Args, ground: &Ground) -> anyhow::Result<Report> {
    let mut report = Report::new("soak", ground.machine.clone());
    let daemon = ground.daemon(0, 0).await?;
    // What is made with the first sessions and kept is no leak.
    round(&daemon, args.at_once, args.at_once).await;
    daemon.settle(0).await?;
    let before = Feet::of(&daemon).await?;
    report.notes.push(format!("before: {}", before.text()));
    let half = args.count / 2;
    for (subject, at_once, count) in [
        ("one at a time", 1, half),
        ("many at a time", args.at_once, args.count - half),
    ] {
        progress(format_args!("{count} sessions, {at_once} at a time"));
        let took = round(&daemon, count, at_once).await;
        daemon.settle(0).await?;
        report.row(subject, "create + delete", Unit::Millis, took.summary());
        let now = Feet::of(&daemon).await?;
        report.notes.push(format!(
            "after {count}, {at_once} at a time: {}",
            now.text()
        ));
        let grown = now.grown_since(before);
        anyhow::ensure!(grown.is_empty(), "something is left: {}", grown.join("; "));
    }
    Ok(report)
}

async fn round(daemon: &Arc<Daemon>, count: u32, at_once: u32) -> Samples {
    let took = Mutex::new(Samples::default());
    let took_ref = &took;
    stream::iter(0..count)
        .for_each_concurrent(usize::try_from(at_once).ok(), |_| async move {
            let began = Instant::now();
            let lived = async {
                let session = daemon.create().await?;
                daemon.delete(&session).await
            };
            match lived.await {
                Ok(()) => took_ref.lock().push(began.elapsed().as_secs_f64() * 1e3),
                Err(error) => {
                    progress(format_args!("a session failed: {error}"));
                    took_ref.lock().fail();
                }
            }
        })
        .await;
    took.into_inner()
}
