//! Client to browser: whole messages, each judged by the table before it goes on.

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::{io::AsyncWriteExt, sync::mpsc, time::timeout};

use serde_json::json;

use super::{
    down::{Close, Outgoing},
    methods::{Phone, Verdict, judge},
    own::Own,
    room::Room,
};
use crate::{
    cdp::{Header, Joiner, Message, Opcode, Sender, Violation, frame},
    relay::{devtools::WriteHalf, meter::Meter},
    tls::ReadHalf,
};

/// Messages for the browser are written together up to about so many bytes.
const BATCH: usize = 256 << 10;
/// A message of this size goes out from where it was read, because copying it would cost more than
/// a write of its own.
const LARGE: usize = 32 << 10;
/// A buffer that one large message has left behind is not kept.
const KEEP: usize = 16 << 10;
/// A browser that takes nothing for so long is lost.
const STUCK: Duration = Duration::from_secs(60);

/// The direction from the client.
pub(super) struct Up<'a> {
    pub(super) client: &'a mut ReadHalf,
    pub(super) browser: &'a mut WriteHalf,
    pub(super) read: BytesMut,
    pub(super) answers: mpsc::Sender<Box<Outgoing>>,
    pub(super) meter: &'a Meter,
    pub(super) phone: Phone<'a>,
    pub(super) own: &'a Own<'a>,
    pub(super) max_message: u64,
}

/// Why nothing more comes from the client.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum UpEnd {
    /// Without a word.
    Gone,
    /// With a close frame.
    Closed(u16),
    /// It cannot be read any further.
    Violated(Violation),
    /// It sent what is never text.
    Binary,
    /// It closed the browser, as far as it is concerned.
    ClosedBrowser,
    /// The browser takes nothing more.
    BrowserGone,
}

impl UpEnd {
    /// What to say to the client, if anything.
    pub(super) fn last_word(&self) -> Option<Close> {
        match self {
            Self::Gone | Self::BrowserGone => None,
            // 1005 stands for "no code" and is never sent.
            Self::Closed(1005) => Some(Close::now(1000, "")),
            Self::Closed(code) => Some(Close::now(*code, "")),
            Self::Violated(violation) => {
                Some(Close::now(violation.close_code(), &violation.to_string()))
            }
            Self::Binary => Some(Close::now(1003, "commands are text")),
            Self::ClosedBrowser => Some(Close::after_answers(1000, "Browser.close")),
        }
    }
}

impl Up<'_> {
    /// Runs until nothing more comes.
    pub(super) async fn run(mut self) -> UpEnd {
        let mut joiner = Joiner::new(Sender::Client, self.max_message);
        let (mut out, mut room) = (BytesMut::new(), Room::default());
        self.meter.add_cdp_up(self.read.len() as u64);
        loop {
            loop {
                let next = match joiner.next(&mut self.read) {
                    Ok(Some(message)) => self.take(message, &mut out).await,
                    Ok(None) => break,
                    Err(violation) => Err(UpEnd::Violated(violation)),
                };
                if let Err(end) = next {
                    // What it said before its end still counts.
                    return self.send(&mut out).await.err().unwrap_or(end);
                }
                if out.len() >= BATCH
                    && let Err(end) = self.send(&mut out).await
                {
                    return end;
                }
            }
            if let Err(end) = self.send(&mut out).await {
                return end;
            }
            match room.read(self.client, &mut self.read).await {
                Ok(0) | Err(_) => return UpEnd::Gone,
                Ok(n) => self.meter.add_cdp_up(n as u64),
            }
        }
    }

    async fn take(&mut self, message: Message, out: &mut BytesMut) -> Result<(), UpEnd> {
        match message {
            Message::Text(text) => self.command(&text, out).await,
            Message::Binary(_) => Err(UpEnd::Binary),
            Message::Ping(payload) => self.answer(Outgoing::Pong(payload)).await,
            Message::Pong(_) => Ok(()),
            Message::Close(code, _reason) => Err(UpEnd::Closed(code)),
        }
    }

    async fn command(&mut self, text: &Bytes, out: &mut BytesMut) -> Result<(), UpEnd> {
        let verdict = judge(text, self.phone, &mut self.own.emulated.lock());
        match verdict {
            Verdict::Pass if text.len() >= LARGE => {
                self.send(out).await?;
                let header = Header {
                    fin: true,
                    opcode: Opcode::Text,
                    mask: Some(UNMASKED),
                    len: text.len() as u64,
                };
                header.encode(out);
                self.write(&mut out.split().chain(text.clone())).await?;
            }
            Verdict::Pass => to_browser(out, text),
            Verdict::Rewrite(text) => to_browser(out, text.as_bytes()),
            Verdict::Emulate {
                text,
                session,
                method,
                meant,
            } => {
                let session = session.as_deref();
                to_browser(out, text.as_bytes());
                if meant {
                    to_browser(out, self.own.emulates(session, method).as_bytes());
                } else {
                    self.own.gave_up(session, method);
                }
            }
            Verdict::InFront(session) => {
                self.bring_to_front(session.as_deref(), out).await?;
                to_browser(out, text);
            }
            Verdict::Answer(text) => self.answer(Outgoing::Answer(Bytes::from(text))).await?,
            Verdict::EndClient(text) => {
                self.answer(Outgoing::Answer(Bytes::from(text))).await?;
                return Err(UpEnd::ClosedBrowser);
            }
        }
        Ok(())
    }

    async fn bring_to_front(
        &mut self,
        session: Option<&str>,
        out: &mut BytesMut,
    ) -> Result<(), UpEnd> {
        let (question, in_background) = self.own.in_background(session);
        to_browser(out, question.as_bytes());
        self.send(out).await?;
        if in_background.known().await {
            let command = self.own.command(session, "Page.bringToFront", &json!({}));
            to_browser(out, command.as_bytes());
        }
        Ok(())
    }

    async fn answer(&self, answer: Outgoing) -> Result<(), UpEnd> {
        // The other direction ends first only when all of it does.
        self.answers
            .send(Box::new(answer))
            .await
            .map_err(|_ended| UpEnd::Gone)
    }

    async fn send(&mut self, out: &mut BytesMut) -> Result<(), UpEnd> {
        self.write(out).await?;
        if out.capacity() > KEEP {
            *out = BytesMut::new();
        }
        Ok(())
    }

    async fn write(&mut self, bytes: &mut (impl Buf + Send)) -> Result<(), UpEnd> {
        while bytes.has_remaining() {
            match timeout(STUCK, self.browser.write_buf(bytes)).await {
                Ok(Ok(n)) if n > 0 => {}
                _ => return Err(UpEnd::BrowserGone),
            }
        }
        Ok(())
    }
}

/// Toward the browser nobody is confused by what is not masked.
const UNMASKED: [u8; 4] = [0; 4];

fn to_browser(out: &mut BytesMut, text: &[u8]) {
    frame(out, Opcode::Text, Some(UNMASKED), text);
}
