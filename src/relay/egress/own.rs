//! The host's own addresses: a page that could reach them could reach the host.

use std::{io, net::IpAddr, sync::Arc, time::Duration};

use nix::ifaddrs::getifaddrs;
use parking_lot::Mutex;
use tokio::time::Instant;

/// Addresses come and go with interfaces; this old is young enough.
const MAX_AGE: Duration = Duration::from_secs(2);

/// A snapshot of the host's addresses, taken again on use when it is old.
#[derive(Debug, Default)]
pub(super) struct OwnAddresses {
    /// Guarded by a plain lock: held for a comparison, and for one system call every few seconds.
    snapshot: Mutex<Option<(Instant, Arc<[IpAddr]>)>>,
}

impl OwnAddresses {
    /// The addresses.
    ///
    /// # Errors
    /// When the kernel does not tell: then nothing can be allowed.
    pub(super) fn now(&self) -> io::Result<Arc<[IpAddr]>> {
        let mut snapshot = self.snapshot.lock();
        if let Some((taken, addresses)) = &*snapshot
            && taken.elapsed() < MAX_AGE
        {
            return Ok(Arc::clone(addresses));
        }
        let addresses: Arc<[IpAddr]> = getifaddrs()?
            .filter_map(|interface| interface.address)
            .filter_map(|address| {
                let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
                v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
            })
            .collect();
        *snapshot = Some((Instant::now(), Arc::clone(&addresses)));
        Ok(addresses)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn the_host_has_at_least_its_loopback_address() {
        let own = OwnAddresses::default().now().unwrap();
        assert!(own.contains(&IpAddr::V4(Ipv4Addr::LOCALHOST)), "{own:?}");
    }
}
