//! Patchright, Playwright and Puppeteer: real clients in processes of their own.

use std::{collections::HashMap, path::Path, process::Stdio, sync::Arc, time::Duration};

use chaser::runtime::Tasks;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::oneshot,
};

use super::patience::{eventually, seconds};

const CLIENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients");

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Library {
    Patchright,
    Playwright,
    Puppeteer,
}

/// A client that was started and, unless a test says otherwise, connected.
pub struct Client {
    stdin: ChildStdin,
    answers: Arc<Answers>,
    next: u64,
    _process: Child,
}

/// What a page shows after an attempt.
#[derive(serde::Deserialize)]
pub struct Shown {
    pub error: Option<String>,
    pub protocol: String,
    pub text: String,
}

#[derive(Default)]
struct Answers {
    waiting: Mutex<HashMap<u64, oneshot::Sender<Result<Value, String>>>>,
    events: Mutex<Vec<String>>,
}

impl Library {
    const fn word(self) -> &'static str {
        match self {
            Self::Patchright => "patchright",
            Self::Playwright => "playwright",
            Self::Puppeteer => "puppeteer",
        }
    }

    /// Starts the client and connects it, as the documentation shows.
    pub async fn connect(self, cdp_url: &str) -> Client {
        let mut client = self.start();
        let connected = client.call("connect", json!({ "url": cdp_url })).await;
        connected.unwrap_or_else(|error| panic!("{self:?} does not connect: {error}"));
        client
    }

    /// Starts the client alone.
    pub fn start(self) -> Client {
        self.start_with(&[])
    }

    /// The same, trusting one authority more.
    pub fn start_trusting(self, authority: &Path) -> Client {
        self.start_with(&[("NODE_EXTRA_CA_CERTS", authority)])
    }

    fn start_with(self, environment: &[(&str, &Path)]) -> Client {
        assert!(
            Path::new(CLIENTS).join("node_modules").exists(),
            "the clients are missing: `make test`, or `npm ci` in tests/clients"
        );
        let mut process = Command::new("node")
            .args(["drive.mjs", self.word()])
            .current_dir(CLIENTS)
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("Node.js is installed: `make setup`");
        let answers = Arc::<Answers>::default();
        let (out, inbox) = (process.stdout.take().unwrap(), Arc::clone(&answers));
        Tasks::default().spawn("client", |_stop| inbox.listen(out));
        Client {
            stdin: process.stdin.take().unwrap(),
            answers,
            next: 1,
            _process: process,
        }
    }
}

impl Client {
    /// One command of `drive.mjs`.
    pub async fn call(&mut self, word: &str, with: Value) -> Result<Value, String> {
        let (id, (sender, answer)) = (self.next, oneshot::channel());
        self.next += 1;
        self.answers.waiting.lock().insert(id, sender);
        let line = json!({ "id": id, "do": word, "with": with });
        self.stdin
            .write_all(format!("{line}\n").as_bytes())
            .await
            .unwrap();
        tokio::time::timeout(Duration::from_secs(90), answer)
            .await
            .unwrap_or_else(|_late| panic!("`{word}` has no answer"))
            .unwrap_or_else(|_gone| Err("the client died".to_owned()))
    }

    /// A command that must succeed.
    pub async fn must(&mut self, word: &str, with: Value) -> Value {
        let answer = self.call(word, with).await;
        answer.unwrap_or_else(|error| panic!("`{word}`: {error}"))
    }

    pub async fn goto(&mut self, url: &str) {
        let arrived = self.must("goto", json!({ "url": url })).await;
        assert_eq!(arrived["status"], 200, "{url}: {arrived}");
    }

    /// Goes where it should not be able to go.
    pub async fn attempt(&mut self, url: &str) -> Shown {
        let shown = self.must("attempt", json!({ "url": url })).await;
        serde_json::from_value(shown).unwrap()
    }

    pub async fn evaluate(&mut self, script: &str) -> Value {
        self.must("evaluate", json!({ "script": script })).await
    }

    /// A CDP command on a session of the page.
    pub async fn raw_page(&mut self, method: &str, params: Value) -> Value {
        self.must("raw_page", json!({ "method": method, "params": params }))
            .await
    }

    /// Waits until a client in a `loop` has arrived so often, without one failure; how often it has.
    pub async fn arrivals(&mut self, at_least: u64) -> u64 {
        eventually("the client navigates on", seconds(30), async || {
            let told = self.must("loop_count", json!({})).await;
            assert_eq!(told["failures"], json!([]));
            let arrived = told["arrived"].as_u64().unwrap();
            (arrived >= at_least).then_some(arrived)
        })
        .await
    }

    pub fn was_disconnected(&self) -> bool {
        self.answers
            .events
            .lock()
            .iter()
            .any(|event| event == "disconnected")
    }
}

impl Answers {
    async fn listen(self: Arc<Self>, out: ChildStdout) {
        let mut lines = BufReader::new(out).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let mut line: Value = serde_json::from_str(&line).unwrap();
            if let Some(event) = line["event"].as_str() {
                self.events.lock().push(event.to_owned());
                continue;
            }
            let waiting = self.waiting.lock().remove(&line["id"].as_u64().unwrap());
            let answer = match line["error"].as_str() {
                Some(error) => Err(error.to_owned()),
                None => Ok(line["ok"].take()),
            };
            if let Some(waiting) = waiting {
                // Whoever asked may have given up.
                drop(waiting.send(answer));
            }
        }
        self.waiting.lock().clear();
    }
}
