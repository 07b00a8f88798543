use proptest::prelude::*;

use super::*;
use crate::cdp::{close_payload, frame};

fn fragment(out: &mut BytesMut, fin: bool, opcode: Opcode, mask: Option<[u8; 4]>, payload: &[u8]) {
    let len = payload.len() as u64;
    Header {
        fin,
        opcode,
        mask,
        len,
    }
    .encode(out);
    let start = out.len();
    out.extend_from_slice(payload);
    if let Some(key) = mask {
        apply_mask(&mut out[start..], key);
    }
}

fn all(joiner: &mut Joiner, bytes: &[u8], pieces: usize) -> Vec<Message> {
    let mut buffer = BytesMut::new();
    let mut out = Vec::new();
    for piece in bytes.chunks(pieces.max(1)) {
        buffer.extend_from_slice(piece);
        while let Some(message) = joiner.next(&mut buffer).unwrap() {
            out.push(message);
        }
    }
    assert!(buffer.is_empty());
    out
}

proptest! {
    /// However a message is cut into fragments, with pings in between, and however TCP cuts the
    /// bytes, the same message comes out.
    #[test]
    fn fragments_join_to_the_message(
        text in ".{0,300}",
        key: [u8; 4],
        cuts in prop::collection::vec(0usize..300, 0..5),
        pieces in 1usize..64,
    ) {
        let bytes = text.as_bytes();
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.sort_unstable();
        let mut wire = BytesMut::new();
        let mut from = 0;
        let mut pings = 0;
        for cut in cuts {
            let opcode = if from == 0 && pings == 0 { Opcode::Text } else { Opcode::Continuation };
            fragment(&mut wire, false, opcode, Some(key), &bytes[from..cut]);
            frame(&mut wire, Opcode::Ping, Some(key), b"still there?");
            from = cut;
            pings += 1;
        }
        let opcode = if pings == 0 { Opcode::Text } else { Opcode::Continuation };
        fragment(&mut wire, true, opcode, Some(key), &bytes[from..]);

        let out = all(&mut Joiner::new(Sender::Client, 4096), &wire, pieces);
        prop_assert_eq!(out.len(), pings + 1);
        prop_assert_eq!(out.last(), Some(&Message::Text(Bytes::from(text))));
    }

    #[test]
    fn any_bytes_end_in_messages_or_an_error(bytes: Vec<u8>) {
        let mut buffer = BytesMut::from(&bytes[..]);
        let mut joiner = Joiner::new(Sender::Client, 1 << 20);
        while let Ok(Some(_message)) = joiner.next(&mut buffer) {}
    }
}

fn refused(wire: &BytesMut) -> Violation {
    Joiner::new(Sender::Client, 10)
        .next(&mut wire.clone())
        .unwrap_err()
}

#[test]
fn limits_hold_for_one_frame_and_for_the_sum_of_fragments() {
    let mut header_only = BytesMut::new();
    let header = Header {
        fin: true,
        opcode: Opcode::Text,
        mask: Some([0; 4]),
        len: 11,
    };
    header.encode(&mut header_only);
    assert_eq!(refused(&header_only), Violation::TooLong(10));

    let mut pieces = BytesMut::new();
    fragment(&mut pieces, false, Opcode::Text, Some([1; 4]), b"123456");
    fragment(
        &mut pieces,
        true,
        Opcode::Continuation,
        Some([1; 4]),
        b"12345",
    );
    assert_eq!(refused(&pieces), Violation::TooLong(10));
}

#[test]
fn order_masks_text_and_close_codes_are_checked() {
    type Frames<'a> = &'a [(bool, Opcode, &'a [u8])];
    let cases: [(Frames<'_>, Violation); 5] = [
        (
            &[(true, Opcode::Continuation, b"")],
            Malformed::Fragment.into(),
        ),
        (
            &[(false, Opcode::Text, b"a"), (true, Opcode::Text, b"b")],
            Malformed::Fragment.into(),
        ),
        (&[(true, Opcode::Text, b"\xff")], Violation::NotUtf8),
        (&[(true, Opcode::Close, b"x")], Malformed::Close.into()),
        (
            &[(true, Opcode::Close, &[0x03, 0xEE])],
            Malformed::Close.into(),
        ),
    ];
    for (frames, violation) in cases {
        let mut wire = BytesMut::new();
        for (fin, opcode, payload) in frames {
            fragment(&mut wire, *fin, *opcode, Some([7; 4]), payload);
        }
        assert_eq!(refused(&wire), violation);
    }
    let mut unmasked = BytesMut::new();
    frame(&mut unmasked, Opcode::Text, None, b"{}");
    assert_eq!(refused(&unmasked), Malformed::Mask.into());
}

#[test]
fn a_close_frame_gives_code_and_reason() {
    let mut wire = BytesMut::new();
    frame(
        &mut wire,
        Opcode::Close,
        None,
        &close_payload(4002, "ttl_expired"),
    );
    frame(&mut wire, Opcode::Close, None, b"");
    assert_eq!(
        all(&mut Joiner::new(Sender::Server, 0), &wire, 3),
        [
            Message::Close(4002, "ttl_expired".to_owned()),
            Message::Close(1005, String::new())
        ]
    );
}
