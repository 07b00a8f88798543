//! What must hold for every input there is.

use bytes::Bytes;

use super::{
    authority::{Authority, Host},
    chunked::Chunked,
    fields::Connection,
    framing::{self, Framing},
    head::{HeadEnd, Request, Response, Target},
    socks_words::{self, Read},
};

/// A head is found at the same byte however it arrives; a request that is understood is understood alike
/// by the next hop: one request, of the same framing, for the same authority.
pub fn request(data: &[u8]) {
    let Some(head) = head_of(data) else { return };
    let Ok(request) = Request::parse(&head) else {
        return;
    };
    same_authority(request.target.authority());
    let Target::Plain { host, path, .. } = &request.target else {
        assert!(request.framing.is_empty(), "a tunnel begins after its head");
        return;
    };
    // As the proxy writes it to the origin, but as a proxy would be asked.
    let mut next = Vec::new();
    for part in [
        &request.method[..],
        b" http://",
        host,
        path,
        b" HTTP/1.1\r\n",
    ] {
        next.extend_from_slice(part);
    }
    if request.method == "OPTIONS" && path == "*" {
        return;
    }
    let connection = Some(Connection::KeepAlive);
    request.fields.forward(&mut next, connection, Some(host));
    let whole = next.len();
    let next = Bytes::from(next);
    assert_eq!(
        HeadEnd::default().find(&next),
        Ok(Some(whole)),
        "one head, and nothing after it"
    );
    let again = Request::parse(&next).expect("what is handed on is a request");
    assert_eq!(again.framing, request.framing, "of the same length");
    assert_eq!(again.method, request.method);
    assert_eq!(again.target.authority(), request.target.authority());
}

/// The same of a response, to any request.
pub fn response(data: &[u8]) {
    let Some(head) = head_of(data) else { return };
    let Ok(response) = Response::parse(&head) else {
        return;
    };
    for to_head in [false, true] {
        let framed =
            |of: &Response| framing::of_response(&of.fields, of.version, of.status, to_head);
        let Ok(framing) = framed(&response) else {
            continue;
        };
        let mut next = format!("HTTP/1.1 {} ", response.status).into_bytes();
        next.extend_from_slice(&response.phrase);
        next.extend_from_slice(b"\r\n");
        response.fields.forward(&mut next, None, None);
        let next = Bytes::from(next);
        assert_eq!(HeadEnd::default().find(&next), Ok(Some(next.len())));
        let again = Response::parse(&next).expect("what is handed on is a response");
        assert_eq!(again.status, response.status);
        assert_eq!(framed(&again), Ok(framing), "of the same length");
        assert!(!(to_head && framing == Framing::Chunked));
    }
}

/// A body ends at the same byte however it arrives, and is refused alike.
pub fn chunked(data: &[u8]) {
    let Some((at, body)) = data.split_first() else {
        return;
    };
    let run = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let (mut coding, mut taken) = (Chunked::default(), 0);
        for piece in pieces {
            match coding.admit(piece) {
                Ok(more) => taken += more,
                Err(_malformed) => return None,
            }
            if coding.is_done() {
                break;
            }
        }
        Some((taken, coding.is_done()))
    };
    let whole = run(&mut std::iter::once(body));
    let pieces = run(&mut body.chunks(usize::from(*at).max(1)));
    assert_eq!(whole, pieces, "in pieces of {at}");
    let (taken, done) = whole.unwrap_or_default();
    assert!(taken <= body.len());
    assert!(
        done || whole.is_none() || taken == body.len(),
        "what is no end is all taken"
    );
}

/// An authority that is read is written as what is read as the same.
pub fn authority(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    for default_port in [None, Some(80)] {
        if let Ok(authority) = Authority::parse(text, default_port) {
            same_authority(&authority);
        }
    }
}

/// Words of SOCKS5 are the same in whatever pieces they come, take no byte of what follows, and a request that is
/// understood is understood alike by the upstream to which it is handed on.
pub fn socks(data: &[u8]) {
    let Some((at, data)) = data.split_first() else {
        return;
    };
    let step = usize::from(*at).max(1);
    let after = in_pieces(data, step, socks_words::greeting).map_or(0, |((), length)| length);
    in_pieces(data, step, socks_words::answered);
    let Some((to, _length)) = in_pieces(&data[after..], step, socks_words::asked) else {
        return;
    };
    same_authority(&to);
    assert!(to.port > 0);
    let handed_on = socks_words::asking(&to);
    let whole = handed_on.len();
    assert_eq!(socks_words::asked(&handed_on), Ok(Some((to, whole))));
}

/// What is read of `data`, which must be the same when it comes in pieces.
fn in_pieces<T: PartialEq + std::fmt::Debug>(
    data: &[u8],
    step: usize,
    read: impl Fn(&[u8]) -> Read<T>,
) -> Option<(T, usize)> {
    let whole = read(data);
    let mut end = 0;
    let pieces = loop {
        end = (end + step).min(data.len());
        match read(&data[..end]) {
            Ok(None) if end < data.len() => {}
            outcome => break outcome,
        }
    };
    assert_eq!(whole, pieces, "in pieces of {step}");
    let (words, length) = whole.ok()??;
    assert!(length <= data.len());
    assert_eq!(
        read(&data[..length]),
        Ok(Some((words, length))),
        "nothing of what follows is looked at"
    );
    read(data).ok()?
}

fn same_authority(authority: &Authority) {
    let written = authority.to_string();
    assert_eq!(Authority::parse(&written, None).as_ref(), Ok(authority));
    if let Host::Name(name) = &authority.host {
        let plain =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
        assert!(
            !name.is_empty() && name.len() <= 253 && name.bytes().all(plain),
            "{name}"
        );
    }
}

/// The head at the beginning of what comes after the first byte, which says in which pieces it arrives.
fn head_of(data: &[u8]) -> Option<Bytes> {
    let (at, data) = data.split_first()?;
    let found = HeadEnd::default().find(data);
    let (mut in_pieces, mut end) = (HeadEnd::default(), 0);
    let pieces = loop {
        end = (end + usize::from(*at).max(1)).min(data.len());
        match in_pieces.find(&data[..end]) {
            Ok(None) if end < data.len() => {}
            outcome => break outcome,
        }
    };
    assert_eq!(found, pieces, "in pieces of {at}");
    Some(Bytes::copy_from_slice(&data[..found.ok()??]))
}
