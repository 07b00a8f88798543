//! Create, connect, goto, release: what a customer waits for, as BrowserArena measures it.
//!
//! ```text
//!   create   POST /v1/sessions?wait=ready         bare: docker create, start, DevTools answers
//!   connect  WebSocket, page found and attached   the same, dialled directly
//!   goto     navigate … DOMContentLoaded          the same, fetched without a proxy
//!   release  DELETE … 204                         bare: the container is removed
//! ```
//!
//! Four subjects take turns, round by round: **raw**, a browser that was started beforehand (what
//! warm sessions are compared with); **bare**, one that is started by Docker alone (what cold ones
//! are compared with); **cold** and **warm** sessions. Every lifecycle has a browser of its own that
//! nobody used before, the baselines too. "Ten at a time" are rounds of ten that begin together; what
//! a round leaves behind is waited for, unmeasured, before the next begins.

mod compare;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::{Context, anyhow};
use futures::future::join_all;
use tokio::time::{Instant, timeout};

use self::compare::{
    BARE, COLD, CONNECT, CREATE, FIRST_PAGE, GOTO, RAW, RELEASE, STAGES, TOTAL, WARM, named,
};
use super::{
    Common, Ground,
    browser::Browser,
    client::Client,
    daemon::Daemon,
    progress,
    report::{Report, Row, Unit},
    stats::Samples,
};

/// One lifecycle that takes longer failed.
const LIMIT: Duration = Duration::from_secs(120);
/// What is told of failures; the count is in the table.
const TOLD: usize = 5;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// How many at a time, each as a row of its own
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "1,10",
          value_parser = clap::value_parser!(u16).range(1..=200))]
    concurrency: Vec<u16>,
    /// Lifecycles per subject and concurrency
    #[arg(long, value_name = "N", default_value_t = 20,
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    count: u32,
    /// Warm instances that the pool keeps; 0 leaves warm sessions out [default: the largest concurrency]
    #[arg(long, value_name = "N")]
    warm: Option<u16>,
    /// Leave cold sessions and their baseline out
    #[arg(long)]
    no_cold: bool,
    #[command(flatten)]
    pub(super) common: Common,
}

/// Who is measured.
enum Subject {
    Raw,
    Bare,
    Cold(Arc<Daemon>),
    Warm(Arc<Daemon>, usize),
}

/// A browser that was started beforehand, or why there is none.
type Ready = Result<Browser, String>;

/// What one subject took, by stage.
type Found = BTreeMap<&'static str, Samples>;

/// Milliseconds per stage of one lifecycle.
type Spans = BTreeMap<&'static str, f64>;

pub(super) async fn measure(args: &Args, ground: &Ground) -> anyhow::Result<Report> {
    let mut report = Report::new("lifecycle", ground.machine.clone());
    let largest = args.concurrency.iter().copied().max().unwrap_or(1);
    let mut subjects = vec![Subject::Raw];
    if !args.no_cold {
        let cold = ground.daemon(largest.into(), 0).await?;
        subjects.extend([Subject::Bare, Subject::Cold(cold)]);
    }
    let warm = usize::from(args.warm.unwrap_or(largest));
    if warm > 0 {
        let daemon = ground.daemon(usize::from(largest) + warm, warm).await?;
        progress(format_args!("until {warm} browsers are parked"));
        daemon.settle(warm).await?;
        subjects.push(Subject::Warm(daemon, warm));
    }
    for at_a_time in &args.concurrency {
        let at_a_time = usize::from(*at_a_time);
        let rounds = usize::try_from(args.count)?.div_ceil(at_a_time);
        let mut found = vec![Found::new(); subjects.len()];
        for round in 1..=rounds {
            progress(format_args!(
                "{at_a_time} at a time, round {round} of {rounds}"
            ));
            let played = play(&subjects, at_a_time, ground, &mut found, &mut report.notes);
            if let Err(error) = played.await {
                // What was measured so far is told all the same.
                report.stopped(format!(
                    "{at_a_time} at a time: stopped in round {round} of {rounds}: {error:#}"
                ));
                break;
            }
        }
        for (subject, found) in subjects.iter().zip(found) {
            let name = subject.named(at_a_time);
            report.rows.extend(STAGES.iter().filter_map(|stage| {
                let samples: &Samples = found.get(stage)?;
                Some(Row {
                    subject: name.clone(),
                    stage,
                    unit: Unit::Millis,
                    summary: samples.summary(),
                    ratio: None,
                })
            }));
        }
        compare::ratios(&mut report, at_a_time);
        compare::goals(&mut report, at_a_time);
    }
    Ok(report)
}

/// One round: every subject once.
async fn play(
    subjects: &[Subject],
    at_a_time: usize,
    ground: &Ground,
    found: &mut [Found],
    notes: &mut Vec<String>,
) -> anyhow::Result<()> {
    for (subject, found) in subjects.iter().zip(found) {
        turn(subject, at_a_time, ground, found, notes).await?;
    }
    Ok(())
}

/// One round of one subject. A lifecycle that fails is counted, and the others go on.
///
/// # Errors
/// When what the round leaves behind does not go.
async fn turn(
    subject: &Subject,
    at_a_time: usize,
    ground: &Ground,
    found: &mut Found,
    notes: &mut Vec<String>,
) -> anyhow::Result<()> {
    let mut failed = |what: &str, error: anyhow::Error| {
        if notes.len() < TOLD {
            notes.push(format!("{} {what}: {error:#}", subject.named(at_a_time)));
        }
    };
    let prepared = subject.prepare(at_a_time, ground).await;
    let lives = prepared.into_iter().map(|prepared| async {
        let lived = timeout(LIMIT, subject.live(prepared.as_ref(), ground)).await;
        let lived = lived.context("a lifecycle did not end within two minutes");
        (lived.and_then(|lived| lived), prepared)
    });
    for (life, prepared) in join_all(lives).await {
        let spans = life.unwrap_or_else(|error| {
            failed("failed", error);
            Spans::new()
        });
        for stage in subject.stages() {
            let samples = found.entry(stage).or_default();
            match spans.get(stage) {
                Some(span) => samples.push(*span),
                None => samples.fail(),
            }
        }
        if let Some(Ok(browser)) = prepared {
            ground.stable.remove(&browser).await?;
        }
    }
    subject.settle().await
}

impl Subject {
    fn named(&self, at_a_time: usize) -> String {
        let kind = match self {
            Self::Raw => RAW,
            Self::Bare => BARE,
            Self::Cold(_) => COLD,
            Self::Warm(..) => WARM,
        };
        named(kind, at_a_time)
    }

    /// What it has to do; the rest is done before the clock starts, or not at all.
    fn stages(&self) -> &'static [&'static str] {
        match self {
            Self::Raw => &[CONNECT, GOTO, FIRST_PAGE],
            Self::Bare | Self::Cold(_) | Self::Warm(..) => &STAGES,
        }
    }

    /// What has to be there before a round: a browser each where nothing else starts one.
    async fn prepare(&self, at_a_time: usize, ground: &Ground) -> Vec<Option<Ready>> {
        match self {
            Self::Raw => {
                let started = join_all((0..at_a_time).map(|_| awake(ground))).await;
                started.into_iter().map(Some).collect()
            }
            Self::Bare | Self::Cold(_) | Self::Warm(..) => (0..at_a_time).map(|_| None).collect(),
        }
    }

    async fn live(&self, prepared: Option<&Ready>, ground: &Ground) -> anyhow::Result<Spans> {
        let mut watch = Watch::start();
        match self {
            Self::Raw => {
                let browser = prepared.context("no browser was prepared")?;
                let browser = browser.as_ref().map_err(|why| anyhow!(why.clone()))?;
                visit_directly(browser, ground, &mut watch).await?;
            }
            Self::Bare => {
                let browser = ground.stable.start().await?;
                watch.stage(CREATE);
                let visited = visit_directly(&browser, ground, &mut watch).await;
                ground.stable.remove(&browser).await?;
                watch.stage(RELEASE);
                visited?;
            }
            Self::Cold(daemon) | Self::Warm(daemon, _) => {
                let session = daemon.create().await?;
                watch.stage(CREATE);
                let visited = async {
                    let stream = daemon.dial().await?;
                    let mut client = Client::open(stream, session.path(), &ground.tasks).await?;
                    let page = client.first_page().await?;
                    watch.stage(CONNECT);
                    client.goto(&page, &ground.page()).await?;
                    watch.stage(GOTO);
                    anyhow::Ok(client)
                };
                let visited = visited.await;
                daemon.delete(&session).await?;
                watch.stage(RELEASE);
                drop(visited?);
            }
        }
        Ok(watch.spans())
    }

    /// Until nothing of the last round is under way any more.
    async fn settle(&self) -> anyhow::Result<()> {
        match self {
            Self::Raw | Self::Bare => Ok(()),
            Self::Cold(daemon) => daemon.settle(0).await,
            Self::Warm(daemon, keep) => daemon.settle(*keep).await,
        }
    }
}

/// A browser that runs and has been spoken to: what a slot of the pool is, too.
async fn awake(ground: &Ground) -> Ready {
    let browser = async {
        let browser = ground.stable.start().await?;
        let stream = browser.dial().await?;
        let client = Client::open(stream, browser.path(), &ground.tasks).await?;
        client.first_page().await?;
        anyhow::Ok(browser)
    };
    browser.await.map_err(|why| format!("{why:#}"))
}

async fn visit_directly(
    browser: &Browser,
    ground: &Ground,
    watch: &mut Watch,
) -> anyhow::Result<()> {
    let stream = browser.dial().await?;
    let mut client = Client::open(stream, browser.path(), &ground.tasks).await?;
    let page = client.first_page().await?;
    watch.stage(CONNECT);
    client.goto(&page, &browser.page()).await?;
    watch.stage(GOTO);
    Ok(())
}

/// Laps of one lifecycle.
struct Watch {
    began: Instant,
    lap: Instant,
    spans: Spans,
}

impl Watch {
    fn start() -> Self {
        let now = Instant::now();
        Self {
            began: now,
            lap: now,
            spans: Spans::new(),
        }
    }

    fn stage(&mut self, name: &'static str) {
        let now = Instant::now();
        self.spans.insert(name, millis(now - self.lap));
        self.lap = now;
    }

    fn spans(mut self) -> Spans {
        let of = |name| self.spans.get(name).copied().unwrap_or_default();
        let first_page = of(CONNECT) + of(GOTO);
        self.spans.insert(FIRST_PAGE, first_page);
        self.spans.insert(TOTAL, millis(self.lap - self.began));
        self.spans
    }
}

fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1000.0
}
