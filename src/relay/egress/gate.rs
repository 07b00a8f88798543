//! The supervisor's gate: what goes up goes only while it is open.

use std::{
    future::poll_fn,
    io,
    task::{Context, Poll},
};

use tokio::sync::watch;

/// Waits until the gate is open.
pub(super) async fn opened(gate: &mut watch::Receiver<bool>) -> io::Result<()> {
    gate.wait_for(|open| *open)
        .await
        .map(drop)
        .map_err(|_gone| nobody_minds_the_gate())
}

/// Whether it is open now.
pub(super) fn is_open(gate: &watch::Receiver<bool>) -> io::Result<bool> {
    // Once nobody minds it, it tells nothing any more.
    let minded = gate.has_changed();
    minded.map_err(|_gone| nobody_minds_the_gate())?;
    Ok(*gate.borrow())
}

/// Does `work` in a time in which the gate is open; not polled while it is shut.
pub(super) async fn held<T>(
    gate: &mut watch::Receiver<bool>,
    mut work: impl FnMut(&mut Context<'_>) -> Poll<io::Result<T>>,
) -> io::Result<T> {
    loop {
        opened(gate).await?;
        tokio::select! {
            biased;
            shut = gate.wait_for(|open| !open) => {
                shut.map(drop).map_err(|_gone| nobody_minds_the_gate())?;
            }
            done = poll_fn(&mut work) => return done,
        }
    }
}

fn nobody_minds_the_gate() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the supervisor is gone")
}
