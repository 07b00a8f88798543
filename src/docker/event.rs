//! Docker's own news: the second witness of a death (the first is the relay, through a pidfd).

use std::collections::HashMap;

use bollard::{models::EventMessage, query_parameters::EventsOptionsBuilder};
use futures::{Stream, StreamExt};

use super::{Docker, DockerError};

/// Something happened to a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerEvent {
    /// Docker's id of the container.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What happened.
    pub what: Happening,
    /// The labels of the container, and Docker's own attributes.
    pub attributes: HashMap<String, String>,
}

/// What can happen to a container that we care about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happening {
    /// Its init is gone.
    Died {
        /// What it exited with, when Docker says.
        exit_code: Option<i64>,
    },
    /// The kernel killed something in it for memory.
    OutOfMemory,
}

impl Docker {
    /// Deaths and OOM kills of containers with a label, from now on. Ends when the engine goes.
    pub fn events(
        &self,
        label: &str,
    ) -> impl Stream<Item = Result<ContainerEvent, DockerError>> + Send + Unpin + use<> {
        let options = EventsOptionsBuilder::new()
            .filters(&HashMap::from([
                ("type", vec!["container"]),
                ("event", vec!["die", "oom"]),
                ("label", vec![label]),
            ]))
            .build();
        let socket = self.socket.clone();
        let stream = self.engine.events(Some(options));
        Box::pin(stream.filter_map(move |event| {
            let event = match event {
                Ok(event) => read(event).map(Ok),
                Err(error) => Some(Err(DockerError::read("events", &socket, "", error))),
            };
            std::future::ready(event)
        }))
    }
}

fn read(event: EventMessage) -> Option<ContainerEvent> {
    let actor = event.actor.unwrap_or_default();
    let attributes = actor.attributes.unwrap_or_default();
    let what = match event.action.as_deref() {
        Some("die") => Happening::Died {
            exit_code: attributes
                .get("exitCode")
                .and_then(|code| code.parse().ok()),
        },
        Some("oom") => Happening::OutOfMemory,
        _ => return None,
    };
    Some(ContainerEvent {
        id: actor.id.unwrap_or_default(),
        name: attributes.get("name").cloned().unwrap_or_default(),
        what,
        attributes,
    })
}
