//! Traces, as a collector gets them.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use chaser::model::SessionId;
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, KeyValue, any_value::Value},
    trace::v1::Span,
};
use prost::Message;
use tokio::net::TcpListener;

use crate::{
    harness::{Agent, Api, Receiver, eventually, lab, seconds, session_id, spec},
    units::{booted, started},
};

fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    match found.value.as_ref()? {
        AnyValue {
            value: Some(Value::StringValue(text)),
        } => Some(text.clone()),
        other => panic!("{key} is no text: {other:?}"),
    }
}

/// Every span that came, each of ours.
fn spans(collector: &Receiver) -> Vec<Span> {
    told(collector).into_iter().map(|(_, span)| span).collect()
}

/// The same, each with the service that it is of.
fn told(collector: &Receiver) -> Vec<(String, Span)> {
    let mut spans = Vec::new();
    for got in collector.got() {
        assert_eq!(
            (got.method.as_str(), got.path.as_str()),
            ("POST", "/v1/traces")
        );
        assert_eq!(got.header("content-type"), "application/x-protobuf");
        let letter = ExportTraceServiceRequest::decode(got.raw).unwrap();
        for from in letter.resource_spans {
            let about = from.resource.unwrap().attributes;
            let service = text(&about, "service.name").unwrap();
            assert!(service.starts_with("chaser"), "{service}");
            assert!(text(&about, "host.name").is_some());
            let here = from.scope_spans.into_iter().flat_map(|scope| scope.spans);
            spans.extend(here.map(|span| (service.clone(), span)));
        }
    }
    spans
}

fn of<'a>(spans: &'a [Span], name: &str, session: &str) -> Option<&'a Span> {
    spans.iter().find(|span| {
        span.name == name && text(&span.attributes, "session").as_deref() == Some(session)
    })
}

fn children<'a>(spans: &'a [Span], parent: &Span) -> Vec<&'a str> {
    let ours = spans
        .iter()
        .filter(|span| span.parent_span_id == parent.span_id && span.trace_id == parent.trace_id);
    ours.map(|span| span.name.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_gets_the_steps_of_a_session_and_one_that_refuses_is_told_of_once() {
    let (lab, _origin) = lab();
    let address = format!("127.0.0.1:{}", lab.port(5));
    let listener = TcpListener::bind(&address).await.unwrap();
    let refuses = Arc::new(AtomicBool::new(true));
    let is_refusing = Arc::clone(&refuses);
    let collector = Receiver::start(listener, move |_| {
        let status = if is_refusing.load(Ordering::Relaxed) {
            503
        } else {
            200
        };
        (status, String::new(), seconds(0))
    });
    let config = format!("[log]\ntraces = \"http://{address}/v1/traces\"\n");
    let mut agent = Agent::start(&lab, &config).await;
    let log = agent.state_dir.with_file_name("up.log");
    let said = |words: &str| {
        let text = std::fs::read_to_string(&log).unwrap();
        text.lines().filter(|line| line.contains(words)).count()
    };
    let lives = async |agent: &Agent| {
        let id = session_id();
        agent.node.provision(&id, spec(seconds(600))).await.unwrap();
        agent.node.teardown(&id).await.unwrap();
        id
    };
    lives(&agent).await;
    eventually("a letter is refused", seconds(30), async || {
        (!collector.got().is_empty()).then_some(())
    })
    .await;
    lives(&agent).await;
    eventually("another one is refused", seconds(30), async || {
        (collector.got().len() > 1).then_some(())
    })
    .await;
    assert_eq!(said("the collector takes no traces"), 1);
    refuses.store(false, Ordering::Relaxed);
    let id = lives(&agent).await;
    let session = id.parse::<SessionId>().unwrap().to_string();
    let all = eventually("its end is traced", seconds(30), async || {
        let all = spans(&collector);
        of(&all, "release", &session).is_some().then_some(all)
    })
    .await;
    // It is told once the answer is here, which is after the letter is there.
    eventually("that is told", seconds(10), async || {
        (said("the collector takes traces again") == 1).then_some(())
    })
    .await;

    let provision = of(&all, "provision", &session).unwrap();
    assert!(provision.parent_span_id.is_empty(), "{provision:?}");
    assert!(provision.end_time_unix_nano > provision.start_time_unix_nano);
    let steps = children(&all, provision);
    assert!(steps.contains(&"journal order"), "{steps:?}");
    let release = children(&all, of(&all, "release", &session).unwrap());
    assert!(release.contains(&"cut"), "{release:?}");
    // What was lost while it refused may be steps of the sessions before.
    let launches = all.iter().filter(|span| span.name == "launch");
    let launched: Vec<_> = launches.map(|launch| children(&all, launch)).collect();
    let whole = launched.iter().any(|steps| {
        let steps = |step: &&str| steps.contains(step);
        ["create", "start", "furnish", "attach"].iter().all(steps)
    });
    assert!(whole, "{launched:?}");
    assert!(!format!("{all:?}").contains(&id), "an id is a capability");

    // What was not sent yet is sent at the end.
    let last = lives(&agent).await.parse::<SessionId>().unwrap();
    assert_eq!(agent.terminate(seconds(20)), Some(0));
    assert!(of(&spans(&collector), "provision", &last.to_string()).is_some());
    agent.launch();
    agent.wait_until(chaser::wire::node::NodeState::Ready).await;
}

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const STEP: &str = "00f067aa0ba902b7";

fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The steps from the first to this one, each as its service and its name.
fn way_to(all: &[(String, Span)], step: &(String, Span)) -> Vec<String> {
    let above = all.iter().find(|(_, span)| {
        span.trace_id == step.1.trace_id && span.span_id == step.1.parent_span_id
    });
    let mut way = above.map_or_else(Vec::new, |above| way_to(all, above));
    way.push(format!("{} {}", step.0, step.1.name));
    way
}

/// Every way of the trace that has this step of a session.
fn ways(all: &[(String, Span)], step: &str, session: &str) -> Option<(Span, Vec<Vec<String>>)> {
    let is = |(_, span): &&(String, Span)| {
        let of = text(&span.attributes, "session");
        span.name == step && of.as_deref() == Some(session)
    };
    let (_, found) = all.iter().find(is)?;
    let within = all
        .iter()
        .filter(|(_, span)| span.trace_id == found.trace_id);
    let root = all.iter().find(|(service, span)| {
        let begins = span.name.starts_with("POST") || span.name.starts_with("DELETE");
        service == "chaser-api" && span.trace_id == found.trace_id && begins
    })?;
    Some((
        root.1.clone(),
        within.map(|step| way_to(all, step)).collect(),
    ))
}

const ORDERED: [&[&str]; 3] = [
    &[
        "provision",
        "chaser-relay chaser.relay.v1.RelayService/Expect",
    ],
    &[
        "provision",
        "launch",
        "attach",
        "chaser-relay chaser.relay.v1.RelayService/Attach",
    ],
    &[
        "provision",
        "give",
        "chaser-relay chaser.relay.v1.RelayService/Bind",
    ],
];

/// A way through all three services, from the names of what lies between node and relay.
fn through(begin: [&str; 4], rest: &[&str]) -> Vec<String> {
    let [call, first, second, node] = begin;
    let api = [call, first, second]
        .into_iter()
        .filter(|step| !step.is_empty());
    let mut way: Vec<_> = api.map(|step| format!("chaser-api {step}")).collect();
    way.push(format!("chaser-node chaser.node.v1.NodeService/{node}"));
    let (relay, node) = rest.split_last().unwrap();
    way.extend(node.iter().map(|step| format!("chaser-node {step}")));
    way.push((*relay).to_owned());
    way
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_one_trace_over_api_node_and_relay_and_goes_on_with_its_clients_own() {
    let (lab, _origin) = lab();
    let address = format!("127.0.0.1:{}", lab.port(5));
    let listener = TcpListener::bind(&address).await.unwrap();
    let collector = Receiver::start(listener, |_| (200, String::new(), seconds(0)));
    let config = format!("[log]\ntraces = \"http://{address}/v1/traces\"\n");
    let machine = booted(&lab, &config).await;
    let secret =
        "[Service]\nEnvironment=OTEL_EXPORTER_OTLP_HEADERS=authorization=Bearer%%20hidden\n";
    for unit in ["chaser-node", "chaser-api"] {
        machine.drop_in(&format!("{unit}.service"), secret);
    }
    started(&machine).await;
    let lived = async |api: &Api| {
        let session = api.ready_session().await;
        assert_eq!(session.delete().await.status, 204);
        session.id
    };
    let with = |parent: &str| machine.api.saying("traceparent", parent);
    let unsampled = lived(&with(&format!("00-{TRACE}-{STEP}-00"))).await;
    let own = lived(&machine.api).await;
    let ignored = lived(&with(&format!("00-{}-{STEP}-01", TRACE.to_uppercase()))).await;
    let theirs = lived(&with(&format!("00-{TRACE}-{STEP}-01"))).await;

    let short = |id: &String| id.parse::<SessionId>().unwrap().to_string();
    for (id, is_theirs) in [(&own, false), (&ignored, false), (&theirs, true)] {
        let offered = ["POST /v1/sessions", "order", "offer", "Provision"];
        let mut wanted: Vec<_> = ORDERED.map(|rest| ("order", through(offered, rest))).into();
        let ended = ["DELETE /v1/sessions/{id}", "delete", "", "Teardown"];
        let cut = [
            "release",
            "cut",
            "chaser-relay chaser.relay.v1.RelayService/End",
        ];
        wanted.push(("release", through(ended, &cut)));
        for (step, way) in wanted {
            let root = eventually(&format!("{way:?}"), seconds(30), async || {
                let (root, ways) = ways(&told(&collector), step, &short(id))?;
                ways.contains(&way).then_some(root)
            })
            .await;
            assert_eq!(hex(&root.trace_id) == TRACE, is_theirs, "{root:?}");
            let parent = if is_theirs { STEP } else { "" };
            assert_eq!(hex(&root.parent_span_id), parent, "{root:?}");
        }
    }
    let all = told(&collector);
    assert!(
        ways(&all, "order", &short(&unsampled)).is_none(),
        "not wanted"
    );
    let words = format!("{all:?}");
    for secret in [&unsampled, &own, &ignored, &theirs, "sk_test", "hidden"] {
        assert!(!words.contains(secret), "{secret} is told to the collector");
    }
    // The relay has what is sent along from the agent, and not in its environment.
    for letter in collector.got() {
        assert_eq!(letter.header("authorization"), "Bearer hidden");
    }
    let relay = machine.main_pid("chaser-relay");
    let environment = machine.must(&format!("tr '\\0' '\\n' </proc/{relay}/environ"));
    assert!(!environment.contains("hidden"), "{environment}");
}
