//! Heads of HTTP/1.1 messages, read as strictly as RFC 9112 allows.
//!
//! A proxy and an origin that disagree about where a message ends can be made to answer one
//! client's request with another's response. So nothing is repaired: line ends are CRLF, fields are
//! not folded, no space stands before a colon, and what frames a message is said once.

use bytes::Bytes;
use httparse::EMPTY_HEADER;

use super::{
    authority::Authority,
    fields::Fields,
    framing::{self, Framing},
    refusal::{Malformed, Reason, Refusal},
};

/// The largest head.
pub(super) const MAX_HEAD: usize = 64 << 10;
const MAX_FIELDS: usize = 256;
const HTTP_PORT: u16 = 80;

/// Looks for the end of a head in a buffer that grows, and at each byte once.
#[derive(Debug, Default)]
pub(super) struct HeadEnd {
    seen: usize,
}

impl HeadEnd {
    /// The length of the head once it is whole.
    pub(super) fn find(&mut self, buffer: &[u8]) -> Result<Option<usize>, Malformed> {
        while let Some(byte) = buffer.get(self.seen) {
            let before = self.seen.checked_sub(1).map(|at| buffer[at]);
            match (before, byte) {
                (Some(b'\r'), b'\n') => {
                    if self.seen == 1 {
                        return Err(Malformed("an empty line before the head"));
                    }
                    if buffer[..=self.seen].ends_with(b"\r\n\r\n") {
                        return Ok(Some(self.seen + 1));
                    }
                }
                (_, b'\n') => return Err(Malformed("a bare line feed in the head")),
                (Some(b'\r'), _) => return Err(Malformed("a bare carriage return in the head")),
                (_, 0) => return Err(Malformed("a NUL in the head")),
                _ => {}
            }
            self.seen += 1;
        }
        Ok(None)
    }
}

/// The head of a request.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: Bytes,
    pub(super) target: Target,
    pub(super) fields: Fields,
    pub(super) framing: Framing,
}

/// What a request asks for.
#[derive(Debug)]
pub(super) enum Target {
    /// `CONNECT host:port`.
    Tunnel(Authority),
    /// `GET http://host/path`.
    Plain {
        authority: Authority,
        /// The authority as it was written: the next hop's `Host`.
        host: Bytes,
        /// What goes on the next hop's request line.
        path: Bytes,
    },
}

impl Target {
    pub(super) const fn authority(&self) -> &Authority {
        match self {
            Self::Tunnel(authority) | Self::Plain { authority, .. } => authority,
        }
    }
}

impl Request {
    /// Understands a whole head.
    pub(super) fn parse(head: &Bytes) -> Result<Self, Refusal> {
        let mut found = [EMPTY_HEADER; MAX_FIELDS];
        let mut parsed = httparse::Request::new(&mut found);
        whole(parsed.parse(head), head)?;
        let (Some(method), Some(target), Some(version)) =
            (parsed.method, parsed.path, parsed.version)
        else {
            return Err(Malformed("an incomplete request line").into());
        };
        let fields = Fields::of(head, parsed.headers);
        let target = if method == "CONNECT" {
            Target::Tunnel(Authority::parse(target, None)?)
        } else {
            plain(head, method, target)?
        };
        if version == 0 && !matches!(target, Target::Tunnel(_)) {
            let detail = "HTTP/1.0 is understood for CONNECT only";
            return Err(Refusal::new(Reason::VersionNotSupported, detail));
        }
        check_host(&fields, version)?;
        let framing = framing::of_request(&fields, version)?;
        if matches!(target, Target::Tunnel(_)) && !framing.is_empty() {
            return Err(Malformed("a CONNECT with a body").into());
        }
        if method == "TRACE" || method == "TRACK" {
            return Err(Refusal::new(Reason::MethodNotAllowed, "TRACE"));
        }
        Ok(Self {
            method: head.slice_ref(method.as_bytes()),
            target,
            fields,
            framing,
        })
    }

    pub(super) fn is_head(&self) -> bool {
        &self.method[..] == b"HEAD"
    }

    /// Whether the client will not send another request here.
    pub(super) fn closes(&self) -> bool {
        self.fields.lists("connection", "close") || self.fields.lists("proxy-connection", "close")
    }

    /// Whether the client asks to speak something else.
    pub(super) fn upgrades(&self) -> bool {
        self.framing.is_empty()
            && self.fields.lists("connection", "upgrade")
            && self.fields.all("upgrade").next().is_some()
    }
}

/// The head of a response.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) version: u8,
    pub(super) status: u16,
    pub(super) phrase: Bytes,
    pub(super) fields: Fields,
}

impl Response {
    /// Understands a whole head.
    pub(super) fn parse(head: &Bytes) -> Result<Self, Malformed> {
        let mut found = [EMPTY_HEADER; MAX_FIELDS];
        let mut parsed = httparse::Response::new(&mut found);
        whole(parsed.parse(head), head).map_err(|_refusal| Malformed("a bad response head"))?;
        let (Some(version), Some(status), Some(phrase)) =
            (parsed.version, parsed.code, parsed.reason)
        else {
            return Err(Malformed("an incomplete status line"));
        };
        if !(100..600).contains(&status) {
            return Err(Malformed("a status code outside 100 to 599"));
        }
        Ok(Self {
            version,
            status,
            phrase: Bytes::copy_from_slice(phrase.as_bytes()),
            fields: Fields::of(head, parsed.headers),
        })
    }

    /// Whether the origin takes another request on this connection.
    pub(super) fn keeps_alive(&self) -> bool {
        if self.version == 0 {
            self.fields.lists("connection", "keep-alive")
        } else {
            !self.fields.lists("connection", "close")
        }
    }
}

/// The parser must have come exactly to the end that was found.
fn whole(parsed: httparse::Result<usize>, head: &Bytes) -> Result<(), Refusal> {
    use httparse::{Error, Status};
    let what = match parsed {
        Ok(Status::Complete(length)) if length == head.len() => return Ok(()),
        Ok(Status::Complete(_) | Status::Partial) => "a head that does not end where it should",
        Err(Error::TooManyHeaders) => {
            return Err(Refusal::new(Reason::HeadTooLarge, "too many fields"));
        }
        Err(Error::Version) => {
            return Err(Refusal::new(Reason::VersionNotSupported, "not HTTP/1.1"));
        }
        Err(Error::HeaderName) => "a bad field name",
        Err(Error::HeaderValue) => "a bad field value",
        Err(Error::NewLine) => "a bad line end",
        Err(Error::Status) => "a bad status line",
        Err(Error::Token) => "a bad request line",
    };
    Err(Malformed(what).into())
}

/// Absolute form (RFC 9112 section 3.2.2): `http://authority/path`.
fn plain(head: &Bytes, method: &str, target: &str) -> Result<Target, Malformed> {
    const SCHEME: usize = "http://".len();
    if !target
        .bytes()
        .all(|b| (0x21..0x7f).contains(&b) && b != b'#')
    {
        return Err(Malformed("a character that no target has"));
    }
    let rest = match target.split_at_checked(SCHEME) {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http://") => rest,
        _ => return Err(Malformed("a target that is not http://")),
    };
    let (host, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let authority = Authority::parse(host, Some(HTTP_PORT))?;
    let path = match path.as_bytes() {
        // Section 3.2.4: the one target that has no path.
        [] if method == "OPTIONS" => Bytes::from_static(b"*"),
        [] => Bytes::from_static(b"/"),
        [b'?', ..] => Bytes::from(format!("/{path}")),
        rooted => head.slice_ref(rooted),
    };
    Ok(Target::Plain {
        authority,
        host: head.slice_ref(host.as_bytes()),
        path,
    })
}

/// `Host` is replaced by the target's authority later; a head whose own is missing, doubled or
/// unreadable is not repaired that way.
fn check_host(fields: &Fields, version: u8) -> Result<(), Malformed> {
    let Some(host) = fields.at_most_one("host")? else {
        let excused = version == 0;
        return if excused {
            Ok(())
        } else {
            Err(Malformed("no Host"))
        };
    };
    let host = str::from_utf8(host).map_err(|_not_text| Malformed("a bad Host"))?;
    Authority::parse(host, Some(HTTP_PORT)).map_err(|_bad| Malformed("a bad Host"))?;
    Ok(())
}

#[cfg(test)]
#[path = "head_tests.rs"]
mod tests;
