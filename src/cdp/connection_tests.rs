use futures::{SinkExt, StreamExt};
use tokio::io::{DuplexStream, duplex};
use tokio_tungstenite::{WebSocketStream, accept_async, tungstenite};

use super::*;

async fn pair(tasks: &Tasks) -> (Connection, Events, WebSocketStream<DuplexStream>) {
    let (ours, theirs) = duplex(64 << 10);
    let (opened, browser) = tokio::join!(Connection::open(ours, "/x", tasks), accept_async(theirs));
    let (connection, events) = opened.unwrap();
    (connection, events, browser.unwrap())
}

async fn command(browser: &mut WebSocketStream<DuplexStream>) -> Value {
    let text = browser.next().await.unwrap().unwrap().into_text().unwrap();
    serde_json::from_str(&text).unwrap()
}

fn text(value: &Value) -> tungstenite::Message {
    tungstenite::Message::text(value.to_string())
}

#[tokio::test]
async fn answers_find_their_calls_in_any_order_and_events_come_out() {
    let tasks = Tasks::default();
    let (connection, mut events, mut browser) = pair(&tasks).await;
    let browser = async {
        let first = command(&mut browser).await;
        let second = command(&mut browser).await;
        assert_eq!(first["method"], "A.first");
        assert_eq!(second["sessionId"], "S");
        let event = json!({ "method": "T.happened", "sessionId": "S", "params": { "n": 1 } });
        let refusal = json!({ "id": second["id"], "error": { "code": -32000, "message": "no" } });
        let result = json!({ "id": first["id"], "result": { "ok": true } });
        for message in [event, refusal, result] {
            browser.send(text(&message)).await.unwrap();
        }
    };
    let (first, second, ()) = tokio::join!(
        connection.call(None, "A.first", json!({})),
        connection.call(Some("S"), "B.second", json!({})),
        browser
    );
    assert_eq!(first.unwrap(), json!({ "ok": true }));
    assert!(matches!(
        second,
        Err(CdpError::Refused { code: -32000, .. })
    ));
    let event = events.recv().await.unwrap();
    assert_eq!(
        (event.method.as_str(), event.params["n"].as_u64()),
        ("T.happened", Some(1))
    );
}

#[tokio::test]
async fn a_lost_browser_fails_every_call_and_ends_the_events() {
    let tasks = Tasks::default();
    let (connection, mut events, mut browser) = pair(&tasks).await;
    let dies = async {
        command(&mut browser).await;
        drop(browser);
    };
    let (answer, ()) = tokio::join!(connection.call(None, "A.b", json!({})), dies);
    assert!(matches!(answer, Err(CdpError::Closed)));
    assert_eq!(events.recv().await, None);
    let late = connection.call(None, "A.b", json!({})).await;
    assert!(matches!(late, Err(CdpError::Closed)));
}

#[tokio::test]
async fn it_closes_with_its_last_handle_and_answers_pings() {
    let tasks = Tasks::default();
    let (connection, _events, mut browser) = pair(&tasks).await;
    browser
        .send(tungstenite::Message::Ping("hi".into()))
        .await
        .unwrap();
    let pong = browser.next().await.unwrap().unwrap();
    assert_eq!(pong, tungstenite::Message::Pong("hi".into()));
    drop(connection);
    let end = browser.next().await;
    assert!(end.is_none_or(|message| message.is_err()));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_never_comes_is_not_waited_for() {
    let tasks = Tasks::default();
    let (connection, _events, _browser) = pair(&tasks).await;
    let answer = connection.call(None, "A.b", json!({})).await;
    assert!(matches!(answer, Err(CdpError::TimedOut("A.b"))));
}
