//! Header fields in their order and spelling, and what a hop does to them.
//!
//! Order and letter case are part of how a site tells one browser from another, so fields are
//! passed on as they came. Only the hop's own fields change: those of RFC 9110 section 7.6.1 go,
//! and `Connection` is said anew where it (or `Proxy-Connection`) stood.

use bytes::Bytes;

use super::refusal::Malformed;

/// The fields of one head.
#[derive(Debug, Default)]
pub(super) struct Fields(Vec<(Bytes, Bytes)>);

/// What this hop says about its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Connection {
    KeepAlive,
    Close,
    Upgrade,
}

/// Never forwarded.
const HOP_BY_HOP: [&str; 5] = [
    "keep-alive",
    "te",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
];
/// Naming one of these in `Connection` cannot remove it: the message would change its meaning.
const KEPT: [&str; 3] = ["host", "content-length", "transfer-encoding"];

fn is(name: &[u8], word: &str) -> bool {
    name.eq_ignore_ascii_case(word.as_bytes())
}

impl Fields {
    /// Takes what the parser found inside `head`, without copying.
    pub(super) fn of(head: &Bytes, parsed: &[httparse::Header<'_>]) -> Self {
        let field = |field: &httparse::Header<'_>| {
            (
                head.slice_ref(field.name.as_bytes()),
                head.slice_ref(field.value),
            )
        };
        Self(parsed.iter().map(field).collect())
    }

    /// The values of every field of this name.
    pub(super) fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let named = self.0.iter().filter(move |(found, _)| is(found, name));
        named.map(|(_, value)| &value[..])
    }

    /// The value of a field that may be there once.
    pub(super) fn at_most_one(&self, name: &str) -> Result<Option<&[u8]>, Malformed> {
        let mut values = self.all(name);
        let first = values.next();
        match values.next() {
            None => Ok(first),
            Some(_) => Err(Malformed("a field that may be there once is there twice")),
        }
    }

    /// Whether a comma-separated field has this member.
    pub(super) fn lists(&self, name: &str, member: &str) -> bool {
        self.all(name)
            .flat_map(|value| value.split(|b| *b == b','))
            .any(|found| is(found.trim_ascii(), member))
    }

    /// Writes the fields for the next hop and the empty line after them. `host` replaces the one
    /// that came; nothing is said of the connection when there is nothing to say.
    pub(super) fn forward(
        &self,
        out: &mut Vec<u8>,
        connection: Option<Connection>,
        host: Option<&[u8]>,
    ) {
        let mut unsaid = connection;
        for (name, value) in &self.0 {
            if is(name, "connection") || is(name, "proxy-connection") {
                if let Some(connection) = unsaid.take() {
                    line(out, b"Connection", connection.as_bytes());
                }
            } else if is(name, "upgrade") {
                if connection == Some(Connection::Upgrade) {
                    line(out, name, value);
                }
            } else if let (true, Some(host)) = (is(name, "host"), host) {
                line(out, name, host);
            } else if !self.ends_here(name) {
                line(out, name, value);
            }
        }
        if let Some(connection) = unsaid {
            line(out, b"Connection", connection.as_bytes());
        }
        out.extend_from_slice(b"\r\n");
    }

    fn ends_here(&self, name: &[u8]) -> bool {
        let listed = |words: &[&str]| words.iter().any(|word| is(name, word));
        let nominated = || str::from_utf8(name).is_ok_and(|name| self.lists("connection", name));
        listed(&HOP_BY_HOP) || (!listed(&KEPT) && nominated())
    }
}

impl Connection {
    const fn as_bytes(self) -> &'static [u8] {
        match self {
            Self::KeepAlive => b"keep-alive",
            Self::Close => b"close",
            Self::Upgrade => b"Upgrade",
        }
    }
}

fn line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forwarded(fields: &[(&'static str, &'static str)], connection: Connection) -> String {
        let fields = fields.iter().map(|(name, value)| {
            (
                Bytes::from_static(name.as_bytes()),
                Bytes::from_static(value.as_bytes()),
            )
        });
        let mut out = Vec::new();
        Fields(fields.collect()).forward(&mut out, Some(connection), Some(b"target"));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn order_and_spelling_stay_and_the_hop_speaks_for_itself() {
        let out = forwarded(
            &[
                ("hOsT", "other"),
                ("Proxy-Connection", "keep-alive"),
                ("sec-ch-ua-mobile", "?1"),
                ("Proxy-Authorization", "Basic x"),
                ("TE", "trailers"),
                ("Upgrade", "h2c"),
                ("Accept", "*/*"),
            ],
            Connection::KeepAlive,
        );
        assert_eq!(
            out,
            "hOsT: target\r\nConnection: keep-alive\r\nsec-ch-ua-mobile: ?1\r\nAccept: */*\r\n\r\n"
        );
    }

    #[test]
    fn nominated_fields_end_here_but_not_those_that_frame_the_message() {
        let out = forwarded(
            &[
                ("Connection", "close, X-Mine , Content-Length,host"),
                ("X-Mine", "1"),
                ("Content-Length", "5"),
                ("Host", "h"),
            ],
            Connection::Close,
        );
        assert_eq!(
            out,
            "Connection: close\r\nContent-Length: 5\r\nHost: target\r\n\r\n"
        );
    }

    #[test]
    fn an_upgrade_is_passed_on_only_as_one() {
        let fields = [("Connection", "Upgrade"), ("Upgrade", "websocket")];
        let out = forwarded(&fields, Connection::Upgrade);
        assert_eq!(out, "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
        let out = forwarded(&fields, Connection::KeepAlive);
        assert_eq!(out, "Connection: keep-alive\r\n\r\n");
    }
}
