//! Refusals in the documented shape: `{"error":{"code","message"}}`.

use std::time::Duration;

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;
use tracing::{error, warn};

use crate::{
    control::{ControlError, Exceeded},
    model::{Class, Classify},
};

/// What is answered instead of what was asked for.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
    retry_after: Option<Duration>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            retry_after: None,
        }
    }

    /// A request that can never succeed as written.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", message)
    }

    /// The public word.
    pub(super) const fn code(&self) -> &'static str {
        self.code
    }
}

/// What went wrong, with what lies beneath.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

impl From<ControlError> for Refusal {
    fn from(refused: ControlError) -> Self {
        let status = match &refused {
            ControlError::Unauthorised => StatusCode::UNAUTHORIZED,
            ControlError::SessionNotFound => StatusCode::NOT_FOUND,
            ControlError::SessionNotOpen => StatusCode::CONFLICT,
            ControlError::Exceeded(Exceeded::Concurrent { .. } | Exceeded::Rate { .. }) => {
                StatusCode::TOO_MANY_REQUESTS
            }
            ControlError::Invalid { .. } => StatusCode::BAD_REQUEST,
            ControlError::NoCapacity { .. } | ControlError::NodeAway(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            ControlError::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        // The one place where a refusal is logged.
        match refused.class() {
            Class::Internal => error!(error = chain(&refused), "request failed"),
            Class::Unavailable => warn!(error = chain(&refused), "request refused"),
            Class::Invalid
            | Class::Unauthorised
            | Class::NotFound
            | Class::Conflict
            | Class::Exhausted => {}
        }
        Self {
            status,
            code: refused.code(),
            message: refused.to_string(),
            retry_after: refused.retry_after(),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({ "error": { "code": self.code, "message": self.message } });
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        if let Some(wait) = self.retry_after {
            // Whole seconds, rounded up: who waits that long is not refused for the same reason.
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Bearer");
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}
