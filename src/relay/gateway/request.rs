//! What a request asks for. Pure.

use hyper::{HeaderMap, Method, Request, Uri, header};

use super::refusal::Refusal;
use crate::model::SessionId;

/// What is asked of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Its CDP WebSocket.
    Socket,
    /// What its browser says of itself.
    Version,
}

/// A request that names a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) session: SessionId,
    pub(super) wanted: Wanted,
    /// `token` of the query as it was written, for URLs in answers …
    pub(super) raw_token: Option<String>,
    /// … and as it was meant.
    pub(super) token: Option<Vec<u8>>,
}

impl Asked {
    pub(super) fn of<B>(request: &Request<B>) -> Result<Self, Refusal> {
        let (session, wanted) = path(request.uri().path())?;
        if request.method() != Method::GET {
            return Err(Refusal::Method);
        }
        let raw_token = raw_token(request.uri());
        let token = raw_token.as_deref().map(unescape).transpose()?;
        Ok(Self {
            session,
            wanted,
            raw_token,
            token,
        })
    }
}

fn path(path: &str) -> Result<(SessionId, Wanted), Refusal> {
    let rest = path.strip_prefix("/sessions/").ok_or(Refusal::NotFound)?;
    let (session, wanted) = match rest.split_once('/') {
        None | Some((_, "")) => (rest.trim_end_matches('/'), Wanted::Socket),
        Some((session, "json/version" | "json/version/")) => (session, Wanted::Version),
        Some(_) => return Err(Refusal::NotFound),
    };
    // An id that cannot be is as unknown as one that is not.
    let session = session.parse().map_err(|_bad| Refusal::SessionNotFound)?;
    Ok((session, wanted))
}

fn raw_token(uri: &Uri) -> Option<String> {
    let pairs = uri.query()?.split('&');
    pairs
        .filter_map(|pair| pair.strip_prefix("token="))
        .next()
        .map(str::to_owned)
}

fn unescape(text: &str) -> Result<Vec<u8>, Refusal> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digits = tail.split_at_checked(2).and_then(|(digits, tail)| {
            let digits = std::str::from_utf8(digits).ok()?;
            let strict = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            strict.then_some((u8::from_str_radix(digits, 16).ok()?, tail))
        });
        let Some((escaped, tail)) = digits else {
            return Err(Refusal::Invalid("the token is not percent-encoded"));
        };
        out.push(escaped);
        rest = tail;
    }
    Ok(out)
}

/// The client's key, when the request is a WebSocket handshake as RFC 6455 section 4.2.1 has it.
pub(super) fn websocket_key(headers: &HeaderMap) -> Result<&str, Refusal> {
    if !names(headers, header::UPGRADE, "websocket") {
        return Err(Refusal::UpgradeRequired);
    }
    if !names(headers, header::CONNECTION, "upgrade") {
        return Err(Refusal::Invalid("`Connection` must name the upgrade"));
    }
    if headers
        .get(header::SEC_WEBSOCKET_VERSION)
        .map(|v| v.as_bytes())
        != Some(b"13")
    {
        return Err(Refusal::UpgradeRequired);
    }
    let key = headers
        .get(header::SEC_WEBSOCKET_KEY)
        .and_then(|value| value.to_str().ok())
        .ok_or(Refusal::Invalid("`Sec-WebSocket-Key` is missing"))?;
    // 16 bytes in base64.
    if key.len() != 24 || !key.ends_with("==") {
        return Err(Refusal::Invalid("`Sec-WebSocket-Key` is not valid"));
    }
    Ok(key)
}

/// Whether one of the header's comma-separated words is `word`.
fn names(headers: &HeaderMap, header: header::HeaderName, word: &str) -> bool {
    headers
        .get_all(header)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|given| given.trim().eq_ignore_ascii_case(word))
}

/// The session's own address as this client sees it.
pub(super) fn websocket_url(headers: &HeaderMap, asked: &Asked) -> Result<String, Refusal> {
    let host = headers
        .get(header::HOST)
        .and_then(|value| value.to_str().ok())
        .ok_or(Refusal::Invalid("`Host` is missing"))?;
    let outer = headers.get("x-forwarded-proto").map(|v| v.as_bytes());
    let scheme = match outer {
        Some(b"https" | b"wss") => "wss",
        _ => "ws",
    };
    let token = asked.raw_token.as_ref();
    let query = token.map_or_else(String::new, |token| format!("?token={token}"));
    let session = asked.session.as_str();
    Ok(format!("{scheme}://{host}/sessions/{session}{query}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "sess_019ec0d0-a88a-73f2-9741-8030dc82a854";

    fn asked(uri: &str) -> Result<Asked, Refusal> {
        Asked::of(&Request::get(uri).body(()).unwrap())
    }

    #[test]
    fn two_things_can_be_asked_of_a_session() {
        let wanted = |tail: &str| asked(&format!("/sessions/{ID}{tail}")).map(|a| a.wanted);
        assert_eq!(wanted(""), Ok(Wanted::Socket));
        assert_eq!(wanted("/"), Ok(Wanted::Socket));
        assert_eq!(wanted("/json/version"), Ok(Wanted::Version));
        assert_eq!(wanted("/json/version/"), Ok(Wanted::Version));
        assert_eq!(wanted("/json/list"), Err(Refusal::NotFound));
        assert_eq!(asked("/json/version"), Err(Refusal::NotFound));
        assert_eq!(asked("/sessions/"), Err(Refusal::SessionNotFound));
        assert_eq!(asked("/sessions/x"), Err(Refusal::SessionNotFound));
    }

    #[test]
    fn other_methods_are_refused() {
        let uri = format!("/sessions/{ID}");
        let post = Request::post(&uri).body(()).unwrap();
        assert_eq!(Asked::of(&post), Err(Refusal::Method));
    }

    #[test]
    fn tokens_are_unescaped_and_the_url_keeps_them_as_they_were() {
        let asked = asked(&format!("/sessions/{ID}?a=b&token=x%2Fy+%25")).unwrap();
        assert_eq!(asked.token.as_deref(), Some(&b"x/y+%"[..]));
        let mut headers = HeaderMap::new();
        websocket_url(&headers, &asked).unwrap_err();
        headers.insert(header::HOST, "cdp.example".parse().unwrap());
        headers.insert("x-forwarded-proto", "https".parse().unwrap());
        assert_eq!(
            websocket_url(&headers, &asked).unwrap(),
            format!("wss://cdp.example/sessions/{ID}?token=x%2Fy+%25")
        );
        for bad in ["%", "%2", "%zz", "%+1"] {
            assert!(unescape(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_a_whole_handshake_is_one() {
        let mut headers = HeaderMap::new();
        assert_eq!(websocket_key(&headers), Err(Refusal::UpgradeRequired));
        headers.insert(header::UPGRADE, "WebSocket".parse().unwrap());
        assert!(matches!(websocket_key(&headers), Err(Refusal::Invalid(_))));
        headers.insert(header::CONNECTION, "keep-alive, Upgrade".parse().unwrap());
        assert_eq!(websocket_key(&headers), Err(Refusal::UpgradeRequired));
        headers.insert(header::SEC_WEBSOCKET_VERSION, "13".parse().unwrap());
        assert!(matches!(websocket_key(&headers), Err(Refusal::Invalid(_))));
        let key = "dGhlIHNhbXBsZSBub25jZQ==";
        headers.insert(header::SEC_WEBSOCKET_KEY, key.parse().unwrap());
        assert_eq!(websocket_key(&headers), Ok(key));
    }
}
