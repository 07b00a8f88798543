//! What stands behind the sockets: nobody yet, or the node.
//!
//! Sockets are bound and answered before Docker or the journal are asked anything. Until the node is
//! there `GetNode` says STARTING, a watch waits, and orders are UNAVAILABLE.

use tokio::sync::watch;
use tonic::Status;

use crate::{model::NodeId, node::Node, wire::node as pb};

/// The callers' side. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Door {
    node_id: Option<NodeId>,
    here: watch::Receiver<Option<Node>>,
}

/// The node's side; dropped unopened, the node never came.
#[derive(Debug)]
pub struct Opener(watch::Sender<Option<Node>>);

impl Opener {
    /// Lets callers in to `node`.
    pub fn open(self, node: Node) {
        self.0.send_replace(Some(node));
    }
}

impl Door {
    /// A shut door; `node_id` is who will be behind it, where that is known.
    #[must_use]
    pub fn shut(node_id: Option<NodeId>) -> (Opener, Self) {
        let (open, here) = watch::channel(None);
        (Opener(open), Self { node_id, here })
    }

    /// Who is there now.
    pub(super) fn node(&self) -> Result<Node, Status> {
        let here = self.here.borrow().clone();
        here.ok_or_else(|| Status::unavailable("the node is starting; ask again in a moment"))
    }

    /// Waits for the node; `None` when it will never come. Cancel-safe.
    pub(super) async fn arrival(&self) -> Option<Node> {
        let mut here = self.here.clone();
        let arrived = here.wait_for(Option::is_some).await.ok()?;
        arrived.clone()
    }

    /// The answer to `GetNode` before there is one.
    pub(super) fn starting(&self) -> pb::GetNodeResponse {
        pb::GetNodeResponse {
            node_id: self.node_id.map_or_else(String::new, |id| id.to_string()),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            state: pb::NodeState::Starting.into(),
            state_reason: "it opens its journal and looks for Docker and the relay".to_owned(),
            ..pb::GetNodeResponse::default()
        }
    }
}
