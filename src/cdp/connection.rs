//! A client connection: calls with ids and deadlines, events in a bounded queue.
//!
//! Commands go out in the order in which they are posted, without waiting for one another's
//! answers; DevTools performs those of one session in that order. So whoever needs order alone
//! posts, and whoever needs the result calls.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::{CdpError, Joiner, Message, Opcode, Sender, frame, handshake};
use crate::runtime::{Tasks, read_some};

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(30);
/// How long the browser may refuse to take a command.
const TAKE: Duration = Duration::from_secs(10);
/// Commands that wait to be written.
const QUEUE: usize = 1024;
/// Events that wait to be seen; beyond it the connection ends, for a lost event cannot be made up.
const EVENTS: usize = 4096;
/// The largest message that a browser may send.
const MAX_MESSAGE: u64 = 256 << 20;
/// Bytes written at once, roughly.
const BATCH: usize = 64 << 10;
/// Room for a read.
const READ: usize = 4 << 10;

/// A command without its id and session.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// `Domain.method`.
    pub method: &'static str,
    /// Its parameters, an object.
    pub params: Value,
}

/// Something that the browser said by itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Whose; `None` for the browser's own.
    pub session: Option<String>,
    /// `Domain.event`.
    pub method: String,
    /// Its parameters.
    pub params: Value,
}

/// The events of one connection; ends with it. Boxed, as commands are: a queue makes room for dozens
/// at once.
pub type Events = mpsc::Receiver<Box<Event>>;

/// One open connection; clones share it, and it closes with the last of them.
#[derive(Debug, Clone)]
pub struct Connection {
    out: mpsc::Sender<Box<Outgoing>>,
    waiting: Arc<Waiting>,
}

/// An answer to come.
#[derive(Debug)]
pub struct Reply {
    method: &'static str,
    answer: oneshot::Receiver<Answer>,
}

#[derive(Debug)]
enum Outgoing {
    Command(String),
    Pong(Bytes),
}

type Answer = Result<Value, Refusal>;

#[derive(Debug, Deserialize)]
struct Refusal {
    code: i64,
    message: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Incoming {
    id: Option<u64>,
    session_id: Option<String>,
    method: Option<String>,
    #[serde(default)]
    params: Value,
    #[serde(default)]
    result: Value,
    error: Option<Refusal>,
}

/// Who waits for which answer. Guarded by a plain lock, held for one map operation.
#[derive(Debug, Default)]
struct Waiting(Mutex<Calls>);

#[derive(Debug, Default)]
struct Calls {
    last: u64,
    open: HashMap<u64, oneshot::Sender<Answer>>,
    closed: bool,
}

// === impl Connection ===

impl Connection {
    /// Opens the WebSocket at `path` over a fresh connection to DevTools.
    ///
    /// # Errors
    /// [`CdpError`] when the handshake fails.
    pub async fn open<S>(
        mut stream: S,
        path: &str,
        tasks: &Tasks,
    ) -> Result<(Self, Events), CdpError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let buffer = handshake::open(&mut stream, path).await?;
        let (input, output) = tokio::io::split(stream);
        let (out, commands) = mpsc::channel(QUEUE);
        let (events, seen) = mpsc::channel(EVENTS);
        let waiting = Arc::new(Waiting::default());
        let reading = Arc::clone(&waiting);
        let pongs = out.downgrade();
        tasks.spawn("devtools connection", |stop| async move {
            let ended = tokio::select! {
                ended = read(input, buffer, &reading, &events, &pongs) => ended,
                ended = write(output, commands) => ended,
                () = stop.cancelled() => Ok(()),
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "devtools connection lost");
            }
            reading.close();
        });
        Ok((Self { out, waiting }, seen))
    }

    /// Sends a command and waits for its result. Cancel-safe once it is sent: the answer is dropped.
    ///
    /// # Errors
    /// [`CdpError`]; no answer within 30 s is one.
    pub async fn call(
        &self,
        session: Option<&str>,
        method: &'static str,
        params: Value,
    ) -> Result<Value, CdpError> {
        let command = Command { method, params };
        self.post(session, &command).await?.result(ANSWER).await
    }

    /// Sends a command, after those posted before it; the answer may be awaited or dropped.
    ///
    /// # Errors
    /// [`CdpError::Closed`].
    pub async fn post(&self, session: Option<&str>, command: &Command) -> Result<Reply, CdpError> {
        let (sender, answer) = oneshot::channel();
        let id = self.waiting.enter(sender)?;
        let Command { method, params } = command;
        let mut message = json!({ "id": id, "method": method, "params": params });
        if let Some(session) = session {
            message["sessionId"] = session.into();
        }
        let command = Box::new(Outgoing::Command(message.to_string()));
        match timeout(TAKE, self.out.send(command)).await {
            Ok(Ok(())) => Ok(Reply { method, answer }),
            Ok(Err(_closed)) => Err(CdpError::Closed),
            Err(_elapsed) => Err(CdpError::TimedOut(method)),
        }
    }
}

// === impl Reply ===

impl Reply {
    /// The result, when it comes within `deadline`.
    ///
    /// # Errors
    /// [`CdpError`].
    pub async fn result(self, deadline: Duration) -> Result<Value, CdpError> {
        let method = self.method;
        match timeout(deadline, self.answer).await {
            Ok(Ok(Ok(result))) => Ok(result),
            Ok(Ok(Err(Refusal { code, message }))) => Err(CdpError::Refused {
                method,
                code,
                message,
            }),
            Ok(Err(_dropped)) => Err(CdpError::Closed),
            Err(_elapsed) => Err(CdpError::TimedOut(method)),
        }
    }
}

// === impl Waiting ===

impl Waiting {
    fn enter(&self, answer: oneshot::Sender<Answer>) -> Result<u64, CdpError> {
        let mut calls = self.0.lock();
        if calls.closed {
            return Err(CdpError::Closed);
        }
        calls.last += 1;
        let id = calls.last;
        // Answers that nobody waits for any more, such as those of sessions that are gone.
        if id.is_multiple_of(1024) {
            calls.open.retain(|_id, answer| !answer.is_closed());
        }
        calls.open.insert(id, answer);
        Ok(id)
    }

    fn answer(&self, id: u64, answer: Answer) {
        if let Some(waiting) = self.0.lock().open.remove(&id) {
            // Whoever asked may have gone.
            drop(waiting.send(answer));
        }
    }

    fn close(&self) {
        let mut calls = self.0.lock();
        calls.closed = true;
        calls.open.clear();
    }
}

async fn read(
    mut input: impl AsyncRead + Unpin,
    mut buffer: BytesMut,
    waiting: &Waiting,
    events: &mpsc::Sender<Box<Event>>,
    pongs: &mpsc::WeakSender<Box<Outgoing>>,
) -> Result<(), CdpError> {
    let mut joiner = Joiner::new(Sender::Server, MAX_MESSAGE);
    loop {
        while let Some(message) = joiner.next(&mut buffer)? {
            match message {
                Message::Text(text) | Message::Binary(text) => {
                    let incoming: Incoming = serde_json::from_slice(&text)?;
                    dispatch(incoming, waiting, events)?;
                }
                Message::Ping(payload) => {
                    if let Some(out) = pongs.upgrade() {
                        // A full queue is a sign of life as well.
                        drop(out.try_send(Box::new(Outgoing::Pong(payload))));
                    }
                }
                Message::Pong(_) => {}
                Message::Close(..) => return Ok(()),
            }
        }
        if read_some(&mut input, &mut buffer, (READ, READ)).await? == 0 {
            return Ok(());
        }
    }
}

fn dispatch(
    incoming: Incoming,
    waiting: &Waiting,
    events: &mpsc::Sender<Box<Event>>,
) -> Result<(), CdpError> {
    match incoming {
        Incoming {
            id: Some(id),
            error: Some(refusal),
            ..
        } => waiting.answer(id, Err(refusal)),
        Incoming {
            id: Some(id),
            result,
            ..
        } => waiting.answer(id, Ok(result)),
        Incoming {
            method: Some(method),
            session_id,
            params,
            ..
        } => {
            let event = Event {
                session: session_id,
                method,
                params,
            };
            if let Err(mpsc::error::TrySendError::Full(_)) = events.try_send(Box::new(event)) {
                return Err(CdpError::Closed);
            }
        }
        Incoming { .. } => {}
    }
    Ok(())
}

async fn write(
    mut output: impl AsyncWrite + Unpin,
    mut commands: mpsc::Receiver<Box<Outgoing>>,
) -> Result<(), CdpError> {
    let mut buffer = BytesMut::new();
    while let Some(first) = commands.recv().await {
        let mut next = Some(first);
        while let Some(outgoing) = next {
            let (opcode, payload) = match &*outgoing {
                Outgoing::Command(text) => (Opcode::Text, text.as_bytes()),
                Outgoing::Pong(payload) => (Opcode::Pong, &payload[..]),
            };
            frame(&mut buffer, opcode, Some([0; 4]), payload);
            next = (buffer.len() < BATCH)
                .then(|| commands.try_recv().ok())
                .flatten();
        }
        timeout(TAKE, output.write_all_buf(&mut buffer))
            .await
            .map_err(|_elapsed| CdpError::TimedOut("a command"))??;
        buffer = BytesMut::new();
    }
    output.shutdown().await?;
    Ok(())
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
