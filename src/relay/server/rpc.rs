//! `chaser.relay.v1` over `R/relay.sock`: requests become validated values here, nothing else.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::{Stream, StreamExt, stream};
use tokio::sync::watch;
use tonic::{Request, Response, Status};

use super::{
    Relay,
    attachment::Attachment,
    convert::{
        capabilities, ending_to_wire, event, hosts, instant, on_device, parse, parse_all, probed,
        secret, tally, tombstone, traffic, way,
    },
    secure::shown,
};
use crate::{
    model::{Blame, Hosts, SessionId, Why},
    relay::{
        PROTOCOL,
        client::Bind,
        egress::{self, Policy, Resolver},
        features, gateway,
    },
    wire::relay::{self as pb, relay_service_server::RelayService},
};

/// The service of one relay process.
#[derive(Debug)]
pub(super) struct Rpc {
    pub(super) relay: Arc<Relay>,
    pub(super) relay_id: String,
    pub(super) cdp_address: String,
    /// What it says that it understands.
    pub(super) features: Vec<String>,
    /// The newest agent that said `Hello`.
    pub(super) epoch: AtomicU64,
    /// How many agents watch: a relay without any and without instances is not needed.
    pub(super) watchers: watch::Sender<usize>,
}

type Answer<T> = Result<Response<T>, Status>;

impl Rpc {
    /// Of a process that nobody has greeted yet.
    pub(super) fn new(
        relay: Arc<Relay>,
        cdp_address: String,
        watchers: watch::Sender<usize>,
    ) -> Self {
        Self {
            relay,
            relay_id: uuid::Uuid::new_v4().to_string(),
            cdp_address,
            features: features::words(),
            epoch: AtomicU64::new(0),
            watchers,
        }
    }

    fn admit(&self, epoch: u64) -> Result<(), Status> {
        let newest = self.epoch.load(Ordering::Acquire);
        if epoch < newest {
            return Err(Status::failed_precondition(format!(
                "agent epoch {epoch} is older than {newest}"
            )));
        }
        Ok(())
    }
}

#[tonic::async_trait]
impl RelayService for Rpc {
    async fn hello(&self, request: Request<pb::HelloRequest>) -> Answer<pb::HelloResponse> {
        let hello = request.into_inner();
        self.admit(hello.agent_epoch)?;
        let egress = hello.egress.unwrap_or_default();
        let allow = parse_all("egress.allow", &egress.allow)?;
        let deny = parse_all("egress.deny", &egress.deny)?;
        let endpoints = parse_all("egress.allow_endpoints", &egress.allow_endpoints)?;
        let nameservers = parse_all("egress.nameservers", &egress.nameservers)?;
        let resolver = Resolver::new(&nameservers)
            .map_err(|error| Status::invalid_argument(format!("egress.nameservers: {error}")))?;
        let tls = shown(hello.tls, hello.plaintext_beyond_host, &self.cdp_address)?;
        self.relay.tls.send_replace(tls);
        self.epoch.fetch_max(hello.agent_epoch, Ordering::AcqRel);
        let ports = egress.deny_ports.iter();
        let ports = ports.filter_map(|port| u16::try_from(*port).ok()).collect();
        let policy = Policy::new(allow).and_endpoints(endpoints).but_not(
            deny,
            ports,
            Hosts::of(&egress.deny_hosts),
        );
        self.relay.policy.send_replace(Arc::new(policy));
        *self.relay.resolver.lock() = Arc::new(resolver);
        let top_hosts = usize::try_from(egress.top_hosts).unwrap_or(0);
        self.relay.top_hosts.send_replace(top_hosts);
        // An agent that is too old to say so sends 0.
        if hello.browser_silence_ms > 0 {
            let patience = Duration::from_millis(hello.browser_silence_ms);
            self.relay.patience.send_replace(patience);
        }
        if let Some(limits) = hello.gateway {
            self.relay.gateway.send_replace(gateway::Limits {
                hold_timeout: Duration::from_millis(limits.hold_timeout_ms),
                max_message_bytes: limits.max_message_bytes,
                max_clients_per_session: limits.max_clients_per_session,
                max_connections_per_source: limits.max_connections_per_source,
                wrong_guesses_per_minute: limits.wrong_guesses_per_minute,
                origins: limits.origins.into(),
            });
        }
        for expect in hello.expected {
            self.expects(expect)?;
        }
        self.relay.calls.sent_to(hello.collector.map(Into::into));
        self.relay.greeted.send_replace(true);
        Ok(Response::new(pb::HelloResponse {
            relay_id: self.relay_id.clone(),
            protocol: PROTOCOL,
            features: self.features.clone(),
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            cdp_address: self.cdp_address.clone(),
        }))
    }

    async fn expect(&self, request: Request<pb::ExpectRequest>) -> Answer<pb::ExpectResponse> {
        let expect = request.into_inner();
        self.admit(expect.agent_epoch)?;
        self.expects(expect)?;
        Ok(Response::new(pb::ExpectResponse {}))
    }

    async fn attach(&self, request: Request<pb::AttachRequest>) -> Answer<pb::AttachResponse> {
        let attach = request.into_inner();
        self.admit(attach.agent_epoch)?;
        let instance = parse("instance_id", &attach.instance_id)?;
        let profile = serde_json::from_slice(&attach.profile)
            .map_err(|error| Status::invalid_argument(format!("profile: {error}")))?;
        let on_device = attach.on_device.map(on_device).transpose()?;
        let attachment = self.relay.attach(instance, profile, on_device).await?;
        let browser = attachment.supervisor.browser();
        Ok(Response::new(pb::AttachResponse {
            browser_product: browser.product.clone(),
            user_agent: browser.user_agent.clone(),
            capabilities: attachment.supervisor.device().map(capabilities),
        }))
    }

    async fn bind(&self, request: Request<pb::BindRequest>) -> Answer<pb::BindResponse> {
        let bind = request.into_inner();
        self.admit(bind.agent_epoch)?;
        let instance = parse("instance_id", &bind.instance_id)?;
        let way = way(bind.route)?;
        // Before anybody is let in: the first page must not be elsewhere.
        if let Some(held) = self.relay.instances.get(instance) {
            held.supervisor.settle(&way.place).await;
        }
        self.relay.bind(Bind {
            session: parse("session_id", &bind.session_id)?,
            instance,
            way: Some(way),
            deadline: instant("deadline", bind.deadline)?,
            idle_timeout: Duration::from_millis(bind.idle_timeout_ms),
            token: secret(bind.token),
            record: bind.record,
            used: traffic(bind.used.unwrap_or_default()),
            reroute: bind.reroute,
        })?;
        Ok(Response::new(pb::BindResponse {}))
    }

    async fn end(&self, request: Request<pb::EndRequest>) -> Answer<pb::EndResponse> {
        let end = request.into_inner();
        self.admit(end.agent_epoch)?;
        let session: SessionId = parse("session_id", &end.session_id)?;
        let reason = parse("reason", &end.reason)?;
        let why = Why {
            detail: (!end.detail.is_empty()).then_some(end.detail),
            blame: Blame::read(&end.blame),
        };
        let (ending, won) =
            self.relay.end(&session, reason, why).await.ok_or_else(|| {
                Status::not_found(format!("session {session} was never announced"))
            })?;
        Ok(Response::new(pb::EndResponse {
            ending: Some(ending_to_wire(&ending)),
            won,
        }))
    }

    async fn detach(&self, request: Request<pb::DetachRequest>) -> Answer<pb::DetachResponse> {
        let detach = request.into_inner();
        self.admit(detach.agent_epoch)?;
        let instance = parse("instance_id", &detach.instance_id)?;
        // Finished even where the caller goes away: half a detach would be a leak.
        let (relay, done) = (Arc::clone(&self.relay), tokio::sync::oneshot::channel());
        self.relay.tasks.spawn("detach", |_stop| async move {
            relay.detach(instance).await;
            let _caller_gone = done.0.send(());
        });
        done.1
            .await
            .map_err(|_gone| Status::unavailable("the relay is stopping"))?;
        Ok(Response::new(pb::DetachResponse {}))
    }

    async fn fence(&self, request: Request<pb::FenceRequest>) -> Answer<pb::FenceResponse> {
        let fence = request.into_inner();
        self.admit(fence.agent_epoch)?;
        self.relay.fence.set(instant("until", fence.until)?);
        Ok(Response::new(pb::FenceResponse {}))
    }

    async fn tally(&self, request: Request<pb::TallyRequest>) -> Answer<pb::TallyResponse> {
        self.admit(request.into_inner().agent_epoch)?;
        let held = self.relay.instances.all();
        let instances = held.iter().map(|held| tally(held)).collect();
        Ok(Response::new(pb::TallyResponse { instances }))
    }

    async fn hosts(&self, request: Request<pb::HostsRequest>) -> Answer<pb::HostsResponse> {
        let asked = request.into_inner();
        self.admit(asked.agent_epoch)?;
        let held = self
            .relay
            .instances
            .get(parse("instance_id", &asked.instance_id)?);
        let hosts = held.map_or_else(Vec::new, |held| hosts(&held));
        Ok(Response::new(pb::HostsResponse { hosts }))
    }

    async fn probe(&self, request: Request<pb::ProbeRequest>) -> Answer<pb::ProbeResponse> {
        let probe = request.into_inner();
        self.admit(probe.agent_epoch)?;
        let way = way(probe.route)?;
        let resolver = Arc::clone(&self.relay.resolver.lock());
        let looked = egress::probe(way, &probe.url, &resolver).await;
        Ok(Response::new(probed(looked)))
    }

    async fn list(&self, request: Request<pb::ListRequest>) -> Answer<pb::ListResponse> {
        self.admit(request.into_inner().agent_epoch)?;
        let held = self.relay.instances.all();
        let refused = self.relay.refused().into_iter();
        Ok(Response::new(pb::ListResponse {
            attachments: held.iter().map(|held| self.attachment(held)).collect(),
            ended: self
                .relay
                .sessions
                .tombstones()
                .into_iter()
                .map(tombstone)
                .collect(),
            egress_refused: refused
                .map(|(why, count)| (why.to_owned(), count))
                .collect(),
        }))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<pb::Event, Status>> + Send>>;

    async fn watch(&self, request: Request<pb::WatchRequest>) -> Answer<Self::WatchStream> {
        let watch = request.into_inner();
        self.admit(watch.agent_epoch)?;
        let watcher = Watcher::new(&self.watchers);
        let (relay, latest) = (Arc::clone(&self.relay), self.relay.ledger.latest());
        let batches = stream::unfold(
            (relay, latest, watch.after_seq, watcher),
            |(relay, mut latest, mut after, watcher)| async move {
                // Read before the news: what is pushed in between is not passed over.
                let seen = *latest.wait_for(|latest| *latest > after).await.ok()?;
                let news = relay.ledger.after(after);
                after = news.last().map_or(seen, |(seq, _)| *seq);
                Some((stream::iter(news), (relay, latest, after, watcher)))
            },
        );
        let events = batches.flatten().map(|(seq, news)| Ok(event(seq, news)));
        let stop = self.relay.tasks.stopping();
        Ok(Response::new(Box::pin(
            events.take_until(stop.cancelled_owned()),
        )))
    }

    async fn ack(&self, request: Request<pb::AckRequest>) -> Answer<pb::AckResponse> {
        let ack = request.into_inner();
        self.admit(ack.agent_epoch)?;
        self.relay.ledger.ack(ack.seq);
        Ok(Response::new(pb::AckResponse {}))
    }

    async fn ping(&self, _request: Request<pb::PingRequest>) -> Answer<pb::PingResponse> {
        Ok(Response::new(pb::PingResponse {}))
    }
}

impl Rpc {
    fn expects(&self, expect: pb::ExpectRequest) -> Result<(), Status> {
        self.relay.sessions.expect(
            parse("session_id", &expect.session_id)?,
            instant("until", expect.until)?,
            secret(expect.token),
        );
        Ok(())
    }

    fn attachment(&self, held: &Attachment) -> pb::Attachment {
        let session = held.hold.lock().session.clone();
        let record = session.as_ref().map(|id| self.relay.sessions.record(id));
        let clients = session
            .as_ref()
            .map_or(0, |id| self.relay.sessions.clients(id));
        pb::Attachment {
            instance_id: held.instance.to_string(),
            session_id: session.map_or_else(String::new, String::from),
            record: record.unwrap_or_default(),
            browser_product: held.supervisor.browser().product.clone(),
            dial_sockets: u32::try_from(held.devtools.spare()).unwrap_or(u32::MAX),
            supervisors: held.supervisor.connections(),
            clients,
            pageless: !held.supervisor.has_page(),
        }
    }
}

/// Counts one open `Watch` for as long as its stream lives.
#[derive(Debug)]
struct Watcher(watch::Sender<usize>);

impl Watcher {
    fn new(watchers: &watch::Sender<usize>) -> Self {
        watchers.send_modify(|open| *open += 1);
        Self(watchers.clone())
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.0.send_modify(|open| *open = open.saturating_sub(1));
    }
}
