//! SOCKS5 (RFC 1928) as a browser may speak it to us: `CONNECT`, no login, any kind of address.
//!
//! ```text
//!   05 n methods…            ─▶
//!                            ◀─ 05 00          or 05 FF: nothing that we do
//!   05 01 00 type host port  ─▶
//!                            ◀─ 05 code 00 01 0.0.0.0:0
//! ```
//!
//! It shares its port with HTTP: no method of HTTP begins with a byte of value five. A target is
//! judged, resolved, connected to and metered as one of `CONNECT` is.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use tokio::{io::AsyncRead, time::timeout};

use super::{
    authority::{Authority, Host},
    conn::{Client, Next, Stop},
    refusal::{Malformed, Reason, Refusal},
    shared::Shared,
    source::{NoHead, Sink, Source},
    tunnel,
};

/// The first byte of everything here.
pub(super) const VERSION: u8 = 5;
/// From the first byte to a whole request.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);

pub(super) const NO_LOGIN: u8 = 0;
const NOTHING_WE_DO: [u8; 2] = [VERSION, 0xff];
pub(super) const CONNECT: u8 = 1;
pub(super) const IPV4: u8 = 1;
pub(super) const NAME: u8 = 3;
pub(super) const IPV6: u8 = 4;
pub(super) const SUCCEEDED: u8 = 0;
const NOT_SUPPORTED: u8 = 7;
const NO_SUCH_ADDRESS_TYPE: u8 = 8;

/// Why a handshake ended without a request: what is answered, if anything.
#[derive(Debug)]
enum Ended {
    Gone,
    Answered(Vec<u8>, Refusal),
}

/// Serves a connection whose first byte is [`VERSION`], to its end.
pub(super) async fn serve(mut client: Client, shared: &Shared) {
    let late = Refusal::new(Reason::HeadTimeout, "an unfinished SOCKS request");
    let asked = match timeout(HANDSHAKE_TIMEOUT, negotiate(&mut client)).await {
        Ok(asked) => asked,
        Err(_elapsed) => Err(Ended::Answered(reply(code(late.reason)), late)),
    };
    let to = match asked {
        Ok(to) => to,
        Err(Ended::Gone) => return,
        Err(Ended::Answered(words, refusal)) => {
            shared.note(&refusal, None);
            return client.refuse(&words).await;
        }
    };
    match tunnel::open(&mut client, shared, &to, &reply(SUCCEEDED)).await {
        Ok(Next::Again | Next::Close) => client.close().await,
        Err(Stop::Broken) => client.reset(),
        Err(Stop::Refused(refusal)) => {
            shared.note(&refusal, Some(&to));
            client.refuse(&reply(code(refusal.reason))).await;
        }
    }
}

/// From the greeting to the target.
async fn negotiate(client: &mut Client) -> Result<Authority, Ended> {
    let count = client.up.exactly::<2>().await?[1];
    let methods = client.up.several(count.into()).await?;
    if !methods.contains(&NO_LOGIN) {
        let refusal = Malformed("SOCKS without the method that needs no login").into();
        return Err(Ended::Answered(NOTHING_WE_DO.to_vec(), refusal));
    }
    let chosen = client.down.put(&[VERSION, NO_LOGIN]).await;
    chosen.map_err(|_gone| Ended::Gone)?;
    let [version, command, _reserved, kind] = client.up.exactly().await?;
    if version != VERSION {
        return Err(malformed("another version of SOCKS"));
    }
    let to = target(&mut client.up, kind).await?;
    if command != CONNECT {
        let refusal = Refusal::new(Reason::MethodNotAllowed, "a SOCKS command but CONNECT");
        return Err(Ended::Answered(reply(NOT_SUPPORTED), refusal));
    }
    Ok(to)
}

async fn target<R: AsyncRead + Unpin>(from: &mut Source<R>, kind: u8) -> Result<Authority, Ended> {
    let host = match kind {
        IPV4 => Host::Ip(Ipv4Addr::from(from.exactly::<4>().await?).into()),
        IPV6 => Host::Ip(Ipv6Addr::from(from.exactly::<16>().await?).into()),
        NAME => {
            let [length] = from.exactly().await?;
            let name = from.several(length.into()).await?;
            let name = str::from_utf8(&name).map_err(|_binary| malformed("a bad name"))?;
            // Never with a port: it comes after.
            if name.contains(':') {
                return Err(malformed("a bad name in the target"));
            }
            let to = Authority::parse(name, Some(1)).map_err(|what| malformed(what.0))?;
            to.host
        }
        _ => {
            let refusal = Malformed("a SOCKS address of no known type").into();
            return Err(Ended::Answered(reply(NO_SUCH_ADDRESS_TYPE), refusal));
        }
    };
    let port = u16::from_be_bytes(from.exactly().await?);
    if port == 0 {
        return Err(malformed("a bad port in the target"));
    }
    Ok(Authority { host, port })
}

fn malformed(what: &'static str) -> Ended {
    let refusal = Refusal::from(Malformed(what));
    Ended::Answered(reply(code(refusal.reason)), refusal)
}

/// The address that we are bound to is nobody's business.
fn reply(code: u8) -> Vec<u8> {
    vec![VERSION, code, 0, IPV4, 0, 0, 0, 0, 0, 0]
}

/// What RFC 1928 calls a refusal.
const fn code(reason: Reason) -> u8 {
    match reason {
        Reason::DeniedAddress
        | Reason::DeniedPort
        | Reason::DeniedHost
        | Reason::DeniedScheme
        | Reason::ConnectionLimit
        | Reason::RequestLimit => 2,
        Reason::Unresolved | Reason::ResolveTimeout => 4,
        Reason::ConnectFailed => 5,
        Reason::ConnectTimeout | Reason::UpstreamTimeout => 6,
        Reason::Malformed
        | Reason::HeadTooLarge
        | Reason::HeadTimeout
        | Reason::MethodNotAllowed
        | Reason::VersionNotSupported
        | Reason::NoRoute
        | Reason::BadResponse
        | Reason::ResponseTimeout
        | Reason::UpstreamUnreachable
        | Reason::UpstreamAuth
        | Reason::UpstreamRefused => 1,
    }
}

impl From<NoHead> for Ended {
    fn from(none: NoHead) -> Self {
        match none {
            NoHead::Gone => Self::Gone,
            NoHead::Refused(refusal) => Self::Answered(reply(code(refusal.reason)), refusal),
        }
    }
}
