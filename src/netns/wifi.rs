//! The interfaces of a namespace: `lo`, and a veth pair that makes a browser inside think it is online.
//!
//! `wlan0` has an address of a home network and no route beyond it; its peer `ap0` is in the same
//! namespace. Everything here may be there already.

use std::{future::Future, io, net::Ipv4Addr, os::unix::fs::MetadataExt};

use nix::{errno::Errno, net::if_::if_nametoindex};
use rtnetlink::{Handle, LinkUnspec, LinkVeth, new_connection};
use tokio::runtime;

use super::{Browser, NetnsError};

const STATION: &str = "wlan0";
const PEER: &str = "ap0";
const PREFIX: u8 = 24;

/// Sets the interfaces of this thread's namespace up.
pub(super) fn set_up(browser: Browser) -> Result<(), NetnsError> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .map_err(|error| NetnsError::io("start a runtime", error))?;
    runtime.block_on(async {
        let (connection, handle, _messages) =
            new_connection().map_err(|error| NetnsError::io("open netlink", error))?;
        tokio::select! {
            biased;
            done = interfaces(handle, browser) => done,
            () = connection => {
                let source = io::Error::from(io::ErrorKind::ConnectionAborted);
                Err(NetnsError::io("use netlink", source))
            }
        }
    })
}

async fn interfaces(handle: Handle, browser: Browser) -> Result<(), NetnsError> {
    raise(&handle, "set lo up", index("lo")?).await?;
    match browser {
        Browser::Inside => wlan(&handle).await,
        // It is online by its tap, and whoever made that sets it up.
        Browser::BehindTap => Ok(()),
    }
}

async fn wlan(handle: &Handle) -> Result<(), NetnsError> {
    let address = home_address().map_err(|error| NetnsError::io("read the namespace", error))?;
    let links = handle.link();
    let pair = LinkVeth::new(STATION, PEER).build();
    settled("make wlan0", links.add(pair).execute()).await?;
    let station = index(STATION)?;
    let addresses = handle.address();
    let add = addresses.add(station, address.into(), PREFIX).execute();
    settled("give wlan0 its address", add).await?;
    raise(handle, "set ap0 up", index(PEER)?).await?;
    raise(handle, "set wlan0 up", station).await
}

async fn raise(handle: &Handle, doing: &'static str, link: u32) -> Result<(), NetnsError> {
    let up = LinkUnspec::new_with_index(link).up();
    settled(doing, handle.link().set(up.build()).execute()).await
}

fn index(name: &str) -> Result<u32, NetnsError> {
    if_nametoindex(name).map_err(|errno| NetnsError::io("find an interface", errno.into()))
}

/// Waits for a change; that it was made before is as good.
async fn settled(
    doing: &'static str,
    change: impl Future<Output = Result<(), rtnetlink::Error>>,
) -> Result<(), NetnsError> {
    let error = match change.await {
        Ok(()) => return Ok(()),
        Err(rtnetlink::Error::NetlinkError(message)) => message.to_io(),
        Err(other) => io::Error::other(other),
    };
    if error.raw_os_error() == Some(Errno::EEXIST as i32) {
        return Ok(());
    }
    Err(NetnsError::io(doing, error))
}

/// The same address each time for one namespace, so that furnishing it twice changes nothing, and
/// rarely the same for two.
fn home_address() -> io::Result<Ipv4Addr> {
    let namespace = std::fs::metadata("/proc/thread-self/ns/net")?.ino();
    Ok(address_of(namespace))
}

fn address_of(namespace: u64) -> Ipv4Addr {
    // Neighbouring numbers land far apart (Knuth's multiplicative hash).
    let [net, host, ..] = namespace.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
    // .0 and .255 are no hosts, .1 is the router.
    Ipv4Addr::new(192, 168, net, 2 + host % 253)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_home_address_is_a_host_of_a_home_network(namespace: u64) {
            let [a, b, _, host] = address_of(namespace).octets();
            prop_assert_eq!((a, b), (192, 168));
            prop_assert!((2..=254).contains(&host));
        }
    }
}
