//! Fingers and layout: what a phone is for.

use std::{fs, path::PathBuf};

use base64::Engine;
use chaser::runtime::Tasks;
use serde_json::json;

use super::{
    driver::Tool,
    matrix::{chaser_with_sites, phone},
    site::PHONE,
};
use crate::harness::{Library, lab, seconds};

const TOOLS: [Tool; 4] = [
    Tool::Library(Library::Patchright),
    Tool::Library(Library::Playwright),
    Tool::Library(Library::Puppeteer),
    Tool::RawCdp,
];

/// As a responsive page: one column on a phone, three beside each other on anything wide.
const RESPONSIVE: &str = "<!doctype html><title>responsive</title>\
    <meta name=viewport content='width=device-width, initial-scale=1'>\
    <style>body{margin:0;font-family:sans-serif}main{display:grid;grid-template-columns:1fr 1fr 1fr}\
    section{background:#246;color:white;margin:8px;padding:16px;height:150px}\
    @media (max-width:600px) and (pointer:coarse){main{grid-template-columns:1fr}section{background:#264}}\
    button{width:100%;height:80px;font-size:24px}</style>\
    <button id=target>tap</button><main><section>one</section><section>two</section><section>three</section></main>\
    <script>window.heard = [];\
    for (const type of ['pointerdown', 'touchstart', 'touchend', 'mousemove', 'click'])\
      document.getElementById('target').addEventListener(type, (event) =>\
        heard.push(event.pointerType ? `${type} (${event.pointerType})` : type));</script>";

#[tokio::test(flavor = "multi_thread")]
async fn a_tap_arrives_as_touch_and_click_and_pages_are_laid_out_for_the_phone() {
    let ((lab, origin), tasks) = (lab(), Tasks::default());
    let chaser = chaser_with_sites(&lab, &origin, &tasks).await;
    origin.publish(
        "/p/responsive",
        crate::harness::Page {
            headers: vec![("content-type", "text/html".to_owned())],
            content: RESPONSIVE.to_owned(),
        },
    );
    let session = chaser.api.ready_session().await;
    let phone = phone("default", &session).await;
    let screen = &phone.profile.screen;
    for tool in TOOLS {
        let mut driver = tool.connect(&session.cdp_url).await;
        // Playwright's own touchscreen wants to be told that the context has one, and its pictures
        // of a context are cut to the viewport that it believes in, unless that is nobody's.
        driver
            .new_context(json!({ "hasTouch": true, "viewport": null }))
            .await;
        driver.goto(&format!("{PHONE}/p/responsive")).await;
        driver.tap(screen.width / 2, 40).await;
        let mut heard = json!(null);
        for _ in 0..50 {
            heard = driver.evaluate(HEARD).await;
            if heard
                .as_array()
                .is_some_and(|all| all.contains(&json!("click (touch)")))
            {
                break;
            }
            tokio::time::sleep(seconds(1) / 10).await;
        }
        for one in [
            "pointerdown (touch)",
            "touchstart",
            "touchend",
            "click (touch)",
        ] {
            assert!(
                heard.as_array().unwrap().contains(&json!(one)),
                "{tool:?}: no {one}: {heard}"
            );
        }
        let columns = "getComputedStyle(document.querySelector('main')).gridTemplateColumns.split(' ').length";
        assert_eq!(driver.evaluate(columns).await, 1, "{tool:?}");
        assert_eq!(
            driver
                .evaluate("document.documentElement.offsetWidth")
                .await,
            screen.width
        );

        let picture = driver.screenshot().await;
        let png = base64::engine::general_purpose::STANDARD
            .decode(picture)
            .unwrap();
        let side = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
        keep(&format!("{tool:?}"), &png);
        let ratio = f64::from(side(16)) / f64::from(screen.width);
        assert!(
            (ratio - screen.device_pixel_ratio).abs() < 0.01,
            "{tool:?}: a picture of {} pixels across",
            side(16)
        );
        assert!(side(20) > side(16), "{tool:?}: upright");
    }
}

/// Read from the page's own world: a client may run its scripts in another.
const HEARD: &str = "(() => { const script = document.createElement('script');\
    script.textContent = 'document.body.dataset.heard = JSON.stringify(window.heard)';\
    document.body.append(script); return JSON.parse(document.body.dataset.heard); })()";

/// For people to look at.
fn keep(who: &str, png: &[u8]) {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("profile");
    fs::create_dir_all(&directory).unwrap();
    let name: String = who.chars().filter(char::is_ascii_alphanumeric).collect();
    fs::write(directory.join(format!("responsive-{name}.png")), png).unwrap();
}
