//! Another way under a session that is bound.

use super::*;
use crate::model::{Bounds, Targets};

#[tokio::test]
async fn a_bound_session_leaves_another_way_only_when_that_is_meant() {
    let browser = FakeBrowser::start().await;
    let stand = Stand::attached(browser.address, us()).await;
    let session = stand.expect();
    stand.bind(&session).unwrap();
    let other = || Way {
        bounds: vec![Bounds {
            never: Targets {
                ports: vec![1],
                ..Targets::default()
            },
            ..Bounds::default()
        }],
        ..Way::default()
    };
    stand
        .relay
        .bind(stand.claim(&session, other(), false))
        .unwrap();
    assert!(stand.page().await.contains("refused: denied_address"));
    stand
        .relay
        .bind(stand.claim(&session, other(), true))
        .unwrap();
    assert!(stand.page().await.contains("refused: denied_port"));
    let reason = EndReason::ClientDelete;
    let ended = stand.relay.end(&session, reason, Why::default()).await;
    ended.unwrap();
    let late = stand
        .relay
        .bind(stand.claim(&session, Way::default(), true));
    assert!(matches!(late, Err(BindFailed::Session(BindRefused::Over))));
    TcpStream::connect(stand.proxy).await.unwrap_err();
}
