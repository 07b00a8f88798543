//! What a device's browser is told: flags and proxy. Pure.
//!
//! Chrome on Android reads its flags from a file, of which the first word stands for the program; on a
//! production build it does so only while it is the app that is debugged.

/// The file.
pub(super) const FILE: &str = "/data/local/tmp/chrome-command-line";

/// No first run, and no traffic of its own; the flags of `chromium` that mean something on Android.
const FLAGS: &[&str] = &[
    "--disable-fre",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-search-engine-choice-screen",
    "--disable-background-networking",
    "--disable-breakpad",
    "--disable-component-update",
    "--disable-domain-reliability",
    "--disable-quic",
    "--metrics-recording-only",
    "--no-pings",
    "--disable-back-forward-cache",
    "--proxy-bypass-list=<-loopback>",
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--disable-features=NetworkTimeServiceQuerying,OptimizationHints,Translate",
    "--component-updater=url-source=http://127.0.0.1:9/",
    "--gaia-url=http://127.0.0.1:9",
];

/// The file's one line for a browser that finds its proxy at `proxy`.
pub(super) fn flags(proxy: &str) -> String {
    format!("_ --proxy-server={proxy} {}\n", FLAGS.join(" "))
}

/// What `/proc/net/unix` shows of DevTools' socket: the plain name, or the one with a pid that the browser
/// takes where that was taken.
pub(super) fn socket(sockets: &str) -> Option<String> {
    const NAME: &str = "chrome_devtools_remote";
    let mut found: Vec<&str> = sockets
        .lines()
        .filter_map(|line| line.split_whitespace().last()?.strip_prefix('@'))
        .filter(|name| {
            let rest = name.strip_prefix(NAME);
            let pid = rest.and_then(|rest| rest.strip_prefix('_'));
            rest == Some("") || pid.is_some_and(|pid| pid.parse::<u32>().is_ok())
        })
        .collect();
    found.sort_by_key(|name| name.len());
    found.first().map(|name| (*name).to_owned())
}

/// `Android 14 - Chrome 156 (Mobile)`, from the device's release and the browser's `Chrome/156.0.8078.79`.
pub(super) fn device(release: &str, product: &str) -> String {
    let version = product.split_once('/').map_or("", |(_, version)| version);
    let major = version.split('.').next().unwrap_or_default();
    format!("Android {release} - Chrome {major} (Mobile)")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_file_is_one_line_whose_first_word_stands_for_the_program() {
        let text = flags("127.0.0.1:3128");
        assert_eq!(text.lines().count(), 1);
        let mut words = text.split_whitespace();
        assert_eq!(words.next(), Some("_"));
        let switches: Vec<_> = words.map(|word| word.split('=').next().unwrap()).collect();
        assert!(switches.iter().all(|word| word.starts_with("--")), "{text}");
        let once: BTreeSet<_> = switches.iter().collect();
        assert_eq!(once.len(), switches.len(), "{text}");
        assert!(text.contains("--proxy-server=127.0.0.1:3128 "));
        assert!(!text.contains("sandbox"));
    }

    #[test]
    fn the_socket_is_found_under_either_name() {
        let line = |name: &str| format!("0000: 00000002 00000000 00010000 0001 01 1234 {name}\n");
        assert_eq!(socket(""), None);
        assert_eq!(socket(&line("@webview_devtools_remote_12")), None);
        assert_eq!(socket(&line("@chrome_devtools_remote_x")), None);
        let pid = line("@chrome_devtools_remote_4711");
        assert_eq!(socket(&pid).unwrap(), "chrome_devtools_remote_4711");
        let both = pid + &line("@chrome_devtools_remote");
        assert_eq!(socket(&both).unwrap(), "chrome_devtools_remote");
    }

    #[test]
    fn the_device_says_what_it_is() {
        assert_eq!(
            device("14", "Chrome/137.0.7151.61"),
            "Android 14 - Chrome 137 (Mobile)"
        );
    }
}
