//! What a request asks for. Pure.

use hyper::{HeaderMap, Method, Request, Uri, header};

use super::refusal::Refusal;
use crate::model::SessionId;

/// What is asked of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    /// A CDP WebSocket.
    Socket(Socket),
    /// What its browser says of itself.
    Version,
    /// One of DevTools' other answers.
    Inspect(Inspect),
}

/// Whose WebSocket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Socket {
    /// The browser's; with its own id, where the client gave one.
    Browser(Option<String>),
    /// One target's.
    Page(String),
}

/// What DevTools serves beside its sockets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Inspect {
    /// The open targets.
    List,
    /// The protocol that the browser speaks.
    Protocol,
    /// Opens a page at this URL, percent-encoded or not, as it was given.
    New(String),
    /// Brings a target to the front.
    Activate(String),
    /// Closes a target.
    Close(String),
}

impl Wanted {
    /// DevTools opens pages by PUT only, so that no link can.
    pub(super) const fn method(&self) -> Method {
        match self {
            Self::Inspect(Inspect::New(_)) => Method::PUT,
            Self::Socket(_) | Self::Version | Self::Inspect(_) => Method::GET,
        }
    }
}

/// Ids of targets have 32 characters, those of browsers 36.
const MAX_ID: usize = 64;

/// A request that names a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) session: SessionId,
    pub(super) wanted: Wanted,
    /// `token` of the path or the query as it was written, for URLs in answers …
    pub(super) raw_token: Option<String>,
    /// … and as it was meant.
    pub(super) token: Option<Vec<u8>>,
}

impl Asked {
    pub(super) fn of<B>(request: &Request<B>) -> Result<Self, Refusal> {
        let (session, mut wanted, in_path) = path(request.uri().path())?;
        let method = wanted.method();
        if request.method() != method {
            return Err(Refusal::Method(if method == Method::PUT {
                "PUT"
            } else {
                "GET"
            }));
        }
        let raw_token = if let Wanted::Inspect(Inspect::New(url)) = &mut wanted {
            let (token, rest) = leading_token(request.uri());
            url.push_str(rest);
            token
        } else {
            raw_token(request.uri())
        };
        let raw_token = in_path.or(raw_token);
        let token = raw_token.as_deref().map(unescape).transpose()?;
        Ok(Self {
            session,
            wanted,
            raw_token,
            token,
        })
    }
}

/// The session, what is wanted of it, and the token where the path has it: some clients drop a query.
fn path(path: &str) -> Result<(SessionId, Wanted, Option<String>), Refusal> {
    let rest = path.strip_prefix("/sessions/").ok_or(Refusal::NotFound)?;
    let (session, tail) = rest.split_once('/').unwrap_or((rest, ""));
    let (token, tail) = match tail.strip_prefix("token/") {
        Some(rest) => {
            let (token, tail) = rest.split_once('/').unwrap_or((rest, ""));
            (Some(token.to_owned()), tail)
        }
        None => (None, tail),
    };
    let wanted = wanted(tail.strip_suffix('/').unwrap_or(tail)).ok_or(Refusal::NotFound)?;
    // An id that cannot be is as unknown as one that is not.
    let session = session.parse().map_err(|_bad| Refusal::SessionNotFound)?;
    Ok((session, wanted, token))
}

fn wanted(tail: &str) -> Option<Wanted> {
    let inspect = |what| Some(Wanted::Inspect(what));
    match tail {
        "" => return Some(Wanted::Socket(Socket::Browser(None))),
        "json/version" => return Some(Wanted::Version),
        "json" | "json/list" => return inspect(Inspect::List),
        "json/protocol" => return inspect(Inspect::Protocol),
        "json/new" => return inspect(Inspect::New(String::new())),
        _ => {}
    }
    let (what, id) = tail.rsplit_once('/')?;
    // What is put into a path toward DevTools is nothing but an id.
    let is_id = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if id.is_empty() || id.len() > MAX_ID || !id.bytes().all(is_id) {
        return None;
    }
    let id = id.to_owned();
    match what {
        "devtools/browser" => Some(Wanted::Socket(Socket::Browser(Some(id)))),
        "devtools/page" => Some(Wanted::Socket(Socket::Page(id))),
        "json/activate" => inspect(Inspect::Activate(id)),
        "json/close" => inspect(Inspect::Close(id)),
        _ => None,
    }
}

/// The whole query of `json/new` is a URL, which may well have a `token` of its own: the session's
/// stands in front of it.
fn leading_token(uri: &Uri) -> (Option<String>, &str) {
    let query = uri.query().unwrap_or_default();
    let Some(rest) = query.strip_prefix("token=") else {
        return (None, query);
    };
    let (token, url) = rest.split_once('&').unwrap_or((rest, ""));
    (Some(token.to_owned()), url)
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

/// The address, as this client sees it, of the session's browser or of one of its targets.
pub(super) fn websocket_url(
    headers: &HeaderMap,
    asked: &Asked,
    target: Option<&str>,
) -> Result<String, Refusal> {
    let host = headers
        .get(header::HOST)
        .and_then(|value| value.to_str().ok())
        .ok_or(Refusal::Invalid("`Host` is missing"))?;
    let outer = headers.get("x-forwarded-proto").map(|v| v.as_bytes());
    let scheme = match outer {
        Some(b"https" | b"wss") => "wss",
        _ => "ws",
    };
    let page = target.map_or_else(String::new, |target| format!("/devtools/page/{target}"));
    let token = asked.raw_token.as_ref();
    let query = token.map_or_else(String::new, |token| format!("?token={token}"));
    let session = asked.session.as_str();
    Ok(format!("{scheme}://{host}/sessions/{session}{page}{query}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "sess_019ec0d0-a88a-73f2-9741-8030dc82a854";

    fn asked(uri: &str) -> Result<Asked, Refusal> {
        Asked::of(&Request::get(uri).body(()).unwrap())
    }

    #[test]
    fn what_can_be_asked_of_a_session() {
        let wanted = |tail: &str| asked(&format!("/sessions/{ID}{tail}")).map(|a| a.wanted);
        let inspect = |what| Ok(Wanted::Inspect(what));
        let id = || "0A1B-2c".to_owned();
        let browser = |id| Ok(Wanted::Socket(Socket::Browser(id)));
        for slash in ["", "/"] {
            let wanted = |tail: &str| wanted(&format!("{tail}{slash}"));
            assert_eq!(wanted(""), browser(None));
            assert_eq!(wanted("/devtools/browser/0A1B-2c"), browser(Some(id())));
            let page = Ok(Wanted::Socket(Socket::Page(id())));
            assert_eq!(wanted("/devtools/page/0A1B-2c"), page);
            assert_eq!(wanted("/json/version"), Ok(Wanted::Version));
            assert_eq!(wanted("/json"), inspect(Inspect::List));
            assert_eq!(wanted("/json/list"), inspect(Inspect::List));
            assert_eq!(wanted("/json/protocol"), inspect(Inspect::Protocol));
            assert_eq!(
                wanted("/json/activate/0A1B-2c"),
                inspect(Inspect::Activate(id()))
            );
            assert_eq!(wanted("/json/close/0A1B-2c"), inspect(Inspect::Close(id())));
        }
        for nothing in [
            "/json/close",
            "/json/close/a%2fb",
            "/devtools/page/",
            "/devtools/x/1",
            "/x",
        ] {
            assert_eq!(wanted(nothing), Err(Refusal::NotFound), "{nothing}");
        }
        assert_eq!(wanted("/json/new"), Err(Refusal::Method("PUT")));
        assert_eq!(asked("/json/version"), Err(Refusal::NotFound));
        assert_eq!(asked("/sessions/"), Err(Refusal::SessionNotFound));
        assert_eq!(asked("/sessions/x"), Err(Refusal::SessionNotFound));
    }

    #[test]
    fn a_new_page_is_put_and_its_url_is_the_query() {
        for (query, url, token) in [
            ("", "", None),
            (
                "?https://x/?a=1&token=own",
                "https://x/?a=1&token=own",
                None,
            ),
            ("?token=T&https://x/?a&b", "https://x/?a&b", Some("T")),
        ] {
            let request = Request::put(format!("/sessions/{ID}/json/new{query}"));
            let asked = Asked::of(&request.body(()).unwrap()).unwrap();
            assert_eq!(asked.wanted, Wanted::Inspect(Inspect::New(url.to_owned())));
            assert_eq!(asked.raw_token.as_deref(), token);
        }
    }

    #[test]
    fn other_methods_are_refused() {
        let uri = format!("/sessions/{ID}");
        let post = Request::post(&uri).body(()).unwrap();
        assert_eq!(Asked::of(&post), Err(Refusal::Method("GET")));
    }

    #[test]
    fn tokens_are_unescaped_and_the_url_keeps_them_as_they_were() {
        let asked = asked(&format!("/sessions/{ID}?a=b&token=x%2Fy+%25")).unwrap();
        assert_eq!(asked.token.as_deref(), Some(&b"x/y+%"[..]));
        let mut headers = HeaderMap::new();
        websocket_url(&headers, &asked, None).unwrap_err();
        headers.insert(header::HOST, "cdp.example".parse().unwrap());
        headers.insert("x-forwarded-proto", "https".parse().unwrap());
        assert_eq!(
            websocket_url(&headers, &asked, None).unwrap(),
            format!("wss://cdp.example/sessions/{ID}?token=x%2Fy+%25")
        );
        assert_eq!(
            websocket_url(&headers, &asked, Some("T")).unwrap(),
            format!("wss://cdp.example/sessions/{ID}/devtools/page/T?token=x%2Fy+%25")
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

#[cfg(test)]
#[path = "request_tests.rs"]
mod path_tests;
