mod emulation;

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
        let profile = phone();
        let phone = Phone {
            profile: &profile,
            user_agent: AGENT,
            overrides: &own_overrides,
            device: None,
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
}

/// What becomes of such a command on a device that can so much.
fn on_device(can: Capabilities, method: &str, params: &Value) -> Verdict {
    let profile = phone();
    let device = Phone {
        profile: &profile,
        user_agent: AGENT,
        overrides: &Vec::new,
        device: Some(can),
    };
    let message = json!({ "id": 7, "method": method, "params": params });
    let mut emulated = Emulated::default();
    judge(message.to_string().as_bytes(), device, &mut emulated)
}

const MODERN: Capabilities = Capabilities {
    browser_contexts: true,
    downloads: true,
};
const OLD: Capabilities = Capabilities {
    browser_contexts: false,
    downloads: false,
};

/// Nothing of the profile is on a device, so nothing falls back to it.
#[test]
fn a_devices_emulation_is_its_clients() {
    for method in [
        "Emulation.setDeviceMetricsOverride",
        "Emulation.clearDeviceMetricsOverride",
        "Emulation.setUserAgentOverride",
    ] {
        assert_eq!(on_device(MODERN, method, &json!({})), Verdict::Pass);
    }
    let end = on_device(OLD, "Browser.close", &json!({}));
    assert!(matches!(end, Verdict::EndClient(_)), "{end:?}");
}

#[test]
fn what_a_devices_browser_cannot_do_is_answered_or_refused_and_what_it_can_is_left_to_it() {
    let asked =
        json!({ "behavior": "allowAndName", "downloadPath": "/home/me", "eventsEnabled": true });
    for method in ["Browser.setDownloadBehavior", "Page.setDownloadBehavior"] {
        let Verdict::Answer(done) = on_device(OLD, method, &asked) else {
            panic!("{method} reaches a browser that has no such command");
        };
        assert_eq!(done, r#"{"id":7,"result":{}}"#);
        let Verdict::Rewrite(text) = on_device(MODERN, method, &asked) else {
            panic!("{method} keeps a path of the client's machine");
        };
        let sent: Value = serde_json::from_str(&text).unwrap();
        let params = json!({ "behavior": "default", "eventsEnabled": true });
        assert_eq!(
            (&sent["method"], &sent["params"]),
            (&method.into(), &params)
        );
        let deny = json!({ "behavior": "deny" });
        assert_eq!(on_device(MODERN, method, &deny), Verdict::Pass);
    }

    let create = "Target.createBrowserContext";
    let Verdict::Answer(refused) = on_device(OLD, create, &json!({})) else {
        panic!("{create} reaches a browser that has no such command");
    };
    assert!(refused.contains("browser.contexts()[0]"), "{refused}");
    assert_eq!(on_device(MODERN, create, &json!({})), Verdict::Pass);
    let proxy = on_device(MODERN, create, &json!({ "proxyServer": "x" }));
    assert!(matches!(proxy, Verdict::Answer(_)), "{proxy:?}");
}
