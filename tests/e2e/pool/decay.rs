//! What stands too long, dies or is of yesterday is never handed out.

use serde_json::json;

use super::{claim, containers, parked, pool, usable, warm};
use crate::harness::{Library, Setup, docker, eventually, lab, processes, seconds};

/// The pid of one of the browser's processes, by a word of its command line.
fn process(container: &str, word: &str) -> u32 {
    let init = docker::pid(container).unwrap();
    let all = processes::descendants(init);
    let of_kind = |pid: &&u32| processes::command_line(**pid).contains(word);
    *all.iter()
        .find(of_kind)
        .unwrap_or_else(|| panic!("no {word} in {container}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_browser_is_never_handed_out() {
    let (lab, origin) = lab();
    let chaser = warm(&lab, 2, 4).start().await;
    let dead: Vec<_> = parked(&chaser, 2).await.into_iter().collect();
    // The browser itself in one, the whole container in the other; orders come at the same moment.
    processes::kill(process(&dead[0], "--remote-debugging-port"));
    docker::kill(&dead[1]);
    for _ in 0..2 {
        let session = usable(&chaser, &origin).await;
        assert!(!dead.contains(&chaser.container(&session.id).await));
        assert_eq!(session.delete().await.status, 204);
    }
    let fresh = parked(&chaser, 2).await;
    assert!(
        dead.iter().all(|container| !fresh.contains(container)),
        "{fresh:?}"
    );
    assert!(pool(&chaser).await.retired["decayed"] <= 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_whose_page_has_crashed_is_replaced() {
    let (lab, origin) = lab();
    let chaser = warm(&lab, 1, 3)
        .set("pool", "probe_interval = \"1s\"")
        .start()
        .await;
    let crashed = parked(&chaser, 1).await;
    let container = crashed.first().unwrap();
    for renderer in processes::descendants(docker::pid(container).unwrap()) {
        if processes::command_line(renderer).contains("--type=renderer") {
            processes::kill(renderer);
        }
    }
    eventually("another one stands there", seconds(60), async || {
        let pool = pool(&chaser).await;
        (pool.retired["decayed"] == 1 && pool.parked == 1).then_some(())
    })
    .await;
    let session = usable(&chaser, &origin).await;
    assert_ne!(chaser.container(&session.id).await, *container);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_session_reaches_the_next_one() {
    let (lab, origin) = lab();
    let chaser = warm(&lab, 2, 3).start().await;
    parked(&chaser, 2).await;
    let leave = "document.cookie = 'a=1; max-age=600'; localStorage.a = '1'; document.cookie";
    let first = claim(&chaser).await;
    let mut client = Library::Playwright.connect(&first.cdp_url).await;
    client.goto(&origin.http("/page")).await;
    assert_eq!(client.evaluate(leave).await, "a=1");
    drop(client);
    assert_eq!(first.delete().await.status, 204);
    for _ in 0..2 {
        let next = claim(&chaser).await;
        let mut client = Library::Playwright.connect(&next.cdp_url).await;
        client.goto(&origin.http("/page")).await;
        let found = "document.cookie + (localStorage.a ?? '') + history.length";
        assert_eq!(
            client.evaluate(found).await,
            "2",
            "about:blank and the page"
        );
        let ip = next.egress_ip().await;
        assert!(
            origin.bytes_of(ip).down > 0,
            "asked for anew, from nobody's cache"
        );
        drop(client);
        assert_eq!(next.delete().await.status, 204);
        parked(&chaser, 2).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_parked_is_replaced_when_it_is_old() {
    let (lab, _origin) = lab();
    let chaser = warm(&lab, 1, 2)
        .set("pool", "max_age = \"20s\"")
        .start()
        .await;
    let old = parked(&chaser, 1).await;
    eventually("another one stands there", seconds(90), async || {
        let pool = pool(&chaser).await;
        (pool.retired["aged"] >= 1 && pool.parked == 1).then_some(())
    })
    .await;
    assert!(containers(&chaser).is_disjoint(&old));
    let session = claim(&chaser).await;
    assert_eq!(session.delete().await.status, 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_parked_is_replaced_when_the_image_is_another() {
    let (lab, origin) = lab();
    let image = docker::Renamed::new(lab.runtime_dir().file_name().unwrap().to_str().unwrap());
    let chaser = Setup::on(&lab)
        .set("instance", &format!("image = \"{}\"", image.name))
        .set("pool", "warm = 1")
        .set("pool", "probe_interval = \"1s\"")
        .start()
        .await;
    let old = parked(&chaser, 1).await;
    image.rebuild();
    eventually("the new image is parked", seconds(60), async || {
        let pool = pool(&chaser).await;
        (pool.retired["image"] == 1 && pool.parked == 1).then_some(())
    })
    .await;
    let session = claim(&chaser).await;
    let container = chaser.container(&session.id).await;
    assert!(!old.contains(&container));
    let id = docker::inspect(&container, "{{.Image}}");
    assert_eq!(id, image.id());
    let mut client = Library::Playwright.connect(&session.cdp_url).await;
    client
        .must("goto", json!({ "url": origin.http("/page") }))
        .await;
    drop(client);
    assert_eq!(session.delete().await.status, 204);
}
