use tokio_tungstenite::tungstenite::Message;

use super::*;
use crate::{
    profile::Catalogue,
    relay::fake_devtools::{FakeBrowser, attached},
};

/// A phone for tests.
pub(in crate::relay) fn phone() -> Profile {
    Profile::clone(&Catalogue::built_in().default_profile())
}

/// Silence is nothing to worry about.
pub(in crate::relay) fn patient() -> watch::Receiver<Duration> {
    watch::channel(Duration::from_secs(600)).1
}

/// What a page of that phone is sent.
pub(in crate::relay) fn own_overrides() -> Vec<Command> {
    let version = Version::of("Chrome/156.0.8078.79").unwrap();
    overrides::overrides(&phone(), &version, Kind::Page)
}

async fn supervised() -> (FakeBrowser, Supervisor, Tasks) {
    let browser = FakeBrowser::start().await;
    let tasks = Tasks::default();
    let supervisor = start(browser.devtools(), Arc::new(phone()), patient(), &tasks).await;
    (browser, supervisor.unwrap(), tasks)
}

#[tokio::test]
async fn it_starts_with_the_page_covered_by_both() {
    let (browser, supervisor, _tasks) = supervised().await;
    assert_eq!(supervisor.connections(), 2);
    assert!(*supervisor.gate().borrow());
    assert_eq!(supervisor.browser().ws_path, "/devtools/browser/guid");
    assert!(browser.commands("Target.createTarget", 0).await.is_empty());
    let log = browser.log.lock().clone();
    let mut connections: Vec<_> = log.iter().map(|(connection, _)| *connection).collect();
    connections.dedup();
    connections.sort_unstable();
    connections.dedup();
    assert_eq!(connections.len(), 2);
    for connection in connections {
        let of_page = log.iter().filter(|(at, _)| *at == connection);
        let methods: Vec<_> = of_page
            .filter(|(_, command)| command["sessionId"] == "PAGE")
            .map(|(_, command)| command["method"].as_str().unwrap())
            .collect();
        assert_eq!(methods.first(), Some(&"Target.setAutoAttach"));
        assert_eq!(methods.last(), Some(&"Runtime.runIfWaitingForDebugger"));
        assert!(methods.contains(&"Emulation.setDeviceMetricsOverride"));
    }
}

#[tokio::test]
async fn a_new_worker_is_covered_and_a_tab_only_resumed() {
    let (browser, _supervisor, _tasks) = supervised().await;
    let before = browser.log.lock().len();
    browser.say(Message::text(attached("WORKER", "worker").to_string()));
    browser.say(Message::text(attached("TAB", "tab").to_string()));
    browser.commands("Runtime.runIfWaitingForDebugger", 6).await;
    let log = browser.log.lock().split_off(before);
    let of = |session: &str| -> Vec<_> {
        let all = log.iter().filter(|(_, c)| c["sessionId"] == session);
        all.map(|(_, c)| c["method"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(of("TAB").len(), 2);
    let worker = of("WORKER");
    assert_eq!(
        worker
            .iter()
            .filter(|m| *m == "Emulation.setUserAgentOverride")
            .count(),
        2
    );
}

/// A container's browser is started for its place, so that saying it again is for nothing; no profile is on a
/// device, so there it is not.
#[tokio::test]
async fn a_device_is_told_where_it_is_though_its_profile_says_so_already() {
    let kit = |is_device| Kit {
        is_device,
        worn: Mutex::new(Worn {
            profile: Arc::new(phone()),
            place: Place::default(),
        }),
        version: Version::of("Chrome/156.0.8078.79").unwrap(),
        exempt: Arc::default(),
        covered: Arc::default(),
        heart: Heart::new(patient()),
    };
    let place = Place {
        time_zone: phone().time_zone,
        languages: phone().languages,
        position: None,
    };
    assert!(!kit(false).settle(&place));
    let device = kit(true);
    assert!(device.settle(&place));
    let told: Vec<_> = (device.overrides("T", Kind::Page).into_iter())
        .map(|command| command.method)
        .collect();
    let where_it_is = [
        "Emulation.setTimezoneOverride",
        "Emulation.setLocaleOverride",
    ];
    assert_eq!(told, where_it_is);
    assert!(!device.settle(&place), "it has been told");
    assert!(!device.settle(&Place::default()), "nothing is said");
    assert_eq!(device.overrides("T", Kind::Page).len(), 2);
}

#[tokio::test]
async fn lost_connections_come_back_and_the_gate_is_closed_between() {
    let (browser, supervisor, tasks) = supervised().await;
    let mut gate = supervisor.gate();
    browser.say(Message::Close(None));
    gate.wait_for(|open| !open).await.unwrap();
    gate.wait_for(|open| *open).await.unwrap();
    browser.commands("Runtime.runIfWaitingForDebugger", 4).await;
    assert_eq!(tasks.drain(Duration::from_secs(1)).await, Ok(()));
    assert!(!*supervisor.gate().borrow());
}

#[tokio::test]
async fn all_is_asserted_again_when_asked() {
    let (browser, supervisor, _tasks) = supervised().await;
    let method = "Emulation.setDeviceMetricsOverride";
    assert_eq!(browser.commands(method, 2).await.len(), 2);
    supervisor.assert_again();
    browser.commands(method, 4).await;
}

#[tokio::test]
async fn a_browser_that_never_answers_is_waited_for_until_the_stop() {
    let browser = FakeBrowser::start().await;
    let devtools = browser.devtools();
    assert_eq!(browser.tasks.drain(Duration::from_secs(1)).await, Ok(()));
    let tasks = Tasks::default();
    let stops = async {
        sleep(Duration::from_millis(50)).await;
        tasks.stopping().cancel();
    };
    let (ended, ()) = tokio::join!(start(devtools, Arc::new(phone()), patient(), &tasks), stops);
    assert!(matches!(ended, Err(SupervisorError::Stopped)));
}
