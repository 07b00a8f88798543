//! What the profile's data says of each signal of each kind of target.

use std::collections::BTreeMap;

use chaser::profile::{Hover, Network, Orientation, Pointer, Profile};
use serde_json::{Value, json};

use super::{
    site::{DEVICE_HINTS, HINTS},
    tour::{Kind, Sighting},
};

/// A frame that nobody gave a size.
const FRAME: (u32, u32) = (300, 150);
/// What a phone lays a page out at that says nothing of its width.
const WIDE: u32 = 980;

/// What depends on a document's own size.
const SIZES: [&str; 6] = [
    "innerWidth",
    "innerHeight",
    "outerWidth",
    "outerHeight",
    "media.width",
    "media.orientation",
];

pub type Signals = BTreeMap<String, Value>;

/// A profile in a browser of a certain version.
#[derive(Debug, Clone)]
pub struct Phone {
    pub profile: Profile,
    /// Such as `156.0.8078.79`.
    pub version: String,
}

impl Phone {
    fn major(&self) -> u32 {
        self.version.split('.').next().unwrap().parse().unwrap()
    }

    /// What scripts must read, `later` a little more than at first.
    pub fn scripts(&self, seen: &Sighting, later: bool) -> Signals {
        let mut want = self.identity(seen.report.secure);
        if seen.kind == Kind::Worker {
            return want;
        }
        self.input(&mut want);
        self.screen(seen.kind, &mut want);
        let mut set = |name: &str, value: Value| want.insert(name.to_owned(), value);
        set("webdriver", json!(false));
        for none in ["plugins", "mimeTypes", "scrollbar"] {
            set(none, json!(0));
        }
        set("pdfViewerEnabled", json!(false));
        let fonts = json!({ "installed": ["Roboto"], "sansSerif": "Roboto" });
        set("fonts", fonts);
        let mobile: &[&str] = match seen.report.secure {
            true => &[
                "share",
                "contacts",
                "bluetooth",
                "NDEFReader",
                "OrientationEvent",
            ],
            false => &["OrientationEvent"],
        };
        set("APIs of a phone", json!(mobile));
        set("APIs of a desktop", json!([]));
        if !later {
            if seen.kind == Kind::Frame {
                // One in a process of its own hears its size when its parent has laid it out.
                for size in SIZES {
                    want.remove(size);
                }
            }
            return want;
        }
        let (width, height) = self.viewport(seen.kind);
        want.insert("visualViewport.width".to_owned(), json!(width));
        want.insert("visualViewport.height".to_owned(), json!(height));
        if !seen.report.later["WebGL renderer"].is_null() {
            // No two phones have the same; none of them draws in software.
            want.insert(
                "WebGL vendor".to_owned(),
                json!("a maker of phones' graphics"),
            );
            want.insert("WebGL renderer".to_owned(), json!("a phone's graphics"));
        }
        if seen.target == "no viewport meta" {
            want.insert("text autosizing".to_owned(), json!(self.screen_is_narrow()));
        }
        if seen.kind != Kind::Frame {
            self.phone_only(seen, &mut want);
        }
        want
    }

    /// The client hints that a script has to ask for.
    pub fn high(&self, seen: &Sighting) -> Value {
        let identity = &self.profile.identity;
        if !seen.report.secure {
            return Value::Null;
        }
        json!({
            "architecture": "",
            "bitness": "",
            "formFactors": identity.form_factors,
            "fullVersionList": self.brands(&self.version),
            "model": identity.model,
            "platformVersion": identity.platform_version,
            "uaFullVersion": self.version,
            "wow64": false,
        })
    }

    /// The headers of a request.
    pub fn headers(&self, seen: &Sighting) -> Signals {
        let (profile, asked) = (&self.profile, seen.asked);
        let quoted = |text: &str| json!(format!("\"{text}\""));
        let mut want = Signals::new();
        let mut set = |name: &str, value: Value| want.insert(name.to_owned(), value);
        set("user-agent", json!(profile.user_agent(self.major())));
        set(
            "accept-language",
            json!(accept_language(&profile.languages)),
        );
        if seen.kind == Kind::Worker {
            // Chrome sends no client hints for a worker's own script.
            for hint in ["sec-ch-ua", "sec-ch-ua-mobile", "sec-ch-ua-platform"] {
                set(hint, Value::Null);
            }
            return want;
        }
        set("sec-ch-ua", self.brands(&self.major().to_string()));
        let mobile = if profile.is_mobile() { "?1" } else { "?0" };
        set("sec-ch-ua-mobile", json!(mobile));
        set("sec-ch-ua-platform", quoted("Android"));
        if !asked {
            return want;
        }
        let identity = &profile.identity;
        let factors: Vec<_> = identity
            .form_factors
            .iter()
            .map(|f| format!("\"{f}\""))
            .collect();
        let told = [
            quoted(""),
            quoted(""),
            json!(factors.join(", ")),
            quoted(&self.version),
            self.brands(&self.version),
            quoted(&identity.model),
            quoted(&identity.platform_version),
            json!("?0"),
            json!(profile.hardware.memory_gib.to_string()),
            json!(profile.screen.device_pixel_ratio.to_string()),
        ];
        for (name, value) in HINTS.iter().chain(&DEVICE_HINTS).zip(told) {
            set(name, value);
        }
        want
    }

    /// Whether these headers can be its own.
    pub fn sent(&self, headers: &BTreeMap<String, String>) -> bool {
        let mobile = if self.profile.is_mobile() { "?1" } else { "?0" };
        let agent = self.profile.user_agent(self.major());
        let is = |name: &str, value: &str| headers.get(name).is_none_or(|told| told == value);
        headers.get("user-agent") == Some(&agent)
            && is("sec-ch-ua-mobile", mobile)
            && is("sec-ch-ua-platform", "\"Android\"")
    }

    fn identity(&self, secure: bool) -> Signals {
        let profile = &self.profile;
        let agent = profile.user_agent(self.major());
        let Network::Wifi = profile.network;
        // Only a secure context has them.
        let only_secure = |value: Value| if secure { value } else { Value::Null };
        let language = &profile.languages[0];
        [
            ("userAgent", json!(agent)),
            ("appVersion", json!(agent)),
            ("platform", json!(profile.identity.navigator_platform)),
            ("languages", json!(profile.languages)),
            ("language", json!(language)),
            ("hardwareConcurrency", json!(profile.hardware.concurrency)),
            (
                "deviceMemory",
                only_secure(json!(profile.hardware.memory_gib)),
            ),
            ("onLine", json!(true)),
            (
                "userAgentData.brands",
                only_secure(self.brands(&self.major().to_string())),
            ),
            (
                "userAgentData.mobile",
                only_secure(json!(profile.is_mobile())),
            ),
            ("userAgentData.platform", only_secure(json!("Android"))),
            ("connection.type", json!("wifi")),
            ("connection.saveData", json!(false)),
            ("Intl.timeZone", json!(profile.time_zone)),
            ("Intl.locale", json!(language)),
            ("Intl.numbers", json!(language)),
            ("Date", json!(true)),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    fn input(&self, want: &mut Signals) {
        let input = &self.profile.input;
        let pointer = match input.pointer {
            Pointer::Coarse => "coarse",
            Pointer::Fine => "fine",
        };
        let hover = match input.hover {
            Hover::None => "none",
            Hover::Hover => "hover",
        };
        for (name, value) in [
            ("maxTouchPoints", json!(input.touch_points)),
            ("media.pointer", json!([pointer])),
            ("media.any-pointer", json!([pointer])),
            ("media.hover", json!([hover])),
            ("media.any-hover", json!([hover])),
            ("ontouchstart", json!(true)),
            ("TouchEvent", json!(true)),
        ] {
            want.insert(name.to_owned(), value);
        }
    }

    fn screen(&self, kind: Kind, want: &mut Signals) {
        let screen = &self.profile.screen;
        let (width, height) = self.viewport(kind);
        let held = match screen.orientation {
            Orientation::Portrait => "portrait",
            Orientation::Landscape => "landscape",
        };
        let is = if height >= width {
            "portrait"
        } else {
            "landscape"
        };
        let ratio = json!(screen.device_pixel_ratio);
        for (name, value) in [
            (
                "screen",
                json!({
                    "width": screen.width, "height": screen.height,
                    "availWidth": screen.width, "availHeight": screen.height,
                    "colorDepth": 24,
                }),
            ),
            (
                "screen.orientation",
                json!({ "type": format!("{held}-primary"), "angle": 0 }),
            ),
            ("window.orientation", json!(0)),
            ("devicePixelRatio", ratio.clone()),
            ("innerWidth", json!(width)),
            ("innerHeight", json!(height)),
            ("outerWidth", json!(screen.width)),
            ("outerHeight", json!(screen.viewport_height)),
            ("media.orientation", json!(is)),
            ("media.width", json!(width)),
            ("media.device-width", json!(screen.width)),
            ("media.resolution", ratio),
        ] {
            want.insert(name.to_owned(), value);
        }
    }

    /// What the deviations are about, as a phone has it.
    fn phone_only(&self, seen: &Sighting, want: &mut Signals) {
        let screen = &self.profile.screen;
        let bar = screen.viewport_height_without_bars - screen.viewport_height;
        let compiled: &[&str] = if seen.report.secure {
            &["BarcodeDetector"]
        } else {
            &[]
        };
        let back = seen.report.r#type == "back_forward";
        for (name, value) in [
            ("100lvh - 100svh", json!(bar)),
            ("voices", json!(true)),
            ("Noto by name", json!([])),
            (
                "document.prerendering",
                json!(seen.target == "speculated page"),
            ),
            ("pageshow.persisted", json!(back)),
            ("compiled in", json!(compiled)),
        ] {
            want.insert(name.to_owned(), value);
        }
    }

    fn screen_is_narrow(&self) -> bool {
        self.profile.screen.width < WIDE
    }

    fn viewport(&self, kind: Kind) -> (u32, u32) {
        let screen = &self.profile.screen;
        match kind {
            Kind::Frame => FRAME,
            Kind::Wide if self.screen_is_narrow() => {
                // The whole width is shown, so more of the height is.
                let height = WIDE * screen.viewport_height / screen.width;
                (WIDE, height)
            }
            Kind::Page | Kind::Wide | Kind::Worker => (screen.width, screen.viewport_height),
        }
    }

    /// The brand list as [`super::brands::normal`] has it: the meaningless one is any, but it is there.
    fn brands(&self, version: &str) -> Value {
        json!([
            { "brand": "Chromium", "version": version },
            { "brand": "Google Chrome", "version": version },
            { "brand": "Not…", "version": "…" },
        ])
    }
}

/// As Chrome writes a list of languages into a header.
fn accept_language(languages: &[String]) -> String {
    let weighed = |(at, language): (usize, &String)| match at {
        0 => language.clone(),
        _ => format!("{language};q=0.{}", 10 - at),
    };
    let all: Vec<_> = languages.iter().enumerate().map(weighed).collect();
    all.join(",")
}
