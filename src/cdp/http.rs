//! The HTTP side of the protocol: DevTools' description of itself, its targets, and a few orders.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};

use super::CdpError;

const DEADLINE: Duration = Duration::from_secs(5);
/// The description of the whole protocol has well over a million bytes.
const MAX_BODY: usize = 8 << 20;

/// `GET path` over a fresh connection to DevTools; the answer must be a JSON object.
///
/// # Errors
/// [`CdpError`] for anything but such an answer within five seconds.
pub async fn get_json<S>(stream: S, path: &str) -> Result<Map<String, Value>, CdpError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (status, body) = request(stream, Method::GET, path).await?;
    if status != StatusCode::OK {
        return Err(CdpError::Handshake(format!("status {status}")));
    }
    Ok(serde_json::from_slice(&body)?)
}

/// One request over a fresh connection to DevTools: the answer's status and body.
///
/// # Errors
/// [`CdpError`] for anything but a whole answer within five seconds.
pub async fn request<S>(
    stream: S,
    method: Method,
    path: &str,
) -> Result<(StatusCode, Bytes), CdpError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    timeout(DEADLINE, exchange(stream, method, path))
        .await
        .map_err(|_elapsed| CdpError::TimedOut("a request"))?
}

async fn exchange<S>(stream: S, method: Method, path: &str) -> Result<(StatusCode, Bytes), CdpError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let broken = |error: &dyn std::error::Error| CdpError::Handshake(error.to_string());
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| broken(&error))?;
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "localhost")
        .body(Empty::<Bytes>::new())
        .map_err(|error| broken(&error))?;
    // The sender goes with the exchange, which ends the connection as well.
    let exchange = async move {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_BODY).collect().await;
        Ok::<_, hyper::Error>((status, body))
    };
    let (answer, _connection) = futures::join!(exchange, connection);
    let (status, body) = answer.map_err(|error| broken(&error))?;
    let body = body.map_err(|error| CdpError::Handshake(error.to_string()))?;
    Ok((status, body.to_bytes()))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn the_answer_is_read_whether_or_not_the_server_hangs_up() {
        for (answer, good) in [
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n{\"a\":1}",
                true,
            ),
            ("HTTP/1.0 200 OK\r\n\r\n{\"a\":1}", true),
            ("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", false),
            ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1", false),
        ] {
            let (ours, mut theirs) = duplex(4096);
            let server = async {
                let mut request = [0; 1024];
                let n = theirs.read(&mut request).await.unwrap();
                assert!(request[..n].starts_with(b"GET /json/version HTTP/1.1\r\n"));
                theirs.write_all(answer.as_bytes()).await.unwrap();
                drop(theirs);
            };
            let (got, ()) = tokio::join!(get_json(ours, "/json/version"), server);
            assert_eq!(got.is_ok(), good, "{answer}");
        }
    }
}
