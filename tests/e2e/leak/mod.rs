//! Nothing leaves but by the proxy: every packet on every interface of the program's host, and of
//! everything that is connected to it, is looked at.
//!
//! The host is a namespace of the test's ([`Lab::secluded`]) that has no road to anywhere else, so
//! what leaks is seen and goes nowhere.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    process::Command,
};

use chaser::runtime::Tasks;
use serde_json::{Value, json};

use crate::{
    flow::trust_the_tests_authority,
    harness::{
        Chaser, Dns, Lab, Library, Origin, Packet, Page, Session, Setup, TURN_LOGIN, Trap, Turn,
        Wire, docker, eventually, seconds,
    },
};

const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
const MDNS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const SCRIPT: &str = include_str!("leave.pl");
const PAGE: &str = include_str!("page.js");

/// A host of the test's own with two sessions, and everything on it that somebody might reach.
struct Host {
    outside: Wire,
    host: Wire,
    session: Session,
    other: Session,
    traps: Vec<Trap>,
    chaser: Chaser,
    turn: Turn,
    dns: Dns,
    /// Takes the datagrams of [`Host::what_leaves_is_seen`], so that nobody complains of them.
    _sink: tokio::net::UdpSocket,
    origin: Origin,
    lab: Lab,
}

impl Host {
    async fn new() -> Self {
        let (lab, tasks) = (Lab::secluded(), Tasks::default());
        let origin = Origin::start(&lab, &tasks);
        let dns = Dns::start(&lab, &[("known.test", &[lab.origin_ip()])], &tasks);
        let turn = Turn::start(&lab);
        lab.claim_address(METADATA);
        let mut traps: Vec<Trap> = [METADATA.into(), lab.neighbour_ip(), lab.ipv6()]
            .map(|ip: IpAddr| Trap::inside(&lab, SocketAddr::new(ip, 80), &tasks))
            .into();
        for address in ["127.0.0.1:20080", "[::1]:20080"].map(|text| text.parse().unwrap()) {
            traps.push(Trap::on_the_side_of(&lab, address, &tasks));
        }
        traps.push(Trap::on_the_side_of(
            &lab,
            SocketAddr::new(lab.host_ip(), 20080),
            &tasks,
        ));
        let chaser = Setup::on(&lab)
            .egress_addresses(2)
            .names(&dns)
            // Nobody but this test is at the other end of its cable.
            .set("tls", "insecure = [\"api\", \"cdp\", \"admin\"]")
            .start()
            .await;
        let session = chaser.api.ready_session().await;
        let other = chaser.api.ready_session().await;
        let outside = Wire::of(&lab.namespace());
        let host = Wire::of(&lab.host_namespace().unwrap());
        let this = Self {
            outside,
            host,
            session,
            other,
            traps,
            chaser,
            turn,
            dns,
            _sink: lab.listen_udp(SocketAddr::new(lab.neighbour_ip(), 7)),
            origin,
            lab,
        };
        this.what_leaves_is_seen().await;
        this
    }

    /// One datagram from the host, which both wires must show: else silence would mean nothing.
    async fn what_leaves_is_seen(&self) {
        let to = SocketAddr::new(self.lab.neighbour_ip(), 7);
        self.lab.host_side(move || {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.send_to(b"seen?", to).unwrap();
        });
        eventually("both wires show what left", seconds(10), async || {
            let shown = |wire: &Wire| {
                wire.packets()
                    .iter()
                    .any(|packet| packet.is_udp_between(|_any| true, to))
            };
            (shown(&self.outside) && shown(&self.host)).then_some(())
        })
        .await;
    }

    /// What may be on a wire: the proxy's own connections from the sessions' addresses to the origin,
    /// its look-ups, the test's own orders and its one datagram.
    async fn nothing_else_moved(&self) {
        let sessions = [self.session.egress_ip().await, self.other.egress_ip().await];
        let origin = |port| SocketAddr::new(self.lab.origin_ip(), port);
        let (host, neighbour) = (self.lab.host_ip(), self.lab.neighbour_ip());
        let allowed = |packet: &Packet| {
            let proxied =
                |port| packet.is_tcp_between(|peer| sessions.contains(&peer.ip()), origin(port));
            let ours =
                |door: &SocketAddr| packet.is_tcp_between(|_test| packet.link != "lo", *door);
            matches!(packet.kind, crate::harness::Kind::Neighbours)
                || [80, 443, 3478].into_iter().any(proxied)
                || packet.is_udp_between(|peer| peer.ip() == host, self.dns.address())
                || packet.is_udp_between(|peer| peer.ip() == host, SocketAddr::new(neighbour, 7))
                || self.chaser.ports().iter().any(ours)
        };
        // Whatever is still under way arrives before this does.
        self.what_leaves_is_seen().await;
        for (wire, name) in [(&self.outside, "outside"), (&self.host, "on the host")] {
            let leaked = wire.but(allowed);
            assert!(leaked.is_empty(), "{name} there were {leaked:#?}");
        }
        for trap in &self.traps {
            assert_eq!(trap.visits(), 0, "{} was reached", trap.address());
        }
        let opened = |port| {
            let packets = self.outside.packets();
            packets
                .iter()
                .filter(|packet| packet.opens(origin(port)))
                .count()
        };
        let connections = opened(80) + opened(443);
        assert_eq!(connections, self.origin.connections(), "only what was made");
    }

    /// STUN and TURN servers, by every transport.
    fn ice(&self) -> Vec<Value> {
        let login = |url: String| json!({ "urls": url, "username": TURN_LOGIN.0, "credential": TURN_LOGIN.1 });
        let (mut ice, turn) = (vec![], self.turn.address);
        for server in [
            turn.to_string(),
            format!("{}:3478", self.lab.neighbour_ip()),
        ] {
            ice.push(json!({ "urls": format!("stun:{server}") }));
            ice.push(login(format!("turn:{server}?transport=udp")));
            ice.push(login(format!("turn:{server}?transport=tcp")));
            ice.push(login(format!("turns:{server}?transport=tcp")));
        }
        ice
    }

    /// Everything that listens and is for no page, as URLs.
    fn doors(&self, station: IpAddr) -> Vec<String> {
        let mut doors: Vec<String> = self
            .traps
            .iter()
            .map(|trap| trap.address().to_string())
            .collect();
        doors.extend(self.chaser.ports().iter().map(ToString::to_string));
        for ip in [
            "127.0.0.1",
            "localhost",
            "0.0.0.0",
            "[::1]",
            &station.to_string(),
        ] {
            doors.extend([3128, 9222].map(|port| format!("{ip}:{port}")));
        }
        doors.iter().map(|door| format!("http://{door}/")).collect()
    }

    /// Addresses that somebody inside would like to talk to.
    fn aims(&self, other: &str) -> Vec<String> {
        let station = home_address(other);
        [
            self.lab.origin_ip(),
            self.lab.neighbour_ip(),
            self.lab.host_ip(),
            self.lab.door(),
            self.lab.ipv6(),
            METADATA.into(),
            MDNS.into(),
            Ipv4Addr::BROADCAST.into(),
            Ipv4Addr::new(172, 17, 0, 1).into(),
            Ipv4Addr::new(10, 255, 255, 53).into(),
            "ff02::fb".parse().unwrap(),
            "2001:db8::1".parse().unwrap(),
            station,
        ]
        .iter()
        .map(ToString::to_string)
        .collect()
    }
}

/// The address that a container's browser believes to have.
fn home_address(container: &str) -> IpAddr {
    let pid = docker::pid(container).unwrap();
    let output = Command::new("nsenter")
        .args([
            &format!("--net=/proc/{pid}/ns/net"),
            "ip",
            "-j",
            "addr",
            "show",
            "wlan0",
        ])
        .output()
        .unwrap();
    let links: Value = serde_json::from_slice(&output.stdout).unwrap();
    links[0]["addr_info"][0]["local"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap()
}

/// The script's lines; all of it was tried.
fn tried(words: &[&str], aims: &[String]) -> Vec<String> {
    let output = Command::new(words[0])
        .args(&words[1..])
        .args(["perl", "-e", SCRIPT, "leak.test"])
        .args(aims)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        said.ends_with("done\n"),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let lines: Vec<String> = said.lines().map(str::to_owned).collect();
    assert!(lines.len() > aims.len() * 20, "{said}");
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_runs_in_a_container_sends_no_packet_out_of_it() {
    let host = Host::new().await;
    let container = host.chaser.container(&host.session.id).await;
    let other = host.chaser.container(&host.other.id).await;
    let aims = host.aims(&other);
    let raw = |lines: &[String]| {
        let is_raw =
            |line: &&String| line.starts_with("socket type 3") || line.starts_with("a frame");
        lines
            .iter()
            .filter(is_raw)
            .any(|line| line.ends_with("accepted"))
    };
    for user in ["1000", "0"] {
        let lines = tried(&["docker", "exec", "-u", user, &container], &aims);
        assert!(!raw(&lines), "user {user} has raw sockets: {lines:#?}");
        let resolved = lines
            .iter()
            .find(|line| line.starts_with("the name"))
            .unwrap();
        assert!(resolved.contains("refused"), "{resolved}");
    }
    // Not even with every capability, and a road of one's own making.
    let pid = docker::pid(&container).unwrap();
    let inside = format!("--net=/proc/{pid}/ns/net");
    let road = ["ip", "route", "add", "default", "dev", "wlan0"];
    let made = Command::new("nsenter").arg(&inside).args(road).status();
    assert!(made.unwrap().success());
    let lines = tried(&["nsenter", &inside], &aims);
    assert!(raw(&lines), "frames were made: {lines:#?}");
    host.nothing_else_moved().await;
    let asked = host.dns.questions();
    assert!(!asked.contains(&"leak.test".to_owned()), "{asked:?}");
    let mut client = Library::Patchright.connect(&host.session.cdp_url).await;
    client.goto(&host.origin.http("/alive")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_page_sends_a_packet_but_by_the_proxy() {
    let host = Host::new().await;
    let other = host.chaser.container(&host.other.id).await;
    let (station, turn) = (home_address(&other), host.turn.address);
    host.origin.publish(
        "/quic",
        Page {
            headers: vec![("alt-svc", "h3=\":443\"; ma=3600".to_owned())],
            content: "h3".to_owned(),
        },
    );
    let mut client = Library::Patchright.connect(&host.session.cdp_url).await;
    trust_the_tests_authority(&mut client).await;
    let (ice, urls) = (host.ice(), host.doors(station));
    let neighbour = host.lab.neighbour_ip();
    let candidates = [
        format!("candidate:1 1 udp 2122260223 {neighbour} 4000 typ host"),
        format!("candidate:2 1 tcp 1518280447 {neighbour} 4001 typ host tcptype passive"),
        format!(
            "candidate:3 1 udp 2122260222 {} 4002 typ host",
            host.lab.host_ip()
        ),
    ];
    let names = ["known.test", "unknown.test", "leak.local"];
    let report = async |client: &mut crate::harness::Client, aim: Value| {
        client.evaluate(&format!("({PAGE})({aim})")).await
    };
    client.goto(&host.origin.http("/plain")).await;
    let aim = json!({
        "ice": ice, "urls": urls, "names": names, "quic": [], "candidates": candidates,
    });
    let plain = report(&mut client, aim).await;
    client.goto(&host.origin.https("/secure")).await;
    let quic = [
        host.origin.https("/quic"),
        format!("https://{neighbour}/quic"),
    ];
    let aim = json!({ "ice": [], "urls": [], "names": [], "quic": quic, "candidates": [] });
    let secure = report(&mut client, aim).await;
    let text = |report: &Value, what: &str| report[what].as_str().unwrap_or_default().to_owned();
    let by_udp = text(&plain, &format!("webrtc stun:{turn}"));
    assert!(!by_udp.contains("srflx") && !by_udp.is_empty(), "{plain:#}");
    let fetched = text(
        &secure,
        &format!("fetch 2 of {}", host.origin.https("/quic")),
    );
    assert!(fetched == "200 h3", "{secure:#}");
    for url in &urls {
        assert_ne!(
            text(&plain, &format!("websocket to {url}")),
            "open",
            "{url}"
        );
    }
    host.nothing_else_moved().await;
}
