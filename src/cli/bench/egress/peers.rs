//! Proxies of other people on this machine, for comparison: whichever of them is installed.
//!
//! Each listens on a port of loopback for as long as it is measured. They count nothing and judge
//! nothing beyond what their defaults do; ours is measured with all that it does.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, bail};
use tokio::{net::TcpStream, time::sleep};

/// How long one may take to listen.
const START: Duration = Duration::from_secs(15);

/// Whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Software {
    /// `CONNECT`
    Tinyproxy,
    /// `CONNECT`
    Squid,
    /// TCP, straight to the server
    Haproxy,
}

/// One that runs; gone with its owner.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) software: Software,
    pub(super) address: SocketAddr,
    child: Child,
    dir: PathBuf,
}

impl Software {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Tinyproxy => "tinyproxy",
            Self::Squid => "squid",
            Self::Haproxy => "haproxy (TCP)",
        }
    }

    const fn program(self) -> &'static str {
        match self {
            Self::Tinyproxy => "tinyproxy",
            Self::Squid => "squid",
            Self::Haproxy => "haproxy",
        }
    }

    fn configuration(self, at: SocketAddr, origin: SocketAddr) -> String {
        let (ip, port) = (at.ip(), at.port());
        match self {
            Self::Tinyproxy => format!(
                "Port {port}\nListen {ip}\nTimeout 600\nMaxClients 2000\nLogLevel Critical\n"
            ),
            Self::Squid => format!(
                "http_port {at}\nhttp_access allow all\ncache deny all\naccess_log none\n\
                 cache_log /dev/null\npid_filename none\nnetdb_filename none\n\
                 visible_hostname bench\nshutdown_lifetime 0 seconds\nmax_filedescriptors 8192\n"
            ),
            Self::Haproxy => format!(
                "global\n  maxconn 4000\ndefaults\n  mode tcp\n  timeout connect 5s\n  \
                 timeout client 10m\n  timeout server 10m\nlisten bench\n  bind {at}\n  \
                 server origin {origin}\n"
            ),
        }
    }

    fn words(self, file: &str) -> Vec<&str> {
        match self {
            Self::Tinyproxy => vec!["-d", "-c", file],
            Self::Squid => vec!["-N", "-f", file],
            Self::Haproxy => vec!["-db", "-f", file],
        }
    }
}

impl Peer {
    /// Starts one toward `origin` and waits until it listens.
    pub(super) async fn start(software: Software, origin: SocketAddr) -> anyhow::Result<Self> {
        // Freed at once; nobody else takes ports here meanwhile.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = port.local_addr()?;
        drop(port);
        let name = format!("chaser-peer-{:08x}", rand::random::<u32>());
        let dir = std::env::temp_dir().join(name);
        fs::create_dir(&dir)?;
        let file = dir.join("configuration");
        fs::write(&file, software.configuration(address, origin))?;
        let child = Command::new(software.program())
            .args(software.words(&file.display().to_string()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("`{}` does not start; is it installed?", software.program()));
        let child = match child {
            Ok(child) => child,
            Err(error) => {
                drop(fs::remove_dir_all(&dir));
                return Err(error);
            }
        };
        let peer = Self {
            software,
            address,
            child,
            dir,
        };
        let listening = async {
            while TcpStream::connect(address).await.is_err() {
                sleep(Duration::from_millis(50)).await;
            }
        };
        if tokio::time::timeout(START, listening).await.is_err() {
            bail!("{} does not listen", software.as_str());
        }
        Ok(peer)
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // What is left of a bench is nobody's.
        drop(self.child.kill());
        drop(self.child.wait());
        drop(fs::remove_dir_all(&self.dir));
    }
}
