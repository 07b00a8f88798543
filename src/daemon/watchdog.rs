//! systemd's watchdog, fed only while everything moves that must.
//!
//! That this task runs says that the reactor does; the node says it of its journal and its rounds. A
//! process that is stopped, or stuck, is replaced by systemd, and the next one adopts what lives.

use sd_notify::NotifyState;
use tracing::{info, warn};

use crate::{
    node::Node,
    runtime::{
        Tasks,
        systemd::{self, notify},
    },
};

/// Looks four times in the time that systemd waits; what is late by half of it has stalled.
pub(super) fn start(node: &Node, tasks: &Tasks) {
    let Some(limit) = systemd::watchdog() else {
        return;
    };
    let node = node.clone();
    tasks.spawn("watchdog", move |stop| async move {
        let mut tick = tokio::time::interval(limit / 4);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut stalled = None;
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = stop.cancelled() => return,
            }
            match node.moves(limit / 2).await {
                Ok(()) => {
                    if stalled.take().is_some() {
                        info!("everything moves again: the watchdog is fed");
                    }
                    notify(&[NotifyState::Watchdog]);
                }
                Err(now) => {
                    if stalled.is_none() {
                        warn!(%now, "the watchdog is not fed");
                    }
                    stalled = Some(now);
                }
            }
        }
    });
}
