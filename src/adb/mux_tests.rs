use std::task::Waker;

use proptest::prelude::*;

use super::*;

fn now() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

fn sent(mux: &mut Mux) -> Vec<Packet> {
    std::iter::from_fn(|| match mux.poll_send(&mut now()) {
        Poll::Ready(packet) => Some(packet),
        Poll::Pending => None,
    })
    .collect()
}

fn data(theirs: u32, ours: u32, bytes: &'static [u8]) -> Packet {
    Packet {
        payload: Bytes::from_static(bytes),
        ..Packet::bare(Command::Write, theirs, ours)
    }
}

/// A mux with one stream that the peer calls 70.
fn opened() -> (Mux, u32) {
    let mut mux = Mux::new(4);
    let id = mux.open(Bytes::from_static(b"x\0")).unwrap();
    assert!(mux.poll_opened(id, &now()).is_pending());
    mux.receive(Packet::bare(Command::Okay, 70, id)).unwrap();
    assert_eq!(mux.poll_opened(id, &now()), Poll::Ready(Ok(true)));
    assert_eq!(sent(&mut mux).len(), 1);
    (mux, id)
}

#[test]
fn one_packet_is_under_way_each_way() {
    let (mut mux, id) = opened();
    let wrote = mux.poll_write(id, &now(), b"abcdef");
    assert!(matches!(wrote, Poll::Ready(Ok(4))));
    assert!(mux.poll_write(id, &now(), b"ef").is_pending());
    mux.receive(Packet::bare(Command::Okay, 70, id)).unwrap();
    assert!(matches!(
        mux.poll_write(id, &now(), b"ef"),
        Poll::Ready(Ok(2))
    ));
    assert_eq!(sent(&mut mux).len(), 2);
    mux.receive(data(70, id, b"1")).unwrap();
    assert_eq!(sent(&mut mux), [], "acknowledged before anybody read it");
    let read = mux.poll_read(id, &now());
    assert!(matches!(read, Poll::Ready(Ok(Some(bytes))) if bytes == "1"));
    assert_eq!(sent(&mut mux), [Packet::bare(Command::Okay, id, 70)]);
}

/// adbd does so with what is left of a service that has ended.
#[test]
fn what_comes_unasked_at_the_end_of_a_stream_is_kept_within_bounds() {
    static BIG: [u8; 1 << 16] = [7; 1 << 16];
    let (mut mux, id) = opened();
    let mut kept = 0;
    let refused = loop {
        match mux.receive(data(70, id, &BIG)) {
            Ok(()) => kept += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(refused, Malformed::Unasked(id));
    assert!((64..=MAX_UNASKED).contains(&kept), "{kept} packets");
    let (mut mux, id) = opened();
    for _ in 0..3 {
        mux.receive(data(70, id, b"12345")).unwrap();
    }
    mux.receive(Packet::bare(Command::Close, 70, id)).unwrap();
    assert_eq!(mux.held, 15);
    assert!(matches!(
        mux.poll_read(id, &now()),
        Poll::Ready(Ok(Some(_)))
    ));
    assert_eq!(mux.held, 10);
    mux.forget(id);
    assert_eq!(mux.held, 0);
}

#[test]
fn what_came_before_a_close_is_read_and_then_nothing() {
    let (mut mux, id) = opened();
    mux.receive(data(70, id, b"last")).unwrap();
    mux.receive(Packet::bare(Command::Close, 70, id)).unwrap();
    assert!(matches!(
        mux.poll_read(id, &now()),
        Poll::Ready(Ok(Some(_)))
    ));
    assert!(matches!(mux.poll_read(id, &now()), Poll::Ready(Ok(None))));
    assert!(matches!(
        mux.poll_write(id, &now(), b"x"),
        Poll::Ready(Err(_))
    ));
    mux.forget(id);
    assert_eq!(sent(&mut mux), [], "the peer has closed it itself");
    assert_eq!(mux.len(), 0);
}

#[test]
fn a_service_that_is_not_there_is_refused() {
    let mut mux = Mux::new(4);
    let id = mux.open(Bytes::from_static(b"x\0")).unwrap();
    mux.receive(Packet::bare(Command::Close, 0, id)).unwrap();
    assert_eq!(mux.poll_opened(id, &now()), Poll::Ready(Ok(false)));
}

/// adbd sends such things; nobody is to be confused by them.
#[test]
fn what_comes_late_for_a_closed_stream_is_ignored() {
    let (mut mux, id) = opened();
    mux.forget(id);
    assert_eq!(sent(&mut mux), [Packet::bare(Command::Close, id, 70)]);
    mux.receive(Packet::bare(Command::Close, 70, id)).unwrap();
    mux.receive(Packet::bare(Command::Close, 0, 99)).unwrap();
    assert_eq!(sent(&mut mux), []);
    mux.receive(data(70, id, b"late")).unwrap();
    assert_eq!(sent(&mut mux), [Packet::bare(Command::Close, id, 70)]);
}

/// Given up before the peer agreed: it must hear that nobody is there.
#[test]
fn a_stream_that_is_agreed_on_too_late_is_closed() {
    let mut mux = Mux::new(4);
    let id = mux.open(Bytes::from_static(b"x\0")).unwrap();
    mux.forget(id);
    assert_eq!(sent(&mut mux).len(), 1);
    mux.receive(Packet::bare(Command::Okay, 70, id)).unwrap();
    assert_eq!(sent(&mut mux), [Packet::bare(Command::Close, id, 70)]);
}

#[test]
fn a_peer_that_reads_nothing_is_not_read_for_ever() {
    let mut mux = Mux::new(4);
    let mut packets = 0_u32;
    while mux.poll_room(&mut now()).is_ready() {
        packets += 1;
        mux.receive(data(1, packets, b"")).unwrap();
        assert!(packets <= 10_000);
    }
    assert_eq!(sent(&mut mux).len(), packets as usize);
    assert!(mux.poll_room(&mut now()).is_ready());
}

#[test]
fn no_more_streams_than_may_be() {
    let mut mux = Mux::new(4);
    let ids: Vec<_> = std::iter::from_fn(|| mux.open(Bytes::new())).collect();
    assert_eq!(ids.len(), MAX_STREAMS);
    mux.forget(ids[0]);
    let next = mux.open(Bytes::new()).unwrap();
    assert!(!ids.contains(&next));
}

#[test]
fn a_lost_connection_is_told_to_everybody_and_keeps_nothing() {
    let (mut mux, id) = opened();
    mux.receive(data(70, id, b"there")).unwrap();
    mux.lose(Lost::HungUp);
    mux.lose(Lost::Closed);
    assert_eq!(mux.lost(), Some(&Lost::HungUp));
    assert!(matches!(
        mux.poll_read(id, &now()),
        Poll::Ready(Ok(Some(_)))
    ));
    assert!(matches!(mux.poll_read(id, &now()), Poll::Ready(Err(_))));
    assert!(matches!(mux.poll_credit(id, &now()), Poll::Ready(Err(_))));
    mux.forget(id);
    assert_eq!(sent(&mut mux), []);
}

proptest! {
    /// Whatever a peer sends, in any order: what is held is what it sent and nobody read, and nothing is
    /// sent on a stream that the peer has closed.
    #[test]
    fn no_peer_confuses_it(
        packets in proptest::collection::vec((0_usize..3, 60_u32..64, 0_u32..5), 0..120),
    ) {
        let mut mux = Mux::new(4);
        for _ in 0..3 {
            mux.open(Bytes::new());
        }
        sent(&mut mux);
        for (which, theirs, ours) in packets {
            let command = [Command::Okay, Command::Write, Command::Close][which];
            let packet = Packet { payload: Bytes::from_static(b"x"), ..Packet::bare(command, theirs, ours) };
            prop_assert!(mux.receive(packet).is_ok());
            for id in 1..4 {
                let closed = mux.streams[&id].closed;
                let wrote = mux.poll_write(id, &now(), b"y");
                prop_assert!(!(closed && matches!(wrote, Poll::Ready(Ok(_)))));
            }
            let held: usize = mux.streams.values().map(|entry| entry.inbound.len()).sum();
            prop_assert_eq!(held, mux.held);
            for packet in sent(&mut mux) {
                prop_assert!(matches!(packet.command, Command::Write | Command::Close));
            }
        }
    }
}
