//! Upstreams that are looked at by way of a URL, whether anybody uses them or not.

use super::*;

/// A node that looks at its upstreams every so often.
async fn looking(lab: &Lab, origin: &Origin, interval: &str, tables: &[String]) -> Chaser {
    let setup = Setup::on(lab).egress_addresses(1);
    setup
        .set("egress", &routes_file(lab, tables))
        .set("egress", &format!("probe_url = \"{}\"", origin.http("/ip")))
        .set("egress", &format!("probe_interval = \"{interval}\""))
        .start()
        .await
}

fn looks(origin: &Origin, from: IpAddr) -> usize {
    let seen = origin.requests_of(from);
    seen.iter().filter(|seen| seen.path == "/ip").count()
}

async fn exit_of(chaser: &Chaser, route: &str) -> Value {
    let (_code, shown) = chaser.route(&["show", route]).await;
    shown["exit_ip"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_tells_where_an_upstream_comes_out_and_no_order_waits_for_one() {
    let (lab, origin) = lab();
    let upstreams = [
        (Software::Microsocks, "socks", 210),
        (Software::SquidWithLogin, "http", 211),
        (Software::SquidInTls, "https", 212),
    ]
    .map(|(software, name, last)| (name, Upstream::start(&lab, software, last)));
    let tables: Vec<_> = upstreams
        .iter()
        .map(|(name, upstream)| upstream.route(name, ""))
        .collect();
    // One look at the start and, in the time of a test, no other.
    let chaser = looking(&lab, &origin, "1h", &tables).await;
    for (name, upstream) in &upstreams {
        let exit = json!(upstream.ip().to_string());
        eventually("its exit is known", seconds(20), async || {
            (exit_of(&chaser, name).await == exit).then_some(())
        })
        .await;
        for _ in 0..2 {
            let session = session_by(&chaser, json!({ "route": name })).await;
            let shown = session.get().await;
            assert_eq!(shown["proxy_ip"], exit, "{name}");
            assert_eq!(shown["bytes_total"], 0, "a look is on nobody's bill");
            session.delete().await;
        }
        assert_eq!(looks(&origin, upstream.ip()), 1, "{name}: it was kept");
        let (code, seen) = chaser.route(&["check", name]).await;
        assert_eq!(
            (code, &seen["exit_ip"], &seen["status"]),
            (Some(0), &exit, &json!(200))
        );
        assert_eq!(looks(&origin, upstream.ip()), 2);
    }
    // Of its own addresses the node knows it by itself; an operator may ask all the same.
    let own = chaser.addresses[0];
    assert_eq!(looks(&origin, own), 0);
    let (code, seen) = chaser.route(&["check", &own.to_string()]).await;
    assert_eq!((code, &seen["exit_ip"]), (Some(0), &json!(own.to_string())));
}

#[tokio::test(flavor = "multi_thread")]
async fn looks_alone_quarantine_an_upstream_that_dies_or_refuses_and_take_it_back() {
    let (lab, origin) = lab();
    let mut gate = Upstream::start(&lab, Software::Microsocks, 210);
    let strict = Upstream::start(&lab, Software::SquidWithLogin, 211);
    let nobodys = strict.route("nobodys", "").replace(LOGIN.0, "nobody");
    let tables = [gate.route("gate", "country = \"de\""), nobodys];
    let chaser = looking(&lab, &origin, "1s", &tables).await;
    let stands = async |name: &str, state: &str, fault: &str| {
        eventually(&format!("{name} is {state}"), seconds(40), async || {
            let (_code, shown) = chaser.route(&["show", name]).await;
            (shown["state"] == state && shown["fault"] == fault).then_some(())
        })
        .await;
    };
    // A bare connection to it would have gone well.
    stands("nobodys", "quarantined", "auth_failed").await;
    eventually("the gate works", seconds(20), async || {
        (looks(&origin, gate.ip()) > 0).then_some(())
    })
    .await;
    assert_eq!(chaser.state_of("gate").await, "well");
    gate.stop();
    stands("gate", "quarantined", "unreachable").await;
    let (code, seen) = chaser.route(&["check", "gate"]).await;
    assert_eq!(
        (code, &seen["reason"]),
        (Some(1), &json!("upstream_unreachable"))
    );
    let order = json!({ "proxy": { "country": "de" } });
    let answer = chaser.api.post("/v1/sessions", &order).await;
    answer.refused(503, "no_capacity");
    let _again = Upstream::start(&lab, Software::Microsocks, 210);
    stands("gate", "well", "").await;
    let session = session_by(&chaser, json!({ "country": "de" })).await;
    assert_eq!(session.get().await["proxy_ip"], gate.ip().to_string());
    // Only looks came until then, and the one that no upstream let through did not.
    assert_eq!(origin.peers(), BTreeSet::from([gate.ip()]));
}
