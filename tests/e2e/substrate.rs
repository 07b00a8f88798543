//! What is under a session dies, hangs, is frozen or runs out of memory: each end says which, and
//! whose fault it was.

use chaser::wire::node::{Blame, Failure};
use nix::sys::signal::Signal;
use serde_json::json;

use crate::harness::{Cdp, Chaser, Session, Setup, docker, eventually, lab, processes, seconds};

/// The processes of a session's browser: itself first, then what it started.
async fn processes_of(chaser: &Chaser, session: &Session) -> Vec<u32> {
    let init = docker::pid(&chaser.container(&session.id).await).unwrap();
    let browser = processes::descendants(init);
    assert!(!browser.is_empty(), "a browser runs in the container");
    browser
}

/// Waits for `substrate_down` and for the container to go; answers why.
async fn taken_down(chaser: &Chaser, session: &Session) -> Failure {
    let ended = session.wait_for("closed").await;
    assert_eq!(ended["ended_reason"], "substrate_down", "{ended}");
    let seen = chaser.node.session(&session.id).await.unwrap();
    assert!(!seen.billable);
    eventually("its container is removed", seconds(30), async || {
        docker::containers_of(&chaser.node_id)
            .is_empty()
            .then_some(())
    })
    .await;
    seen.failure.unwrap()
}

fn says(failure: &Failure, sentence: &str, blame: Blame) {
    assert!(failure.message.contains(sentence), "{failure:?}");
    assert_eq!(failure.blame(), blame, "{failure:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_killed_from_outside_is_the_hosts_fault() {
    let (lab, _origin) = lab();
    let chaser = Chaser::start(&lab).await;
    let session = chaser.api.ready_session().await;
    docker::kill(&chaser.container(&session.id).await);
    let failure = taken_down(&chaser, &session).await;
    says(&failure, "killed from outside", Blame::Host);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crashed_browser_is_ours_and_a_crashed_page_is_the_pages() {
    let (lab, _origin) = lab();
    let chaser = Chaser::start(&lab).await;
    let session = chaser.api.ready_session().await;
    let all = processes_of(&chaser, &session).await;
    let renderer = all
        .iter()
        .find(|pid| processes::command_line(**pid).contains("--type=renderer"));
    processes::kill(*renderer.expect("the page has a renderer"));
    // The browser answers and opens another page.
    let mut cdp = Cdp::open(&session.cdp_url).await;
    let opened = cdp
        .call("Target.createTarget", json!({ "url": "about:blank" }))
        .await;
    assert!(opened.is_ok(), "{opened:?}");
    assert_eq!(session.get().await["status"], "ready");

    processes::signal(all[0], Signal::SIGSEGV);
    let failure = taken_down(&chaser, &session).await;
    says(&failure, "the browser crashed (signal", Blame::Substrate);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_hangs_is_found_by_its_silence() {
    let (lab, _origin) = lab();
    let chaser = Setup::on(&lab)
        .set("instance", "hang_timeout = \"3s\"")
        .start()
        .await;
    let (hung, well) = (
        chaser.api.ready_session().await,
        chaser.api.ready_session().await,
    );
    let browser = processes_of(&chaser, &hung).await[0];
    processes::signal(browser, Signal::SIGSTOP);
    let ended = hung.wait_for("closed").await;
    assert_eq!(ended["ended_reason"], "substrate_down", "{ended}");
    let failure = chaser.node.session(&hung.id).await.unwrap().failure;
    says(&failure.unwrap(), "has not answered for", Blame::Substrate);
    // Another one beside it answered all the while.
    assert_eq!(well.get().await["status"], "ready");
    assert_eq!(well.delete().await.status.as_u16(), 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_container_ends_its_session_and_is_removed_all_the_same() {
    let (lab, _origin) = lab();
    let chaser = Setup::on(&lab)
        .set("instance", "hang_timeout = \"3s\"")
        .start()
        .await;
    let session = chaser.api.ready_session().await;
    docker::pause(&chaser.container(&session.id).await);
    let failure = taken_down(&chaser, &session).await;
    says(&failure, "paused from outside", Blame::Host);

    // One that is frozen when its customer lets go goes too.
    let session = chaser.api.ready_session().await;
    docker::pause(&chaser.container(&session.id).await);
    assert_eq!(session.delete().await.status.as_u16(), 204);
    eventually("its container is removed", seconds(30), async || {
        docker::containers_of(&chaser.node_id)
            .is_empty()
            .then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_eats_its_containers_memory_ends_by_its_own_fault() {
    let (lab, _origin) = lab();
    let chaser = Setup::on(&lab)
        .set("instance", "memory_bytes = 314572800")
        .start()
        .await;
    let session = chaser.api.ready_session().await;
    let container = chaser.container(&session.id).await;
    // Its scratch space counts as its memory: what a page downloads ends there.
    let filled = docker::exec(&container, "head -c 500M /dev/zero > /tmp/download");
    assert!(!filled, "the container is smaller than that");
    let failure = taken_down(&chaser, &session).await;
    says(
        &failure,
        "more memory than its container has (300 MiB)",
        Blame::Client,
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_was_killed_for_memory_long_before_is_blamed_for_nothing() {
    let (lab, _origin) = lab();
    let chaser = Setup::on(&lab)
        .set("instance", "memory_bytes = 734003200")
        .start()
        .await;
    let session = chaser.api.ready_session().await;
    let container = chaser.container(&session.id).await;
    // It grows until it is the largest there, and the kernel takes it and nothing else.
    assert!(!docker::exec(&container, "exec tail /dev/zero"));
    let oom = docker::inspect(&container, "{{.State.OOMKilled}}");
    eventually("the kill is counted", seconds(10), async || {
        (chaser.node.status().await.oom_kills == 1).then_some(())
    })
    .await;
    assert_eq!(chaser.counter("chaser_node_oom_kills").await, 1, "{oom}");
    assert_eq!(session.get().await["status"], "ready");
    let mut cdp = Cdp::open(&session.cdp_url).await;
    cdp.call("Browser.getVersion", json!({})).await.unwrap();

    // What is recent is past before the container is killed: its death is another matter.
    tokio::time::sleep(seconds(4)).await;
    docker::kill(&container);
    let failure = taken_down(&chaser, &session).await;
    says(&failure, "killed from outside", Blame::Host);
    says(
        &failure,
        "earlier the kernel had killed 1 of its processes",
        Blame::Host,
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_hangs_is_replaced_and_its_sessions_go_on() {
    let (lab, _origin) = lab();
    let chaser = Setup::on(&lab)
        .set("host", "relay_degraded = \"1s\"")
        .set("host", "relay_critical = \"2s\"")
        .set("host", "recovery = \"1s\"")
        .start()
        .await;
    let session = chaser.api.ready_session().await;
    let hung = chaser.relay_pid();
    processes::signal(hung, Signal::SIGSTOP);
    let next = eventually("another relay serves", seconds(30), async || {
        let status = chaser.node.status().await;
        (status.relay_pid != 0 && status.relay_pid != hung).then_some(status.relay_pid)
    })
    .await;
    assert!(!processes::lives(hung) && processes::lives(next));
    let browser = eventually("the session is served again", seconds(30), async || {
        let mut cdp = Cdp::connect(&session.cdp_url).await.ok()?;
        cdp.call("Browser.getVersion", json!({})).await.ok()
    })
    .await;
    assert!(browser["product"].as_str().unwrap().contains("Chrome"));
    assert_eq!(session.get().await["status"], "ready");
    assert_eq!(session.delete().await.status.as_u16(), 204);
}
