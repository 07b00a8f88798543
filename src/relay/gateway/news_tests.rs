use std::time::Duration;

use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use super::stand::{Stand, hear};
use crate::relay::fake_devtools::attached;

#[tokio::test]
async fn news_of_a_page_wait_until_it_is_the_phone_and_other_news_do_not() {
    let stand = Stand::live().await;
    let mut client = stand.client().await;
    // The browser tells everybody, and is slow to take what the supervisor sends.
    stand.browser.deaf.send_replace(true);
    stand
        .browser
        .say(Message::text(attached("WORKER", "worker").to_string()));
    assert_eq!(hear(&mut client).await["params"]["sessionId"], "WORKER");
    stand
        .browser
        .say(Message::text(attached("NEW", "page").to_string()));
    let early = timeout(Duration::from_millis(200), hear(&mut client)).await;
    assert!(early.is_err(), "it is not the phone yet: {early:?}");
    stand.browser.deaf.send_replace(false);
    assert_eq!(hear(&mut client).await["params"]["sessionId"], "NEW");
    let screen = "Emulation.setDeviceMetricsOverride";
    let log = stand.browser.commands(screen, 3).await;
    assert!(log.iter().any(|(_, command)| command["sessionId"] == "NEW"));

    // One that is the phone already is told of at once, and one that never answers a little later.
    stand.browser.deaf.send_replace(true);
    for page in ["NEW", "HUNG"] {
        stand
            .browser
            .say(Message::text(attached(page, "page").to_string()));
        assert_eq!(hear(&mut client).await["params"]["sessionId"], page);
    }
}
