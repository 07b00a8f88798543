use std::time::Duration;

use futures::SinkExt;
use serde_json::json;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::{
    connect_async,
    tungstenite::{Message, client::IntoClientRequest, protocol::frame::coding::CloseCode},
};

use super::{
    stand::{Stand, close_code, hear, next, say},
    *,
};
use crate::model::EndReason;

#[tokio::test]
async fn commands_reach_the_browser_and_answers_the_client() {
    let stand = Stand::live().await;
    let mut client = stand.client().await;
    say(&mut client, &json!({ "id": 5, "method": "Page.navigate" })).await;
    let answer = hear(&mut client).await;
    assert_eq!(answer["id"], 5);
    assert_eq!(answer["result"]["from"], "Page.navigate");
    client.send(Message::Ping("hi".into())).await.unwrap();
    assert_eq!(next(&mut client).await, Some(Message::Pong("hi".into())));
    let big = "x".repeat(900_000);
    say(
        &mut client,
        &json!({ "id": 6, "method": "Big.one", "params": { "x": big } }),
    )
    .await;
    assert_eq!(hear(&mut client).await["result"]["from"], "Big.one");
    stand.browser.say(Message::text(big.clone()));
    assert_eq!(next(&mut client).await, Some(Message::text(big)));
}

#[tokio::test]
async fn large_commands_go_on_unchanged_between_small_ones() {
    let stand = Stand::live().await;
    let mut client = stand.client().await;
    let sent: Vec<_> = [3, 50_000, 0, 900_000, 32_768, 32_767, 1]
        .into_iter()
        .enumerate()
        .map(|(id, size)| {
            let text: String = (0_usize..size)
                .map(|at| char::from(b'a' + at.to_le_bytes()[1] % 26))
                .collect();
            json!({ "id": id, "method": "Sized.one", "params": { "x": text } })
        })
        .collect();
    for command in &sent {
        say(&mut client, command).await;
    }
    let seen = stand.browser.commands("Sized.one", sent.len()).await;
    let seen: Vec<_> = seen
        .into_iter()
        .map(|(_connection, command)| command)
        .collect();
    assert!(
        seen == sent,
        "{:?}",
        seen.iter()
            .map(|command| &command["id"])
            .collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn a_client_that_sends_an_origin_is_a_client() {
    let stand = Stand::live().await;
    let mut request = stand.url("").into_client_request().unwrap();
    let origin = "http://127.0.0.1:7701".parse().unwrap();
    request.headers_mut().insert("origin", origin);
    let (mut client, _answer) = connect_async(request).await.unwrap();
    say(&mut client, &json!({ "id": 1, "method": "A.b" })).await;
    assert_eq!(hear(&mut client).await["id"], 1);
}

#[tokio::test]
async fn an_early_client_is_held_and_then_served() {
    let stand = Stand::new(None).await;
    let later = async {
        sleep(Duration::from_millis(50)).await;
        stand.go_live();
    };
    let (mut client, ()) = tokio::join!(stand.client(), later);
    say(&mut client, &json!({ "id": 1, "method": "A.b" })).await;
    assert_eq!(hear(&mut client).await["id"], 1);
}

#[tokio::test]
async fn who_comes_too_late_hears_why() {
    let stand = Stand::new(None).await;
    let fails = async {
        sleep(Duration::from_millis(50)).await;
        stand.end(EndReason::Error);
    };
    let (held, ()) = tokio::join!(stand.refused(""), fails);
    assert_eq!((held.0, &held.1["code"]), (503, &json!("session_failed")));
    stand.end(EndReason::TtlExpired);
    let (status, error) = stand.refused("").await;
    assert_eq!((status, &error["code"]), (410, &json!("session_ended")));
    assert_eq!(error["reason"], "ttl_expired");
}

#[tokio::test]
async fn requests_that_are_no_client_are_refused_in_the_shape_of_the_api() {
    let stand = Stand::live().await;
    let path = format!("/sessions/{}", stand.session.as_str());
    let unknown = format!("/sessions/{}", SessionId::random().as_str());
    let code = async |path: &str, headers: &str| {
        let (status, body) = stand.get(path, headers).await;
        (status, body["error"]["code"].as_str().unwrap().to_owned())
    };
    let is = |status: u16, code: &str| (status, code.to_owned());
    assert_eq!(code("/", "").await, is(404, "not_found"));
    assert_eq!(code(&unknown, "").await, is(404, "session_not_found"));
    assert_eq!(code(&path, "").await, is(426, "upgrade_required"));
    let half = "Upgrade: websocket\r\n";
    assert_eq!(code(&path, half).await, is(400, "invalid_request"));
}

#[tokio::test]
async fn the_description_leads_through_the_gateway() {
    let stand = Stand::live().await;
    for tail in ["", "/"] {
        let path = format!("/sessions/{}/json/version{tail}", stand.session.as_str());
        let (status, version) = stand.get(&path, "X-Forwarded-Proto: https\r\n").await;
        assert_eq!(status, 200);
        assert_eq!(version["Browser"], "Chrome/156.0.8078.79");
        let url = format!("wss://cdp.example/sessions/{}", stand.session.as_str());
        assert_eq!(version["webSocketDebuggerUrl"], url);
    }
}

#[tokio::test]
async fn targets_are_listed_and_entered_through_the_gateway() {
    let stand = Stand::live().await;
    let path = format!("/sessions/{}/json/list", stand.session.as_str());
    let (status, targets) = stand.get(&path, "").await;
    let session = stand.session.as_str();
    let url = format!("ws://cdp.example/sessions/{session}/devtools/page/PAGE");
    assert_eq!(status, 200);
    assert_eq!(
        targets,
        json!([{ "id": "PAGE", "type": "page", "url": "about:blank", "webSocketDebuggerUrl": url }])
    );
    let page = stand.url("/devtools/page/PAGE");
    let (mut page, _response) = connect_async(page).await.unwrap();
    say(&mut page, &json!({ "id": 1, "method": "A.b" })).await;
    assert_eq!(hear(&mut page).await["id"], 1);
    drop(
        connect_async(stand.url("/devtools/browser/guid"))
            .await
            .unwrap(),
    );
    let (status, error) = stand.refused("/devtools/browser/other").await;
    assert_eq!((status, &error["code"]), (404, &json!("target_not_found")));
}

#[tokio::test]
async fn a_page_in_the_background_is_brought_to_the_front_for_its_screenshot() {
    for (session, expected) in [
        ("FRONT", vec!["Runtime.evaluate", "Page.captureScreenshot"]),
        (
            "BACK",
            vec![
                "Runtime.evaluate",
                "Page.bringToFront",
                "Page.captureScreenshot",
            ],
        ),
    ] {
        let stand = Stand::live().await;
        let mut client = stand.client().await;
        let shot = json!({ "id": 1, "method": "Page.captureScreenshot", "sessionId": session });
        say(&mut client, &shot).await;
        say(&mut client, &json!({ "id": 2, "method": "A.b" })).await;
        // Answers to the gateway's own commands do not reach the client.
        for id in [1, 2] {
            assert_eq!(hear(&mut client).await["id"], id);
        }
        let log = stand.browser.log.lock().clone();
        let of_page = log.iter().filter(|(_, c)| c["sessionId"] == session);
        let methods: Vec<_> = of_page
            .map(|(_, c)| c["method"].as_str().unwrap())
            .collect();
        assert_eq!(methods, expected);
    }
}

#[tokio::test]
async fn the_profile_keeps_off_what_a_client_emulates_until_it_gives_it_up() {
    let screen = "Emulation.setDeviceMetricsOverride";
    let stand = Stand::live().await;
    let mut client = stand.client().await;
    let own = json!({ "id": 1, "method": screen, "sessionId": "PAGE",
        "params": { "width": 400, "height": 500, "deviceScaleFactor": 2, "mobile": true } });
    say(&mut client, &own).await;
    say(&mut client, &json!({ "id": 2, "method": "A.b" })).await;
    for id in [1, 2] {
        assert_eq!(hear(&mut client).await["id"], id);
    }
    // Two of the supervisor at the start, one of the client.
    assert_eq!(stand.browser.commands(screen, 3).await.len(), 3);
    stand.live.supervisor.assert_again();
    let agent = "Emulation.setUserAgentOverride";
    stand.browser.commands(agent, 4).await;
    assert_eq!(stand.browser.commands(screen, 3).await.len(), 3);
    say(
        &mut client,
        &json!({ "id": 3, "method": "Emulation.clearDeviceMetricsOverride",
        "sessionId": "PAGE" }),
    )
    .await;
    hear(&mut client).await;
    let back = stand.browser.commands(screen, 4).await;
    assert_eq!(back[3].1["params"]["width"], 360);
    stand.live.supervisor.assert_again();
    stand.browser.commands(screen, 6).await;
}

#[tokio::test]
async fn a_token_must_be_right() {
    let stand = Stand::new(Some("s3cret/")).await;
    stand.go_live();
    assert_eq!(stand.refused("").await.0, 401);
    assert_eq!(stand.refused("?token=s3cret").await.0, 401);
    drop(connect_async(stand.url("?token=s3cret%2F")).await.unwrap());
}

#[tokio::test]
async fn closing_the_browser_closes_one_client_only() {
    let stand = Stand::live().await;
    let (mut one, mut two) = (stand.client().await, stand.client().await);
    assert_eq!(stand.refused("").await.0, 429);
    say(&mut one, &json!({ "id": 9, "method": "Browser.close" })).await;
    assert_eq!(hear(&mut one).await, json!({ "id": 9, "result": {} }));
    assert_eq!(close_code(&mut one).await.0, 1000);
    say(&mut two, &json!({ "id": 1, "method": "A.b" })).await;
    assert_eq!(hear(&mut two).await["id"], 1);
    let log = stand.browser.log.lock().clone();
    assert!(
        !log.iter()
            .any(|(_, command)| command["method"] == "Browser.close")
    );
    let mut open = stand.live.clients.watch();
    open.wait_for(|open| *open == 1).await.unwrap();
    // What the client had overridden went with it.
    let screen = "Emulation.setDeviceMetricsOverride";
    assert!(stand.browser.commands(screen, 4).await.len() >= 4);
}

#[tokio::test]
async fn rules_of_the_wire_are_kept() {
    for (message, code) in [
        (Message::binary(vec![1]), 1003),
        (Message::text("x".repeat((1 << 20) + 1)), 1009),
    ] {
        let stand = Stand::live().await;
        let mut client = stand.client().await;
        // The gateway may stop reading before all of it is out.
        drop(client.send(message).await);
        assert_eq!(close_code(&mut client).await.0, code);
    }
    let stand = Stand::live().await;
    let mut client = stand.client().await;
    client.send(Message::text("{")).await.unwrap();
    assert_eq!(hear(&mut client).await["error"]["code"], -32700);
    client.close(None).await.unwrap();
    assert!(matches!(
        next(&mut client).await,
        Some(Message::Close(_)) | None
    ));
}

#[tokio::test]
async fn the_end_of_the_session_is_the_last_word() {
    for reason in EndReason::ALL {
        let stand = Stand::live().await;
        let mut client = stand.client().await;
        say(&mut client, &json!({ "id": 1, "method": "A.b" })).await;
        hear(&mut client).await;
        stand.view.send_replace(SessionView::Cutting(reason));
        let said = close_code(&mut client).await;
        assert_eq!(said, (reason.close_code(), reason.as_str().to_owned()));
        assert_eq!(next(&mut client).await, None);
    }
}

#[tokio::test]
async fn a_lost_browser_is_told_apart_from_an_end() {
    let stand = Stand::live().await;
    let mut client = stand.client().await;
    stand.browser.tasks.stopping().cancel();
    let (code, _reason) = close_code(&mut client).await;
    assert_eq!(code, u16::from(CloseCode::Error));

    let stand = Stand::live().await;
    let mut client = stand.client().await;
    stand.browser.tasks.stopping().cancel();
    sleep(Duration::from_millis(50)).await;
    stand
        .view
        .send_replace(SessionView::Cutting(EndReason::SubstrateDown));
    assert_eq!(close_code(&mut client).await.0, 4005);
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_nobody_up() {
    let stand = Stand::live().await;
    let mut reader = stand.client().await;
    let _sleeper = stand.client().await;
    // More than all socket buffers on the way together hold.
    for _ in 0..24 {
        stand.browser.say(Message::binary(vec![0; 1 << 20]));
        let message = next(&mut reader).await.unwrap();
        assert_eq!(message.len(), 1 << 20);
    }
    // The one that sleeps in the middle of a frame is cut without a word, within a second.
    stand
        .view
        .send_replace(SessionView::Cutting(EndReason::ClientDelete));
    assert_eq!(close_code(&mut reader).await.0, 4001);
    drop(reader);
    let mut open = stand.live.clients.watch();
    let left = open.wait_for(|open| *open == 0);
    drop(
        timeout(Duration::from_secs(3), left)
            .await
            .unwrap()
            .unwrap(),
    );
    assert_eq!(stand.tasks.drain(Duration::from_secs(3)).await, Ok(()));
}
