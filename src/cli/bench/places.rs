//! Directories and ports that nobody else has, for a daemon of the bench's own.

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process,
};

use super::progress;

/// Its directories: state that must be durable, and sockets that should be in memory.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) state: PathBuf,
    pub(super) runtime: PathBuf,
}

impl Places {
    pub(super) fn make() -> io::Result<Self> {
        let name = format!(
            "chaser-bench-{}-{:08x}",
            process::id(),
            rand::random::<u32>()
        );
        let memory = Path::new("/run");
        let temporary = std::env::temp_dir();
        let runtime = if memory.is_dir() { memory } else { &temporary };
        let places = Self {
            state: temporary.join(&name),
            runtime: runtime.join(&name),
        };
        fs::DirBuilder::new().mode(0o700).create(&places.state)?;
        Ok(places)
    }

    pub(super) fn log(&self) -> PathBuf {
        self.state.join("up.log")
    }

    /// The last line of its log.
    pub(super) fn last_words(&self) -> String {
        let said = fs::read_to_string(self.log()).unwrap_or_default();
        let last = said.lines().rev().find(|line| !line.trim().is_empty());
        let last = last.unwrap_or("it said nothing");
        last.trim_start_matches("chaser: ").to_owned()
    }

    pub(super) fn remove(&self) {
        for place in [&self.state, &self.runtime] {
            if let Err(error) = fs::remove_dir_all(place)
                && error.kind() != io::ErrorKind::NotFound
            {
                progress(format_args!(
                    "{} cannot be removed: {error}",
                    place.display()
                ));
            }
        }
    }
}

/// Ports that were free a moment ago, on loopback.
pub(super) fn free_ports() -> io::Result<[SocketAddr; 3]> {
    let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let held = [bind()?, bind()?, bind()?];
    Ok([
        held[0].local_addr()?,
        held[1].local_addr()?,
        held[2].local_addr()?,
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_ports_are_three() {
        let [a, b, c] = free_ports().unwrap();
        assert!(a != b && b != c && a != c);
    }
}
