//! Binding sockets so that a clash is found before anything starts.

use std::{
    fs, io,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

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

/// A unix socket for its owner alone. A stale one is replaced, one that answers is not.
///
/// # Errors
/// [`BindFailed`] names the path and what holds it.
pub async fn bind_unix(path: &Path) -> Result<UnixListener, BindFailed> {
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
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
    Ok(listener)
}

pub(super) async fn bind_tcp(address: SocketAddr) -> Result<TcpListener, BindFailed> {
    TcpListener::bind(address)
        .await
        .map_err(|source| BindFailed::Tcp { address, source })
}
