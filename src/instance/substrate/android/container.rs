//! The container of a device. It gets what its image needs and nothing else: an image that needs nothing of
//! the host is as hardened as a browser's.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Settled;
use crate::{docker::ContainerSpec, host::Need, instance::substrate::SECCOMP};

const LOG_BYTES: u64 = 4 << 20;
const SHM_BYTES: u64 = 256 << 20;
/// Android has some hundred processes with many threads each.
const PIDS: u32 = 8192;
/// What a device writes; a volume of its own that goes with the container.
const DATA: &str = "/data";
/// Under these names Android looks for its three binders.
const BINDERS: [&str; 3] = ["/dev/binder", "/dev/hwbinder", "/dev/vndbinder"];

/// The container of one device, with the host's `binders` where it was given some. The caller adds labels.
#[must_use]
pub fn container(of: &Settled, binders: Option<&[String; 3]>, runtime: &str) -> ContainerSpec {
    let privileged = of.needs.contains(&Need::Privileged);
    let nodes = of.needs.iter().filter_map(|need| need.device());
    let mut devices: Vec<(String, String)> = nodes
        .map(|node| (node.to_owned(), node.to_owned()))
        .collect();
    if let Some(binders) = binders {
        let names = BINDERS.map(str::to_owned);
        devices.extend(binders.iter().cloned().zip(names));
    }
    let mut security_opt = Vec::new();
    if !privileged {
        security_opt.push("no-new-privileges".to_owned());
    }
    if of.needs.is_empty() {
        security_opt.push(format!("seccomp={SECCOMP}"));
    } else if of.needs.contains(&Need::VhostVsock) && !privileged {
        security_opt.push(format!("seccomp={}", rules_with_vsock()));
    }
    ContainerSpec {
        image: of.device.image.clone(),
        command: of.device.arguments.clone(),
        env: Vec::new(),
        user: String::new(),
        labels: BTreeMap::new(),
        read_only: false,
        tmpfs: BTreeMap::new(),
        volumes: vec![DATA.to_owned()],
        shm_bytes: SHM_BYTES,
        memory_bytes: of.memory_bytes,
        cpu_millis: of.cpu_millis,
        pids: PIDS,
        cap_drop: if privileged {
            Vec::new()
        } else {
            vec!["ALL".to_owned()]
        },
        cap_add: if of.needs.contains(&Need::NetAdmin) {
            vec!["NET_ADMIN".to_owned()]
        } else {
            Vec::new()
        },
        devices,
        privileged,
        security_opt,
        runtime: runtime.to_owned(),
        log_max_bytes: LOG_BYTES,
        stop_signal: None,
    }
}

/// The rules of a browser's container, with what those of a guest's machine use beside it: named pipes, asynchronous
/// files, and sockets of the family between host and guest, which the rules of newer Dockers give nobody.
fn rules_with_vsock() -> String {
    const AF_VSOCK: u32 = 40;
    let allow = "SCMP_ACT_ALLOW";
    let files = [
        "io_cancel",
        "io_destroy",
        "io_getevents",
        "io_setup",
        "io_submit",
        "mknod",
        "mknodat",
    ];
    let family = json!([{ "index": 0, "value": AF_VSOCK, "op": "SCMP_CMP_EQ" }]);
    let mut rules: Value = serde_json::from_str(SECCOMP).unwrap_or_default();
    if let Some(listed) = rules["syscalls"].as_array_mut() {
        listed.push(json!({ "names": files, "action": allow }));
        listed.push(json!({ "names": ["socket"], "action": allow, "args": family }));
    }
    rules.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{instance::substrate::android::Config, model::Substrate};

    fn spec(substrate: Substrate, needs: &[&str]) -> ContainerSpec {
        let mut config = Config::default();
        let device = match substrate {
            Substrate::Emulator => &mut config.emulator,
            Substrate::Redroid => &mut config.redroid,
            Substrate::Cuttlefish => &mut config.cuttlefish,
            Substrate::Chromium => panic!("no device"),
        };
        device.needs = needs.iter().map(|&need| need.to_owned()).collect();
        let settled = config.settled(substrate).unwrap();
        container(&settled, None, "")
    }

    #[test]
    fn an_image_that_needs_nothing_is_as_hardened_as_a_browsers() {
        let spec = spec(Substrate::Redroid, &[]);
        assert!(!spec.privileged);
        assert_eq!(spec.cap_drop, ["ALL"]);
        assert!(spec.cap_add.is_empty() && spec.devices.is_empty());
        assert!(spec.security_opt.contains(&"no-new-privileges".to_owned()));
        assert!(
            spec.security_opt
                .iter()
                .any(|one| one.starts_with("seccomp="))
        );
    }

    #[test]
    fn each_kind_gets_what_it_needs_and_only_redroid_everything() {
        let emulator = spec(Substrate::Emulator, &["usual"]);
        assert_eq!(
            emulator.devices,
            [("/dev/kvm".to_owned(), "/dev/kvm".to_owned())]
        );
        assert!(!emulator.privileged && emulator.cap_add.is_empty());
        let cuttlefish = spec(Substrate::Cuttlefish, &["usual"]);
        assert_eq!(cuttlefish.devices.len(), 4);
        assert_eq!(cuttlefish.cap_drop, ["ALL"]);
        assert_eq!(cuttlefish.cap_add, ["NET_ADMIN"]);
        assert!(!cuttlefish.privileged);
        let vsock = |spec: &ContainerSpec| {
            let rules = (spec.security_opt.iter()).find_map(|one| one.strip_prefix("seccomp="));
            rules.is_some_and(|rules| {
                let rules: Value = serde_json::from_str(rules).unwrap();
                assert_eq!(rules["defaultAction"], "SCMP_ACT_ERRNO");
                let mut listed = rules["syscalls"].as_array().unwrap().iter();
                listed.any(|rule| rule["names"][0] == "socket" && rule["args"][0]["value"] == 40)
            })
        };
        assert!(
            vsock(&cuttlefish),
            "the rules of newer Dockers let nobody have one"
        );
        assert!(!vsock(&emulator) && !vsock(&spec(Substrate::Cuttlefish, &[])));
        let redroid = spec(Substrate::Redroid, &["usual"]);
        assert!(redroid.privileged);
        assert_eq!(redroid.volumes, ["/data"]);
    }

    #[test]
    fn three_binders_are_given_under_androids_names() {
        let settled = Config::default().settled(Substrate::Redroid).unwrap();
        let three = ["/dev/binder4", "/dev/binder5", "/dev/binder6"].map(str::to_owned);
        let spec = container(&settled, Some(&three), "");
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(
            spec.devices,
            [
                pair("/dev/binder4", "/dev/binder"),
                pair("/dev/binder5", "/dev/hwbinder"),
                pair("/dev/binder6", "/dev/vndbinder"),
            ]
        );
    }
}
