//! Every kind of route against every protocol.

use super::*;

/// Everything that a page does, by way of one route; what is wrong is said with the route's name.
async fn all_protocols(client: &mut Client, origin: &Origin, name: &str) {
    for url in [
        origin.http(&format!("/{name}/http")),
        origin.https(&format!("/{name}/https")),
    ] {
        client.goto(&url).await;
    }
    client.goto(&origin.h2(&format!("/{name}/h2"))).await;
    let hop = "performance.getEntriesByType('navigation')[0].nextHopProtocol";
    assert_eq!(client.evaluate(hop).await, "h2", "{name}");
    client.goto(&origin.http(&format!("/{name}/page"))).await;
    // Beside all that follows, two long polls: not one byte until then.
    let secure = origin.https("/silent/8000");
    let polls = format!(
        "window.polls = Promise.all(['/silent/8000', '{secure}']
            .map((url) => fetch(url).then((answer) => answer.text()))), 0"
    );
    client.evaluate(&polls).await;
    let said = |script: String, expected: Value| (script, expected);
    let checks = [
        said(
            format!(
                "new Promise((done) => {{
                    const socket = new WebSocket('{}');
                    socket.onopen = () => socket.send('x'.repeat(70000));
                    socket.onmessage = (message) => {{ done(message.data.length); socket.close(); }};
                    socket.onerror = () => done('broken');
                }})",
                origin.ws(&format!("/ws?{name}"))
            ),
            json!(70_000),
        ),
        said(
            "fetch('/upload', { method: 'POST', body: 'u'.repeat(12_000_000) })
                .then((answer) => answer.json()).then((told) => told.received)"
                .to_owned(),
            json!(12_000_000),
        ),
        said(
            "fetch('/bytes/12000000').then((answer) => answer.arrayBuffer())
                .then((buffer) => buffer.byteLength)"
                .to_owned(),
            json!(12_000_000),
        ),
        said(
            "(async () => {
                let total = 0;
                for (let round = 0; round < 50; round += 1) {
                    const some = Array.from({ length: 20 }, () =>
                        fetch('/bytes/10').then((answer) => answer.text()));
                    for (const text of await Promise.all(some)) total += text.length;
                }
                return total;
            })()"
                .to_owned(),
            json!(10_000),
        ),
        said(
            "fetch('/drip/20/4000').then((answer) => answer.text()).then((text) => text.length)"
                .to_owned(),
            json!(20),
        ),
        said("window.polls".to_owned(), json!(["at last", "at last"])),
    ];
    for (script, expected) in checks {
        assert_eq!(client.evaluate(&script).await, expected, "{name}: {script}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_route_carries_every_protocol_and_comes_out_where_it_should() {
    let (lab, origin) = lab();
    let address = lab.egress_addresses(1)[0];
    let upstreams: Vec<_> = Software::ALL
        .into_iter()
        .zip(210..)
        .map(|(software, last)| Upstream::start(&lab, software, last))
        .collect();
    let name = |software: Software| format!("{software:?}").to_lowercase();
    let mut tables = vec![direct("straight", &address.to_string(), "")];
    tables.extend(
        upstreams
            .iter()
            .map(|one| one.route(&name(one.software), "")),
    );
    let chaser = Setup::on(&lab)
        .egress_addresses(0)
        .set("egress", &routes_file(&lab, &tables))
        .start()
        .await;
    let mut all = vec![("straight".to_owned(), address)];
    all.extend(upstreams.iter().map(|one| (name(one.software), one.ip())));
    for (route, exit) in &all {
        let session = session_by(&chaser, json!({ "route": route })).await;
        let mut client = Library::Patchright.connect(&session.cdp_url).await;
        trust_the_tests_authority(&mut client).await;
        all_protocols(&mut client, &origin, route).await;
        let pages = origin.requests_of(*exit);
        let own = |path: &str| path.starts_with(&format!("/{route}/"));
        let here = pages.iter().filter(|seen| own(&seen.path)).count();
        assert_eq!(here, 4, "{route} came out of {exit}");
        if *route != "straight" {
            secret::nowhere(&chaser, &session.id, LOGIN.1).await;
        }
        let counted = origin.bytes_of(*exit);
        eventually(
            "the meter has all that the origin has",
            seconds(5),
            async || {
                let shown = session.get().await;
                let at_least = |field: &str, origin: u64| shown[field].as_u64().unwrap() >= origin;
                // What the way to an upstream costs beside is the session's, too.
                (at_least("bytes_up", counted.up) && at_least("bytes_down", counted.down))
                    .then_some(())
            },
        )
        .await;
        session.delete().await;
    }
    let exits: BTreeSet<_> = all.into_iter().map(|(_, exit)| exit).collect();
    assert_eq!(origin.peers(), exits, "and out of no other");
}
