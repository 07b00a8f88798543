//! What agent and relay tell each other, in the model's words.

use std::{collections::BTreeMap, time::Duration};

use secrecy::SecretString;
use tokio::sync::watch;

use crate::{
    model::{BootInstant, Capabilities, Ending, InstanceId, SessionId, Traffic},
    relay::Way,
    tls::Shown,
    traces::Collector,
};

/// What the agent tells at `Hello`.
#[derive(Debug, Clone)]
pub struct Settings {
    /// CIDRs that beat the deny list.
    pub egress_allow: Vec<ipnet::IpNet>,
    /// CIDRs that are denied before anything is allowed.
    pub egress_deny: Vec<ipnet::IpNet>,
    /// Ports likewise.
    pub egress_deny_ports: Vec<u16>,
    /// Names likewise, one a line, each with all below it: now and after each reload.
    pub egress_deny_hosts: watch::Receiver<String>,
    /// Of so many hosts of each session the bytes are shown; 0 counts none.
    pub top_hosts: u32,
    /// Endpoints of this agent that beat it too.
    pub egress_endpoints: Vec<std::net::SocketAddr>,
    /// Name servers; empty means the host's.
    pub nameservers: Vec<std::net::SocketAddr>,
    /// How long early clients are held.
    pub hold_timeout: Duration,
    /// The largest message of a CDP client, bytes.
    pub max_message_bytes: u64,
    /// CDP connections per session.
    pub max_clients_per_session: u32,
    /// Connections per source; 0 is any number.
    pub max_connections_per_source: u32,
    /// Wrong ids and tokens per source and minute; 0 is any number.
    pub wrong_guesses_per_minute: u32,
    /// Origins that pages may connect from; empty is any.
    pub origins: Vec<String>,
    /// How long a browser may answer nobody.
    pub browser_silence: Duration,
    /// What the gateway shows, now and after each reload; none: it speaks plaintext.
    pub identity: Shown,
    /// Whether it may do so although other hosts can reach it.
    pub plaintext_beyond_host: bool,
    /// Every session that lives.
    pub expected: Vec<Expected>,
    /// Where the relay sends traces of its orders.
    pub collector: Option<Collector>,
}

/// A session whose clients are held until it is bound.
#[derive(Debug, Clone)]
pub struct Expected {
    /// Which.
    pub session: SessionId,
    /// They are held no longer than this.
    pub until: BootInstant,
    /// What they must present.
    pub token: Option<SecretString>,
}

/// What the relay answers to `Hello`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// Fresh for each relay process.
    pub relay_id: String,
    /// Its pid.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// Where its gateway listens.
    pub cdp_address: String,
}

/// What an attached browser said of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// `Chrome/156.0.8078.79`.
    pub product: String,
    /// Its User-Agent.
    pub user_agent: String,
    /// Of a device: what its browser can do, where the relay says so.
    pub capabilities: Option<Capabilities>,
}

/// An order to give an attached instance to a session.
#[derive(Debug, Clone)]
pub struct Bind {
    /// The session.
    pub session: SessionId,
    /// The instance.
    pub instance: InstanceId,
    /// How its connections leave; `None` where that is known no more: then it is not sent.
    pub way: Option<Way>,
    /// When its ttl runs out.
    pub deadline: BootInstant,
    /// Its idle limit.
    pub idle_timeout: Duration,
    /// What CDP clients must present.
    pub token: Option<SecretString>,
    /// Opaque to the relay, given back by [`super::RelayClient::list`].
    pub record: Vec<u8>,
    /// What it was seen to have moved so far: the meter goes on from no less.
    pub used: Traffic,
    /// Whether a session that is bound already shall leave by `way` from now on.
    pub reroute: bool,
}

/// Something the relay holds.
#[derive(Debug, Clone)]
pub struct Held {
    /// The instance.
    pub instance: InstanceId,
    /// Who holds it, if anyone.
    pub session: Option<SessionId>,
    /// What [`Bind::record`] said.
    pub record: Vec<u8>,
    /// What its browser said of itself.
    pub product: String,
    /// Whether the profile is held on its targets, and there is a page among them.
    pub supervised: bool,
}

/// A session whose end the relay remembers.
#[derive(Debug, Clone)]
pub struct Ended {
    /// The session.
    pub session: SessionId,
    /// Its instance, unless it ended before it had one.
    pub instance: Option<InstanceId>,
    /// How it ended.
    pub ending: Ending,
    /// The event that told it.
    pub seq: u64,
    /// What [`Bind::record`] said; empty where it never was bound.
    pub record: Vec<u8>,
}

/// All that the relay holds and remembers.
#[derive(Debug, Clone, Default)]
pub struct Inventory {
    /// Attached instances.
    pub held: Vec<Held>,
    /// Endings that may not be acknowledged yet.
    pub ended: Vec<Ended>,
    /// Requests that the egress policy refused since the relay started, by reason.
    pub refused: BTreeMap<String, u64>,
}

/// What connections by way of one instance's route came to.
#[derive(Debug, Clone)]
pub struct Tally {
    /// Which.
    pub instance: InstanceId,
    /// Connections that were made by way of the route.
    pub reached: u64,
    /// Requests that the relay refused, by its word for the reason.
    pub refused: BTreeMap<String, u64>,
}

/// What a look at a way out came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// It works.
    Works {
        /// How long it took.
        took: Duration,
        /// Status of the answer; 0 where nothing was asked for.
        status: u32,
        /// Its beginning.
        body: Vec<u8>,
    },
    /// It does not.
    Refused {
        /// The relay's word for the reason.
        reason: String,
        /// A sentence.
        detail: String,
    },
}

/// News from the relay.
#[derive(Debug, Clone)]
pub enum RelayEvent {
    /// A session ended.
    Ended(Ended),
    /// An instance needs more sockets toward DevTools.
    SocketsLow {
        /// Event number.
        seq: u64,
        /// Which.
        instance: InstanceId,
    },
    /// An instance that no session holds died.
    InstanceLost {
        /// Event number.
        seq: u64,
        /// Which.
        instance: InstanceId,
        /// What was seen.
        cause: String,
    },
}
