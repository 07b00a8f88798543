//! Routes that fail, and the operator's hand on them.

use super::*;

impl Chaser {
    /// `chaser route …`: its exit code and what it printed as JSON.
    pub async fn route(&self, words: &[&str]) -> (Option<i32>, Value) {
        let output = self
            .command(&["route"])
            .args(words)
            .args(["--json", "--runtime-dir"])
            .arg(&self.runtime_dir)
            .output()
            .await
            .unwrap();
        let said = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_no_json| String::from_utf8_lossy(&output.stderr).into_owned().into());
        (output.status.code(), said)
    }

    pub(super) async fn state_of(&self, name: &str) -> String {
        let (_code, route) = self.route(&["show", name]).await;
        route["state"].as_str().unwrap_or_default().to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_dies_is_quarantined_and_comes_back_or_takes_its_session_along() {
    let (lab, origin) = lab();
    let mut upstream = Upstream::start(&lab, Software::Microsocks, 210);
    let tables = [upstream.route("gate", "country = \"de\"\nsessions = 2")];
    let chaser = Setup::on(&lab)
        .egress_addresses(0)
        .set("egress", &routes_file(&lab, &tables))
        .set("host", "route_critical = \"40s\"")
        .start()
        .await;
    let session = session_by(&chaser, json!({ "region": "de" })).await;
    let mut client = Library::Patchright.connect(&session.cdp_url).await;
    client.goto(&origin.http("/before")).await;
    assert_eq!(chaser.route(&["check", "gate"]).await.0, Some(0));
    upstream.stop();
    // Nobody but the page has tried yet: its failures are what is seen first.
    eventually("the route is quarantined", seconds(20), async || {
        client.attempt(&origin.http("/lost")).await;
        (chaser.state_of("gate").await == "quarantined").then_some(())
    })
    .await;
    let (code, seen) = chaser.route(&["check", "gate"]).await;
    assert_eq!(
        (code, &seen["reason"]),
        (Some(1), &json!("upstream_unreachable"))
    );
    let answer = chaser
        .api
        .post("/v1/sessions", &json!({ "proxy": { "region": "de" } }))
        .await;
    let message = answer.refused(503, "no_capacity");
    assert!(message.contains("1 not usable now"), "{message}");
    // Back before the grace is over: the session never ended, and the route is given again.
    upstream = Upstream::start(&lab, Software::Microsocks, 210);
    eventually("the route works again", seconds(30), async || {
        (chaser.state_of("gate").await == "well").then_some(())
    })
    .await;
    client.goto(&origin.http("/again")).await;
    let other = session_by(&chaser, json!({ "region": "de" })).await;
    assert_eq!(other.delete().await.status, 204);
    upstream.stop();
    let ended = eventually("the outage ends the session", seconds(120), async || {
        if session.get().await["status"] == "ready" {
            // The session may end meanwhile, and its page with it.
            let gone = json!({ "url": origin.http("/gone") });
            drop(client.call("attempt", gone).await);
        }
        let now = session.get().await;
        (now["status"] == "closed").then_some(now)
    })
    .await;
    assert_eq!(ended["ended_reason"], "substrate_down");
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_are_added_drained_reloaded_and_removed_under_a_session_that_goes_on() {
    let (lab, origin) = lab();
    let addresses = lab.egress_addresses(2);
    let [first, second] = [0, 1].map(|at| addresses[at].to_string());
    let chaser = Setup::on(&lab)
        .egress_addresses(0)
        .set("egress", &routes_file(&lab, &[direct("one", &first, "")]))
        .start()
        .await;
    let session = session_by(&chaser, json!({ "route": "one" })).await;
    let mut client = Library::Patchright.connect(&session.cdp_url).await;
    client.goto(&origin.http("/one")).await;

    let file = lab.state_dir().join("more.toml");
    let add = ["add", file.to_str().unwrap()];
    fs::write(&file, direct("two", &second, "country = \"nl\"")).unwrap();
    assert_eq!(chaser.route(&add).await.1, json!({ "added": ["two"] }));
    assert_eq!(
        chaser.route(&add).await.0,
        Some(1),
        "there is one of that name"
    );
    fs::write(&file, "[[route]]\nname = \"x\"\nkind = \"pigeon\"").unwrap();
    let (_code, said) = chaser.route(&add).await;
    assert!(said.as_str().unwrap().contains("`kind` must be"), "{said}");
    let other = session_by(&chaser, json!({ "country": "nl" })).await;
    assert_eq!(other.egress_ip().await, addresses[1]);

    assert_eq!(chaser.route(&["drain", "two"]).await.0, Some(0));
    assert_eq!(chaser.state_of("two").await, "drained");
    other.delete().await;
    let order = json!({ "proxy": { "country": "nl" } });
    chaser
        .api
        .post("/v1/sessions", &order)
        .await
        .refused(503, "no_capacity");
    assert_eq!(chaser.route(&["undrain", "two"]).await.0, Some(0));
    session_by(&chaser, json!({ "country": "nl" }))
        .await
        .delete()
        .await;

    // Everything goes from the file and from what was added; the session keeps what it holds.
    fs::write(lab.state_dir().join("routes.toml"), "").unwrap();
    assert_eq!(chaser.route(&["reload"]).await.1, json!({ "routes": 1 }));
    assert_eq!(chaser.route(&["rm", "two"]).await.0, Some(0));
    assert_eq!(chaser.route(&["rm", "two"]).await.0, Some(1));
    assert_eq!(chaser.route(&["list"]).await.1, json!([]));
    client.goto(&origin.http("/still")).await;
    assert_eq!(origin.peers(), [addresses[0]].into());
    assert_eq!(session.get().await["status"], "ready");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_out_of_service_stays_so_over_a_death_of_the_agent() {
    let lab = Lab::new();
    let addresses = lab.egress_addresses(2);
    let [one, two] = [0, 1].map(|at| direct(["one", "two"][at], &addresses[at].to_string(), ""));
    let mut chaser = Setup::on(&lab)
        .egress_addresses(0)
        .set("egress", &routes_file(&lab, &[one, two]))
        .start()
        .await;
    assert_eq!(chaser.route(&["drain", "one"]).await.0, Some(0));
    chaser.sigkill();
    chaser.restart().await;
    assert_eq!(chaser.state_of("one").await, "drained");
    assert_eq!(chaser.state_of("two").await, "well");
    assert_eq!(chaser.route(&["undrain", "one"]).await.0, Some(0));
    chaser.sigkill();
    chaser.restart().await;
    assert_eq!(chaser.state_of("one").await, "well");
}
