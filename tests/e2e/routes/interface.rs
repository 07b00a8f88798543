//! A direct route through an interface, by a relay that has no privilege.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_route_of_an_interface_leaves_through_it_and_by_no_other_road() {
    let (lab, origin) = lab();
    let (interface, its) = lab.second_cable();
    let address = lab.egress_addresses(1)[0];
    let tables = [
        format!(
            "[[route]]\nname = \"second\"\nkind = \"direct\"\ninterface = \"{interface}\"\nsessions = 4\n"
        ),
        direct("first", &address.to_string(), ""),
    ];
    let chaser = Setup::on(&lab)
        .egress_addresses(0)
        .set("egress", &routes_file(&lab, &tables))
        .set("host", "route_critical = \"3s\"")
        .start()
        .await;
    let relay = fs::read_to_string(format!("/proc/{}/status", chaser.relay_pid())).unwrap();
    let line = |name: &str| relay.lines().find(|line| line.starts_with(name)).unwrap();
    assert!(!line("Uid:").contains("\t0"), "{relay}");
    assert!(line("CapEff:").ends_with("0000000000000000"), "{relay}");

    for (name, from) in [("second", its), ("first", address)] {
        let session = session_by(&chaser, json!({ "route": name })).await;
        let mut client = Library::Patchright.connect(&session.cdp_url).await;
        trust_the_tests_authority(&mut client).await;
        client.goto(&origin.http(&format!("/{name}"))).await;
        client.goto(&origin.https(&format!("/{name}/secure"))).await;
        let fetch = "fetch('/bytes/300000').then((r) => r.arrayBuffer()).then(() => 0)";
        client.evaluate(fetch).await;
        let seen = origin.requests_of(from);
        for path in [format!("/{name}"), format!("/{name}/secure")] {
            assert!(
                seen.iter().any(|seen| seen.path == path),
                "{path}: {seen:?}"
            );
        }
        eventually("the meter equals the origin", seconds(5), async || {
            let (shown, seen) = (session.get().await, origin.bytes_of(from));
            (shown["bytes_up"] == seen.up && shown["bytes_down"] == seen.down).then_some(())
        })
        .await;
    }
    assert_eq!(origin.peers(), BTreeSet::from([its, address]));

    // Without the interface the host still has a road to the origin: nobody of the route takes it.
    let session = session_by(&chaser, json!({ "route": "second" })).await;
    let mut client = Library::Patchright.connect(&session.cdp_url).await;
    lab.cut_second_cable();
    let shown = client.attempt(&origin.http("/by-another-road")).await;
    assert!(shown.error.is_some(), "{}", shown.text);
    assert_eq!(chaser.state_of("second").await, "gone");
    let ended = session.wait_for("closed").await;
    assert_eq!(ended["ended_reason"], "substrate_down");
    for ip in origin.peers() {
        let seen = origin.requests_of(ip);
        assert!(
            !seen.iter().any(|seen| seen.path == "/by-another-road"),
            "{ip}"
        );
    }
}
