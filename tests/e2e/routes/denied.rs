//! Names of a file that pages may not reach.

use super::*;
use crate::harness::{Dns, processes};

#[tokio::test(flavor = "multi_thread")]
async fn names_of_a_file_are_out_of_reach_and_a_reload_of_it_holds_at_once_and_over_a_new_relay() {
    let ((lab, origin), tasks) = (lab(), Tasks::default());
    let here = [lab.origin_ip()];
    let names = ["ads.test", "deep.ads.test", "notads.test", "news.test"];
    let dns = Dns::start(&lab, &names.map(|name| (name, &here[..])), &tasks);
    fs::create_dir_all(lab.state_dir()).unwrap();
    let list = lab.state_dir().join("denied.txt");
    fs::write(&list, "# as it is published\n0.0.0.0 ads.test\n").unwrap();
    let upstream = Upstream::start(&lab, Software::Microsocks, 210);
    let setup = Setup::on(&lab).names(&dns);
    let tables = [upstream.route("gate", "")];
    let chaser = setup
        .set("egress", &routes_file(&lab, &tables))
        .set("egress", &format!("deny_hosts = \"{}\"", list.display()))
        .start()
        .await;
    let session = session_by(&chaser, json!({})).await;
    let around = session_by(&chaser, json!({ "route": "gate" })).await;
    let mut client = Library::Patchright.connect(&session.cdp_url).await;
    let mut other = Library::Patchright.connect(&around.cdp_url).await;
    let mut denied = async |denied: &[&str], allowed: &[&str]| {
        for name in denied {
            for (client, way) in [(&mut client, "straight"), (&mut other, "around")] {
                for scheme in ["http", "https"] {
                    let shown = client.attempt(&format!("{scheme}://{name}/{way}")).await;
                    assert!(shown.error.is_some(), "{name}: {}", shown.text);
                }
            }
        }
        for name in allowed {
            client.goto(&format!("http://{name}/")).await;
        }
    };
    denied(
        &["ads.test", "deep.ads.test"],
        &["notads.test", "news.test"],
    )
    .await;
    let asked = dns.questions();
    let looked_up = |name: &str| asked.iter().any(|one| one == name);
    assert!(
        !looked_up("ads.test") && !looked_up("deep.ads.test"),
        "{asked:?}"
    );
    assert!(looked_up("notads.test"));

    fs::write(&list, "news.test\n").unwrap();
    assert_eq!(chaser.route(&["reload"]).await.0, Some(0));
    // Also on connections that were kept since it was allowed.
    denied(&["news.test"], &["ads.test"]).await;
    // What cannot be read changes nothing, and the operator is told what.
    let aside = list.with_extension("aside");
    fs::rename(&list, &aside).unwrap();
    let (code, said) = chaser.route(&["reload"]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.as_str().unwrap().contains("denied.txt"), "{said}");
    denied(&["news.test"], &["ads.test"]).await;
    fs::rename(&aside, &list).unwrap();

    let relay = chaser.relay_pid();
    processes::kill(relay);
    eventually("there is another relay", seconds(20), async || {
        chaser.relay_after(relay)
    })
    .await;
    client = Library::Patchright.connect(&session.cdp_url).await;
    let shown = client.attempt("http://news.test/after").await;
    assert!(shown.error.is_some(), "{}", shown.text);
    client.goto("http://ads.test/after").await;
    assert!(chaser.metrics().await.contains("reason=\"denied_host\""));
    assert!(upstream.ip() != lab.origin_ip() && origin.requests_of(upstream.ip()).is_empty());
}
