use super::*;

const A_WHILE: Duration = Duration::from_millis(100);

#[tokio::test]
async fn what_is_asked_at_a_shut_gate_is_never_said() {
    let bench = Bench::new().await;
    let origin = bench.origin(answering).await;
    bench.gate.send_replace(false);
    let mut early = bench.connect().await;
    drop(early.rest().await);
    bench.gate.send_replace(true);
    sleep(A_WHILE).await;
    assert_eq!(origin.connections(), 0);
    let mut late = bench.connect().await;
    late.send(origin.get("/")).await;
    assert!(late.head().await.starts_with("HTTP/1.1 200 OK"));
}

#[tokio::test]
async fn an_open_connection_ends_when_the_gate_shuts() {
    let bench = Bench::new().await;
    let origin = bench
        .origin(|mut peer| async move {
            peer.send("hello").await;
            assert_eq!(peer.rest().await.unwrap(), b"");
        })
        .await;
    let mut client = bench.tunnel(origin.address).await;
    assert_eq!(client.exactly(5).await, "hello");
    bench.gate.send_replace(false);
    drop(client.rest().await);
    bench.gate.send_replace(true);
    sleep(A_WHILE).await;
    assert_eq!(bench.meter.traffic().up, 0);
    bench.agrees_with(&origin).await;
}

#[tokio::test]
async fn a_write_that_waits_for_the_origin_stops_with_the_gate() {
    let bench = Bench::new().await;
    let (go, goes) = watch::channel(false);
    let origin = bench
        .origin(move |mut peer| {
            let mut goes = goes.clone();
            async move {
                goes.wait_for(|go| *go).await.map(drop).unwrap();
                drop(peer.rest().await);
            }
        })
        .await;
    let mut client = bench.tunnel(origin.address).await;
    // More than the sockets between here and there hold.
    let flood = vec![0; 32 << 20];
    let sender = async { drop(timeout(A_WHILE * 3, client.stream.write_all(&flood)).await) };
    bounded(sender).await;
    bench.gate.send_replace(false);
    sleep(A_WHILE).await;
    let at_shut = bench.meter.traffic().up;
    assert!(at_shut > 0);
    go.send_replace(true);
    sleep(A_WHILE).await;
    assert_eq!(bench.meter.traffic().up, at_shut);
}

#[tokio::test]
async fn without_anybody_at_the_gate_nothing_goes_up_ever() {
    let mut bench = Bench::new().await;
    let origin = bench
        .origin(|mut peer| async move { drop(peer.rest().await) })
        .await;
    let mut client = bench.tunnel(origin.address).await;
    bench.gate = watch::channel(true).0;
    client.send("x").await;
    client.rest().await.unwrap_err();
    assert_eq!(bench.meter.traffic().up, 0);
}

#[tokio::test]
async fn a_shut_fence_cuts_what_is_open_and_holds_what_comes_until_it_opens() {
    let bench = Bench::new().await;
    let origin = bench.origin(answering).await;
    let mut open = bench.tunnel(origin.address).await;
    bench.fence.send_replace(false);
    drop(open.rest().await);
    let before = origin.connections();
    let mut early = bench.connect().await;
    early.send(origin.get("/")).await;
    sleep(A_WHILE).await;
    assert_eq!(origin.connections(), before, "nothing leaves");
    bench.fence.send_replace(true);
    assert!(early.head().await.starts_with("HTTP/1.1 200 OK"));
}

#[tokio::test]
async fn after_the_cut_the_meter_is_final_and_nobody_listens() {
    let bench = Bench::new().await;
    let origin = bench
        .origin(|mut peer| async move { while peer.stream.write_all(&[1; 4096]).await.is_ok() {} })
        .await;
    let mut client = bench.tunnel(origin.address).await;
    client.exactly(100_000).await;
    let idle = bench.connect().await;
    bounded(bench.egress.cut()).await;
    let at_cut = bench.meter.traffic();
    assert!(at_cut.down >= 100_000);
    assert_eq!(bench.meter.connections(), 0);
    assert_eq!(bench.egress.connections(), 0);
    drop(client.rest().await);
    drop(idle);
    sleep(A_WHILE).await;
    assert_eq!(bench.meter.traffic(), at_cut);
    TcpStream::connect(bench.proxy).await.unwrap_err();
    bounded(bench.egress.cut()).await;
}

#[tokio::test]
async fn whoever_started_it_can_stop_it_with_everything_else() {
    let parent = Tasks::default();
    let bench = Bench::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = listener.local_addr().unwrap();
    let setup = Setup {
        instance: InstanceId::random(),
        meter: Arc::clone(&bench.meter),
        gate: bench.gate.subscribe(),
        fence: bench.fence.subscribe(),
        policy: bench.policy.subscribe(),
        resolver: Arc::new(Resolver::new(&[]).unwrap()),
        top_hosts: watch::channel(0).1,
    };
    let egress = Egress::start(listener.into_std().unwrap().into(), setup, &parent).unwrap();
    let idle = TcpStream::connect(proxy).await.unwrap();
    bounded(async {
        while egress.connections() == 0 {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(parent.drain(Duration::from_secs(5)).await, Ok(()));
    assert_eq!(egress.connections(), 0);
    drop(idle);
}
