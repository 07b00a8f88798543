//! A look at a way out, on nobody's behalf and on nobody's bill: does it work, and where does it end?

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

use super::{
    authority::Authority,
    head::Response,
    outer::Outer,
    refusal::{Reason, Refusal},
    resolver::Resolver,
    route::Route,
    source::{NoHead, Sink},
};
use crate::relay::{Way, meter::Meter};

/// All of it together.
const LIMIT: Duration = Duration::from_secs(20);
/// An answer is an address, not a book.
const LONGEST: usize = 4096;
const HTTP_PORT: u16 = 80;

/// What a look came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probed {
    /// How long it took.
    pub took: Duration,
    /// The status of the answer; 0 where nothing was asked for.
    pub status: u16,
    /// Its beginning.
    pub body: Vec<u8>,
}

/// Asks for `url` (`http://…`) by way of `way`; for an empty one it is enough to come to the upstream.
/// The operator's own: no policy is asked.
///
/// # Errors
/// The reason and what an operator wants to know beside it.
pub async fn probe(
    way: Way,
    url: &str,
    resolver: &Arc<Resolver>,
) -> Result<Probed, (Reason, String)> {
    let began = Instant::now();
    let late = Refusal::new(Reason::ResponseTimeout, "no answer");
    let looked = timeout(LIMIT, look(way, url, resolver)).await;
    let (status, body) = looked
        .unwrap_or(Err(late))
        .map_err(|refusal| (refusal.reason, refusal.detail.into_owned()))?;
    Ok(Probed {
        took: began.elapsed(),
        status,
        body,
    })
}

async fn look(way: Way, url: &str, resolver: &Arc<Resolver>) -> Result<(u16, Vec<u8>), Refusal> {
    let route = Route::new(way);
    let meter = Arc::new(Meter::detached());
    let (_opens, gate) = watch::channel(true);
    if url.is_empty() {
        if let Some(upstream) = &route.way.upstream {
            let account = route.account(&meter, None)?;
            drop(
                route
                    .open(upstream, (resolver, None), account, gate)
                    .await?,
            );
        }
        return Ok((0, Vec::new()));
    }
    let (to, host, path) = parts(url)?;
    let mut outer = match &route.way.upstream {
        Some(upstream) => {
            let ways = (&**resolver, None);
            let account = route.account(&meter, None)?;
            route.reach((upstream, &to), ways, account, gate).await?
        }
        None => {
            let resolver = route.resolver(resolver)?;
            let addresses = resolver.addresses(&to, None, route.way.source).await?;
            let account = route.account(&meter, None)?;
            let dialled = Outer::dial(&addresses, &route.way, account, gate).await?;
            dialled.0
        }
    };
    let asked = format!("GET {path} HTTP/1.0\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let broken = || Refusal::new(Reason::BadResponse, "closed without a response");
    outer
        .up
        .put(asked.as_bytes())
        .await
        .map_err(|_gone| broken())?;
    let head = outer.down.head().await.map_err(|none| match none {
        NoHead::Gone => broken(),
        NoHead::Refused(refusal) => Refusal::new(Reason::BadResponse, refusal.detail),
    })?;
    let response =
        Response::parse(&head).map_err(|what| Refusal::new(Reason::BadResponse, what.0))?;
    while outer.down.buffered().len() < LONGEST {
        match outer.down.fill().await {
            Ok(1..) => {}
            Ok(0) | Err(_) => break,
        }
    }
    let body = outer.down.buffered();
    Ok((response.status, body[..body.len().min(LONGEST)].to_vec()))
}

/// Whom to ask, under which name, and for what.
fn parts(url: &str) -> Result<(Authority, &str, &str), Refusal> {
    let rest = url.strip_prefix("http://");
    let rest = rest.ok_or_else(|| Refusal::new(Reason::Malformed, "not an http:// URL"))?;
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let fine = path.bytes().all(|byte| byte.is_ascii_graphic());
    if !fine {
        return Err(Refusal::new(
            Reason::Malformed,
            "a character that no URL has",
        ));
    }
    let to = Authority::parse(host, Some(HTTP_PORT))?;
    Ok((to, host, if path.is_empty() { "/" } else { path }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        let read = |url| parts(url).map(|(to, host, path)| format!("{to} {host} {path}"));
        assert_eq!(
            read("http://a.example").unwrap(),
            "a.example:80 a.example /"
        );
        assert_eq!(
            read("http://[::1]:81/ip?x").unwrap(),
            "[::1]:81 [::1]:81 /ip?x"
        );
        for wrong in ["https://a/", "http://", "http://a/ b", "http://a/\r\nX: y"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
