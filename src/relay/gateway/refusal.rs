//! Every "no" of the gateway, before a client is attached, in the API's shape of errors.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Response, StatusCode,
    header::{self, HeaderName, HeaderValue},
};
use serde_json::json;
use tokio::net::TcpStream;

use crate::model::EndReason;

/// Why a request is not served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("there is nothing here")]
    NotFound,
    #[error("only {0} is served here")]
    Method(&'static str),
    #[error("{0}")]
    Invalid(&'static str),
    #[error("this is a WebSocket: connect with a CDP client")]
    UpgradeRequired,
    #[error("no such session")]
    SessionNotFound,
    #[error("the session has no such target")]
    TargetNotFound,
    #[error("this session wants its token: ?token=…")]
    Unauthorised,
    #[error("pages of this origin may not connect here")]
    Origin,
    #[error("too many wrong ids or tokens from your address; try again in {} s", .0.as_secs() + 1)]
    TooManyGuesses(Duration),
    #[error("the session is over: {0}")]
    Ended(EndReason),
    #[error("the session could not be made ready")]
    Failed,
    #[error("the session did not become ready in time")]
    HeldTooLong,
    #[error("the session has as many clients as it may have")]
    TooManyClients,
    #[error("the browser of this session does not answer")]
    BrowserUnavailable,
    #[error("the gateway is stopping")]
    Stopping,
}

impl Refusal {
    const fn status(&self) -> StatusCode {
        match self {
            Self::NotFound | Self::SessionNotFound | Self::TargetNotFound => StatusCode::NOT_FOUND,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Invalid(_) => StatusCode::BAD_REQUEST,
            Self::UpgradeRequired => StatusCode::UPGRADE_REQUIRED,
            Self::Unauthorised => StatusCode::UNAUTHORIZED,
            Self::Origin => StatusCode::FORBIDDEN,
            Self::Ended(_) => StatusCode::GONE,
            Self::Failed | Self::BrowserUnavailable | Self::Stopping => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::HeldTooLong => StatusCode::GATEWAY_TIMEOUT,
            Self::TooManyClients | Self::TooManyGuesses(_) => StatusCode::TOO_MANY_REQUESTS,
        }
    }

    const fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::Method(_) => "method_not_allowed",
            Self::Invalid(_) => "invalid_request",
            Self::UpgradeRequired => "upgrade_required",
            Self::SessionNotFound => "session_not_found",
            Self::TargetNotFound => "target_not_found",
            Self::Unauthorised => "unauthorized",
            Self::Origin => "origin_not_allowed",
            Self::TooManyGuesses(_) => "rate_limited",
            Self::Ended(_) => "session_ended",
            Self::Failed => "session_failed",
            Self::HeldTooLong => "session_not_ready",
            Self::TooManyClients => "too_many_clients",
            Self::BrowserUnavailable => "browser_unavailable",
            Self::Stopping => "stopping",
        }
    }

    fn extra_header(&self) -> Option<(HeaderName, HeaderValue)> {
        match self {
            Self::Method(method) => Some((header::ALLOW, HeaderValue::from_static(method))),
            Self::UpgradeRequired => Some((
                header::SEC_WEBSOCKET_VERSION,
                HeaderValue::from_static("13"),
            )),
            Self::Unauthorised => {
                Some((header::WWW_AUTHENTICATE, HeaderValue::from_static("token")))
            }
            Self::TooManyClients | Self::BrowserUnavailable => {
                Some((header::RETRY_AFTER, HeaderValue::from_static("1")))
            }
            Self::TooManyGuesses(left) => {
                Some((header::RETRY_AFTER, HeaderValue::from(left.as_secs() + 1)))
            }
            Self::NotFound
            | Self::Origin
            | Self::Invalid(_)
            | Self::SessionNotFound
            | Self::TargetNotFound
            | Self::Ended(_)
            | Self::Failed
            | Self::HeldTooLong
            | Self::Stopping => None,
        }
    }

    pub(super) fn response(&self) -> Response<Full<Bytes>> {
        let mut error = json!({ "code": self.code(), "message": self.to_string() });
        if let Self::Ended(reason) = self {
            error["reason"] = reason.as_str().into();
        }
        let body = json!({ "error": error }).to_string();
        let mut response = Response::new(Full::new(Bytes::from(body)));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        if let Some((name, value)) = self.extra_header() {
            headers.insert(name, value);
        }
        response
    }
}

/// Says that there is no place, without taking one: as much as the empty socket takes at once.
pub(super) fn turn_away(stream: &TcpStream) {
    const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
        Content-Type: application/json\r\nConnection: close\r\nRetry-After: 1\r\n\r\n\
        {\"error\":{\"code\":\"too_many_connections\",\"message\":\"the gateway is full\"}}";
    if let Err(error) = stream.try_write(FULL) {
        tracing::debug!(%error, "client turned away without a word");
    }
}
