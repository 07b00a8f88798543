use super::*;

const GREETING: [u8; 3] = [5, 1, 0];

/// A request with this command for this address.
fn asking(command: u8, kind: u8, host: &[u8], port: u16) -> Vec<u8> {
    let head = [5, command, 0, kind];
    [&head[..], host, &port.to_be_bytes()].concat()
}

fn for_v4(to: SocketAddr) -> Vec<u8> {
    let IpAddr::V4(ip) = to.ip() else {
        panic!("an origin of these tests has an IPv4 address")
    };
    asking(1, 1, &ip.octets(), to.port())
}

fn for_name(name: &str, port: u16) -> Vec<u8> {
    let length = u8::try_from(name.len()).unwrap();
    asking(1, 3, &[&[length], name.as_bytes()].concat(), port)
}

impl Bench {
    /// Says these words in these pieces and hears as many bytes.
    async fn says(&self, pieces: &[&[u8]], hears: usize) -> (Peer, Vec<u8>) {
        let mut client = self.connect().await;
        for piece in pieces {
            client.send(piece).await;
            sleep(Duration::from_millis(2)).await;
        }
        let mut heard = vec![0; hears];
        bounded(client.stream.read_exact(&mut heard)).await.unwrap();
        (client, heard)
    }
}

#[tokio::test]
async fn an_address_and_a_name_are_connected_to_in_any_pieces() {
    let bench = Bench::new().await;
    let origin = bench.origin(answering).await;
    let port = origin.address.port();
    for request in [
        for_v4(origin.address),
        for_name("localhost", port),
        for_name("127.0.0.1", port),
    ] {
        let whole = [&GREETING[..], &request].concat();
        let singly: Vec<&[u8]> = whole.chunks(1).collect();
        for pieces in [vec![&whole[..]], singly] {
            let (mut client, heard) = bench.says(&pieces, 12).await;
            assert_eq!(heard, [5, 0, 5, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
            client.send("GET / HTTP/1.1\r\n\r\n").await;
            assert!(client.head().await.starts_with("HTTP/1.1 200 OK"));
        }
    }
    bench.agrees_with(&origin).await;
}

#[tokio::test]
async fn an_ipv6_address_is_connected_to() {
    let bench = Bench::new().await;
    bench.allow(&["::1/128"]);
    let listener = TcpListener::bind("[::1]:0").await.unwrap();
    let to = listener.local_addr().unwrap();
    let mut host = [0; 16];
    host[15] = 1;
    let request = asking(1, 4, &host, to.port());
    let (_client, heard) = bench.says(&[&GREETING, &request], 12).await;
    assert_eq!(heard[2..4], [5, 0]);
    bounded(listener.accept()).await.unwrap();
}

#[tokio::test]
async fn what_is_refused_is_told_in_its_own_words_and_counted() {
    let bench = Bench::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = listener.local_addr().unwrap();
    drop(listener);
    bench.allow(&["127.0.0.1/32"]);
    let private = asking(1, 1, &[10, 1, 2, 3], 80);
    let mapped = asking(
        1,
        4,
        &Ipv4Addr::new(10, 1, 2, 3).to_ipv6_mapped().octets(),
        80,
    );
    for (request, code, reason) in [
        (&private[..], 2, Reason::DeniedAddress),
        (&mapped, 2, Reason::DeniedAddress),
        (&for_name("10.1.2.3", 80), 2, Reason::DeniedAddress),
        (&asking(1, 1, &[8, 8, 8, 8], 25), 2, Reason::DeniedPort),
        (&for_v4(closed), 5, Reason::ConnectFailed),
        (
            &asking(2, 1, &[8, 8, 8, 8], 80),
            7,
            Reason::MethodNotAllowed,
        ),
        (
            &asking(3, 1, &[8, 8, 8, 8], 80),
            7,
            Reason::MethodNotAllowed,
        ),
        (&asking(1, 2, &[8, 8, 8, 8], 80), 8, Reason::Malformed),
        (&asking(1, 1, &[8, 8, 8, 8], 0), 1, Reason::Malformed),
        (&for_name("a:80", 80), 1, Reason::Malformed),
        (&for_name("127.1", 80), 1, Reason::Malformed),
        (&for_name("", 80), 1, Reason::Malformed),
    ] {
        let before = bench.egress.refusals().of(reason);
        let (mut client, heard) = bench.says(&[&GREETING, request], 12).await;
        assert_eq!(heard[..4], [5, 0, 5, code], "{request:?}");
        assert_eq!(
            bench.egress.refusals().of(reason),
            before + 1,
            "{request:?}"
        );
        assert!(client.rest().await.unwrap().is_empty());
    }
    assert_eq!(bench.meter.traffic(), Traffic::default());
}

#[tokio::test]
async fn a_login_is_not_something_that_we_do() {
    let bench = Bench::new().await;
    for greeting in [&[5, 1, 2][..], &[5, 0], &[5, 2, 1, 2]] {
        let (mut client, heard) = bench.says(&[greeting], 2).await;
        assert_eq!(heard, [5, 0xff]);
        assert!(client.rest().await.unwrap().is_empty());
    }
    // One method among others is enough.
    let (_client, heard) = bench.says(&[&[5, 3, 2, 1, 0]], 2).await;
    assert_eq!(heard, [5, 0]);
}

#[tokio::test]
async fn what_a_client_sends_early_belongs_to_the_tunnel() {
    let bench = Bench::new().await;
    let origin = bench
        .origin(|mut peer| async move {
            assert_eq!(peer.exactly(5).await, "hello");
            peer.send("back").await;
        })
        .await;
    let request = for_v4(origin.address);
    let (mut client, _heard) = bench.says(&[&GREETING, &request, b"hello"], 12).await;
    assert_eq!(client.rest().await.unwrap(), b"back");
    bench.agrees_with(&origin).await;
}
