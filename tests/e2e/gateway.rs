//! Who may enter at the CDP gateway: tokens, origins, and how often one may guess.

use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::{io::AsyncReadExt, net::TcpStream};

use crate::harness::{Cdp, Chaser, Session, Setup, eventually, lab, seconds, session_id};

/// `/json/version` at this path below the session's URL, as a page of an origin asks, or nobody in particular.
async fn asked(
    chaser: &Chaser,
    path: &str,
    origin: Option<&str>,
) -> (StatusCode, Value, Option<u64>) {
    let url = format!("http://{}/sessions/{path}", chaser.cdp);
    let mut request = chaser.api.http().get(url);
    if let Some(origin) = origin {
        request = request.header("origin", origin);
    }
    let answer = request.send().await.unwrap();
    let wait = answer.headers().get("retry-after");
    let wait = wait.and_then(|wait| wait.to_str().ok()?.parse().ok());
    let status = answer.status();
    let body = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    (status, body, wait)
}

async fn status(chaser: &Chaser, path: &str) -> u16 {
    asked(chaser, path, None).await.0.as_u16()
}

fn token(session: &Session) -> String {
    let (_, token) = session.cdp_url.split_once("?token=").expect("a token");
    token.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_with_a_token_is_entered_with_it_only_and_it_is_in_no_log() {
    let (lab, _origin) = lab();
    let setup = Setup::on(&lab).set("cdp", "session_tokens = true");
    let mut chaser = setup.with("--self-check").start().await;
    let session = chaser.api.ready_session().await;
    let (id, token) = (session.id.clone(), token(&session));
    assert_eq!(token.len(), 32);
    let mut cdp = Cdp::open(&session.cdp_url).await;
    cdp.call("Browser.getVersion", json!({})).await.unwrap();
    for (path, expected) in [
        (format!("{id}/json/version?token={token}"), 200),
        (format!("{id}/token/{token}/json/version"), 200),
        (format!("{id}/json/version"), 401),
        (format!("{id}/json/version?token={}", &token[..31]), 401),
        (format!("{id}/json/version?token={token}0"), 401),
        (format!("{id}/token/x/json/version?token={token}"), 401),
    ] {
        assert_eq!(status(&chaser, &path).await, expected, "{path}");
    }
    // Addresses that the browser tells lead back in.
    let listed = asked(&chaser, &format!("{id}/token/{token}/json/version"), None)
        .await
        .1;
    let url = listed["webSocketDebuggerUrl"].as_str().unwrap();
    Cdp::open(url)
        .await
        .call("Browser.getVersion", json!({}))
        .await
        .unwrap();

    chaser.sigkill();
    chaser.restart().await;
    assert_eq!(session.get().await["cdp_url"], *session.cdp_url, "it stays");
    let other = chaser.api.create().await;
    assert!(!other.cdp_url.ends_with(&token), "no other has it");
    let logs = chaser.logs();
    assert!(!logs.contains(&token) && !logs.contains(&id), "{logs}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_origins_may_not_connect_and_programs_may() {
    let (lab, _origin) = lab();
    let setup = Setup::on(&lab).set("cdp", "origins = [\"https://console.example\"]");
    let chaser = setup.start().await;
    let session = chaser.api.ready_session().await;
    let path = format!("{}/json/version", session.id);
    for (origin, expected) in [
        (None, 200),
        (Some("https://console.example"), 200),
        (Some("https://console.example.evil"), 403),
        (Some("null"), 403),
    ] {
        let (status, body, _) = asked(&chaser, &path, origin).await;
        assert_eq!(status, expected, "{origin:?}: {body}");
        if expected == 403 {
            assert_eq!(body["error"]["code"], "origin_not_allowed");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_guesses_too_often_is_refused_for_a_while_and_clients_go_on() {
    let (lab, _origin) = lab();
    let setup = Setup::on(&lab).set("cdp", "wrong_guesses_per_minute = 5");
    let chaser = setup.start().await;
    let session = chaser.api.ready_session().await;
    let mut cdp = Cdp::open(&session.cdp_url).await;
    for _ in 0..5 {
        let guess = format!("{}/json/version", session_id());
        assert_eq!(status(&chaser, &guess).await, 404);
    }
    let right = format!("{}/json/version", session.id);
    let (refused, body, wait) = asked(&chaser, &right, None).await;
    assert_eq!(refused, StatusCode::TOO_MANY_REQUESTS, "{body}");
    assert_eq!(body["error"]["code"], "rate_limited");
    assert!(
        wait.is_some_and(|wait| (1..=61).contains(&wait)),
        "{wait:?}"
    );
    cdp.call("Browser.getVersion", json!({})).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_source_has_so_many_connections() {
    let (lab, _origin) = lab();
    let setup = Setup::on(&lab).set("cdp", "max_connections_per_source = 2");
    let chaser = setup.start().await;
    let session = chaser.api.ready_session().await;
    let one = Cdp::open(&session.cdp_url).await;
    let _two = Cdp::open(&session.cdp_url).await;
    // Said before anything is asked, which takes no place.
    let mut third = TcpStream::connect(chaser.cdp).await.unwrap();
    let mut said = String::new();
    third.read_to_string(&mut said).await.unwrap();
    let full = said.starts_with("HTTP/1.1 503") && said.contains("too_many_connections");
    assert!(full, "{said}");
    drop(one);
    eventually("a place is free again", seconds(10), async || {
        let url = format!("http://{}/sessions/{}/json/version", chaser.cdp, session.id);
        let answer = chaser.api.http().get(url).send().await.ok()?;
        answer.status().is_success().then_some(())
    })
    .await;
}
