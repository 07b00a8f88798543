use super::*;

#[tokio::test]
async fn requests_go_on_one_connection_as_a_browser_would_send_them() {
    let bench = Bench::new().await;
    let origin = bench
        .origin(|mut peer| async move {
            let to = peer.stream.local_addr().unwrap();
            for path in ["/a?b=c", "/d"] {
                let expected =
                    format!("GET {path} HTTP/1.1\r\nHost: {to}\r\nConnection: keep-alive\r\n\r\n");
                assert_eq!(peer.head().await, expected);
                peer.send(OK).await;
            }
        })
        .await;
    let mut client = bench.connect().await;
    for path in ["/a?b=c", "/d"] {
        client.send(origin.get(path)).await;
        let head = client.head().await;
        assert_eq!(
            head,
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\n"
        );
        assert_eq!(client.exactly(2).await, "ok");
    }
    assert_eq!(origin.connections(), 1);
    bench.agrees_with(&origin).await;
    assert_eq!(bench.egress.refusals().total(), 0);
}

#[tokio::test]
async fn a_chunked_upload_passes_unchanged_after_the_origin_asked_for_it() {
    const BODY: &str = "5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nX-Sum: 1\r\n\r\n";
    let bench = Bench::new().await;
    let origin = bench
        .origin(|mut peer| async move {
            assert!(peer.head().await.contains("Expect: 100-continue"));
            peer.send("HTTP/1.1 100 Continue\r\n\r\n").await;
            assert_eq!(peer.exactly(BODY.len()).await, BODY);
            peer.send(OK).await;
        })
        .await;
    let mut client = bench.connect().await;
    let to = origin.address;
    client
        .send(format!(
            "POST http://{to}/ HTTP/1.1\r\nHost: {to}\r\nTransfer-Encoding: chunked\r\n\
             Expect: 100-continue\r\n\r\n"
        ))
        .await;
    assert_eq!(client.head().await, "HTTP/1.1 100 Continue\r\n\r\n");
    client.send(BODY).await;
    assert!(client.head().await.starts_with("HTTP/1.1 200 OK\r\n"));
    assert_eq!(client.exactly(2).await, "ok");
    bench.agrees_with(&origin).await;
}

#[tokio::test]
async fn responses_without_a_body_leave_the_connection_in_step() {
    let bench = Bench::new().await;
    let origin = bench
        .origin(|mut peer| async move {
            for response in [
                "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n",
                "HTTP/1.1 204 No Content\r\n\r\n",
                "HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n",
                "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            ] {
                peer.head().await;
                peer.send(response).await;
            }
        })
        .await;
    let mut client = bench.connect().await;
    client.send(origin.get("/").replace("GET", "HEAD")).await;
    assert!(client.head().await.contains("Content-Length: 99"));
    for status in ["204", "304", "103"] {
        client.send(origin.get("/")).await;
        assert!(
            client
                .head()
                .await
                .starts_with(&format!("HTTP/1.1 {status}"))
        );
    }
    assert!(client.head().await.starts_with("HTTP/1.1 200"));
    assert_eq!(origin.connections(), 1);
    bench.agrees_with(&origin).await;
}

#[tokio::test]
async fn a_response_that_ends_with_its_connection_ends_the_clients() {
    let bench = Bench::new().await;
    let origin = bench
        .origin(|mut peer| async move {
            peer.head().await;
            peer.send("HTTP/1.1 200 OK\r\n\r\nall there is").await;
        })
        .await;
    let mut client = bench.connect().await;
    client.send(origin.get("/")).await;
    let response = String::from_utf8(client.rest().await.unwrap()).unwrap();
    assert_eq!(
        response,
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall there is"
    );
    bench.agrees_with(&origin).await;
}

#[tokio::test]
async fn what_the_origin_cut_short_is_cut_short() {
    let bench = Bench::new().await;
    let origin = bench
        .origin(|mut peer| async move {
            peer.head().await;
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
                .await;
        })
        .await;
    let mut client = bench.connect().await;
    client.send(origin.get("/")).await;
    assert!(client.rest().await.unwrap().ends_with(b"\r\n\r\nhalf"));
}

#[tokio::test]
async fn the_meter_moves_during_a_download_and_ends_exact() {
    const SIZE: usize = 4 << 20;
    let bench = Bench::new().await;
    let origin = bench
        .origin(|mut peer| async move {
            peer.head().await;
            peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n"))
                .await;
            for _ in 0..SIZE / 4096 {
                peer.send([7; 4096]).await;
            }
        })
        .await;
    let mut client = bench.connect().await;
    client.send(origin.get("/")).await;
    client.head().await;
    let mut half = vec![0; SIZE / 2];
    bounded(client.stream.read_exact(&mut half)).await.unwrap();
    let during = bench.meter.traffic().down;
    assert!(during >= (SIZE / 2) as u64, "{during}");
    bounded(client.stream.read_exact(&mut half)).await.unwrap();
    bench.agrees_with(&origin).await;
}

#[tokio::test]
async fn an_upgrade_becomes_a_tunnel() {
    let bench = Bench::new().await;
    let origin = bench
        .origin(|mut peer| async move {
            let head = peer.head().await;
            assert!(
                head.contains("\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"),
                "{head}"
            );
            peer.send(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                 Connection: Upgrade\r\n\r\nfirst",
            )
            .await;
            assert_eq!(peer.exactly(4).await, "ping");
            peer.send("pong").await;
            assert_eq!(peer.rest().await.unwrap(), b"");
        })
        .await;
    let mut client = bench.connect().await;
    let to = origin.address;
    client
        .send(format!(
            "GET http://{to}/ HTTP/1.1\r\nHost: {to}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\n\r\n"
        ))
        .await;
    assert!(client.head().await.starts_with("HTTP/1.1 101 "));
    assert_eq!(client.exactly(5).await, "first");
    client.send("ping").await;
    assert_eq!(client.exactly(4).await, "pong");
    client.finish().await;
    assert_eq!(client.rest().await.unwrap(), b"");
    bench.agrees_with(&origin).await;
}

#[tokio::test]
async fn an_answer_before_the_end_of_the_request_is_the_last_on_its_connection() {
    let bench = Bench::new().await;
    let origin = bench
        .origin(|mut peer| async move {
            peer.head().await;
            peer.send("HTTP/1.1 413 Too Much\r\nContent-Length: 0\r\n\r\n")
                .await;
            drop(peer.rest().await);
        })
        .await;
    let mut client = bench.connect().await;
    let to = origin.address;
    client
        .send(format!(
            "POST http://{to}/ HTTP/1.1\r\nHost: {to}\r\nContent-Length: 10\r\n\r\nhalf"
        ))
        .await;
    let head = client.head().await;
    assert!(head.starts_with("HTTP/1.1 413 Too Much\r\n"), "{head}");
    assert!(head.contains("Connection: close"), "{head}");
    client.send(" more.").await;
    assert_eq!(client.rest().await.unwrap(), b"");
    bench.agrees_with(&origin).await;
}

#[tokio::test]
async fn a_kept_connection_that_died_is_replaced_or_ends_without_a_word() {
    let bench = Bench::new().await;
    let origin = bench
        .origin(|mut peer| async move {
            peer.head().await;
            peer.send(OK).await;
        })
        .await;
    let mut client = bench.connect().await;
    for connections in 1..=2 {
        client.send(origin.get("/")).await;
        client.head().await;
        assert_eq!(client.exactly(2).await, "ok");
        assert_eq!(origin.connections(), connections);
        // The origin's end of the connection is seen before the next request.
        sleep(Duration::from_millis(50)).await;
    }

    // Dies only when it is used: nothing was answered, so the browser may ask again.
    let rude = bench
        .origin(|mut peer| async move {
            peer.head().await;
            peer.send(OK).await;
            peer.head().await;
        })
        .await;
    let mut client = bench.connect().await;
    client.send(rude.get("/")).await;
    client.head().await;
    client.exactly(2).await;
    client.send(rude.get("/")).await;
    assert_eq!(client.rest().await.unwrap(), b"");
    assert_eq!(bench.egress.refusals().total(), 0);
}

#[tokio::test]
async fn one_client_connection_may_ask_two_origins() {
    let bench = Bench::new().await;
    let (one, two) = (bench.origin(answering).await, bench.origin(answering).await);
    let mut client = bench.connect().await;
    for origin in [&one, &two, &one] {
        client.send(origin.get("/")).await;
        client.head().await;
        assert_eq!(client.exactly(2).await, "ok");
    }
    assert_eq!((one.connections(), two.connections()), (2, 1));
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let bench = Bench::new().await;
    let origin = bench.origin(answering).await;
    let mut client = bench.connect().await;
    client
        .send(origin.get("/1") + &origin.get("/2") + &origin.get("/3"))
        .await;
    client.finish().await;
    let all = String::from_utf8(client.rest().await.unwrap()).unwrap();
    assert_eq!(all.matches("\r\n\r\nok").count(), 3, "{all}");
    bench.agrees_with(&origin).await;
}

#[tokio::test]
async fn answers_that_are_no_answers_are_not_passed_on() {
    let bench = Bench::new().await;
    for answer in [
        "",
        "HTTP/1.1 200",
        "SSH-2.0-x\r\n\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n",
    ] {
        let origin = bench
            .origin(move |mut peer| async move {
                peer.head().await;
                peer.send(answer).await;
            })
            .await;
        bench
            .refuses_for_good(&origin.get("/"), Reason::BadResponse)
            .await;
    }
}

#[tokio::test]
async fn a_request_that_was_asked_once_gives_no_browser_cause_to_ask_again() {
    let bench = Bench::new().await;
    let origin = bench
        .origin(|mut peer| async move {
            peer.head().await;
            peer.send(OK).await;
            peer.head().await;
            peer.send("SSH-2.0-x\r\n\r\n").await;
        })
        .await;
    let mut client = bench.connect().await;
    client.send(origin.get("/")).await;
    client.head().await;
    client.exactly(2).await;
    client.send(origin.get("/")).await;
    assert_eq!(client.rest().await.unwrap(), refusal::last_words(true));
    assert_eq!(bench.egress.refusals().of(Reason::BadResponse), 1);
}
