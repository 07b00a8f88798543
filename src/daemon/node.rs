//! The node: the host's agent, composed for whichever role runs it.

use std::{io, net::SocketAddr, path::PathBuf, time::Duration};

use tokio::sync::watch;

use crate::{
    api::grpc::{self, BindFailed, Door, Listeners, Opener},
    daemon::{certificates::Certificates, config::Config},
    journal::{self, StateLock},
    model::{Class, Classify},
    node::{self, Node, Parts},
    profile::Catalogue,
    relay::{
        KeptBy,
        client::{RelayError, Settings},
        launch::{self, Launch},
    },
    routes::Sources,
    runtime::{DescriptorStore, Tasks},
    tls::Listener,
};

/// A running node.
#[derive(Debug)]
pub struct NodeRole {
    /// What everything asks.
    pub node: Node,
    launch: Launch,
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

/// A node on its way: its sockets answer already.
#[derive(Debug)]
pub struct Starting {
    parts: Parts,
    lock: StateLock,
    opener: Opener,
}

/// Takes the state directory, binds the node's sockets and answers on them that it is starting.
///
/// # Errors
/// [`StartFailed`]: another agent has the directory or the sockets; nothing serves then.
pub async fn begin(
    config: &Config,
    profiles: Catalogue,
    certificates: &Certificates,
    tasks: &Tasks,
) -> Result<Starting, StartFailed> {
    let lock = StateLock::take(&config.state_dir).map_err(node::StartError::from)?;
    let directory = |path: PathBuf| move |source| StartFailed::Directory { path, source };
    tokio::fs::create_dir_all(&config.runtime_dir)
        .await
        .map_err(directory(config.runtime_dir.clone()))?;
    let binary = std::env::current_exe().map_err(directory("/proc/self/exe".into()))?;
    let listeners = Listeners::bind(
        (config.node_socket(), &config.node.socket_group),
        config.node.listen,
    )
    .await?;
    let node_id = journal::node_of(&config.state_dir).map_err(node::StartError::from)?;
    let (opener, door) = Door::shut(node_id);
    grpc::serve(listeners, door, certificates.node.clone(), tasks)?;
    let denied = config.egress.denied_hosts();
    let denied_hosts = watch::Sender::new(denied.map_err(node::StartError::from)?);
    let parts = Parts {
        state_dir: config.state_dir.clone(),
        launch: Launch {
            paths: config.paths(),
            binary,
            user: config.cdp.user.clone(),
            cdp_listen: config.cdp.listen,
            kept_by: config.cdp.relay,
        },
        settings: Settings {
            egress_allow: config.egress.allow.clone(),
            egress_deny: config.egress.deny.clone(),
            egress_deny_ports: config.egress.deny_ports.clone(),
            egress_deny_hosts: denied_hosts.subscribe(),
            top_hosts: config.egress.top_hosts,
            egress_endpoints: Vec::new(),
            nameservers: config.egress.nameservers.clone(),
            hold_timeout: config.cdp.hold_timeout,
            max_message_bytes: config.cdp.max_message_bytes,
            max_clients_per_session: config.cdp.max_clients_per_session,
            max_connections_per_source: config.cdp.max_connections_per_source,
            wrong_guesses_per_minute: config.cdp.wrong_guesses_per_minute,
            origins: config.cdp.origins.clone(),
            browser_silence: config.instance.hang_timeout,
            identity: certificates.shown(),
            plaintext_beyond_host: config.tls.insecure.contains(&Listener::Cdp),
            expected: Vec::new(),
            collector: config.log.collector(),
        },
        node: config.node.clone(),
        host: config.host.clone(),
        instance: config.instance.clone(),
        substrate: config.substrate.clone(),
        pool: config.pool.clone(),
        profiles,
        session: config.session.clone(),
        egress: Sources {
            config: config.egress.clone(),
            added: config.state_dir.join("routes.toml"),
        },
        denied_hosts,
        hooks: config.hooks.clone(),
        notice: config.notice.clone(),
        kept: DescriptorStore::default(),
    };
    Ok(Starting {
        parts,
        lock,
        opener,
    })
}

impl Starting {
    /// The same, with its sessions' listeners kept there too.
    #[must_use]
    pub fn keeping(mut self, kept: DescriptorStore) -> Self {
        self.parts.kept = kept;
        self
    }

    /// Builds the node and lets callers in to it.
    ///
    /// # Errors
    /// [`StartFailed`]; callers go on hearing that it starts until the tasks stop.
    pub async fn finish(self, tasks: &Tasks) -> Result<NodeRole, StartFailed> {
        let launch = self.parts.launch.clone();
        let node = node::start(self.parts, self.lock, tasks).await?;
        self.opener.open(node.clone());
        Ok(NodeRole { node, launch })
    }
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
        self.node.tell_relay(egress_endpoints).await
    }

    /// Tells the relay what its gateway shows from now on.
    ///
    /// # Errors
    /// What the relay answers.
    pub(super) async fn show_again(&self) -> Result<(), RelayError> {
        self.node.tell_relay(Vec::new()).await
    }

    /// Ends every session and takes everything down, then the relay where it is ours.
    ///
    /// # Errors
    /// When the relay cannot be stopped.
    pub async fn stop(&self, limit: Duration) -> io::Result<()> {
        self.node.end_all(limit).await;
        match self.launch.kept_by {
            KeptBy::Agent => launch::stop(&self.launch.paths).await,
            KeptBy::Service => Ok(()),
        }
    }
}
