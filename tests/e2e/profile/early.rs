//! A page is the phone before any client hears of it, however busy the host is.

use std::process::{Child, Command};

use serde_json::{Value, json};

use crate::harness::{Cdp, Chaser, lab};

const PAGES: usize = 60;
/// Many more than there are cores to run them.
const BUSY: usize = 8;

/// What Chrome is without the supervisor's commands differs in each of these.
const SEEN: &str = "[innerWidth, outerWidth, screen.width, navigator.maxTouchPoints].join()";

/// Loops that take the processor, until they are dropped.
struct Load(Vec<Child>);

impl Load {
    fn start() -> Self {
        // Bounded by the kernel where nobody is left to drop them.
        let busy = "ulimit -t 60; while :; do :; done";
        let one = |_| Command::new("sh").args(["-c", busy]).spawn().unwrap();
        Self((0..BUSY).map(one).collect())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        for child in &mut self.0 {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

async fn seen(cdp: &mut Cdp, session: Option<&str>) -> Value {
    let question = json!({ "expression": SEEN });
    let answer = cdp.call_in(session, "Runtime.evaluate", question).await;
    answer.unwrap()["result"]["value"].take()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_the_phone_before_any_client_hears_of_it() {
    let (lab, _origin) = lab();
    let chaser = Chaser::start(&lab).await;
    let session = chaser.api.ready_session().await;
    let mut cdp = Cdp::open(&session.cdp_url).await;
    let attached = cdp.attach().await;
    let phone = seen(&mut cdp, Some(&attached)).await;
    assert_eq!(phone, "980,360,360,5");
    let _load = Load::start();
    for number in 0..PAGES {
        let blank = json!({ "url": "about:blank" });
        let made = cdp.call("Target.createTarget", blank).await.unwrap();
        let page = &made["targetId"];
        // Some clients attach, some come by the page's own door.
        let first = if number % 2 == 0 {
            let attach = json!({ "targetId": page, "flatten": true });
            let attached = cdp.call("Target.attachToTarget", attach).await.unwrap();
            seen(&mut cdp, attached["sessionId"].as_str()).await
        } else {
            let door = format!(
                "{}/devtools/page/{}",
                session.cdp_url,
                page.as_str().unwrap()
            );
            seen(&mut Cdp::open(&door).await, None).await
        };
        assert_eq!(first, phone, "page {number}");
        let close = json!({ "targetId": page });
        cdp.call("Target.closeTarget", close).await.unwrap();
    }
}
