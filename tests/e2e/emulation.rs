//! What a client means wins on its target; what its library does unasked leaves the phone alone.

use serde_json::{Value, json};

use crate::harness::{Cdp, Chaser, Client, Library, eventually, lab, seconds};

const SEEN: &str =
    "({ width: innerWidth, screen: screen.width, scale: Math.round(devicePixelRatio * 1e4) / 1e4,
    touch: navigator.maxTouchPoints, agent: navigator.userAgent, language: navigator.language,
    zone: Intl.DateTimeFormat().resolvedOptions().timeZone })";

const DESKTOP: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like \
                       Gecko) Chrome/130.0.0.0 Safari/537.36";

fn assert_phone(seen: &Value) {
    let of = |key: &str| seen[key].clone();
    assert_eq!(
        [of("width"), of("screen"), of("scale"), of("touch")],
        [json!(360), json!(360), json!(3), json!(5)],
        "{seen}"
    );
    assert!(seen["agent"].as_str().unwrap().contains("Android 10; K"));
}

/// A page that lays out at the device's width, as mobile pages do.
const MOBILE: &str = "data:text/html,<meta name=viewport content='width=device-width'>";

async fn look(client: &mut Client) -> Value {
    client.evaluate(SEEN).await
}

/// A raw session on a page, with nothing that a library adds.
struct Raw {
    cdp: Cdp,
    page: String,
}

impl Raw {
    async fn attach(url: &str) -> Self {
        let mut cdp = Cdp::open(url).await;
        let page = cdp.attach().await;
        Self { cdp, page }
    }

    async fn call(&mut self, method: &str, params: Value) -> Value {
        let answer = self.cdp.call_in(Some(&self.page), method, params).await;
        answer.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    async fn look(&mut self) -> Value {
        let params = json!({ "expression": SEEN, "returnByValue": true });
        self.call("Runtime.evaluate", params).await["result"]["value"].clone()
    }

    async fn phone_again(&mut self) {
        eventually("the page is the phone again", seconds(5), async || {
            let seen = self.look().await;
            (seen["width"] == 360 && seen["touch"] == 5 && seen["scale"] == 3).then_some(())
        })
        .await;
        assert_phone(&self.look().await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn explicit_values_win_until_they_are_cleared_or_their_client_goes() {
    let (lab, _origin) = lab();
    let chaser = Chaser::start(&lab).await;
    let session = chaser.api.ready_session().await;
    let mut watcher = Raw::attach(&session.cdp_url).await;
    watcher
        .call("Page.navigate", json!({ "url": MOBILE }))
        .await;
    watcher.phone_again().await;

    let screen = "Emulation.setDeviceMetricsOverride";
    let own = json!({ "width": 411, "height": 700, "deviceScaleFactor": 2, "mobile": true });
    let mut one = Raw::attach(&session.cdp_url).await;
    one.call(screen, own.clone()).await;
    let agent = json!({ "userAgent": DESKTOP });
    one.call("Network.setUserAgentOverride", agent.clone())
        .await;
    let seen = one.look().await;
    assert_eq!([&seen["width"], &seen["scale"]], [&json!(411), &json!(2)]);
    assert_eq!(seen["agent"], DESKTOP);

    // Another client that comes and goes does not take them away.
    let mut other = Raw::attach(&session.cdp_url).await;
    other.look().await;
    drop(other);
    let mut third = Raw::attach(&session.cdp_url).await;
    assert_eq!(third.look().await["width"], 411);

    one.call("Emulation.clearDeviceMetricsOverride", json!({}))
        .await;
    one.call("Network.setUserAgentOverride", json!({ "userAgent": "" }))
        .await;
    one.phone_again().await;

    // Its session ends, then its connection.
    one.call(screen, own.clone()).await;
    let detach = json!({ "sessionId": one.page });
    one.cdp
        .call("Target.detachFromTarget", detach)
        .await
        .unwrap();
    watcher.phone_again().await;
    let mut one = Raw::attach(&session.cdp_url).await;
    one.call(screen, own).await;
    one.call("Network.setUserAgentOverride", agent).await;
    assert_eq!(watcher.look().await["width"], 411);
    drop(one);
    watcher.phone_again().await;
}

async fn a_context_of_its_own(library: Library) {
    let (lab, origin) = lab();
    let chaser = Chaser::start(&lab).await;
    let session = chaser.api.ready_session().await;
    let mut client = library.connect(&session.cdp_url).await;
    client.must("new_context", json!({ "options": {} })).await;
    client.goto(&origin.http("/plain")).await;
    let seen = look(&mut client).await;
    assert_eq!(
        [&seen["screen"], &seen["scale"], &seen["touch"]],
        [&json!(360), &json!(3), &json!(5)]
    );

    let options = json!({ "viewport": { "width": 400, "height": 700 }, "userAgent": DESKTOP,
        "locale": "de-DE", "timezoneId": "Asia/Tokyo", "isMobile": true, "hasTouch": true,
        "deviceScaleFactor": 2, "colorScheme": "dark" });
    client
        .must("new_context", json!({ "options": options }))
        .await;
    client.must("goto", json!({ "url": MOBILE })).await;
    let seen = look(&mut client).await;
    assert_eq!(
        [&seen["width"], &seen["scale"], &seen["touch"]],
        [&json!(400), &json!(2), &json!(5)]
    );
    assert_eq!(
        [&seen["agent"], &seen["language"], &seen["zone"]],
        [DESKTOP, "de-DE", "Asia/Tokyo"]
    );
    assert_eq!(
        client
            .evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
            .await,
        true
    );
    client
        .must(
            "set_viewport",
            json!({ "size": { "width": 380, "height": 600 } }),
        )
        .await;
    assert_eq!(look(&mut client).await["width"], 380);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_context_of_playwright_has_what_it_asks_for() {
    a_context_of_its_own(Library::Playwright).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_context_of_patchright_has_what_it_asks_for() {
    a_context_of_its_own(Library::Patchright).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn puppeteers_default_viewport_is_no_wish_and_the_same_later_is() {
    let (lab, _origin) = lab();
    let chaser = Chaser::start(&lab).await;
    let session = chaser.api.ready_session().await;
    let mut client = Library::Puppeteer.connect(&session.cdp_url).await;
    client.must("goto", json!({ "url": MOBILE })).await;
    assert_phone(&look(&mut client).await);
    client.must("new_page", json!({})).await;
    client.must("goto", json!({ "url": MOBILE })).await;
    assert_phone(&look(&mut client).await);

    let size = json!({ "size": { "width": 800, "height": 600 } });
    client.must("set_viewport", size).await;
    assert_eq!(look(&mut client).await["width"], 800);
    let device = json!({ "userAgent": DESKTOP, "viewport": { "width": 390, "height": 844,
        "deviceScaleFactor": 2, "isMobile": true, "hasTouch": true, "isLandscape": false } });
    client.must("emulate", json!({ "device": device })).await;
    let seen = look(&mut client).await;
    assert_eq!(
        [&seen["width"], &seen["scale"], &seen["touch"]],
        [&json!(390), &json!(2), &json!(5)]
    );
    assert_eq!(seen["agent"], DESKTOP);
    client.must("disconnect", json!({})).await;
    let mut again = Library::Puppeteer.connect(&session.cdp_url).await;
    eventually("the phone is back", seconds(5), async || {
        let seen = look(&mut again).await;
        (seen["width"] == 360).then_some(())
    })
    .await;
    assert_phone(&look(&mut again).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_are_listed_opened_and_driven_one_by_one() {
    let (lab, origin) = lab();
    let chaser = Chaser::start(&lab).await;
    let session = chaser.api.ready_session().await;
    let base = session.cdp_url.replace("ws:", "http:");
    let http = chaser.api.http();
    let opened = http.put(format!("{base}/json/new?{}", origin.http("/new?a=b")));
    let opened: Value = opened.send().await.unwrap().json().await.unwrap();
    let url = opened["webSocketDebuggerUrl"].as_str().unwrap();
    assert!(
        url.starts_with(&format!("{}/devtools/page/", session.cdp_url)),
        "{url}"
    );
    for list in ["/json", "/json/", "/json/list", "/json/list/"] {
        let listed = http.get(format!("{base}{list}")).send().await.unwrap();
        let listed: Vec<Value> = listed.json().await.unwrap();
        assert!(
            listed.iter().any(|target| target["id"] == opened["id"]),
            "{listed:?}"
        );
    }
    let mut page = Cdp::open(url).await;
    let params = json!({ "expression": SEEN, "returnByValue": true });
    let seen = page.call("Runtime.evaluate", params).await.unwrap();
    assert_eq!(seen["result"]["value"]["screen"], 360);
    page.call("Emulation.clearDeviceMetricsOverride", json!({}))
        .await
        .unwrap();
    page.call("Page.captureScreenshot", json!({}))
        .await
        .unwrap();
    let id = opened["id"].as_str().unwrap();
    for order in ["activate", "close"] {
        let answer = http
            .get(format!("{base}/json/{order}/{id}"))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200, "{order}");
    }
    let gone = http.get(format!("{base}/json/activate/{}", "0".repeat(32)));
    assert_eq!(gone.send().await.unwrap().status(), 404);
    let protocol = http
        .get(format!("{base}/json/protocol"))
        .send()
        .await
        .unwrap();
    let protocol: Value = protocol.json().await.unwrap();
    assert!(protocol["domains"].as_array().unwrap().len() > 20);
    let nobody = format!("{}/devtools/page/{}", session.cdp_url, "0".repeat(32));
    assert_eq!(Cdp::connect(&nobody).await.err().unwrap().status, 404);
    for seen in origin.requests_of(session.egress_ip().await) {
        assert!(seen.headers["user-agent"].contains("Android"), "{seen:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_drawn_promptly_wherever_it_stands() {
    let (lab, origin) = lab();
    let chaser = Chaser::start(&lab).await;
    let session = chaser.api.ready_session().await;
    let mut cdp = Cdp::open(&session.cdp_url).await;
    let first = cdp.attach().await;
    let frame = format!(
        "const f = document.createElement('iframe'); f.src = '{}'; document.body.append(f); \
         new Worker(URL.createObjectURL(new Blob(['setInterval(() => 0, 50)']))); \
         window.open('{}'); 0",
        origin.https("/frame"),
        origin.http("/popup"),
    );
    let go = json!({ "url": origin.http("/below") });
    cdp.call_in(Some(&first), "Page.navigate", go)
        .await
        .unwrap();
    let open = json!({ "expression": frame, "userGesture": true });
    cdp.call_in(Some(&first), "Runtime.evaluate", open)
        .await
        .unwrap();
    let mut sessions = vec![first];
    for number in 0..20 {
        let page = json!({ "url": origin.http(&format!("/{number}")) });
        let made = cdp.call("Target.createTarget", page).await.unwrap();
        let attach = json!({ "targetId": made["targetId"], "flatten": true });
        let attached = cdp.call("Target.attachToTarget", attach).await.unwrap();
        sessions.push(attached["sessionId"].as_str().unwrap().to_owned());
    }
    for (at, page) in sessions.iter().enumerate() {
        let shot = cdp.call_in(Some(page), "Page.captureScreenshot", json!({}));
        let shot = tokio::time::timeout(seconds(5), shot).await;
        let shot = shot.unwrap_or_else(|_late| panic!("page {at} is not drawn"));
        assert!(shot.unwrap()["data"].as_str().unwrap().starts_with("iVBOR"));
    }
}
