//! A client of the public API.

use std::{
    error::Error,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, StatusCode, header, http::response::Parts};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::fail::{CONFIG, FAILED, Fail, INTERNAL, UNAVAILABLE, fail};
use crate::{
    daemon::config::operator_key,
    tls::{self, Https},
};

/// A call that takes longer failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// As much of an answer as is read.
const MAX_ANSWER: usize = 16 << 20;

/// Where the API is and who asks.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Api {
    /// URL of the API
    #[arg(
        long = "api",
        env = "CHASER_API_URL",
        value_name = "URL",
        default_value = "http://127.0.0.1:7700",
        global = true
    )]
    url: String,
    /// Authority (PEM) that an https API's certificate must be of [default: those of this host]
    #[arg(
        long = "api-ca",
        env = "CHASER_API_CA",
        value_name = "FILE",
        global = true
    )]
    ca: Option<PathBuf>,
    /// API key; better in the environment, or left to the operator's key in the state directory
    #[arg(
        long,
        env = "CHASER_API_KEY",
        hide_env_values = true,
        value_name = "KEY",
        global = true
    )]
    api_key: Option<String>,
    /// Where the operator's key is looked for
    #[arg(
        long,
        env = "CHASER_STATE_DIR",
        value_name = "DIR",
        default_value = "/var/lib/chaser",
        global = true
    )]
    state_dir: PathBuf,
}

/// The API, ready to be asked.
#[derive(Debug)]
pub(super) struct Client {
    http: Https,
    url: String,
    key: SecretString,
}

impl Api {
    /// Finds the key.
    ///
    /// # Errors
    /// Where there is none.
    pub(super) fn client(&self) -> anyhow::Result<Client> {
        let key = match &self.api_key {
            Some(key) => key.clone(),
            None => self.operator_key()?,
        };
        Client::new(&self.url, &key, self.ca.as_deref())
    }

    /// The key that the first start made: of the given state directory, or of a checkout's.
    fn operator_key(&self) -> anyhow::Result<String> {
        let places = [
            operator_key(&self.state_dir),
            operator_key(&PathBuf::from(".run/state")),
        ];
        places
            .iter()
            .find_map(|place| std::fs::read_to_string(place).ok())
            .ok_or_else(|| {
                fail(
                    FAILED,
                    format!(
                        "no API key: set CHASER_API_KEY, or name the state directory of `chaser up` \
                         with --state-dir ({} cannot be read)",
                        places[0].display()
                    ),
                )
            })
    }
}

impl Client {
    /// For the API at `url`, whose certificate is of the authority in `ca`, or of one of this host's.
    ///
    /// # Errors
    /// What is wrong with the authority.
    pub(super) fn new(url: &str, key: &str, ca: Option<&Path>) -> anyhow::Result<Self> {
        let http = tls::https(ca).map_err(|error| fail(CONFIG, error.to_string()))?;
        Ok(Self {
            http,
            url: url.trim_end_matches('/').to_owned(),
            key: SecretString::from(key.trim()),
        })
    }

    /// One call; `None` where the answer has no body.
    ///
    /// # Errors
    /// The API's own words, or that it cannot be reached.
    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Option<Value>> {
        let key = self.key.expose_secret();
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header(header::AUTHORIZATION, format!("Bearer {key}"));
        let mut text = Bytes::new();
        if let Some(body) = body {
            request = request.header(header::CONTENT_TYPE, "application/json");
            text = serde_json::to_vec(body)?.into();
        }
        let request = request.body(Full::new(text));
        let request = request.map_err(|error| {
            let sentence = format!("{} cannot be asked: {error}", self.url);
            fail(CONFIG, sentence)
        })?;
        let exchanged = tokio::time::timeout(PATIENCE, self.exchange(request));
        let (status, text) = exchanged
            .await
            .unwrap_or_else(|elapsed| Err(self.unreachable(&elapsed)))?;
        if status.is_success() {
            return if text.is_empty() {
                Ok(None)
            } else {
                Ok(Some(serde_json::from_str(&text)?))
            };
        }
        Err(refusal(status, &text).into())
    }

    async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
    ) -> anyhow::Result<(StatusCode, String)> {
        let answer = self.http.request(request).await;
        let answer = answer.map_err(|error| self.unreachable(&error))?;
        let (Parts { status, .. }, body) = answer.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await;
        let body = body.map_err(|error| self.unreachable(&*error))?;
        Ok((
            status,
            String::from_utf8_lossy(&body.to_bytes()).into_owned(),
        ))
    }

    fn unreachable(&self, error: &(dyn Error + 'static)) -> anyhow::Error {
        let cause = root(error);
        let hint = if is_refused(cause) {
            "; is `chaser up` running there?"
        } else if is_of_another_authority(cause) {
            "; name the authority of its certificate with --api-ca"
        } else {
            ""
        };
        let sentence = format!("the API at {} cannot be asked: {cause}{hint}", self.url);
        fail(UNAVAILABLE, sentence)
    }
}

/// What all of it came from; an error of I/O hides what it was made of from its sources.
fn root<'a>(mut error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    loop {
        let within = error.downcast_ref().and_then(io::Error::get_ref);
        let within = within.map(|within| within as &(dyn Error + 'static));
        match within.or_else(|| error.source()) {
            Some(deeper) => error = deeper,
            None => return error,
        }
    }
}

fn is_refused(cause: &(dyn Error + 'static)) -> bool {
    let refused = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    cause.downcast_ref().is_some_and(refused)
}

fn is_of_another_authority(cause: &(dyn Error + 'static)) -> bool {
    use rustls::{CertificateError, Error::InvalidCertificate};

    // The latter where two authorities go by the same name.
    matches!(
        cause.downcast_ref(),
        Some(InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature
        ))
    )
}

/// The API's refusal as a sentence with its code.
fn refusal(status: StatusCode, text: &str) -> Fail {
    let answer: Value = serde_json::from_str(text).unwrap_or_default();
    let word = |key: &str| answer["error"][key].as_str().map(str::to_owned);
    let sentence = match (word("code"), word("message")) {
        (Some(code), Some(message)) => format!("{message} ({code})"),
        _ => format!("the API answered {status}"),
    };
    let exit = match status.as_u16() {
        503 => UNAVAILABLE,
        500..=599 => INTERNAL,
        _ => FAILED,
    };
    Fail { exit, sentence }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_keeps_the_apis_words_and_gets_a_meaningful_exit_code() {
        let said = r#"{"error":{"code":"no_capacity","message":"the node is full"}}"#;
        let fail = refusal(StatusCode::SERVICE_UNAVAILABLE, said);
        assert_eq!(fail.sentence, "the node is full (no_capacity)");
        assert_eq!(fail.exit, UNAVAILABLE);
        assert_eq!(refusal(StatusCode::BAD_GATEWAY, "<html>").exit, INTERNAL);
    }
}
