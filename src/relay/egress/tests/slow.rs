//! Limits in time. The clock is paused: it jumps when nothing else moves.

use tokio::net::UdpSocket;

use super::*;

/// Longer than every limit.
const EVER: Duration = Duration::from_secs(3600);

/// Everything until the end, and how long that took.
async fn outcome(client: &mut Peer) -> (io::Result<String>, Duration) {
    let start = tokio::time::Instant::now();
    let mut text = String::new();
    let read = timeout(EVER, client.stream.read_to_string(&mut text)).await;
    (read.unwrap().map(|_| text), start.elapsed())
}

#[tokio::test(start_paused = true)]
async fn silent_name_servers_are_a_gateway_timeout() {
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let bench = Bench::with_nameservers(&[silent.local_addr().unwrap()]).await;
    let mut client = bench.connect().await;
    client
        .send("CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n")
        .await;
    let (response, _) = outcome(&mut client).await;
    let response = response.unwrap();
    assert!(response.starts_with("HTTP/1.1 504 "), "{response}");
    assert!(
        response.contains("X-Chaser-Refused: resolve_timeout"),
        "{response}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_ends_without_a_word_and_half_a_head_is_not_waited_for() {
    let bench = Bench::new().await;
    let mut idle = bench.connect().await;
    let (response, took) = outcome(&mut idle).await;
    assert_eq!(response.unwrap(), "");
    assert!(took >= Duration::from_secs(300), "{took:?}");
    assert_eq!(bench.egress.refusals().total(), 0);

    let mut slow = bench.connect().await;
    slow.send("GET http://a/").await;
    let (response, took) = outcome(&mut slow).await;
    assert_eq!(response.unwrap(), "");
    assert_eq!(bench.egress.refusals().of(Reason::HeadTimeout), 1);
    assert!(took < Duration::from_secs(60), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn an_origin_that_never_answers_is_given_up() {
    let bench = Bench::new().await;
    let origin = bench
        .origin(|mut peer| async move {
            drop(peer.head().await);
            sleep(EVER).await
        })
        .await;
    let mut client = bench.connect().await;
    client.send(origin.get("/")).await;
    let (response, _) = outcome(&mut client).await;
    assert_eq!(response.unwrap().as_bytes(), refusal::last_words(true));
    assert_eq!(bench.egress.refusals().of(Reason::ResponseTimeout), 1);
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_may_be_silent_but_not_when_one_side_has_left() {
    let bench = Bench::new().await;
    let origin = bench
        .origin(|peer| async move {
            sleep(EVER).await;
            drop(peer)
        })
        .await;
    let mut client = bench.tunnel(origin.address).await;
    sleep(EVER / 2).await;
    assert_eq!(bench.meter.connections(), 1);
    client.finish().await;
    let (response, took) = outcome(&mut client).await;
    assert_eq!(response.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    assert!(took < Duration::from_secs(600), "{took:?}");
    assert_eq!(bench.meter.connections(), 0);
}
