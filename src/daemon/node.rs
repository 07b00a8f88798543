//! The node role: the host's agent, composed.

use std::{io, net::SocketAddr, path::PathBuf, time::Duration};

use crate::{
    api::grpc::{self, BindFailed, Listeners},
    daemon::config::Config,
    model::{Class, Classify},
    node::{self, Node, Parts},
    profile::Catalogue,
    relay::{
        client::{RelayError, Settings},
        launch::{self, Launch},
    },
    runtime::Tasks,
};

/// A running node.
#[derive(Debug)]
pub struct NodeRole {
    /// What everything asks.
    pub node: Node,
    launch: Launch,
    settings: Settings,
}

/// Why the node could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartFailed {
    /// A directory.
    #[error("{} cannot be used: {source}", path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A socket.
    #[error(transparent)]
    Bind(#[from] BindFailed),
    /// The node itself.
    #[error(transparent)]
    Node(#[from] node::StartError),
    /// The schema that was compiled in.
    #[error("gRPC reflection cannot be built: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

impl Classify for StartFailed {
    fn class(&self) -> Class {
        match self {
            Self::Directory { .. } | Self::Bind(_) => Class::Invalid,
            Self::Node(error) => error.class(),
            Self::Reflection(_) => Class::Internal,
        }
    }
}

/// Builds the node in order and serves its gRPC.
///
/// # Errors
/// [`StartFailed`]; nothing serves then.
pub async fn start(
    config: &Config,
    profiles: Catalogue,
    tasks: &Tasks,
) -> Result<NodeRole, StartFailed> {
    for path in [&config.state_dir, &config.runtime_dir] {
        tokio::fs::create_dir_all(path)
            .await
            .map_err(|source| StartFailed::Directory {
                path: path.clone(),
                source,
            })?;
    }
    let binary = std::env::current_exe().map_err(|source| StartFailed::Directory {
        path: PathBuf::from("/proc/self/exe"),
        source,
    })?;
    let listeners = Listeners::bind(config.node_socket(), config.node.listen).await?;
    let launch = Launch {
        paths: config.paths(),
        binary,
        user: config.cdp.user.clone(),
        cdp_listen: config.cdp.listen,
    };
    let settings = Settings {
        egress_allow: config.egress.allow.clone(),
        egress_endpoints: Vec::new(),
        nameservers: config.egress.nameservers.clone(),
        hold_timeout: config.cdp.hold_timeout,
        max_message_bytes: config.cdp.max_message_bytes,
        max_clients_per_session: config.cdp.max_clients_per_session,
        browser_silence: config.instance.hang_timeout,
    };
    let parts = Parts {
        state_dir: config.state_dir.clone(),
        launch: launch.clone(),
        settings: settings.clone(),
        node: config.node.clone(),
        host: config.host.clone(),
        instance: config.instance.clone(),
        pool: config.pool.clone(),
        profiles,
        session: config.session.clone(),
        routes: config.egress.clone(),
    };
    let node = node::start(parts, tasks).await?;
    grpc::serve(listeners, node.clone(), tasks).await?;
    Ok(NodeRole {
        node,
        launch,
        settings,
    })
}

impl NodeRole {
    /// Lets pages reach these endpoints of this process although they are the host's own, until
    /// another call says otherwise.
    ///
    /// # Errors
    /// What the relay answers.
    pub(super) async fn let_pages_reach(
        &self,
        egress_endpoints: Vec<SocketAddr>,
    ) -> Result<(), RelayError> {
        let settings = Settings {
            egress_endpoints,
            ..self.settings.clone()
        };
        self.node.tell_relay(&settings).await
    }

    /// Ends every session and takes everything down, then the relay.
    ///
    /// # Errors
    /// When the relay cannot be stopped.
    pub async fn stop(&self, limit: Duration) -> io::Result<()> {
        self.node.end_all(limit).await;
        launch::stop(&self.launch.paths).await
    }
}
