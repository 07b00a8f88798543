//! What an operator grants a workspace, and one of its keys.

use super::*;

/// `chaser WORDS` on this daemon's database.
async fn operator(chaser: &Chaser, words: &[&str]) -> (i32, String) {
    let run = chaser
        .command(words)
        .env("CHASER_STATE_DIR", chaser.state_dir.join("S"))
        .output();
    let output = run.await.unwrap();
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.code().unwrap(),
        String::from_utf8(text).unwrap(),
    )
}

fn policy_file(lab: &Lab, name: &str, text: &str) -> String {
    let path = lab.state_dir().join(name);
    fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workspaces_policy_and_a_keys_hold_together_from_the_next_order_on() {
    let (lab, origin) = lab();
    let chaser = Chaser::start(&lab).await;
    let before = session_by(&chaser, json!({})).await;
    let of_all = policy_file(
        &lab,
        "team.toml",
        "[never]\nports = [443]\n[limits]\nquota_bytes = 2000000\n",
    );
    let of_key = policy_file(&lab, "key.toml", "[limits]\nquota_bytes = 500000\n");
    let words = ["workspace", "set-policy", "default", "--file", &of_all];
    assert_eq!(operator(&chaser, &words).await.0, 0);
    let words = ["key", "create", "--policy", &of_key, "--json"];
    let (code, made) = operator(&chaser, &words).await;
    assert_eq!(code, 0, "{made}");
    let made: Value = serde_json::from_str(&made).unwrap();
    let narrow = chaser.api.with_key(made["key"].as_str().unwrap());

    // Who lives keeps what it was ordered with.
    let mut client = Library::Patchright.connect(&before.cdp_url).await;
    trust_the_tests_authority(&mut client).await;
    client.goto(&origin.https("/before")).await;
    before.delete().await;

    for (api, quota) in [(&chaser.api, 2_000_000), (&narrow, 500_000)] {
        let order = json!({ "limits": { "quota_bytes": 9_000_000 } });
        let answer = api.post("/v1/sessions?wait=ready", &order).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        let session = api.adopt(&answer.body);
        let mut client = Library::Patchright.connect(&session.cdp_url).await;
        let shown = client.attempt(&origin.https("/denied")).await;
        assert!(shown.error.unwrap().contains("ERR_TUNNEL_CONNECTION"));
        client.goto(&origin.http("/allowed")).await;
        let script = "fetch('/bytes/3000000').then((r) => r.arrayBuffer()).catch(() => 0)";
        drop(client.call("evaluate", json!({ "script": script })).await);
        let ended = session.wait_for("closed").await;
        assert_eq!(ended["ended_reason"], "quota_exceeded");
        assert_eq!(ended["bytes_total"], quota, "the stricter of all: {ended}");
    }
    let denied = |seen: &crate::harness::Seen| seen.path == "/denied";
    for ip in origin.peers() {
        assert!(!origin.requests_of(ip).iter().any(denied));
    }

    let words = ["workspace", "list", "--json"];
    let (_, listed) = operator(&chaser, &words).await;
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed[0]["policy"]["never"]["ports"], json!([443]));
    let words = ["workspace", "set-policy", "default", "--none"];
    assert_eq!(operator(&chaser, &words).await.0, 0);
    let free = session_by(&chaser, json!({})).await;
    let mut client = Library::Patchright.connect(&free.cdp_url).await;
    trust_the_tests_authority(&mut client).await;
    client.goto(&origin.https("/after")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_is_none_is_refused_by_its_field_and_changes_nothing() {
    let lab = Lab::new();
    let chaser = Chaser::start(&lab).await;
    for (text, named) in [
        ("[limits]\nquota_bytes = \"5G\"", "`limits.quota_bytes`"),
        (
            "[never]\nnetworks = [\"10.0.0.0/99\"]",
            "`never.networks[0]`",
        ),
        ("[only]\nhosts = [\"a b\"]", "`hosts`"),
        ("[sometimes]", "`sometimes`"),
    ] {
        let file = policy_file(&lab, "wrong.toml", text);
        for words in [
            &["workspace", "set-policy", "team-b", "--file", &file][..],
            &["key", "create", "--policy", &file],
        ] {
            let (code, said) = operator(&chaser, words).await;
            assert_eq!(code, 64, "{said}");
            assert!(
                said.contains(named) && said.contains("wrong.toml"),
                "{said}"
            );
        }
    }
    let (code, said) = operator(&chaser, &["workspace", "show", "team-b"]).await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("no workspace `team-b`"), "{said}");
    let (code, said) = operator(&chaser, &["workspace", "set-policy", "default"]).await;
    assert_eq!(code, 2, "{said}");
}
