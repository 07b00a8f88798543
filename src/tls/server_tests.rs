use std::path::Path;

use rustls::{client::ResolvesClientCert, pki_types::ServerName};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::*;
use crate::tls::{Authority, Issued, Wanted, trusting};

struct Stand {
    server: Server,
    listener: TcpListener,
    ca: tempfile::NamedTempFile,
    authority: Authority,
}

fn issue(authority: &Authority, name: &str, valid_for: u64) -> Identity {
    let Issued { certificate, key } = authority
        .issue(&Wanted {
            common_name: name,
            spiffe: Some(&format!("spiffe://test/{name}")),
            hosts: &["localhost".to_owned()],
            valid_for: Duration::from_secs(valid_for),
        })
        .unwrap();
    Identity::parse(certificate, key, ("cert", "key")).unwrap()
}

impl Stand {
    async fn new(names: &[&str]) -> Self {
        let authority = Authority::create("test").unwrap();
        let ca = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(ca.path(), authority.certificate()).unwrap();
        let identity = issue(&authority, "server", 3600);
        Self {
            server: mutual(&identity, ca.path(), names),
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            ca,
            authority,
        }
    }

    /// One connection: what the server makes of it, and the client's side where it stands.
    async fn meet(
        &self,
        client: Option<&Identity>,
    ) -> (Result<Stream, Refused>, io::Result<TlsStream<TcpStream>>) {
        let mut config = trusting(Some(self.ca.path())).unwrap();
        if let Some(client) = client {
            config.client_auth_cert_resolver = Arc::new(Showing(Arc::clone(&client.certified)));
        }
        let address = self.listener.local_addr().unwrap();
        let dial = async {
            let stream = TcpStream::connect(address).await.unwrap();
            let name = ServerName::try_from("localhost").unwrap();
            TlsConnector::from(Arc::new(config))
                .connect(name, stream)
                .await
        };
        let accept = async {
            let (stream, _peer) = self.listener.accept().await.unwrap();
            self.server.accept(stream).await
        };
        tokio::join!(accept, dial)
    }

    async fn admits(&self, client: Option<&Identity>) -> Result<Stream, Refused> {
        self.meet(client).await.0
    }
}

#[derive(Debug)]
struct Showing(Arc<CertifiedKey>);

impl ResolvesClientCert for Showing {
    fn resolve(
        &self,
        _hints: &[&[u8]],
        _schemes: &[rustls::SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn mutual(identity: &Identity, ca: &Path, names: &[&str]) -> Server {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    Server::mutual(identity, (ca, Allowed::new(&names)), Protocol::Http2).unwrap()
}

#[tokio::test]
async fn only_clients_of_the_authority_with_a_listed_name_come_in() {
    let stand = Stand::new(&["spiffe://test/control", "operator"]).await;
    for name in ["control", "operator"] {
        let client = issue(&stand.authority, name, 60);
        stand.admits(Some(&client)).await.unwrap();
    }
    let stranger = issue(&stand.authority, "stranger", 60);
    let refused = stand.admits(Some(&stranger)).await.unwrap_err().to_string();
    assert!(
        refused.contains("tls.client_names: stranger, "),
        "{refused}"
    );
    assert!(matches!(stand.admits(None).await, Err(Refused::Anonymous)));
    let elsewhere = Authority::create("elsewhere").unwrap();
    let foreign = issue(&elsewhere, "control", 60);
    let refused = stand.admits(Some(&foreign)).await;
    assert!(
        matches!(refused, Err(Refused::WrongAuthority)),
        "{refused:?}"
    );
    let late = issue(&stand.authority, "control", 2);
    // Certificates count whole seconds, and the last one is still theirs.
    let left = late.expires_at() - time::OffsetDateTime::now_utc();
    tokio::time::sleep(left.try_into().unwrap_or_default()).await;
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let refused = stand.admits(Some(&late)).await;
    assert!(matches!(refused, Err(Refused::Expired)), "{refused:?}");
}

#[tokio::test]
async fn plaintext_is_known_as_such() {
    let stand = Stand::new(&[]).await;
    let address = stand.listener.local_addr().unwrap();
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let (stream, _peer) = stand.listener.accept().await.unwrap();
    let refused = stand.server.accept(stream).await.unwrap_err();
    assert!(matches!(refused, Refused::Plaintext), "{refused}");
}

#[tokio::test]
async fn a_reload_changes_who_comes_in_and_touches_nobody_who_is_in() {
    let stand = Stand::new(&[]).await;
    let client = issue(&stand.authority, "control", 60);
    let (before, there) = stand.meet(Some(&client)).await;
    let (mut before, mut there) = (before.unwrap(), there.unwrap());
    let renewed = issue(&stand.authority, "server", 7200);
    let listed = mutual(&renewed, stand.ca.path(), &["operator"]);
    stand.server.become_like(&listed);
    let refused = stand.admits(Some(&client)).await.unwrap_err().to_string();
    assert!(refused.contains("tls.client_names"), "{refused}");
    let operator = issue(&stand.authority, "operator", 60);
    stand.admits(Some(&operator)).await.unwrap();
    there.write_all(b"x").await.unwrap();
    let mut byte = [0];
    before.read_exact(&mut byte).await.unwrap();
    assert_eq!(&byte, b"x");
}

#[tokio::test]
async fn a_pinned_certificate_is_trusted_under_any_name_and_no_other_of_its_authority_is() {
    let authority = Authority::create("test").unwrap();
    let ours = issue(&authority, "server", 3600);
    let renewed = issue(&authority, "server", 3600);
    let server = Server::open(&ours, Protocol::Http1).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    for (pinned, trusted) in [(&ours, true), (&renewed, false)] {
        let accept = async {
            let (stream, _peer) = listener.accept().await.unwrap();
            server.accept(stream).await.is_ok()
        };
        let dial = crate::tls::connect(address, crate::tls::pinned(pinned).unwrap());
        let (accepted, dialled) = tokio::join!(accept, dial);
        assert_eq!((accepted, dialled.is_ok()), (trusted, trusted));
    }
}
