//! What depends on the route follows it: time zone, languages, position.

use super::*;

const SAYS: &str = "(async () => {
    const script = 'postMessage([Intl.DateTimeFormat().resolvedOptions().timeZone, navigator.language])';
    const worker = new Worker(URL.createObjectURL(new Blob([script])));
    const inside = await new Promise((done) => { worker.onmessage = (told) => done(told.data); });
    return {
        zone: Intl.DateTimeFormat().resolvedOptions().timeZone,
        hour: new Date(1750000000000).getHours(),
        languages: navigator.languages.join(','),
        worker: inside.join(' '),
    };
})()";

async fn says(origin: &Origin, session: &Session, page: &str) -> (Value, String) {
    let mut client = Library::Patchright.connect(&session.cdp_url).await;
    client.goto(&origin.http(page)).await;
    let said = client.evaluate(SAYS).await;
    let seen = origin.requests_of(session.egress_ip().await);
    let first = seen.iter().find(|seen| seen.path == page).unwrap();
    (said, first.headers["accept-language"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_is_where_its_route_comes_out_started_for_it_or_parked_before() {
    let (lab, origin) = lab();
    let addresses = lab.egress_addresses(3);
    let place = "time_zone = \"Asia/Tokyo\"\nlocale = \"ja-JP\"\nsessions = 4\n\
                 geolocation = { latitude = 35.6, longitude = 139.7 }";
    let tables = [
        direct("tokyo", &addresses[0].to_string(), place),
        direct("nowhere", &addresses[1].to_string(), "sessions = 4"),
    ];
    let chaser = Setup::on(&lab)
        .egress_addresses(0)
        .set("egress", &routes_file(&lab, &tables))
        .set("pool", "warm = 1")
        .start()
        .await;
    let parked = async || {
        eventually("a browser is parked", seconds(60), async || {
            let pool = chaser.node.status().await.pool;
            (pool[0].parked == 1).then_some(())
        })
        .await;
    };
    parked().await;
    let japan = json!({
        "zone": "Asia/Tokyo", "hour": 0, "languages": "ja-JP,ja,en-US,en",
        "worker": "Asia/Tokyo ja-JP",
    });
    // The first is the parked one's, which has to move; the second is started for it.
    let order = async || session_by(&chaser, json!({ "route": "tokyo" })).await;
    for (page, session) in [("/claimed", order().await), ("/started", order().await)] {
        let (said, header) = says(&origin, &session, page).await;
        assert_eq!(said, japan, "{page}");
        assert!(
            header.starts_with("ja-JP,ja;q=0.9,en-US;q=0.8"),
            "{page}: {header}"
        );
    }
    let hits = chaser.node.status().await.pool[0].hits;
    assert!(hits >= 1, "one was claimed");
    parked().await;
    let session = session_by(&chaser, json!({ "route": "nowhere" })).await;
    let (said, header) = says(&origin, &session, "/home").await;
    assert_eq!(
        said["languages"], "en-US,en",
        "the next one is the device's own again"
    );
    assert!(header.starts_with("en-US,en"), "{header}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_may_ask_is_told_the_routes_position() {
    let (lab, origin) = lab();
    let address = lab.egress_addresses(1)[0];
    let place = "geolocation = { latitude = 35.6, longitude = 139.7, accuracy = 20.0 }";
    let chaser = Setup::on(&lab)
        .egress_addresses(0)
        .set(
            "egress",
            &routes_file(&lab, &[direct("tokyo", &address.to_string(), place)]),
        )
        .start()
        .await;
    let session = chaser.api.ready_session().await;
    let mut client = Library::Patchright.connect(&session.cdp_url).await;
    let options = json!({ "permissions": ["geolocation"], "ignoreHTTPSErrors": true });
    client
        .must("new_context", json!({ "options": options }))
        .await;
    client.goto(&origin.https("/where")).await;
    let position = client
        .evaluate(
            "new Promise((done, fail) => navigator.geolocation.getCurrentPosition(
                (at) => done([at.coords.latitude, at.coords.longitude, at.coords.accuracy]),
                (error) => fail(new Error(error.message))))",
        )
        .await;
    assert_eq!(position, json!([35.6, 139.7, 20]));
}
