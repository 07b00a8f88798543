//! Certificates as an operator makes them, with the program's own commands, and clients that show them.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use chaser::wire::node::{GetNodeRequest, node_service_client::NodeServiceClient};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    },
};
use tonic::transport::{Channel, Endpoint, Uri};

/// A folder that `chaser cert init` made.
pub struct Pki {
    pub folder: PathBuf,
}

impl Pki {
    pub fn init(folder: &Path) -> Self {
        let folder = folder.to_owned();
        chaser(&["cert", "init", folder.to_str().unwrap()]);
        Self { folder }
    }

    /// One more certificate, or a renewed one.
    pub fn issue(&self, name: &str, more: &[&str]) {
        let folder = self.folder.to_str().unwrap();
        chaser(&[&["cert", "issue", folder, name], more].concat());
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.folder.join(file)
    }

    /// `[tls]` with everything, and `more`.
    pub fn section(&self, more: &str) -> String {
        let folder = self.folder.display();
        format!(
            "[tls]\ncert = \"{folder}/server.pem\"\nkey = \"{folder}/server.key\"\n\
             client_ca = \"{folder}/ca.pem\"\n{more}\n"
        )
    }

    /// What the server shows as its files are now.
    pub fn server(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(self.path("server.pem")).unwrap()
    }

    /// A connection that trusts this authority and shows the certificate `who` of `shown`.
    pub async fn dial(
        &self,
        address: &str,
        (shown, who): (&Self, Option<&str>),
        protocol: &str,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from_pem_file(self.path("ca.pem")).unwrap();
        roots.add(authority).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match who {
            Some(who) => {
                let file = |kind: &str| shown.path(&format!("{who}.{kind}"));
                let chain = vec![CertificateDer::from_pem_file(file("pem")).unwrap()];
                let key = PrivateKeyDer::from_pem_file(file("key")).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        let stream = TcpStream::connect(address).await?;
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
    }

    /// A node's gRPC over TCP, as `who`.
    pub async fn node(
        &self,
        address: &str,
        (shown, who): (&Self, Option<&str>),
    ) -> Result<NodeServiceClient<Channel>, String> {
        let stream = self.dial(address, (shown, who), "h2").await;
        let mut stream = Some(stream.map_err(|error| error.to_string())?);
        let dialled = Endpoint::from_static("http://node.invalid")
            .connect_with_connector(tower::service_fn(move |_: Uri| {
                let stream = stream.take();
                let gone = || std::io::Error::other("it is dialled once");
                std::future::ready(stream.map(TokioIo::new).ok_or_else(gone))
            }))
            .await;
        Ok(NodeServiceClient::new(
            dialled.map_err(|error| error.to_string())?,
        ))
    }

    /// Whether the node answers `who`.
    pub async fn answers(&self, address: &str, by: (&Self, Option<&str>)) -> Result<(), String> {
        let mut node = self.node(address, by).await?;
        let answer = node.get_node(GetNodeRequest {}).await;
        answer.map(drop).map_err(|status| status.to_string())
    }
}

fn chaser(words: &[&str]) {
    let output = Command::new(env!("CARGO_BIN_EXE_chaser"))
        .args(words)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {said}");
}
