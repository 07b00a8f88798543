//! KEDA and the node: driven as KEDA drives an external scaler.

use std::collections::HashMap;

use chaser::wire::scaler::{
    GetMetricsRequest, ScaledObjectRef, external_scaler_client::ExternalScalerClient,
};
use tonic::{Code, Streaming, transport::Channel};

use crate::harness::{Agent, lab, seconds, session_id, spec};

fn object(metadata: &[(&str, &str)]) -> ScaledObjectRef {
    let pairs = metadata
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    // KEDA hands on everything that a trigger has, its own address included.
    let mut scaler_metadata: HashMap<_, _> = pairs.collect();
    scaler_metadata.insert("scalerAddress".to_owned(), "node:7702".to_owned());
    ScaledObjectRef {
        name: "browsers".to_owned(),
        namespace: "default".to_owned(),
        scaler_metadata,
    }
}

async fn dial(address: &str) -> ExternalScalerClient<Channel> {
    ExternalScalerClient::connect(format!("http://{address}"))
        .await
        .unwrap()
}

/// What KEDA's operator does at each polling interval: the metric, then whether it is active. A float
/// above 0 counts, else the integer.
async fn poll(keda: &mut ExternalScalerClient<Channel>, of: &ScaledObjectRef) -> (f64, bool) {
    let specs = keda.get_metric_spec(of.clone()).await.unwrap().into_inner();
    let [spec] = &specs.metric_specs[..] else {
        panic!("one metric: {specs:?}")
    };
    assert!(
        spec.target_size >= 1 && spec.target_size_float > 0.0,
        "{spec:?}"
    );
    let request = GetMetricsRequest {
        scaled_object_ref: Some(of.clone()),
        metric_name: spec.metric_name.clone(),
    };
    let values = keda.get_metrics(request).await.unwrap().into_inner();
    let [value] = &values.metric_values[..] else {
        panic!("one value: {values:?}")
    };
    assert_eq!(value.metric_name, spec.metric_name);
    let shown = if value.metric_value_float > 0.0 {
        value.metric_value_float
    } else {
        i32::try_from(value.metric_value).unwrap().into()
    };
    let active = keda.is_active(of.clone()).await.unwrap().into_inner();
    (shown, active.result)
}

async fn next(stream: &mut Streaming<chaser::wire::scaler::IsActiveResponse>) -> bool {
    let message = tokio::time::timeout(seconds(20), stream.message()).await;
    message.expect("it is told").unwrap().unwrap().result
}

#[tokio::test(flavor = "multi_thread")]
async fn keda_sees_demand_come_and_go_and_reconnects_to_the_next_agent() {
    let (lab, _origin) = lab();
    let address = format!("127.0.0.1:{}", lab.port(2));
    let config = format!("[node]\nmax_sessions = 4\nlisten = \"{address}\"\n");
    let mut agent = Agent::start(&lab, &config).await;
    let mut keda = dial(&address).await;
    let sessions = object(&[("metric", "sessions"), ("target", "2.5")]);
    assert_eq!(poll(&mut keda, &sessions).await, (0.0, false));
    let mut stream = keda
        .stream_is_active(sessions.clone())
        .await
        .unwrap()
        .into_inner();
    assert!(!next(&mut stream).await, "the first answer comes at once");

    let id = session_id();
    agent.node.provision(&id, spec(seconds(600))).await.unwrap();
    assert!(next(&mut stream).await, "an order makes it active");
    assert_eq!(poll(&mut keda, &sessions).await, (1.0, true));
    let utilization = object(&[("metric", "utilization")]);
    assert_eq!(poll(&mut keda, &utilization).await, (25.0, true));

    // The agent goes; KEDA's stream breaks and is opened again, and nothing is forgotten.
    assert_eq!(agent.terminate(seconds(10)), Some(0));
    let end = tokio::time::timeout(seconds(10), stream.message())
        .await
        .unwrap();
    assert!(!matches!(end, Ok(Some(_))), "{end:?}");
    agent.launch();
    agent.wait_until(chaser::wire::node::NodeState::Ready).await;
    let mut keda = dial(&address).await;
    let mut stream = keda
        .stream_is_active(sessions.clone())
        .await
        .unwrap()
        .into_inner();
    assert!(next(&mut stream).await, "it lives on");
    agent.node.teardown(&id).await.unwrap();
    assert!(!next(&mut stream).await, "the last one is gone");
    assert_eq!(poll(&mut keda, &sessions).await, (0.0, false));

    let wrong = object(&[("metric", "cpu")]);
    let refused = keda.get_metric_spec(wrong).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("metric"), "{refused}");
    let request = GetMetricsRequest {
        scaled_object_ref: Some(sessions),
        metric_name: "s0-chaser_sessions".to_owned(),
    };
    let refused = keda.get_metrics(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound, "{refused}");
}
