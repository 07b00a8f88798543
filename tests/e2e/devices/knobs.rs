//! Devices that fail on command: the stand-in of `tests/android`.

use chaser::wire::node::{EndReason, Event, Failure, Phase, Progress, event::What};
use tonic::Code;

use super::{Ordered, cdp_url, order};
use crate::harness::{Library, docker, eventually, lab, seconds, session_id};

/// What became of an order that cannot succeed, with such arguments of the container.
async fn failure(arguments: &[&str]) -> Failure {
    failure_of(Ordered::stand_in(arguments)).await
}

/// The same, of a device as it was described.
pub(super) async fn failure_of(ordered: Ordered) -> Failure {
    let (lab, _origin) = lab();
    let ordered = ordered.line("boot_timeout = \"8s\"");
    let chaser = ordered.on(&lab).start().await;
    let order = order(ordered.substrate, seconds(900));
    let ended = chaser.node.provision(&session_id(), order).await.unwrap();
    assert_eq!(ended.phase(), Phase::Ended);
    assert_eq!(ended.end_reason(), EndReason::Error);
    assert!(!ended.billable);
    eventually("nothing is left of it", seconds(30), async || {
        let left = docker::containers_of(&chaser.node_id);
        left.is_empty().then_some(())
    })
    .await;
    ended.failure.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_rung_that_is_not_reached_is_named_in_the_failure() {
    let never = failure(&["androidboot.test.boot_delay=never"]).await;
    assert_eq!(never.code, "device_not_booted", "{never:?}");
    assert!(never.message.contains("animation=running"), "{never:?}");
    let deaf = failure(&["androidboot.test.adbd_delay=60"]).await;
    assert_eq!(deaf.code, "device_no_adbd", "{deaf:?}");
    let bare = failure(&["androidboot.test.chrome=missing"]).await;
    assert_eq!(bare.code, "device_no_browser", "{bare:?}");
    let looping = failure(&["androidboot.test.zygote=loop"]).await;
    assert_eq!(looping.code, "device_crash_loop", "{looping:?}");
    let evidence = "System zygote died with fatal exception";
    assert!(looping.message.contains(evidence), "{looping:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_ends_at_once_is_started_twice_and_then_given_up() {
    let broken = failure(&["androidboot.test.chrome=broken"]).await;
    assert!(
        ["device_no_devtools", "device_devtools_silent"].contains(&broken.code.as_str()),
        "{broken:?}"
    );
    assert!(broken.message.contains("2 times"), "{broken:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_boot_is_waited_for_and_a_life_that_is_shorter_is_refused() {
    let (lab, _origin) = lab();
    let slow = [
        "androidboot.test.boot_delay=6",
        "androidboot.test.adbd_delay=3",
    ];
    let ordered = Ordered::stand_in(&slow);
    let chaser = ordered.on(&lab).start().await;
    let short = order(ordered.substrate, seconds(149));
    let refused = chaser
        .node
        .provision(&session_id(), short)
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    assert!(refused.message().contains("at least 150 s"), "{refused}");
    let session = ordered.session(&chaser).await;
    assert!(
        session.device.starts_with("Android 14 - Chrome 1"),
        "{session:?}"
    );
}

/// Who watches a slow boot sees each step with its budget, and asks for the one that it is at.
#[tokio::test(flavor = "multi_thread")]
async fn the_steps_of_a_slow_boot_go_by_whoever_watches() {
    let (lab, _origin) = lab();
    let slow = [
        "androidboot.test.boot_delay=5",
        "androidboot.test.adbd_delay=3",
    ];
    let ordered = Ordered::stand_in(&slow);
    let chaser = ordered.on(&lab).start().await;
    let id = session_id();
    let made = chaser
        .node
        .provision(&id, order(ordered.substrate, seconds(900)));
    let asked = eventually("it is asked how far it is", seconds(20), async || {
        let seen = chaser.node.session(&id).await.ok()?;
        seen.progress.filter(|at| at.step == "boot")
    });
    let (made, asked) = tokio::join!(made, asked);
    assert_eq!(asked.doing, "waiting for Android to boot");
    assert_eq!(asked.limit.unwrap().seconds, 90);
    let session = made.unwrap();
    assert_eq!(session.phase(), Phase::Ready);
    assert_eq!(session.progress, None, "it is not on its way any more");

    let is_ready =
        |event: &Event| matches!(&event.what, Some(What::Session(s)) if s.phase() == Phase::Ready);
    let events = chaser
        .node
        .events_until(|events| events.iter().any(is_ready));
    let told = events.await;
    let steps: Vec<Progress> = (told.into_iter())
        .filter_map(|event| match event.what {
            Some(What::Session(session)) => session.progress,
            _ => None,
        })
        .collect();
    let words: Vec<_> = steps.iter().map(|at| at.step.as_str()).collect();
    // A step of a moment may be over before it is told; these two took seconds.
    assert_eq!(words[..2], ["adbd", "boot"], "{steps:?}");
    let ladder = [
        "adbd",
        "boot",
        "package",
        "settings",
        "launch",
        "devtools_socket",
        "devtools",
    ];
    let rungs = words
        .iter()
        .map(|word| ladder.iter().position(|one| one == word));
    assert!(rungs.is_sorted_by(|a, b| a.is_some() && a < b), "{words:?}");
    assert_eq!(steps[0].since, steps[1].since, "one budget for both");
    assert_eq!(steps[1], asked);
}

/// What Android was told, and what its browser made of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_told_its_proxy_and_its_browser_its_flags_and_is_hardened_all_the_same() {
    let (lab, _origin) = lab();
    let ordered = Ordered::stand_in(&[]);
    let chaser = ordered.on(&lab).start().await;
    let session = ordered.session(&chaser).await;
    let container = chaser.container(&session.id).await;
    let read = |line: &str| docker::run(&["exec", &container, "sh", "-c", line]);
    let calls = read("cat /data/device/calls");
    for call in [
        "pm path com.android.chrome",
        "settings put global http_proxy 127.0.0.1:3128",
        "am set-debug-app --persistent com.android.chrome",
        "am force-stop com.android.chrome",
        "am start -W -n com.android.chrome/com.google.android.apps.chrome.Main -d about:blank",
    ] {
        assert!(calls.lines().any(|line| line == call), "{call}: {calls}");
    }
    let browser = read("tr '\\0' ' ' </proc/$(pgrep -f remote-debugging-por[t] | head -1)/cmdline");
    assert!(
        browser.contains("--proxy-server=127.0.0.1:3128"),
        "{browser}"
    );
    assert!(
        browser.contains("--proxy-bypass-list=<-loopback>"),
        "{browser}"
    );
    let host = docker::inspect(
        &container,
        "{{.HostConfig.Privileged}} {{.HostConfig.CapDrop}}",
    );
    assert_eq!(host, "false [ALL]");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_where_its_route_comes_out() {
    let (lab, origin) = lab();
    let ordered = Ordered::stand_in(&[]);
    let file = lab.state_dir().join("routes.toml");
    std::fs::create_dir_all(lab.state_dir()).unwrap();
    let table = format!(
        "[[route]]\nname = \"tokyo\"\nkind = \"direct\"\naddresses = [\"{}\"]\n\
         time_zone = \"Asia/Tokyo\"\nlocale = \"ja-JP\"\n",
        lab.egress_addresses(1)[0]
    );
    std::fs::write(&file, table).unwrap();
    let setup = ordered.on(&lab).egress_addresses(0);
    let routes = format!("routes = \"{}\"", file.display());
    let chaser = setup.set("egress", &routes).start().await;
    let session = ordered.session(&chaser).await;
    let mut client = Library::Playwright
        .connect(&cdp_url(&chaser, &session))
        .await;
    client.goto(&origin.http("/there")).await;
    let said = "(({ timeZone, locale }) => [timeZone, locale].join())\
                (Intl.DateTimeFormat().resolvedOptions())";
    assert_eq!(client.evaluate(said).await, "Asia/Tokyo,ja-JP");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adbd_that_dies_costs_its_clients_their_connection_and_not_the_session() {
    let (lab, origin) = lab();
    let ordered = Ordered::stand_in(&[]);
    let chaser = ordered.on(&lab).start().await;
    let session = ordered.session(&chaser).await;
    let url = cdp_url(&chaser, &session);
    let mut client = Library::Playwright.connect(&url).await;
    client.goto(&origin.http("/before")).await;
    let container = chaser.container(&session.id).await;
    assert!(docker::exec(&container, "pkill -9 -x adbd"));
    eventually("the client is told", seconds(10), async || {
        client.was_disconnected().then_some(())
    })
    .await;
    let mut again = eventually("another is served", seconds(20), async || {
        let mut client = Library::Playwright.start();
        let connected = client.call("connect", serde_json::json!({ "url": url }));
        connected.await.ok().map(|_| client)
    })
    .await;
    again.goto(&origin.http("/after")).await;
    let seen = chaser.node.session(&session.id).await.unwrap();
    assert_eq!(seen.phase(), Phase::Ready);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_dies_on_a_device_ends_the_session() {
    let (lab, _origin) = lab();
    let ordered = Ordered::stand_in(&[]);
    let setup = ordered.on(&lab).set("instance", "hang_timeout = \"3s\"");
    let chaser = setup.start().await;
    let session = ordered.session(&chaser).await;
    let container = chaser.container(&session.id).await;
    assert!(docker::exec(
        &container,
        "pkill -9 -f remote-debugging-por[t]"
    ));
    let ended = eventually("it has ended", seconds(30), async || {
        let seen = chaser.node.session(&session.id).await.unwrap();
        (seen.phase() == Phase::Ended).then_some(seen)
    })
    .await;
    assert_eq!(ended.end_reason(), EndReason::SubstrateDown);
    let why = ended.failure.unwrap();
    assert!(why.message.contains("has not answered"), "{why:?}");
}
