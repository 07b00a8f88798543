use proptest::prelude::*;

use super::*;

fn parse(head: &str) -> Result<Request, Refusal> {
    let head = Bytes::copy_from_slice(head.as_bytes());
    let end = HeadEnd::default().find(&head)?;
    assert_eq!(end, Some(head.len()), "the corpus holds whole heads");
    Request::parse(&head)
}

fn reason(head: &str) -> Option<Reason> {
    parse(head).err().map(|refusal| refusal.reason)
}

#[test]
fn absolute_form_becomes_origin_form() {
    for (line, host, path) in [
        ("GET http://a.example/b?c=d", "a.example", "/b?c=d"),
        ("GET HTTP://A.example:8080", "A.example:8080", "/"),
        ("GET http://a.example?q", "a.example", "/?q"),
        ("OPTIONS http://a.example", "a.example", "*"),
        ("OPTIONS http://a.example/", "a.example", "/"),
    ] {
        let request = parse(&format!("{line} HTTP/1.1\r\nHost: other\r\n\r\n")).unwrap();
        let Target::Plain {
            host: found,
            path: rewritten,
            ..
        } = request.target
        else {
            panic!("{line}")
        };
        assert_eq!(
            (&found[..], &rewritten[..]),
            (host.as_bytes(), path.as_bytes())
        );
    }
}

#[test]
fn a_tunnel_is_asked_for_with_a_port() {
    let request = parse("CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n").unwrap();
    assert_eq!(request.target.authority().to_string(), "a.example:443");
    parse("CONNECT a.example:443 HTTP/1.0\r\n\r\n").unwrap();
    for line in [
        "CONNECT a.example",
        "CONNECT a.example:",
        "CONNECT http://a.example:443",
        "CONNECT u@a.example:443",
        "CONNECT /",
    ] {
        let head = format!("{line} HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(reason(&head), Some(Reason::Malformed), "{line}");
    }
}

#[test]
fn request_lines_that_are_not_ours_are_refused() {
    for (line, expected) in [
        ("GET / HTTP/1.1", Reason::Malformed),
        ("GET * HTTP/1.1", Reason::Malformed),
        ("GET https://a.example/ HTTP/1.1", Reason::Malformed),
        ("GET ftp://a.example/ HTTP/1.1", Reason::Malformed),
        ("GET http:///b HTTP/1.1", Reason::Malformed),
        ("GET http://u:p@a.example/ HTTP/1.1", Reason::Malformed),
        ("GET http://a.example:0/ HTTP/1.1", Reason::Malformed),
        ("GET http://a.example:99999/ HTTP/1.1", Reason::Malformed),
        ("GET http://a.example/b#c HTTP/1.1", Reason::Malformed),
        (
            "GET http://a.example\\@b.example/ HTTP/1.1",
            Reason::Malformed,
        ),
        ("GET http://a.example/ä HTTP/1.1", Reason::Malformed),
        ("GET  http://a.example/ HTTP/1.1", Reason::Malformed),
        (
            "GET http://a.example/ b HTTP/1.1",
            Reason::VersionNotSupported,
        ),
        ("GET http://a.example/", Reason::Malformed),
        ("G(T http://a.example/ HTTP/1.1", Reason::Malformed),
        (" GET http://a.example/ HTTP/1.1", Reason::Malformed),
        (
            "GET http://a.example/ HTTP/1.0",
            Reason::VersionNotSupported,
        ),
        (
            "GET http://a.example/ HTTP/2.0",
            Reason::VersionNotSupported,
        ),
        ("TRACE http://a.example/ HTTP/1.1", Reason::MethodNotAllowed),
    ] {
        let head = format!("{line}\r\nHost: a.example\r\n\r\n");
        assert_eq!(reason(&head), Some(expected), "{line}");
    }
}

/// What RFC 9112 section 11.2 calls smuggling, and its relatives.
#[test]
fn heads_that_two_parsers_could_read_differently_are_refused() {
    for fields in [
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5, 5",
        "Content-Length: +5",
        "Content-Length: -5",
        "Content-Length: 0x5",
        "Content-Length: 5 5",
        "Content-Length:",
        "Content-Length: 99999999999999999999999",
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding:\x0bchunked",
        "Transfer-Encoding:",
        "Transfer-Encoding : chunked",
        "Content-Length : 5",
        "Content-Length\t: 5",
        "X: a\r\n Transfer-Encoding: chunked",
        "X: a\r\n\tb",
        " X: a",
        ": a",
        "X",
        "X\r\nY: a",
        "X(: a",
        "X: a\x01",
        "X: a\x7f",
        "Host: b.example",
    ] {
        let head =
            format!("POST http://a.example/ HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n\r\n");
        assert_eq!(reason(&head), Some(Reason::Malformed), "{fields:?}");
    }
    for host in [
        "",
        "Host:\r\n",
        "Host: a b\r\n",
        "Host: u@a\r\n",
        "Host: a/b\r\n",
        "Host: a,b\r\n",
    ] {
        let head = format!("GET http://a.example/ HTTP/1.1\r\n{host}\r\n");
        assert_eq!(reason(&head), Some(Reason::Malformed), "{host:?}");
    }
    for tunnel in ["Content-Length: 5", "Transfer-Encoding: chunked"] {
        let head = format!("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n{tunnel}\r\n\r\n");
        assert_eq!(reason(&head), Some(Reason::Malformed), "{tunnel:?}");
    }
}

#[test]
fn line_ends_are_crlf_and_nothing_stands_before_the_head() {
    for bytes in [
        "GET / HTTP/1.1\n",
        "GET / HTTP/1.1\r\nHost: a\n\r\n",
        "GET / HTTP/1.1\r\nX: a\rb\r\n",
        "GET / HTTP/1.1\r\r\n",
        "\r\nGET",
        "\nGET",
        "GET /\0",
    ] {
        HeadEnd::default().find(bytes.as_bytes()).unwrap_err();
    }
}

#[test]
fn bodies_are_framed_by_what_the_head_says() {
    let framing = |fields: &str| {
        let head = format!("POST http://a/ HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        parse(&head).unwrap().framing
    };
    assert_eq!(framing(""), Framing::Length(0));
    assert_eq!(framing("content-length: 007\r\n"), Framing::Length(7));
    assert_eq!(framing("Transfer-Encoding: Chunked\r\n"), Framing::Chunked);
}

#[test]
fn responses_have_bodies_by_status_and_method() {
    let framing = |head: &str, to_head| {
        let response = Response::parse(&Bytes::copy_from_slice(head.as_bytes()))?;
        framing::of_response(&response.fields, response.version, response.status, to_head)
    };
    for (head, to_head, expected) in [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
            false,
            Framing::Length(5),
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
            true,
            Framing::Length(0),
        ),
        (
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
            false,
            Framing::Length(0),
        ),
        ("HTTP/1.1 204\r\n\r\n", false, Framing::Length(0)),
        (
            "HTTP/1.1 103 Early Hints\r\n\r\n",
            false,
            Framing::Length(0),
        ),
        ("HTTP/1.1 200 OK\r\n\r\n", false, Framing::UntilClose),
        ("HTTP/1.0 200 OK\r\n\r\n", false, Framing::UntilClose),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            false,
            Framing::Chunked,
        ),
    ] {
        assert_eq!(framing(head, to_head), Ok(expected), "{head}");
    }
    for head in [
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX : a\r\n\r\n",
        "HTTP/1.1 099 Low\r\n\r\n",
        "HTTP/1.1 600 High\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "ICY 200 OK\r\n\r\n",
    ] {
        framing(head, false).unwrap_err();
    }
}

proptest! {
    #[test]
    fn the_end_is_found_the_same_however_the_bytes_come(
        head in "[A-Za-z:/ \\r\\n]{0,60}(\r\n\r\n)?", step in 1_usize..7,
    ) {
        let at_once = HeadEnd::default().find(head.as_bytes());
        let mut end = HeadEnd::default();
        let mut in_steps = Ok(None);
        for until in (0..head.len()).step_by(step).chain([head.len()]) {
            in_steps = end.find(&head.as_bytes()[..until]);
            if in_steps != Ok(None) {
                break;
            }
        }
        prop_assert_eq!(at_once, in_steps);
    }

    #[test]
    fn any_bytes_are_a_request_or_a_refusal(head in prop::collection::vec(any::<u8>(), 0..300)) {
        let head = Bytes::from(head);
        let end = HeadEnd::default().find(&head);
        prop_assert!(end.is_err() || end != Ok(Some(0)));
        drop(Request::parse(&head));
        drop(Response::parse(&head));
    }

    #[test]
    fn what_is_forwarded_is_framed_as_it_was_read(
        names in prop::collection::vec("(X-[A-Za-z]{1,8}|Connection|TE|Upgrade|Keep-Alive)", 0..8),
        value in "[ -~]{0,20}",
    ) {
        let fields: String = names.iter().map(|name| format!("{name}: {value}\r\n")).collect();
        let head = format!(
            "POST http://a.example:81/x HTTP/1.1\r\nHost: b\r\n{fields}Content-Length: 3\r\n\r\n"
        );
        let request = parse(&head).unwrap();
        let Target::Plain { host, .. } = &request.target else { panic!("not a tunnel") };
        let mut out = b"POST http://a.example:81/x HTTP/1.1\r\n".to_vec();
        let keep = Some(super::super::fields::Connection::KeepAlive);
        request.fields.forward(&mut out, keep, Some(host));
        let again = parse(&String::from_utf8(out).unwrap()).unwrap();
        prop_assert_eq!(again.framing, Framing::Length(3));
        prop_assert_eq!(again.fields.at_most_one("host").unwrap(), Some(&b"a.example:81"[..]));
        prop_assert!(!again.upgrades() && !again.closes());
    }
}
