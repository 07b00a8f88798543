//! How many connections the pages of one session may have.

use super::*;

#[tokio::test]
async fn a_full_house_keeps_the_next_waiting_and_nobody_elses() {
    let (full, other) = (Bench::new().await, Bench::new().await);
    let origin = full.origin(answering).await;
    let mut open = Vec::new();
    for _ in 0..ROOM {
        open.push(full.connect().await);
    }
    bounded(async {
        while full.egress.connections() < ROOM {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    // The kernel takes it, and nobody reads what it says.
    let mut next = full.connect().await;
    next.send(origin.get("/next")).await;
    let mut byte = [0; 1];
    let early = timeout(Duration::from_millis(200), next.stream.peek(&mut byte)).await;
    assert!(early.is_err(), "{early:?}");
    assert_eq!(full.egress.connections(), ROOM);

    // Another session's proxy has its own room.
    let mut beside = other.connect().await;
    beside.send(origin.get("/beside")).await;
    assert!(beside.head().await.starts_with("HTTP/1.1 200 OK"));

    drop(open.pop());
    assert!(next.head().await.starts_with("HTTP/1.1 200 OK"));
}
