use super::*;

#[tokio::test]
async fn a_tunnel_carries_every_byte_and_the_meter_counts_them() {
    const SIZE: usize = 3 << 20;
    let bench = Bench::new().await;
    let origin = bench
        .origin(|mut peer| async move {
            assert_eq!(peer.exactly(5).await, "hello");
            assert_eq!(peer.rest().await.unwrap().len(), SIZE);
            peer.send(vec![3; SIZE / 2]).await;
        })
        .await;
    let mut client = bench.connect().await;
    let to = origin.address;
    // What a client sends before it has its answer belongs to the tunnel.
    client
        .send(format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\nhello"))
        .await;
    client.head().await;
    client.send(vec![9; SIZE]).await;
    // The client has finished, the origin has not.
    client.finish().await;
    assert_eq!(client.rest().await.unwrap().len(), SIZE / 2);
    bench.agrees_with(&origin).await;
    bounded(async {
        while bench.meter.connections() != 0 || bench.egress.connections() != 0 {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn the_origin_may_finish_first() {
    let bench = Bench::new().await;
    let origin = bench
        .origin(|mut peer| async move {
            peer.send("banner").await;
            peer.finish().await;
            assert_eq!(peer.rest().await.unwrap(), b"late");
        })
        .await;
    let mut client = bench.tunnel(origin.address).await;
    assert_eq!(client.rest().await.unwrap(), b"banner");
    assert_eq!(bench.meter.connections(), 1);
    client.send("late").await;
    client.finish().await;
    bench.agrees_with(&origin).await;
}

#[tokio::test]
async fn a_reset_is_passed_on_as_a_reset() {
    let bench = Bench::new().await;
    let origin = bench
        .origin(|mut peer| async move {
            peer.exactly(1).await;
            peer.stream.set_zero_linger().unwrap();
        })
        .await;
    let mut client = bench.tunnel(origin.address).await;
    client.send("x").await;
    let error = client.rest().await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);

    let (heard, hears) = tokio::sync::oneshot::channel();
    let heard = parking_lot::Mutex::new(Some(heard));
    let origin = bench
        .origin(move |mut peer| {
            let heard = heard.lock().take();
            async move {
                let error = peer.rest().await.unwrap_err();
                heard.unwrap().send(error.kind()).unwrap();
            }
        })
        .await;
    let client = bench.tunnel(origin.address).await;
    client.stream.set_zero_linger().unwrap();
    drop(client);
    assert_eq!(bounded(hears).await, Ok(io::ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn connections_leave_from_the_routes_address() {
    let bench = Bench::new().await;
    let origin = bench.origin(answering).await;
    for source in [[127, 0, 0, 2], [127, 0, 0, 3]].map(IpAddr::from) {
        bench.egress.set_way(Some(from(source)));
        let mut client = bench.connect().await;
        client.send(origin.get("/")).await;
        client.head().await;
        assert_eq!(origin.last_from(), Some(source));
    }
    let mut client = bench.tunnel(origin.address).await;
    client.send("GET / HTTP/1.1\r\n\r\n").await;
    client.head().await;
    assert_eq!(origin.last_from(), Some(IpAddr::from([127, 0, 0, 3])));
}

#[tokio::test]
async fn a_kept_connection_is_not_used_by_another_route() {
    let bench = Bench::new().await;
    let origin = bench.origin(answering).await;
    let mut client = bench.connect().await;
    for source in [[127, 0, 0, 2], [127, 0, 0, 3]].map(IpAddr::from) {
        bench.egress.set_way(Some(from(source)));
        client.send(origin.get("/")).await;
        client.head().await;
        client.exactly(2).await;
        assert_eq!(origin.last_from(), Some(source));
    }
    assert_eq!(origin.connections(), 2);
}

#[tokio::test]
async fn bulk_goes_both_ways_at_once_in_order_and_is_counted_to_the_byte() {
    const SIZE: usize = 9 << 20;
    fn pattern(salt: usize) -> Vec<u8> {
        (0..SIZE)
            .map(|at| (at / 251 + salt).to_le_bytes()[0])
            .collect()
    }
    let bench = Bench::new().await;
    let origin = bench
        .origin(|peer| async move {
            let Peer { stream, counts } = peer;
            let (mut read, mut write) = stream.into_split();
            let down = async {
                write.write_all(&pattern(3)).await.unwrap();
                write.shutdown().await.unwrap();
            };
            let mut seen = Vec::new();
            let (read, ()) = tokio::join!(read.read_to_end(&mut seen), down);
            read.unwrap();
            assert!(seen == pattern(7), "{} bytes", seen.len());
            counts.sent.fetch_add(SIZE as u64, Ordering::SeqCst);
            counts.received.fetch_add(SIZE as u64, Ordering::SeqCst);
        })
        .await;
    let client = bench.tunnel(origin.address).await;
    let (mut read, mut write) = client.stream.into_split();
    let up = async {
        // A lull in the middle, then more: from copying to bulk, and back, and again.
        let sent = pattern(7);
        let (first, second) = sent.split_at(SIZE / 2);
        write.write_all(first).await.unwrap();
        sleep(Duration::from_millis(500)).await;
        write.write_all(&second[..10]).await.unwrap();
        sleep(Duration::from_millis(50)).await;
        write.write_all(&second[10..]).await.unwrap();
        write.shutdown().await.unwrap();
    };
    let mut seen = Vec::new();
    let (read, ()) = bounded(async { tokio::join!(read.read_to_end(&mut seen), up) }).await;
    read.unwrap();
    assert!(seen == pattern(3), "{} bytes", seen.len());
    bench.agrees_with(&origin).await;
}

/// All that a connection holds while it is a tunnel is in its task, which is as large as its largest
/// state: what comes before must not be in there.
#[tokio::test]
async fn a_connection_that_is_a_tunnel_takes_little() {
    let bench = Bench::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await;
    let shared = Arc::clone(&bench.egress.shared);
    let task = serve(stream.unwrap(), shared, CancellationToken::new());
    let bytes = size_of_val(&task);
    assert!(bytes <= 2048, "{bytes}");
}

/// Nothing is asked of an accepted socket: what its listener was told holds for it.
#[tokio::test]
async fn what_is_accepted_sends_at_once_as_its_listener_was_told() {
    let bench = Bench::new().await;
    let listener = bench.egress.listener().unwrap();
    // Nobody else accepts there any more.
    bench.egress.cut().await;
    let listener = TcpListener::from_std(listener.into()).unwrap();
    let client = bench.connect().await;
    let (accepted, _from) = bounded(listener.accept()).await.unwrap();
    assert!(accepted.nodelay().unwrap());
    assert!(!client.stream.nodelay().unwrap(), "nobody has it by itself");
}
