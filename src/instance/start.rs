//! The way up, by type: each step consumes the last, so none can be left out.
//!
//! ```text
//! Requested ─ create, start ─▶ Started ─ pidfd, sockets, wlan0 ─▶ Furnished ─ relay ─▶ Attached
//! ```
//!
//! The instance's row is in the journal before the first step. A step that is under way is never
//! dropped, because Docker would go on alone: a start that is called off ends between two steps
//! (only waiting for the browser may be cut short). What a failed start leaves is found by name and
//! removed by the destroy path.

use std::{
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
};

use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug_span};

use super::{
    Phone, Stage, StartError, Tools,
    lend::Held,
    ooms::Ooms,
    strays,
    substrate::{self, android::Settled, chromium},
};
use crate::{
    docker::{Container, ContainerSpec, DockerError, ImageFacts},
    journal::{Binding, InstanceRow},
    model::Described,
    netns::{self, Made},
    profile::Profile,
    relay::client::RelayError,
    runtime::{Step, failpoint},
    traces::Trace,
};

/// Sockets toward DevTools that an instance starts with.
pub(super) const SOCKETS: usize = 16;
const LAST_WORDS: u32 = 8;

/// A start: what is wanted, and until when.
pub(super) struct Requested<'a> {
    pub(super) tools: &'a Tools,
    pub(super) row: InstanceRow,
    pub(super) until: Instant,
    /// Cancelled when nobody wants the instance any more.
    pub(super) called_off: CancellationToken,
    /// What is going on, for whoever waits or reports a time-out.
    pub(super) stage: &'a watch::Sender<Stage>,
    /// Whose order it is.
    pub(super) trace: Trace,
    /// What its container takes, from its start on.
    pub(super) ooms: &'a Ooms,
}

struct Started<'a> {
    asked: Requested<'a>,
    profile: Arc<Profile>,
    device: Option<Settled>,
    container: Container,
}

struct Furnished<'a> {
    asked: Requested<'a>,
    profile: Arc<Profile>,
    device: Option<Settled>,
    pidfd: OwnedFd,
    made: Made,
}

/// A phone that nobody holds yet, and what the agent keeps of it.
pub(super) struct Attached {
    pub(super) row: InstanceRow,
    pub(super) held: Held,
    pub(super) phone: Phone,
}

/// The whole way up, bounded; a failure says what the container had to say.
pub(super) async fn run(asked: Requested<'_>) -> Result<Attached, StartError> {
    let (tools, row) = (asked.tools, asked.row.clone());
    let span = asked.trace.lead(debug_span!("launch", instance = %row.id));
    let whole = async { asked.start().await?.furnish().await?.attach().await };
    let outcome = whole.instrument(span).await;
    match outcome {
        Ok(attached) => Ok(attached),
        Err(error) => Err(explain(tools, &row, error).await),
    }
}

impl<'a> Requested<'a> {
    pub(super) fn go_on(&self, stage: &'static str) -> Result<(), StartError> {
        if self.called_off.is_cancelled() {
            return Err(StartError::CalledOff);
        }
        self.stage.send_replace(stage.into());
        Ok(())
    }

    async fn start(mut self) -> Result<Started<'a>, StartError> {
        self.go_on("making the container")?;
        let Tools {
            docker,
            profiles,
            steps,
            ..
        } = self.tools;
        let profile = profiles
            .named(&self.row.profile)
            .ok_or_else(|| StartError::UnknownProfile(self.row.profile.clone()))?;
        // Where its route is known by now, the browser is from there natively, in every worker.
        let there = self.tools.routes.told_by(self.row.id);
        let (profile, _moved) = profile.moved(&there.time_zone, &there.languages);
        let profile = Arc::new(profile);
        let name = super::container_name(self.row.id);
        let device = self.tools.devices.settled(self.row.substrate);
        let container = loop {
            let (image, mut spec) = match &device {
                None => self.browser(&profile).await?,
                Some(device) => self.device(device).await?,
            };
            spec.labels.extend(self.tools.labels(self.row.id));
            spec.env.extend(strays::marks(self.tools.node, self.row.id));
            let created = docker.create(&name, &spec);
            let created = created.instrument(debug_span!("create"));
            steps.time(Step::InstanceCreate, created).await?;
            failpoint(format_args!("start created"));
            self.go_on("starting the container")?;
            let started = docker.start(&name);
            let started = started.instrument(debug_span!("start"));
            steps.time(Step::InstanceStart, started).await?;
            failpoint(format_args!("start started"));
            let container = self.tools.running(&name).await?;
            if container.image == image.id {
                break container;
            }
            // The name means another image by now: its browser must not say that it is the old one's.
            self.tools.forget_image();
            docker.remove(&name).await?;
            self.go_on("making the container again from another image")?;
        };
        self.ooms.begin(container.pid);
        self.row.container = Some(binding(&container));
        self.row.image.clone_from(&container.image);
        Ok(Started {
            asked: self,
            profile,
            device,
            container,
        })
    }

    async fn browser(&self, profile: &Profile) -> Result<(ImageFacts, ContainerSpec), StartError> {
        let config = &self.tools.config;
        let image = self.tools.image().await?;
        let mut spec = chromium::container(&config.image, profile, config);
        if let Some(major) = chromium::major(&image.labels) {
            spec.command.push(chromium::user_agent_flag(profile, major));
        }
        Ok((image, spec))
    }
}

impl<'a> Started<'a> {
    async fn furnish(self) -> Result<Furnished<'a>, StartError> {
        self.asked.go_on("entering its network namespace")?;
        let tools = self.asked.tools;
        let browser = substrate::browser(self.asked.row.substrate);
        // The browser is on its way up: whatever is needed of it meanwhile is got side by side.
        let furnished = async {
            let pidfd = hold(tools, &self.container).await?;
            let made = netns::furnish(pidfd.as_fd(), browser, SOCKETS).await?;
            Ok::<_, StartError>((pidfd, made))
        };
        let journalled = tools.journal.instance(self.asked.row.clone());
        let both = async { tokio::join!(furnished, journalled) };
        let both = both.instrument(debug_span!("furnish"));
        let (furnished, journalled) = tools.steps.time(Step::InstanceFurnish, both).await;
        let (pidfd, made) = furnished?;
        journalled?;
        failpoint(format_args!("start journalled"));
        failpoint(format_args!("start furnished"));
        Ok(Furnished {
            asked: self.asked,
            profile: self.profile,
            device: self.device,
            pidfd,
            made,
        })
    }
}

impl Furnished<'_> {
    async fn attach(self) -> Result<Attached, StartError> {
        let Self {
            mut asked,
            profile,
            device,
            pidfd,
            made,
        } = self;
        let (up, on_device) = match &device {
            Some(device) => asked
                .climb(device, &pidfd)
                .await
                .map(|(up, at)| (Some(up), Some(at)))?,
            None => (None, None),
        };
        asked.go_on("waiting for the browser")?;
        let id = asked.row.id;
        let held = Held::made(asked.tools, id, (&pidfd, &made.egress)).await?;
        let relay = &asked.tools.relay;
        relay
            .send_instance(id, pidfd, made.egress, made.dial)
            .await?;
        failpoint(format_args!("start handed over"));
        let limit = asked.until.saturating_duration_since(Instant::now());
        let attach = relay.attach(id, &profile, on_device.as_ref(), limit);
        let attach = attach.instrument(debug_span!("attach"));
        let attached = tokio::select! {
            attached = asked.tools.steps.time(Step::InstanceAttach, attach) => attached?,
            () = asked.called_off.cancelled() => return Err(StartError::CalledOff),
        };
        failpoint(format_args!("start attached"));
        if let Some(up) = up {
            let (name, capabilities) = (up.device, attached.capabilities);
            asked.row.described = Some(Box::new(Described { name, capabilities }));
        }
        let phone = Phone::of(&asked.row, &profile, &attached.product);
        Ok(Attached {
            phone,
            row: asked.row,
            held,
        })
    }
}

/// One run of a container, to be told from every other.
#[must_use]
pub fn binding(container: &Container) -> Binding {
    Binding {
        id: container.id.clone(),
        pid: container.pid,
        started_at: container.started_at.clone(),
    }
}

/// Holds the init of a running container; what was opened is that very run, or nothing.
pub(super) async fn hold(tools: &Tools, seen: &Container) -> Result<OwnedFd, StartError> {
    let pidfd = netns::pidfd(seen.pid)?;
    // The pid may have been reused between the look and the open: look again.
    let again = tools.docker.inspect(&seen.id).await?;
    let same = again.is_some_and(|again| again.running && binding(&again) == binding(seen));
    if same {
        Ok(pidfd)
    } else {
        Err(StartError::Replaced)
    }
}

/// A container that has died says more than whatever was noticed of it.
async fn explain(tools: &Tools, row: &InstanceRow, error: StartError) -> StartError {
    let telling = match &error {
        StartError::Replaced
        | StartError::Namespace(_)
        | StartError::Process(_)
        | StartError::TooSlow { .. }
        | StartError::Device { .. } => true,
        // The relay says nothing about the container when it is the relay that is away.
        StartError::Relay(inner) => !matches!(inner, RelayError::Unreachable(_)),
        StartError::Docker(DockerError::Gone { .. }) => true,
        StartError::UnknownProfile(_)
        | StartError::Docker(_)
        | StartError::BrowserExited { .. }
        | StartError::Journal(_)
        | StartError::NoBinder
        | StartError::CalledOff => false,
    };
    if !telling {
        return error;
    }
    let name = super::container_name(row.id);
    match tools.docker.inspect(&name).await {
        Ok(Some(container)) if !container.running => exited(tools, &container).await,
        _ => error,
    }
}

/// What is left of a container that has died.
pub(super) async fn exited(tools: &Tools, container: &Container) -> StartError {
    let lines = tools.docker.logs(&container.id, LAST_WORDS).await;
    let last_words = match lines {
        Ok(lines) if lines.is_empty() => "it said nothing".to_owned(),
        Ok(lines) => lines.join(" | "),
        Err(error) => format!("its log cannot be read: {error}"),
    };
    StartError::BrowserExited {
        code: container.exit_code.unwrap_or(-1),
        oom: container.oom_killed,
        last_words,
    }
}
