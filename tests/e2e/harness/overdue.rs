//! What a test was waiting for that is about to be killed for taking too long.

use std::{
    fs,
    io::{Write, stderr},
    path::PathBuf,
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread,
    time::Duration,
};

/// Before the runner's patience ends (`.config/nextest.toml`).
const OVERDUE: Duration = Duration::from_secs(200);

/// While it lives, the clock runs.
pub struct Overdue(#[expect(dead_code, reason = "its end is what counts")] Sender<()>);

impl Overdue {
    /// Shows these logs, and where the processes named `chaser` are, when the time comes.
    pub fn shows(logs: [PathBuf; 2]) -> Self {
        let (alive, gone) = mpsc::channel();
        thread::spawn(move || {
            if gone.recv_timeout(OVERDUE) == Err(RecvTimeoutError::Timeout) {
                // Straight out: what the test harness captures is lost with a killed test.
                drop(stderr().write_all(state(&logs).as_bytes()));
            }
        });
        Self(alive)
    }
}

fn state(logs: &[PathBuf]) -> String {
    let mut said = "overdue\n".to_owned();
    for log in logs {
        said += &format!("--- {}\n", log.display());
        said += &fs::read_to_string(log).unwrap_or_default();
    }
    let processes = fs::read_dir("/proc").unwrap().flatten();
    for process in processes.map(|entry| entry.path()) {
        let read = |name: &str| fs::read_to_string(process.join(name)).unwrap_or_default();
        if read("comm").trim() == "chaser" {
            let tasks = fs::read_dir(process.join("task")).into_iter().flatten();
            said += &format!("--- {}\n", read("cmdline").replace('\0', " "));
            for task in tasks.flatten().map(|task| task.path()) {
                let read = |name: &str| fs::read_to_string(task.join(name)).unwrap_or_default();
                said += &format!("{} {}\n", read("comm").trim(), read("syscall").trim());
            }
        }
    }
    said
}
