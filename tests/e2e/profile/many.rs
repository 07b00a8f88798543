//! Workers start, however many start at once: no supervision leaves one of them paused.

use std::collections::BTreeSet;

use chaser::runtime::Tasks;

use super::{driver::Tool, matrix::chaser_with_sites, site::PHONE};
use crate::harness::{Page, eventually, lab, seconds};

/// Workers of one page, each with one of its own.
const WORKERS: usize = 10;
const PAGES: usize = 10;

#[tokio::test(flavor = "multi_thread")]
async fn every_worker_in_a_worker_runs() {
    let ((lab, origin), tasks) = (lab(), Tasks::default());
    let chaser = chaser_with_sites(&lab, &origin, &tasks).await;
    let session = chaser.api.ready_session().await;
    for (path, content) in [
        ("/m/inner.js", "fetch('/ran/' + self.name)"),
        (
            "/m/outer.js",
            "self.inner = new Worker('/m/inner.js', { name: self.name });",
        ),
    ] {
        let headers = vec![("content-type", "text/javascript".to_owned())];
        let content = content.to_owned();
        origin.publish(path, Page { headers, content });
    }
    let mut driver = Tool::RawCdp.connect(&session.cdp_url).await;
    let peer = session.egress_ip().await;
    let mut want = BTreeSet::new();
    for page in 0..PAGES {
        driver.goto(&format!("{PHONE}/p/hints")).await;
        let start = format!(
            "void (window.many = [...Array({WORKERS}).keys()].map((n) => \
             new Worker('/m/outer.js', {{ name: '{page}.' + n }})))"
        );
        driver.evaluate(&start).await;
        want.extend((0..WORKERS).map(|number| format!("/ran/{page}.{number}")));
        let what = format!("the workers of page {page} run");
        eventually(&what, seconds(20), async || {
            let asked = origin.requests_of(peer).into_iter().map(|one| one.path);
            let ran: BTreeSet<_> = asked.filter(|path| path.starts_with("/ran/")).collect();
            (ran == want).then_some(())
        })
        .await;
    }
}
