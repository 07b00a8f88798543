//! The public API, spoken as any customer would.

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

use super::patience::{eventually, seconds};

/// One workspace's access.
#[derive(Clone)]
pub struct Api {
    http: Client,
    base: String,
    key: String,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub retry_after: Option<String>,
    pub body: Value,
}

/// A session that was ordered here.
#[derive(Clone)]
pub struct Session {
    api: Api,
    pub id: String,
    pub cdp_url: String,
}

impl Api {
    pub fn new(base: String, key: &str) -> Self {
        // No connection outlives its request: the descriptors of the daemon are counted.
        let http = Client::builder()
            .timeout(seconds(60))
            .no_proxy()
            .pool_max_idle_per_host(0)
            .build()
            .unwrap();
        Self {
            http,
            base,
            key: key.to_owned(),
        }
    }

    /// The same with a header in every request.
    pub fn saying(&self, name: &'static str, value: &str) -> Self {
        let headers = [(name.parse().unwrap(), value.parse().unwrap())];
        let http = Client::builder()
            .timeout(seconds(60))
            .no_proxy()
            .pool_max_idle_per_host(0)
            .default_headers(headers.into_iter().collect());
        let http = http.build().unwrap();
        Self {
            http,
            ..self.clone()
        }
    }

    pub fn http(&self) -> &Client {
        &self.http
    }

    pub fn base(&self) -> &str {
        &self.base
    }

    pub fn with_key(&self, key: &str) -> Self {
        Self {
            key: key.to_owned(),
            ..self.clone()
        }
    }

    pub async fn call(&self, method: Method, path: &str, body: Option<String>) -> Answer {
        let mut request = self
            .http
            .request(method, format!("{}{path}", self.base))
            .bearer_auth(&self.key);
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body);
        }
        let response = request.send().await.unwrap();
        let status = response.status();
        let retry_after = response
            .headers()
            .get("retry-after")
            .map(|value| value.to_str().unwrap().to_owned());
        let text = response.text().await.unwrap();
        let body = if text.is_empty() {
            Value::Null
        } else {
            serde_json::from_str(&text).unwrap_or_else(|_| panic!("not JSON: {text}"))
        };
        Answer {
            status,
            retry_after,
            body,
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, None).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.call(Method::POST, path, Some(body.to_string())).await
    }

    /// Orders a session; it may still be `creating`.
    pub async fn create(&self) -> Session {
        let answer = self
            .post("/v1/sessions", &json!({ "ttl_seconds": 1800 }))
            .await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
        self.adopt(&answer.body)
    }

    /// A session as this API shows it.
    pub fn adopt(&self, object: &Value) -> Session {
        let text = |field: &str| object[field].as_str().unwrap().to_owned();
        Session {
            api: self.clone(),
            id: text("id"),
            cdp_url: text("cdp_url"),
        }
    }

    /// Orders a session and waits for it.
    pub async fn ready_session(&self) -> Session {
        let session = self.create().await;
        session.wait_for("ready").await;
        session
    }
}

impl Session {
    pub async fn get(&self) -> Value {
        let answer = self.api.get(&self.path()).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        answer.body
    }

    pub async fn delete(&self) -> Answer {
        self.api.call(Method::DELETE, &self.path(), None).await
    }

    /// Waits for a status; another terminal one is a failure.
    pub async fn wait_for(&self, status: &str) -> Value {
        eventually(&format!("session is {status}"), seconds(120), async || {
            let now = self.get().await;
            let is = now["status"].as_str().unwrap();
            let terminal = is == "closed" || is == "error";
            assert!(is == status || !terminal, "wanted {status}: {now}");
            (is == status).then_some(now)
        })
        .await
    }

    /// The address that this session leaves from.
    pub async fn egress_ip(&self) -> std::net::IpAddr {
        self.get().await["proxy_ip"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap()
    }

    /// `/json/version` of the gateway.
    pub fn version_url(&self) -> String {
        format!(
            "{}/json/version",
            self.cdp_url.replacen("ws://", "http://", 1)
        )
    }

    fn path(&self) -> String {
        format!("/v1/sessions/{}", self.id)
    }
}

impl Answer {
    /// The documented shape of every error: `{"error":{"code","message"}}`. Answers the message.
    pub fn refused(&self, status: u16, code: &str) -> &str {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        let error = self.body["error"].as_object().expect("an error object");
        assert_eq!(error["code"], code, "{}", self.body);
        let message = error["message"].as_str().expect("a message");
        assert!(!message.is_empty());
        message
    }
}
