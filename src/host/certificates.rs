//! The certificates that listeners would show.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::Probe;
use crate::tls::{Allowed, Config, Identity, Protocol, SOON, Server};

const NAME: &str = "tls";
const RENEW: &str = "renew it (`chaser cert issue` where `chaser cert init` made it), then reload";

pub(super) fn probe(config: &Config, now: OffsetDateTime) -> Probe {
    if !config.is_on() {
        return Probe::ok(NAME, "off: listeners speak plaintext");
    }
    let identity = match Identity::load(&config.cert, &config.key) {
        Ok(identity) => identity,
        Err(error) => return Probe::failed(NAME, error.to_string(), RENEW),
    };
    if !config.client_ca.as_os_str().is_empty() {
        let clients = (&*config.client_ca, Allowed::new(&config.client_names));
        if let Err(error) = Server::mutual(&identity, clients, Protocol::Http2) {
            let mend = "name the authority of the node's clients in tls.client_ca (PEM)";
            return Probe::failed(NAME, error.to_string(), mend);
        }
    }
    if is_everybodys(&config.key) {
        let key = config.key.display();
        let found = format!("everybody on this host can read {key}");
        return Probe::warning(NAME, found, format!("`chmod o= {key}`"));
    }
    let until = identity.expires_at();
    let found = format!("good until {}", until.format(&Rfc3339).unwrap_or_default());
    if until - now < SOON {
        return Probe::warning(NAME, found, RENEW);
    }
    Probe::ok(NAME, found)
}

fn is_everybodys(key: &Path) -> bool {
    fs::metadata(key).is_ok_and(|about| about.permissions().mode() & 0o007 != 0)
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::OpenOptionsExt, time::Duration};

    use secrecy::ExposeSecret;

    use super::*;
    use crate::{
        host::Outcome,
        tls::{Authority, Wanted},
    };

    fn write(path: &Path, text: &str) {
        let mut file = fs::OpenOptions::new();
        let mut file = file
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o640)
            .open(path)
            .unwrap();
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    }

    #[test]
    fn what_is_wrong_with_certificates_is_said_before_a_start_is_refused_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let authority = Authority::create("test").unwrap();
        let days = |days: u64| Duration::from_secs(days * 86_400);
        let issued = authority
            .issue(&Wanted {
                common_name: "server",
                spiffe: None,
                hosts: &[],
                valid_for: days(30),
            })
            .unwrap();
        write(&path("ca.pem"), authority.certificate());
        write(&path("cert.pem"), &issued.certificate);
        write(&path("key.pem"), issued.key.expose_secret());
        let mut config = Config::default();
        let now = OffsetDateTime::now_utc();
        assert_eq!(probe(&config, now).outcome, Outcome::Ok);
        config.cert = path("cert.pem");
        config.key = path("key.pem");
        config.client_ca = path("ca.pem");
        let well = probe(&config, now);
        assert_eq!(well.outcome, Outcome::Ok, "{well:?}");
        let soon = probe(&config, now + days(20));
        assert_eq!(soon.outcome, Outcome::Warning, "{soon:?}");

        let all = PermissionsExt::from_mode(0o644);
        fs::set_permissions(path("key.pem"), all).unwrap();
        let open = probe(&config, now);
        assert_eq!(open.outcome, Outcome::Warning, "{open:?}");
        assert!(open.found.starts_with("everybody"), "{open:?}");
        config.client_ca = path("nowhere.pem");
        let lost = probe(&config, now);
        assert_eq!(lost.outcome, Outcome::Failed, "{lost:?}");
        config.key = path("ca.pem");
        let keyless = probe(&config, now);
        assert_eq!(keyless.outcome, Outcome::Failed, "{keyless:?}");
        assert!(keyless.found.contains("ca.pem"), "{keyless:?}");
    }
}
