//! The greeting of a connection, and the key that some devices demand in it.
//!
//! ```text
//!   CNXN ─▶                          ◀─ CNXN                    no key is asked for
//!   CNXN ─▶  ◀─ AUTH token
//!            AUTH signature ─▶       ◀─ CNXN                    the device knows the key
//!                                    ◀─ AUTH token
//!            AUTH public key ─▶      ◀─ CNXN, or nothing        somebody accepts it on the device
//! ```
//!
//! One key, so one signature: what a device asks of us is bounded by its own connections.

use std::{collections::BTreeSet, time::Duration};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};

use super::{
    AdbError, Key, Lost, Malformed,
    connection::{next, write},
    packet::{BEFORE_GREETING, Command, MAX_PAYLOAD, Packet, VERSION},
};

/// What this host can do; `delayed_ack` must not be among it: it changes what OKAY means.
const GREETING: &[u8] = b"host::features=shell_v2,cmd\0";
/// What a device has signed: this many random bytes.
pub(super) const TOKEN: usize = 20;
/// `arg0` of AUTH.
const IS_TOKEN: u32 = 1;
const IS_SIGNATURE: u32 = 2;
const IS_PUBLIC_KEY: u32 = 3;

/// How a device is greeted.
#[derive(Debug, Clone, Copy)]
pub struct Hello<'a> {
    /// adbd answers, and takes a key that it knows, within this.
    pub limit: Duration,
    /// What is shown to a device that demands a key.
    pub key: Option<&'a Key>,
    /// How long a key that the device does not know is left on its screen to be accepted.
    pub patience: Duration,
}

impl Hello<'_> {
    /// Without a key: a device that demands one is not entered.
    #[must_use]
    pub const fn keyless(limit: Duration) -> Self {
        Self {
            limit,
            key: None,
            patience: Duration::ZERO,
        }
    }
}

/// What the device said of itself in its greeting.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Banner {
    /// `device`, `recovery`, `sideload`, ….
    pub state: String,
    /// `ro.product.model` and its like.
    pub properties: Vec<(String, String)>,
    /// What it can do.
    pub features: BTreeSet<String>,
}

/// Says hello; answers what the peer takes in a packet, and what it is.
pub(super) async fn greet<S>(
    stream: &mut S,
    read: &mut BytesMut,
    how: Hello<'_>,
) -> Result<(usize, Banner), AdbError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let hello = said(Command::Connect, VERSION, MAX_PAYLOAD, GREETING);
    let mut answer = ask(stream, read, hello, how.limit).await?;
    if answer.command == Command::Auth {
        let key = how.key.ok_or(AdbError::WantsKey)?;
        answer = show(stream, read, answer, (key, how)).await?;
    }
    match answer.command {
        Command::Connect if answer.arg0 < VERSION => Err(AdbError::TooOld(answer.arg0)),
        Command::Connect => {
            let takes = answer.arg1.clamp(BEFORE_GREETING, MAX_PAYLOAD);
            Ok((takes as usize, Banner::read(&answer.payload)))
        }
        Command::StartTls => Err(AdbError::WantsTls),
        Command::Auth | Command::Open | Command::Okay | Command::Write | Command::Close => {
            Err(Lost::from(Malformed::Misplaced).into())
        }
    }
}

/// Shows the key: the answer to it.
async fn show<S>(
    stream: &mut S,
    read: &mut BytesMut,
    asked: Packet,
    (key, how): (&Key, Hello<'_>),
) -> Result<Packet, AdbError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let token: Result<[u8; TOKEN], _> = asked.payload[..].try_into();
    let token = token.ok().filter(|_| asked.arg0 == IS_TOKEN);
    let token = token.ok_or(Lost::Malformed(Malformed::Misplaced))?;
    let signature = key.sign(&token)?;
    let signature = said(Command::Auth, IS_SIGNATURE, 0, &signature);
    let answer = ask(stream, read, signature, how.limit).await?;
    if answer.command != Command::Auth {
        return Ok(answer);
    }
    let public = format!("{}\0", key.public());
    let public = said(Command::Auth, IS_PUBLIC_KEY, 0, public.as_bytes());
    match ask(stream, read, public, how.patience).await {
        Ok(answer) if answer.command == Command::Connect => Ok(answer),
        // It asks again, hangs up, or says nothing.
        Ok(_) | Err(AdbError::NoGreeting(_) | AdbError::Lost(_)) => Err(AdbError::KeyRefused {
            fingerprint: key.fingerprint().to_owned(),
        }),
        Err(error) => Err(error),
    }
}

fn said(command: Command, arg0: u32, arg1: u32, payload: &[u8]) -> Packet {
    let payload = Bytes::copy_from_slice(payload);
    Packet {
        command,
        arg0,
        arg1,
        payload,
    }
}

async fn ask<S>(
    stream: &mut S,
    read: &mut BytesMut,
    packet: Packet,
    limit: Duration,
) -> Result<Packet, AdbError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let asked = async {
        write(stream, packet, true).await?;
        next(stream, read, BEFORE_GREETING).await
    };
    let answered = timeout(limit, asked).await;
    Ok(answered.map_err(|_elapsed| AdbError::NoGreeting(limit))??)
}

impl Banner {
    /// Reads `device::ro.product.name=x;…;features=a,b`. What cannot be read is not there.
    fn read(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let text = text.trim_end_matches('\0');
        let mut parts = text.splitn(3, ':');
        let state = parts.next().unwrap_or_default().to_owned();
        let mut banner = Self {
            state,
            ..Self::default()
        };
        for pair in parts.nth(1).unwrap_or_default().split(';') {
            match pair.split_once('=') {
                Some(("features", list)) => {
                    banner.features.extend(list.split(',').map(str::to_owned));
                }
                Some((key, value)) => {
                    banner.properties.push((key.to_owned(), value.to_owned()));
                }
                None => {}
            }
        }
        banner
    }
}
