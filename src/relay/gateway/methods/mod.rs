//! The table: what becomes of each command of a client. Pure; everything not named here passes.
//!
//! Three kinds do not pass. Some would end or bypass the session for everybody: they are refused, or
//! end the one client that meant to end its browser. Some could carry any other command past this
//! table: refused, every current client has a flat way. And some emulate a device: what a client
//! means wins, what its library does without being asked falls back to the profile ([`emulation`]).
//!
//! Others need a little help: a screenshot of a page in the background waits for it to be brought to
//! the front, and downloads go where the browser can write.

mod emulation;

use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Map, Value};

pub(super) use self::emulation::Emulated;
use super::message::{Envelope, Fault, unanswerable};
use crate::{cdp::Command, model::Capabilities, profile::Profile};

/// What becomes of one message.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Verdict {
    /// To the browser as it is.
    Pass,
    /// To the browser in these words.
    Rewrite(String),
    /// To the browser in these words: from now on what `method` sets is this client's on the target
    /// of `session` (`meant`), or the profile's again.
    Emulate {
        text: String,
        session: Option<String>,
        method: &'static str,
        meant: bool,
    },
    /// To the browser as it is, once the page of this session is in front.
    InFront(Option<String>),
    /// Not to the browser; this is the answer.
    Answer(String),
    /// The same, and then this client is through.
    EndClient(String),
}

/// What the table compares with.
#[derive(Clone, Copy)]
pub(super) struct Phone<'a> {
    pub(super) profile: &'a Profile,
    /// The User-Agent that the browser sends anyway.
    pub(super) user_agent: &'a str,
    /// What the supervisor sends to a page: made when it is asked for, which is seldom, and as large as
    /// all else that is held for a client.
    pub(super) overrides: &'a (dyn Fn() -> Vec<Command> + Sync),
    /// The browser is a device's own, and can so much: whatever a client emulates there is its own affair.
    pub(super) device: Option<Capabilities>,
}

impl Phone<'_> {
    /// The profile's own parameters of `method`.
    fn own(&self, method: &str) -> Option<Value> {
        let mut overrides = (self.overrides)().into_iter();
        let own = overrides.find(|command| command.method == method)?;
        Some(own.params)
    }
}

enum Rule {
    Pass,
    Done,
    End,
    Refuse(&'static str),
    Rewrite(&'static str, Value),
    /// The client's own emulation.
    Own(&'static str, Value),
    /// Back to the profile's.
    Profile(&'static str, Value),
    InFront,
}

/// Judges one message of a client that has emulated so much before.
pub(super) fn judge(message: &[u8], phone: Phone<'_>, emulated: &mut Emulated) -> Verdict {
    let envelope = match Envelope::parse(message) {
        Ok(envelope) => envelope,
        Err(error) => {
            let why = format!("the message is not a readable command: {error}");
            return Verdict::Answer(unanswerable(Fault::Unreadable, &why));
        }
    };
    if envelope.id.is_some_and(|id| id < 0) {
        return Verdict::Answer(envelope.refused("ids below zero are the gateway's own"));
    }
    match rule(&envelope, phone, emulated) {
        Rule::Pass => Verdict::Pass,
        Rule::Done => Verdict::Answer(envelope.done()),
        Rule::End => Verdict::EndClient(envelope.done()),
        Rule::Refuse(why) => Verdict::Answer(envelope.refused(&format!(
            "{} is not available in this session: {why}",
            envelope.method
        ))),
        // Without an id the browser refuses it, in its own words.
        _ if envelope.id.is_none() => Verdict::Pass,
        Rule::Rewrite(method, params) => Verdict::Rewrite(envelope.rewritten(method, &params)),
        Rule::Own(method, params) => emulate(&envelope, method, &params, true),
        Rule::Profile(method, params) => emulate(&envelope, method, &params, false),
        Rule::InFront => Verdict::InFront(envelope.session.map(Into::into)),
    }
}

fn emulate(envelope: &Envelope<'_>, method: &'static str, params: &Value, meant: bool) -> Verdict {
    Verdict::Emulate {
        text: envelope.rewritten(method, params),
        session: envelope.session.as_deref().map(str::to_owned),
        method,
        meant,
    }
}

fn rule(envelope: &Envelope<'_>, phone: Phone<'_>, emulated: &mut Emulated) -> Rule {
    if phone.device.is_none()
        && let Some(rule) = emulation::rule(envelope, phone, emulated)
    {
        return rule;
    }
    let can = |what: fn(Capabilities) -> bool| phone.device.is_none_or(what);
    match envelope.method.as_ref() {
        "Browser.close" => Rule::End,
        "Browser.crash" | "Browser.crashGpuProcess" => {
            Rule::Refuse("it would end the session for every client")
        }
        "Target.createBrowserContext" if !can(|device| device.browser_contexts) => {
            Rule::Refuse(ONE_CONTEXT)
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
        // The window is the profile's; Playwright sizes it along with every viewport.
        "Browser.setWindowBounds" | "Browser.setContentsSize" => Rule::Done,
        // Libraries send it whenever they connect, and give up where it is refused.
        "Browser.setDownloadBehavior" | "Page.setDownloadBehavior"
            if !can(|device| device.downloads) =>
        {
            Rule::Done
        }
        "Browser.setDownloadBehavior" | "Page.setDownloadBehavior" => {
            downloads(envelope, phone.device.is_some())
        }
        "Page.captureScreenshot" => Rule::InFront,
        _ => Rule::Pass,
    }
}

/// Another context under the name of the only one would share its cookies, and take everything along where a
/// client disposes of it.
const ONE_CONTEXT: &str = "the browser of this device has one context only, which is there already (`browser.contexts()[0]`)";

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

/// Where the browser can write: its scratch space, which ends with it.
const DOWNLOADS: &str = "/tmp/downloads";

/// A client names a folder of its own machine, which the browser cannot have. What a device downloads stays
/// where its Chrome puts it: a client hears of it, where it wants to, and gets no file.
fn downloads(envelope: &Envelope<'_>, on_device: bool) -> Rule {
    let Ok(mut params) = params::<Map<String, Value>>(envelope) else {
        return UNREADABLE;
    };
    if !params.contains_key("downloadPath") {
        return Rule::Pass;
    }
    if on_device {
        params.remove("downloadPath");
        params.insert("behavior".to_owned(), "default".into());
    } else {
        params.insert("downloadPath".to_owned(), DOWNLOADS.into());
    }
    let method = match envelope.method.as_ref() {
        "Page.setDownloadBehavior" => "Page.setDownloadBehavior",
        _ => "Browser.setDownloadBehavior",
    };
    Rule::Rewrite(method, Value::Object(params))
}

#[cfg(test)]
mod tests;
