//! A guest behind a tap, as Cuttlefish's is: a kernel of its own with a browser in it, which comes to the session's
//! listener by the tap's address and by nothing else.

use std::net::{IpAddr, SocketAddr};

use chaser::{
    adb::{Adb, Hello},
    runtime::Tasks,
    wire::node::{Phase, Substrate},
};
use serde_json::json;

use super::{Ordered, cdp_url, meter_and_origin_agree};
use crate::harness::{
    GREETING, Library, Trap, android_tap, dial, docker, eventually, lab, processes, seconds,
};

/// The kind's own proxy, adbd and network; of what it needs of a host what this guest needs as well.
fn ordered() -> Ordered {
    Ordered {
        substrate: Substrate::Cuttlefish,
        section: "substrate.cuttlefish",
        lines: vec![
            format!("image = \"{}\"", android_tap()),
            "needs = [\"tun\", \"net_admin\"]".to_owned(),
            "memory_bytes = 2147483648".to_owned(),
            "boot_timeout = \"120s\"".to_owned(),
        ],
    }
}

/// A connection to the guest's adbd beside the relay's.
async fn entered(container: &str, tasks: &Tasks) -> Adb {
    eventually("the guest's adbd greets", seconds(30), async || {
        let stream = dial(container, 6520).ok()?;
        Adb::greet(stream, Hello::keyless(GREETING), tasks)
            .await
            .ok()
    })
    .await
}

/// What a line of the guest's shell wrote, where it went well.
async fn said(adb: &Adb, line: &str) -> Option<String> {
    let output = adb.shell(line, seconds(20)).await.unwrap();
    (output.code == 0).then(|| output.text())
}

/// The guest connects there by itself, past every browser.
async fn connects(adb: &Adb, address: SocketAddr) -> bool {
    let (ip, port) = (address.ip(), address.port());
    let line = format!("timeout 3 bash -c 'exec 3<>/dev/tcp/{ip}/{port}'");
    said(adb, &line).await.is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_behind_a_tap_is_driven_and_metered_and_comes_to_the_listener_and_nowhere_else() {
    let ((lab, origin), tasks) = (lab(), Tasks::default());
    let ordered = ordered();
    let chaser = ordered.on(&lab).start().await;
    let session = ordered.session(&chaser).await;
    assert!(session.device.starts_with("Android 14"), "{session:?}");
    let container = chaser.container(&session.id).await;
    let (ip, url) = (
        session.egress_ip.parse::<IpAddr>().unwrap(),
        cdp_url(&chaser, &session),
    );
    for library in [Library::Patchright, Library::Playwright] {
        let mut client = library.connect(&url).await;
        client.goto(&origin.http("/behind-the-tap")).await;
        let path = client.evaluate("location.pathname").await;
        assert_eq!(path, "/behind-the-tap");
    }

    let adb = entered(&container, &tasks).await;
    let (theirs, ours) = (said(&adb, "uname -r").await.unwrap(), "uname -r");
    let ours = docker::run(&["exec", &container, "sh", "-c", ours]);
    assert_ne!(theirs, ours.trim(), "it has a kernel of its own");
    let gateway: IpAddr = [192, 168, 97, 1].into();
    let ask = format!(
        "exec 3<>/dev/tcp/{gateway}/3128; printf \"GET {} HTTP/1.1\\r\\nHost: {}\\r\\nConnection: close\\r\\n\\r\\n\" >&3; \
         head -n 1 <&3",
        origin.http("/by-its-own-hand"),
        lab.origin_ip()
    );
    let answer = said(&adb, &format!("timeout 10 bash -c '{ask}'")).await;
    assert!(
        answer.as_ref().is_some_and(|a| a.contains(" 200 ")),
        "{answer:?}"
    );
    meter_and_origin_agree(&chaser, &session, &origin).await;

    let before = origin.connections();
    let trap = Trap::on_the_side_of(&lab, SocketAddr::new(lab.host_ip(), 20080), &tasks);
    assert!(connects(&adb, SocketAddr::new(gateway, 3128)).await);
    for (ip, port) in [
        (lab.origin_ip(), 80),
        (lab.neighbour_ip(), 80),
        (lab.host_ip(), 20080),
        ([169, 254, 169, 254].into(), 80),
        (gateway, 6520),
    ] {
        let address = SocketAddr::new(ip, port);
        assert!(!connects(&adb, address).await, "{address}");
    }
    assert_eq!((trap.visits(), origin.connections()), (0, before));
    assert_eq!(origin.peers(), [ip].into(), "one address, the session's");
}

/// What an agent and a relay that died together had is made anew, and is where it was.
#[tokio::test(flavor = "multi_thread")]
async fn the_listener_of_a_guest_behind_a_tap_is_made_anew_where_agent_and_relay_died_together() {
    let (lab, origin) = lab();
    let ordered = ordered();
    let mut chaser = ordered.on(&lab).start().await;
    let session = ordered.session(&chaser).await;
    let url = cdp_url(&chaser, &session);
    let relay = chaser.relay_pid();
    chaser.sigkill();
    processes::kill(relay);
    chaser.restart().await;
    let mut client = eventually("a client is served again", seconds(30), async || {
        let mut client = Library::Patchright.start();
        let connected = client.call("connect", json!({ "url": url })).await;
        connected.ok().map(|_| client)
    })
    .await;
    client.goto(&origin.http("/with-others")).await;
    let seen = chaser.node.session(&session.id).await.unwrap();
    assert_eq!(seen.phase(), Phase::Ready);
}
