//! What a campaign asks of the node, with a limit to each wait.

use std::time::Duration;

use anyhow::ensure;
use tokio::time::{Instant, sleep, timeout};
use tonic::Code;

use super::{
    super::{client::Client, progress},
    campaign::Campaign,
    ledger::Answer,
};
use crate::{cli::node, wire::node as pb};

/// Longer than a campaign: nothing ends because of its age.
const LIFETIME: i64 = 3_600;
const ANSWER: Duration = Duration::from_secs(30);
/// A host that is well again takes orders after this at the latest.
const RECOVERY: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(50);

impl Campaign<'_> {
    /// Returns once orders are taken.
    pub(super) async fn takes_orders(&self) -> anyhow::Result<()> {
        let until = Instant::now() + RECOVERY;
        loop {
            let status = self.daemon.status().await?;
            if status.state() == pb::NodeState::Ready && status.admission_stopped.is_empty() {
                return Ok(());
            }
            let why = [status.state_reason, status.admission_stopped].concat();
            ensure!(
                Instant::now() < until,
                "no orders are taken although all is well again: {why}"
            );
            sleep(LOOK).await;
        }
    }

    /// Orders and waits; how it came out beyond this is what the node tells later.
    pub(super) async fn provision(&self, id: &str) -> Answer {
        let span = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
        let order = pb::ProvisionRequest {
            session_id: id.to_owned(),
            spec: Some(pb::SessionSpec {
                substrate: pb::Substrate::Chromium.into(),
                ttl: span(LIFETIME),
                idle_timeout: span(LIFETIME),
                ..pb::SessionSpec::default()
            }),
            wait: true,
        };
        let asked = async {
            let Ok(mut node) = node::connect(&self.daemon.places.runtime).await else {
                return Answer::None;
            };
            match node.provision(order).await {
                Ok(_taken) => Answer::Taken,
                Err(status) => {
                    progress(format_args!("no session: {}", status.message()));
                    let refused = [Code::ResourceExhausted, Code::FailedPrecondition];
                    if refused.contains(&status.code()) {
                        Answer::Refused
                    } else {
                        Answer::None
                    }
                }
            }
        };
        timeout(ANSWER, asked).await.unwrap_or_default()
    }

    pub(super) async fn teardown(&self, id: &str) {
        let order = pb::TeardownRequest {
            session_id: id.to_owned(),
            reason: pb::EndReason::ClientDelete.into(),
        };
        let asked = async {
            let mut node = node::connect(&self.daemon.places.runtime).await.ok()?;
            node.teardown(order).await.ok()
        };
        drop(timeout(ANSWER, asked).await);
    }

    /// One page, so that there are bytes to count; a browser that was just killed has none.
    pub(super) async fn browse(&self, id: &str) {
        let visit = async {
            let stream = self.daemon.dial().await?;
            let path = format!("/sessions/{id}");
            let mut client = Client::open(stream, &path, &self.ground.tasks).await?;
            let page = client.first_page().await?;
            client.goto(&page, &self.ground.page()).await
        };
        if let Ok(Err(error)) = timeout(ANSWER, visit).await {
            progress(format_args!("no page: {error}"));
        }
    }

    /// Where a session lives; `None` once it does not.
    pub(super) async fn place(
        &self,
        id: &str,
    ) -> anyhow::Result<Option<pb::InspectSessionResponse>> {
        let mut node = node::connect(&self.daemon.places.runtime).await?;
        let asked = pb::InspectSessionRequest {
            session_id: id.to_owned(),
        };
        let place = node.inspect_session(asked).await?.into_inner();
        Ok(Some(place).filter(|place| place.container_pid != 0))
    }
}
