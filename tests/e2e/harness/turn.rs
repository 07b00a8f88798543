//! A real STUN and TURN server inside a lab, over UDP and TCP.

use std::{
    fs::File,
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
};

use super::{
    Lab,
    patience::{blocking, seconds},
};

/// Who may have addresses relayed.
pub const TURN_LOGIN: (&str, &str) = ("page", "word-of-the-page");

/// Coturn; gone with its owner.
pub struct Turn {
    pub address: SocketAddr,
    process: Child,
}

impl Turn {
    /// On the origin's address, and answering.
    pub fn start(lab: &Lab) -> Self {
        let (ip, dir) = (lab.origin_ip().to_string(), lab.state_dir());
        std::fs::create_dir_all(&dir).unwrap();
        let log = File::create(dir.join("turn.log")).unwrap();
        let file = |name: &str| dir.join(name).display().to_string();
        let login = format!("{}:{}", TURN_LOGIN.0, TURN_LOGIN.1);
        let process = Command::new("ip")
            .args(["netns", "exec", &lab.namespace(), "turnserver", "-n"])
            .args(["-L", &ip, "-E", &ip, "-a", "-u", &login, "-r", "lab"])
            // It relays to nobody: what it would send is not what a test looks for.
            .args(["--denied-peer-ip", "0.0.0.0-255.255.255.255"])
            .args(["--no-cli", "--no-tls", "--no-dtls", "--log-file", "stdout"])
            .args(["--userdb", &file("turn.db"), "--pidfile", &file("turn.pid")])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("iproute2 is installed");
        let mut turn = Self {
            address: SocketAddr::new(lab.origin_ip(), 3478),
            process,
        };
        let up = blocking(seconds(20), || {
            let reached = lab.host_reaches(turn.address);
            reached || turn.process.try_wait().unwrap().is_some()
        });
        let runs = turn.process.try_wait().unwrap().is_none();
        assert!(
            up && runs,
            "coturn does not run (`tests/setup` installs it); its words are in {}",
            file("turn.log")
        );
        turn
    }
}

impl Lab {
    /// Whether the host's side reaches a TCP server.
    fn host_reaches(&self, server: SocketAddr) -> bool {
        self.host_side(move || TcpStream::connect(server).is_ok())
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
