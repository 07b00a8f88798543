//! Docker: which one, how it is set up, and whether it has the image.

use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};

use super::Probe;
use crate::{
    docker::{Docker, DockerError, ImageFacts, Info, Version},
    runtime::wall_now,
};

/// The probe that the others stand on.
pub(super) const NAME: &str = "docker";
/// The probes that need an answer from Docker.
pub(super) const BEHIND: &[&str] = &["live-restore", "log-driver", "cgroups", "image"];

/// From here on a seccomp rule can answer ENOSYS, without which no browser makes a thread.
const OLDEST: [u32; 3] = [20, 10, 10];
const OLD_IMAGE: Duration = Duration::days(30);

pub(super) async fn probes(docker: &Docker, image: &str) -> Vec<Probe> {
    let mut probes = vec![match docker.version().await {
        Ok(version) => engine(&version),
        Err(error) => unknown(NAME, &error),
    }];
    match docker.info().await {
        Ok(info) => probes.extend([live_restore(&info), log_driver(&info), cgroups(&info)]),
        Err(error) => probes.extend(BEHIND[..3].iter().map(|name| unknown(name, &error))),
    }
    probes.push(match docker.image(image).await {
        Ok(facts) => present(image, facts.as_ref(), wall_now()),
        Err(error) => unknown("image", &error),
    });
    probes
}

fn unknown(name: &'static str, error: &DockerError) -> Probe {
    Probe::failed(name, error.to_string(), "look at the log of dockerd")
}

fn engine(version: &Version) -> Probe {
    let found = format!("Docker {}, API {}", version.engine, version.api);
    let mut numbers = version
        .engine
        .split(|c: char| !c.is_ascii_digit())
        .map(|n| n.parse().unwrap_or(0));
    let have = [(); 3].map(|()| numbers.next().unwrap_or(0));
    if have < OLDEST {
        Probe::failed(NAME, found, "install Docker 20.10.10 or newer")
    } else {
        Probe::ok(NAME, found)
    }
}

fn live_restore(info: &Info) -> Probe {
    if info.live_restore {
        Probe::ok("live-restore", "on: sessions outlive a restart of dockerd")
    } else {
        Probe::warning(
            "live-restore",
            "off: a restart of dockerd ends every session",
            "put {\"live-restore\": true} into /etc/docker/daemon.json and reload dockerd",
        )
    }
}

fn log_driver(info: &Info) -> Probe {
    Probe::ok(
        "log-driver",
        format!(
            "{} by default; our containers bring json-file with a size limit",
            info.logging_driver
        ),
    )
}

fn cgroups(info: &Info) -> Probe {
    let found = format!("version {}, {}", info.cgroup_version, info.cgroup_driver);
    if info.cgroup_version == "2" {
        Probe::ok("cgroups", found)
    } else {
        Probe::warning(
            "cgroups",
            format!("{found}: limits hold, memory pressure of one container is not visible"),
            "boot with systemd.unified_cgroup_hierarchy=1",
        )
    }
}

fn present(name: &str, facts: Option<&ImageFacts>, now: OffsetDateTime) -> Probe {
    let Some(facts) = facts else {
        return Probe::failed(
            "image",
            format!("{name} is not on this host"),
            "`chaser image build`, or `make image`",
        );
    };
    let version = facts
        .labels
        .get("chaser.chromium.version")
        .map_or("of unknown version", String::as_str);
    let found = format!("{name}: Chromium {version}, {} MB", facts.size / 1_000_000);
    let age = OffsetDateTime::parse(&facts.created, &Rfc3339).map(|made| now - made);
    match age {
        Ok(age) if age > OLD_IMAGE => Probe::warning(
            "image",
            format!("{found}, {} days old", age.whole_days()),
            "browsers age fast: `chaser image build --force`",
        ),
        _ => Probe::ok("image", found),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use time::macros::datetime;

    use super::{super::Outcome, *};

    #[test]
    fn engines_that_cannot_say_enosys_are_refused() {
        let outcome = |engine: &str| {
            super::engine(&Version {
                engine: engine.to_owned(),
                api: "1.41".to_owned(),
                kernel: String::new(),
            })
            .outcome
        };
        assert_eq!(outcome("20.10.9"), Outcome::Failed);
        assert_eq!(outcome("20.10.24+dfsg1"), Outcome::Ok);
        assert_eq!(outcome("28.2.2"), Outcome::Ok);
        assert_eq!(outcome("nonsense"), Outcome::Failed);
    }

    #[test]
    fn an_image_is_missing_fresh_or_old() {
        let facts = |created: &str| ImageFacts {
            id: "sha256:0".to_owned(),
            names: vec!["i".to_owned()],
            labels: BTreeMap::new(),
            size: 700_000_000,
            created: created.to_owned(),
        };
        let now = datetime!(2026-11-23 12:00 UTC);
        let outcome = |facts: Option<ImageFacts>| present("i", facts.as_ref(), now).outcome;
        assert_eq!(outcome(None), Outcome::Failed);
        assert_eq!(
            outcome(Some(facts("2026-11-20T08:00:00.123456789Z"))),
            Outcome::Ok
        );
        assert_eq!(
            outcome(Some(facts("2026-09-20T08:00:00Z"))),
            Outcome::Warning
        );
    }
}
