//! What must hold of every container that the substrate describes.

use std::collections::BTreeSet;

use super::*;
use crate::profile::Catalogue;

fn spec() -> ContainerSpec {
    container(
        "chaser/chromium:latest",
        &Catalogue::built_in().default_profile(),
        &Config::default(),
    )
}

fn switch(flag: &str) -> &str {
    flag.split('=').next().unwrap()
}

#[test]
fn the_sandbox_stays_on() {
    for flag in spec().command {
        assert!(
            ![
                "--no-sandbox",
                "--disable-setuid-sandbox",
                "--disable-namespace-sandbox",
                "--disable-seccomp-filter-sandbox",
                "--disable-gpu-sandbox",
                "--no-zygote",
                "--single-process",
                "--disable-web-security",
                "--disable-site-isolation-trials",
                "--ignore-certificate-errors",
                "--remote-allow-origins",
                "--remote-debugging-pipe",
                "--load-extension",
                // Breaks the network service of this Chromium.
                "--disable-crashpad-for-testing",
            ]
            .contains(&switch(&flag)),
            "{flag}"
        );
    }
}

/// The last of two equal switches wins silently, so there is never a second.
#[test]
fn every_switch_is_given_once() {
    let mut flags = spec().command;
    flags.push(user_agent_flag(
        &Catalogue::built_in().default_profile(),
        156,
    ));
    let switches: BTreeSet<_> = flags.iter().map(|f| switch(f)).collect();
    assert_eq!(switches.len(), flags.len());
    let features = flags
        .iter()
        .find_map(|f| f.strip_prefix("--disable-features="))
        .unwrap();
    assert!(features.split(',').count() == DISABLED_FEATURES.len());
}

#[test]
fn everything_goes_through_the_proxy() {
    let flags = spec().command;
    for flag in [
        "--proxy-server=127.0.0.1:3128",
        "--proxy-bypass-list=<-loopback>",
        "--webrtc-ip-handling-policy=disable_non_proxied_udp",
        "--disable-quic",
    ] {
        assert!(flags.iter().any(|f| f == flag), "{flag}");
    }
}

#[test]
fn the_profile_reaches_the_flags() {
    let mut phone = Profile::clone(&Catalogue::built_in().default_profile());
    phone.screen.physical_width = 824;
    phone.screen.physical_height = 1830;
    phone.screen.device_pixel_ratio = 2.0;
    phone.input.touch_points = 7;
    phone.languages = vec!["de-DE".to_owned(), "de".to_owned()];
    phone.time_zone = "Europe/Berlin".to_owned();
    phone.hardware.concurrency = 6;
    phone.hardware.memory_gib = 4;
    phone.input.hover = Hover::Hover;
    phone.input.pointer = Pointer::Fine;
    let spec = container("i", &phone, &Config::default());
    assert_eq!(
        spec.env,
        [
            "HOME=/tmp",
            "TZ=Europe/Berlin",
            "LANGUAGE=de_DE",
            "PHONE_CORES=6",
            "PHONE_MEMORY_GIB=4",
            "PHONE_WIFI=1"
        ]
    );
    let flags = spec.command.join("\n");
    for part in [
        "--screen-info={824x1830 devicePixelRatio=2}",
        "maxTouchPoints=7,",
        "primaryHoverType=2,availableHoverTypes=2,",
        "primaryPointerType=4,availablePointerTypes=4,",
        "--accept-lang=de-DE,de",
    ] {
        assert!(flags.contains(part), "{part} in {flags}");
    }
    let said = "--use-mobile-user-agent".to_owned();
    assert!(spec.command.contains(&said));
    let tablet = Catalogue::built_in().named("pixel-tablet").unwrap();
    let spec = container("i", &tablet, &Config::default());
    assert!(!spec.command.contains(&said));
}

#[test]
fn the_container_is_hardened() {
    let config = Config::default();
    let spec = spec();
    assert!(spec.read_only);
    assert_eq!(spec.user, "1000:1000");
    assert_eq!(spec.cap_drop, ["ALL"]);
    assert!(spec.security_opt.contains(&"no-new-privileges".to_owned()));
    assert_eq!(
        spec.tmpfs.into_iter().collect::<Vec<_>>(),
        [(
            "/tmp".to_owned(),
            format!(
                "rw,noexec,nosuid,nodev,mode=1777,size={}",
                config.scratch_bytes
            )
        )]
    );
    assert_eq!(spec.memory_bytes, config.memory_bytes);
    assert_eq!(spec.pids, config.pids);
    assert!(spec.log_max_bytes > 0);
}

/// The filter that goes to Docker: closed by default, and open only where the sandbox needs it.
#[test]
fn seccomp_allows_the_sandbox_and_no_more() {
    let spec = spec();
    let json = spec
        .security_opt
        .iter()
        .find_map(|o| o.strip_prefix("seccomp="))
        .unwrap();
    let filter: serde_json::Value = serde_json::from_str(json).unwrap();
    assert_eq!(filter["defaultAction"], "SCMP_ACT_ERRNO");
    let rules = filter["syscalls"].as_array().unwrap();
    let of = |name: &str| -> Vec<&serde_json::Value> {
        rules
            .iter()
            .filter(|r| r["names"].as_array().unwrap().iter().any(|n| n == name))
            .collect()
    };
    for forbidden in [
        "ptrace",
        "process_vm_readv",
        "mount",
        "setns",
        "bpf",
        "keyctl",
        "add_key",
        "io_uring_setup",
        "userfaultfd",
        "perf_event_open",
        "mknod",
        "mknodat",
        "kexec_load",
        "reboot",
        "init_module",
    ] {
        assert!(of(forbidden).is_empty(), "{forbidden}");
    }
    for name in ["clone", "unshare"] {
        let [rule] = of(name)[..] else {
            panic!("{name}: one rule")
        };
        // NEWNS, NEWCGROUP, NEWUTS, NEWIPC and NEWTIME stay forbidden.
        assert_eq!(rule["args"][0]["value"], 0x0E02_0080);
        assert_eq!(rule["args"][0]["valueTwo"], 0);
        assert_eq!(rule["args"][0]["op"], "SCMP_CMP_MASKED_EQ");
    }
    // EPERM here would end every process that makes a thread.
    assert_eq!(of("clone3")[0]["errnoRet"], 38);
}

#[test]
fn the_major_version_is_read_from_the_label() {
    let labels = |v: &str| BTreeMap::from([(VERSION_LABEL.to_owned(), v.to_owned())]);
    assert_eq!(major(&labels("156.0.8078.79")), Some(156));
    assert_eq!(major(&labels("")), None);
    assert_eq!(major(&BTreeMap::new()), None);
}
