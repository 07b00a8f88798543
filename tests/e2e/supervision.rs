//! The two connections that make the browser a phone, and what a page sees when they are cut.

use std::{collections::HashSet, net::SocketAddr};

use serde_json::{Value, json};

use crate::harness::{
    Chaser, Client, Library, Origin, Session, ToDevTools, eventually, lab, seconds,
};

/// A client that navigates round and round, and the connections that are not its own.
struct Cut<'a> {
    chaser: &'a Chaser,
    session: Session,
    client: Client,
    clients: HashSet<SocketAddr>,
}

impl<'a> Cut<'a> {
    async fn start(chaser: &'a Chaser, origin: &Origin, bearable: u32) -> Self {
        let session = chaser.api.ready_session().await;
        let supervisors = ToDevTools::of(chaser.relay_pid());
        assert_eq!(supervisors.len(), 2, "ready means that both hold");
        let mut client = Library::Patchright.connect(&session.cdp_url).await;
        let ignore = json!({ "ignore": true });
        client
            .raw_page("Security.setIgnoreCertificateErrors", ignore)
            .await;
        let supervisors: HashSet<_> = supervisors.iter().map(|one| one.local).collect();
        let clients = ToDevTools::of(chaser.relay_pid())
            .into_iter()
            .map(|one| one.local)
            .filter(|local| !supervisors.contains(local))
            .collect();
        let urls = [origin.https("/one"), origin.http("/two")];
        client
            .must("loop", json!({ "urls": urls, "bearable": bearable }))
            .await;
        Self {
            chaser,
            session,
            client,
            clients,
        }
    }

    fn supervisors(&self) -> Vec<ToDevTools> {
        let mut all = ToDevTools::of(self.chaser.relay_pid());
        all.retain(|one| !self.clients.contains(&one.local));
        all
    }

    /// Both of the pair.
    async fn pair(&self) -> Vec<ToDevTools> {
        let what = "both supervisor connections are open";
        eventually(what, seconds(20), async || {
            Some(self.supervisors()).filter(|all| all.len() == 2)
        })
        .await
    }

    /// So many pages more.
    async fn arrivals(&mut self, count: u64) {
        let before = self.count().await;
        eventually("the loop goes on", seconds(30), async || {
            (self.count().await >= before + count).then_some(())
        })
        .await;
    }

    async fn count(&mut self) -> u64 {
        let count = self.client.must("loop_count", json!({})).await;
        count["arrived"].as_u64().unwrap()
    }

    /// What the page is, if it is not just going away.
    async fn is_phone(&mut self) {
        let script = "[innerWidth, screen.width, navigator.maxTouchPoints, navigator.userAgent]";
        if let Ok(seen) = self
            .client
            .call("evaluate", json!({ "script": script }))
            .await
        {
            assert_eq!(seen[1], 360, "{seen}");
            assert_eq!(seen[2], 5, "{seen}");
            assert!(seen[3].as_str().unwrap().contains("Android"), "{seen}");
        }
    }

    async fn stop(mut self, origin: &Origin) -> Value {
        let ended = self.client.must("loop_stop", json!({})).await;
        let hinted = desktop_requests(origin, self.session.egress_ip().await);
        assert!(hinted > 0, "no request with client hints was seen");
        ended
    }
}

/// Fails on the first request of a desktop; how many had client hints.
fn desktop_requests(origin: &Origin, peer: std::net::IpAddr) -> usize {
    let mut hinted = 0;
    for seen in origin.requests_of(peer) {
        let header = |name: &str| seen.headers.get(name).map(String::as_str);
        let agent = header("user-agent").unwrap_or_default();
        assert!(agent.contains("Android 10; K"), "{seen:?}");
        let mobile = header("sec-ch-ua-mobile");
        let platform = header("sec-ch-ua-platform");
        assert!(mobile.is_none_or(|value| value == "?1"), "{seen:?}");
        assert!(
            platform.is_none_or(|value| value == "\"Android\""),
            "{seen:?}"
        );
        hinted += usize::from(mobile.is_some());
    }
    hinted
}

#[tokio::test(flavor = "multi_thread")]
async fn one_lost_connection_is_never_noticed() {
    let (lab, origin) = lab();
    let chaser = Chaser::start(&lab).await;
    let mut cut = Cut::start(&chaser, &origin, 1).await;
    let mut newest: Option<SocketAddr> = None;
    for _ in 0..100 {
        // The one that is there for longer: so each of them has been opened anew.
        let mut pair = cut.pair().await;
        let older = pair.iter().position(|one| Some(one.local) != newest);
        let stays = 1 - older.unwrap();
        let stays_at = pair[stays].local;
        pair.swap_remove(older.unwrap()).cut();
        let pair = cut.pair().await;
        newest = pair
            .iter()
            .map(|one| one.local)
            .find(|local| *local != stays_at);
        drop(pair);
        cut.arrivals(2).await;
        cut.is_phone().await;
    }
    let ended = cut.stop(&origin).await;
    assert_eq!(ended["failures"], json!([]), "{ended}");
    assert!(ended["arrived"].as_u64().unwrap() >= 200, "{ended}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_both_lost_no_desktop_gets_out() {
    let (lab, origin) = lab();
    let chaser = Chaser::start(&lab).await;
    let mut cut = Cut::start(&chaser, &origin, 100_000).await;
    for _ in 0..15 {
        for one in cut.pair().await {
            one.cut();
        }
        cut.pair().await;
        cut.arrivals(1).await;
    }
    cut.stop(&origin).await;
}
