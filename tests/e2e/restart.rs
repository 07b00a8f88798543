//! The split is real: agent and relay die alone.

use std::{io, os::fd::AsFd};

use chaser::{netns, wire::node::Blame};
use nix::sys::signal::Signal;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::sleep,
};

use crate::harness::{Cdp, Chaser, Library, docker, eventually, lab, processes, seconds};

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_of_the_agent_is_felt_by_no_client_and_a_new_agent_finds_everything() {
    let (lab, origin) = lab();
    let mut chaser = Chaser::start(&lab).await;
    let session = chaser.api.ready_session().await;
    let before = session.get().await;
    let relay = chaser.relay_pid();
    let mut client = Library::Patchright.connect(&session.cdp_url).await;
    let urls = ["/a", "/b", "/c"].map(|path| origin.http(path));
    client.must("loop", json!({ "urls": urls })).await;
    client.arrivals(3).await;

    chaser.sigkill();
    let at_the_kill = client.arrivals(0).await;
    client.arrivals(at_the_kill + 5).await;
    chaser.restart().await;
    let at_the_return = client.arrivals(0).await;
    client.arrivals(at_the_return + 5).await;
    let told = client.must("loop_stop", json!({})).await;
    assert_eq!(told["failures"], json!([]));
    assert!(!client.was_disconnected());

    assert_eq!(chaser.relay_pid(), relay, "the relay lived on");
    let after = session.get().await;
    for field in ["status", "device", "proxy_ip", "created_at", "expires_at"] {
        assert_eq!(after[field], before[field], "{field}");
    }
    let ip = session.egress_ip().await;
    eventually("the meter is whole", seconds(5), async || {
        let shown = session.get().await;
        let seen = origin.bytes_of(ip);
        (shown["bytes_up"] == seen.up && shown["bytes_down"] == seen.down).then_some(())
    })
    .await;
    let fresh = chaser.api.ready_session().await;
    assert_ne!(fresh.egress_ip().await, ip, "the lease was remembered");
    assert_eq!(session.delete().await.status, 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_while_the_agent_is_away_is_told_by_the_next_one() {
    let (lab, _origin) = lab();
    let mut chaser = crate::harness::Setup::on(&lab)
        .set("session", "idle_timeout = \"3s\"")
        .start()
        .await;
    let session = chaser.api.ready_session().await;
    let cdp = Cdp::open(&session.cdp_url).await;
    chaser.sigkill();
    drop(cdp);
    sleep(seconds(5)).await;
    let refused = Cdp::connect(&session.cdp_url).await.err().unwrap();
    assert_eq!(refused.status, 410, "the relay ended it alone");
    chaser.restart().await;
    let closed = session.wait_for("closed").await;
    assert_eq!(closed["ended_reason"], "idle_expired");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_relay_is_started_again_and_clients_reconnect() {
    let (lab, origin) = lab();
    let chaser = Chaser::start(&lab).await;
    let session = chaser.api.ready_session().await;
    let mut client = Library::Patchright.connect(&session.cdp_url).await;
    client.goto(&origin.http("/before")).await;
    let bytes = session.get().await["bytes_down"].as_u64().unwrap();

    let first = chaser.relay_pid();
    processes::kill(first);
    eventually("another relay runs", seconds(10), async || {
        chaser
            .relay_after(first)
            .filter(|now| processes::lives(*now))
    })
    .await;
    eventually("the old client was cut", seconds(5), async || {
        client.was_disconnected().then_some(())
    })
    .await;

    // The gateway's listener stayed open: whoever comes early waits.
    let mut again = Library::Patchright.connect(&session.cdp_url).await;
    assert_eq!(
        again.evaluate("location.pathname").await,
        "/before",
        "the same browser"
    );
    again.goto(&origin.http("/after")).await;
    assert_eq!(session.get().await["status"], "ready");
    eventually("the meter goes on", seconds(5), async || {
        (session.get().await["bytes_down"].as_u64().unwrap() > bytes).then_some(())
    })
    .await;
    assert_eq!(session.delete().await.status, 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_browser_died_of_while_the_agent_was_away_is_found_out_by_the_next_one() {
    let (lab, _origin) = lab();
    let mut chaser = Chaser::start(&lab).await;
    let session = chaser.api.ready_session().await;
    let container = chaser.container(&session.id).await;
    chaser.sigkill();
    docker::kill(&container);
    chaser.restart().await;
    let closed = session.wait_for("closed").await;
    assert_eq!(closed["ended_reason"], "substrate_down");
    let failure = chaser.node.session(&session.id).await.unwrap().failure;
    let failure = failure.unwrap();
    assert!(
        failure.message.contains("killed from outside"),
        "{failure:?}"
    );
    assert_eq!(failure.blame(), Blame::Host, "{failure:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_and_a_new_start_begin_with_a_clean_table() {
    let (lab, _origin) = lab();
    let mut chaser = Chaser::start(&lab).await;
    let session = chaser.api.ready_session().await;
    assert_eq!(chaser.terminate(seconds(30)), Some(0));
    chaser.restart().await;
    let closed = session.get().await;
    assert_eq!(closed["status"], "closed");
    assert_eq!(closed["ended_reason"], "substrate_down");
    chaser.api.ready_session().await;
}

/// A connection to a container's proxy, as its browser makes one; refused, or taken by the kernel.
async fn to_the_proxy(container: &str) -> io::Result<TcpStream> {
    let pidfd = netns::pidfd(docker::pid(container).unwrap()).unwrap();
    let socket = netns::sockets(pidfd.as_fd(), 1).await.unwrap().remove(0);
    let connected = tokio::task::spawn_blocking(move || {
        let socket = socket2::Socket::from(socket);
        let proxy: std::net::SocketAddr = ([127, 0, 0, 1], 3128).into();
        socket.set_nonblocking(false)?;
        socket.connect(&proxy.into())?;
        socket.set_nonblocking(true)?;
        Ok::<_, io::Error>(std::net::TcpStream::from(socket))
    });
    TcpStream::from_std(connected.await.unwrap()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_relay_a_pages_connections_queue_also_after_a_restart_of_the_agent() {
    let (lab, origin) = lab();
    let mut chaser = Chaser::start(&lab).await;
    let session = chaser.api.ready_session().await;
    let container = chaser.container(&session.id).await;
    chaser.sigkill();
    chaser.restart().await;
    // Held still, the agent starts no other relay: what it holds is all there is.
    processes::signal(chaser.pid(), Signal::SIGSTOP);
    let relay = chaser.relay_pid();
    processes::kill(relay);
    eventually("the relay is gone", seconds(10), async || {
        (!processes::lives(relay)).then_some(())
    })
    .await;
    let queued = to_the_proxy(&container).await;
    processes::signal(chaser.pid(), Signal::SIGCONT);
    let mut queued = queued.expect("it waits, it is not refused");
    let url = origin.http("/queued");
    let host = url.split('/').nth(2).unwrap();
    let request = format!("GET {url} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    queued.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let read = tokio::time::timeout(seconds(20), queued.read_to_string(&mut answer));
    read.await.expect("the next relay serves it").unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(session.get().await["status"], "ready");
    assert_eq!(session.delete().await.status, 204);
}
