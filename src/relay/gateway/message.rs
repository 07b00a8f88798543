//! Messages of clients, read no further than the table needs, and the answers that we give in the
//! browser's place. Pure.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json, value::RawValue};

/// The parts of a command that decide what becomes of it. A key that is there twice is refused:
/// two parsers could disagree on which counts.
#[derive(Debug, Deserialize)]
pub(super) struct Envelope<'a> {
    pub(super) id: Option<i64>,
    #[serde(borrow, default)]
    pub(super) method: Cow<'a, str>,
    #[serde(borrow, rename = "sessionId")]
    pub(super) session: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) params: Option<&'a RawValue>,
}

/// JSON-RPC's codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Not JSON, or ambiguous.
    Unreadable,
    /// No id to answer to.
    NoId,
    /// Not served.
    Refused,
}

impl Fault {
    const fn code(self) -> i32 {
        match self {
            Self::Unreadable => -32_700,
            Self::NoId => -32_600,
            Self::Refused => -32_000,
        }
    }
}

#[derive(Serialize)]
struct Forward<'a> {
    id: i64,
    method: &'a str,
    params: &'a Value,
    #[serde(rename = "sessionId", skip_serializing_if = "Option::is_none")]
    session: Option<&'a str>,
}

impl<'a> Envelope<'a> {
    pub(super) fn parse(message: &'a [u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(message)
    }

    /// `{}` as the result.
    pub(super) fn done(&self) -> String {
        self.reply("result", json!({}))
    }

    pub(super) fn refused(&self, why: &str) -> String {
        self.reply("error", fault(Fault::Refused, why))
    }

    /// The same command with other words.
    pub(super) fn rewritten(&self, method: &str, params: &Value) -> String {
        let forward = Forward {
            id: self.id.unwrap_or_default(),
            method,
            params,
            session: self.session.as_deref(),
        };
        // Numbers, strings and a value: nothing in it can fail to be written.
        serde_json::to_string(&forward).unwrap_or_default()
    }

    fn reply(&self, key: &str, value: Value) -> String {
        let Some(id) = self.id else {
            return unanswerable(Fault::NoId, "Message must have integer 'id' property");
        };
        let mut reply = json!({ "id": id });
        reply[key] = value;
        if let Some(session) = &self.session {
            reply["sessionId"] = session.as_ref().into();
        }
        reply.to_string()
    }
}

/// The answer to a message that has no id, or whose id cannot be read.
pub(super) fn unanswerable(what: Fault, why: &str) -> String {
    json!({ "error": fault(what, why) }).to_string()
}

fn fault(what: Fault, why: &str) -> Value {
    json!({ "code": what.code(), "message": why })
}
