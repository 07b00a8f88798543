//! The session API, as the self-check asks it.

use std::{error::Error, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::http::{Method, Request, header};
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

use super::{CheckFailed, LOOK, Subject};
use crate::tls::{self, Https};

const READY_LIMIT: Duration = Duration::from_secs(90);
const CALL_LIMIT: Duration = Duration::from_secs(30);
const MAX_ANSWER: usize = 1 << 20;

pub(super) struct Api<'a> {
    http: Https,
    pub(super) subject: &'a Subject<'a>,
}

impl<'a> Api<'a> {
    pub(super) fn new(subject: &'a Subject<'a>) -> Result<Self, CheckFailed> {
        let http = match &subject.identity {
            Some(identity) => tls::https_of(tls::pinned(identity)?),
            None => tls::https(None)?,
        };
        Ok(Self { http, subject })
    }

    pub(super) async fn call(&self, method: Method, path: &str) -> Result<Value, CheckFailed> {
        let what = method.to_string();
        let Subject {
            api, key, identity, ..
        } = self.subject;
        let scheme = if identity.is_some() { "https" } else { "http" };
        let request = Request::builder()
            .method(method)
            .uri(format!("{scheme}://{api}{path}"))
            .header(header::AUTHORIZATION, format!("Bearer {}", key.expose()))
            .body(Full::new(Bytes::new()));
        let request =
            request.map_err(|_invalid| CheckFailed::Nonsense("the API has no address"))?;
        let exchange = async {
            let answer = self.http.request(request).await?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), MAX_ANSWER)
                .collect()
                .await?;
            Ok::<_, Box<dyn Error + Send + Sync>>((status, body.to_bytes()))
        };
        let answered = timeout(CALL_LIMIT, exchange).await;
        let answered = answered.map_err(|late| CheckFailed::Api(late.into()))?;
        let (status, bytes) = answered.map_err(CheckFailed::Api)?;
        let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        if status.is_success() {
            return Ok(body);
        }
        Err(CheckFailed::Refused {
            what,
            status: status.as_u16(),
            message: body["error"]["message"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        })
    }

    /// The session, once it is ready.
    pub(super) async fn ready(&self, path: &str) -> Result<Value, CheckFailed> {
        let until = Instant::now() + READY_LIMIT;
        while Instant::now() < until {
            let session = self.call(Method::GET, path).await?;
            match session["status"].as_str() {
                Some("ready") => return Ok(session),
                Some("creating") => sleep(LOOK).await,
                other => {
                    let why = session["error"]["message"].as_str();
                    let why = why.or_else(|| session["ended_reason"].as_str());
                    return Err(CheckFailed::NotReady {
                        status: other.unwrap_or_default().to_owned(),
                        message: why.unwrap_or_default().to_owned(),
                    });
                }
            }
        }
        Err(CheckFailed::Slow(READY_LIMIT))
    }
}
