//! Whatever is sent to the node's gRPC or to REST: the daemon stays up, serves the others, and takes little.

use std::time::Duration;

use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UnixStream},
};

use crate::harness::{Chaser, Setup, lab, seconds};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// More than noise may cost; one refused flood that was kept would be more.
const GROWTH: u64 = 64 << 20;

/// Resident bytes of a process.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib << 10
}

/// One frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Headers of a gRPC call, in HPACK without compression.
fn call(path: &str) -> Vec<u8> {
    let mut block = vec![0x83, 0x86];
    for (name, value) in [
        (":path", path),
        (":authority", "node"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ] {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap());
            block.extend(text.as_bytes());
        }
    }
    block
}

/// Sends it and hangs up; a peer that has hung up already is as good.
async fn send(chaser: &Chaser, bytes: &[u8]) {
    let socket = chaser.runtime_dir.join("node.sock");
    let mut stream = UnixStream::connect(socket).await.unwrap();
    stream.write_all(bytes).await.ok();
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    drop(tokio::time::timeout(Duration::from_millis(20), read).await);
}

async fn serves(chaser: &Chaser) {
    let status = tokio::time::timeout(seconds(10), chaser.node.status()).await;
    assert_eq!(status.expect("gRPC answers").node_id, chaser.node_id);
    let listed = chaser.api.get("/v1/sessions").await;
    assert_eq!(listed.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_comes_over_grpc_the_daemon_stays_up_and_small() {
    let (lab, _origin) = lab();
    let chaser = Chaser::start(&lab).await;
    serves(&chaser).await;
    let before = resident(chaser.pid());
    let mut random = StdRng::seed_from_u64(7);

    // Bytes that mean nothing, and frames that nearly do.
    for _ in 0..150 {
        let mut noise = vec![0; random.random_range(1..4096)];
        random.fill(&mut noise[..]);
        send(&chaser, &noise).await;
        let mut frames = PREFACE.to_vec();
        frames.extend(frame(4, 0, 0, &[]));
        for _ in 0..random.random_range(1..20) {
            let mut payload = vec![0; random.random_range(0..200)];
            random.fill(&mut payload[..]);
            let (kind, flags) = (random.random_range(0..12), random.random());
            frames.extend(frame(kind, flags, random.random_range(0..9), &payload));
        }
        send(&chaser, &frames).await;
    }
    serves(&chaser).await;

    // A message that says it has 2 GiB, and one that has a MiB: both beyond what is read.
    let begin = [
        PREFACE.to_vec(),
        frame(4, 0, 0, &[]),
        frame(1, 4, 1, &call("/chaser.node.v1.NodeService/Provision")),
    ]
    .concat();
    let mut huge = begin.clone();
    huge.extend(frame(0, 0, 1, &[0, 0x7f, 0xff, 0xff, 0xff, 1, 2, 3]));
    send(&chaser, &huge).await;
    let mut large = begin;
    large.extend(frame(0, 0, 1, &[0, 0, 0x10, 0, 0]));
    for _ in 0..64 {
        large.extend(frame(0, 0, 1, &[0; 16_000]));
    }
    send(&chaser, &large).await;
    serves(&chaser).await;

    // Thousands of streams on one connection, none of which ever ends.
    let mut many = [PREFACE.to_vec(), frame(4, 0, 0, &[])].concat();
    let headers = call("/chaser.node.v1.NodeService/Watch");
    for stream in (1..20_001).step_by(2) {
        many.extend(frame(1, 4, stream, &headers));
    }
    send(&chaser, &many).await;
    // The same, opened and reset at once.
    let mut resets = [PREFACE.to_vec(), frame(4, 0, 0, &[])].concat();
    for stream in (1..20_001).step_by(2) {
        resets.extend(frame(1, 4, stream, &headers));
        resets.extend(frame(3, 0, stream, &[0, 0, 0, 8]));
    }
    send(&chaser, &resets).await;
    serves(&chaser).await;

    // Connections that say a byte and wait: others are served meanwhile.
    let socket = chaser.runtime_dir.join("node.sock");
    let mut slow = Vec::new();
    for _ in 0..200 {
        let mut stream = UnixStream::connect(&socket).await.unwrap();
        stream.write_all(&PREFACE[..1]).await.unwrap();
        slow.push(stream);
    }
    serves(&chaser).await;
    drop(slow);
    let grown = resident(chaser.pid()).saturating_sub(before);
    assert!(grown < GROWTH, "{} MiB more than before", grown >> 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_comes_over_rest_the_daemon_stays_up_and_small() {
    let (lab, _origin) = lab();
    let chaser = Setup::on(&lab).start().await;
    serves(&chaser).await;
    let before = resident(chaser.pid());
    let address = chaser.api.base().trim_start_matches("http://").to_owned();
    let mut random = StdRng::seed_from_u64(11);
    let head = "POST /v1/sessions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sk_test\r\n";
    let mut requests: Vec<Vec<u8>> = vec![
        format!("{head}Content-Length: 99999999999\r\n\r\n{{").into(),
        format!("{head}Content-Length: -1\r\n\r\n").into(),
        format!("{head}Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF\r\n").into(),
        format!("{head}Content-Length: 60000\r\n\r\n{}", "[".repeat(60_000)).into(),
        format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(1 << 20)).into(),
        format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(50_000)).into(),
        b"GET /v1/sessions/%ff%fe%00 HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        b"\0\0\0\0".to_vec(),
    ];
    for _ in 0..200 {
        let mut noise = vec![0; random.random_range(1..2048)];
        random.fill(&mut noise[..]);
        requests.push(noise);
    }
    for request in requests {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        stream.write_all(&request).await.ok();
        let mut answer = [0; 64];
        let read = stream.read(&mut answer);
        if let Ok(Ok(count)) = tokio::time::timeout(Duration::from_millis(100), read).await {
            let answer = String::from_utf8_lossy(&answer[..count]).into_owned();
            assert!(count == 0 || answer.starts_with("HTTP/1.1 4"), "{answer}");
        }
    }
    // Slowloris: more connections than are served at once, each with half a head.
    let mut slow = Vec::new();
    for _ in 0..900 {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        stream.write_all(b"GET /v1/sess").await.unwrap();
        slow.push(stream);
    }
    serves(&chaser).await;
    drop(slow);
    serves(&chaser).await;
    let grown = resident(chaser.pid()).saturating_sub(before);
    assert!(grown < GROWTH, "{} MiB more than before", grown >> 20);
    let listed = chaser.api.get("/v1/sessions").await;
    assert_eq!(
        listed.body["data"],
        serde_json::json!([]),
        "nothing was made of it"
    );
}
