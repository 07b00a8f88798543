//! What a node is made of.

use std::path::PathBuf;

use tokio::sync::watch;

use super::{Config, HooksConfig, NoticeConfig, PoolConfig};
use crate::{
    host::monitor,
    instance,
    profile::Catalogue,
    relay::{client::Settings, launch::Launch},
    routes::Sources,
    runtime::DescriptorStore,
    session,
};

/// Everything that it is told.
#[derive(Debug, Clone)]
pub struct Parts {
    /// What must survive a reboot.
    pub state_dir: PathBuf,
    /// How the relay is found or started.
    pub launch: Launch,
    /// What the relay is told.
    pub settings: Settings,
    /// `[node]`.
    pub node: Config,
    /// `[host]`.
    pub host: monitor::Config,
    /// `[instance]`.
    pub instance: instance::Config,
    /// `[substrate]`.
    pub substrate: instance::substrate::android::Config,
    /// `[pool]`.
    pub pool: PoolConfig,
    /// What devices sessions can be.
    pub profiles: Catalogue,
    /// `[session]`.
    pub session: session::Config,
    /// Where the egress routes are written down.
    pub egress: Sources,
    /// Where the relay's settings have the names from that pages may not reach.
    pub denied_hosts: watch::Sender<String>,
    /// `[hooks]`.
    pub hooks: HooksConfig,
    /// `[notice]`.
    pub notice: NoticeConfig,
    /// Where listeners outlive this process and the relay.
    pub kept: DescriptorStore,
}
