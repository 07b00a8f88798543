//! Docker as its operator sees it: through the command line, never through the code under test.

use std::{path::Path, process::Command};

/// The output of `docker ARGS`, or the reason why a run without Docker is worth nothing.
fn docker(args: &[&str]) -> String {
    let output = Command::new("docker")
        .args(args)
        .output()
        .expect("Docker is installed: `make setup`");
    assert!(
        output.status.success(),
        "docker {args:?} failed (does dockerd run? `make setup`): {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// `docker ARGS`, which must go well.
pub fn run(args: &[&str]) -> String {
    docker(args)
}

/// Removes a container of this name, where there is one.
pub fn remove(name: &str) {
    drop(
        Command::new("docker")
            .args(["rm", "-f", "-v", name])
            .output(),
    );
}

/// The short id of the image under test. Fails where there is nothing to test with: a missing browser
/// is never a pass.
pub fn require_image() -> String {
    let images = docker(&["images", "--quiet", "chaser/chromium:latest"]);
    assert!(
        !images.trim().is_empty(),
        "the image chaser/chromium:latest is missing: `make setup` builds it"
    );
    images.trim().to_owned()
}

pub fn has_image(name: &str) -> bool {
    !docker(&["images", "--quiet", name]).trim().is_empty()
}

/// The image under test with one more file, as a new image.
pub fn derive(name: &str, file: &Path, inside: &str) {
    let container = docker(&["create", "--network", "none", "chaser/chromium:latest"]);
    let container = container.trim();
    let to = format!("{container}:{inside}");
    docker(&["cp", &file.display().to_string(), &to]);
    docker(&["commit", container, name]);
    docker(&["rm", container]);
}

/// Names of all containers of a node, running or not.
pub fn containers_of(node: &str) -> Vec<String> {
    if node.is_empty() {
        // It did not live long enough to say who it is.
        return Vec::new();
    }
    containers_with(&format!("chaser.node={node}"))
}

/// Names of all containers with a label, running or not.
pub fn containers_with(label: &str) -> Vec<String> {
    let filter = format!("label={label}");
    docker(&["ps", "-a", "--filter", &filter, "--format", "{{.Names}}"])
        .lines()
        .map(str::to_owned)
        .collect()
}

pub fn remove_all_of(node: &str) {
    for name in containers_of(node) {
        // Somebody else may have been faster.
        drop(
            Command::new("docker")
                .args(["rm", "-f", "-v", &name])
                .output(),
        );
    }
}

pub fn kill(container: &str) {
    docker(&["kill", container]);
}

pub fn pause(container: &str) {
    docker(&["pause", container]);
}

/// A line for the shell of a container, as its own user; whether it went well.
pub fn exec(container: &str, line: &str) -> bool {
    let run = Command::new("docker")
        .args(["exec", container, "sh", "-c", line])
        .output();
    run.unwrap().status.success()
}

pub fn rename(container: &str, name: &str) {
    docker(&["rename", container, name]);
}

/// One field of `docker inspect`, by Go template.
pub fn inspect(container: &str, template: &str) -> String {
    docker(&["inspect", "--format", template, container])
        .trim()
        .to_owned()
}

/// Pid of a running container's init.
pub fn pid(container: &str) -> Option<u32> {
    let output = Command::new("docker")
        .args(["inspect", "--format", "{{.State.Pid}}", container])
        .output()
        .unwrap();
    let pid = String::from_utf8_lossy(&output.stdout)
        .trim()
        .parse()
        .ok()?;
    (pid != 0).then_some(pid)
}

/// The browser's image under a name of its own, which can come to mean another image.
pub struct Renamed {
    pub name: String,
}

impl Renamed {
    pub fn new(tag: &str) -> Self {
        let name = format!("chaser/renamed:{tag}");
        docker(&["tag", "chaser/chromium:latest", &name]);
        Self { name }
    }

    /// The same content, another id.
    pub fn rebuild(&self) {
        let container = docker(&["create", "--network", "none", &self.name]);
        let container = container.trim();
        docker(&["commit", "--change", "LABEL again=1", container, &self.name]);
        docker(&["rm", container]);
    }

    pub fn id(&self) -> String {
        inspect(&self.name, "{{.Id}}")
    }
}

impl Drop for Renamed {
    fn drop(&mut self) {
        // The assertion that failed before matters more than this.
        drop(
            Command::new("docker")
                .args(["image", "rm", "-f", &self.name])
                .output(),
        );
    }
}

/// The browser's image with a browser that ends at once; gone with its owner.
pub struct BrokenImage {
    pub name: String,
}

impl BrokenImage {
    pub fn new(tag: &str) -> Self {
        let name = format!("chaser/broken:{tag}");
        let container = docker(&["create", "--network", "none", "chaser/chromium:latest"]);
        let container = container.trim();
        docker(&[
            "commit",
            "--change",
            "ENTRYPOINT [\"/bin/false\"]",
            container,
            &name,
        ]);
        docker(&["rm", container]);
        Self { name }
    }
}

impl Drop for BrokenImage {
    fn drop(&mut self) {
        // The assertion that failed before matters more than this.
        drop(
            Command::new("docker")
                .args(["image", "rm", "-f", &self.name])
                .output(),
        );
    }
}

/// A container that looks like one of a node's, and that no agent made; gone with its owner.
pub struct Stray(String);

impl Stray {
    pub fn new(node: &str) -> Self {
        let instance = chaser::model::InstanceId::random();
        let name = format!("chaser-{instance}");
        let label = |key: &str, value: &str| format!("chaser.{key}={value}");
        docker(&[
            "create",
            "--network",
            "none",
            "--name",
            &name,
            "--label",
            &label("instance", &instance.to_string()),
            "--label",
            &label("node", node),
            "chaser/chromium:latest",
        ]);
        Self(name)
    }

    pub fn name(&self) -> &str {
        &self.0
    }

    pub fn is_there(&self) -> bool {
        let filter = format!("name={}", self.0);
        !docker(&["ps", "-a", "--filter", &filter, "--format", "{{.ID}}"])
            .trim()
            .is_empty()
    }
}

impl Drop for Stray {
    fn drop(&mut self) {
        // The node may have been faster, as it should.
        drop(Command::new("docker").args(["rm", "-f", &self.0]).output());
    }
}
