//! What only a real connection shows.

use serde_json::Value;

use super::{
    tests::{Api, KEY},
    *,
};

#[tokio::test]
async fn over_a_real_connection_a_large_body_gets_its_refusal_and_a_stop_lets_answers_finish() {
    let api = Api::start();
    let front = Tasks::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1/sessions", listener.local_addr().unwrap());
    http::serve("rest", (listener, None), api.router.clone(), &front);
    let client = reqwest::Client::new();
    let large = client.post(&url).bearer_auth(KEY).body(vec![b'x'; 4 << 20]);
    let answer = large.send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 413);
    let shaped: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    assert_eq!(shaped["error"]["code"], "invalid_request");
    let made = client.post(&url).bearer_auth(KEY).send().await.unwrap();
    assert_eq!(made.status().as_u16(), 201);
    // The client keeps its connection open; it must not keep the listener from stopping.
    let stopped = front.drain(std::time::Duration::from_secs(5)).await;
    assert_eq!(stopped, Ok(()));
    assert!(client.get(&url).send().await.unwrap_err().is_connect());
}
