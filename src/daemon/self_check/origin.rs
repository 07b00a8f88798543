//! What the self-check's page comes from: one small page on this host's loopback, and a count of what
//! went over its connections, for the meter to be compared with.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use crate::runtime::Tasks;

/// A browser that says nothing more has what it wanted.
const SILENCE: Duration = Duration::from_secs(10);
/// No request of a browser for this page is longer.
const HEAD: usize = 16 << 10;

/// A page that is served for as long as this lives.
#[derive(Debug)]
pub(super) struct Origin {
    pub(super) address: SocketAddr,
    counts: Arc<Counts>,
    tasks: Tasks,
}

#[derive(Debug, Default)]
struct Counts {
    received: AtomicU64,
    sent: AtomicU64,
}

impl Origin {
    /// Serves `html` on the loopback address that a connection from `source` can reach.
    pub(super) async fn start(
        source: Option<IpAddr>,
        html: &str,
        tasks: &Tasks,
    ) -> io::Result<Self> {
        let loopback: IpAddr = if source.is_some_and(|source| source.is_ipv6()) {
            Ipv6Addr::LOCALHOST.into()
        } else {
            Ipv4Addr::LOCALHOST.into()
        };
        let listener = TcpListener::bind((loopback, 0)).await?;
        let address = listener.local_addr()?;
        let answer: Arc<str> = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{html}",
            html.len()
        )
        .into();
        let counts = Arc::<Counts>::default();
        let own = tasks.child();
        let (served, serving) = (Arc::clone(&counts), own.clone());
        own.spawn("self-check page", |stop| async move {
            while let Some(Ok((stream, _browser))) =
                stop.run_until_cancelled(listener.accept()).await
            {
                let (answer, counts) = (Arc::clone(&answer), Arc::clone(&served));
                serving.spawn("self-check page", |stop| async move {
                    let served = timeout(SILENCE, serve(stream, &answer, &counts));
                    if let Some(Ok(Err(error))) = stop.run_until_cancelled(served).await {
                        tracing::debug!(%error, "the self-check's page was not taken");
                    }
                });
            }
        });
        Ok(Self {
            address,
            counts,
            tasks: own,
        })
    }

    /// Bytes that browsers sent here, and were sent from here.
    pub(super) fn seen(&self) -> (u64, u64) {
        (
            self.counts.received.load(Ordering::Relaxed),
            self.counts.sent.load(Ordering::Relaxed),
        )
    }

    /// Serves no more.
    pub(super) async fn stop(self) {
        if let Err(stuck) = self.tasks.drain(SILENCE).await {
            tracing::debug!(%stuck, "the self-check's page was cut");
        }
    }
}

/// Answers whatever is asked, once, and reads to the end: both counts are whole then.
async fn serve(mut stream: TcpStream, answer: &str, counts: &Counts) -> io::Result<()> {
    let mut head = Vec::with_capacity(HEAD);
    while !head.ends_with(b"\r\n\r\n") {
        let read = stream.read_buf(&mut head).await?;
        counts.received.fetch_add(read as u64, Ordering::Relaxed);
        if read == 0 || head.len() > HEAD {
            return Ok(());
        }
    }
    stream.write_all(answer.as_bytes()).await?;
    counts
        .sent
        .fetch_add(answer.len() as u64, Ordering::Relaxed);
    stream.shutdown().await?;
    while stream.read(&mut [0; 512]).await? > 0 {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn both_directions_are_counted_to_the_byte() {
        let tasks = Tasks::default();
        let origin = Origin::start(None, "<h1>x</h1>", &tasks).await.unwrap();
        let mut browser = TcpStream::connect(origin.address).await.unwrap();
        let asked = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
        browser.write_all(asked).await.unwrap();
        let mut answer = String::new();
        browser.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("\r\n\r\n<h1>x</h1>"), "{answer}");
        assert_eq!(origin.seen(), (asked.len() as u64, answer.len() as u64));
        drop(browser);
        let address = origin.address;
        origin.stop().await;
        TcpStream::connect(address).await.unwrap_err();
    }
}
