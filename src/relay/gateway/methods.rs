//! The table: what becomes of each command of a client. Pure; everything not named here passes.
//!
//! Three kinds do not pass. Some would end or bypass the session for everybody: they are refused, or
//! end the one client that meant to end its browser. Some could carry any other command past this
//! table: refused, every current client has a flat way. And some only restore a desktop's defaults
//! over the profile, which clients do without being asked: these are answered `{}` in the browser's
//! place.

use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Map, Value, json};

use super::message::{Envelope, Fault, unanswerable};
use crate::profile::Profile;

/// What becomes of one message.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Verdict {
    /// To the browser as it is.
    Pass,
    /// To the browser in these words.
    Rewrite(String),
    /// Not to the browser; this is the answer.
    Answer(String),
    /// The same, and then this client is through.
    EndClient(String),
}

/// What the table compares with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Phone<'a> {
    pub(super) profile: &'a Profile,
    /// The User-Agent that the browser sends anyway.
    pub(super) user_agent: &'a str,
}

enum Rule {
    Pass,
    Done,
    End,
    Refuse(&'static str),
    Rewrite(&'static str, Value),
}

/// Judges one message of a client.
pub(super) fn judge(message: &[u8], phone: Phone<'_>) -> Verdict {
    let envelope = match Envelope::parse(message) {
        Ok(envelope) => envelope,
        Err(error) => {
            let why = format!("the message is not a readable command: {error}");
            return Verdict::Answer(unanswerable(Fault::Unreadable, &why));
        }
    };
    match rule(&envelope, phone) {
        Rule::Pass => Verdict::Pass,
        Rule::Done => Verdict::Answer(envelope.done()),
        Rule::End => Verdict::EndClient(envelope.done()),
        Rule::Refuse(why) => Verdict::Answer(envelope.refused(&format!(
            "{} is not available in this session: {why}",
            envelope.method
        ))),
        Rule::Rewrite(_, _) if envelope.id.is_none() => Verdict::Pass,
        Rule::Rewrite(method, params) => Verdict::Rewrite(envelope.rewritten(method, &params)),
    }
}

fn rule(envelope: &Envelope<'_>, phone: Phone<'_>) -> Rule {
    match envelope.method.as_ref() {
        "Browser.close" => Rule::End,
        "Browser.crash" | "Browser.crashGpuProcess" => {
            Rule::Refuse("it would end the session for every client")
        }
        "Target.createBrowserContext" => own_proxy(envelope),
        "Target.attachToTarget" => flat(envelope),
        "Target.setAutoAttach" => flat_auto(envelope),
        "Target.sendMessageToTarget" => {
            Rule::Refuse("attach with flatten: true and send to the session itself")
        }
        "Target.exposeDevToolsProtocol" => {
            Rule::Refuse("pages must not drive the browser that they run in")
        }
        "Target.setRemoteLocations" => Rule::Refuse("there are no other browsers to be reached"),
        method if method.starts_with("Tethering.") => {
            Rule::Refuse("ports of the browser's machine are not for clients")
        }
        "Emulation.clearDeviceMetricsOverride"
        | "Page.clearDeviceMetricsOverride"
        | "Emulation.setTouchEmulationEnabled"
        | "Page.setTouchEmulationEnabled"
        | "Emulation.setHardwareConcurrencyOverride"
        | "Browser.setWindowBounds"
        | "Browser.setContentsSize" => Rule::Done,
        "Emulation.setDeviceMetricsOverride" | "Page.setDeviceMetricsOverride" => {
            viewport(envelope, phone.profile)
        }
        "Emulation.setUserAgentOverride" | "Network.setUserAgentOverride" => {
            user_agent(envelope, phone.user_agent)
        }
        _ => Rule::Pass,
    }
}

const UNREADABLE: Rule = Rule::Refuse("its params cannot be read");

fn params<'a, T: Deserialize<'a>>(envelope: &Envelope<'a>) -> Result<T, Rule> {
    let text = envelope.params.map_or("{}", |params| params.get());
    serde_json::from_str(text).map_err(|_bad| UNREADABLE)
}

fn own_proxy(envelope: &Envelope<'_>) -> Rule {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Context {
        proxy_server: Option<IgnoredAny>,
        proxy_bypass_list: Option<IgnoredAny>,
    }
    match params::<Context>(envelope) {
        Err(unreadable) => unreadable,
        Ok(Context {
            proxy_server: Some(_),
            ..
        }) => Rule::Refuse("`proxyServer`: the session has its own egress route"),
        Ok(Context {
            proxy_bypass_list: Some(_),
            ..
        }) => Rule::Refuse("`proxyBypassList`: all traffic takes the session's egress route"),
        Ok(_) => Rule::Pass,
    }
}

const NOT_FLAT: Rule = Rule::Refuse("only with flatten: true");

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Flat {
    flatten: Option<bool>,
    auto_attach: Option<bool>,
}

fn flat(envelope: &Envelope<'_>) -> Rule {
    match params(envelope) {
        Err(unreadable) => unreadable,
        Ok(Flat {
            flatten: Some(true),
            ..
        }) => Rule::Pass,
        Ok(_) => NOT_FLAT,
    }
}

fn flat_auto(envelope: &Envelope<'_>) -> Rule {
    match params(envelope) {
        Err(unreadable) => unreadable,
        Ok(
            Flat {
                flatten: Some(true),
                ..
            }
            | Flat {
                auto_attach: Some(false),
                ..
            },
        ) => Rule::Pass,
        Ok(_) => NOT_FLAT,
    }
}

/// What Puppeteer and Playwright set when nobody asked them for a viewport.
const DEFAULT_VIEWPORTS: [(f64, f64); 2] = [(800.0, 600.0), (1280.0, 720.0)];

fn viewport(envelope: &Envelope<'_>, profile: &Profile) -> Rule {
    let Ok(mut params) = params::<Map<String, Value>>(envelope) else {
        return UNREADABLE;
    };
    let side = |key: &str| params.get(key).and_then(Value::as_f64);
    let (Some(width), Some(height)) = (side("width"), side("height")) else {
        return UNREADABLE;
    };
    if width == 0.0 || height == 0.0 || DEFAULT_VIEWPORTS.contains(&(width, height)) {
        return Rule::Done;
    }
    // The client's viewport on the profile's screen.
    let screen = &profile.screen;
    for (key, value) in [
        ("mobile", json!(true)),
        ("deviceScaleFactor", json!(screen.device_pixel_ratio)),
        ("screenWidth", json!(screen.width)),
        ("screenHeight", json!(screen.height)),
    ] {
        params.insert(key.to_owned(), value);
    }
    Rule::Rewrite("Emulation.setDeviceMetricsOverride", Value::Object(params))
}

fn user_agent(envelope: &Envelope<'_>, own: &str) -> Rule {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Agent {
        user_agent: String,
    }
    match params::<Agent>(envelope) {
        Err(unreadable) => unreadable,
        Ok(Agent { user_agent }) if user_agent.is_empty() || user_agent == own => Rule::Done,
        Ok(_) => Rule::Pass,
    }
}

#[cfg(test)]
#[path = "methods_tests.rs"]
mod tests;
