//! What systemd keeps of sessions while neither node nor relay runs: its descriptor store.

use serde_json::{Value, json};

use crate::{
    harness::{Cdp, Machine, eventually, lab, seconds},
    units::{booted, started},
};

/// What a page does: one request after the other, and what became of them.
const ASKS: &str = "globalThis.told = { served: 0, failed: 0 };
(async () => {
    for (;;) {
        try {
            await (await fetch('/asked', { cache: 'no-store' })).text();
            told.served += 1;
        } catch {
            told.failed += 1;
            await new Promise((done) => setTimeout(done, 5));
        }
    }
})();
0";

/// Connections that wait in the proxy's listener inside the one container there is; `None` without a listener.
fn waiting(machine: &Machine) -> Option<u32> {
    let pid = "docker inspect --format '{{.State.Pid}}' $(docker ps --quiet)";
    let table = machine.must(&format!(
        "nsenter --net --target $({pid}) cat /proc/net/tcp"
    ));
    // 127.0.0.1:3128 in state LISTEN; the receive queue of a listener is its backlog.
    let listener = table.lines().find(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        fields.get(1) == Some(&"0100007F:0C38") && fields.get(3) == Some(&"0A")
    })?;
    let (_, queued) = listener.split_whitespace().nth(4)?.split_once(':')?;
    u32::from_str_radix(queued, 16).ok()
}

async fn told(cdp_url: &str) -> (u64, u64) {
    let mut cdp = Cdp::open(cdp_url).await;
    let page = cdp.attach().await;
    let asked = json!({ "expression": "told", "returnByValue": true });
    let answer = cdp.call_in(Some(&page), "Runtime.evaluate", asked).await;
    let told = answer.unwrap()["result"]["value"].take();
    let number = |key: &str| told[key].as_u64().unwrap_or_else(|| panic!("{told}"));
    (number("served"), number("failed"))
}

/// Kills these, which stay away until somebody starts them again.
async fn killed(machine: &Machine, units: &[&str]) {
    machine.must(&format!("systemctl kill -s KILL {}", units.join(" ")));
    for unit in units {
        eventually(&format!("{unit} is away"), seconds(10), async || {
            (machine.shows(unit, "SubState") == "auto-restart").then_some(())
        })
        .await;
    }
}

async fn stored(machine: &Machine, count: &str) {
    eventually(&format!("{count} are stored"), seconds(20), async || {
        (machine.shows("chaser-node", "NFileDescriptorStore") == count).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_node_and_relay_are_both_away_a_pages_requests_wait_and_none_is_refused() {
    let (lab, origin) = lab();
    let machine = booted(&lab, "").await;
    for unit in ["chaser-node", "chaser-relay"] {
        machine.drop_in(&format!("{unit}.service"), "[Service]\nRestartSec=1h\n");
    }
    started(&machine).await;
    stored(&machine, "0").await;
    let session = machine.api.ready_session().await;
    {
        let mut cdp = Cdp::open(&session.cdp_url).await;
        let page = cdp.attach().await;
        for (method, what) in [
            ("Page.navigate", json!({ "url": origin.http("/first") })),
            ("Runtime.evaluate", json!({ "expression": ASKS })),
        ] {
            let done: Value = cdp.call_in(Some(&page), method, what).await.unwrap();
            assert!(done["exceptionDetails"].is_null(), "{done}");
        }
    }
    eventually("the page is served", seconds(20), async || {
        (told(&session.cdp_url).await.0 > 20).then_some(())
    })
    .await;

    for _ in 0..2 {
        let (served, failed) = told(&session.cdp_url).await;
        killed(&machine, &["chaser-node", "chaser-relay"]).await;
        eventually("the page's request waits", seconds(20), async || {
            (waiting(&machine).expect("somebody listens") > 0).then_some(())
        })
        .await;
        machine.must("systemctl restart chaser-relay chaser-node");
        eventually("the page is served again", seconds(30), async || {
            let (now, lost) = told(&session.cdp_url).await;
            // The one that was on its way through the relay.
            assert!(lost <= failed + 1, "{} requests failed", lost - failed);
            (now > served + 20).then_some(())
        })
        .await;
        assert_eq!(session.get().await["status"], "ready");
        stored(&machine, "1").await;
    }
    assert_eq!(session.delete().await.status, 204);
    stored(&machine, "0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_stays_stored_of_a_session_that_ended_while_the_node_was_away() {
    let (lab, _origin) = lab();
    let machine = booted(&lab, "").await;
    machine.drop_in("chaser-node.service", "[Service]\nRestartSec=1h\n");
    started(&machine).await;
    let session = machine.api.ready_session().await;
    stored(&machine, "1").await;
    killed(&machine, &["chaser-node"]).await;
    machine.must("docker rm --force $(docker ps --quiet)");
    machine.must("systemctl restart chaser-node");
    let closed = session.wait_for("closed").await;
    assert_eq!(closed["ended_reason"], "substrate_down");
    stored(&machine, "0").await;

    // Nor of one of which the next node has never heard.
    let next = machine.api.ready_session().await;
    stored(&machine, "1").await;
    killed(&machine, &["chaser-node"]).await;
    machine.must("docker rm --force $(docker ps --quiet)");
    machine.must(
        "rm -r /var/lib/chaser/node.db* /run/chaser/instances/*; systemctl restart chaser-relay",
    );
    machine.must("systemctl restart chaser-node");
    stored(&machine, "0").await;
    drop(next);
}
