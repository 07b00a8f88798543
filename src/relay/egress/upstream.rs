//! A route's upstream: a proxy that connects on our behalf.
//!
//! ```text
//!   resolve, connect ─▶ (TLS) ─┬─ CONNECT host:port ─▶ 2xx
//!                              └─ SOCKS5, login, name or address ─▶ succeeded
//! ```
//!
//! Every connection is asked for like this, those for `http://` too: what the upstream then carries it
//! does not read. Names go to it unresolved. What it answers is told apart by whom it blames: itself
//! ([`Reason::UpstreamRefused`] and its kin) or the target ([`Reason::ConnectFailed`] and its kin).

use std::{net::IpAddr, sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use rustls_pki_types::ServerName;
use secrecy::{ExposeSecret, SecretString};
use tokio::{sync::watch, time::timeout};
use tokio_rustls::TlsConnector;

use super::{
    account::Account,
    authority::{Authority, Host},
    head::Response,
    leg::Metered,
    outer::{Outer, connect},
    policy::Policy,
    refusal::{Reason, Refusal},
    resolver::Resolver,
    route::Route,
    shared::beyond,
    socks_words::{Bad, NO_LOGIN, SUCCEEDED, VERSION, answered, asking},
    source::{NoHead, Sink},
    tls,
};
use crate::{
    model::Beyond,
    relay::way::{Login, Scheme, Upstream},
};

/// From the connection to the upstream's word that it has connected to the target.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);
/// TLS alone.
const TLS_TIMEOUT: Duration = Duration::from_secs(10);
const USER_AND_PASSWORD: u8 = 2;

impl Route {
    /// A connection to `to` by way of `upstream`, which is this route's.
    pub(super) async fn reach(
        &self,
        (upstream, to): (&Upstream, &Authority),
        ways: (&Resolver, Option<&Policy>),
        account: Account,
        gate: watch::Receiver<bool>,
    ) -> Result<Outer, Refusal> {
        let mut outer = self.open(upstream, ways, account, gate).await?;
        let asked = async {
            match upstream.scheme {
                Scheme::Http | Scheme::Https => connect_to(&mut outer, upstream, to).await,
                Scheme::Socks5 => socks_to(&mut outer, upstream, to).await,
            }
        };
        let asked = timeout(HANDSHAKE_TIMEOUT, asked).await;
        asked.map_err(|_elapsed| silent())??;
        Ok(outer)
    }

    /// A connection to `upstream` itself, on which nothing was asked yet.
    pub(super) async fn open(
        &self,
        upstream: &Upstream,
        (resolver, policy): (&Resolver, Option<&Policy>),
        account: Account,
        gate: watch::Receiver<bool>,
    ) -> Result<Outer, Refusal> {
        let itself = proxy_of(upstream)?;
        let bounds = upstream.is_foreign.then_some(&*self.way.bounds);
        let bounds = bounds.unwrap_or_default();
        let mut each = bounds.iter();
        each.try_for_each(|one| one.hold_proxy(itself.name(), itself.port))
            .map_err(beyond)?;
        let mut addresses = resolver
            .addresses(&itself, policy, self.way.source)
            .await
            .map_err(unreachable)?;
        addresses.retain(|at| bounds.iter().all(|one| one.hold_proxy_address(at.ip())));
        if addresses.is_empty() {
            return Err(beyond(Beyond::Network));
        }
        let (stream, _address) = connect(&addresses, &self.way).await.map_err(unreachable)?;
        let stream = Metered::new(stream, account);
        if upstream.scheme != Scheme::Https {
            return Ok(Outer::bare(stream, gate));
        }
        let connector = self.connector(upstream).await?;
        let name = server_name(&itself.host)?;
        let inside = timeout(TLS_TIMEOUT, connector.connect(name, stream)).await;
        let inside = inside
            .map_err(|_elapsed| silent())?
            .map_err(|error| Refusal::new(Reason::UpstreamUnreachable, format!("TLS: {error}")))?;
        Ok(Outer::inside(inside, gate))
    }

    async fn connector(&self, upstream: &Upstream) -> Result<TlsConnector, Refusal> {
        let make = || async {
            let ca = upstream.ca.clone();
            let made = tokio::task::spawn_blocking(move || tls::client(&ca)).await;
            made.unwrap_or_else(|panic| Err(std::io::Error::other(panic)))
        };
        let made = self.tls.get_or_try_init(make).await;
        let made = made
            .map_err(|error| Refusal::new(Reason::UpstreamUnreachable, format!("TLS: {error}")))?;
        Ok(TlsConnector::from(Arc::clone(made)))
    }
}

fn proxy_of(upstream: &Upstream) -> Result<Authority, Refusal> {
    let text = match upstream.host.parse() {
        Ok(IpAddr::V6(v6)) => format!("[{v6}]"),
        Ok(IpAddr::V4(_)) | Err(_) => upstream.host.clone(),
    };
    let bad = |_bad| Refusal::new(Reason::NoRoute, "the upstream's host is no host");
    Authority::parse(&text, Some(upstream.port)).map_err(bad)
}

fn server_name(host: &Host) -> Result<ServerName<'static>, Refusal> {
    match host {
        Host::Ip(ip) => Ok(ServerName::from(*ip)),
        Host::Name(name) => ServerName::try_from(name.clone()).map_err(|_bad| {
            Refusal::new(
                Reason::UpstreamUnreachable,
                "no certificate can be for its name",
            )
        }),
    }
}

/// The same fact about the upstream instead of a target.
fn unreachable(refusal: Refusal) -> Refusal {
    use Reason::{ConnectFailed, ConnectTimeout, ResolveTimeout, Unresolved};
    let reason = if matches!(refusal.reason, ConnectTimeout | ResolveTimeout) {
        Reason::UpstreamTimeout
    } else if matches!(refusal.reason, ConnectFailed | Unresolved) {
        Reason::UpstreamUnreachable
    } else {
        refusal.reason
    };
    Refusal { reason, ..refusal }
}

fn silent() -> Refusal {
    Refusal::new(Reason::UpstreamTimeout, "the upstream did not answer")
}

fn broken() -> Refusal {
    Refusal::new(
        Reason::UpstreamUnreachable,
        "the upstream broke the connection",
    )
}

fn strange(what: &'static str) -> Refusal {
    Refusal::new(Reason::UpstreamRefused, what)
}

impl From<NoHead> for Refusal {
    fn from(none: NoHead) -> Self {
        match none {
            NoHead::Gone => broken(),
            NoHead::Refused(refusal) => Self::new(Reason::UpstreamRefused, refusal.detail),
        }
    }
}

/// `CONNECT` (RFC 9110 section 9.3.6).
async fn connect_to(outer: &mut Outer, upstream: &Upstream, to: &Authority) -> Result<(), Refusal> {
    let mut head = format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n");
    if let Some(login) = &upstream.login {
        head += "Proxy-Authorization: Basic ";
        STANDARD.encode_string(basic(login).expose_secret(), &mut head);
        head += "\r\n";
    }
    head += "\r\n";
    outer
        .up
        .put(head.as_bytes())
        .await
        .map_err(|_gone| broken())?;
    let answer = outer.down.head().await?;
    let answer = Response::parse(&answer).map_err(|what| strange(what.0))?;
    // What a 2xx says of a body is void: the tunnel begins after its head.
    match answer.status {
        200..=299 => Ok(()),
        status => Err(refused(status)),
    }
}

fn basic(login: &Login) -> SecretString {
    let (user, password) = (&login.username, &login.password);
    format!("{}:{}", user.expose_secret(), password.expose_secret()).into()
}

/// Whom a status that is not 2xx blames.
fn refused(status: u16) -> Refusal {
    let reason = match status {
        401 | 407 => Reason::UpstreamAuth,
        // What proxies say of targets that they cannot resolve or connect to.
        404 | 502 | 503 => Reason::ConnectFailed,
        504 => Reason::ConnectTimeout,
        _ => Reason::UpstreamRefused,
    };
    Refusal::new(reason, format!("the upstream answered {status}"))
}

/// SOCKS5 with a login where there is one (RFCs 1928 and 1929).
async fn socks_to(outer: &mut Outer, upstream: &Upstream, to: &Authority) -> Result<(), Refusal> {
    let greeting: &[u8] = match upstream.login {
        Some(_) => &[VERSION, 2, NO_LOGIN, USER_AND_PASSWORD],
        None => &[VERSION, 1, NO_LOGIN],
    };
    outer.up.put(greeting).await.map_err(|_gone| broken())?;
    match (outer.down.exactly().await?, &upstream.login) {
        ([VERSION, NO_LOGIN], _) => {}
        ([VERSION, USER_AND_PASSWORD], Some(login)) => log_in(outer, login).await?,
        ([VERSION, _], _) => {
            let detail = "the upstream wants a login that we have not";
            return Err(Refusal::new(Reason::UpstreamAuth, detail));
        }
        _ => return Err(strange("the upstream does not speak SOCKS5")),
    }
    let asked = outer.up.put(&asking(to)).await;
    asked.map_err(|_gone| broken())?;
    let answer = outer.down.words(answered).await.map_err(|bad| {
        strange(match bad {
            Bad::Kind => "the upstream is bound to an address of no known type",
            Bad::Methods | Bad::Command | Bad::Words(_) => "the upstream does not speak SOCKS5",
        })
    })?;
    match answer {
        Some(SUCCEEDED) => Ok(()),
        Some(code) => Err(failed(code)),
        None => Err(broken()),
    }
}

async fn log_in(outer: &mut Outer, login: &Login) -> Result<(), Refusal> {
    let refused = |detail| Refusal::new(Reason::UpstreamAuth, detail);
    let mut words = vec![1];
    for secret in [&login.username, &login.password] {
        let text = secret.expose_secret().as_bytes();
        let length = u8::try_from(text.len());
        let length = length.map_err(|_long| refused("SOCKS5 has no room for such a login"))?;
        words.push(length);
        words.extend_from_slice(text);
    }
    outer.up.put(&words).await.map_err(|_gone| broken())?;
    match outer.down.exactly().await? {
        [_, 0] => Ok(()),
        [_, _] => Err(refused("the upstream refused the login")),
    }
}

/// Whom a SOCKS5 code blames.
fn failed(code: u8) -> Refusal {
    let reason = match code {
        // Network or host unreachable, connection refused.
        3..=5 => Reason::ConnectFailed,
        6 => Reason::ConnectTimeout,
        _ => Reason::UpstreamRefused,
    };
    Refusal::new(reason, format!("the upstream answered SOCKS5 code {code}"))
}
