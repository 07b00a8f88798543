//! Containers: made, started, looked at, ended.

use std::collections::{BTreeMap, HashMap};

use bollard::{
    exec::{CreateExecOptions, StartExecOptions},
    models::{
        ContainerCreateBody, ContainerInspectResponse, ContainerStateStatusEnum, DeviceMapping,
        HostConfig, HostConfigLogConfig,
    },
    query_parameters::{
        CreateContainerOptionsBuilder, KillContainerOptionsBuilder, ListContainersOptionsBuilder,
        LogsOptionsBuilder, RemoveContainerOptionsBuilder,
    },
};
use futures::StreamExt;

use super::{ACT, ContainerSpec, Docker, DockerError, LOOK, signed, within};

/// A container as Docker sees it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// Docker's id.
    pub id: String,
    /// Its name, without the leading slash.
    pub name: String,
    /// Pid of its init on this host; 0 when it does not run.
    pub pid: u32,
    /// Whether it runs; a paused container runs too.
    pub running: bool,
    /// Whether it is frozen.
    pub paused: bool,
    /// Id of the image that it was made from.
    pub image: String,
    /// `created`, `running`, `exited`, `removing`, `dead`, ….
    pub status: String,
    /// When it was started last: with the pid, what tells one run from another.
    pub started_at: String,
    /// What its init exited with, once it has.
    pub exit_code: Option<i64>,
    /// Whether the kernel killed something in it for memory.
    pub oom_killed: bool,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

impl Docker {
    /// Makes a container without starting it; answers its id. A container that has the name already
    /// is taken to be the one that an earlier attempt made.
    ///
    /// # Errors
    /// [`DockerError::ImageMissing`] among others.
    pub async fn create(&self, name: &str, spec: &ContainerSpec) -> Result<String, DockerError> {
        let options = CreateContainerOptionsBuilder::new().name(name).build();
        let work = self.engine.create_container(Some(options), body(spec));
        match self.call("create", &spec.image, ACT, work).await {
            Ok(made) => Ok(made.id),
            Err(DockerError::Busy { .. }) => match self.inspect(name).await? {
                Some(container) => Ok(container.id),
                None => Err(DockerError::NameTaken {
                    name: name.to_owned(),
                }),
            },
            Err(error) => Err(error),
        }
    }

    /// Starts a container; one that runs already is left alone.
    ///
    /// # Errors
    /// [`DockerError::Gone`] where there is none.
    pub async fn start(&self, name: &str) -> Result<(), DockerError> {
        let work = self.engine.start_container(name, None);
        self.call("start", name, ACT, work).await
    }

    /// A container by name or id; `None` where there is none.
    ///
    /// # Errors
    /// [`DockerError`] for every way the question itself can fail.
    pub async fn inspect(&self, name: &str) -> Result<Option<Container>, DockerError> {
        let work = self.engine.inspect_container(name, None);
        match self.call("inspect", name, LOOK, work).await {
            Ok(seen) => Ok(Some(container(seen))),
            Err(DockerError::Gone { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Kills a container's processes; one that does not run, or is not there, is dead already.
    ///
    /// # Errors
    /// [`DockerError`] for every way it can fail.
    pub async fn kill(&self, name: &str) -> Result<(), DockerError> {
        let options = KillContainerOptionsBuilder::new().signal("KILL").build();
        let work = self.engine.kill_container(name, Some(options));
        match self.call("kill", name, ACT, work).await {
            Ok(()) | Err(DockerError::Gone { .. } | DockerError::Busy { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Freezes a container's processes.
    ///
    /// # Errors
    /// [`DockerError::Gone`] or [`DockerError::Busy`] for one that is not there or does not run.
    pub async fn pause(&self, name: &str) -> Result<(), DockerError> {
        let work = self.engine.pause_container(name);
        self.call("pause", name, ACT, work).await
    }

    /// Starts `command` inside a running container and does not wait for it.
    ///
    /// # Errors
    /// [`DockerError::Gone`] or [`DockerError::Busy`] for one that is not there or does not run.
    pub async fn run_inside(&self, name: &str, command: &[&str]) -> Result<(), DockerError> {
        let wanted = CreateExecOptions {
            cmd: Some(command.to_vec()),
            ..CreateExecOptions::default()
        };
        let work = self.engine.create_exec(name, wanted);
        let made = self.call("exec", name, ACT, work).await?;
        let detached = StartExecOptions {
            detach: true,
            ..StartExecOptions::default()
        };
        let work = self.engine.start_exec(&made.id, Some(detached));
        self.call("exec", name, ACT, work).await.map(drop)
    }

    /// Wakes a frozen container; one that is not frozen, or not there, needs no waking.
    ///
    /// # Errors
    /// [`DockerError`] for every way it can fail.
    pub async fn unpause(&self, name: &str) -> Result<(), DockerError> {
        let work = self.engine.unpause_container(name);
        match self.call("unpause", name, ACT, work).await {
            Ok(()) | Err(DockerError::Gone { .. } | DockerError::Busy { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Kills and removes a container; absence is success. Answers whether there was one.
    ///
    /// # Errors
    /// [`DockerError::Busy`] while another removal is under way: ask again.
    pub async fn remove(&self, name: &str) -> Result<bool, DockerError> {
        let options = RemoveContainerOptionsBuilder::new()
            .force(true)
            .v(true)
            .build();
        let work = self.engine.remove_container(name, Some(options));
        match self.call("remove", name, ACT, work).await {
            Ok(()) => Ok(true),
            Err(DockerError::Gone { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Containers with a label (`key` or `key=value`), running or not. Their pid is not known here.
    ///
    /// # Errors
    /// [`DockerError`] for every way it can fail.
    pub async fn list(&self, label: &str) -> Result<Vec<Container>, DockerError> {
        let options = ListContainersOptionsBuilder::new()
            .all(true)
            .filters(&HashMap::from([("label", vec![label])]))
            .build();
        let work = self.engine.list_containers(Some(options));
        let found = self.call("list", label, LOOK, work).await?;
        let summary = |seen: bollard::models::ContainerSummary| {
            let status = seen.state.map_or_else(String::new, |s| s.to_string());
            let names = seen.names.unwrap_or_default();
            Container {
                id: seen.id.unwrap_or_default(),
                name: bare(names.first().map_or("", String::as_str)),
                pid: 0,
                running: matches!(status.as_str(), "running" | "paused"),
                paused: status == "paused",
                image: seen.image_id.unwrap_or_default(),
                status,
                started_at: String::new(),
                exit_code: None,
                oom_killed: false,
                labels: seen.labels.unwrap_or_default().into_iter().collect(),
            }
        };
        Ok(found.into_iter().map(summary).collect())
    }

    /// The last lines that a container wrote, oldest first.
    ///
    /// # Errors
    /// [`DockerError::Gone`] where there is none.
    pub async fn logs(&self, name: &str, lines: u32) -> Result<Vec<String>, DockerError> {
        let options = LogsOptionsBuilder::new()
            .stdout(true)
            .stderr(true)
            .tail(&lines.to_string())
            .build();
        let mut stream = self.engine.logs(name, Some(options));
        let mut out = Vec::new();
        let read = async {
            while let Some(line) = stream.next().await {
                let line =
                    line.map_err(|error| DockerError::read("logs", &self.socket, name, error))?;
                out.extend(line.to_string().lines().map(str::to_owned));
            }
            Ok(())
        };
        within("logs", LOOK, read).await??;
        Ok(out)
    }
}

fn body(spec: &ContainerSpec) -> ContainerCreateBody {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let log = HashMap::from([
        (
            "max-size".to_owned(),
            spec.log_max_bytes.max(4096).to_string(),
        ),
        ("max-file".to_owned(), "1".to_owned()),
    ]);
    ContainerCreateBody {
        image: Some(spec.image.clone()),
        cmd: (!spec.command.is_empty()).then(|| spec.command.clone()),
        env: Some(spec.env.clone()),
        user: some(&spec.user),
        labels: Some(spec.labels.clone().into_iter().collect()),
        stop_signal: spec.stop_signal.clone(),
        volumes: Some(spec.volumes.clone()),
        host_config: Some(HostConfig {
            network_mode: Some("none".to_owned()),
            ipc_mode: Some("private".to_owned()),
            auto_remove: Some(false),
            readonly_rootfs: Some(spec.read_only),
            tmpfs: Some(spec.tmpfs.clone().into_iter().collect()),
            shm_size: Some(signed(spec.shm_bytes)),
            memory: Some(signed(spec.memory_bytes)),
            memory_swap: Some(signed(spec.memory_bytes)),
            nano_cpus: Some(i64::from(spec.cpu_millis) * 1_000_000),
            pids_limit: Some(i64::from(spec.pids)),
            cap_drop: Some(spec.cap_drop.clone()),
            cap_add: Some(spec.cap_add.clone()),
            devices: Some(spec.devices.iter().map(device).collect()),
            privileged: Some(spec.privileged),
            security_opt: Some(spec.security_opt.clone()),
            runtime: some(&spec.runtime),
            log_config: Some(HostConfigLogConfig {
                typ: Some("json-file".to_owned()),
                config: Some(log),
            }),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    }
}

fn device((of_host, inside): &(String, String)) -> DeviceMapping {
    DeviceMapping {
        path_on_host: Some(of_host.clone()),
        path_in_container: Some(inside.clone()),
        cgroup_permissions: Some("rwm".to_owned()),
    }
}

fn container(seen: ContainerInspectResponse) -> Container {
    let state = seen.state.unwrap_or_default();
    let running = state.running.unwrap_or_default();
    let status = state.status.unwrap_or(ContainerStateStatusEnum::EMPTY);
    Container {
        id: seen.id.unwrap_or_default(),
        name: bare(&seen.name.unwrap_or_default()),
        pid: state.pid.and_then(|pid| pid.try_into().ok()).unwrap_or(0),
        running,
        paused: state.paused.unwrap_or_default(),
        image: seen.image.unwrap_or_default(),
        status: status.to_string(),
        started_at: state.started_at.unwrap_or_default(),
        exit_code: state
            .exit_code
            .filter(|_| !running && status != ContainerStateStatusEnum::CREATED),
        oom_killed: state.oom_killed.unwrap_or_default(),
        labels: seen
            .config
            .and_then(|config| config.labels)
            .unwrap_or_default()
            .into_iter()
            .collect(),
    }
}

fn bare(name: &str) -> String {
    name.trim_start_matches('/').to_owned()
}
