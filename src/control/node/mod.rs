//! A node as the control plane sees it: its gRPC interface, in our words, with time-outs.

mod convert;

pub use convert::wish_to_wire;

use std::{path::PathBuf, time::Duration};

use futures::{Stream, StreamExt};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::{
    Code, Status,
    service::interceptor::InterceptedService,
    transport::{Channel, Endpoint, Uri},
};

use super::{Live, Sighting};
use crate::{
    model::{Class, Classify, EndReason, SessionId, SessionSpec},
    traces::{Carry, carry},
    wire::{
        RETRY_PUSHBACK,
        node::{self as pb, node_service_client::NodeServiceClient},
    },
};

/// `Provision` without waiting and `Teardown` reach the relay; a browser is never waited for.
const ORDER_TIMEOUT: Duration = Duration::from_secs(15);
/// Questions that a client of ours waits for.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(2);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection to one node. Cheap to clone; re-dials by itself.
#[derive(Debug, Clone)]
pub struct Node {
    rpc: NodeServiceClient<InterceptedService<Channel, Carry>>,
}

/// Why a node did not do as it was told.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The socket's path cannot be an address.
    #[error("the node's address cannot be used")]
    Address(#[from] tonic::transport::Error),
    /// It does not answer, is starting or is shutting down.
    #[error("the node is not available: {0}")]
    Away(String),
    /// It took longer than it may.
    #[error("the node did not answer within {} s", .0.as_secs())]
    Silent(Duration),
    /// No room.
    #[error("the node has no room: {said}")]
    Full {
        /// Its words.
        said: String,
        /// When asking again may help, if it said so.
        retry_after: Option<Duration>,
    },
    /// The order can never succeed.
    #[error("the node refuses the order: {0}")]
    Invalid(String),
    /// It cannot run what was ordered, as it is set up.
    #[error("the node cannot run this: {0}")]
    Cannot(String),
    /// It does not know the session.
    #[error("the node does not know the session")]
    Unknown,
    /// Its answer makes no sense to us, or it failed.
    #[error("the node failed: {0}")]
    Broken(String),
}

/// How a teardown went.
#[derive(Debug, Clone)]
pub struct Torn {
    /// The session as it ended.
    pub session: Sighting,
    /// Whether this call ended it.
    pub won: bool,
}

/// What a node tells as it happens.
#[derive(Debug, Clone)]
pub enum News {
    /// A session changed.
    Session(Box<Sighting>),
    /// Events are missing: list instead.
    Gap,
}

impl Node {
    /// A client for the node behind a Unix socket; connects at the first call.
    ///
    /// # Errors
    /// [`NodeError::Address`] only.
    pub fn new(socket: PathBuf) -> Result<Self, NodeError> {
        let endpoint = Endpoint::try_from("http://node.invalid")?.connect_timeout(CONNECT_TIMEOUT);
        let channel = endpoint.connect_with_connector_lazy(tower::service_fn(move |_: Uri| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        }));
        let rpc = NodeServiceClient::with_interceptor(channel, carry as Carry);
        Ok(Self { rpc })
    }

    /// Orders a session and answers without waiting for its browser. Idempotent.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn provision(
        &self,
        id: &SessionId,
        spec: &SessionSpec,
    ) -> Result<Sighting, NodeError> {
        self.order(id, spec, (false, ORDER_TIMEOUT)).await
    }

    /// The same, answered once the session is ready or has ended.
    ///
    /// # Errors
    /// [`NodeError::Silent`] when that takes longer than `limit`; the order stands.
    pub async fn settled(
        &self,
        id: &SessionId,
        spec: &SessionSpec,
        limit: Duration,
    ) -> Result<Sighting, NodeError> {
        self.order(id, spec, (true, limit)).await
    }

    async fn order(
        &self,
        id: &SessionId,
        spec: &SessionSpec,
        (wait, limit): (bool, Duration),
    ) -> Result<Sighting, NodeError> {
        let request = pb::ProvisionRequest {
            session_id: id.as_str().to_owned(),
            spec: Some(convert::spec(spec)),
            wait,
        };
        let answer = within(limit, self.rpc.clone().provision(request)).await?;
        convert::sighting(answer.session)
    }

    /// Ends a session.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn teardown(&self, id: &SessionId, reason: EndReason) -> Result<Torn, NodeError> {
        let request = pb::TeardownRequest {
            session_id: id.as_str().to_owned(),
            reason: convert::reason_to_wire(reason).into(),
        };
        let answer = within(ORDER_TIMEOUT, self.rpc.clone().teardown(request)).await?;
        Ok(Torn {
            session: convert::sighting(answer.session)?,
            won: answer.won,
        })
    }

    /// One session as it is now.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn session(&self, id: &SessionId) -> Result<(Sighting, Live), NodeError> {
        let request = pb::GetSessionRequest {
            session_id: id.as_str().to_owned(),
        };
        let answer = within(QUESTION_TIMEOUT, self.rpc.clone().get_session(request)).await?;
        let live = answer.session.clone().map(convert::live).transpose()?;
        Ok((convert::sighting(answer.session)?, live.unwrap_or_default()))
    }

    /// Every session that the node remembers, or only those that live.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn sessions(&self, live_only: bool) -> Result<Vec<Sighting>, NodeError> {
        let request = pb::ListSessionsRequest {
            live_only,
            with_usage: false,
        };
        let answer = within(QUESTION_TIMEOUT, self.rpc.clone().list_sessions(request)).await?;
        let sightings = answer.sessions.into_iter();
        sightings.map(|one| convert::sighting(Some(one))).collect()
    }

    /// Every session that lives, with what each takes of its host.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn live(&self) -> Result<Vec<pb::Session>, NodeError> {
        let request = pb::ListSessionsRequest {
            live_only: true,
            with_usage: true,
        };
        let answer = within(QUESTION_TIMEOUT, self.rpc.clone().list_sessions(request)).await?;
        Ok(answer.sessions)
    }

    /// The node itself.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn status(&self) -> Result<pb::GetNodeResponse, NodeError> {
        let request = pb::GetNodeRequest {};
        within(QUESTION_TIMEOUT, self.rpc.clone().get_node(request)).await
    }

    /// Where a session lives on its host.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn inspect(&self, id: &SessionId) -> Result<pb::InspectSessionResponse, NodeError> {
        let request = pb::InspectSessionRequest {
            session_id: id.as_str().to_owned(),
        };
        within(QUESTION_TIMEOUT, self.rpc.clone().inspect_session(request)).await
    }

    /// All events that are still held, then live. Folding is idempotent, so a follower that lost its
    /// place starts over; numbers would not survive a restart of the node.
    ///
    /// # Errors
    /// [`NodeError`] when the stream cannot be opened; each item can fail too.
    pub async fn watch(
        &self,
    ) -> Result<impl Stream<Item = Result<News, NodeError>> + Unpin + use<>, NodeError> {
        // Whoever asks for a session is told its meter as it is then.
        let request = pb::WatchRequest {
            after_seq: 0,
            without_meters: true,
        };
        let stream = within(QUESTION_TIMEOUT, self.rpc.clone().watch(request)).await?;
        Ok(stream
            .map(|item| convert::news(item.map_err(NodeError::from)?))
            .filter_map(|news| std::future::ready(news.transpose())))
    }
}

async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<tonic::Response<T>, Status>>,
) -> Result<T, NodeError> {
    match tokio::time::timeout(limit, call).await {
        Ok(answer) => Ok(answer?.into_inner()),
        Err(_elapsed) => Err(NodeError::Silent(limit)),
    }
}

impl From<Status> for NodeError {
    fn from(status: Status) -> Self {
        let said = status.message().to_owned();
        match status.code() {
            Code::ResourceExhausted => {
                let hint = status.metadata().get(RETRY_PUSHBACK);
                let millis = hint.and_then(|hint| hint.to_str().ok()?.parse().ok());
                let retry_after = millis.map(Duration::from_millis);
                Self::Full { said, retry_after }
            }
            Code::InvalidArgument | Code::OutOfRange | Code::AlreadyExists => Self::Invalid(said),
            Code::NotFound => Self::Unknown,
            Code::FailedPrecondition => Self::Cannot(said),
            Code::Unavailable | Code::Cancelled | Code::DeadlineExceeded | Code::Aborted => {
                Self::Away(said)
            }
            Code::Ok
            | Code::Unknown
            | Code::PermissionDenied
            | Code::Unimplemented
            | Code::Internal
            | Code::DataLoss
            | Code::Unauthenticated => Self::Broken(said),
        }
    }
}

impl Classify for NodeError {
    fn class(&self) -> Class {
        match self {
            Self::Address(_) | Self::Broken(_) => Class::Internal,
            Self::Away(_) | Self::Silent(_) | Self::Cannot(_) => Class::Unavailable,
            Self::Full { .. } => Class::Exhausted,
            Self::Invalid(_) => Class::Invalid,
            Self::Unknown => Class::NotFound,
        }
    }
}
