//! Binding sockets so that a clash is found before anything starts.

use std::{
    fs, io,
    net::SocketAddr,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
};

use nix::unistd::Group;
use tokio::net::{TcpListener, UnixListener, UnixStream};

/// Why a socket could not be bound.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindFailed {
    /// A TCP address.
    #[error("cannot listen on {address}: {source}; free the port or configure another")]
    Tcp {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The group that should be let in.
    #[error(
        "there is no group `{group}` (node.socket_group); create it with `groupadd --system {group}`"
    )]
    NoGroup {
        /// Which.
        group: String,
    },
    /// Somebody answers on the path.
    #[error("another node serves {}", path.display())]
    Served {
        /// Which.
        path: PathBuf,
    },
    /// A path.
    #[error("cannot listen on {}: {source}", path.display())]
    Unix {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A unix socket for its owner and, unless it is empty, for `group`. A stale one is replaced, one that
/// answers is not.
///
/// # Errors
/// [`BindFailed`] names the path and what holds it.
pub async fn bind_unix(path: &Path, group: &str) -> Result<UnixListener, BindFailed> {
    let members = members(group)?;
    let failed = |source| BindFailed::Unix {
        path: path.to_owned(),
        source,
    };
    if UnixStream::connect(path).await.is_ok() {
        return Err(BindFailed::Served {
            path: path.to_owned(),
        });
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    // Nobody else, until it is theirs.
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
    if let Some(members) = members {
        chown(path, None, Some(members)).map_err(failed)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o660)).map_err(failed)?;
    }
    Ok(listener)
}

/// The number of a group; `None` for no group.
fn members(group: &str) -> Result<Option<u32>, BindFailed> {
    if group.is_empty() {
        return Ok(None);
    }
    let found = Group::from_name(group).ok().flatten();
    found
        .map(|found| Some(found.gid.as_raw()))
        .ok_or_else(|| BindFailed::NoGroup {
            group: group.to_owned(),
        })
}

pub(super) async fn bind_tcp(address: SocketAddr) -> Result<TcpListener, BindFailed> {
    TcpListener::bind(address)
        .await
        .map_err(|source| BindFailed::Tcp { address, source })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[tokio::test]
    async fn a_socket_is_for_its_owner_or_for_a_group_that_exists() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.sock");
        let mode = || fs::metadata(&path).unwrap().mode() & 0o777;
        drop(bind_unix(&path, "").await.unwrap());
        assert_eq!(mode(), 0o600);
        let own = Group::from_gid(nix::unistd::getegid()).unwrap().unwrap();
        drop(bind_unix(&path, &own.name).await.unwrap());
        assert_eq!(mode(), 0o660);
        assert_eq!(fs::metadata(&path).unwrap().gid(), own.gid.as_raw());
        let refused = bind_unix(&path, "nobodys-group").await.unwrap_err();
        assert!(matches!(refused, BindFailed::NoGroup { .. }), "{refused}");
    }
}
