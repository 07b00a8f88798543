//! What the kernel says of the machine, put differently to one program alone: its own files in place of
//! `/proc/meminfo`, `/proc/pressure/memory` and `/proc/loadavg`, in a mount namespace of its own, as LXCFS does.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::PathBuf,
};

/// Mounts each file of a directory over what it stands for, then becomes the program.
const INSIDE: &str = "set -e; for file in meminfo loadavg pressure/memory; do \
                      mount --bind \"$0/$file\" \"/proc/$file\"; done; exec \"$@\"";
const TOTAL_KIB: u64 = 24 << 20;

/// The files; gone with their owner.
pub struct Kernel {
    place: PathBuf,
}

impl Kernel {
    /// A machine that is well.
    pub fn new(name: &str) -> Self {
        let name = format!("kernel-{name}-{}", std::process::id());
        let place = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(place.join("pressure")).unwrap();
        let kernel = Self { place };
        kernel.available(90);
        kernel.stalled(0);
        kernel.threads(2);
        kernel
    }

    /// What the program's command begins with.
    pub fn words(&self) -> Vec<String> {
        let place = self.place.to_str().unwrap();
        let words = [
            "unshare",
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            INSIDE,
            place,
        ];
        words.map(str::to_owned).to_vec()
    }

    /// So much of the memory is available, percent.
    pub fn available(&self, percent: u64) {
        let now = TOTAL_KIB * percent / 100;
        let mut text = String::new();
        for line in fs::read_to_string("/proc/meminfo").unwrap().lines() {
            let (name, value) = line.split_once(':').unwrap();
            let value = match name {
                "MemTotal" => format!("{TOTAL_KIB:>16} kB"),
                "MemFree" | "MemAvailable" => format!("{now:>16} kB"),
                _ => format!("{:>19}", value.trim()),
            };
            text.push_str(&format!("{name}:{value}\n"));
        }
        self.put("meminfo", &text);
    }

    /// For so much of the last ten seconds everything waited for memory, percent.
    pub fn stalled(&self, percent: u64) {
        let line =
            |kind| format!("{kind} avg10={percent:02}.00 avg60=00.00 avg300=00.00 total=0\n");
        self.put("pressure/memory", &(line("some") + &line("full")));
    }

    /// So many threads exist, percent of what this kernel allows.
    pub fn threads(&self, percent: u64) {
        let limit = |file| -> u64 {
            let text = fs::read_to_string(PathBuf::from("/proc/sys/kernel").join(file));
            text.unwrap().trim().parse().unwrap()
        };
        let count = limit("threads-max").min(limit("pid_max")) * percent / 100;
        self.put("loadavg", &format!("0.00 0.00 0.00 1/{count:07} 1\n"));
    }

    /// In place and in one piece: what is mounted is the file, and it is read at any moment.
    fn put(&self, file: &str, text: &str) {
        let mut options = OpenOptions::new();
        let options = options.create(true).truncate(false).write(true);
        let mut file = options.open(self.place.join(file)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.place));
    }
}
