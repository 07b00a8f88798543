//! Cuts TCP connections of another process, as a network would: from outside, without asking it.

use std::{
    fs,
    net::{Shutdown, SocketAddr, TcpStream},
};

use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

/// Where DevTools listens in every container.
const DEVTOOLS: &str = "127.0.0.1:9222";

/// One connection of a process to DevTools; a socket of its own namespace, so the local address
/// names it within one container.
#[derive(Debug)]
pub struct ToDevTools {
    pub local: SocketAddr,
    stream: TcpStream,
}

impl ToDevTools {
    /// All that `pid` has open, by `pidfd_getfd(2)`.
    pub fn of(pid: u32) -> Vec<Self> {
        let raw = i32::try_from(pid).unwrap();
        let process = pidfd_open(Pid::from_raw(raw).unwrap(), PidfdFlags::empty()).unwrap();
        let devtools: SocketAddr = DEVTOOLS.parse().unwrap();
        let mut found = Vec::new();
        for entry in fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten() {
            let is_socket = fs::read_link(entry.path())
                .is_ok_and(|target| target.to_string_lossy().starts_with("socket:"));
            let number = entry.file_name().to_string_lossy().parse();
            let (true, Ok(number)) = (is_socket, number) else {
                continue;
            };
            // Closed meanwhile: then it is not open.
            let Ok(socket) = pidfd_getfd(&process, number, PidfdGetfdFlags::empty()) else {
                continue;
            };
            let stream = TcpStream::from(socket);
            if stream.peer_addr().ok() == Some(devtools) {
                let local = stream.local_addr().unwrap();
                found.push(Self { local, stream });
            }
        }
        found
    }

    /// Ends it for both sides.
    pub fn cut(self) {
        // It may have ended by itself.
        self.stream.shutdown(Shutdown::Both).unwrap_or_default();
    }
}
