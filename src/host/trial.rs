//! One sandboxed browser, really started as a session's would be, and its namespace, really
//! entered. What the kernel, its security modules and Docker allow together can be read nowhere; it
//! can only be tried.

use std::{
    collections::BTreeSet,
    fs, io,
    net::{SocketAddr, TcpStream as StdStream},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    process,
    time::Duration,
};

use procfs::process::{Process, all_processes};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpSocket,
    time::{Instant, sleep, timeout},
};

use super::{Probe, Subject};
use crate::{
    docker::Docker,
    netns::{self, Browser},
};

const SANDBOX: &str = "sandbox";
const NAMESPACE: &str = "namespace";
/// The probes made here.
pub(super) const NAMES: &[&str] = &[SANDBOX, NAMESPACE];

/// Marks the trial's container; its value is the pid of who made it.
const LABEL: &str = "chaser.doctor";
const START: Duration = Duration::from_secs(30);
const ASK: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(50);

/// Switches by which distributions forbid user namespaces, and the value that allows them.
const SWITCHES: &[(&str, &str)] = &[
    ("kernel/unprivileged_userns_clone", "1"),
    ("kernel/apparmor_restrict_unprivileged_userns", "0"),
];

/// Starts the trial's browser, looks at it, removes it.
pub(super) async fn probes(docker: &Docker, subject: &Subject) -> Vec<Probe> {
    sweep(docker).await;
    let name = format!("chaser-doctor-{}", process::id());
    let probes = attempt(docker, subject, &name).await;
    // What cannot be removed now is swept by the next trial.
    drop(docker.remove(&name).await);
    probes
}

/// Removes what a killed `doctor` left behind.
async fn sweep(docker: &Docker) {
    let alive = |pid: &str| Path::new("/proc").join(pid).exists();
    for left in docker.list(LABEL).await.unwrap_or_default() {
        if !left.labels.get(LABEL).is_some_and(|pid| alive(pid)) {
            drop(docker.remove(&left.id).await);
        }
    }
}

async fn attempt(docker: &Docker, subject: &Subject, name: &str) -> Vec<Probe> {
    let both = |found: String, mend: &str| {
        let of = |name| Probe::failed(name, found.clone(), mend);
        vec![of(SANDBOX), of(NAMESPACE)]
    };
    let mut spec = subject.trial.clone();
    spec.labels
        .insert(LABEL.to_owned(), process::id().to_string());
    let started = Instant::now();
    if let Err(error) = docker.create(name, &spec).await {
        return both(error.to_string(), "see the lines above");
    }
    if let Err(error) = docker.start(name).await {
        return both(
            error.to_string(),
            "look at the log of dockerd: a limit or the seccomp profile was not accepted",
        );
    }
    let pid = match docker.inspect(name).await {
        Ok(Some(container)) if container.running => container.pid,
        Ok(_) => return both(last_words(docker, name).await, &mend_sandbox()),
        Err(error) => return both(error.to_string(), "look at the log of dockerd"),
    };
    let furnished = match netns::pidfd(pid) {
        Ok(pidfd) => netns::furnish(pidfd.as_fd(), Browser::Inside, 0)
            .await
            .map(|_| pidfd),
        Err(_gone) => return both(last_words(docker, name).await, &mend_sandbox()),
    };
    match furnished {
        Err(error) => vec![
            Probe::failed(
                SANDBOX,
                "unknown: DevTools is out of reach",
                "mend `namespace` first",
            ),
            Probe::failed(
                NAMESPACE,
                error.to_string(),
                "run as root, outside a container, with CAP_SYS_ADMIN and CAP_SYS_PTRACE; the \
                 kernel needs veth (CONFIG_VETH)",
            ),
        ],
        Ok(pidfd) => vec![
            sandbox(docker, name, pidfd.as_fd(), subject.devtools, pid, started).await,
            Probe::ok(NAMESPACE, "entered and furnished"),
        ],
    }
}

async fn sandbox(
    docker: &Docker,
    name: &str,
    pidfd: BorrowedFd<'_>,
    devtools: SocketAddr,
    pid: u32,
    started: Instant,
) -> Probe {
    let Some(browser) = answer(pidfd, devtools).await else {
        return Probe::failed(SANDBOX, last_words(docker, name).await, mend_sandbox());
    };
    let took = started.elapsed().as_millis();
    if !filtered(pid) {
        return Probe::failed(
            SANDBOX,
            format!("{browser} runs without our seccomp profile"),
            "use a kernel and a Docker with seccomp (`docker info`, security options)",
        );
    }
    match own_namespaces(pid) {
        Ok(0) => Probe::failed(
            SANDBOX,
            format!("{browser} runs without a sandbox of its own"),
            mend_sandbox(),
        ),
        Ok(_) => Probe::ok(
            SANDBOX,
            format!("{browser}: seccomp and user namespaces, no capability; {took} ms"),
        ),
        Err(error) => Probe::warning(SANDBOX, error, "mount /proc without hidepid"),
    }
}

/// What DevTools calls itself, once it answers.
async fn answer(pidfd: BorrowedFd<'_>, devtools: SocketAddr) -> Option<String> {
    let asked = async {
        loop {
            // A refused socket is spent: each attempt takes a new one.
            match netns::sockets(pidfd, 1).await {
                Ok(mut made) => {
                    let reply = timeout(ASK, ask(made.pop()?, devtools)).await;
                    if let Ok(Ok(browser)) = reply {
                        return Some(browser);
                    }
                }
                Err(_gone) => return None,
            }
            sleep(PAUSE).await;
        }
    };
    timeout(START, asked).await.ok().flatten()
}

async fn ask(socket: OwnedFd, devtools: SocketAddr) -> io::Result<String> {
    let mut stream = TcpSocket::from_std_stream(StdStream::from(socket))
        .connect(devtools)
        .await?;
    stream
        .write_all(b"GET /json/version HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await?;
    let mut reply = vec![0; 4096];
    let mut have = 0;
    while have < reply.len() {
        let read = stream.read(&mut reply[have..]).await?;
        have += read;
        let text = String::from_utf8_lossy(&reply[..have]);
        if let Some(browser) = browser(&text) {
            return Ok(browser);
        }
        if read == 0 {
            break;
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

/// The value of `"Browser"` in an answer that may still be incomplete.
fn browser(reply: &str) -> Option<String> {
    let (_, after) = reply.split_once("\"Browser\":")?;
    let mut quoted = after.splitn(3, '"');
    let value = quoted.nth(1)?;
    quoted.next().map(|_| value.to_owned())
}

/// Whether the container's init, which adds no filter of its own, runs under one.
fn filtered(init: u32) -> bool {
    const FILTER: u32 = 2;
    i32::try_from(init)
        .ok()
        .and_then(|init| Process::new(init).ok()?.status().ok()?.seccomp)
        .is_some_and(|mode| mode == FILTER)
}

/// How many processes below `init` live in a user namespace of their own, as Chrome's renderers do.
fn own_namespaces(init: u32) -> Result<usize, String> {
    let init = i32::try_from(init).map_err(|error| error.to_string())?;
    let namespace = |pid: i32| fs::read_link(PathBuf::from(format!("/proc/{pid}/ns/user")));
    let outside = namespace(init).map_err(|error| format!("/proc/{init}/ns/user: {error}"))?;
    let tree: Vec<(i32, i32)> = all_processes()
        .map_err(|error| error.to_string())?
        .filter_map(|process| parentage(&process.ok()?))
        .collect();
    Ok(below(init, &tree)
        .into_iter()
        .filter(|pid| namespace(*pid).is_ok_and(|inside| inside != outside))
        .count())
}

fn parentage(process: &Process) -> Option<(i32, i32)> {
    let stat = process.stat().ok()?;
    Some((stat.pid, stat.ppid))
}

/// All descendants of `root` among `(pid, parent)`.
fn below(root: i32, tree: &[(i32, i32)]) -> BTreeSet<i32> {
    let mut found = BTreeSet::new();
    let mut queue = vec![root];
    while let Some(parent) = queue.pop() {
        let children = tree.iter().filter(|(_, of)| *of == parent);
        queue.extend(
            children
                .map(|(pid, _)| *pid)
                .filter(|pid| found.insert(*pid)),
        );
    }
    found
}

/// Why the browser is dead or silent, in its own words where it left some.
async fn last_words(docker: &Docker, name: &str) -> String {
    let lines = docker.logs(name, 200).await.unwrap_or_default();
    let telling = lines
        .iter()
        .rev()
        .find(|line| line.contains("FATAL") || line.contains("sandbox"))
        .or_else(|| lines.last());
    telling.map_or_else(
        || "the browser does not answer, and its log is empty".to_owned(),
        |line| format!("the browser does not answer: {}", gist(line)),
    )
}

/// The first sentence of a log line, without Chrome's `[pid:tid:time:LEVEL:file] ` before it. What
/// follows may advise to switch the sandbox off, which is not to be repeated.
fn gist(line: &str) -> &str {
    let text = line.split_once("] ").map_or(line, |(_, text)| text);
    text.find(['!', '.']).map_or(text, |end| &text[..=end])
}

fn mend_sandbox() -> String {
    let set = SWITCHES.iter().find_map(|(switch, allows)| {
        let now = fs::read_to_string(Path::new("/proc/sys").join(switch)).ok()?;
        let name = switch.replace('/', ".");
        (now.trim() != *allows).then(|| format!("`sysctl -w {name}={allows}`"))
    });
    set.unwrap_or_else(|| {
        "allow user namespaces to uid 1000 in containers (user.max_user_namespaces, AppArmor, \
         SELinux); the sandbox is never switched off instead"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_browser_is_read_once_it_is_complete() {
        let reply = "HTTP/1.1 200 OK\r\n\r\n{\n   \"Browser\": \"Chrome/156.0.8078.79\",\n";
        assert_eq!(browser(reply).as_deref(), Some("Chrome/156.0.8078.79"));
        for cut in 0..reply.len() - 2 {
            assert_eq!(browser(&reply[..cut]), None, "cut at {cut}");
        }
    }

    #[test]
    fn the_gist_of_a_log_line_is_its_first_sentence() {
        let line = "[7:7:1123/230608.3:ERROR:content/a.cc:130] No usable sandbox! If this is a …";
        assert_eq!(gist(line), "No usable sandbox!");
        assert_eq!(gist("exec format error"), "exec format error");
    }

    #[test]
    fn descendants_are_found_through_generations_and_loops_end() {
        let tree = [(2, 1), (3, 2), (4, 3), (5, 1), (9, 8), (0, 0)];
        assert_eq!(below(2, &tree), BTreeSet::from([3, 4]));
        assert_eq!(below(7, &tree), BTreeSet::new());
        assert_eq!(below(0, &tree), BTreeSet::from([0]));
    }
}
