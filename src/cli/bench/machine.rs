//! The facts of the machine that figures were measured on.

use std::{num::NonZero, thread};

use procfs::{Current, LoadAverage, Meminfo};
use serde_json::{Value, json};

use crate::{
    docker::{Docker, DockerError},
    instance::substrate::chromium,
};

/// What figures depend on.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Machine {
    version: &'static str,
    /// Whether this program was built with optimisation.
    optimised: bool,
    cores: usize,
    memory_mib: u64,
    kernel: String,
    docker: String,
    image: String,
    chromium: String,
    /// What else ran, when the bench began: the load of the last minute.
    load: f32,
}

impl Machine {
    /// Looks at this host.
    ///
    /// # Errors
    /// [`DockerError::ImageMissing`] among others.
    pub(super) async fn look(docker: &Docker, image: &str) -> Result<Self, DockerError> {
        let version = docker.version().await?;
        let facts = docker.image(image).await?;
        let facts = facts.ok_or_else(|| DockerError::ImageMissing {
            image: image.to_owned(),
        })?;
        Ok(Self {
            version: env!("CARGO_PKG_VERSION"),
            optimised: !cfg!(debug_assertions),
            cores: thread::available_parallelism().map_or(0, NonZero::get),
            memory_mib: Meminfo::current().map_or(0, |info| info.mem_total >> 20),
            kernel: version.kernel,
            docker: version.engine,
            image: facts.id,
            chromium: facts
                .labels
                .get(chromium::VERSION_LABEL)
                .cloned()
                .unwrap_or_default(),
            load: LoadAverage::current().map_or(0.0, |load| load.one),
        })
    }

    pub(super) fn line(&self) -> String {
        let build = if self.optimised { "release" } else { "debug" };
        format!(
            "chaser {} ({build} build), Chromium {}, {} cores, {} MiB, Linux {}, Docker {}, load {:.1}",
            self.version,
            self.chromium,
            self.cores,
            self.memory_mib,
            self.kernel,
            self.docker,
            self.load
        )
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "version": self.version,
            "optimised": self.optimised,
            "cores": self.cores,
            "memory_mib": self.memory_mib,
            "kernel": self.kernel,
            "docker": self.docker,
            "image": self.image,
            "chromium": self.chromium,
            "load_1m": self.load,
        })
    }
}
