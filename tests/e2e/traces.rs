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

use crate::harness::{Agent, Receiver, eventually, lab, seconds, session_id, spec};

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
            assert_eq!(text(&about, "service.name").as_deref(), Some("chaser"));
            assert!(text(&about, "host.name").is_some());
            spans.extend(from.scope_spans.into_iter().flat_map(|scope| scope.spans));
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
