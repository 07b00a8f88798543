//! Handing sockets to the relay, and having duplicates of its own from it.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use super::{RelayClient, RelayError};
use crate::{
    model::InstanceId,
    relay::handover::{self, Packet},
};

impl RelayClient {
    /// Hands over what was made inside the instance's namespace; `pidfd` is the container's init.
    ///
    /// # Errors
    /// [`RelayError::Sockets`] with the relay's refusal or the socket's error.
    pub async fn send_instance(
        &self,
        instance: InstanceId,
        pidfd: OwnedFd,
        egress: OwnedFd,
        dial: Vec<OwnedFd>,
    ) -> Result<(), RelayError> {
        let fds = [pidfd, egress].into_iter().chain(dial).collect();
        self.exchange(Packet::Instance(instance), fds).await?;
        Ok(())
    }

    /// Hands over more sockets toward DevTools.
    ///
    /// # Errors
    /// [`RelayError::Sockets`] with the relay's refusal or the socket's error.
    pub async fn refill(&self, instance: InstanceId, dial: Vec<OwnedFd>) -> Result<(), RelayError> {
        self.exchange(Packet::Refill(instance), dial).await?;
        Ok(())
    }

    /// A duplicate of the gateway's listener: kept so that clients queue while a relay restarts.
    ///
    /// # Errors
    /// [`RelayError::Sockets`] with the relay's refusal or the socket's error.
    pub async fn gateway_listener(&self) -> Result<OwnedFd, RelayError> {
        let mut fds = self.exchange(Packet::Gateway, Vec::new()).await?;
        fds.pop()
            .ok_or_else(|| RelayError::Malformed("no listener came".to_owned()))
    }

    /// A duplicate of the egress listener of an attached instance: kept for the same reason.
    ///
    /// # Errors
    /// [`RelayError::Sockets`] with the relay's refusal or the socket's error; a relay that is too old
    /// for the question just hangs up.
    pub async fn egress_listener(&self, instance: InstanceId) -> Result<OwnedFd, RelayError> {
        let mut fds = self.exchange(Packet::Egress(instance), Vec::new()).await?;
        fds.pop()
            .ok_or_else(|| RelayError::Malformed("no listener came".to_owned()))
    }

    async fn exchange(
        &self,
        packet: Packet,
        fds: Vec<OwnedFd>,
    ) -> Result<Vec<OwnedFd>, RelayError> {
        let path = self.fd_socket.clone();
        let done = tokio::task::spawn_blocking(move || {
            let borrowed: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
            handover::exchange(&path, &packet, &borrowed)
        });
        done.await
            .unwrap_or_else(|panic| Err(io::Error::other(panic)))
            .map_err(RelayError::Sockets)
    }
}
