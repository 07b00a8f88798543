//! Ways around: through another of our own proxies, and through upstreams that misbehave.

use base64::{Engine, engine::general_purpose::STANDARD};

use super::*;
use crate::{
    model::{Bounds, Targets},
    relay::{Login, Scheme, Upstream},
};

fn by_way_of(scheme: Scheme, proxy: SocketAddr, login: Option<(&str, &str)>) -> Way {
    let secret = |text: &str| text.to_owned().into();
    Way {
        upstream: Some(Upstream {
            scheme,
            host: proxy.ip().to_string(),
            port: proxy.port(),
            login: login.map(|(username, password)| Login {
                username: secret(username),
                password: secret(password),
            }),
            ca: String::new(),
            is_foreign: false,
        }),
        ..Way::default()
    }
}

/// What a page hears that asks for a tunnel: its status and the reason.
async fn refused(bench: &Bench, to: &str) -> (String, String) {
    let mut client = bench.connect().await;
    client
        .send(&format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n"))
        .await;
    let head = client.head().await;
    let status = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let reason = head.split("X-Chaser-Refused: ").nth(1).unwrap_or_default();
    (status, reason.lines().next().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn an_upstream_of_either_kind_carries_tunnels_and_requests() {
    for scheme in [Scheme::Http, Scheme::Socks5] {
        let (near, far) = (Bench::new().await, Bench::new().await);
        near.egress
            .set_way(Some(by_way_of(scheme, far.proxy, None)));
        far.egress.set_way(Some(from([127, 0, 0, 7].into())));
        let origin = far.origin(answering).await;
        let mut client = near.tunnel(origin.address).await;
        client.send("GET / HTTP/1.1\r\n\r\n").await;
        assert!(client.head().await.starts_with("HTTP/1.1 200 OK"));
        let mut client = near.connect().await;
        for _ in 0..2 {
            client.send(origin.get("/")).await;
            client.head().await;
            client.exactly(2).await;
        }
        assert_eq!(origin.last_from(), Some([127, 0, 0, 7].into()));
        assert_eq!(
            origin.connections(),
            2,
            "the second request was on a kept one"
        );
        far.agrees_with(&origin).await;
        // The handshake with the upstream is on our bill, too.
        assert!(near.meter.traffic().up > origin.traffic().up);
    }
}

#[tokio::test]
async fn names_are_handed_on_and_denied_addresses_are_not() {
    let near = Bench::new().await;
    let far = near
        .origin(|mut peer| async move {
            let head = peer.head().await;
            assert!(
                head.starts_with("CONNECT a.example:80 HTTP/1.1\r\n"),
                "{head}"
            );
            peer.send("HTTP/1.1 200 fine\r\n\r\n").await;
        })
        .await;
    near.egress
        .set_way(Some(by_way_of(Scheme::Http, far.address, None)));
    near.allow(&[]);
    for denied in [
        "10.0.0.1:80",
        "169.254.169.254:80",
        "localhost:80",
        "[::1]:80",
    ] {
        let (status, reason) = refused(&near, denied).await;
        assert_eq!((&*status, &*reason), ("403", "denied_address"), "{denied}");
    }
    assert_eq!(refused(&near, "mail.example:25").await.1, "denied_port");
    assert_eq!(near.meter.traffic(), Traffic::default());
    assert_eq!(refused(&near, "a.example:80").await.0, "200");
    assert_eq!(far.connections(), 1, "only the name came that far");
}

#[tokio::test]
async fn an_upstream_that_a_client_named_must_pass_the_policy_itself() {
    let (near, far) = (Bench::new().await, Bench::new().await);
    let mut way = by_way_of(Scheme::Http, far.proxy, None);
    if let Some(upstream) = &mut way.upstream {
        upstream.is_foreign = true;
    }
    near.egress.set_way(Some(way));
    near.allow(&[]);
    assert_eq!(refused(&near, "8.8.8.8:80").await.1, "denied_address");
    assert_eq!(near.meter.traffic(), Traffic::default());
    assert_eq!(far.egress.refusals().total(), 0);
}

#[tokio::test]
async fn an_upstream_that_a_client_named_is_nowhere_the_session_must_never_be() {
    let (near, far) = (Bench::new().await, Bench::new().await);
    let origin = far.origin(answering).await;
    let mut way = by_way_of(Scheme::Http, far.proxy, None);
    if let Some(upstream) = &mut way.upstream {
        upstream.is_foreign = true;
    }
    let never = |never: Targets| Bounds {
        never,
        ..Bounds::default()
    };
    let network = never(Targets {
        networks: vec![far.proxy.ip().into()],
        ports: vec![1],
        ..Targets::default()
    });
    let port = never(Targets {
        ports: vec![far.proxy.port()],
        ..Targets::default()
    });
    let elsewhere = Bounds {
        only: Targets {
            ports: vec![origin.address.port()],
            ..Targets::default()
        },
        ..Bounds::default()
    };
    for (bounds, expected) in [
        (vec![network], "denied_address"),
        (vec![elsewhere.clone(), port], "denied_port"),
        // What is asked of it must be within; where it is itself is no target of a page.
        (vec![elsewhere], ""),
        (vec![], ""),
    ] {
        way.bounds = bounds;
        near.egress.set_way(Some(way.clone()));
        let (_status, reason) = refused(&near, &origin.address.to_string()).await;
        assert_eq!(reason, expected);
    }
}

#[tokio::test]
async fn a_login_is_sent_as_the_scheme_has_it() {
    let bench = Bench::new().await;
    let http = bench
        .origin(|mut peer| async move {
            let head = peer.head().await;
            let login = STANDARD.encode("user:pass:word");
            assert!(head.contains(&format!("\r\nProxy-Authorization: Basic {login}\r\n")));
            peer.send("HTTP/1.1 200 fine\r\nContent-Length: 9\r\n\r\nwelcome")
                .await;
        })
        .await;
    let login = Some(("user", "pass:word"));
    bench
        .egress
        .set_way(Some(by_way_of(Scheme::Http, http.address, login)));
    let mut client = bench.tunnel("8.8.8.8:443".parse().unwrap()).await;
    assert_eq!(
        client.rest().await.unwrap(),
        b"welcome",
        "no body in between"
    );

    let socks = bench
        .origin(|mut peer| async move {
            assert_eq!(peer.exactly(4).await, "\x05\x02\x00\x02");
            peer.send([5, 2]).await;
            assert_eq!(peer.exactly(1 + 5 + 10).await, "\x01\x04user\x09pass:word");
            peer.send([1, 0]).await;
            assert_eq!(peer.exactly(5).await, "\x05\x01\x00\x03\x09");
            assert_eq!(peer.exactly(11).await, "a.example\x01\x2c");
            peer.send(b"\x05\x00\x00\x03\x02hi\x00\x50welcome").await;
        })
        .await;
    bench
        .egress
        .set_way(Some(by_way_of(Scheme::Socks5, socks.address, login)));
    let mut client = bench.connect().await;
    client
        .send("CONNECT a.example:300 HTTP/1.1\r\nHost: a\r\n\r\n")
        .await;
    client.head().await;
    assert_eq!(client.rest().await.unwrap(), b"welcome");
}

#[tokio::test]
async fn whose_fault_it_is_is_told_apart() {
    let bench = Bench::new().await;
    let answers: [(Scheme, &'static [u8], Reason); 12] = [
        (
            Scheme::Http,
            b"HTTP/1.1 407 no\r\nProxy-Authenticate: Basic\r\n\r\n",
            Reason::UpstreamAuth,
        ),
        (
            Scheme::Http,
            b"HTTP/1.1 403 no\r\n\r\n",
            Reason::UpstreamRefused,
        ),
        (
            Scheme::Http,
            b"HTTP/1.1 502 no\r\n\r\n",
            Reason::ConnectFailed,
        ),
        (
            Scheme::Http,
            b"HTTP/1.1 504 no\r\n\r\n",
            Reason::ConnectTimeout,
        ),
        (
            Scheme::Http,
            b"SSH-2.0-OpenSSH_9\r\n\r\n",
            Reason::UpstreamRefused,
        ),
        (Scheme::Http, b"HTTP/1.1 200 y", Reason::UpstreamUnreachable),
        (Scheme::Socks5, b"\x05\xff", Reason::UpstreamAuth),
        (Scheme::Socks5, b"\x05\x02", Reason::UpstreamAuth),
        (Scheme::Socks5, b"HTTP/1.1 400", Reason::UpstreamRefused),
        (
            Scheme::Socks5,
            b"\x05\x00\x05\x05\x00\x01\0\0\0\0\0\0",
            Reason::ConnectFailed,
        ),
        (
            Scheme::Socks5,
            b"\x05\x00\x05\x02\x00\x01\0\0\0\0\0\0",
            Reason::UpstreamRefused,
        ),
        (Scheme::Socks5, b"\x05\x00\x05", Reason::UpstreamUnreachable),
    ];
    for (scheme, words, reason) in answers {
        let upstream = bench
            .origin(move |mut peer| async move {
                peer.stream.readable().await.unwrap();
                peer.send(words).await;
                peer.finish().await;
                drop(peer.rest().await);
            })
            .await;
        bench
            .egress
            .set_way(Some(by_way_of(scheme, upstream.address, None)));
        let (status, said) = refused(&bench, "8.8.8.8:443").await;
        assert_eq!(said, reason.as_str(), "{words:?}");
        assert_ne!(status, "407", "the browser would ask its user");
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = listener.local_addr().unwrap();
    drop(listener);
    bench
        .egress
        .set_way(Some(by_way_of(Scheme::Http, closed, None)));
    assert_eq!(
        refused(&bench, "8.8.8.8:443").await.1,
        "upstream_unreachable"
    );
}
