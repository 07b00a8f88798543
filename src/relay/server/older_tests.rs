//! An agent and a relay of an older program, over the socket that they meet on.

use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;

use super::*;
use crate::{
    model::{Bounds, OnDevice, Targets},
    relay::{
        Device, Feature,
        client::{RelayClient, RelayError, Settings},
    },
    wire::relay::relay_service_server::RelayServiceServer,
};

fn settings() -> Settings {
    Settings {
        egress_allow: Vec::new(),
        egress_deny: Vec::new(),
        egress_deny_ports: Vec::new(),
        egress_deny_hosts: watch::channel(String::new()).1,
        top_hosts: 0,
        egress_endpoints: Vec::new(),
        nameservers: Vec::new(),
        hold_timeout: Duration::from_secs(1),
        max_message_bytes: 1 << 20,
        max_clients_per_session: 1,
        max_connections_per_source: 0,
        wrong_guesses_per_minute: 0,
        origins: Vec::new(),
        browser_silence: Duration::from_secs(600),
        identity: watch::channel(None).1,
        plaintext_beyond_host: true,
        expected: Vec::new(),
        collector: None,
    }
}

/// Serves the relay of a stand as one that says it understands `features`.
fn serve(stand: &Stand, features: &[&str]) {
    let socket = stand.relay.paths.socket();
    drop(std::fs::remove_file(&socket));
    let incoming = UnixListenerStream::new(UnixListener::bind(&socket).unwrap());
    let rpc = Rpc {
        features: features.iter().map(|&word| word.to_owned()).collect(),
        relay_id: format!("understands {features:?}"),
        ..stand.rpc()
    };
    let service = RelayServiceServer::new(rpc);
    stand.relay.tasks.spawn("older relay", |stop| async move {
        let server = tonic::transport::Server::builder().add_service(service);
        let served = server.serve_with_incoming_shutdown(incoming, stop.cancelled());
        served.await.unwrap();
    });
}

fn never(port: u16) -> Bounds {
    Bounds {
        never: Targets {
            ports: vec![port],
            ..Targets::default()
        },
        ..Bounds::default()
    }
}

/// A claim of `session` within `bounds`.
fn claim(stand: &Stand, session: &SessionId, bounds: Vec<Bounds>, reroute: bool) -> Bind {
    let way = Way {
        bounds,
        ..Way::default()
    };
    stand.claim(session, way, reroute)
}

/// What was refused because the relay lacks it, and the sentence.
fn lacked<T: std::fmt::Debug>(outcome: Result<T, RelayError>) -> (Feature, String) {
    match outcome {
        Err(error @ RelayError::Lacks { feature, .. }) => (feature, error.to_string()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_an_older_relay_would_skip_is_refused_by_name_and_never_sent() {
    let browser = FakeBrowser::start().await;
    let stand = Stand::attached(browser.address, us()).await;
    let session = stand.expect();
    serve(&stand, &["throttle", "of tomorrow"]);
    let client = RelayClient::new(&stand.relay.paths, 1).unwrap();
    client.hello(&settings()).await.unwrap();
    assert!(client.is_older());
    let two = claim(&stand, &session, vec![never(1), never(2)], false);
    let (feature, said) = lacked(client.bind(&two).await);
    assert_eq!(feature, Feature::MoreBounds);
    let pid = std::process::id();
    for words in ["`more_bounds`", "systemctl restart", &format!("kill {pid}")] {
        assert!(said.contains(words), "{said}");
    }
    let way = two.way.unwrap();
    assert_eq!(lacked(client.can_serve(&way, false)).0, feature);
    let device = lacked(client.can_serve(&Way::default(), true)).0;
    assert_eq!(device, Feature::OnDevice);
    let (profile, limit) = (phone(), Duration::from_secs(5));
    let device = Device {
        at: OnDevice {
            adb_port: 5555,
            socket: "devtools".to_owned(),
        },
        key: None,
    };
    let attached = client.attach(InstanceId::random(), &profile, Some(&device), limit);
    assert_eq!(lacked(attached.await).0, Feature::OnDevice);
    let held = client.list().await.unwrap().held;
    assert!(held.iter().all(|held| held.session.is_none()), "{held:?}");
}

#[tokio::test]
async fn an_older_relay_is_told_what_it_understands_and_its_successor_everything() {
    let browser = FakeBrowser::start().await;
    let stand = Stand::attached(browser.address, us()).await;
    let session = stand.expect();
    serve(&stand, &[]);
    let client = RelayClient::new(&stand.relay.paths, 1).unwrap();
    client.hello(&settings()).await.unwrap();
    let one = claim(&stand, &session, vec![never(1)], false);
    client.can_serve(one.way.as_ref().unwrap(), false).unwrap();
    client.bind(&one).await.unwrap();
    assert!(stand.page().await.contains("refused: denied_port"));
    let away = claim(&stand, &session, Vec::new(), true);
    assert_eq!(lacked(client.bind(&away).await).0, Feature::Reroute);
    assert_eq!(lacked(client.can_reroute()).0, Feature::Reroute);
    assert!(stand.page().await.contains("refused: denied_port"));

    let words = features::words();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    serve(&stand, &words);
    let client = RelayClient::new(&stand.relay.paths, 2).unwrap();
    client.hello(&settings()).await.unwrap();
    assert!(!client.is_older());
    let two = claim(&stand, &session, vec![never(3), never(4)], true);
    client.bind(&two).await.unwrap();
    assert!(stand.page().await.contains("refused: denied_address"));
}
