//! From a name to the addresses that may be connected to.
//!
//! A name is resolved once per connection and the connection goes to exactly an address that was
//! judged: there is no second look-up that could answer differently (DNS rebinding).

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use hickory_resolver::{
    TokioResolver,
    config::{
        ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig,
        ServerOrderingStrategy,
    },
    net::{NetError, runtime::TokioRuntimeProvider},
    proto::rr::Name,
};
use tokio::time::timeout;
use tracing::warn;

use super::{
    authority::{Authority, Host},
    own::OwnAddresses,
    policy::{Ground, Policy, Verdict},
    refusal::{Reason, Refusal},
};

/// One try with one name server.
const QUERY_TIMEOUT: Duration = Duration::from_secs(3);
/// All tries together.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);

/// Resolves names for every instance of the host.
pub struct Resolver {
    /// None on a host without name servers: then only addresses can be reached.
    dns: Option<TokioResolver>,
    own: OwnAddresses,
}

impl Resolver {
    /// Asks these name servers, or those of `/etc/resolv.conf` when there are none.
    ///
    /// # Errors
    /// When the configuration cannot be used.
    pub fn new(nameservers: &[SocketAddr]) -> io::Result<Self> {
        Self::from(nameservers, None)
    }

    /// The same, from an address of this host.
    pub(super) fn from(nameservers: &[SocketAddr], source: Option<IpAddr>) -> io::Result<Self> {
        let provider = TokioRuntimeProvider::default();
        let builder = if nameservers.is_empty() {
            TokioResolver::builder(provider)
        } else {
            let servers = nameservers.iter().map(|address| server(*address, source));
            let servers = servers.collect();
            let config = ResolverConfig::from_name_servers(servers);
            Ok(TokioResolver::builder_with_config(config, provider))
        };
        let mut builder = match builder {
            Ok(builder) => builder,
            Err(error) => {
                warn!(%error, "no name servers: pages can reach no names");
                return Ok(Self {
                    dns: None,
                    own: OwnAddresses::default(),
                });
            }
        };
        let options = builder.options_mut();
        options.timeout = QUERY_TIMEOUT;
        options.attempts = 2;
        options.try_tcp_on_error = true;
        options.server_ordering_strategy = ServerOrderingStrategy::UserProvidedOrder;
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        // What the host calls things is not for pages.
        options.use_hosts_file = ResolveHosts::Never;
        Ok(Self {
            dns: Some(builder.build().map_err(io::Error::other)?),
            own: OwnAddresses::default(),
        })
    }

    /// The addresses that `authority` may be reached at from `source`; never none. Without a policy
    /// each may be.
    pub(super) async fn addresses(
        &self,
        authority: &Authority,
        policy: Option<&Policy>,
        source: Option<IpAddr>,
    ) -> Result<Vec<SocketAddr>, Refusal> {
        let found = match &authority.host {
            Host::Ip(ip) => vec![*ip],
            host if host.is_localhost() => {
                vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
            }
            Host::Name(name) => self.look_up(name).await?,
        };
        let port = authority.port;
        let permitted = match policy {
            Some(policy) => self.permitted(found, port, policy)?,
            None => found.into_iter().map(|ip| (ip, port).into()).collect(),
        };
        let reachable: Vec<_> = permitted
            .into_iter()
            .filter(|to| source.is_none_or(|from| from.is_ipv4() == to.is_ipv4()))
            .collect();
        if reachable.is_empty() {
            let detail = "no address of the egress address's family";
            return Err(Refusal::new(Reason::Unresolved, detail));
        }
        Ok(reachable)
    }

    /// Whether an upstream may be asked to connect to `to`: a name is resolved by it, where this
    /// host's addresses mean nothing.
    pub(super) fn may_be_handed_on(&self, to: &Authority, policy: &Policy) -> Result<(), Refusal> {
        match &to.host {
            Host::Ip(ip) => self.permitted(vec![*ip], to.port, policy).map(drop),
            host if host.is_localhost() => {
                let loopback = vec![Ipv4Addr::LOCALHOST.into()];
                self.permitted(loopback, to.port, policy).map(drop)
            }
            Host::Name(_) => match policy.of_port(to.port) {
                Verdict::Allowed => Ok(()),
                Verdict::Denied(why) => Err(Refusal::new(Reason::DeniedPort, why.as_str())),
            },
        }
    }

    /// Whether an address that was connected to before may still be.
    pub(super) fn still_permits(&self, address: SocketAddr, policy: &Policy) -> bool {
        self.permitted(vec![address.ip()], address.port(), policy)
            .is_ok()
    }

    fn permitted(
        &self,
        found: Vec<IpAddr>,
        port: u16,
        policy: &Policy,
    ) -> Result<Vec<SocketAddr>, Refusal> {
        let own = self.own.now().map_err(|error| {
            Refusal::new(
                Reason::DeniedAddress,
                format!("own addresses unknown: {error}"),
            )
        })?;
        let mut ground = None;
        let mut permitted = Vec::with_capacity(found.len());
        for ip in found {
            match policy.verdict(ip, port, &own) {
                Verdict::Allowed => permitted.push(SocketAddr::new(ip, port)),
                Verdict::Denied(why) => ground = Some(why),
            }
        }
        match ground {
            Some(why) if permitted.is_empty() => {
                let reason = match why {
                    Ground::MailPort | Ground::ConfiguredPort => Reason::DeniedPort,
                    Ground::Loopback
                    | Ground::Private
                    | Ground::LinkLocal
                    | Ground::Metadata
                    | Ground::SharedAddress
                    | Ground::Multicast
                    | Ground::Reserved
                    | Ground::Embedded
                    | Ground::OwnAddress
                    | Ground::Configured => Reason::DeniedAddress,
                };
                Err(Refusal::new(reason, why.as_str()))
            }
            _ => Ok(permitted),
        }
    }

    async fn look_up(&self, name: &str) -> Result<Vec<IpAddr>, Refusal> {
        let unresolved = |what: &'static str| Refusal::new(Reason::Unresolved, what);
        let Some(dns) = &self.dns else {
            return Err(unresolved("no name servers"));
        };
        let mut name = Name::from_ascii(name).map_err(|_bad| unresolved("not a name"))?;
        // Absolute: no search list, no other meaning on another host.
        name.set_fqdn(true);
        match timeout(LOOKUP_TIMEOUT, dns.lookup_ip(name)).await {
            Ok(Ok(found)) => Ok(found.iter().collect()),
            Ok(Err(NetError::Timeout)) | Err(_) => {
                Err(Refusal::new(Reason::ResolveTimeout, "no answer"))
            }
            Ok(Err(error)) if error.is_nx_domain() => Err(unresolved("no such name")),
            Ok(Err(error)) if error.is_no_records_found() => Err(unresolved("no address")),
            Ok(Err(_)) => Err(unresolved("the name servers failed")),
        }
    }
}

fn server(address: SocketAddr, source: Option<IpAddr>) -> NameServerConfig {
    // A server of the other family is asked from whatever the host has of it.
    let source = source.filter(|from| from.is_ipv4() == address.is_ipv4());
    let on_its_port = |mut connection: ConnectionConfig| {
        connection.port = address.port();
        connection.bind_addr = source.map(|from| SocketAddr::new(from, 0));
        connection
    };
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
    NameServerConfig::new(
        address.ip(),
        true,
        connections.map(on_its_port).into_iter().collect(),
    )
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").finish_non_exhaustive()
    }
}
