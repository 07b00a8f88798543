use proptest::prelude::*;

use serde_json::json;

use super::*;
use crate::relay::supervisor::tests::{own_overrides, phone};

const AGENT: &str = "Mozilla/5.0 (Linux; Android 10; K) Mobile";

/// A client with what it has emulated so far.
#[derive(Default)]
struct Client(Emulated);

impl Client {
    fn judged(&mut self, message: &[u8]) -> Verdict {
        let (profile, overrides) = (phone(), own_overrides());
        let phone = Phone {
            profile: &profile,
            user_agent: AGENT,
            overrides: &overrides,
        };
        judge(message, phone, &mut self.0)
    }

    fn command(&mut self, method: &str, params: &Value) -> Verdict {
        let message = json!({ "id": 7, "method": method, "params": params, "sessionId": "S" });
        self.judged(message.to_string().as_bytes())
    }

    /// The parameters that this command has when it reaches the browser, as the client's own.
    fn own(&mut self, method: &str, params: &Value) -> Value {
        emulated(self.command(method, params), true)
    }

    /// The same, as the profile's.
    fn profiles(&mut self, method: &str, params: &Value) -> Value {
        emulated(self.command(method, params), false)
    }
}

fn emulated(verdict: Verdict, as_own: bool) -> Value {
    let Verdict::Emulate {
        text,
        session,
        meant,
        ..
    } = verdict
    else {
        panic!("{verdict:?}");
    };
    assert_eq!(meant, as_own, "{text}");
    let mut command: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&command["id"], &command["sessionId"]),
        (&json!(7), &json!("S"))
    );
    assert_eq!(session.as_deref(), Some("S"));
    command["params"].take()
}

fn judged(message: &str) -> Verdict {
    Client::default().judged(message.as_bytes())
}

fn command(method: &str, params: &Value) -> Verdict {
    Client::default().command(method, params)
}

fn refused(verdict: &Verdict) -> String {
    let Verdict::Answer(answer) = verdict else {
        panic!("{verdict:?}");
    };
    let answer: Value = serde_json::from_str(answer).unwrap();
    answer["error"]["message"].as_str().unwrap().to_owned()
}

fn done() -> Verdict {
    Verdict::Answer(json!({ "id": 7, "result": {}, "sessionId": "S" }).to_string())
}

#[test]
fn ordinary_commands_pass_whatever_their_spelling() {
    assert_eq!(
        command("Page.navigate", &json!({ "url": "https://x" })),
        Verdict::Pass
    );
    assert_eq!(judged(r#" { "method" : "A.b", "id" : 1 } "#), Verdict::Pass);
    let half_an_emoji = r#"{"id":1,"method":"Input.insertText","params":{"text":"\ud83d"}}"#;
    assert_eq!(judged(half_an_emoji), Verdict::Pass);
}

#[test]
fn escapes_hide_nothing_from_the_table() {
    let hidden = r#"{"id":1,"\u006dethod":"Browser.\u0063rash"}"#;
    assert!(refused(&judged(hidden)).contains("Browser.crash"));
}

#[test]
fn what_two_parsers_could_read_differently_is_not_forwarded() {
    for bad in [
        "",
        "{",
        "[]",
        "7",
        r#"{"id":1,"method":"A.b"} {}"#,
        r#"{"id":1.5,"method":"A.b"}"#,
        r#"{"id":1,"method":"Browser.close","method":"A.b"}"#,
        r#"{"id":1,"id":2,"method":"A.b"}"#,
        r#"{"id":1,"method":"A.b","params":{},"params":{}}"#,
        r#"{"id":1,"method":"A.b","sessionId":"a","sessionId":"b"}"#,
        r#"{"id":1,/* comment */"method":"A.b"}"#,
    ] {
        let answer = judged(bad);
        assert!(
            matches!(&answer, Verdict::Answer(text) if text.contains("-32700")),
            "{bad}: {answer:?}"
        );
    }
    let twice =
        r#"{"id":1,"method":"Target.attachToTarget","params":{"flatten":true,"flatten":false}}"#;
    assert!(refused(&judged(twice)).contains("params"));
}

#[test]
fn close_ends_the_client_and_crash_is_refused() {
    let end = command("Browser.close", &json!({}));
    assert!(matches!(end, Verdict::EndClient(answer) if answer.contains(r#""id":7"#)));
    assert!(refused(&command("Browser.crash", &json!({}))).starts_with("Browser.crash "));
    let no_id = judged(r#"{"method":"Browser.crash"}"#);
    assert!(matches!(no_id, Verdict::Answer(text) if text.contains("-32600")));
}

#[test]
fn a_context_may_not_bring_its_own_proxy() {
    let method = "Target.createBrowserContext";
    for name in ["proxyServer", "proxyBypassList"] {
        assert!(refused(&command(method, &json!({ name: "" }))).contains(name));
    }
    let plain = json!({ "disposeOnDetach": true });
    assert_eq!(command(method, &plain), Verdict::Pass);
    assert_eq!(
        judged(&format!(r#"{{"id":1,"method":"{method}"}}"#)),
        Verdict::Pass
    );
}

#[test]
fn only_flat_sessions_are_attached() {
    for method in ["Target.attachToTarget", "Target.setAutoAttach"] {
        let flat = json!({ "autoAttach": true, "flatten": true, "targetId": "T" });
        assert_eq!(command(method, &flat), Verdict::Pass);
        let nested = json!({ "autoAttach": true, "targetId": "T" });
        assert!(refused(&command(method, &nested)).contains("flatten"));
    }
    let off = json!({ "autoAttach": false });
    assert_eq!(command("Target.setAutoAttach", &off), Verdict::Pass);
    refused(&command("Target.sendMessageToTarget", &json!({})));
    refused(&command("Target.exposeDevToolsProtocol", &json!({})));
    refused(&command("Tethering.bind", &json!({ "port": 1 })));
}

#[test]
fn what_clients_do_by_default_leaves_the_phone_alone() {
    for (method, params) in [
        ("Emulation.clearDeviceMetricsOverride", json!({})),
        (
            "Emulation.setTouchEmulationEnabled",
            json!({ "enabled": false }),
        ),
        (
            "Emulation.setDeviceMetricsOverride",
            json!({ "width": 800, "height": 600, "deviceScaleFactor": 1, "mobile": false }),
        ),
        (
            "Emulation.setDeviceMetricsOverride",
            json!({ "width": 0, "height": 0, "deviceScaleFactor": 0, "mobile": false }),
        ),
        ("Emulation.setUserAgentOverride", json!({ "userAgent": "" })),
        (
            "Network.setUserAgentOverride",
            json!({ "userAgent": AGENT }),
        ),
        (
            "Browser.setWindowBounds",
            json!({ "windowId": 1, "bounds": {} }),
        ),
    ] {
        assert_eq!(command(method, &params), done(), "{method}");
    }
}

const SCREEN: &str = "Emulation.setDeviceMetricsOverride";
const TOUCH: &str = "Emulation.setTouchEmulationEnabled";
const AGENT_OVERRIDE: &str = "Network.setUserAgentOverride";

fn plain(width: u32, height: u32) -> Value {
    json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false })
}

#[test]
fn a_default_viewport_is_a_default_only_the_first_time() {
    for (width, height) in [(800, 600), (1280, 720)] {
        let mut client = Client::default();
        assert_eq!(client.command(SCREEN, &plain(width, height)), done());
        let meant = client.own(SCREEN, &plain(width, height));
        assert_eq!(
            (&meant["width"], &meant["mobile"]),
            (&json!(width), &json!(false))
        );
        // Another session of the same client begins anew.
        let other = json!({ "id": 7, "method": SCREEN, "params": plain(width, height) });
        let first = client.judged(other.to_string().as_bytes());
        assert!(matches!(first, Verdict::Answer(_)), "{first:?}");
    }
}

#[test]
fn a_hand_held_viewport_is_the_phones_page_in_another_size() {
    let mut params = plain(390, 844);
    params["screenWidth"] = json!(390);
    params["screenHeight"] = json!(844);
    params["scale"] = json!(1);
    // What Playwright fills in for a context that is not mobile.
    params["screenOrientation"] = json!({ "type": "landscapePrimary", "angle": 0 });
    assert_eq!(
        Client::default().own(SCREEN, &params),
        json!({ "width": 390, "height": 844, "deviceScaleFactor": 3.0, "mobile": true, "scale": 1,
            "screenWidth": 390, "screenHeight": 844,
            "screenOrientation": { "type": "portraitPrimary", "angle": 0 } })
    );
    let small = Client::default().own(SCREEN, &plain(320, 500));
    assert_eq!(
        (&small["screenWidth"], &small["screenHeight"]),
        (&json!(360), &json!(780))
    );
    let turned = Client::default().own(SCREEN, &plain(700, 340));
    assert_eq!(
        (&turned["screenWidth"], &turned["screenHeight"]),
        (&json!(780), &json!(360))
    );
    assert_eq!(turned["screenOrientation"]["type"], "landscapePrimary");
    let scaled = json!({ "width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": true });
    assert_eq!(
        Client::default().own(SCREEN, &scaled)["deviceScaleFactor"],
        2
    );
    let no_size = json!({ "width": 0, "height": 0, "deviceScaleFactor": 2, "mobile": true });
    let no_size = Client::default().own(SCREEN, &no_size);
    assert_eq!(
        (&no_size["width"], &no_size["height"]),
        (&json!(360), &json!(693))
    );
}

#[test]
fn a_large_viewport_is_another_device() {
    let desktop = plain(1920, 1080);
    assert_eq!(Client::default().own(SCREEN, &desktop), desktop);
}

#[test]
fn clears_lead_back_to_the_profile() {
    let screen = own_overrides()
        .into_iter()
        .find(|c| c.method == SCREEN)
        .unwrap();
    for (method, clear) in [
        ("Emulation.clearDeviceMetricsOverride", json!({})),
        (
            SCREEN,
            json!({ "width": 0, "height": 0, "deviceScaleFactor": 0, "mobile": false }),
        ),
    ] {
        let mut client = Client::default();
        assert_eq!(client.command(method, &clear), done());
        client.own(SCREEN, &plain(390, 844));
        assert_eq!(client.profiles(method, &clear), screen.params);
        client.0.forget("S");
        assert_eq!(client.command(method, &clear), done());
    }
}

#[test]
fn touch_is_the_profiles_unless_a_number_says_otherwise() {
    let mut client = Client::default();
    for profiles in [
        json!({ "enabled": true }),
        json!({ "enabled": true, "maxTouchPoints": 5 }),
        json!({ "enabled": false, "maxTouchPoints": 1 }),
    ] {
        assert_eq!(client.command(TOUCH, &profiles), done());
    }
    let ten = json!({ "enabled": true, "maxTouchPoints": 10 });
    assert_eq!(client.own(TOUCH, &ten), ten);
    let off = client.profiles(TOUCH, &json!({ "enabled": false }));
    assert_eq!(off, json!({ "enabled": true, "maxTouchPoints": 5 }));
    let cores = json!({ "hardwareConcurrency": 2 });
    assert_eq!(
        client.own("Emulation.setHardwareConcurrencyOverride", &cores),
        cores
    );
}

#[test]
fn an_identity_of_the_clients_own_wins_and_is_completed() {
    let desktop = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/156.0.0.0 Safari/537.36";
    let mut client = Client::default();
    let own = client.own(AGENT_OVERRIDE, &json!({ "userAgent": desktop }));
    assert_eq!(own["userAgent"], desktop);
    assert_eq!(
        (&own["platform"], &own["acceptLanguage"]),
        (&json!("Linux armv81"), &json!("en-US,en"))
    );
    assert!(own.get("userAgentMetadata").is_none(), "{own}");
    let whole = json!({ "userAgent": desktop, "platform": "Win32", "acceptLanguage": "de",
        "userAgentMetadata": { "platform": "Windows", "mobile": false } });
    assert_eq!(client.own(AGENT_OVERRIDE, &whole), whole);
    let identity = own_overrides()
        .into_iter()
        .find(|c| c.method == "Emulation.setUserAgentOverride");
    let back = client.profiles(AGENT_OVERRIDE, &json!({ "userAgent": "" }));
    assert_eq!(back, identity.unwrap().params);
}

#[test]
fn a_language_alone_leaves_the_rest_of_the_phone() {
    for agent in ["", AGENT] {
        let params = json!({ "userAgent": agent, "acceptLanguage": "de-DE" });
        let own = Client::default().own(AGENT_OVERRIDE, &params);
        assert!(
            own["userAgent"].as_str().unwrap().contains("Android 10; K"),
            "{own}"
        );
        assert_eq!(
            (&own["acceptLanguage"], &own["userAgentMetadata"]["mobile"]),
            (&json!("de-DE"), &json!(true))
        );
    }
}

#[test]
fn another_android_chrome_gets_its_hints() {
    let agent = |device: &str, version: &str| {
        let agent = format!(
            "Mozilla/5.0 (Linux; Android {device}) AppleWebKit/537.36 \
            (KHTML, like Gecko) Chrome/{version} Mobile Safari/537.36"
        );
        let mut own = Client::default().own(AGENT_OVERRIDE, &json!({ "userAgent": agent }));
        own["userAgentMetadata"].take()
    };
    let other = agent("13; Pixel 7 Build/TQ1A", "120.0.6099.71");
    assert_eq!(
        (&other["model"], &other["platformVersion"]),
        (&json!("Pixel 7"), &json!("13.0.0"))
    );
    assert_eq!(
        other["brands"][1],
        json!({ "brand": "Chromium", "version": "120" })
    );
    assert_eq!(other["fullVersion"], "120.0.6099.71");
    let profile = phone();
    let reduced = agent("10; K", "156.0.0.0");
    assert_eq!(reduced["model"], profile.identity.model);
    assert_eq!(reduced["fullVersion"], "156.0.8078.79");
}

#[test]
fn downloads_go_where_the_browser_can_write() {
    let params =
        json!({ "behavior": "allowAndName", "downloadPath": "/home/me", "eventsEnabled": true });
    let Verdict::Rewrite(message) = command("Browser.setDownloadBehavior", &params) else {
        panic!("not rewritten");
    };
    let message: Value = serde_json::from_str(&message).unwrap();
    assert_eq!(message["method"], "Browser.setDownloadBehavior");
    assert_eq!(message["params"]["downloadPath"], "/tmp/downloads");
    assert_eq!(message["params"]["eventsEnabled"], true);
    let deny = json!({ "behavior": "deny" });
    assert_eq!(command("Browser.setDownloadBehavior", &deny), Verdict::Pass);
}

#[test]
fn ids_below_zero_are_not_for_clients() {
    assert!(refused(&judged(r#"{"id":-1,"method":"A.b"}"#)).contains("below zero"));
    let shot = command("Page.captureScreenshot", &json!({}));
    assert_eq!(shot, Verdict::InFront(Some("S".to_owned())));
}

proptest! {
    #[test]
    fn any_message_is_judged(message: Vec<u8>) {
        // Random bytes are never a command.
        prop_assert!(matches!(Client::default().judged(&message), Verdict::Answer(_)));
    }

    #[test]
    fn no_default_and_no_clear_makes_a_desktop(steps in prop::collection::vec(0..8usize, 1..20)) {
        let mut client = Client::default();
        for step in steps {
            let (method, params) = match step {
                0 => (SCREEN, plain(0, 0)),
                1 => ("Emulation.clearDeviceMetricsOverride", json!({})),
                2 => (TOUCH, json!({ "enabled": false })),
                3 => (TOUCH, json!({ "enabled": true, "maxTouchPoints": 10 })),
                4 => (AGENT_OVERRIDE, json!({ "userAgent": "" })),
                5 => (AGENT_OVERRIDE, json!({ "userAgent": "own" })),
                6 => (SCREEN, plain(412, 915)),
                _ => ("Browser.setWindowBounds", json!({ "windowId": 1, "bounds": {} })),
            };
            match client.command(method, &params) {
                Verdict::Answer(answer) => prop_assert!(answer.contains("\"result\":{}"), "{answer}"),
                Verdict::Emulate { text, .. } => {
                    let command: Value = serde_json::from_str(&text).unwrap();
                    let params = &command["params"];
                    prop_assert!(params.get("mobile").is_none_or(|mobile| *mobile == true));
                    prop_assert!(params.get("enabled").is_none_or(|enabled| *enabled == true));
                    prop_assert!(params.get("userAgent").is_none_or(|agent| *agent != ""));
                }
                Verdict::Pass
                | Verdict::Rewrite(_)
                | Verdict::InFront(_)
                | Verdict::EndClient(_) => prop_assert!(false, "{method} got through"),
            }
        }
    }
}
