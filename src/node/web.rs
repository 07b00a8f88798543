//! One HTTP request to somebody else: a hook's receiver, a cloud's metadata service. Nothing is kept open
//! between requests, no proxy of the environment is used, no redirect is followed, answers are bounded.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, Uri, header::HOST};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use crate::tls::trusting;

/// As much of an answer as is read.
const MAX_ANSWER: usize = 256 << 10;

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
}

/// What requests are made with: the host's own certificate authorities. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Web {
    tls: Arc<ClientConfig>,
}

impl Web {
    pub(super) fn new() -> Self {
        let config = trusting(None).expect("the provider has the default versions");
        Self {
            tls: Arc::new(config),
        }
    }

    /// Sends `request`, whose URI is absolute, and reads the answer. `Err` is a sentence.
    pub(super) async fn send(
        &self,
        request: Request<Bytes>,
        limit: Duration,
    ) -> Result<Answer, String> {
        let exchange = tokio::time::timeout(limit, self.exchange(request)).await;
        exchange.unwrap_or_else(|_elapsed| {
            let limit = humantime::format_duration(limit);
            Err(format!("no answer within {limit}"))
        })
    }

    async fn exchange(&self, request: Request<Bytes>) -> Result<Answer, String> {
        let uri = request.uri().clone();
        let host = uri.host().ok_or("the URL names no host")?.to_owned();
        let secure = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let stream = TcpStream::connect((bare, port)).await;
        let stream = stream.map_err(|error| format!("cannot connect to {host}:{port}: {error}"))?;
        if !secure {
            return talk(stream, request, &uri).await;
        }
        let name = ServerName::try_from(bare.to_owned());
        let name = name.map_err(|_bad| format!("{host} is no name for a certificate"))?;
        let stream = TlsConnector::from(Arc::clone(&self.tls))
            .connect(name, stream)
            .await;
        let stream = stream.map_err(|error| format!("TLS with {host}:{port}: {error}"))?;
        talk(stream, request, &uri).await
    }
}

async fn talk<S>(stream: S, mut request: Request<Bytes>, uri: &Uri) -> Result<Answer, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = path.parse().map_err(|_bad| "the URL has no valid path")?;
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let authority = authority.rsplit('@').next().unwrap_or_default();
    let authority = authority
        .parse()
        .map_err(|_bad| "the URL's host is not valid")?;
    request.headers_mut().insert(HOST, authority);
    let failed = |error: hyper::Error| error.to_string();
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(failed)?;
    let answer = async {
        let answer = sender.send_request(request.map(Full::new)).await;
        let (head, body) = answer.map_err(failed)?.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await;
        let body = body.map_err(|error| format!("its answer cannot be read: {error}"))?;
        let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
        Ok(Answer {
            status: head.status.as_u16(),
            body: text,
        })
    };
    // The connection moves the bytes and is dropped with the answer.
    tokio::pin!(answer, connection);
    tokio::select! {
        answer = &mut answer => answer,
        ended = &mut connection => match ended {
            Ok(()) => answer.await,
            Err(error) => Err(failed(error)),
        },
    }
}
