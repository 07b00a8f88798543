//! A CDP connection with nothing between socket and clock: frames are written and read here, answers
//! are told by their first bytes and parsed only where they are needed. One task, no queue.

use anyhow::{Context, bail};
use bytes::{Bytes, BytesMut};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::cdp::{self, Joiner, Message, Opcode, Sender};

/// Larger than any answer that is asked for here.
const MAX_MESSAGE: u64 = 256 << 20;
/// Room for one read.
const READ: usize = 256 << 10;

/// Attached to the page of one browser.
#[derive(Debug)]
pub(super) struct Channel {
    stream: TcpStream,
    read: BytesMut,
    joiner: Joiner,
    session: String,
    last: u64,
}

impl Channel {
    /// Opens the WebSocket and attaches to the page.
    ///
    /// # Errors
    /// Whatever the browser, or who stands before it, says.
    pub(super) async fn open(mut stream: TcpStream, path: &str) -> anyhow::Result<Self> {
        let read = cdp::open(&mut stream, path).await?;
        let mut channel = Self {
            stream,
            read,
            joiner: Joiner::new(Sender::Server, MAX_MESSAGE),
            session: String::new(),
            last: 0,
        };
        let targets = channel.call("Target.getTargets", &json!({})).await?;
        let targets = targets["targetInfos"].as_array();
        let page = targets
            .into_iter()
            .flatten()
            .find(|target| target["type"] == "page")
            .context("the browser has no page")?;
        let asked = json!({ "targetId": page["targetId"], "flatten": true });
        let attached = channel.call("Target.attachToTarget", &asked).await?;
        let session = attached["sessionId"].as_str().context("no session")?;
        session.clone_into(&mut channel.session);
        Ok(channel)
    }

    async fn call(&mut self, method: &str, params: &Value) -> anyhow::Result<Value> {
        self.last += 1;
        let text = json!({ "id": self.last, "method": method, "params": params });
        let mut out = BytesMut::new();
        cdp::frame(
            &mut out,
            Opcode::Text,
            Some([0; 4]),
            text.to_string().as_bytes(),
        );
        self.stream.write_all(&out).await?;
        let answer = self.answer(self.last).await?;
        let mut answer: Value = serde_json::from_slice(&answer)?;
        if answer["result"].is_null() {
            bail!("{method}: {}", answer["error"]);
        }
        Ok(answer["result"].take())
    }

    /// Evaluates `count` times, all sent before the first answer is read; the size of the answers.
    ///
    /// # Errors
    /// When the connection ends, or an evaluation fails.
    pub(super) async fn evaluate(&mut self, script: &Script, count: u64) -> anyhow::Result<usize> {
        let mut out = BytesMut::new();
        for _ in 0..count {
            self.last += 1;
            let text = script.command(self.last, &self.session);
            cdp::frame(&mut out, Opcode::Text, Some([0; 4]), text.as_bytes());
        }
        let (mut reading, mut size) = (self.last - count + 1, 0);
        self.stream.write_all(&out).await?;
        while reading <= self.last {
            let answer = self.answer(reading).await?;
            if !answer_ok(&answer) {
                bail!("an evaluation failed: {}", String::from_utf8_lossy(&answer));
            }
            size += answer.len();
            reading += 1;
        }
        Ok(size)
    }

    async fn answer(&mut self, id: u64) -> anyhow::Result<Bytes> {
        let begins = format!("{{\"id\":{id},");
        loop {
            while let Some(message) = self.joiner.next(&mut self.read)? {
                match message {
                    Message::Text(text) if text.starts_with(begins.as_bytes()) => return Ok(text),
                    Message::Close(code, reason) => bail!("closed with {code} {reason}"),
                    // Events, and signs of life.
                    Message::Text(_) | Message::Binary(_) | Message::Ping(_) | Message::Pong(_) => {
                    }
                }
            }
            self.read.reserve(READ);
            if self.stream.read_buf(&mut self.read).await? == 0 {
                bail!("the connection ended");
            }
        }
    }
}

/// What is evaluated, as JSON already.
#[derive(Debug)]
pub(super) struct Script(String);

impl Script {
    pub(super) fn new(expression: &str) -> Self {
        Self(Value::from(expression).to_string())
    }

    fn command(&self, id: u64, session: &str) -> String {
        let expression = &self.0;
        format!(
            "{{\"id\":{id},\"method\":\"Runtime.evaluate\",\"sessionId\":\"{session}\",\
             \"params\":{{\"expression\":{expression},\"returnByValue\":true}}}}"
        )
    }
}

/// A result, and no exception in it; told by the ends, which is where DevTools puts them.
fn answer_ok(answer: &[u8]) -> bool {
    let head = &answer[..answer.len().min(64)];
    let tail = &answer[answer.len().saturating_sub(512)..];
    let has = |part: &[u8], word: &[u8]| part.windows(word.len()).any(|seen| seen == word);
    has(head, b"\"result\":") && !has(tail, b"exceptionDetails")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_json_whatever_is_evaluated() {
        let script = Script::new("'\"'.length");
        let command: Value = serde_json::from_str(&script.command(7, "S")).unwrap();
        assert_eq!(command["id"], 7);
        assert_eq!(command["params"]["expression"], "'\"'.length");
    }

    #[test]
    fn an_exception_is_no_success() {
        assert!(answer_ok(
            br#"{"id":1,"result":{"result":{"type":"number","value":1}}}"#
        ));
        assert!(!answer_ok(
            br#"{"id":1,"error":{"code":-32000,"message":"x"}}"#
        ));
        let thrown = br#"{"id":1,"result":{"result":{},"exceptionDetails":{"text":"Uncaught"}}}"#;
        assert!(!answer_ok(thrown));
    }
}
