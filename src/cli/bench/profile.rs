//! What supervision costs a page: a session's browser, whose every target is put under its profile
//! before it runs, next to one that nobody supervises.
//!
//! Both are dialled directly, so that neither gateway nor proxy is in the figures, and both load a
//! `data:` page, so that no network is. `new page` is until the new target has evaluated something;
//! `goto` until DOMContentLoaded.

use tokio::time::Instant;

use super::{
    Common, Ground,
    client::Client,
    progress,
    report::{Goal, Report, Sense, Unit},
    stats::Samples,
};
use crate::instance::substrate::chromium::DEVTOOLS;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// Pages that each browser opens
    #[arg(long, value_name = "N", default_value_t = 50,
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pages: u32,
    #[command(flatten)]
    pub(super) common: Common,
}

const STAGES: [&str; 3] = ["new page", "goto", TOTAL];
const TOTAL: &str = "new page + goto";
const PAGE: &str = "data:text/html,<meta name=viewport content='width=device-width'><p>supervised";

pub(super) async fn measure(args: &Args, ground: &Ground) -> anyhow::Result<Report> {
    let mut report = Report::new("profile", ground.machine.clone());
    let daemon = ground.daemon(1, 0).await?;
    let session = daemon.create().await?;
    let (_container, namespace) = daemon.inside(&session).await?;
    let path = namespace.devtools_path().await?;
    let alone = ground.stable.start().await?;
    let mut clients = [
        Client::open(alone.dial().await?, alone.path(), &ground.tasks).await?,
        Client::open(namespace.dial(DEVTOOLS).await?, &path, &ground.tasks).await?,
    ];
    let mut found: [[Samples; 3]; 2] = Default::default();
    for client in &mut clients {
        round(client, &mut Default::default()).await?;
    }
    for number in 0..args.pages {
        if number % 10 == 0 {
            progress(format_args!("page {} of {}", number + 1, args.pages));
        }
        let order = if number % 2 == 0 { [0, 1] } else { [1, 0] };
        for which in order {
            round(&mut clients[which], &mut found[which]).await?;
        }
    }
    drop(clients);
    daemon.delete(&session).await?;
    let [alone, supervised] = found;
    for (index, stage) in STAGES.into_iter().enumerate() {
        let (base, own) = (alone[index].summary(), supervised[index].summary());
        let ratio = report.pair(stage, Unit::Millis, ("alone", base), ("supervised", own));
        if stage == TOTAL {
            report.goals.push(Goal {
                name: "page start under supervision".to_owned(),
                value: ratio,
                limit: 1.05,
                sense: Sense::AtMost,
                unit: "× alone",
            });
        }
    }
    Ok(report)
}

async fn round(client: &mut Client, found: &mut [Samples; 3]) -> anyhow::Result<()> {
    let began = Instant::now();
    let page = client.new_page().await?;
    let opened = began.elapsed();
    client.goto(&page, PAGE).await?;
    let loaded = began.elapsed();
    client.close(page).await?;
    let millis = [opened, loaded - opened, loaded].map(|span| span.as_secs_f64() * 1000.0);
    for (samples, value) in found.iter_mut().zip(millis) {
        samples.push(value);
    }
    Ok(())
}
