//! One request in absolute form and its response.
//!
//! ```text
//!   client ── head ─▶ rewritten ─▶ origin        body ═══════▶ as it is
//!   client ◀─ rewritten ── head ── origin        ◀═══════ body as it is
//! ```
//!
//! Body and response move at the same time: an origin may answer before it has heard all. The
//! connection to the origin is kept for the client's next request to the same authority. When a
//! kept connection turns out to be dead before anything was answered, the client's is closed
//! without a word: that is what a browser knows from its own idle connections, and it asks again.

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use tokio::{net::tcp::OwnedWriteHalf, time::timeout};

use super::{
    conn::{Client, Next, Stop},
    fields::Connection,
    framing::{self, Framing},
    head::{Request, Response, Target},
    leg::Down,
    outer::Outer,
    refusal::{Reason, Refusal},
    shared::{Link, Shared},
    source::{Body, Interrupted, NoHead, Sink, Source},
};
use crate::model::Form;

/// From the end of the request to the head of its response.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(300);
/// After the response the rest of the request may take this long.
const REST_TIMEOUT: Duration = Duration::from_secs(5);
/// Interim responses to one request.
const MAX_INTERIM: usize = 16;

/// How a request ended.
enum Outcome {
    /// With a response; may the connections be used again?
    Answered { client: bool, origin: bool },
    /// With an agreement to speak something else.
    Switched,
    /// With a reused connection that was dead.
    Stale,
}

/// Serves one request.
pub(super) async fn exchange(
    client: &mut Client,
    kept: &mut Option<Link>,
    shared: &Shared,
    request: Request,
) -> Result<Next, Stop> {
    shared.admit()?;
    let to = request.target.authority();
    let mut reusable = kept.take();
    if let Some(link) = &mut reusable
        && !shared.suits(link, to).await
    {
        reusable = None;
    }
    let reused = reusable.is_some();
    let mut link = match reusable {
        Some(link) => link,
        None => shared.dial(to, Form::Plain).await?,
    };
    match forward(client, &mut link.outer, &request, reused).await? {
        Outcome::Stale => Ok(Next::Close),
        Outcome::Switched => Ok(Next::Tunnel(Box::new(link.outer))),
        Outcome::Answered { client, origin } => {
            *kept = origin.then_some(link);
            Ok(if client { Next::Again } else { Next::Close })
        }
    }
}

async fn forward(
    client: &mut Client,
    outer: &mut Outer,
    request: &Request,
    reused: bool,
) -> Result<Outcome, Stop> {
    let head = request_head(request);
    let sending = pin!(async {
        let sent = outer.up.put(&head).await;
        sent.map_err(|_broken| Interrupted::Sink)?;
        let body = Body::new(request.framing);
        body.carry(&mut client.up, &mut outer.up).await
    });
    let mut upload = Upload::new(sending);
    let mut answer = Answer {
        request,
        origin: &mut outer.down,
        client: &mut client.down,
    };
    for _ in 0..=MAX_INTERIM {
        let response = match answer.head(&mut upload).await? {
            Some(response) => response,
            None if reused => return Ok(Outcome::Stale),
            None => return Err(bad_response("closed without a response")),
        };
        match response.status {
            101 if request.upgrades() => {
                upload.finish().await?;
                answer.relay(&response, Some(Connection::Upgrade)).await?;
                return Ok(Outcome::Switched);
            }
            101 => return Err(bad_response("an upgrade that nobody asked for")),
            100..200 => answer.relay(&response, None).await?,
            // Taken for the proxy's own question, it would make the browser ask its user.
            407 => return Err(bad_response("an origin that asks as a proxy does")),
            _ => return answer.deliver(&mut upload, &response).await,
        }
    }
    Err(bad_response("too many interim responses"))
}

/// The way down of one exchange.
struct Answer<'a> {
    request: &'a Request,
    origin: &'a mut Source<Down>,
    client: &'a mut OwnedWriteHalf,
}

impl Answer<'_> {
    /// The next head of the origin while the request is still on its way; `None` when the
    /// connection ended with nothing.
    async fn head<F: Sending>(
        &mut self,
        upload: &mut Upload<'_, F>,
    ) -> Result<Option<Response>, Stop> {
        let mut early = None;
        if upload.is_running() {
            tokio::select! {
                biased;
                sent = upload.finish() => sent?,
                head = self.origin.head() => early = Some(head),
            }
        }
        let head = match early {
            Some(head) => head,
            None => timeout(RESPONSE_TIMEOUT, self.origin.head())
                .await
                .map_err(|_late| Refusal::new(Reason::ResponseTimeout, "no response"))?,
        };
        match head {
            Ok(head) => {
                let response = Response::parse(&head).map_err(|what| bad_response(what.0))?;
                Ok(Some(response))
            }
            Err(NoHead::Gone) if self.origin.buffered().is_empty() => Ok(None),
            Err(NoHead::Gone) => Err(bad_response("closed within a head")),
            Err(NoHead::Refused(refusal)) => {
                Err(Refusal::new(Reason::BadResponse, refusal.detail).into())
            }
        }
    }

    /// Passes a head on to the client.
    async fn relay(
        &mut self,
        response: &Response,
        connection: Option<Connection>,
    ) -> Result<(), Stop> {
        let told = self.client.put(&response_head(response, connection)).await;
        told.map_err(|_gone| Stop::Broken)
    }

    /// Passes the final response on, while the request may still be on its way.
    async fn deliver<F: Sending>(
        &mut self,
        upload: &mut Upload<'_, F>,
        response: &Response,
    ) -> Result<Outcome, Stop> {
        let framing = framing::of_response(
            &response.fields,
            response.version,
            response.status,
            self.request.is_head(),
        )
        .map_err(|what| bad_response(what.0))?;
        let open_ended = framing == Framing::UntilClose;
        let last = open_ended || upload.is_running() || self.request.closes();
        let begun = AtomicBool::new(false);
        let carrying = async {
            let connection = if last {
                Connection::Close
            } else {
                Connection::KeepAlive
            };
            let head = response_head(response, Some(connection));
            begun.store(true, Ordering::Relaxed);
            let told = self.client.put(&head).await;
            told.map_err(|_gone| Interrupted::Sink)?;
            Body::new(framing).carry(self.origin, self.client).await
        };
        let carried = match upload.beside(carrying).await {
            Ok(carried) => carried,
            // The response has begun: nothing can be refused any more.
            Err(_any) if begun.load(Ordering::Relaxed) => return Err(Stop::Broken),
            Err(stop) => return Err(stop),
        };
        match carried {
            Ok(()) => {}
            // The client shall see it end where the origin ended it.
            Err(Interrupted::Truncated) => {
                return Ok(Outcome::Answered {
                    client: false,
                    origin: false,
                });
            }
            Err(Interrupted::Source | Interrupted::Malformed(_) | Interrupted::Sink) => {
                return Err(Stop::Broken);
            }
        }
        if upload.is_running() {
            drop(timeout(REST_TIMEOUT, upload.finish()).await);
        }
        Ok(Outcome::Answered {
            client: !last,
            origin: !open_ended && upload.is_sent() && response.keeps_alive(),
        })
    }
}

trait Sending: Future<Output = Result<(), Interrupted>> {}
impl<F: Future<Output = Result<(), Interrupted>>> Sending for F {}

/// The way up of one exchange.
struct Upload<'a, F> {
    sending: Pin<&'a mut F>,
    /// How it ended: whether the origin heard all of it.
    ended: Option<bool>,
}

impl<'a, F: Sending> Upload<'a, F> {
    const fn new(sending: Pin<&'a mut F>) -> Self {
        Self {
            sending,
            ended: None,
        }
    }

    const fn is_running(&self) -> bool {
        self.ended.is_none()
    }

    fn is_sent(&self) -> bool {
        self.ended == Some(true)
    }

    /// Sends the rest. An origin that stops listening is no error: its response may be on the way.
    /// Cancel-safe.
    async fn finish(&mut self) -> Result<(), Stop> {
        if !self.is_running() {
            return Ok(());
        }
        let sent = self.sending.as_mut().await;
        self.ended = Some(sent.is_ok());
        match sent {
            Ok(()) | Err(Interrupted::Sink) => Ok(()),
            Err(Interrupted::Source | Interrupted::Truncated) => Err(Stop::Broken),
            Err(Interrupted::Malformed(what)) => Err(Refusal::from(what).into()),
        }
    }

    /// Waits for something else while sending goes on.
    async fn beside<T>(&mut self, other: impl Future<Output = T>) -> Result<T, Stop> {
        let mut other = pin!(other);
        while self.is_running() {
            tokio::select! {
                done = &mut other => return Ok(done),
                sent = self.finish() => sent?,
            }
        }
        Ok(other.await)
    }
}

fn bad_response(what: &'static str) -> Stop {
    Refusal::new(Reason::BadResponse, what).into()
}

/// The head for the origin. We say for ourselves whether the connection goes on; a browser that
/// spoke to the origin directly would say it at the same place.
fn request_head(request: &Request) -> Vec<u8> {
    let Target::Plain { host, path, .. } = &request.target else {
        return Vec::new();
    };
    let mut out = Vec::with_capacity(1024);
    for part in [&request.method[..], b" ", path, b" HTTP/1.1\r\n"] {
        out.extend_from_slice(part);
    }
    let connection = if request.upgrades() {
        Connection::Upgrade
    } else if request.closes() {
        Connection::Close
    } else {
        Connection::KeepAlive
    };
    request
        .fields
        .forward(&mut out, Some(connection), Some(host));
    out
}

fn response_head(response: &Response, connection: Option<Connection>) -> Vec<u8> {
    let mut out = format!("HTTP/1.1 {} ", response.status).into_bytes();
    out.extend_from_slice(&response.phrase);
    out.extend_from_slice(b"\r\n");
    response.fields.forward(&mut out, connection, None);
    out
}
