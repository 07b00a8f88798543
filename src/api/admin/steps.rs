//! How long the steps of sessions' lives take, as the node counted them.

use std::{fmt, sync::Arc};

use parking_lot::Mutex;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, NoLabelSet},
    metrics::MetricType,
    registry::Unit,
};

use crate::wire::node as pb;

/// What the node said last. Cheap to clone; clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct StepHistograms(Arc<Mutex<Vec<pb::StepTimes>>>);

impl StepHistograms {
    pub(super) fn set(&self, steps: &[pb::StepTimes]) {
        steps.clone_into(&mut self.0.lock());
    }
}

impl Collector for StepHistograms {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut family = encoder.encode_descriptor(
            "step",
            "How long the steps of sessions' lives take",
            Some(&Unit::Seconds),
            MetricType::Histogram,
        )?;
        for of in self.0.lock().iter() {
            let bounds = of.bounds.iter().copied().chain([f64::INFINITY]);
            let buckets: Vec<_> = bounds.zip(of.buckets.iter().copied()).collect();
            let labels = [("way", of.way.as_str()), ("step", of.step.as_str())];
            let count = of.buckets.iter().sum();
            let mut one = family.encode_family(&labels)?;
            one.encode_histogram::<NoLabelSet>(of.seconds, count, &buckets, None)?;
        }
        Ok(())
    }
}
