//! The node's events as one faithful reader hears them: across every agent, dialled again whenever one
//! goes.

use std::{path::PathBuf, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::time::sleep;

use crate::{
    cli::node,
    runtime::Tasks,
    wire::node::{Session, WatchRequest, event::What, watch_response::Item},
};

const AGAIN: Duration = Duration::from_millis(50);

/// What was heard and not yet taken. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct News(Arc<Mutex<Vec<(u64, Session)>>>);

impl News {
    /// Listens until `tasks` stop.
    pub(super) fn listen(runtime_dir: PathBuf, tasks: &Tasks) -> Self {
        let news = Self::default();
        let heard = news.clone();
        tasks.spawn("news", |stop| async move {
            stop.run_until_cancelled(heard.follow(runtime_dir)).await;
        });
        news
    }

    /// Takes what was heard since the last time.
    pub(super) fn take(&self) -> Vec<(u64, Session)> {
        std::mem::take(&mut *self.0.lock())
    }

    async fn follow(&self, runtime_dir: PathBuf) {
        let mut after_seq = 0;
        loop {
            // An agent that dies ends its stream: the next one is asked for what came after.
            if let Ok(mut node) = node::connect(&runtime_dir).await
                && let Ok(events) = node.watch(asked(after_seq)).await
            {
                let mut events = events.into_inner();
                while let Ok(Some(told)) = events.message().await {
                    match told.item {
                        Some(Item::Event(event)) => {
                            after_seq = event.seq;
                            if let Some(What::Session(session)) = event.what {
                                self.0.lock().push((event.seq, session));
                            }
                        }
                        // Another agent counts from its own number on; it is told from there.
                        Some(Item::Gap(_) | Item::Meters(_)) | None => {}
                    }
                }
            }
            sleep(AGAIN).await;
        }
    }
}

const fn asked(after_seq: u64) -> WatchRequest {
    WatchRequest {
        after_seq,
        without_meters: true,
    }
}
