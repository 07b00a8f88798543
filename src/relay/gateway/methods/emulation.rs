//! A client's emulation against the profile: what it means wins, what it merely does falls back.
//!
//! Libraries emulate a desktop without being asked, and restore a desktop when they clear. On the
//! wire that looks like the wishes of the person at the keyboard, so this is how they are told apart:
//!
//! | a client's command | taken as | becomes |
//! |---|---|---|
//! | the first viewport in a session, 800×600 or 1280×720 at scale 1, not mobile | the library's default (Puppeteer on every page, Playwright in every new context) | `{}` |
//! | the same later in that session, or any other viewport | meant | set; see below |
//! | `clearDeviceMetricsOverride`, width and height 0 | a clear | the profile's screen |
//! | touch off; touch on without a number or with the profile's | a default, or the profile | the profile's touch |
//! | touch on with another number | meant | set |
//! | an empty User-Agent or the profile's, and nothing else | a clear | the profile's identity |
//! | the same with a language, platform or hints | those are meant | the profile's identity with them |
//! | another User-Agent | meant | set; platform and languages left out are the profile's, and so are hints left out beside an Android Chrome |
//! | cores | meant, no library sets them | set |
//!
//! A viewport of a hand-held size (its shorter side below Android's 600 for tablets, or within the
//! profile's screen) is the phone's page in another size: `mobile: false`, scale 0 or 1 and a screen
//! too small for it are what the library filled in, and the phone's take their place. A larger one is
//! another device, and all of it is taken as it stands.
//!
//! "The profile's …" is `{}` as long as the session has never had anything of its own: the
//! supervisor's overrides are in force then, and a session that holds none can lose none. Afterwards
//! it is the supervisor's own command, in the client's session.

use std::{collections::HashMap, mem};

use serde_json::{Map, Value, json};

use super::{Envelope, Phone, Rule, UNREADABLE, params};
use crate::relay::supervisor::Version;

pub(super) const SCREEN: &str = "Emulation.setDeviceMetricsOverride";
pub(super) const TOUCH: &str = "Emulation.setTouchEmulationEnabled";
pub(super) const AGENT: &str = "Emulation.setUserAgentOverride";
pub(super) const CORES: &str = "Emulation.setHardwareConcurrencyOverride";

/// Sessions that are remembered; of those beyond, every clear is sent on, and no default passes.
const SESSIONS: usize = 4096;
/// What Puppeteer and Playwright set when nobody asked them for a viewport.
const DEFAULT_VIEWPORTS: [(f64, f64); 2] = [(800.0, 600.0), (1280.0, 720.0)];
/// Android's line between phones and tablets, density-independent pixels of the shorter side.
const TABLET: f64 = 600.0;

/// What one client has emulated, by its sessions (the empty name is the connection's own).
#[derive(Debug, Default)]
pub(in crate::relay::gateway) struct Emulated {
    sessions: HashMap<String, Held>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Held {
    viewport_asked: bool,
    screen: bool,
    touch: bool,
    agent: bool,
}

impl Emulated {
    /// The session is over, and with it all that it held.
    pub(in crate::relay::gateway) fn forget(&mut self, session: &str) {
        self.sessions.remove(session);
    }

    fn with(&mut self, session: &str, judge: impl FnOnce(&mut Held) -> Rule) -> Rule {
        if self.sessions.len() >= SESSIONS && !self.sessions.contains_key(session) {
            return judge(&mut Held {
                viewport_asked: false,
                screen: true,
                touch: true,
                agent: true,
            });
        }
        judge(self.sessions.entry(session.to_owned()).or_default())
    }
}

/// The rule for a command of the profile's own kinds; `None` for any other.
pub(super) fn rule(
    envelope: &Envelope<'_>,
    phone: Phone<'_>,
    emulated: &mut Emulated,
) -> Option<Rule> {
    let judge: fn(Map<String, Value>, Phone<'_>, &mut Held) -> Rule = match envelope.method.as_ref()
    {
        "Emulation.clearDeviceMetricsOverride" | "Page.clearDeviceMetricsOverride" => {
            |_none, phone, held| fall_back(phone, SCREEN, held.screen)
        }
        "Emulation.setDeviceMetricsOverride" | "Page.setDeviceMetricsOverride" => viewport,
        "Emulation.setTouchEmulationEnabled" | "Page.setTouchEmulationEnabled" => touch,
        "Emulation.setUserAgentOverride" | "Network.setUserAgentOverride" => agent,
        "Emulation.setHardwareConcurrencyOverride" => {
            |params, _phone, _held| Rule::Own(CORES, Value::Object(params))
        }
        _ => return None,
    };
    let Ok(params) = params::<Map<String, Value>>(envelope) else {
        return Some(UNREADABLE);
    };
    let session = envelope.session.as_deref().unwrap_or_default();
    Some(emulated.with(session, |held| judge(params, phone, held)))
}

fn fall_back(phone: Phone<'_>, method: &'static str, held: bool) -> Rule {
    match phone.own(method) {
        Some(own) if held => Rule::Profile(method, own),
        _ => Rule::Done,
    }
}

fn viewport(mut params: Map<String, Value>, phone: Phone<'_>, held: &mut Held) -> Rule {
    let number = |key: &str| params.get(key).and_then(Value::as_f64);
    let (Some(width), Some(height)) = (number("width"), number("height")) else {
        return UNREADABLE;
    };
    let scale = number("deviceScaleFactor").unwrap_or_default();
    let left_out_scale = scale == 0.0 || scale == 1.0;
    let mobile = params.get("mobile") == Some(&Value::Bool(true));
    let first = !mem::replace(&mut held.viewport_asked, true);
    if width == 0.0 && height == 0.0 && left_out_scale {
        return fall_back(phone, SCREEN, held.screen);
    }
    if first && !mobile && left_out_scale && DEFAULT_VIEWPORTS.contains(&(width, height)) {
        return Rule::Done;
    }
    held.screen = true;
    let screen = &phone.profile.screen;
    let (across, down) = (f64::from(screen.width), f64::from(screen.height));
    let or = |own: f64, profile: u32| if own == 0.0 { f64::from(profile) } else { own };
    let (width, height) = (or(width, screen.width), or(height, screen.viewport_height));
    let upright = width <= across && height <= down;
    let turned = width <= down && height <= across;
    if !upright && !turned && width.min(height) >= TABLET {
        return Rule::Own(SCREEN, Value::Object(params));
    }
    let mut set = |key: &str, value: Value| drop(params.insert(key.to_owned(), value));
    set("width", whole(width));
    set("height", whole(height));
    if left_out_scale {
        set("deviceScaleFactor", json!(screen.device_pixel_ratio));
    }
    let (wide, high) = match (upright, turned) {
        (true, _) => (across, down),
        (false, true) => (down, across),
        (false, false) => (width, height),
    };
    if upright || turned {
        set("screenWidth", whole(wide));
        set("screenHeight", whole(high));
    } else {
        params.entry("screenWidth").or_insert_with(|| whole(wide));
        params.entry("screenHeight").or_insert_with(|| whole(high));
    }
    if !mobile || !params.contains_key("screenOrientation") {
        let orientation = if wide > high {
            json!({ "type": "landscapePrimary", "angle": 90 })
        } else {
            json!({ "type": "portraitPrimary", "angle": 0 })
        };
        params.insert("screenOrientation".to_owned(), orientation);
    }
    params.insert("mobile".to_owned(), Value::Bool(true));
    Rule::Own(SCREEN, Value::Object(params))
}

/// DevTools takes pixels as integers only.
fn whole(pixels: f64) -> Value {
    #[expect(clippy::cast_possible_truncation, reason = "rounds, and saturates")]
    let pixels = pixels.round() as i64;
    Value::from(pixels)
}

fn touch(params: Map<String, Value>, phone: Phone<'_>, held: &mut Held) -> Rule {
    let Some(enabled) = params.get("enabled").and_then(Value::as_bool) else {
        return UNREADABLE;
    };
    let points = params.get("maxTouchPoints").and_then(Value::as_u64);
    let own = points.filter(|points| *points != u64::from(phone.profile.input.touch_points));
    if !enabled || own.is_none() {
        return fall_back(phone, TOUCH, held.touch);
    }
    held.touch = true;
    Rule::Own(TOUCH, Value::Object(params))
}

fn agent(given: Map<String, Value>, phone: Phone<'_>, held: &mut Held) -> Rule {
    let Some(user_agent) = given.get("userAgent").and_then(Value::as_str) else {
        return UNREADABLE;
    };
    let Some(Value::Object(own)) = phone.own(AGENT) else {
        return Rule::Pass;
    };
    let profiles = user_agent.is_empty() || user_agent == phone.user_agent;
    if profiles && given.keys().all(|key| key == "userAgent") {
        return fall_back(phone, AGENT, held.agent);
    }
    held.agent = true;
    let mut set = own;
    if !profiles {
        match hints(user_agent, &set) {
            Some(hints) => set.insert("userAgentMetadata".to_owned(), hints),
            None => set.remove("userAgentMetadata"),
        };
    }
    let meant = given
        .into_iter()
        .filter(|(key, value)| key != "userAgent" || (!profiles && !value.is_null()));
    set.extend(meant);
    Rule::Own(AGENT, Value::Object(set))
}

/// The hints that go with the User-Agent of another Chrome on Android. No other device's are known:
/// without any, Chrome sends none.
fn hints(user_agent: &str, own: &Map<String, Value>) -> Option<Value> {
    let (_, device) = user_agent.split_once("(Linux; Android ")?;
    let (device, rest) = device.split_once(')')?;
    let chrome = rest.split(' ').find(|word| word.starts_with("Chrome/"))?;
    let version = Version::of(chrome)?;
    let mut hints = own.get("userAgentMetadata")?.clone();
    let running = hints["fullVersion"].as_str().unwrap_or_default();
    if running.split('.').next() != Some(version.major.to_string().as_str()) {
        hints["brands"] = version.brands();
        hints["fullVersionList"] = version.full_version_list();
        hints["fullVersion"] = json!(version.full);
    }
    let (android, model) = device.split_once("; ").unwrap_or((device, "K"));
    let model = model.split(" Build/").next().unwrap_or(model);
    // `Android 10; K` says nothing of the device: that is the reduced User-Agent.
    if model != "K" {
        let parts = android.split('.').chain(["0", "0"]).take(3);
        hints["platformVersion"] = json!(parts.collect::<Vec<_>>().join("."));
        hints["model"] = json!(model);
    }
    hints["mobile"] = json!(rest.contains(" Mobile "));
    Some(hints)
}
