//! A client of the public API.

use std::{path::PathBuf, time::Duration};

use reqwest::{Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::fail::{FAILED, Fail, INTERNAL, UNAVAILABLE, fail};
use crate::daemon::config::operator_key;

/// A call that takes longer failed.
const PATIENCE: Duration = Duration::from_secs(30);

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
    http: reqwest::Client,
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
        Client::new(&self.url, &key)
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
    /// For the API at `url`.
    ///
    /// # Errors
    /// When this host's TLS or resolver cannot be set up.
    pub(super) fn new(url: &str, key: &str) -> anyhow::Result<Self> {
        Ok(Self {
            http: reqwest::Client::builder().timeout(PATIENCE).build()?,
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
        let mut request = self
            .http
            .request(method, format!("{}{path}", self.url))
            .bearer_auth(self.key.expose_secret());
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request
            .send()
            .await
            .map_err(|error| self.unreachable(&error))?;
        let status = answer.status();
        let text = answer
            .text()
            .await
            .map_err(|error| self.unreachable(&error))?;
        if status.is_success() {
            return if text.is_empty() {
                Ok(None)
            } else {
                Ok(Some(serde_json::from_str(&text)?))
            };
        }
        Err(refusal(status, &text).into())
    }

    fn unreachable(&self, error: &reqwest::Error) -> anyhow::Error {
        let sentence = if error.is_connect() {
            format!(
                "nothing answers at {}; is `chaser up` running there?",
                self.url
            )
        } else {
            format!("the API at {} did not answer: {error}", self.url)
        };
        fail(UNAVAILABLE, sentence)
    }
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
