//! What an operator reads of routes: what they carried, what failed, and by whose fault.

use super::*;

impl Chaser {
    /// One route of `chaser route list`.
    async fn listed(&self, name: &str) -> Value {
        let (_code, all) = self.route(&["list"]).await;
        let mut each = all.as_array().unwrap().iter();
        each.find(|route| route["name"] == name).unwrap().clone()
    }

    /// Until what failed of a route is this fault alone, with its share of all.
    async fn fails_by(&self, name: &str, fault: &str) {
        eventually(&format!("{name}: {fault}"), seconds(10), async || {
            let route = self.listed(name).await;
            let count = |of: &Value| of.as_u64().unwrap();
            let (served, failed) = (count(&route["served"]), count(&route["failed"]));
            let alone = failed > 0 && route["faults"][fault] == failed;
            let others = route["faults"].as_object().unwrap().values();
            let alone = alone && others.map(count).sum::<u64>() == failed;
            // None before anything was counted.
            let rate = route["error_rate"].as_f64()?;
            #[expect(clippy::cast_precision_loss, reason = "a handful")]
            let expected = failed as f64 / (served + failed) as f64;
            (alone && (rate - expected).abs() < 1e-9).then_some(())
        })
        .await;
    }

    /// Until a route has the bytes of its only session, and failures by the target's fault alone.
    async fn carries(&self, name: &str, session: &Session) {
        eventually("its bytes are its session's", seconds(10), async || {
            let (route, session) = (self.listed(name).await, session.get().await);
            let same = |field: &str| route[field] == session[field];
            let moved = route["bytes_down"].as_u64().unwrap() > 300_000;
            let failed = (&route["failed"], &route["error_rate"]) == (&json!(0), &json!(0.0));
            let target = route["target_failed"].as_u64().unwrap() >= 1;
            (same("bytes_up") && same("bytes_down") && moved && failed && target).then_some(())
        })
        .await;
    }
}

/// A page with a big answer, and a target that nobody listens at.
async fn traffic(origin: &Origin, client: &mut Client, closed: &str) {
    client.goto(&origin.http("/page")).await;
    let fetch = "fetch('/bytes/300000').then((r) => r.arrayBuffer()).then(() => 0)";
    client.evaluate(fetch).await;
    client.attempt(closed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_routes_has_their_bytes_and_what_failed_by_whose_fault() {
    let (lab, origin) = lab();
    let mut gate = Upstream::start(&lab, Software::Microsocks, 210);
    let strict = Upstream::start(&lab, Software::MicrosocksWithLogin, 211);
    let nobodys = strict.route("nobodys", "").replace(LOGIN.0, "nobody");
    let address = lab.egress_addresses(1)[0].to_string();
    let straight = direct("straight", &address, "");
    let tables = [gate.route("gate", ""), nobodys, straight];
    let chaser = Setup::on(&lab)
        .egress_addresses(0)
        .set("egress", &routes_file(&lab, &tables))
        .start()
        .await;
    let closed = format!("http://{}:81/", lab.origin_ip());
    let by_gate = session_by(&chaser, json!({ "route": "gate" })).await;
    let mut client = Library::Patchright.connect(&by_gate.cdp_url).await;
    traffic(&origin, &mut client, &closed).await;
    let straight = session_by(&chaser, json!({ "route": "straight" })).await;
    let mut other = Library::Patchright.connect(&straight.cdp_url).await;
    traffic(&origin, &mut other, &closed).await;
    for (name, session) in [("gate", &by_gate), ("straight", &straight)] {
        chaser.carries(name, session).await;
    }
    gate.stop();
    client.attempt(&origin.http("/lost")).await;
    chaser.fails_by("gate", "unreachable").await;
    let shut_out = session_by(&chaser, json!({ "route": "nobodys" })).await;
    let mut client = Library::Patchright.connect(&shut_out.cdp_url).await;
    client.attempt(&origin.http("/never")).await;
    chaser.fails_by("nobodys", "auth_failed").await;
    // What ended stays its route's.
    let before = chaser.listed("straight").await;
    straight.delete().await;
    eventually("its bytes are the route's still", seconds(10), async || {
        let after = chaser.listed("straight").await;
        (after["sessions"] == 0 && after["bytes_down"] == before["bytes_down"]).then_some(())
    })
    .await;

    let list = ["route", "list", "--runtime-dir"];
    let output = chaser.command(&list).arg(&chaser.runtime_dir).output();
    let table = String::from_utf8(output.await.unwrap().stdout).unwrap();
    let rows: Vec<&str> = table.lines().collect();
    let at = |column: &str| rows[0].find(column).unwrap();
    let failed = ["unreachable ", "auth_failed ", "target "];
    for (row, expected) in rows[1..].iter().zip(failed) {
        assert!(row[at("FAILED")..].starts_with(expected), "{table}");
    }
    assert!(rows[3][at("EXIT")..].starts_with(&address), "{table}");
    for (row, rate, bytes) in [(2, " 100.0 %  ", " B  "), (3, " 0.0 %  ", " kB  ")] {
        assert!(
            rows[row].contains(rate) && rows[row].contains(bytes),
            "{table}"
        );
    }
}
