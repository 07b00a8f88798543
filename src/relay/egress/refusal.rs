//! Requests that no origin is asked, or none answered.
//!
//! A page must not be able to tell a refusal from a host that cannot be reached: a browser shows both as a
//! connection error. A `CONNECT` gets a status, which no browser shows to a page. A plain request gets
//! no answer ([`last_words`]): whatever were in it, a page of the same origin could read.

use std::{
    borrow::Cow,
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

/// Why a request was refused: one word for log, metric and header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// Not HTTP, or HTTP that two parsers could read differently.
    Malformed,
    /// The head of the request is larger than any honest one.
    HeadTooLarge,
    /// The head of the request did not come to its end in time.
    HeadTimeout,
    /// A method that is never forwarded.
    MethodNotAllowed,
    /// Not HTTP/1.1.
    VersionNotSupported,
    /// The policy denies every address of the target.
    DeniedAddress,
    /// The policy denies the port.
    DeniedPort,
    /// The policy denies the name.
    DeniedHost,
    /// The route is not for what is asked for like this.
    DeniedScheme,
    /// The session has as many connections as it may have.
    ConnectionLimit,
    /// The session has made as many requests as it may make in a minute.
    RequestLimit,
    /// Nobody holds the instance yet, or its egress address is not on this host.
    NoRoute,
    /// The name has no address that the route can reach.
    Unresolved,
    /// The name servers did not answer in time.
    ResolveTimeout,
    /// No address of the target took the connection.
    ConnectFailed,
    /// No address of the target answered in time.
    ConnectTimeout,
    /// The origin's answer is not HTTP, or HTTP that two parsers could read differently.
    BadResponse,
    /// The origin did not answer in time.
    ResponseTimeout,
    /// The route's upstream cannot be connected to, or its certificate is not good.
    UpstreamUnreachable,
    /// The route's upstream did not answer in time.
    UpstreamTimeout,
    /// The route's upstream does not take our login.
    UpstreamAuth,
    /// The route's upstream will not serve the request, or does not speak what it should.
    UpstreamRefused,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 22] = [
        Self::Malformed,
        Self::HeadTooLarge,
        Self::HeadTimeout,
        Self::MethodNotAllowed,
        Self::VersionNotSupported,
        Self::DeniedAddress,
        Self::DeniedPort,
        Self::DeniedHost,
        Self::DeniedScheme,
        Self::ConnectionLimit,
        Self::RequestLimit,
        Self::NoRoute,
        Self::Unresolved,
        Self::ResolveTimeout,
        Self::ConnectFailed,
        Self::ConnectTimeout,
        Self::BadResponse,
        Self::ResponseTimeout,
        Self::UpstreamUnreachable,
        Self::UpstreamTimeout,
        Self::UpstreamAuth,
        Self::UpstreamRefused,
    ];

    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::HeadTooLarge => "head_too_large",
            Self::HeadTimeout => "head_timeout",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::VersionNotSupported => "version_not_supported",
            Self::DeniedAddress => "denied_address",
            Self::DeniedPort => "denied_port",
            Self::DeniedHost => "denied_host",
            Self::DeniedScheme => "denied_scheme",
            Self::ConnectionLimit => "connection_limit",
            Self::RequestLimit => "request_limit",
            Self::NoRoute => "no_route",
            Self::Unresolved => "unresolved",
            Self::ResolveTimeout => "resolve_timeout",
            Self::ConnectFailed => "connect_failed",
            Self::ConnectTimeout => "connect_timeout",
            Self::BadResponse => "bad_response",
            Self::ResponseTimeout => "response_timeout",
            Self::UpstreamUnreachable => "upstream_unreachable",
            Self::UpstreamTimeout => "upstream_timeout",
            Self::UpstreamAuth => "upstream_auth",
            Self::UpstreamRefused => "upstream_refused",
        }
    }

    /// Whether it came up once an origin had been asked already.
    pub(super) const fn is_late(self) -> bool {
        matches!(
            self,
            Self::BadResponse | Self::ResponseTimeout | Self::Malformed
        )
    }

    /// What a `CONNECT` is answered: status line without the version.
    const fn status(self) -> &'static str {
        match self {
            Self::DeniedAddress | Self::DeniedPort | Self::DeniedHost | Self::DeniedScheme => {
                "403 Forbidden"
            }
            Self::ConnectionLimit | Self::RequestLimit => "429 Too Many Requests",
            Self::NoRoute => "503 Service Unavailable",
            // Never 407: the browser would ask its user.
            Self::Unresolved
            | Self::ConnectFailed
            | Self::UpstreamUnreachable
            | Self::UpstreamAuth
            | Self::UpstreamRefused => "502 Bad Gateway",
            Self::ResolveTimeout | Self::ConnectTimeout | Self::UpstreamTimeout => {
                "504 Gateway Timeout"
            }
            // What is wrong with a head or with an origin's answer: no `CONNECT` is refused for it.
            Self::Malformed
            | Self::HeadTooLarge
            | Self::HeadTimeout
            | Self::MethodNotAllowed
            | Self::VersionNotSupported
            | Self::BadResponse
            | Self::ResponseTimeout => "400 Bad Request",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is wrong with a message; never quotes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Malformed(pub(super) &'static str);

/// What a plain request hears before its connection ends: an answer that is none to any client (two lengths,
/// an error by RFC 9112 section 6.3) where the browser would ask again otherwise, and else nothing.
///
/// A browser asks once more, whatever the method, where a connection that had carried requests ends with
/// nothing: it takes it for an idle one that was closed meanwhile (Chromium's
/// `HttpNetworkTransaction::ShouldResendRequest`). That would be counted twice, wait twice for a host that
/// is not there, and take what was sent there to an origin twice.
pub(super) const fn last_words(would_ask_again: bool) -> &'static [u8] {
    if would_ask_again {
        b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nContent-Length: 1\r\n\r\n"
    } else {
        b""
    }
}

/// A reason with what an operator wants to know beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) reason: Reason,
    pub(super) detail: Cow<'static, str>,
}

impl Refusal {
    pub(super) fn new(reason: Reason, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            reason,
            detail: detail.into(),
        }
    }

    /// The whole response to a `CONNECT`; the connection ends with it.
    pub(super) fn response(&self) -> Vec<u8> {
        let reason = self.reason;
        let body = format!("refused: {reason}\n");
        format!(
            "HTTP/1.1 {}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\
             X-Chaser-Refused: {reason}\r\nConnection: close\r\n\r\n{body}",
            reason.status(),
            body.len(),
        )
        .into_bytes()
    }
}

impl From<Malformed> for Refusal {
    fn from(what: Malformed) -> Self {
        Self::new(Reason::Malformed, what.0)
    }
}

/// How often each reason was given.
#[derive(Debug, Default)]
pub struct Refusals([AtomicU64; Reason::ALL.len()]);

impl Refusals {
    pub(super) fn count(&self, reason: Reason) {
        self.0[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How often `reason` was given.
    #[must_use]
    pub fn of(&self, reason: Reason) -> u64 {
        self.0[reason as usize].load(Ordering::Relaxed)
    }

    /// Every reason with its count, those never given included.
    pub fn iter(&self) -> impl Iterator<Item = (Reason, u64)> + '_ {
        Reason::ALL
            .into_iter()
            .map(|reason| (reason, self.of(reason)))
    }

    /// All of them together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.iter().map(|(_, count)| count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_cell() {
        let refusals = Refusals::default();
        for (times, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, times);
            (0..times).for_each(|_| refusals.count(reason));
        }
        let counts: Vec<u64> = refusals.iter().map(|(_, count)| count).collect();
        assert_eq!(counts, (0..22).collect::<Vec<u64>>());
        assert_eq!(refusals.total(), 231);
    }

    #[test]
    fn a_refusal_says_how_long_it_is_and_that_it_is_the_last() {
        let refusal = Refusal::new(Reason::DeniedAddress, "loopback");
        let response = String::from_utf8(refusal.response()).unwrap();
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 403 Forbidden\r\n"));
        assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())));
        assert!(head.ends_with("\r\nConnection: close"));
        assert!(!response.contains("loopback"), "the page need not know");
    }
}
