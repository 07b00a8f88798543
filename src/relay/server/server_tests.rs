use std::{os::fd::OwnedFd, time::Duration};

use nix::unistd::getpid;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use super::{attachment::Staged, rpc::Rpc, *};
use crate::{
    relay::{
        PROTOCOL, Way, egress::Verdict, fake_devtools::FakeBrowser, features,
        supervisor::tests::phone,
    },
    traces::Calls,
    wire::relay::{self as pb, relay_service_server::RelayService},
};

/// A relay in a directory of its own, toward a DevTools of a test.
struct Stand {
    relay: Arc<Relay>,
    dir: tempfile::TempDir,
    instance: InstanceId,
    /// Where the instance's pages find their proxy.
    proxy: SocketAddr,
}

impl Stand {
    fn new(devtools: SocketAddr) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["meter", "instances"] {
            std::fs::create_dir(dir.path().join(folder)).unwrap();
        }
        let relay = Relay {
            paths: Paths {
                root: dir.path().to_owned(),
            },
            tasks: Tasks::default(),
            sessions: Sessions::default(),
            instances: Instances::default(),
            devtools,
            ledger: Ledger::default(),
            fence: Fence::default(),
            greeted: watch::Sender::new(false),
            policy: watch::Sender::new(Arc::new(Policy::new(Vec::new()))),
            gateway: watch::Sender::new(gateway::Limits {
                hold_timeout: Duration::from_secs(1),
                max_message_bytes: 1 << 20,
                max_clients_per_session: 1,
                max_connections_per_source: 0,
                wrong_guesses_per_minute: 0,
                origins: Arc::default(),
            }),
            top_hosts: watch::Sender::new(0),
            tls: watch::Sender::new(None),
            calls: Calls::of("chaser-relay"),
            patience: watch::Sender::new(Duration::from_secs(600)),
            resolver: Mutex::new(Arc::new(Resolver::new(&[]).unwrap())),
            refused_before: Mutex::default(),
        };
        Self {
            relay: Arc::new(relay),
            dir,
            instance: InstanceId::random(),
            proxy: SocketAddr::from(([127, 0, 0, 1], 0)),
        }
    }

    fn stage(&mut self, pid: i32) -> Result<(), String> {
        let egress = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        self.proxy = egress.local_addr().unwrap();
        let dial = (0..16).map(|_| {
            let kind = socket2::Type::STREAM.nonblocking();
            OwnedFd::from(socket2::Socket::new(socket2::Domain::IPV4, kind, None).unwrap())
        });
        let staged = Staged {
            pidfd: pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::NONBLOCK).unwrap(),
            egress: egress.into(),
            dial: dial.collect(),
        };
        self.relay.instances.stage(self.instance, staged)
    }

    async fn attached(devtools: SocketAddr, pid: i32) -> Self {
        let mut stand = Self::new(devtools);
        stand.stage(pid).unwrap();
        stand
            .relay
            .attach(stand.instance, phone(), None)
            .await
            .unwrap();
        stand
    }

    fn expect(&self) -> SessionId {
        let session = SessionId::random();
        let until = boot_now().unwrap().after(Duration::from_secs(60));
        self.relay.sessions.expect(session.clone(), until, None);
        session
    }

    fn bind(&self, session: &SessionId) -> Result<(), BindFailed> {
        self.relay.bind(self.claim(session, Way::default(), false))
    }

    /// The order by which `session` gets the instance.
    fn claim(&self, session: &SessionId, way: Way, reroute: bool) -> Bind {
        Bind {
            session: session.clone(),
            instance: self.instance,
            way: Some(way),
            used: crate::model::Traffic::default(),
            reroute,
            deadline: boot_now().unwrap().after(Duration::from_secs(60)),
            idle_timeout: Duration::from_secs(60),
            token: None,
            record: b"record".to_vec(),
        }
    }

    /// What a browser hears that asks for an address which is always denied.
    async fn page(&self) -> String {
        let mut stream = TcpStream::connect(self.proxy).await.unwrap();
        let request = b"CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    fn rpc(&self) -> Rpc {
        let relay = Arc::clone(&self.relay);
        Rpc::new(relay, "127.0.0.1:1".to_owned(), watch::Sender::new(0))
    }

    fn files(&self) -> usize {
        let folders = ["meter", "instances"].map(|folder| self.dir.path().join(folder));
        let count = |folder| std::fs::read_dir(folder).unwrap().count();
        folders.into_iter().map(count).sum()
    }
}

#[path = "older_tests.rs"]
mod older;
#[path = "reroute_tests.rs"]
mod reroute;

fn us() -> i32 {
    getpid().as_raw()
}

#[tokio::test]
async fn a_bound_session_has_a_way_out_until_it_ends() {
    let browser = FakeBrowser::start().await;
    let stand = Stand::attached(browser.address, us()).await;
    assert!(stand.page().await.contains("refused: no_route"));
    let session = stand.expect();
    stand.bind(&session).unwrap();
    stand.bind(&session).unwrap();
    assert!(stand.page().await.contains("refused: denied_address"));
    let other = stand.expect();
    assert!(matches!(stand.bind(&other), Err(BindFailed::Taken(_))));
    stand.relay.detach(stand.instance).await;
    let (ending, won) = stand
        .relay
        .end(&session, EndReason::ClientDelete, Why::default())
        .await
        .unwrap();
    assert_eq!((ending.reason, won), (EndReason::SubstrateDown, false));
    TcpStream::connect(stand.proxy).await.unwrap_err();
    assert_eq!(stand.files(), 0);
    assert!(stand.relay.instances.is_empty());
}

#[tokio::test]
async fn a_bind_that_comes_after_the_end_opens_no_way_out() {
    let browser = FakeBrowser::start().await;
    let stand = Stand::attached(browser.address, us()).await;
    let session = stand.expect();
    let reason = EndReason::ClientDelete;
    stand
        .relay
        .end(&session, reason, Why::default())
        .await
        .unwrap();
    assert!(matches!(
        stand.bind(&session),
        Err(BindFailed::Session(BindRefused::Over))
    ));
    assert!(stand.page().await.contains("refused: no_route"));
    assert_eq!(stand.files(), 1, "a record stayed beside the counters");
    // The browser was touched by nobody: it can still be somebody's.
    let next = stand.expect();
    stand.bind(&next).unwrap();
}

#[tokio::test]
async fn nobody_is_bound_to_what_is_leaving() {
    let browser = FakeBrowser::start().await;
    let stand = Stand::attached(browser.address, us()).await;
    let leaving = stand.relay.instances.leave(stand.instance);
    assert!(matches!(leaving, instances::Leaving::Attachment(_)));
    let session = stand.expect();
    assert!(matches!(
        stand.bind(&session),
        Err(BindFailed::NotAttached(_))
    ));
    let again = stand.relay.attach(stand.instance, phone(), None).await;
    assert!(matches!(again, Err(AttachFailed::Busy)));
    tokio::join!(
        stand.relay.detach(stand.instance),
        stand.relay.detach(stand.instance)
    );
    assert!(stand.relay.instances.is_empty());
}

#[tokio::test]
async fn nobody_is_bound_to_a_dead_container() {
    let browser = FakeBrowser::start().await;
    let mut child = tokio::process::Command::new("sleep")
        .arg("60")
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let pid = i32::try_from(child.id().unwrap()).unwrap();
    let stand = Stand::attached(browser.address, pid).await;
    let session = stand.expect();
    let attachment = stand.relay.instances.get(stand.instance).unwrap();
    child.kill().await.unwrap();
    attachment.died().await;
    assert!(matches!(
        stand.bind(&session),
        Err(BindFailed::NotAttached(_))
    ));
}

#[tokio::test]
async fn a_detach_waits_until_an_attempt_has_left_nothing_behind() {
    // Takes connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut stand = Stand::new(silent.local_addr().unwrap());
    stand.stage(us()).unwrap();
    let relay = Arc::clone(&stand.relay);
    let attaching = relay.attach(stand.instance, phone(), None);
    let detaching = async {
        while stand.files() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        stand.relay.detach(stand.instance).await;
        assert_eq!(stand.files(), 0);
        assert!(stand.relay.instances.is_empty());
    };
    let both = async { tokio::join!(attaching, detaching).0 };
    let attached = timeout(Duration::from_secs(5), both).await.unwrap();
    assert!(matches!(attached, Err(AttachFailed::Detached)));
    stand.stage(us()).unwrap();
}

#[tokio::test]
async fn an_endpoint_of_the_agent_is_open_to_pages_until_the_next_greeting() {
    let stand = Stand::new(SocketAddr::from(([127, 0, 0, 1], 1)));
    let rpc = stand.rpc();
    let greet = async |endpoints: &[&str]| {
        let egress = pb::EgressPolicy {
            allow_endpoints: endpoints.iter().map(|&text| text.to_owned()).collect(),
            ..pb::EgressPolicy::default()
        };
        let hello = pb::HelloRequest {
            agent_epoch: 1,
            protocol: PROTOCOL,
            egress: Some(egress),
            plaintext_beyond_host: true,
            ..pb::HelloRequest::default()
        };
        rpc.hello(tonic::Request::new(hello)).await.map(drop)
    };
    let page = SocketAddr::from(([127, 0, 0, 1], 4000));
    let open = || {
        let policy = Arc::clone(&stand.relay.policy.borrow());
        policy.verdict(page.ip(), page.port(), &[page.ip()]) == Verdict::Allowed
    };
    greet(&["127.0.0.1:4000"]).await.unwrap();
    assert!(open());
    greet(&[]).await.unwrap();
    assert!(!open());
    let refused = greet(&["127.0.0.1"]).await.unwrap_err();
    assert!(
        refused.message().contains("egress.allow_endpoints"),
        "{refused}"
    );
}

#[tokio::test]
async fn nobody_is_given_a_browser_whose_page_has_crashed() {
    let browser = FakeBrowser::start().await;
    let stand = Stand::attached(browser.address, us()).await;
    let tell = |method: &str| {
        let event = serde_json::json!({ "method": method, "sessionId": "PAGE", "params": {} });
        browser.say(tokio_tungstenite::tungstenite::Message::text(
            event.to_string(),
        ));
    };
    let attachment = stand.relay.instances.get(stand.instance).unwrap();
    let until = async |has_page: bool| {
        while attachment.supervisor.has_page() != has_page {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tell("Inspector.targetCrashed");
    timeout(Duration::from_secs(5), until(false)).await.unwrap();
    let session = stand.expect();
    let refused = stand.bind(&session);
    assert!(matches!(refused, Err(BindFailed::Unfit(_))), "{refused:?}");
    tell("Inspector.targetReloadedAfterCrash");
    timeout(Duration::from_secs(5), until(true)).await.unwrap();
    stand.bind(&session).unwrap();
    tell("Inspector.targetCrashed");
    timeout(Duration::from_secs(5), until(false)).await.unwrap();
    stand.bind(&session).unwrap();
}

#[tokio::test]
async fn the_newest_agent_commands_the_relay_and_no_older_one() {
    let stand = Stand::new(SocketAddr::from(([127, 0, 0, 1], 1)));
    let rpc = stand.rpc();
    let hello = async |agent_epoch| {
        let hello = pb::HelloRequest {
            agent_epoch,
            protocol: PROTOCOL,
            ..pb::HelloRequest::default()
        };
        let answer = rpc.hello(tonic::Request::new(hello)).await;
        answer.map(drop).map_err(|status| status.code())
    };
    let list = async |agent_epoch| {
        let asked = tonic::Request::new(pb::ListRequest { agent_epoch });
        rpc.list(asked).await.map(drop).map_err(|s| s.code())
    };
    hello(2).await.unwrap();
    list(2).await.unwrap();
    hello(3).await.unwrap();
    let older = Err(tonic::Code::FailedPrecondition);
    assert_eq!((hello(2).await, list(2).await), (older, older));
    list(3).await.unwrap();
}
