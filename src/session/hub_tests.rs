use futures::{FutureExt, StreamExt};
use proptest::prelude::*;

use super::*;

fn happening(n: u64) -> What {
    What::SubstrateDown {
        condition: None,
        cause: n.to_string(),
        sessions: Vec::new(),
    }
}

fn seen(item: Item) -> Result<u64, u64> {
    match item {
        Item::Event(event) => Ok(event.seq),
        Item::Gap { oldest_seq } => Err(oldest_seq),
    }
}

proptest! {
    #[test]
    fn a_watcher_sees_every_event_once_in_order_or_is_told_of_the_gap(
        steps in prop::collection::vec((0..20_u64, 0..20_usize), 1..20),
        start in 0..40_u64,
    ) {
        let hub = Hub::remembering(0, 8);
        let mut watcher = Box::pin(hub.watch(start));
        let mut due = None;
        for (publish, read) in steps {
            for n in 0..publish {
                hub.publish(happening(n));
            }
            for _ in 0..read {
                let Some(item) = watcher.next().now_or_never() else { break };
                match seen(item.unwrap()) {
                    Ok(seq) => {
                        prop_assert!(due.is_none_or(|due| seq == due), "{seq} for {due:?}");
                        due = Some(seq + 1);
                    }
                    Err(oldest) => {
                        prop_assert!(due.is_none_or(|due| oldest > due));
                        due = Some(oldest);
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn a_watcher_resumes_where_it_was() {
    let hub = Hub::new(3);
    let first = hub.publish(happening(1));
    let second = hub.publish(happening(2));
    assert!(first > 3 << 32, "numbers of later agents are larger");
    let mut all = Box::pin(hub.watch(0));
    assert_eq!(seen(all.next().await.unwrap()), Ok(first));
    let mut rest = Box::pin(hub.watch(first));
    assert_eq!(seen(rest.next().await.unwrap()), Ok(second));
    assert!(rest.next().now_or_never().is_none(), "then it is live");
    let mut old = Box::pin(hub.watch(17));
    assert_eq!(
        seen(old.next().await.unwrap()),
        Err(first),
        "an earlier agent's number"
    );
}
