//! The API role: the control plane and its listeners, over a node's gRPC socket.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use tokio::{net::TcpListener, time::Instant};

use super::{certificates::Certificates, config::Config, operator};
use crate::{
    api::{admin, rest},
    control::{
        ApiKey, Control, Node, NodeError, Parts, Store, StoreError, Tokens, Workspace, follow,
    },
    model::{Class, Classify},
    profile::Catalogue,
    runtime::Tasks,
};

/// How long a node may take to say where its gateway listens.
const GATEWAY_LIMIT: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(50);

/// Sockets that were bound before anything was built.
#[derive(Debug)]
pub struct Listeners {
    /// The public API.
    pub api: TcpListener,
    /// Probes and metrics.
    pub admin: TcpListener,
}

/// A running API.
#[derive(Debug)]
pub struct ApiRole {
    /// The control plane.
    pub control: Control,
    /// The key for the operator's tools, where it is known in the clear.
    pub operator: Option<ApiKey>,
}

/// Why the API could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApiFailed {
    /// A port.
    #[error("cannot listen on {address} ({key}); free the port or choose another")]
    Listen {
        /// The key of the configuration.
        key: &'static str,
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The key that sessions' tokens are derived with.
    #[error("{} cannot be used for the tokens of sessions: {source}", path.display())]
    TokenKey {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The records.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The operator's key.
    #[error(transparent)]
    Operator(#[from] operator::OperatorKeyError),
    /// The node.
    #[error(transparent)]
    Node(#[from] NodeError),
}

impl Classify for ApiFailed {
    fn class(&self) -> Class {
        match self {
            Self::Listen { .. } | Self::TokenKey { .. } | Self::Operator(_) => Class::Invalid,
            Self::Store(error) => error.class(),
            Self::Node(error) => error.class(),
        }
    }
}

impl Listeners {
    /// Binds both, so that a taken port is found before anything is started.
    ///
    /// # Errors
    /// [`ApiFailed::Listen`].
    pub async fn bind(config: &Config) -> Result<Self, ApiFailed> {
        let api = listen("api.listen", config.api.listen).await?;
        let admin = listen("admin.listen", config.admin.listen).await?;
        Ok(Self { api, admin })
    }
}

pub(super) async fn listen(
    key: &'static str,
    address: SocketAddr,
) -> Result<TcpListener, ApiFailed> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|source| ApiFailed::Listen {
        key,
        address,
        source,
    })
}

/// Builds the control plane and serves it. `front` holds the listeners, which stop first; `tasks` what
/// goes on until the node has stopped. `profiles` may be ordered; `own` are keys of this
/// process alone.
///
/// # Errors
/// [`ApiFailed`]; nothing serves then.
pub async fn start(
    (config, certificates): (&Config, &Certificates),
    listeners: Listeners,
    (profiles, own): (&Catalogue, Vec<(ApiKey, Workspace)>),
    front: &Tasks,
    tasks: &Tasks,
) -> Result<ApiRole, ApiFailed> {
    let store = Store::open(&config.control_db())?;
    let configured = &config.api.keys;
    let operator = operator::ensure(&store, configured, &config.operator_key()).await?;
    let given = configured.iter().cloned();
    let node = Node::new(config.node_socket())?;
    let gateway = gateway(config, &node).await?;
    let tokens = config.cdp.session_tokens.then(|| {
        let path = config.state_dir.join("cdp-token.key");
        Tokens::load(&path).map_err(|source| ApiFailed::TokenKey { path, source })
    });
    let tokens = tokens.transpose()?;
    let parts = Parts {
        tokens: tokens.clone(),
        store,
        node,
        config: config.api.clone(),
        idle_timeout: config.session.idle_timeout,
        profiles: profiles.names(),
        keys: given
            .map(|key| (key, Workspace::standard()))
            .chain(own)
            .collect(),
    };
    let control = Control::new(parts, tasks);
    follow::start(&control, tasks);
    let display = rest::Display {
        cdp_base: cdp_base(config, gateway),
        count_cdp_bytes: config.api.count_cdp_bytes,
        tokens,
    };
    let api = (listeners.api, certificates.api.clone());
    rest::serve(api, control.clone(), display, front);
    let node = control.node().clone();
    let whole = (node, Some(control.clone()));
    admin::serve(listeners.admin, whole, certificates.shown(), front);
    Ok(ApiRole { control, operator })
}

/// Where the gateway listens: as configured, or where the kernel put it.
async fn gateway(config: &Config, node: &Node) -> Result<SocketAddr, ApiFailed> {
    let configured = config.cdp.listen;
    let until = Instant::now() + GATEWAY_LIMIT;
    loop {
        if configured.port() != 0 {
            return Ok(configured);
        }
        match node.status().await.map(|node| node.cdp_address.parse()) {
            Ok(Ok(address)) => return Ok(address),
            Err(error) if Instant::now() > until => return Err(error.into()),
            Ok(Err(_not_yet)) if Instant::now() > until => {
                return Err(NodeError::Silent(GATEWAY_LIMIT).into());
            }
            Ok(Err(_)) | Err(_) => tokio::time::sleep(LOOK).await,
        }
    }
}

/// What a `cdp_url` starts with.
fn cdp_base(config: &Config, listen: SocketAddr) -> String {
    if config.cdp.public_url.is_empty() {
        let scheme = if config.tls.is_on() { "wss" } else { "ws" };
        return format!("{scheme}://{}", reachable(listen));
    }
    config.cdp.public_url.trim_end_matches('/').to_owned()
}

/// An address that one can connect to where `listen` is "all of them".
pub(super) const fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cdp_url_is_the_public_one_or_one_that_can_be_connected_to() {
        let base = |public_url: &str, listen: &str| {
            let mut config = Config::default();
            public_url.clone_into(&mut config.cdp.public_url);
            cdp_base(&config, listen.parse().unwrap())
        };
        assert_eq!(base("", "127.0.0.1:7701"), "ws://127.0.0.1:7701");
        assert_eq!(base("", "0.0.0.0:7701"), "ws://127.0.0.1:7701");
        assert_eq!(base("", "[::]:1"), "ws://[::1]:1");
        assert_eq!(base("wss://cdp.example/", "0.0.0.0:1"), "wss://cdp.example");
    }
}
