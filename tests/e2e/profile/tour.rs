//! Through every kind of target, and what each of them and its first request showed.

use std::net::IpAddr;

use serde_json::json;

use super::{
    driver::Driver,
    site::{self, OTHER, PHONE, PROBE, Report},
};
use crate::harness::{Origin, Seen, eventually, seconds};

/// What a target is, as far as expectations differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Top-level, with a mobile viewport meta.
    Page,
    /// Top-level, without one.
    Wide,
    Frame,
    Worker,
}

/// One target.
#[derive(Debug, Clone)]
pub struct Sighting {
    pub target: &'static str,
    pub kind: Kind,
    /// The request that brought it; `srcdoc`, `data:`, `blob:` and error pages have none.
    pub request: Option<Seen>,
    /// The site had asked for client hints before.
    pub asked: bool,
    pub report: Report,
}

pub struct Tour<'a> {
    pub driver: &'a mut Driver,
    pub origin: &'a Origin,
    pub peer: IpAddr,
    pub seen: Vec<Sighting>,
}

const SELF_MADE: &str = "none";

impl Tour<'_> {
    /// Everything.
    pub async fn whole(&mut self) {
        self.main_targets().await;
        self.navigations().await;
        self.popups().await;
        self.fresh_pages().await;
        self.odd_pages().await;
        self.speculation().await;
    }

    /// One page with all frames and workers, and a page without a viewport meta.
    pub async fn main_targets(&mut self) {
        self.driver.goto(&format!("{PHONE}/p/first")).await;
        self.arrived("first page", Kind::Page, "navigate", Some(("/p/first", 0)))
            .await;
        for (target, path) in [
            ("same-site frame", "/f/same"),
            ("cross-site frame", "/f/cross"),
            ("nested frame", "/f/nested"),
        ] {
            self.arrived(target, Kind::Frame, "navigate", Some((path, 0)))
                .await;
        }
        for target in ["srcdoc", "data frame", "blob frame"] {
            self.arrived(target, Kind::Frame, "navigate", None).await;
        }
        for (target, path) in [
            ("dedicated worker", "/w/dedicated.js"),
            ("worker in a worker", "/w/inner.js"),
            ("worker in a cross-site frame", "/w/framed.js"),
            ("shared worker", "/w/shared.js"),
            ("service worker", "/w/service.js"),
        ] {
            self.arrived(target, Kind::Worker, "worker", Some((path, 0)))
                .await;
        }
        self.driver.goto(&format!("{PHONE}/p/wide")).await;
        self.asked("no viewport meta", Kind::Wide, "navigate", ("/p/wide", 0))
            .await;
    }

    async fn navigations(&mut self) {
        self.driver.goto(&format!("{PHONE}/p/hints")).await;
        self.asked("next page", Kind::Page, "navigate", ("/p/hints", 0))
            .await;
        self.driver.reload().await;
        self.asked("reload", Kind::Page, "reload", ("/p/hints", 1))
            .await;
        self.driver.goto(&format!("{OTHER}/p/cross")).await;
        self.arrived("cross-site", Kind::Page, "navigate", Some(("/p/cross", 0)))
            .await;
        self.driver.back().await;
        self.asked("back", Kind::Page, "back_forward", ("/p/hints", 2))
            .await;
        self.driver.forward().await;
        self.asked("forward", Kind::Page, "back_forward", ("/p/cross", 1))
            .await;
    }

    async fn popups(&mut self) {
        self.driver.goto(&format!("{PHONE}/p/hints")).await;
        for (target, path, open) in [
            (
                "popup",
                "/p/popup",
                "void window.open('/p/popup')".to_owned(),
            ),
            (
                "popup, cross-site",
                "/p/popup-cross",
                format!("void window.open('{OTHER}/p/popup-cross')"),
            ),
            (
                "popup by link",
                "/p/link",
                "document.getElementById('link').click()".to_owned(),
            ),
            (
                "popup, noopener",
                "/p/noopener",
                "void window.open('/p/noopener', '_blank', 'noopener')".to_owned(),
            ),
        ] {
            self.driver.evaluate(&open).await;
            self.arrived(target, Kind::Page, "navigate", Some((path, 0)))
                .await;
        }
        self.driver.evaluate(&site::open_blob("blob page")).await;
        self.arrived("blob page", Kind::Page, "navigate", None)
            .await;
    }

    async fn fresh_pages(&mut self) {
        self.driver.new_page().await;
        self.asks("blank page", Kind::Wide).await;
        self.driver.goto(&format!("{PHONE}/p/new-page")).await;
        self.asked("new page", Kind::Page, "navigate", ("/p/new-page", 0))
            .await;
        self.driver.new_context(json!({})).await;
        self.asks("blank page of a new context", Kind::Wide).await;
        self.driver.goto(&format!("{PHONE}/p/new-context")).await;
        self.arrived(
            "new context",
            Kind::Page,
            "navigate",
            Some(("/p/new-context", 0)),
        )
        .await;
    }

    /// Speculation is off: what a page would have loaded ahead is loaded when it is gone to.
    async fn speculation(&mut self) {
        self.driver.goto(&format!("{PHONE}/p/prerendering")).await;
        // What a page sends while it is left is another matter.
        site::report(self.origin, "prerendering", "navigate").await;
        self.driver
            .evaluate("void (location.href = '/p/prerendered')")
            .await;
        let request = ("/p/prerendered", 0);
        self.asked("speculated page", Kind::Page, "navigate", request)
            .await;
    }

    async fn odd_pages(&mut self) {
        self.driver.fail_to_go("https://nobody.test/").await;
        self.asks("error page", Kind::Page).await;
        self.driver.goto(&site::data_page()).await;
        self.asks("data page", Kind::Page).await;
    }

    /// A target that reports by itself.
    async fn arrived(
        &mut self,
        target: &'static str,
        kind: Kind,
        r#type: &str,
        request: Option<(&str, usize)>,
    ) {
        let report = site::report(self.origin, posted_as(target), r#type).await;
        self.note(target, kind, report, request).await;
    }

    /// The same on a site that has asked for client hints.
    async fn asked(
        &mut self,
        target: &'static str,
        kind: Kind,
        r#type: &str,
        request: (&str, usize),
    ) {
        self.arrived(target, kind, r#type, Some(request)).await;
        self.seen.last_mut().unwrap().asked = true;
    }

    /// A target that has no script of its own, or none that may send anything.
    async fn asks(&mut self, target: &'static str, kind: Kind) {
        let script = format!("(() => {{ {PROBE}\nreturn observe(probe()); }})()");
        let mut told = self.driver.evaluate(&script).await;
        told["target"] = target.into();
        told["type"] = SELF_MADE.into();
        let report = serde_json::from_value(told).unwrap();
        self.note(target, kind, report, None).await;
    }

    async fn note(
        &mut self,
        target: &'static str,
        kind: Kind,
        report: Report,
        request: Option<(&str, usize)>,
    ) {
        let mut seen = None;
        if let Some((path, nth)) = request {
            let what = format!("request {nth} of {path}");
            let one = eventually(&what, seconds(5), async || {
                let requests = self.origin.requests_of(self.peer);
                requests.into_iter().filter(|one| one.path == path).nth(nth)
            });
            seen = Some(one.await);
        }
        self.seen.push(Sighting {
            target,
            kind,
            request: seen,
            asked: false,
            report,
        });
    }
}

/// The name under which the document of a target reports, where several share one.
fn posted_as(target: &str) -> &str {
    match target {
        "next page" | "reload" | "back" => "hints",
        "forward" => "cross-site",
        own => own,
    }
}
