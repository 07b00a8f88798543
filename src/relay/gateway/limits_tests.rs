//! What one session may take of the gateway, so that it cannot starve the rest.

use std::time::Duration;

use futures::{StreamExt, stream::FuturesUnordered};
use serde_json::json;
use tokio::time::timeout;
use tokio_tungstenite::{connect_async, tungstenite};

use super::stand::{Stand, hear, say};

#[tokio::test]
async fn no_more_clients_are_held_than_could_be_let_in() {
    let stand = Stand::new(None).await;
    // Two may wait; whoever is last of the three is refused at once.
    let three = (0..3).map(|_| connect_async(stand.url("")));
    let mut three: FuturesUnordered<_> = three.collect();
    let first = timeout(Duration::from_secs(3), three.next()).await;
    match first.unwrap().unwrap() {
        Err(tungstenite::Error::Http(refused)) => assert_eq!(refused.status().as_u16(), 429),
        other => panic!("{other:?}"),
    }
    let (_, error) = stand.refused("").await;
    assert_eq!(error["code"], "too_many_clients", "{error}");

    stand.go_live();
    for _ in 0..2 {
        let (mut client, _) = three.next().await.unwrap().unwrap();
        say(&mut client, &json!({ "id": 1, "method": "A.b" })).await;
        assert_eq!(hear(&mut client).await["id"], 1);
    }
}

#[tokio::test]
async fn no_more_clients_are_served_than_may_be_and_one_that_leaves_makes_room() {
    let stand = Stand::live().await;
    let (first, _second) = (stand.client().await, stand.client().await);
    let (status, error) = stand.refused("").await;
    assert_eq!((status, &error["code"]), (429, &json!("too_many_clients")));
    // Who only asks is no client.
    let path = format!("/sessions/{}/json/version", stand.session.as_str());
    assert_eq!(stand.get(&path, "").await.0, 200);
    drop(first);
    let mut open = stand.live.clients.watch();
    let left = open.wait_for(|open| *open == 1);
    drop(
        timeout(Duration::from_secs(3), left)
            .await
            .unwrap()
            .unwrap(),
    );
    let mut third = stand.client().await;
    say(&mut third, &json!({ "id": 3, "method": "A.b" })).await;
    assert_eq!(hear(&mut third).await["id"], 3);
}
