//! The opening handshake (RFC 6455 section 4), from the client's side; the accept key serves both.
//!
//! DevTools answers a foreign `Host` with 500 and a foreign `Origin` with 403, so the one is
//! `localhost` and the other is not sent; no extension is offered.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::BytesMut;
use sha1::{Digest, Sha1};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

use super::CdpError;

const DEADLINE: Duration = Duration::from_secs(5);
const MAX_ANSWER: usize = 16 << 10;

/// What a server answers to `Sec-WebSocket-Key`.
#[must_use]
pub fn accept_key(key: &str) -> String {
    let digest = Sha1::new()
        .chain_update(key)
        .chain_update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11")
        .finalize();
    STANDARD.encode(digest)
}

/// Turns a fresh connection to DevTools into a WebSocket; gives back what has been read beyond the
/// answer. Not cancel-safe: drop the stream.
///
/// # Errors
/// [`CdpError`] when the peer does not agree within five seconds.
pub async fn open<S>(stream: &mut S, path: &str) -> Result<BytesMut, CdpError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    timeout(DEADLINE, exchange(stream, path))
        .await
        .map_err(|_elapsed| CdpError::TimedOut("the WebSocket handshake"))?
}

async fn exchange<S>(stream: &mut S, path: &str) -> Result<BytesMut, CdpError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let key = STANDARD.encode(rand::random::<[u8; 16]>());
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = BytesMut::with_capacity(4096);
    loop {
        if stream.read_buf(&mut answer).await? == 0 {
            return Err(CdpError::Closed);
        }
        if let Some(size) = agreed(&answer, &key)? {
            // A copy of the little that is there: the answer's buffer would stay with it.
            return Ok(BytesMut::from(&answer[size..]));
        }
        if answer.len() > MAX_ANSWER {
            return Err(CdpError::Handshake("too many headers".to_owned()));
        }
    }
}

/// Size of the answer once all of it is there and it agrees.
fn agreed(answer: &[u8], key: &str) -> Result<Option<usize>, CdpError> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let refused = |what: String| Err(CdpError::Handshake(what));
    let size = match response.parse(answer) {
        Ok(httparse::Status::Complete(size)) => size,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return refused(error.to_string()),
    };
    let find = |name: &str| {
        let header = response
            .headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(header.value).ok()
    };
    match response.code {
        Some(101) => {}
        // Chrome says 500 "No such target id".
        Some(404 | 500) => return Err(CdpError::NotFound),
        other => return refused(format!("status {}", other.unwrap_or(0))),
    }
    if find("sec-websocket-accept") != Some(&accept_key(key)) {
        return refused("a wrong accept key".to_owned());
    }
    if find("sec-websocket-extensions").is_some() {
        return refused("an extension that was not offered".to_owned());
    }
    Ok(Some(size))
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    /// The example of RFC 6455 section 1.3.
    #[test]
    fn the_accept_key_is_the_one_of_the_rfc() {
        assert_eq!(
            accept_key("dGhlIHNhbXBsZSBub25jZQ=="),
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
    }

    async fn answered_with(make: impl Fn(&str) -> String) -> Result<BytesMut, CdpError> {
        let (mut ours, mut theirs) = duplex(4096);
        let server = async {
            let mut request = BytesMut::new();
            while !request.ends_with(b"\r\n\r\n") {
                theirs.read_buf(&mut request).await.unwrap();
            }
            let request = String::from_utf8(request.to_vec()).unwrap();
            assert!(request.contains("\r\nHost: localhost\r\n"));
            assert!(!request.contains("Origin") && !request.contains("Extensions"));
            let (_, key) = request.split_once("Sec-WebSocket-Key: ").unwrap();
            let answer = make(&accept_key(key.trim_end()));
            theirs.write_all(answer.as_bytes()).await.unwrap();
        };
        tokio::join!(open(&mut ours, "/devtools/browser/x"), server).0
    }

    #[tokio::test]
    async fn only_an_answer_that_agrees_is_taken_and_its_rest_is_kept() {
        let good = |key: &str| {
            format!(
                "HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {key}\r\n"
            )
        };
        let rest = answered_with(|key| good(key) + "\r\nrest").await.unwrap();
        assert_eq!(&rest[..], b"rest");
        let deflate =
            |key: &str| good(key) + "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
        answered_with(deflate).await.unwrap_err();
        answered_with(|_| good("wrong") + "\r\n").await.unwrap_err();
        answered_with(|_| "HTTP/1.1 500 No\r\n\r\n".to_owned())
            .await
            .unwrap_err();
    }
}
