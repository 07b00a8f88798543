//! A small internet of a test's own: a network namespace behind a veth pair.
//!
//! ```text
//!   host side  lab<n>   10.77.n.1, egress addresses 10.77.n.11 …
//!                │ veth
//!   inside     lab<n>i  10.77.n.200 the origin, 10.77.n.201 a neighbour, and what a test adds
//! ```
//! What a page must never reach lives inside as well, so that a failing test sends nothing beyond
//! this machine. A *secluded* lab has its host's side in a namespace too, `lab<n>h`, which knows no
//! road to anywhere but the lab and, by a second cable, the test (10.78.n.1 to 10.78.n.2): every
//! packet on every interface there is the program's or what leaked from it. The number `n` is held by
//! a file lock: whoever takes it next sweeps what a killed run left behind.

use std::{
    fs::{self, File},
    io::Write,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::{Command, Stdio},
    thread,
};

use nix::sched::{CloneFlags, setns};
use rustix::fs::{FlockOperation, flock};

use super::{docker, processes, small_disk};

const CLAIMS: &str = "/run/chaser-lab";

pub struct Lab {
    pub(super) number: u8,
    secluded: bool,
    _claim: File,
}

impl Lab {
    /// Takes a free number, removes what an earlier owner left, and lays the cable.
    pub fn new() -> Self {
        Self::lay(false)
    }

    /// The same, where the program under test has a host to itself.
    pub fn secluded() -> Self {
        Self::lay(true)
    }

    fn lay(secluded: bool) -> Self {
        fs::create_dir_all(CLAIMS).unwrap();
        let (number, claim) = (1..=250)
            .find_map(|number| {
                let claim = File::create(format!("{CLAIMS}/{number}")).unwrap();
                flock(&claim, FlockOperation::NonBlockingLockExclusive)
                    .is_ok()
                    .then_some((number, claim))
            })
            .expect("one of 250 labs is free");
        let lab = Self {
            number,
            secluded,
            _claim: claim,
        };
        lab.sweep();
        let (n, host, inside) = (number, lab.host_link(), lab.inside_link());
        let namespace = lab.namespace();
        ip(None, &format!("netns add {namespace}\n"));
        if let Some(own) = lab.host_namespace() {
            ip(
                None,
                &format!(
                    "netns add {own}\n\
                     link add lab{n}m type veth peer name lab{n}a netns {own}\n\
                     addr add 10.78.{n}.1/30 dev lab{n}m\n\
                     link set lab{n}m up\n"
                ),
            );
            ip(
                Some(&own),
                &format!(
                    "link set lo up\n\
                     addr add 10.78.{n}.2/30 dev lab{n}a\n\
                     link set lab{n}a up\n"
                ),
            );
        }
        lab.on_host(&format!(
            "link add {host} type veth peer name {inside} netns {namespace}\n\
                 addr add 10.77.{n}.1/24 dev {host}\n\
                 addr add fd77:{n}::1/64 dev {host} nodad\n\
                 link set {host} up\n"
        ));
        ip(
            Some(&namespace),
            &format!(
                "link set lo up\n\
                 addr add 10.77.{n}.200/24 dev {inside}\n\
                 addr add 10.77.{n}.201/24 dev {inside}\n\
                 addr add fd77:{n}::200/64 dev {inside} nodad\n\
                 link set {inside} up\n"
            ),
        );
        lab
    }

    /// Where origins listen; the one address that sessions may reach by default.
    pub fn origin_ip(&self) -> IpAddr {
        self.ip(200)
    }

    /// Beside the origin, and denied.
    pub fn neighbour_ip(&self) -> IpAddr {
        self.ip(201)
    }

    pub fn host_ip(&self) -> IpAddr {
        self.ip(1)
    }
    pub fn ipv6(&self) -> IpAddr {
        format!("fd77:{}::200", self.number).parse().unwrap()
    }

    /// Puts `count` addresses on the host's side, for sessions to leave from.
    pub fn egress_addresses(&self, count: u8) -> Vec<IpAddr> {
        assert!(count <= 150, "10.77.n.11 to .160");
        let addresses: Vec<_> = (0..count).map(|i| self.ip(11 + i)).collect();
        let link = self.host_link();
        let lines: String = addresses
            .iter()
            .map(|ip| format!("addr replace {ip}/32 dev {link}\n"))
            .collect();
        self.on_host(&lines);
        addresses
    }

    /// The same of IPv6, one.
    pub fn egress_ipv6(&self) -> IpAddr {
        let (n, link) = (self.number, self.host_link());
        self.on_host(&format!("addr replace fd77:{n}::11/128 dev {link} nodad\n"));
        format!("fd77:{n}::11").parse().unwrap()
    }

    /// Takes an egress address off the host's side again.
    pub fn lose_address(&self, address: IpAddr) {
        let link = self.host_link();
        self.on_host(&format!("addr del {address}/32 dev {link}\n"));
    }

    /// An address from anywhere else in the world, inside, with the host's road to it.
    pub fn claim_address(&self, address: Ipv4Addr) {
        let (namespace, inside, host) = (self.namespace(), self.inside_link(), self.host_link());
        ip(
            Some(&namespace),
            &format!("addr add {address}/32 dev {inside}\n"),
        );
        self.on_host(&format!("route add {address}/32 dev {host}\n"));
    }

    /// One more address inside, which the host has a road to.
    pub fn address_inside(&self, last: u8) -> IpAddr {
        assert!((202..=250).contains(&last), "10.77.n.202 to .250");
        let (address, inside) = (self.ip(last), self.inside_link());
        let line = format!("addr replace {address}/24 dev {inside}\n");
        ip(Some(&self.namespace()), &line);
        address
    }

    /// Where the program under test shall listen, and whose loopback nobody else uses.
    pub fn door(&self) -> IpAddr {
        if self.secluded {
            IpAddr::from([10, 78, self.number, 2])
        } else {
            Ipv4Addr::LOCALHOST.into()
        }
    }

    /// The namespace of the host's side, where that is not the machine's own.
    pub fn host_namespace(&self) -> Option<String> {
        self.secluded.then(|| format!("lab{}h", self.number))
    }

    /// Work as a process of the host's side would do it.
    pub fn host_side<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        match self.host_namespace() {
            Some(own) => within(&own, work),
            None => work(),
        }
    }

    /// Lines for `ip -batch` on the host's side.
    pub(super) fn on_host(&self, lines: &str) {
        ip(self.host_namespace().as_deref(), lines);
    }

    /// A TCP listener inside.
    pub fn listen(&self, address: SocketAddr) -> tokio::net::TcpListener {
        let listener = self.inside(move || std::net::TcpListener::bind(address).unwrap());
        listener.set_nonblocking(true).unwrap();
        tokio::net::TcpListener::from_std(listener).unwrap()
    }

    /// A listener where clouds have their metadata services, inside only.
    pub fn metadata(&self, address: SocketAddr) -> tokio::net::TcpListener {
        let line = format!("addr replace {}/32 dev lo\n", address.ip());
        ip(Some(&self.namespace()), &line);
        self.listen(address)
    }

    /// The words before a command that make it live inside.
    pub fn words_of_inside(&self) -> [String; 2] {
        let namespace = format!("--net=/run/netns/{}", self.namespace());
        ["nsenter".to_owned(), namespace]
    }

    /// A UDP socket inside.
    pub fn listen_udp(&self, address: SocketAddr) -> tokio::net::UdpSocket {
        let socket = self.inside(move || std::net::UdpSocket::bind(address).unwrap());
        socket.set_nonblocking(true).unwrap();
        tokio::net::UdpSocket::from_std(socket).unwrap()
    }

    /// A port of 127.0.0.1 that no other lab uses.
    pub fn port(&self, which: u16) -> u16 {
        assert!(which < 10, "ten ports per lab");
        20_000 + u16::from(self.number) * 10 + which
    }

    /// Memory-backed and short: a runtime directory holds counters and socket paths.
    pub fn runtime_dir(&self) -> PathBuf {
        PathBuf::from(format!("/dev/shm/lab{}", self.number))
    }

    pub fn state_dir(&self) -> PathBuf {
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("lab{}", self.number))
    }

    fn ip(&self, last: u8) -> IpAddr {
        IpAddr::from([10, 77, self.number, last])
    }

    pub fn namespace(&self) -> String {
        format!("lab{}", self.number)
    }

    fn host_link(&self) -> String {
        format!("lab{}", self.number)
    }

    fn inside_link(&self) -> String {
        format!("lab{}i", self.number)
    }

    fn inside<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        within(&self.namespace(), work)
    }

    /// Everything that may carry this number; absence is success.
    fn sweep(&self) {
        for pid_file in ["up.pid", "relay.pid"] {
            let recorded = fs::read_to_string(self.runtime_dir().join(pid_file));
            if let Some(pid) = recorded.ok().and_then(|text| text.trim().parse().ok())
                && processes::command_line(pid).contains("chaser")
            {
                processes::kill(pid);
            }
        }
        if let Ok(node) = fs::read_to_string(self.runtime_dir().join("node.id")) {
            docker::remove_all_of(&node);
        }
        small_disk::unmount(&self.state_dir().join("S"));
        for directory in [self.runtime_dir(), self.state_dir()] {
            drop(fs::remove_dir_all(directory));
        }
        self.unplug();
    }

    fn unplug(&self) {
        let n = self.number;
        for words in [
            ["link", "del", self.host_link().as_str()],
            ["netns", "del", self.namespace().as_str()],
            ["link", "del", &format!("lab{n}m")],
            ["netns", "del", &format!("lab{n}h")],
        ] {
            // The usual answer is that there is no such thing.
            drop(
                Command::new("ip")
                    .args(words)
                    .stderr(Stdio::null())
                    .status(),
            );
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.unplug();
        if thread::panicking() {
            return;
        }
        for directory in [self.runtime_dir(), self.state_dir()] {
            drop(fs::remove_dir_all(directory));
        }
    }
}

/// Work in a named namespace, on a thread that ends there.
pub fn within<T: Send + 'static>(namespace: &str, work: impl FnOnce() -> T + Send + 'static) -> T {
    let namespace = File::open(format!("/run/netns/{namespace}")).unwrap();
    thread::spawn(move || {
        setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
        work()
    })
    .join()
    .unwrap()
}

/// Lines for `ip -batch`, on the host or inside.
pub(super) fn ip(namespace: Option<&str>, lines: &str) {
    let mut ip = Command::new("ip")
        .args(namespace.into_iter().flat_map(|name| ["-n", name]))
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("iproute2 is installed");
    let mut stdin = ip.stdin.take().unwrap();
    stdin.write_all(lines.as_bytes()).unwrap();
    drop(stdin);
    assert!(ip.wait().unwrap().success(), "ip -batch refused:\n{lines}");
}

#[tokio::test]
async fn a_lab_leaves_nothing_behind() {
    let lab = Lab::new();
    let (namespace, link) = (
        PathBuf::from(format!("/run/netns/{}", lab.namespace())),
        PathBuf::from(format!("/sys/class/net/{}", lab.host_link())),
    );
    let inside = lab.listen(SocketAddr::new(lab.origin_ip(), 80));
    let from = lab.egress_addresses(2)[1];
    assert!(namespace.exists() && link.exists());

    let dial = tokio::net::TcpSocket::new_v4().unwrap();
    dial.bind(SocketAddr::new(from, 0)).unwrap();
    let dialled = dial.connect(SocketAddr::new(lab.origin_ip(), 80)).await;
    dialled.unwrap();
    assert_eq!(inside.accept().await.unwrap().1.ip(), from);

    drop(lab);
    assert!(!namespace.exists() && !link.exists());
}
