//! Every target and every signal, with every client.

use chaser::{profile::Catalogue, runtime::Tasks};
use serde_json::json;

use super::{
    driver::Tool,
    site,
    tour::Tour,
    verdict::{
        self, assert_all_hold, assert_byes_are_not_ours, assert_no_desktop, assert_none_is_stale,
    },
    want::Phone,
};
use crate::harness::{Cdp, Chaser, Dns, Lab, Library, Origin, Session, Setup, lab, trusting};

/// A chaser whose sessions find the two sites.
pub async fn chaser_with_sites(lab: &Lab, origin: &Origin, tasks: &Tasks) -> Chaser {
    site::publish(origin);
    let at = [lab.origin_ip()];
    let dns = Dns::start(lab, &[("phone.test", &at), ("other.test", &at)], tasks);
    Setup::on(lab)
        .names(&dns)
        .set("instance", &format!("image = {:?}", trusting::image()))
        .start()
        .await
}

/// The profile of a session with the version of its browser.
pub async fn phone(name: &str, session: &Session) -> Phone {
    let mut cdp = Cdp::open(&session.cdp_url).await;
    let told = cdp.call("Browser.getVersion", json!({})).await.unwrap();
    let (_, version) = told["product"].as_str().unwrap().split_once('/').unwrap();
    let profile = Catalogue::built_in().named(name).expect("it is built in");
    Phone {
        profile: (*profile).clone(),
        version: version.to_owned(),
    }
}

async fn matrix(tool: Tool) {
    let ((lab, origin), tasks) = (lab(), Tasks::default());
    let chaser = chaser_with_sites(&lab, &origin, &tasks).await;
    let session = chaser.api.ready_session().await;
    let phone = phone("default", &session).await;
    let peer = session.egress_ip().await;
    let mut driver = tool.connect(&session.cdp_url).await;
    let mut tour = Tour {
        driver: &mut driver,
        origin: &origin,
        peer,
        seen: Vec::new(),
    };
    tour.whole().await;
    let seen = tour.seen;
    let cells = verdict::cells(&phone, &seen);
    assert_all_hold(&format!("{tool:?}"), &cells);
    assert_none_is_stale(&cells);
    let requests = origin.requests_of(peer);
    assert_no_desktop(&phone, &requests);
    assert_byes_are_not_ours(&phone, &requests);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_matrix_holds_with_patchright() {
    matrix(Tool::Library(Library::Patchright)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_matrix_holds_with_playwright() {
    matrix(Tool::Library(Library::Playwright)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_matrix_holds_with_puppeteer() {
    matrix(Tool::Library(Library::Puppeteer)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_matrix_holds_with_cdp_alone() {
    matrix(Tool::RawCdp).await;
}
