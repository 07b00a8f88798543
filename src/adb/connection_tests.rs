use bytes::Bytes;
use tokio::io::{DuplexStream, duplex};

use super::*;
use crate::adb::{
    Malformed,
    packet::{Command, VERSION},
};

const LIMIT: Duration = Duration::from_secs(5);
const KEYLESS: Hello<'static> = Hello::keyless(LIMIT);

/// A peer whose answers are written by hand.
struct Peer {
    wire: DuplexStream,
    read: BytesMut,
}

impl Peer {
    async fn hears(&mut self) -> Packet {
        next(&mut self.wire, &mut self.read, MAX_PAYLOAD)
            .await
            .unwrap()
    }

    async fn says(&mut self, command: Command, arg0: u32, arg1: u32, payload: &[u8]) {
        let packet = Packet {
            command,
            arg0,
            arg1,
            payload: Bytes::copy_from_slice(payload),
        };
        write(&mut self.wire, packet, false).await.unwrap();
    }
}

fn peer() -> (DuplexStream, Peer) {
    let (ours, wire) = duplex(1 << 16);
    let read = BytesMut::new();
    (ours, Peer { wire, read })
}

async fn greeted_with(command: Command, arg0: u32) -> Result<Adb, AdbError> {
    let (ours, mut peer) = peer();
    let answers = async {
        let hello = peer.hears().await;
        assert_eq!(hello.command, Command::Connect);
        assert!(!String::from_utf8_lossy(&hello.payload).contains("delayed_ack"));
        peer.says(
            command,
            arg0,
            1 << 20,
            b"device::ro.product.name=x;features=shell_v2,cmd",
        )
        .await;
    };
    let tasks = Tasks::default();
    tokio::join!(Adb::greet(ours, KEYLESS, &tasks), answers).0
}

#[tokio::test]
async fn a_greeting_is_told_from_everything_else() {
    let adb = greeted_with(Command::Connect, VERSION).await.unwrap();
    let banner = adb.banner();
    assert_eq!(banner.state, "device");
    assert_eq!(
        banner.properties,
        [("ro.product.name".to_owned(), "x".to_owned())]
    );
    assert!(banner.features.contains("shell_v2"));
    let refused = greeted_with(Command::Auth, 1).await.unwrap_err();
    assert!(matches!(refused, AdbError::WantsKey), "{refused}");
    let refused = greeted_with(Command::StartTls, VERSION).await.unwrap_err();
    assert!(matches!(refused, AdbError::WantsTls), "{refused}");
    let refused = greeted_with(Command::Connect, VERSION - 1)
        .await
        .unwrap_err();
    assert!(matches!(refused, AdbError::TooOld(_)), "{refused}");
    let refused = greeted_with(Command::Okay, 1).await.unwrap_err();
    assert!(
        matches!(
            refused,
            AdbError::Lost(Lost::Malformed(Malformed::Misplaced))
        ),
        "{refused}"
    );
}

/// A forwarder listens before adbd does.
#[tokio::test(start_paused = true)]
async fn a_greeting_that_nobody_answers_is_given_up() {
    let (ours, _peer) = peer();
    let silent = Adb::greet(ours, KEYLESS, &Tasks::default())
        .await
        .unwrap_err();
    assert!(matches!(silent, AdbError::NoGreeting(LIMIT)), "{silent}");
}

#[tokio::test]
async fn who_is_no_adbd_is_told_so_at_once() {
    let (ours, mut peer) = peer();
    let says = async { peer.wire.write_all(b"HTTP/1.1 400 Bad Request").await };
    let tasks = Tasks::default();
    let (refused, said) = tokio::join!(Adb::greet(ours, KEYLESS, &tasks), says);
    said.unwrap();
    let refused = refused.unwrap_err();
    assert!(
        matches!(
            refused,
            AdbError::Lost(Lost::Malformed(Malformed::Header(_)))
        ),
        "{refused}"
    );
}

async fn connected(tasks: &Tasks) -> (Adb, Peer) {
    let (ours, mut peer) = peer();
    let greets = async {
        peer.hears().await;
        peer.says(Command::Connect, VERSION, 1 << 20, b"device::")
            .await;
    };
    let (adb, ()) = tokio::join!(Adb::greet(ours, KEYLESS, tasks), greets);
    (adb.unwrap(), peer)
}

#[tokio::test(start_paused = true)]
async fn every_wait_has_an_end() {
    let tasks = Tasks::default();
    let (adb, mut peer) = connected(&tasks).await;
    let silent = adb.open("x", LIMIT).await.unwrap_err();
    assert!(
        matches!(silent, AdbError::Silent { limit: LIMIT, .. }),
        "{silent}"
    );
    let silent = adb.shell("x", LIMIT).await.unwrap_err();
    assert!(
        matches!(silent, AdbError::Silent { limit: LIMIT, .. }),
        "{silent}"
    );
    assert_eq!(adb.streams(), 0);
    // Half a packet, and no more.
    peer.wire.write_all(b"WRTE").await.unwrap();
    assert_eq!(adb.lost().await, Lost::Stalled(STALLED));
    let lost = adb.open("x", LIMIT).await.unwrap_err();
    assert!(matches!(lost, AdbError::Lost(Lost::Stalled(_))), "{lost}");
    assert!(tasks.is_empty());
}

/// The task ends with the last that could use it, and so does the socket.
#[tokio::test]
async fn a_connection_ends_with_its_last_user() {
    let tasks = Tasks::default();
    let (adb, mut peer) = connected(&tasks).await;
    let opens = async {
        assert_eq!(peer.hears().await.payload, "x\0");
        peer.says(Command::Okay, 70, 1, b"").await;
    };
    let (stream, ()) = tokio::join!(adb.open("x", LIMIT), opens);
    drop(adb);
    let stream = stream.unwrap();
    let (mut from, to) = stream.into_split();
    drop(to);
    peer.says(Command::Write, 70, 1, b"still").await;
    let mut got = [0; 5];
    from.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"still");
    assert_eq!(tasks.len(), 1);
    drop(from);
    let mut rest = Vec::new();
    peer.wire.read_to_end(&mut rest).await.unwrap();
}

#[tokio::test]
async fn names_that_cannot_be_sent_are_refused() {
    let (adb, _peer) = connected(&Tasks::default()).await;
    let long = "x".repeat(MAX_NAME + 1);
    for name in ["", "a\0b", &long] {
        let refused = adb.open(name, LIMIT).await.unwrap_err();
        assert!(matches!(refused, AdbError::BadName(_)), "{refused}");
    }
}
