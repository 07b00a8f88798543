use super::*;

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

proptest! {
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
