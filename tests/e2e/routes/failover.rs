//! Another route of the same region in place of one that is lost, where the operator allows that.

use super::*;
use crate::harness::processes;

/// Reads the events of the node: the moves among them.
async fn moves(chaser: &Chaser) -> Vec<Value> {
    let words = ["events", "--json", "--runtime-dir"];
    let output = chaser.command(&words).arg(&chaser.runtime_dir).output();
    let output = output.await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let events = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    events
        .filter(|event| event["event"] == "rerouted")
        .collect()
}

/// A daemon with these routes that may fail over once one has been lost for three seconds.
async fn failing_over(lab: &Lab, tables: &[String]) -> Chaser {
    let settings = format!("{}\nfailover = true", routes_file(lab, tables));
    let setup = Setup::on(lab)
        .egress_addresses(0)
        .set("egress", &settings)
        .set("host", "route_critical = \"3s\"");
    setup.start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_whose_upstream_dies_goes_on_by_another_of_its_region_and_only_where_it_may() {
    let (lab, origin) = lab();
    let mut dying = Upstream::start(&lab, Software::Microsocks, 210);
    let spare = Upstream::start(&lab, Software::Squid, 211);
    let abroad = Upstream::start(&lab, Software::Microsocks, 212);
    let at = |ip: IpAddr, country: &str, more: &str| {
        format!("country = \"{country}\"\nexit_ip = \"{ip}\"\nsessions = 4\n{more}")
    };
    let tables = [
        dying.route("gate-a", &at(dying.ip(), "de", "tags = [\"first\"]")),
        spare.route("gate-b", &at(spare.ip(), "de", "tags = [\"second\"]")),
        abroad.route("gate-fr", &at(abroad.ip(), "fr", "tags = [\"first\"]")),
    ];
    let chaser = failing_over(&lab, &tables).await;
    // Given the first gate, because the second is out of service until they have it.
    assert_eq!(chaser.route(&["drain", "gate-b"]).await.0, Some(0));
    let moved = session_by(&chaser, json!({ "region": "de" })).await;
    let sticky = session_by(&chaser, json!({ "region": "de", "sticky": "cart-9" })).await;
    let tagged = session_by(&chaser, json!({ "country": "de", "tag": "first" })).await;
    let own = format!("socks5://{}", dying.server);
    let own = session_by(&chaser, json!({ "server": own })).await;
    assert_eq!(chaser.route(&["undrain", "gate-b"]).await.0, Some(0));
    assert_eq!(moved.egress_ip().await, dying.ip());
    let mut client = Library::Patchright.connect(&moved.cdp_url).await;
    client.goto(&origin.http("/before")).await;
    let before = moved.get().await;

    dying.stop();
    eventually("the session is moved", seconds(60), async || {
        drop(
            client
                .call("attempt", json!({ "url": origin.http("/lost") }))
                .await,
        );
        (moved.egress_ip().await == spare.ip()).then_some(())
    })
    .await;
    client.goto(&origin.http("/after")).await;
    let after = moved.get().await;
    assert_eq!(
        (&after["status"], &after["proxy_region"]),
        (&json!("ready"), &json!("de"))
    );
    assert!(after["bytes_total"].as_u64() > before["bytes_total"].as_u64());
    let seen = origin.requests_of(spare.ip());
    assert!(seen.iter().any(|seen| seen.path == "/after"), "{seen:?}");
    for session in [&sticky, &tagged] {
        let ended = session.wait_for("closed").await;
        assert_eq!(ended["ended_reason"], "substrate_down", "{ended}");
    }
    assert_eq!(own.get().await["status"], "ready", "no route is its");
    assert!(origin.requests_of(abroad.ip()).is_empty());
    let told = moves(&chaser).await;
    assert_eq!(told.len(), 1, "{told:?}");
    let data = &told[0];
    assert!(
        data.to_string().contains("gate-a") && data.to_string().contains("gate-b"),
        "{data}"
    );
    let (_, shown) = chaser.route(&["show", "gate-b"]).await;
    assert_eq!(shown["sessions"], 1, "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_was_moved_stays_so_over_the_deaths_of_agent_and_relay() {
    let (lab, origin) = lab();
    let mut dying = Upstream::start(&lab, Software::Microsocks, 210);
    let spare = Upstream::start(&lab, Software::Microsocks, 211);
    let tables = [
        dying.route("gate-a", "country = \"de\""),
        spare.route("gate-b", "country = \"de\""),
    ];
    let settings = format!("{}\nfailover = true", routes_file(&lab, &tables));
    let mut chaser = Setup::on(&lab)
        .egress_addresses(0)
        .set("egress", &settings)
        .set("host", "route_critical = \"3s\"")
        .start()
        .await;
    let session = session_by(&chaser, json!({ "region": "de" })).await;
    let mut client = Library::Patchright.connect(&session.cdp_url).await;
    client.goto(&origin.http("/before")).await;
    assert_eq!(
        origin.peers(),
        BTreeSet::from([dying.ip()]),
        "the first is given first"
    );
    dying.stop();
    eventually("the session is moved", seconds(60), async || {
        drop(
            client
                .call("attempt", json!({ "url": origin.http("/lost") }))
                .await,
        );
        (!moves(&chaser).await.is_empty()).then_some(())
    })
    .await;
    drop(client);
    chaser.sigkill();
    processes::kill(chaser.relay_pid());
    chaser.restart().await;
    let mut client = Library::Patchright.connect(&session.cdp_url).await;
    client.goto(&origin.http("/after-both")).await;
    let seen = origin.requests_of(spare.ip());
    assert!(
        seen.iter().any(|seen| seen.path == "/after-both"),
        "{seen:?}"
    );
    assert_eq!(session.get().await["status"], "ready");
}

/// Two sessions that hold both places of `gate-a`, beside `gate-b` of the same region with a free one.
async fn two_on_one_route(lab: &Lab, gates: [&Upstream; 2]) -> (Chaser, [Session; 2]) {
    let table = |gate: &Upstream, name: &str, sessions: u8| {
        let ip = gate.ip();
        let more = format!("country = \"de\"\nexit_ip = \"{ip}\"\nsessions = {sessions}");
        gate.route(name, &more)
    };
    let tables = [table(gates[0], "gate-a", 2), table(gates[1], "gate-b", 1)];
    let chaser = failing_over(lab, &tables).await;
    assert_eq!(chaser.route(&["drain", "gate-b"]).await.0, Some(0));
    let both = [
        session_by(&chaser, json!({ "region": "de" })).await,
        session_by(&chaser, json!({ "region": "de" })).await,
    ];
    assert_eq!(chaser.route(&["undrain", "gate-b"]).await.0, Some(0));
    (chaser, both)
}

/// How many sessions hold each of the two gates.
async fn held(chaser: &Chaser) -> [u64; 2] {
    let mut held = [0; 2];
    for (count, gate) in held.iter_mut().zip(["gate-a", "gate-b"]) {
        let (_, shown) = chaser.route(&["show", gate]).await;
        *count = shown["sessions"].as_u64().unwrap();
    }
    held
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_sessions_on_a_route_that_dies_one_gets_the_one_free_place_and_no_route_is_given_twice()
 {
    let (lab, origin) = lab();
    let mut dying = Upstream::start(&lab, Software::Microsocks, 210);
    let spare = Upstream::start(&lab, Software::Microsocks, 211);
    let (chaser, both) = two_on_one_route(&lab, [&dying, &spare]).await;
    let mut clients = Vec::new();
    for session in &both {
        let mut client = Library::Patchright.connect(&session.cdp_url).await;
        client.goto(&origin.http("/before")).await;
        clients.push(client);
    }
    assert_eq!(origin.peers(), BTreeSet::from([dying.ip()]));
    assert_eq!(held(&chaser).await, [2, 0]);

    let died = tokio::time::Instant::now();
    dying.stop();
    // Pages find out first: both keep trying.
    let (stayed, left) = eventually("one of them is over", seconds(60), async || {
        for client in &mut clients {
            let lost = json!({ "url": origin.http("/lost") });
            drop(client.call("attempt", lost).await);
        }
        assert!(held(&chaser).await[1] <= 1, "given twice");
        let over = |seen: &Value| seen["status"] == "closed";
        match (over(&both[0].get().await), over(&both[1].get().await)) {
            (false, false) => None,
            (false, true) => Some((0, 1)),
            (true, false) => Some((1, 0)),
            (true, true) => panic!("there was a place for one of them"),
        }
    })
    .await;
    assert!(died.elapsed() >= seconds(3), "it had its grace");
    let ended = both[left].get().await;
    assert_eq!(ended["ended_reason"], "substrate_down", "{ended}");
    assert_eq!(both[stayed].egress_ip().await, spare.ip());
    clients[stayed].goto(&origin.http("/after")).await;
    let seen = origin.requests_of(spare.ip());
    assert!(seen.iter().any(|seen| seen.path == "/after"), "{seen:?}");
    let told = moves(&chaser).await;
    assert_eq!(told.len(), 1, "{told:?}");

    // What the first holds is nobody else's, and free once it has ended.
    eventually(
        "the lost route is held by nobody",
        seconds(30),
        async || (held(&chaser).await == [0, 1]).then_some(()),
    )
    .await;
    let order = json!({ "proxy": { "region": "de" } });
    let refused = chaser.api.post("/v1/sessions", &order).await;
    refused.refused(503, "no_capacity");
    assert_eq!(both[stayed].delete().await.status, 204);
    let next = session_by(&chaser, json!({ "region": "de" })).await;
    assert_eq!(next.egress_ip().await, spare.ip());
}
