//! These enter namespaces and need root, which they say by failing.

use std::{
    net::TcpStream as StdStream,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket},
    time::timeout,
};

use super::*;

const STATION: &str = "wlan0";
const PATIENCE: Duration = Duration::from_secs(10);

/// A process in a network namespace of its own, like a container's init.
struct Container(Child);

impl Container {
    async fn start() -> Self {
        let child = Command::new("unshare")
            .args(["-n", "sleep", "60"])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let container = Self(child);
        let ours = std::fs::read_link("/proc/self/ns/net").unwrap();
        timeout(PATIENCE, async {
            while container.namespace() == ours {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await
        .unwrap();
        container
    }

    fn namespace(&self) -> std::path::PathBuf {
        std::fs::read_link(format!("/proc/{}/ns/net", self.0.id())).unwrap()
    }

    fn pidfd(&self) -> OwnedFd {
        pidfd(self.0.id()).unwrap()
    }

    /// What `ip` prints inside.
    fn ip(&self, args: &[&str]) -> String {
        let output = Command::new("nsenter")
            .args(["-n", "-t", &self.0.id().to_string(), "ip"])
            .args(args)
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[tokio::test]
async fn sockets_made_inside_meet_each_other_and_nobody_else() {
    let container = Container::start().await;
    let made = furnish(container.pidfd().as_fd(), Browser::Inside, 2)
        .await
        .unwrap();
    assert_eq!(made.dial.len(), 2);
    let listener = TcpListener::from_std(made.egress.into()).unwrap();
    let dial = TcpSocket::from_std_stream(StdStream::from(made.dial.into_iter().next().unwrap()));
    let meet = async {
        let (out, accepted) = tokio::join!(dial.connect(EGRESS.into()), listener.accept());
        let (mut out, mut accepted) = (out.unwrap(), accepted.unwrap().0);
        out.write_all(b"hello").await.unwrap();
        let mut hello = [0; 5];
        accepted.read_exact(&mut hello).await.unwrap();
        assert_eq!(&hello, b"hello");
    };
    timeout(PATIENCE, meet).await.unwrap();

    // This thread never entered: out here the same address is somebody else's or nobody's.
    let ours = std::fs::read_link("/proc/thread-self/ns/net").unwrap();
    assert_ne!(ours, container.namespace());
}

#[tokio::test]
async fn the_browser_is_online_and_can_reach_nothing() {
    let container = Container::start().await;
    drop(
        furnish(container.pidfd().as_fd(), Browser::Inside, 0)
            .await
            .unwrap(),
    );
    let addresses = container.ip(&["-4", "-o", "address", "show", "dev", STATION]);
    assert!(addresses.contains("inet 192.168."), "{addresses}");
    let link = container.ip(&["-o", "link", "show", "dev", STATION]);
    assert!(link.contains("LOWER_UP"), "{link}");
    assert!(
        container
            .ip(&["-o", "link", "show", "dev", "lo"])
            .contains("LOWER_UP")
    );
    let routes = container.ip(&["route"]);
    assert!(!routes.contains("default"), "{routes}");
    assert_eq!(routes.lines().count(), 1, "{routes}");
}

#[tokio::test]
async fn furnishing_twice_changes_nothing_but_the_port_is_taken() {
    let container = Container::start().await;
    let made = furnish(container.pidfd().as_fd(), Browser::Inside, 0)
        .await
        .unwrap();
    let again = furnish(container.pidfd().as_fd(), Browser::Inside, 0).await;
    assert!(matches!(again, Err(NetnsError::PortTaken)), "{again:?}");
    drop(made);
    drop(
        furnish(container.pidfd().as_fd(), Browser::Inside, 1)
            .await
            .unwrap(),
    );
    let addresses = container.ip(&["-4", "-o", "address", "show", "dev", STATION]);
    assert_eq!(addresses.lines().count(), 1, "{addresses}");
}

/// The tap comes later than the listener, as it does in a container that makes its own.
#[tokio::test]
async fn who_is_behind_a_tap_comes_to_the_listener_by_the_taps_address() {
    let container = Container::start().await;
    let behind = Browser::BehindTap;
    let made = furnish(container.pidfd().as_fd(), behind, 2).await.unwrap();
    let links = container.ip(&["-o", "link"]);
    assert_eq!(links.lines().count(), 1, "nothing but lo: {links}");
    assert!(links.contains("LOWER_UP"), "{links}");

    for line in [
        "tuntap add dev tap0 mode tap",
        "address add 192.168.97.1/30 dev tap0",
        "link set tap0 up",
    ] {
        container.ip(&line.split(' ').collect::<Vec<_>>());
    }
    let listener = TcpListener::from_std(made.egress.into()).unwrap();
    let mut dial = made.dial.into_iter().map(StdStream::from);
    for address in ["192.168.97.1:3128", "127.0.0.1:3128"] {
        let dial = TcpSocket::from_std_stream(dial.next().unwrap());
        let meet = async {
            let address = address.parse().unwrap();
            tokio::join!(dial.connect(address), listener.accept())
        };
        let (out, accepted) = timeout(PATIENCE, meet).await.unwrap();
        assert_eq!(out.unwrap().local_addr().unwrap(), accepted.unwrap().1);
    }
    let again = furnish(container.pidfd().as_fd(), Browser::Inside, 0).await;
    assert!(matches!(again, Err(NetnsError::PortTaken)), "{again:?}");
}

#[tokio::test]
async fn more_sockets_come_unconnected_and_non_blocking() {
    let container = Container::start().await;
    let more = sockets(container.pidfd().as_fd(), 3).await.unwrap();
    assert_eq!(more.len(), 3);
    for socket in more {
        let stream = StdStream::from(socket);
        stream.peer_addr().unwrap_err();
        let flags = rustix::fs::fcntl_getfl(&stream).unwrap();
        assert!(flags.contains(rustix::fs::OFlags::NONBLOCK));
    }
}

#[tokio::test]
async fn a_dead_container_is_gone() {
    let mut container = Container::start().await;
    let held = container.pidfd();
    container.kill();
    let entered = sockets(held.as_fd(), 1).await;
    assert!(matches!(entered, Err(NetnsError::Gone)), "{entered:?}");
    assert_eq!(
        pidfd(u32::MAX).unwrap_err().raw_os_error(),
        Some(Errno::ESRCH as i32)
    );
}
