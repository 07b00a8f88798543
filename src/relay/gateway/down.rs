//! Browser to client: frames are followed, not held. What we have to say ourselves goes between
//! them: answers between messages, pongs and the last word between frames.

use std::{io, time::Duration};

use bytes::{Buf, Bytes, BytesMut};
use tokio::{
    io::AsyncWriteExt,
    sync::{mpsc, watch},
    time::timeout,
};

use super::{
    own::{Own, PEEK, Peeked, page_of, peek},
    room::Room,
};
use crate::{
    cdp::{Header, Opcode, Step, Walker, close_payload, frame},
    model::SessionId,
    relay::{Live, devtools, meter::Meter},
    tls::WriteHalf,
};

/// A client that takes nothing for so long is cut.
const STUCK: Duration = Duration::from_secs(60);

/// The largest message that is read whole: answers to the gateway itself are small.
const WHOLE: usize = 16 << 10;

/// Something that we say in the browser's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outgoing {
    /// A text message.
    Answer(Bytes),
    /// To a ping.
    Pong(Bytes),
}

/// The last word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Close {
    pub(super) code: u16,
    reason: String,
    /// Answers that wait go first.
    after_answers: bool,
}

impl Close {
    /// As soon as a frame may be put in.
    pub(super) fn now(code: u16, reason: &str) -> Self {
        Self {
            code,
            reason: reason.to_owned(),
            after_answers: false,
        }
    }

    /// After the answers that wait.
    pub(super) fn after_answers(code: u16, reason: &str) -> Self {
        Self {
            after_answers: true,
            ..Self::now(code, reason)
        }
    }
}

/// Why nothing more goes to the client.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum DownEnd {
    /// The last word is out.
    Said,
    /// The browser closed, or cannot be understood.
    BrowserGone,
    /// The client takes nothing more.
    ClientGone,
}

/// The direction to the client.
pub(super) struct Down<'a> {
    browser: &'a mut devtools::ReadHalf,
    client: WriteHalf,
    read: BytesMut,
    room: Room,
    walker: Walker,
    /// Boxed: a queue makes room for dozens at once.
    queue: mpsc::Receiver<Box<Outgoing>>,
    /// Taken from the queue before its turn had come.
    waiting: Option<Box<Outgoing>>,
    own: &'a Own<'a>,
    live: &'a Live,
}

/// What is known of the message that begins here.
enum Begun {
    /// Too little has come.
    Wait,
    /// It is the client's.
    Theirs,
    /// It is the client's, once this page is the phone.
    Page(String),
    /// It is ours: so many bytes of header and of payload.
    Ours(usize, usize),
}

impl<'a> Down<'a> {
    pub(super) fn new(
        browser: &'a mut devtools::ReadHalf,
        client: WriteHalf,
        read: BytesMut,
        queue: mpsc::Receiver<Box<Outgoing>>,
        own: &'a Own<'a>,
        live: &'a Live,
    ) -> Self {
        Self {
            browser,
            client,
            read,
            room: Room::default(),
            walker: Walker::default(),
            queue,
            waiting: None,
            own,
            live,
        }
    }

    /// Whose browser it is.
    pub(super) const fn session(&self) -> &'a SessionId {
        &self.live.session
    }

    /// The way to the client, for what comes after.
    pub(super) fn into_client(self) -> WriteHalf {
        self.client
    }

    /// Runs until nothing more can be sent, or `close` has been. Not cancel-safe: a frame may be
    /// left half sent, and nothing may follow it.
    pub(super) async fn run(&mut self, mut close: watch::Receiver<Option<Close>>) -> DownEnd {
        loop {
            match self.pass_on(&close).await {
                Ok(None) => {}
                Ok(Some(end)) => return end,
                Err(_client) => return DownEnd::ClientGone,
            }
            tokio::select! {
                biased;
                // Looked at above, where frames end.
                Ok(()) = close.changed() => {}
                Some(item) = self.queue.recv(), if self.waiting.is_none() => {
                    self.waiting = Some(item);
                }
                read = self.room.read(self.browser, &mut self.read) => match read {
                    Ok(0) | Err(_) => return DownEnd::BrowserGone,
                    Ok(_) => {}
                },
            }
        }
    }

    /// Says the last word, if a frame may be put in here; `false` when not.
    pub(super) async fn say(&mut self, close: &Close) -> io::Result<bool> {
        if !self.walker.between_frames() {
            return Ok(false);
        }
        let mut out = BytesMut::new();
        let payload = close_payload(close.code, &close.reason);
        frame(&mut out, Opcode::Close, None, &payload);
        write(&mut self.client, &out, &self.live.meter).await?;
        Ok(true)
    }

    async fn say_if_due(&mut self, close: Option<Close>) -> io::Result<bool> {
        let Some(close) = close else {
            return Ok(false);
        };
        if close.after_answers {
            if !self.walker.between_messages() {
                return Ok(false);
            }
            self.speak().await?;
        }
        self.say(&close).await
    }

    /// Passes on what has been read, with our own words where they may stand.
    async fn pass_on(
        &mut self,
        close: &watch::Receiver<Option<Close>>,
    ) -> io::Result<Option<DownEnd>> {
        // How much of what has been read can go out in one write.
        let mut ahead = 0;
        loop {
            if self.walker.between_frames() {
                let asked = close.borrow().clone();
                if asked.is_some() || self.has_word() {
                    self.flush(&mut ahead).await?;
                    if self.say_if_due(asked).await? {
                        return Ok(Some(DownEnd::Said));
                    }
                    self.speak().await?;
                }
            }
            if self.walker.between_messages() {
                match self.begun(&self.read[ahead..]) {
                    Begun::Wait => break,
                    Begun::Theirs => {}
                    Begun::Page(id) => {
                        self.flush(&mut ahead).await?;
                        let mut closing = close.clone();
                        tokio::select! {
                            () = self.own.covers(&id) => {}
                            // The last word comes after this message.
                            _ = closing.changed() => {}
                        }
                    }
                    Begun::Ours(header, payload) => {
                        self.flush(&mut ahead).await?;
                        self.own.answered(&self.read[header..header + payload]);
                        self.read.advance(header + payload);
                        continue;
                    }
                }
            }
            match self.walker.step(&self.read[ahead..]) {
                Ok(Step::Wait) => break,
                Ok(Step::Data(size)) => ahead += size,
                Ok(Step::Control {
                    opcode,
                    header,
                    payload,
                }) => {
                    self.flush(&mut ahead).await?;
                    self.read.advance(header + payload);
                    // DevTools says nothing else in control frames that would be for the client.
                    if opcode == Opcode::Close {
                        return Ok(Some(DownEnd::BrowserGone));
                    }
                }
                Err(error) => {
                    tracing::warn!(session = %self.session(), %error, "the browser sent an unreadable frame");
                    self.flush(&mut ahead).await?;
                    return Ok(Some(DownEnd::BrowserGone));
                }
            }
        }
        self.flush(&mut ahead).await?;
        Ok(None)
    }

    /// Looks at the first bytes of a message, and at all of it if it is for the gateway.
    fn begun(&self, bytes: &[u8]) -> Begun {
        // What cannot be read is the walker's to complain of.
        let Ok(header) = Header::parse(bytes) else {
            return Begun::Theirs;
        };
        let Some((header, size)) = header else {
            return Begun::Wait;
        };
        let Ok(len) = usize::try_from(header.len) else {
            return Begun::Theirs;
        };
        if header.opcode != Opcode::Text || !header.fin {
            return Begun::Theirs;
        }
        let payload = &bytes[size..];
        if payload.len() < len.min(PEEK) {
            return Begun::Wait;
        }
        let what = peek(&payload[..len.min(PEEK)]);
        if what == Peeked::Theirs || len > WHOLE {
            return Begun::Theirs;
        }
        let Some(payload) = payload.get(..len) else {
            return Begun::Wait;
        };
        match what {
            Peeked::Ours => Begun::Ours(size, len),
            Peeked::Attached => page_of(payload).map_or(Begun::Theirs, Begun::Page),
            Peeked::Detached => {
                self.own.detached(payload);
                Begun::Theirs
            }
            Peeked::Theirs => Begun::Theirs,
        }
    }

    /// Whether something of ours waits that may stand here.
    fn has_word(&mut self) -> bool {
        if self.waiting.is_none() {
            self.waiting = self.queue.try_recv().ok();
        }
        match self.waiting.as_deref() {
            Some(Outgoing::Answer(_)) => self.walker.between_messages(),
            Some(Outgoing::Pong(_)) => true,
            None => false,
        }
    }

    /// Sends what waits and may stand here.
    async fn speak(&mut self) -> io::Result<()> {
        let mut out = BytesMut::new();
        while self.has_word() {
            match self.waiting.take().as_deref() {
                Some(Outgoing::Answer(text)) => frame(&mut out, Opcode::Text, None, text),
                Some(Outgoing::Pong(payload)) => frame(&mut out, Opcode::Pong, None, payload),
                None => {}
            }
        }
        write(&mut self.client, &out, &self.live.meter).await
    }

    async fn flush(&mut self, ahead: &mut usize) -> io::Result<()> {
        write(&mut self.client, &self.read[..*ahead], &self.live.meter).await?;
        self.read.advance(*ahead);
        *ahead = 0;
        Ok(())
    }
}

async fn write(client: &mut WriteHalf, mut bytes: &[u8], meter: &Meter) -> io::Result<()> {
    while !bytes.is_empty() {
        let n = timeout(STUCK, client.write(bytes)).await??;
        if n == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        meter.add_cdp_down(n as u64);
        bytes = &bytes[n..];
    }
    // Encrypted, it may still lie here.
    timeout(STUCK, client.flush()).await?
}
