//! Egress routes by way of real upstreams: which one an order gets, and what comes out of it.

use std::{
    collections::BTreeSet,
    fs,
    net::{IpAddr, SocketAddr},
};

use chaser::runtime::Tasks;
use serde_json::{Value, json};

use crate::{
    flow::trust_the_tests_authority,
    harness::{
        Chaser, Client, LOGIN, Lab, Library, Origin, Session, Setup, Software, Upstream,
        eventually, lab, seconds,
    },
};

mod carry;
mod denied;
mod failover;
mod halves;
mod health;
mod hosts;
mod interface;
mod limits;
mod names;
mod place;
mod policy;
mod probes;
mod rude;
mod secret;
mod shown;
mod six;

/// The file of routes of a test's node.
fn routes_file(lab: &Lab, tables: &[String]) -> String {
    let dir = lab.state_dir();
    fs::create_dir_all(&dir).unwrap();
    let path = dir.join("routes.toml");
    fs::write(&path, tables.concat()).unwrap();
    format!("routes = \"{}\"", path.display())
}

/// Orders a session with this `proxy` and waits for it.
async fn session_by(chaser: &Chaser, proxy: Value) -> Session {
    let order = json!({ "ttl_seconds": 600, "proxy": proxy });
    let answer = chaser.api.post("/v1/sessions?wait=ready", &order).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    assert_eq!(answer.body["status"], "ready", "{}", answer.body);
    chaser.api.adopt(&answer.body)
}

fn direct(name: &str, addresses: &str, more: &str) -> String {
    format!(
        "[[route]]\nname = \"{name}\"\nkind = \"direct\"\naddresses = [\"{addresses}\"]\n{more}\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_gets_what_it_asks_for_or_is_told_what_is_missing() {
    let (lab, origin) = lab();
    let addresses = lab.egress_addresses(4);
    let [de, fr] = [210, 211].map(|last| Upstream::start(&lab, Software::Microsocks, last));
    let tables = [
        de.route(
            "gate-de",
            "country = \"de\"\ncity = \"munich\"\ntags = [\"home\"]",
        ),
        fr.route("gate-fr", "country = \"fr\"\ntags = [\"home\", \"fast\"]"),
        direct(
            "pool",
            &format!("{}-{}", addresses[0], addresses[1]),
            "country = \"de\"",
        ),
    ];
    let chaser = Setup::on(&lab)
        .egress_addresses(0)
        .set("egress", &routes_file(&lab, &tables))
        .start()
        .await;
    let visit = async |session: &Session, path: &str| {
        let mut client = Library::Patchright.connect(&session.cdp_url).await;
        client.goto(&origin.http(path)).await;
        let seen = |ip| origin.requests_of(ip).iter().any(|seen| seen.path == path);
        origin.peers().into_iter().find(|ip| seen(*ip)).unwrap()
    };
    let munich = session_by(&chaser, json!({ "region": "munich" })).await;
    assert_eq!(visit(&munich, "/munich").await, de.ip());
    assert_eq!(munich.get().await["proxy_region"], "de-munich");
    let fast = session_by(&chaser, json!({ "tag": "fast", "country": "FR" })).await;
    assert_eq!(visit(&fast, "/fast").await, fr.ip());
    // What is left of Germany are the two of the pool, one session each.
    let mut pool = BTreeSet::new();
    for path in ["/one", "/two"] {
        let session = session_by(&chaser, json!({ "region": "de" })).await;
        let ip = visit(&session, path).await;
        assert_eq!(session.get().await["proxy_ip"], ip.to_string());
        pool.insert(ip);
    }
    assert_eq!(pool, BTreeSet::from([addresses[0], addresses[1]]));
    for (proxy, named) in [
        (
            json!({ "region": "de" }),
            "region \"de\" is free: of 3 that fit, 3 held",
        ),
        (
            json!({ "country": "jp" }),
            "no egress route with country \"jp\"",
        ),
        (json!({ "tags": ["home", "tv"] }), "tag \"tv\""),
        (json!({ "route": "pool" }), "route \"pool\""),
    ] {
        let answer = chaser
            .api
            .post("/v1/sessions", &json!({ "proxy": proxy }))
            .await;
        assert_eq!(answer.status, 503, "{}", answer.body);
        assert_eq!(answer.body["error"]["code"], "no_capacity");
        let message = answer.body["error"]["message"].as_str().unwrap();
        assert!(message.contains(named), "{message}");
    }
    assert_eq!(munich.delete().await.status, 204);
    let again = session_by(&chaser, json!({ "region": "munich" })).await;
    assert_eq!(visit(&again, "/again").await, de.ip());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_may_bring_a_proxy_that_pages_could_reach_and_no_other() {
    let (lab, origin) = lab();
    let tasks = Tasks::default();
    let own = Upstream::start(&lab, Software::MicrosocksWithLogin, 210);
    let inner = crate::harness::Trap::inside(&lab, SocketAddr::new(lab.neighbour_ip(), 80), &tasks);
    let allow = format!("allow = [\"{}/32\", \"{}/32\"]", lab.origin_ip(), own.ip());
    let chaser = Setup::on(&lab)
        .without("--egress-allow")
        .set("egress", &allow)
        .start()
        .await;
    let server = format!("socks5://{}", own.server);
    let session = session_by(
        &chaser,
        json!({ "server": server, "username": LOGIN.0, "password": LOGIN.1 }),
    )
    .await;
    let mut client = Library::Patchright.connect(&session.cdp_url).await;
    client.goto(&origin.http("/own")).await;
    assert_eq!(origin.peers(), BTreeSet::from([own.ip()]));
    assert_eq!(session.get().await["proxy_ip"], Value::Null);
    for word in [LOGIN.1, LOGIN.0] {
        secret::nowhere(&chaser, &session.id, word).await;
    }
    let denied = format!("http://{}", inner.address());
    let session = session_by(&chaser, json!({ "server": denied })).await;
    let mut client = Library::Patchright.connect(&session.cdp_url).await;
    client.attempt(&origin.http("/never")).await;
    assert_eq!(inner.visits(), 0, "a denied address was dialled");
    let answer = chaser
        .api
        .post(
            "/v1/sessions",
            &json!({ "proxy": { "server": "gate.example" } }),
        )
        .await;
    assert_eq!(answer.status, 400);
    assert!(
        answer.body["error"]["message"]
            .as_str()
            .unwrap()
            .contains("`proxy.server`")
    );
}
