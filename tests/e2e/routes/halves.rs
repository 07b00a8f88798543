//! Tunnels of which one way has ended and the other goes on.
//!
//! No page can do that, and of the software that upstreams are here (Squid, Tinyproxy, microsocks) each ends both
//! ways with the first: what the relay makes of it is seen with an upstream that carries a half on.

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional},
    net::TcpStream,
};

use super::*;
use crate::harness::{acceptor, authority_pem, docker};

/// Answers what it has heard once its peer says no more.
fn counting(lab: &Lab, tasks: &Tasks) -> SocketAddr {
    let to = SocketAddr::new(lab.origin_ip(), 7);
    let listener = lab.listen(to);
    tasks.spawn("counts", |_stop| async move {
        while let Ok((mut stream, _from)) = listener.accept().await {
            let mut seen = Vec::new();
            stream.read_to_end(&mut seen).await.unwrap();
            let told = format!("heard {}", seen.len());
            stream.write_all(told.as_bytes()).await.unwrap();
        }
    });
    to
}

/// Tunnels of both kinds out of a session's container, each ended after its last byte up.
async fn each_way_ends_by_itself(chaser: &Chaser, session: &Session, to: SocketAddr) {
    let container = chaser.container(&session.id).await;
    let pid = docker::pid(&container).unwrap();
    let socks = [&[5, 1, 0][..], &[5, 1, 0, 1], &octets(to), &[0, 7]].concat();
    let connect = format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n").into_bytes();
    for (asked, answered) in [(socks, 12), (connect, 39)] {
        let stream = crate::harness::inside(pid, || {
            std::net::TcpStream::connect("127.0.0.1:3128").unwrap()
        });
        stream.set_nonblocking(true).unwrap();
        let mut stream = TcpStream::from_std(stream).unwrap();
        stream.write_all(&asked).await.unwrap();
        let mut answer = vec![0; answered];
        stream.read_exact(&mut answer).await.unwrap();
        stream.write_all(&[7; 100_000]).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut told = String::new();
        stream.read_to_string(&mut told).await.unwrap();
        assert_eq!(told, "heard 100000");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_ends_for_each_way_by_itself_and_socks_is_spoken_on_the_same_port() {
    let ((lab, _origin), tasks) = (lab(), Tasks::default());
    let chaser = Setup::on(&lab).start().await;
    let session = chaser.api.ready_session().await;
    let to = counting(&lab, &tasks);
    each_way_ends_by_itself(&chaser, &session, to).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_ends_for_each_way_by_itself_through_every_kind_of_upstream() {
    let ((lab, _origin), tasks) = (lab(), Tasks::default());
    let to = counting(&lab, &tasks);
    let kinds = ["http", "https", "socks5"];
    let tables = kinds.map(|kind| carrier(&lab, kind, &tasks));
    let chaser = Setup::on(&lab)
        .egress_addresses(0)
        .set("egress", &routes_file(&lab, &tables))
        .start()
        .await;
    for kind in kinds {
        let session = session_by(&chaser, json!({ "route": kind })).await;
        each_way_ends_by_itself(&chaser, &session, to).await;
        let (_code, route) = chaser.route(&["show", kind]).await;
        assert_eq!(
            (&route["state"], &route["failed"]),
            (&json!("well"), &json!(0)),
            "{kind}"
        );
    }
}

/// Starts an upstream that carries halves, and says the table of a route by way of it.
fn carrier(lab: &Lab, kind: &'static str, tasks: &Tasks) -> String {
    let server = SocketAddr::new(
        lab.address_inside(210),
        match kind {
            "http" => 3128,
            "https" => 8443,
            _ => 1080,
        },
    );
    let (listener, group) = (lab.listen(server), tasks.clone());
    let tls = acceptor(server.ip(), &[]);
    tasks.spawn("carrier", move |_stop| async move {
        while let Ok((stream, _relay)) = listener.accept().await {
            let tls = tls.clone();
            group.spawn("tunnel", move |_stop| async move {
                match kind {
                    "https" => carry(tls.accept(stream).await.unwrap(), kind).await,
                    _ => carry(stream, kind).await,
                }
            });
        }
    });
    let ca = lab.state_dir().join("carrier.pem");
    fs::create_dir_all(lab.state_dir()).unwrap();
    fs::write(&ca, authority_pem()).unwrap();
    let ca = match kind {
        "https" => format!("ca_file = \"{}\"\n", ca.display()),
        _ => String::new(),
    };
    format!("[[route]]\nname = \"{kind}\"\nkind = \"{kind}\"\nserver = \"{server}\"\n{ca}")
}

async fn carry<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, kind: &str) {
    let mut target = if kind == "socks5" {
        let mut asked = [0; 3];
        stream.read_exact(&mut asked).await.unwrap();
        stream.write_all(&[5, 0]).await.unwrap();
        let mut asked = [0; 10];
        stream.read_exact(&mut asked).await.unwrap();
        let [5, 1, 0, 1, a, b, c, d, high, low] = asked else {
            panic!("no IPv4 address is asked for: {asked:?}");
        };
        let port = u16::from_be_bytes([high, low]);
        let target = TcpStream::connect(SocketAddr::from(([a, b, c, d], port))).await;
        stream
            .write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])
            .await
            .unwrap();
        target.unwrap()
    } else {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        let target = TcpStream::connect(head.split(' ').nth(1).unwrap()).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        target.unwrap()
    };
    copy_bidirectional(&mut stream, &mut target).await.unwrap();
}

fn octets(of: SocketAddr) -> Vec<u8> {
    match of.ip() {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}
