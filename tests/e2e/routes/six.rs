//! IPv6 from end to end: out of an address of it, to an origin of it, and to nothing that hides in it.

use super::*;
use crate::harness::Dns;

#[tokio::test(flavor = "multi_thread")]
async fn a_route_of_an_ipv6_address_leads_to_ipv6_and_is_metered_to_the_byte() {
    let (lab, four) = lab();
    let tasks = Tasks::default();
    let (from, inside) = (lab.egress_ipv6(), lab.ipv6());
    let six = Origin::at(&lab, inside, &tasks);
    let names = [
        ("both.test", &[lab.origin_ip(), inside][..]),
        ("four.test", &[lab.origin_ip()]),
    ];
    let dns = Dns::start(&lab, &names, &tasks);
    let allow = format!("allow = [\"{inside}/128\", \"{}/32\"]", lab.origin_ip());
    let tables = [direct("six", &from.to_string(), "country = \"de\"")];
    let chaser = Setup::on(&lab)
        .egress_addresses(0)
        .without("--egress-allow")
        .names(&dns)
        .set(
            "egress",
            &format!("{allow}\n{}", routes_file(&lab, &tables)),
        )
        .start()
        .await;
    let session = session_by(&chaser, json!({ "region": "de" })).await;
    assert_eq!(session.egress_ip().await, from);
    let mut client = Library::Patchright.connect(&session.cdp_url).await;
    trust_the_tests_authority(&mut client).await;
    client.goto(&six.http("/plain")).await;
    client.goto(&six.https("/secure")).await;
    // Of two families the route has one.
    client.goto("http://both.test/").await;
    let fetch = "fetch('/bytes/300000').then((r) => r.arrayBuffer()).then(() => 0)";
    client.evaluate(fetch).await;
    for path in ["/plain", "/secure", "/bytes/300000"] {
        let seen = six.requests_of(from);
        assert!(
            seen.iter().any(|seen| seen.path == path),
            "{path}: {seen:?}"
        );
    }
    let urls = [
        "http://four.test/".to_owned(),
        four.http("/"),
        // The same origin, hidden in IPv6; each is its own denial, allowed or not in its own family.
        format!("http://[::ffff:{}]/", lab.origin_ip()),
        format!("http://[64:ff9b::{}]/", lab.origin_ip()),
        "http://[fe80::1]/".to_owned(),
        "http://[fd00:ec2::254]/".to_owned(),
        "http://[::1]/".to_owned(),
    ];
    for url in &urls {
        let shown = client.attempt(url).await;
        let refused = shown.error.is_some() || shown.text.contains("refused");
        assert!(refused, "{url}: {}", shown.text);
    }
    assert!(four.peers().is_empty(), "nothing came by the other family");
    assert_eq!(six.peers(), BTreeSet::from([from]));
    eventually("the meter equals the origin", seconds(5), async || {
        let shown = session.get().await;
        let seen = six.bytes_of(from);
        (shown["bytes_up"] == seen.up && shown["bytes_down"] == seen.down).then_some(())
    })
    .await;
}
