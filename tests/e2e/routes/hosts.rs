//! Bytes by host, where the operator wants to know.

use super::*;
use crate::harness::Dns;

#[tokio::test(flavor = "multi_thread")]
async fn the_hosts_with_the_most_bytes_are_shown_and_all_rows_together_are_the_meter() {
    let ((lab, origin), tasks) = (lab(), Tasks::default());
    let here = [lab.origin_ip()];
    let names = ["much.test", "some.test", "little.test", "less.test"];
    let known = names.map(|name| (name, &here[..]));
    let dns = Dns::start(&lab, &known, &tasks);
    let chaser = Setup::on(&lab)
        .names(&dns)
        .set("egress", "top_hosts = 2")
        .start()
        .await;
    let session = session_by(&chaser, json!({})).await;
    let ip = session.egress_ip().await;
    let mut client = Library::Patchright.connect(&session.cdp_url).await;
    for (name, size) in names.iter().zip([400_000, 200_000, 20_000, 10_000]) {
        client.goto(&format!("http://{name}/")).await;
        let fetch = format!("fetch('/bytes/{size}').then((r) => r.arrayBuffer()).then(() => 0)");
        client.evaluate(&fetch).await;
    }
    let shown = eventually("every byte is by a host", seconds(10), async || {
        let shown = session.get().await;
        let rows = shown["bytes_by_host"].as_array().unwrap().clone();
        let sum = |field: &str| {
            rows.iter()
                .map(|row| row[field].as_u64().unwrap())
                .sum::<u64>()
        };
        let whole =
            shown["bytes_up"] == sum("bytes_up") && shown["bytes_down"] == sum("bytes_down");
        (whole && shown["bytes_down"] == origin.bytes_of(ip).down).then_some(rows)
    })
    .await;
    let hosts: Vec<_> = shown.iter().map(|row| row["host"].clone()).collect();
    assert_eq!(hosts, [json!("much.test"), json!("some.test"), Value::Null]);
    assert!(shown[0]["bytes_down"].as_u64().unwrap() > 400_000);
    let listed = chaser.api.get("/v1/sessions").await;
    assert_eq!(
        listed.body["data"][0]["bytes_by_host"],
        Value::Null,
        "of one session only"
    );
    // Names of what was reached are in no log, and in nothing that is kept.
    for name in names {
        secret::unwritten(&chaser, name).await;
    }
    let said = chaser
        .command(&["session", "get", &session.id])
        .env("CHASER_API_URL", chaser.api.base())
        .env("CHASER_API_KEY", "sk_test")
        .output()
        .await
        .unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    assert!(
        said.contains("much.test") && said.contains("(all others)"),
        "{said}"
    );
    assert_eq!(session.delete().await.status, 204);
    assert_eq!(session.get().await["bytes_by_host"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_counts_hosts_who_was_not_told_to() {
    let (lab, origin) = lab();
    let chaser = Chaser::start(&lab).await;
    let session = session_by(&chaser, json!({})).await;
    let mut client = Library::Patchright.connect(&session.cdp_url).await;
    client.goto(&origin.http("/")).await;
    assert_eq!(session.get().await["bytes_by_host"], Value::Null);
}
