//! Limits and bounds of a route, at the socket.

use super::*;
use crate::model::{Bounds, Form, Limits, Targets};

fn limited(limits: Limits) -> Way {
    Way {
        limits,
        ..Way::default()
    }
}

/// Sends without end, until it is not heard any more.
async fn pour(mut peer: Peer) {
    while peer.stream.write_all(&[7; 4096]).await.is_ok() {}
}

#[tokio::test]
async fn a_quota_is_kept_to_the_byte_by_all_connections_together() {
    let bench = Bench::new().await;
    let origin = bench.origin(pour).await;
    let quota_bytes = 100_003;
    bench.egress.set_way(Some(limited(Limits {
        quota_bytes,
        ..Limits::default()
    })));
    let mut spent = bench.egress.spent();
    assert!(!*spent.borrow());
    let mut clients = Vec::new();
    for _ in 0..8 {
        clients.push(bench.tunnel(origin.address).await);
    }
    for mut client in clients {
        bench.tasks.spawn("reader", |_stop| async move {
            let mut bytes = [0; 4096];
            while let Ok(1..) = client.stream.read(&mut bytes).await {}
        });
    }
    bounded(spent.wait_for(|spent| *spent)).await.unwrap();
    let traffic = bench.meter.traffic();
    assert_eq!(traffic.up + traffic.down, quota_bytes);
    // Bound once more after a relay's restart, it is over at once.
    bench.egress.set_way(Some(limited(Limits {
        quota_bytes,
        ..Limits::default()
    })));
    assert!(*bench.egress.spent().borrow());
}

#[tokio::test]
async fn one_connection_more_is_refused_until_one_has_gone() {
    let bench = Bench::new().await;
    // It hangs up once nobody speaks to it any more.
    let origin = bench
        .origin(|mut peer| async move { drop(peer.stream.read(&mut [0]).await) })
        .await;
    bench.egress.set_way(Some(limited(Limits {
        connections: 1,
        ..Limits::default()
    })));
    let first = bench.tunnel(origin.address).await;
    let refused = async || {
        let mut client = bench.connect().await;
        let to = origin.address;
        client
            .send(&format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n"))
            .await;
        client.head().await
    };
    let head = refused().await;
    assert!(head.starts_with("HTTP/1.1 429 "), "{head}");
    assert!(
        head.contains("X-Chaser-Refused: connection_limit"),
        "{head}"
    );
    drop(first);
    bounded(async {
        while !refused().await.starts_with("HTTP/1.1 200 ") {
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn out_of_bounds_is_refused_before_anything_is_dialled() {
    let bench = Bench::new().await;
    let origin = bench.origin(pour).await;
    let networks = |net: &str| Targets {
        networks: vec![net.parse().unwrap()],
        ..Targets::default()
    };
    let anywhere = Bounds {
        only: networks("0.0.0.0/0"),
        ..Bounds::default()
    };
    for (bounds, reason) in [
        (
            Bounds {
                only: networks("10.0.0.0/8"),
                ..Bounds::default()
            },
            Reason::DeniedAddress,
        ),
        (
            Bounds {
                never: networks("127.0.0.1/32"),
                ..Bounds::default()
            },
            Reason::DeniedAddress,
        ),
        (
            Bounds {
                never: Targets {
                    forms: vec![Form::Tunnel],
                    ..Targets::default()
                },
                ..Bounds::default()
            },
            Reason::DeniedScheme,
        ),
        (
            Bounds {
                only: Targets {
                    ports: vec![1],
                    ..Targets::default()
                },
                ..Bounds::default()
            },
            Reason::DeniedPort,
        ),
    ] {
        bench.egress.set_way(Some(Way {
            // Each of them holds, whichever else lets it through.
            bounds: vec![anywhere.clone(), bounds],
            ..Way::default()
        }));
        refused(&bench, origin.address, reason).await;
    }
    assert_eq!(bench.meter.traffic(), Traffic::default());
}

/// What asks for a tunnel to `to` is refused by this reason.
async fn refused(bench: &Bench, to: SocketAddr, reason: Reason) {
    let mut client = bench.connect().await;
    client
        .send(&format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n"))
        .await;
    let head = client.head().await;
    assert!(
        head.contains(&format!("X-Chaser-Refused: {reason}\r\n")),
        "{head}"
    );
}
