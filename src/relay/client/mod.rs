//! The agent's side of the relay: what `session` and `instance` use.

mod convert;
mod error;
mod greeted;
mod message;
mod sockets;

use std::{path::PathBuf, time::Duration};

use futures::{Stream, StreamExt};
use hyper_util::rt::TokioIo;
use secrecy::{ExposeSecret, SecretString};
use tokio::net::UnixStream;
use tonic::{
    service::interceptor::InterceptedService,
    transport::{Channel, Endpoint, Uri},
};

use self::greeted::Greeted;
pub use error::RelayError;
pub use message::{
    Attached, Bind, Ended, Expected, Held, Inventory, Look, RelayEvent, Settings, Tally, Welcome,
};

use super::{Device, Feature, Paths, Way, features};
use crate::{
    model::{Blame, BootInstant, EndReason, Ending, HostTraffic, InstanceId, SessionId, Why},
    profile::Profile,
    traces::{Carry, carry},
    wire::relay::{self as pb, relay_service_client::RelayServiceClient},
};

/// How long one call may take; `Attach` waits for a browser and has its own limit.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Longer than the relay looks at a way out.
const PROBE_TIMEOUT: Duration = Duration::from_secs(30);

/// A connection to the relay of one runtime directory. Cheap to clone; re-dials by itself.
#[derive(Debug, Clone)]
pub struct RelayClient {
    rpc: RelayServiceClient<InterceptedService<Channel, Carry>>,
    fd_socket: PathBuf,
    epoch: u64,
    greeted: Greeted,
}

impl RelayClient {
    /// A client for the relay of one runtime directory; connects at the first call and again
    /// whenever it must.
    ///
    /// # Errors
    /// Only when the address cannot be expressed.
    pub fn new(paths: &Paths, epoch: u64) -> Result<Self, RelayError> {
        let socket = paths.socket();
        let channel = Endpoint::try_from("http://relay.invalid")?.connect_with_connector_lazy(
            tower::service_fn(move |_: Uri| {
                let socket = socket.clone();
                async move { UnixStream::connect(socket).await.map(TokioIo::new) }
            }),
        );
        Ok(Self {
            rpc: RelayServiceClient::with_interceptor(channel, carry as Carry),
            fd_socket: paths.fd_socket(),
            epoch,
            greeted: Greeted::default(),
        })
    }

    /// Announces this agent; from now on calls of agents with a lower epoch are refused.
    ///
    /// # Errors
    /// [`RelayError`] for every way it can fail.
    pub async fn hello(&self, settings: &Settings) -> Result<Welcome, RelayError> {
        let request = convert::hello(self.epoch, settings);
        let answer = within(CALL_TIMEOUT, self.rpc.clone().hello(request)).await?;
        self.greeted.by(answer)
    }

    /// Whether there is anything that the relay which was greeted last does not understand.
    #[must_use]
    pub fn is_older(&self) -> bool {
        self.greeted.is_older()
    }

    /// Whether it can serve a session that leaves by `way`, perhaps on a device.
    ///
    /// # Errors
    /// [`RelayError::Lacks`] names the first thing that it does not understand of that.
    pub fn can_serve(&self, way: &Way, on_device: bool) -> Result<(), RelayError> {
        let mut needs = features::of_route(&convert::route(way));
        needs.extend(on_device.then_some(Feature::OnDevice));
        self.greeted.understands(&needs)
    }

    /// Whether it can lead a session another way that lives.
    ///
    /// # Errors
    /// [`RelayError::Lacks`].
    pub fn can_reroute(&self) -> Result<(), RelayError> {
        self.greeted.understands(&[Feature::Reroute].into())
    }

    /// Holds early clients of a session from now on.
    ///
    /// # Errors
    /// [`RelayError`] for every way it can fail.
    pub async fn expect(&self, expected: &Expected) -> Result<(), RelayError> {
        let request = convert::expect(self.epoch, expected);
        within(CALL_TIMEOUT, self.rpc.clone().expect(request)).await?;
        Ok(())
    }

    /// Makes a phone of the instance whose sockets were sent before; returns once it is one.
    ///
    /// # Errors
    /// [`RelayError`] for every way it can fail, a browser that does not answer among them.
    pub async fn attach(
        &self,
        instance: InstanceId,
        profile: &Profile,
        on_device: Option<&Device>,
        limit: Duration,
    ) -> Result<Attached, RelayError> {
        let request = convert::attach(self.epoch, instance, profile, on_device)?;
        self.greeted.understands(&features::of_attach(&request))?;
        let answer = within(limit, self.rpc.clone().attach(request)).await?;
        Ok(Attached {
            product: answer.browser_product,
            user_agent: answer.user_agent,
            capabilities: answer.capabilities.map(convert::capabilities),
        })
    }

    /// Gives an attached instance to a session and starts its clocks.
    ///
    /// # Errors
    /// [`RelayError`] for every way it can fail.
    pub async fn bind(&self, bind: &Bind) -> Result<(), RelayError> {
        let request = convert::bind(self.epoch, bind);
        self.greeted.understands(&features::of_bind(&request))?;
        within(CALL_TIMEOUT, self.rpc.clone().bind(request)).await?;
        Ok(())
    }

    /// Ends a session and says how it ended: perhaps earlier and for another reason. Traffic is cut
    /// when this returns.
    ///
    /// # Errors
    /// [`RelayError`] for every way it can fail; [`RelayError::Unknown`] where the relay never heard
    /// of the session.
    pub async fn end(
        &self,
        session: &SessionId,
        reason: EndReason,
        why: &Why,
    ) -> Result<Ending, RelayError> {
        let request = pb::EndRequest {
            agent_epoch: self.epoch,
            session_id: session.as_str().to_owned(),
            reason: reason.as_str().to_owned(),
            detail: why.detail.clone().unwrap_or_default(),
            blame: why.blame.map_or("", Blame::as_str).to_owned(),
        };
        let answer = within(CALL_TIMEOUT, self.rpc.clone().end(request)).await?;
        convert::ending(answer.ending)
    }

    /// Drops all that is held for `instance`; absence is success.
    ///
    /// # Errors
    /// [`RelayError`] for every way it can fail.
    pub async fn detach(&self, instance: InstanceId) -> Result<(), RelayError> {
        let request = pb::DetachRequest {
            agent_epoch: self.epoch,
            instance_id: instance.to_string(),
        };
        within(CALL_TIMEOUT, self.rpc.clone().detach(request)).await?;
        Ok(())
    }

    /// Whether the relay turns its wheels. A relay that is too old for the question does.
    ///
    /// # Errors
    /// [`RelayError`] for every way it can fail to answer within `limit`.
    pub async fn ping(&self, limit: Duration) -> Result<(), RelayError> {
        match within(limit, self.rpc.clone().ping(pb::PingRequest {})).await {
            Err(RelayError::Refused(status)) if status.code() == tonic::Code::Unimplemented => {
                Ok(())
            }
            answer => answer.map(drop),
        }
    }

    /// Egress is open until that moment only.
    ///
    /// # Errors
    /// [`RelayError`] for every way it can fail.
    pub async fn fence(&self, until: BootInstant) -> Result<(), RelayError> {
        let request = pb::FenceRequest {
            agent_epoch: self.epoch,
            until: Some(convert::instant(until)),
        };
        within(CALL_TIMEOUT, self.rpc.clone().fence(request)).await?;
        Ok(())
    }

    /// All that the relay holds and remembers.
    ///
    /// # Errors
    /// [`RelayError`] for every way it can fail.
    pub async fn list(&self) -> Result<Inventory, RelayError> {
        let request = pb::ListRequest {
            agent_epoch: self.epoch,
        };
        let answer = within(CALL_TIMEOUT, self.rpc.clone().list(request)).await?;
        convert::inventory(answer)
    }

    /// What connections by way of the instances' routes came to, since each was attached.
    ///
    /// # Errors
    /// [`RelayError`] for every way it can fail.
    pub async fn tally(&self) -> Result<Vec<Tally>, RelayError> {
        let request = pb::TallyRequest {
            agent_epoch: self.epoch,
        };
        let answer = within(CALL_TIMEOUT, self.rpc.clone().tally(request)).await?;
        answer.instances.into_iter().map(convert::tally).collect()
    }

    /// The hosts with the most bytes of one instance, and all others together; empty where they are not counted.
    ///
    /// # Errors
    /// [`RelayError`] for every way it can fail.
    pub async fn hosts(&self, instance: InstanceId) -> Result<Vec<HostTraffic>, RelayError> {
        let request = pb::HostsRequest {
            agent_epoch: self.epoch,
            instance_id: instance.to_string(),
        };
        let answer = within(CALL_TIMEOUT, self.rpc.clone().hosts(request)).await?;
        Ok(answer.hosts.into_iter().map(convert::host).collect())
    }

    /// Has the relay look whether a way out works; with an empty `url` it comes to the upstream and asks
    /// nothing.
    ///
    /// # Errors
    /// [`RelayError`] where the relay could not look; what it saw is in the answer.
    pub async fn probe(&self, way: &Way, url: &str) -> Result<Look, RelayError> {
        let request = pb::ProbeRequest {
            agent_epoch: self.epoch,
            route: Some(convert::route(way)),
            url: url.to_owned(),
        };
        let answer = within(PROBE_TIMEOUT, self.rpc.clone().probe(request)).await?;
        Ok(convert::look(answer))
    }

    /// Events after `after_seq`, then live. Ends when the relay goes.
    ///
    /// # Errors
    /// [`RelayError`] when the stream cannot be opened; each item can fail too.
    pub async fn watch(
        &self,
        after_seq: u64,
    ) -> Result<impl Stream<Item = Result<RelayEvent, RelayError>> + Unpin + use<>, RelayError>
    {
        let request = pb::WatchRequest {
            agent_epoch: self.epoch,
            after_seq,
        };
        let events = within(CALL_TIMEOUT, self.rpc.clone().watch(request)).await?;
        Ok(events.map(|event| convert::event(event?)))
    }

    /// Everything up to `seq` is journalled.
    ///
    /// # Errors
    /// [`RelayError`] for every way it can fail.
    pub async fn ack(&self, seq: u64) -> Result<(), RelayError> {
        let request = pb::AckRequest {
            agent_epoch: self.epoch,
            seq,
        };
        within(CALL_TIMEOUT, self.rpc.clone().ack(request)).await?;
        Ok(())
    }
}

fn exposed(token: Option<&SecretString>) -> String {
    token.map_or_else(String::new, |token| token.expose_secret().to_owned())
}

async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
) -> Result<T, RelayError> {
    match tokio::time::timeout(limit, call).await {
        Ok(answer) => Ok(answer?.into_inner()),
        Err(_elapsed) => Err(RelayError::Silent { limit }),
    }
}
