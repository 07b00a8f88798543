//! Chromium in a container: launch flags and hardening, as a pure function.
//!
//! Three layers make the browser a phone: what follows from a flag is set here, because no client
//! can clear it; what has no flag is held by the relay's supervisor; `navigator.platform` is
//! patched into the image. The container has no network, no capability, no writable root and no
//! way to gain privileges, and inside it Chromium keeps its own sandbox: a host that cannot give
//! it that must fail, so no flag here ever turns it off.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use super::SECCOMP;
use crate::{
    docker::ContainerSpec,
    instance::Config,
    netns,
    profile::{Hover, Network, Pointer, Profile},
};

/// Where DevTools listens, inside the container's own namespace.
pub const DEVTOOLS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9222);
/// The image's label with the full version of its Chromium.
pub const VERSION_LABEL: &str = "chaser.chromium.version";
/// The image's label with the hash of what it was built from.
pub const RECIPE_LABEL: &str = "chaser.recipe";
/// The image's label that says whether `navigator.platform` is patched: `1` or `0`.
pub const PATCH_LABEL: &str = "chaser.platform-patch";
/// The image's label that says whether the shim for memory, cores and Wi-Fi is in it: `1` or `0`.
pub const SHIM_LABEL: &str = "chaser.phone-shim";

/// The only place to write; it goes with the container.
const SCRATCH: &str = "/tmp";
const LOG_BYTES: u64 = 1 << 20;

/// Features switched off, in the one switch that may name them: a second one replaces the first.
const DISABLED_FEATURES: &[&str] = &[
    // Traffic of its own, which would be on the customer's bill.
    "NetworkTimeServiceQuerying",
    "OptimizationHints",
    "MediaRouter",
    "DialMediaRouteProvider",
    // Pages of the browser's interface that clients would see as tabs, at a renderer each.
    "WebUIOmniboxPopup",
    "WebUIOmniboxFullPopup",
    "WebUIOmniboxAimPopup",
    "PreloadTopChromeWebUI",
    "GlobalMediaControls",
    "Translate",
];

/// What Chrome on Android has and Chrome on Linux has not.
const PHONE_FEATURES: &str =
    "OrientationEvent,NetInfoDownlinkMax,WebShare,ContactsManager,WebNFC,WebBluetooth";
/// The reverse.
const DESKTOP_FEATURES: &str = "EyeDropperAPI,Serial,WebHID,FontAccess,DocumentPictureInPictureAPI";

/// Silence: an idle session sends nothing. Port 9 is on Chromium's own list of blocked ports, so
/// what still wants to call home fails before it reaches the proxy.
const QUIET: &[&str] = &[
    "--disable-background-networking",
    "--disable-breakpad",
    "--disable-client-side-phishing-detection",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-domain-reliability",
    "--disable-extensions",
    "--disable-quic",
    "--disable-sync",
    "--allow-browser-signin=false",
    "--component-updater=url-source=http://127.0.0.1:9/",
    "--gaia-url=http://127.0.0.1:9",
    "--metrics-recording-only",
    "--mute-audio",
    "--no-default-browser-check",
    "--no-first-run",
    "--no-pings",
    "--no-service-autorun",
    "--password-store=basic",
];

/// The container of one instance. The caller adds its labels.
#[must_use]
pub fn container(image: &str, profile: &Profile, config: &Config) -> ContainerSpec {
    ContainerSpec {
        image: image.to_owned(),
        command: flags(profile, config),
        env: environment(profile),
        user: "1000:1000".to_owned(),
        labels: BTreeMap::new(),
        read_only: true,
        tmpfs: BTreeMap::from([(
            SCRATCH.to_owned(),
            format!(
                "rw,noexec,nosuid,nodev,mode=1777,size={}",
                config.scratch_bytes
            ),
        )]),
        shm_bytes: config.shm_bytes,
        memory_bytes: config.memory_bytes,
        cpu_millis: config.cpu_millis,
        pids: config.pids,
        cap_drop: vec!["ALL".to_owned()],
        security_opt: vec!["no-new-privileges".to_owned(), format!("seccomp={SECCOMP}")],
        runtime: config.runtime.clone(),
        log_max_bytes: LOG_BYTES,
        stop_signal: None,
        ..ContainerSpec::default()
    }
}

/// What is the process's own from its start, so that no worker can be too early for it. The image's
/// shim (`images/chromium/phone.c`) reads what begins with `PHONE_`.
fn environment(profile: &Profile) -> Vec<String> {
    let Profile {
        languages,
        hardware,
        ..
    } = profile;
    let language = languages.first().map_or("", String::as_str);
    let Network::Wifi = profile.network;
    vec![
        format!("HOME={SCRATCH}"),
        format!("TZ={}", profile.time_zone),
        // On Linux Chromium takes its language from here; `--lang` is for other systems.
        format!("LANGUAGE={}", language.replace('-', "_")),
        format!("PHONE_CORES={}", hardware.concurrency),
        format!("PHONE_MEMORY_GIB={}", hardware.memory_gib),
        "PHONE_WIFI=1".to_owned(),
    ]
}

/// The flag that makes the native User-Agent the profile's: for requests of the browser itself,
/// which belong to no target that the supervisor could override. It needs the version that the
/// image carries ([`major`]).
#[must_use]
pub fn user_agent_flag(profile: &Profile, major: u32) -> String {
    format!("--user-agent={}", profile.user_agent(major))
}

/// The major version of the Chromium in an image with these labels.
#[must_use]
pub fn major(labels: &BTreeMap<String, String>) -> Option<u32> {
    labels.get(VERSION_LABEL)?.split('.').next()?.parse().ok()
}

fn flags(profile: &Profile, config: &Config) -> Vec<String> {
    let languages = profile.languages.join(",");
    let mut flags = vec![
        "--headless=new".to_owned(),
        format!("--remote-debugging-port={}", DEVTOOLS.port()),
        format!("--user-data-dir={SCRATCH}/profile"),
        // Left alone, the cache takes what it finds free, and the scratch is memory.
        format!("--disk-cache-size={}", config.scratch_bytes / 4),
        // Everything through our proxy, requests for the browser's own localhost included.
        format!("--proxy-server={}", netns::EGRESS),
        "--proxy-bypass-list=<-loopback>".to_owned(),
        "--webrtc-ip-handling-policy=disable_non_proxied_udp".to_owned(),
        screen_info(profile),
        "--start-maximized".to_owned(),
        "--hide-scrollbars".to_owned(),
        // `ontouchstart` and its like, which Chrome on Linux has only beside a touch screen.
        "--touch-events=enabled".to_owned(),
        format!("--accept-lang={languages}"),
        // Playwright and Patchright wait in vain for a page that comes back from there, on any Chrome.
        "--disable-back-forward-cache".to_owned(),
        blink_settings(profile),
        format!("--enable-blink-features={PHONE_FEATURES}"),
        format!("--disable-blink-features={DESKTOP_FEATURES}"),
        format!("--disable-features={}", DISABLED_FEATURES.join(",")),
    ];
    if profile.is_mobile() {
        flags.push("--use-mobile-user-agent".to_owned());
    }
    flags.extend(QUIET.iter().copied().map(str::to_owned));
    flags.push("about:blank".to_owned());
    flags
}

/// The screen in physical pixels.
fn screen_info(profile: &Profile) -> String {
    let screen = &profile.screen;
    format!(
        "--screen-info={{{}x{} devicePixelRatio={}}}",
        screen.physical_width, screen.physical_height, screen.device_pixel_ratio
    )
}

/// What the engine would decide from a phone's hardware. `viewportStyle` needs
/// `shrinksViewportContentToFit` beside it, or pages are laid out 2000 pixels wide.
fn blink_settings(profile: &Profile) -> String {
    // Bits of the engine's own enumerations.
    let hover = match profile.input.hover {
        Hover::None => 1,
        Hover::Hover => 2,
    };
    let pointer = match profile.input.pointer {
        Pointer::Coarse => 2,
        Pointer::Fine => 4,
    };
    format!(
        "--blink-settings=primaryHoverType={hover},availableHoverTypes={hover},\
         primaryPointerType={pointer},availablePointerTypes={pointer},maxTouchPoints={},pluginsEnabled=false,hideScrollbars=true,\
         viewportEnabled=true,viewportMetaEnabled=true,textAutosizingEnabled=true,\
         shrinksViewportContentToFit=true,mainFrameResizesAreOrientationChanges=true,\
         viewportStyle=2",
        profile.input.touch_points
    )
}

#[cfg(test)]
#[path = "chromium_tests.rs"]
mod tests;
