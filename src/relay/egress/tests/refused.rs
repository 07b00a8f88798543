use super::*;

/// A tunnel and a plain request to `target` are refused: the one with a status and the reason, the other
/// without a word.
async fn refuses(bench: &Bench, target: &str, status: &str, reason: Reason) {
    let [tunnel, plain] = asking_for(target);
    let (heard, found) = bench.refusal(&tunnel).await;
    assert_eq!((&heard[9..12], found), (status, reason), "{tunnel}");
    assert!(heard.contains(&format!("\r\nX-Chaser-Refused: {reason}\r\n")));
    bench.refuses_unheard(&plain, reason).await;
}

fn asking_for(target: &str) -> [String; 2] {
    [
        format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n"),
        format!("GET http://{target}/ HTTP/1.1\r\nHost: {target}\r\n\r\n"),
    ]
}

#[tokio::test]
async fn denied_addresses_are_refused_and_count_nothing() {
    let bench = Bench::new().await;
    let origin = bench.origin(answering).await;
    bench.allow(&[]);
    let port = origin.address.port();
    let own = nix::ifaddrs::getifaddrs()
        .unwrap()
        .filter_map(|interface| interface.address?.as_sockaddr_in().map(|v4| v4.ip()))
        .find(|ip| !ip.is_loopback());
    let own = own.unwrap_or(Ipv4Addr::LOCALHOST);
    for host in [
        "127.0.0.1",
        "localhost",
        "a.LocalHost.",
        "0.0.0.0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        &own.to_string(),
    ] {
        refuses(
            &bench,
            &format!("{host}:{port}"),
            "403",
            Reason::DeniedAddress,
        )
        .await;
    }
    assert_eq!(origin.connections(), 0);
    assert_eq!(bench.meter.traffic(), Traffic::default());
}

#[tokio::test]
async fn allowed_loopback_is_reached_by_name_too() {
    let bench = Bench::new().await;
    let origin = bench.origin(answering).await;
    let mut client = bench.connect().await;
    let [_, request] = asking_for(&format!("localhost:{}", origin.address.port()));
    client.send(request).await;
    assert!(client.head().await.starts_with("HTTP/1.1 200 OK"));
}

#[tokio::test]
async fn an_instance_without_a_route_goes_nowhere() {
    let bench = Bench::new().await;
    let origin = bench.origin(answering).await;
    for route in [
        None,
        // Not an address of this host.
        Some(from(IpAddr::from([192, 0, 2, 77]))),
    ] {
        bench.egress.set_way(route);
        refuses(&bench, &origin.address.to_string(), "503", Reason::NoRoute).await;
    }
    bench.egress.set_way(Some(from("::1".parse().unwrap())));
    refuses(
        &bench,
        &origin.address.to_string(),
        "502",
        Reason::Unresolved,
    )
    .await;
    assert_eq!(origin.connections(), 0);
}

#[tokio::test]
async fn a_closed_port_is_an_upstream_failure() {
    let bench = Bench::new().await;
    let closed = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    refuses(&bench, &closed.to_string(), "502", Reason::ConnectFailed).await;
}

#[tokio::test]
async fn requests_that_are_no_requests_are_refused_by_kind() {
    let bench = Bench::new().await;
    let long = format!(
        "GET http://a/ HTTP/1.1\r\nX: {}\r\n\r\n",
        "x".repeat(70_000)
    );
    let many = format!("GET http://a/ HTTP/1.1\r\n{}\r\n", "X: x\r\n".repeat(300));
    for (request, reason) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", Reason::Malformed),
        ("GET http://a/ HTTP/1.1\n\n", Reason::Malformed),
        ("\x16\x03\x01\x02\0\x01", Reason::Malformed),
        (&long, Reason::HeadTooLarge),
        (&many, Reason::HeadTooLarge),
        (
            "GET http://a/ HTTP/1.0\r\n\r\n",
            Reason::VersionNotSupported,
        ),
        (
            "TRACE http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
            Reason::MethodNotAllowed,
        ),
    ] {
        bench.refuses_unheard(request, reason).await;
    }
    assert_eq!(bench.meter.traffic(), Traffic::default());
}

#[tokio::test]
async fn a_body_that_is_no_body_is_refused_while_nothing_is_answered() {
    let bench = Bench::new().await;
    let origin = bench
        .origin(|mut peer| async move {
            peer.head().await;
            drop(peer.rest().await);
        })
        .await;
    let to = origin.address;
    let request = format!(
        "POST http://{to}/ HTTP/1.1\r\nHost: {to}\r\nTransfer-Encoding: chunked\r\n\r\n\
         5\r\nhello\r\n0x0\r\n\r\nGET http://{to}/smuggled HTTP/1.1\r\n\r\n"
    );
    bench.refuses_for_good(&request, Reason::Malformed).await;
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn a_policy_that_changes_reaches_connections_that_are_kept() {
    let bench = Bench::new().await;
    let origin = bench.origin(answering).await;
    let mut client = bench.connect().await;
    client.send(origin.get("/")).await;
    client.head().await;
    client.exactly(2).await;
    bench.allow(&[]);
    client.send(origin.get("/")).await;
    assert_eq!(client.rest().await.unwrap(), refusal::last_words(true));
    assert_eq!(bench.egress.refusals().of(Reason::DeniedAddress), 1);
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn an_operators_list_holds_for_names_and_ports_before_anything_is_looked_up() {
    let bench = Bench::new().await;
    let policy = Policy::new(vec!["127.0.0.0/8".parse().unwrap()]);
    let hosts = crate::model::Hosts::of("ads.example\n");
    let policy = policy.but_not(Vec::new(), vec![8443], hosts);
    bench.policy.send_replace(Arc::new(policy));
    refuses(&bench, "a.ads.example:80", "403", Reason::DeniedHost).await;
    refuses(&bench, "127.0.0.1:8443", "403", Reason::DeniedPort).await;
    assert_eq!(bench.meter.traffic(), Traffic::default());
}
