//! The certificates of one role's listeners, and their reload.

use sd_notify::NotifyState;
use time::format_description::well_known::Rfc3339;
use tokio::sync::watch;
use tracing::{info, warn};

use super::{
    config::{self, Sources},
    node::NodeRole,
};
use crate::{
    runtime::{systemd::notify, wall_now},
    tls::{Allowed, Config, Identity, Protocol, SOON, Server, Shown, TlsError},
};

/// What this role's listeners show, and whom they let in. Clones share it, and its reloads.
#[derive(Debug, Clone)]
pub struct Certificates {
    /// REST.
    pub(super) api: Option<Server>,
    /// gRPC over TCP.
    pub(super) node: Option<Server>,
    /// For the relay's gateway.
    shown: watch::Sender<Option<Identity>>,
}

impl Certificates {
    /// Reads the files.
    ///
    /// # Errors
    /// [`TlsError`] names the file and what is wrong with it.
    pub fn load(config: &Config) -> Result<Self, TlsError> {
        let (mut api, mut node, mut shown) = (None, None, None);
        if config.is_on() {
            let identity = Identity::load(&config.cert, &config.key)?;
            api = Some(Server::open(&identity, Protocol::Http1)?);
            if !config.client_ca.as_os_str().is_empty() {
                let clients = (&*config.client_ca, Allowed::new(&config.client_names));
                node = Some(Server::mutual(&identity, clients, Protocol::Http2)?);
            }
            let until = identity.expires_at().format(&Rfc3339).unwrap_or_default();
            if identity.expires_at() - wall_now() < SOON {
                warn!(until, "the certificate expires soon: renew it, then reload");
            }
            info!(until, cert = %config.cert.display(), "TLS is on");
            shown = Some(identity);
        }
        Ok(Self {
            api,
            node,
            shown: watch::Sender::new(shown),
        })
    }

    /// What the gateway should show, now and after each reload.
    pub(super) fn shown(&self) -> Shown {
        self.shown.subscribe()
    }

    /// Reads the files again, as `config` now says. What is wrong is logged, and changes nothing.
    fn reload(&self, config: &Config) {
        let fresh = match Self::load(config) {
            Ok(fresh) => fresh,
            Err(error) => {
                return warn!(%error, "certificates are not reloaded: those of before stay");
            }
        };
        for (now, next) in [(&self.api, &fresh.api), (&self.node, &fresh.node)] {
            match (now, next) {
                (Some(now), Some(next)) => now.become_like(next),
                (None, None) => {}
                (Some(_), None) | (None, Some(_)) => {
                    warn!("TLS is switched on and off by a restart only");
                    return;
                }
            }
        }
        self.shown.send_replace(fresh.shown.borrow().clone());
        info!("certificates are reloaded: new connections meet them");
    }
}

impl Certificates {
    /// Reads what `sources` say now, then the files.
    pub(super) fn reload_from(&self, sources: &Sources) {
        match config::Config::load(sources) {
            Ok(config) => self.reload(&config.tls),
            Err(error) => warn!(%error, "nothing is reloaded: the configuration is refused"),
        }
    }

    /// The same where a node runs: its relay is told.
    pub(super) async fn reload_for_node(&self, role: &NodeRole, sources: &Sources) {
        self.reload_from(sources);
        if let Err(error) = role.show_again().await {
            warn!(%error, "the relay does not know the certificate yet: it is told when it is back");
        }
    }
}

/// Tells systemd of a reload around `work`.
pub(super) async fn reloading(status: &str, work: impl Future<Output = ()>) {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(_no_clock) => notify(&[NotifyState::Reloading]),
    }
    work.await;
    notify(&[NotifyState::Ready, NotifyState::Status(status)]);
}
