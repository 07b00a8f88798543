//! Work inside the network namespace of a process.

use std::{fs::File, thread};

use nix::sched::{CloneFlags, setns};

/// Runs on a thread of its own, because the thread stays in the namespace until it ends.
pub fn inside<T: Send + 'static>(pid: u32, work: impl FnOnce() -> T + Send + 'static) -> T {
    let namespace = File::open(format!("/proc/{pid}/ns/net")).unwrap();
    thread::spawn(move || {
        setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
        work()
    })
    .join()
    .unwrap()
}
