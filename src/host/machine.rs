//! The machine without Docker: rights, directories, memory, ports, addresses.

use std::{
    io,
    net::{IpAddr, SocketAddr, TcpListener, UdpSocket},
    os::unix::net::UnixStream,
    path::Path,
};

use nix::{
    sys::{
        statfs::{TMPFS_MAGIC, statfs},
        statvfs::statvfs,
    },
    unistd::{Uid, User},
};
use procfs::{Current, Meminfo};

use super::{Probe, Subject};

const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;
/// What one session with a page open takes, measured; heavy pages take several times that.
const TYPICAL_SESSION: u64 = 250 * MIB;

pub(super) fn probes(subject: &Subject) -> Vec<Probe> {
    vec![
        root(Uid::effective().is_root()),
        relay_user(&subject.relay_user),
        runtime_dir(&subject.runtime_dir),
        disk(&subject.state_dir),
        Meminfo::current().map_or_else(
            |error| Probe::warning("memory", error.to_string(), "mount /proc"),
            |info| memory(info.mem_available.unwrap_or(info.mem_free)),
        ),
        ports(&subject.listen, node_answers(&subject.runtime_dir)),
        egress(&subject.egress, |address| {
            UdpSocket::bind((address, 0)).map(drop)
        }),
        privileged(&subject.privileged),
    ]
}

/// What it means that a setting allows them.
fn privileged(kinds: &[&str]) -> Probe {
    if kinds.is_empty() {
        return Probe::ok("privileged", "no session has a privileged container");
    }
    let key = |kind: &&str| format!("substrate.{kind}.allow_privileged");
    let keys: Vec<_> = kinds.iter().map(key).collect();
    Probe::warning(
        "privileged",
        format!(
            "{} may have privileged containers: whatever breaks out of such a device has this host, \
             and with it every session on it",
            kinds.join(", ")
        ),
        format!(
            "keep such hosts apart from what matters, or set {} to false",
            keys.join(", ")
        ),
    )
}

fn root(is_root: bool) -> Probe {
    if is_root {
        Probe::ok("root", "running as root")
    } else {
        Probe::failed(
            "root",
            "not root: network namespaces cannot be entered",
            "run as root (the relay, which meets hostile bytes, drops to its own user)",
        )
    }
}

fn relay_user(name: &str) -> Probe {
    match User::from_name(name) {
        Ok(Some(user)) if user.uid.is_root() => Probe::failed(
            "relay-user",
            format!("{name} is root"),
            "give the relay a user without any right",
        ),
        Ok(Some(user)) => Probe::ok("relay-user", format!("{name}, uid {}", user.uid)),
        Ok(None) => Probe::failed(
            "relay-user",
            format!("there is no user {name}"),
            format!("`make setup`, or `useradd --system --shell /usr/sbin/nologin {name}`"),
        ),
        Err(errno) => Probe::warning("relay-user", errno.to_string(), "look at /etc/passwd"),
    }
}

/// A directory that may not exist yet stands where its nearest ancestor stands.
fn standing(dir: &Path) -> &Path {
    dir.ancestors()
        .find(|ancestor| ancestor.exists())
        .unwrap_or_else(|| Path::new("/"))
}

fn runtime_dir(dir: &Path) -> Probe {
    match statfs(standing(dir)) {
        Ok(stat) if stat.filesystem_type() == TMPFS_MAGIC => {
            Probe::ok("runtime-dir", format!("{} on tmpfs", dir.display()))
        }
        Ok(_) => Probe::warning(
            "runtime-dir",
            format!(
                "{} is on a disk: every counted byte is written to it",
                dir.display()
            ),
            "use a directory on tmpfs: --runtime-dir /dev/shm/chaser",
        ),
        Err(errno) => Probe::failed(
            "runtime-dir",
            format!("{}: {errno}", dir.display()),
            "name another with --runtime-dir",
        ),
    }
}

fn disk(dir: &Path) -> Probe {
    match statvfs(standing(dir)) {
        Ok(stat) => free(dir, stat.blocks_available() * stat.fragment_size()),
        Err(errno) => Probe::failed(
            "disk",
            format!("{}: {errno}", dir.display()),
            "name another with --state-dir",
        ),
    }
}

fn free(dir: &Path, bytes: u64) -> Probe {
    let found = format!("{:.1} GiB free at {}", tenths(bytes), dir.display());
    if bytes < GIB {
        Probe::failed("disk", found, "free some space: the databases need room")
    } else if bytes < 5 * GIB {
        Probe::warning(
            "disk",
            found,
            "a new image needs about 3 GiB while it is built",
        )
    } else {
        Probe::ok("disk", found)
    }
}

fn memory(available: u64) -> Probe {
    let found = format!(
        "{:.1} GiB available, enough for about {} sessions",
        tenths(available),
        available / TYPICAL_SESSION
    );
    if available < TYPICAL_SESSION {
        Probe::failed("memory", found, "not one session would fit")
    } else if available < 4 * TYPICAL_SESSION {
        Probe::warning("memory", found, "lower --max-sessions or add memory")
    } else {
        Probe::ok("memory", found)
    }
}

/// GiB with one digit, exact enough to print.
fn tenths(bytes: u64) -> f64 {
    f64::from(u32::try_from(bytes / (GIB / 10)).unwrap_or(u32::MAX)) / 10.0
}

fn node_answers(runtime_dir: &Path) -> bool {
    UnixStream::connect(runtime_dir.join("node.sock")).is_ok()
}

fn ports(listen: &[(&'static str, SocketAddr)], ours_runs: bool) -> Probe {
    let taken: Vec<String> = listen
        .iter()
        .filter_map(|(name, address)| {
            let error = TcpListener::bind(address).err()?;
            Some(format!("{name} {address}: {}", words(&error)))
        })
        .collect();
    if taken.is_empty() {
        let free: Vec<String> = listen.iter().map(|(n, a)| format!("{n} {a}")).collect();
        Probe::ok("ports", format!("free: {}", free.join(", ")))
    } else if ours_runs {
        Probe::ok("ports", "held by the node that runs")
    } else {
        Probe::failed(
            "ports",
            taken.join("; "),
            "end what listens there (`ss -ltnp`), or choose other addresses",
        )
    }
}

fn egress(addresses: &[IpAddr], bind: impl Fn(IpAddr) -> io::Result<()>) -> Probe {
    if addresses.is_empty() {
        return Probe::warning(
            "egress",
            "no address configured: all sessions share the host's default address",
            "give each session its own: --egress-address, once per address",
        );
    }
    let refused: Vec<String> = addresses
        .iter()
        .filter_map(|address| Some(format!("{address}: {}", words(&bind(*address).err()?))))
        .collect();
    if refused.is_empty() {
        Probe::ok("egress", format!("{} addresses usable", addresses.len()))
    } else {
        Probe::failed(
            "egress",
            refused.join("; "),
            "put the address on an interface (`ip address add … dev …`) or leave it out",
        )
    }
}

/// The kernel's words without Rust's "(os error 98)".
fn words(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::{super::Outcome, *};

    #[test]
    fn a_taken_port_is_named_unless_the_node_itself_holds_it() {
        let holder = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let listen = [("api", holder.local_addr().unwrap())];
        let probe = ports(&listen, false);
        assert_eq!(probe.outcome, Outcome::Failed);
        assert!(probe.found.contains("in use"), "{}", probe.found);
        assert_eq!(ports(&listen, true).outcome, Outcome::Ok);
        drop(holder);
        assert_eq!(ports(&listen, false).outcome, Outcome::Ok);
    }

    #[test]
    fn egress_addresses_must_be_on_the_host() {
        let ours = IpAddr::from([127, 0, 0, 1]);
        let foreign = IpAddr::from([192, 0, 2, 7]);
        let bind = |address| UdpSocket::bind((address, 0)).map(drop);
        assert_eq!(egress(&[], bind).outcome, Outcome::Warning);
        assert_eq!(egress(&[ours], bind).outcome, Outcome::Ok);
        let probe = egress(&[ours, foreign], bind);
        assert_eq!(probe.outcome, Outcome::Failed);
        assert!(probe.found.starts_with("192.0.2.7: "), "{}", probe.found);
    }

    #[test]
    fn space_is_judged_by_what_is_left() {
        let dir = Path::new("/");
        assert_eq!(free(dir, GIB / 2).outcome, Outcome::Failed);
        assert_eq!(free(dir, 2 * GIB).outcome, Outcome::Warning);
        assert_eq!(free(dir, 20 * GIB).outcome, Outcome::Ok);
        assert_eq!(memory(100 * MIB).outcome, Outcome::Failed);
        assert_eq!(memory(600 * MIB).outcome, Outcome::Warning);
        assert_eq!(memory(16 * GIB).outcome, Outcome::Ok);
    }

    #[test]
    fn a_directory_to_be_is_judged_where_it_will_stand() {
        assert_eq!(standing(Path::new("/proc/none/such")), Path::new("/proc"));
    }
}
