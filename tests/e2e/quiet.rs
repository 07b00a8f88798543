//! An idle browser is nobody's bill.

use tokio::time::sleep;

use chaser::runtime::Tasks;

use crate::{
    egress::REFUSED,
    harness::{Dns, Setup, lab, seconds},
};

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_blank_session_sends_nothing_and_is_refused_nothing_for_a_minute() {
    let (lab, origin) = lab();
    let dns = Dns::start(&lab, &[], &Tasks::default());
    let chaser = Setup::on(&lab).names(&dns).start().await;
    let session = chaser.api.ready_session().await;
    sleep(seconds(60)).await;
    let object = session.get().await;
    assert_eq!(object["status"], "ready");
    assert_eq!(
        (&object["bytes_up"], &object["bytes_down"]),
        (&0.into(), &0.into())
    );
    assert_eq!(
        chaser.counter(REFUSED).await,
        0,
        "{}",
        chaser.metrics().await
    );
    assert_eq!(
        dns.questions(),
        Vec::<String>::new(),
        "no name was looked up"
    );
    assert_eq!(origin.connections(), 0);
}
