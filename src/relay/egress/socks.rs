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

use std::time::Duration;

use tokio::{io::AsyncRead, time::timeout};

use super::{
    authority::Authority,
    conn::{Client, Next, Stop},
    outer::Outer,
    refusal::{Malformed, Reason, Refusal},
    shared::Shared,
    socks_words::{Bad, NO_LOGIN, Read, SUCCEEDED, VERSION, answering, asked, greeting},
    source::{Sink, Source},
    tunnel,
};

/// From the first byte to a whole request.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);

const NOTHING_WE_DO: [u8; 2] = [VERSION, 0xff];
const NOT_SUPPORTED: u8 = 7;
const NO_SUCH_ADDRESS_TYPE: u8 = 8;

/// Why a handshake ended without a request: what is answered, if anything.
#[derive(Debug)]
enum Ended {
    Gone,
    Answered(Vec<u8>, Refusal),
}

/// Serves a connection whose first byte is [`VERSION`], to its end or to its tunnel.
pub(super) async fn serve(mut client: Client, shared: &Shared) -> Option<(Client, Outer)> {
    let late = Refusal::new(Reason::HeadTimeout, "an unfinished SOCKS request");
    let asked = match timeout(HANDSHAKE_TIMEOUT, negotiate(&mut client)).await {
        Ok(asked) => asked,
        Err(_elapsed) => Err(Ended::Answered(answering(code(late.reason)), late)),
    };
    let to = match asked {
        Ok(to) => to,
        Err(Ended::Gone) => return None,
        Err(Ended::Answered(words, refusal)) => {
            shared.note(&refusal, None);
            client.refuse(&words).await;
            return None;
        }
    };
    match tunnel::open(&mut client, shared, &to, &answering(SUCCEEDED)).await {
        Ok(Next::Tunnel(outer)) => return Some((client, *outer)),
        Ok(Next::Again | Next::Close) => client.close().await,
        Err(Stop::Broken) => client.reset(),
        Err(Stop::Refused(refusal)) => {
            shared.note(&refusal, Some(&to));
            client.refuse(&answering(code(refusal.reason))).await;
        }
    }
    None
}

/// From the greeting to the target.
async fn negotiate(client: &mut Client) -> Result<Authority, Ended> {
    read(&mut client.up, greeting).await?;
    let chosen = client.down.put(&[VERSION, NO_LOGIN]).await;
    chosen.map_err(|_gone| Ended::Gone)?;
    read(&mut client.up, asked).await
}

async fn read<R: AsyncRead + Unpin, T>(
    from: &mut Source<R>,
    words: impl Fn(&[u8]) -> Read<T>,
) -> Result<T, Ended> {
    let read = from.words(words).await?;
    read.ok_or(Ended::Gone)
}

impl From<Bad> for Ended {
    fn from(bad: Bad) -> Self {
        let (words, refusal) = match bad {
            Bad::Methods => {
                let what = Malformed("SOCKS without the method that needs no login");
                return Self::Answered(NOTHING_WE_DO.to_vec(), what.into());
            }
            Bad::Command => {
                let what = "a SOCKS command but CONNECT";
                (NOT_SUPPORTED, Refusal::new(Reason::MethodNotAllowed, what))
            }
            Bad::Kind => {
                let what = Malformed("a SOCKS address of no known type");
                (NO_SUCH_ADDRESS_TYPE, what.into())
            }
            Bad::Words(what) => (code(Reason::Malformed), what.into()),
        };
        Self::Answered(answering(words), refusal)
    }
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
