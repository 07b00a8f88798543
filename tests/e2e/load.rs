//! Twenty at once, and nothing left of them in a daemon that goes on.

use std::collections::BTreeSet;

use futures::future::join_all;

use crate::harness::{Cdp, Footprint, Setup, eventually, lab, seconds};

#[tokio::test(flavor = "multi_thread")]
async fn twenty_sessions_at_once_become_ready_and_leave_nothing_in_a_running_daemon() {
    let (lab, _origin) = lab();
    let chaser = Setup::on(&lab).egress_addresses(20).start().await;
    // The first session may leave what is made once and kept.
    let first = chaser.api.ready_session().await;
    first.delete().await;
    let before = settled(&chaser).await;

    let sessions = join_all((0..20).map(|_| chaser.api.create())).await;
    join_all(sessions.iter().map(|session| session.wait_for("ready"))).await;
    let addresses = join_all(sessions.iter().map(|session| session.egress_ip())).await;
    assert_eq!(addresses.into_iter().collect::<BTreeSet<_>>().len(), 20);
    let clients = join_all(sessions.iter().map(|session| Cdp::open(&session.cdp_url))).await;
    assert_eq!(Footprint::of(&chaser).containers.len(), 20);

    for answer in join_all(sessions.iter().map(|session| session.delete())).await {
        assert_eq!(answer.status, 204);
    }
    for mut client in clients {
        assert_eq!(
            client.closed(seconds(5)).await.map(|(code, _)| code),
            Some(4001)
        );
    }
    let mut now = Footprint::of(&chaser);
    eventually_same(&chaser, &before, &mut now).await;
}

/// A footprint without a container.
async fn settled(chaser: &crate::harness::Chaser) -> Footprint {
    eventually("the first session is gone", seconds(20), async || {
        let now = Footprint::of(chaser);
        (now.containers.is_empty() && now.counters.is_empty() && now.foreign_sockets == 0)
            .then_some(now)
    })
    .await
}

async fn eventually_same(chaser: &crate::harness::Chaser, before: &Footprint, now: &mut Footprint) {
    let same = tokio::time::timeout(seconds(30), async {
        while now != before {
            tokio::time::sleep(seconds(1)).await;
            *now = Footprint::of(chaser);
        }
    });
    assert!(same.await.is_ok(), "before: {before:#?}\nafter: {now:#?}");
}
