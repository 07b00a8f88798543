//! Two connections where one would do: whoever is lost is replaced while the other holds.

use std::{mem, sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{
    kit::Kit,
    link::{Link, Standing},
};
use crate::{
    cdp::{CdpError, Connection},
    relay::DevTools,
    runtime::Tasks,
};

/// Connections that hold the same overrides.
const PAIR: usize = 2;
/// A lost connection is opened again at once; while that fails, and before one that was lost as soon
/// as it held: the first pause, doubled up to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LAST_PAUSE: Duration = Duration::from_secs(1);

/// What both connections amount to.
#[derive(Debug)]
pub(super) struct Pair {
    standing: watch::Sender<[Standing; PAIR]>,
    gate: watch::Sender<bool>,
    /// Counts the orders to assert everything once more.
    again: watch::Sender<u64>,
}

/// Opens the pair at `path`; it is kept until `tasks` stop.
pub(super) fn open(
    devtools: &Arc<DevTools>,
    kit: &Arc<Kit>,
    path: &str,
    tasks: &Tasks,
) -> Arc<Pair> {
    let pair = Arc::new(Pair {
        standing: watch::Sender::new([Standing::default(); PAIR]),
        gate: watch::Sender::new(false),
        again: watch::Sender::new(0),
    });
    for at in 0..PAIR {
        let post = Post {
            at,
            pair: Arc::clone(&pair),
            devtools: Arc::clone(devtools),
            kit: Arc::clone(kit),
            path: path.to_owned(),
            tasks: tasks.clone(),
        };
        tasks.spawn("supervisor", |stop| post.hold(stop));
    }
    pair
}

impl Pair {
    pub(super) fn gate(&self) -> watch::Receiver<bool> {
        self.gate.subscribe()
    }

    pub(super) fn holding(&self) -> u32 {
        let standing = self.standing.borrow();
        standing.iter().map(|one| u32::from(one.holds)).sum()
    }

    pub(super) fn has_page(&self) -> bool {
        let standing = self.standing.borrow();
        standing.iter().any(|one| one.holds && one.pages > 0)
    }

    /// Returns once both hold and a page is open.
    pub(super) async fn all_hold(&self) {
        let all_hold = |all: &[Standing; PAIR]| all.iter().all(|one| one.holds && one.pages > 0);
        // Its sender is in `self`: waiting ends with what is waited for.
        drop(self.standing.subscribe().wait_for(all_hold).await);
    }

    pub(super) fn assert_again(&self) {
        self.again.send_modify(|count| *count += 1);
    }

    /// The same; returns once a connection that holds has carried it out.
    pub(super) async fn assert_now(&self) {
        let mut standing = self.standing.subscribe();
        let mut order = 0;
        self.again.send_modify(|count| {
            *count += 1;
            order = *count;
        });
        let done =
            |all: &[Standing; PAIR]| all.iter().any(|one| one.holds && one.asserted >= order);
        // Its sender is in `self`: waiting ends with what is waited for.
        drop(standing.wait_for(done).await);
    }

    fn report(&self, at: usize, new: Standing) {
        self.standing.send_if_modified(|all| {
            let changed = all[at] != new;
            all[at] = new;
            // Under the same lock, or two reports at once could leave the gate with the older truth.
            let held = all.iter().any(|one| one.holds);
            self.gate
                .send_if_modified(|gate| mem::replace(gate, held) != held);
            changed
        });
    }
}

/// One place in the pair: whoever stands there is replaced when lost.
#[derive(Debug)]
struct Post {
    at: usize,
    pair: Arc<Pair>,
    devtools: Arc<DevTools>,
    kit: Arc<Kit>,
    path: String,
    tasks: Tasks,
}

impl Post {
    async fn hold(self, stop: CancellationToken) {
        // The first of the pair opens the browser's first page, once.
        let mut opens_page = self.at == 0;
        let mut pause = FIRST_PAUSE;
        loop {
            let opened = Instant::now();
            let ended = tokio::select! {
                ended = self.stand(opens_page) => ended,
                () = stop.cancelled() => Ok(()),
            };
            let held = self.pair.standing.borrow()[self.at].holds;
            self.pair.report(self.at, Standing::default());
            match ended {
                Ok(()) => return,
                Err(error) if held => warn!(post = self.at, %error, "supervisor connection lost"),
                Err(error) => debug!(post = self.at, %error, "supervisor connection not opened"),
            }
            if held {
                // Of some overrides a browser takes only one connection's, which may have been this one.
                self.pair.assert_again();
            }
            opens_page &= !held;
            // It took its place: whatever cut it says nothing of how the next one will fare.
            if held {
                pause = FIRST_PAUSE;
                if opened.elapsed() > FIRST_PAUSE {
                    continue;
                }
            }
            tokio::select! {
                () = sleep(pause) => {}
                () = stop.cancelled() => return,
            }
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    async fn stand(&self, opens_page: bool) -> Result<(), CdpError> {
        let stream = self.devtools.connect().await?;
        let (connection, events) = Connection::open(stream, &self.path, &self.tasks).await?;
        let link = Link::new(connection, Arc::clone(&self.kit), opens_page);
        let report = |standing| self.pair.report(self.at, standing);
        link.run(events, self.pair.again.subscribe(), report).await
    }
}
