//! Android devices as sessions: what any of them must do ([`any`]), what only one that fails on command can
//! show ([`knobs`]), or one whose Chrome lacks something ([`old`]), or one that lets nobody in without a key
//! ([`keys`]), how customers come by one ([`ordered`]), and by one that was booted before ([`parked`]) or boots already ([`taken_over`]). What
//! does not need Android is shown on a real guest as well ([`guest`]), and all of it on one behind a tap ([`behind_tap`]).

mod any;
mod behind_tap;
mod guest;
mod keys;
mod knobs;
mod old;
mod ordered;
mod parked;
mod taken_over;

use std::time::Duration;

use chaser::wire::node::{Phase, Session, SessionSpec, Substrate};
use serde_json::Value;
use tonic::Code;

use crate::harness::{
    Bytes, Chaser, Lab, Origin, Setup, android_like, eventually, lab, seconds, session_id, spec,
};

const DEVICES: [Substrate; 3] = [
    Substrate::Emulator,
    Substrate::Redroid,
    Substrate::Cuttlefish,
];

fn order(substrate: Substrate, ttl: Duration) -> SessionSpec {
    SessionSpec {
        substrate: substrate.into(),
        ..spec(ttl)
    }
}

/// What the tests order: the stand-in, or a real image where one is named (`make test-android`).
struct Ordered {
    substrate: Substrate,
    section: &'static str,
    lines: Vec<String>,
}

impl Ordered {
    fn from_environment() -> Self {
        let real = std::env::var_os("ANDROID_E2E_IMAGE").and_then(|image| image.into_string().ok());
        let kind = std::env::var_os("ANDROID_E2E_KIND").unwrap_or_default();
        match real {
            Some(image) if kind == "emulator" => Self {
                substrate: Substrate::Emulator,
                section: "substrate.emulator",
                lines: vec![format!("image = \"{image}\"")],
            },
            Some(image) if kind == "cuttlefish" => Self {
                substrate: Substrate::Cuttlefish,
                section: "substrate.cuttlefish",
                lines: vec![format!("image = \"{image}\"")],
            },
            Some(image) => Self {
                substrate: Substrate::Redroid,
                section: "substrate.redroid",
                lines: vec![
                    format!("image = \"{image}\""),
                    "allow_privileged = true".to_owned(),
                ],
            },
            None => Self::stand_in(&[]),
        }
    }

    /// An image that needs nothing of the host, with such arguments.
    fn stand_in(arguments: &[&str]) -> Self {
        let quoted: Vec<_> = arguments.iter().map(|one| format!("\"{one}\"")).collect();
        Self {
            substrate: Substrate::Redroid,
            section: "substrate.redroid",
            lines: vec![
                format!("image = \"{}\"", android_like()),
                "needs = []".to_owned(),
                "memory_bytes = 1073741824".to_owned(),
                format!("arguments = [{}]", quoted.join(", ")),
            ],
        }
    }

    fn line(mut self, line: &str) -> Self {
        self.lines.push(line.to_owned());
        self
    }

    fn on<'lab>(&self, lab: &'lab Lab) -> Setup<'lab> {
        let setup = Setup::on(lab);
        self.lines
            .iter()
            .fold(setup, |setup, line| setup.set(self.section, line))
    }

    async fn session(&self, chaser: &Chaser) -> Session {
        let order = order(self.substrate, seconds(900));
        let session = chaser.node.provision(&session_id(), order).await.unwrap();
        assert_eq!(session.phase(), Phase::Ready, "{session:?}");
        session
    }
}

fn cdp_url(chaser: &Chaser, session: &Session) -> String {
    format!("ws://{}/sessions/{}", chaser.cdp, session.id)
}

/// What the session's meter says is to the byte what came to the origin from its address.
async fn meter_and_origin_agree(chaser: &Chaser, session: &Session, origin: &Origin) {
    let ip = session.egress_ip.parse().unwrap();
    eventually("meter and origin agree", seconds(10), async || {
        let traffic = chaser.node.session(&session.id).await.unwrap().traffic?;
        let seen = Bytes {
            up: traffic.up,
            down: traffic.down,
        };
        (seen == origin.bytes_of(ip)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_this_host_cannot_run_is_listed_and_refused_with_its_reason() {
    let (lab, _origin) = lab();
    let chaser = Chaser::start(&lab).await;
    let status = chaser.node.status().await;
    let kinds: Vec<_> = status
        .substrates
        .iter()
        .map(|one| one.substrate())
        .collect();
    assert_eq!(kinds[0], Substrate::Chromium);
    assert_eq!(kinds[1..], DEVICES);
    assert_eq!(status.substrates[0].capacity, status.max_sessions);
    for one in &status.substrates[1..] {
        assert_eq!(one.capacity, 0, "{one:?}");
        let (id, order) = (session_id(), order(one.substrate(), seconds(900)));
        let refused = chaser.node.provision(&id, order).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
        assert!(refused.message().contains(&one.reason), "{refused}");
        let unknown = chaser.node.session(&id).await.unwrap_err();
        assert_eq!(unknown.code(), Code::NotFound, "nothing was made");
    }

    let config = chaser.state_dir.join("chaser.toml");
    let output = chaser
        .command(&["doctor", "--config", config.to_str().unwrap(), "--json"])
        .output();
    let report: Value = serde_json::from_slice(&output.await.unwrap().stdout).unwrap();
    let listed = report["substrates"].as_array().unwrap();
    for (said, one) in listed.iter().zip(&status.substrates).skip(1) {
        assert_eq!(said["capacity"], 0, "{said}");
        assert_eq!(said["reason"], one.reason, "{said}");
    }
    assert!(listed[0]["capacity"].as_u64().unwrap() > 0, "{report}");
}
