//! A wall clock that can be stepped for the program under test alone: a library that is loaded before the
//! C library's. The machine's clock, and the boot clock of the program, stay as they are.

use std::{fs, path::PathBuf, process::Command};

const SOURCE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/e2e/harness/wall_clock.c"
);

/// The clock; gone with its owner.
pub struct WallClock {
    shim: PathBuf,
    offset: PathBuf,
}

impl WallClock {
    /// Compiled, and not stepped yet.
    pub fn new(name: &str) -> Self {
        let place = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let name = format!("{name}-{}", std::process::id());
        let shim = place.join(format!("{name}.so"));
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(&shim)
            .arg(SOURCE)
            .status();
        assert!(compiled.expect("there is a C compiler").success());
        let clock = Self {
            shim,
            offset: place.join(format!("{name}.offset")),
        };
        clock.step(0);
        clock
    }

    /// What the program's environment must have.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("LD_PRELOAD", self.shim.display().to_string()),
            ("WALL_CLOCK_OFFSET", self.offset.display().to_string()),
        ]
    }

    /// So many seconds away from the machine's.
    pub fn step(&self, seconds: i64) {
        let next = self.offset.with_extension("next");
        fs::write(&next, seconds.to_string()).unwrap();
        fs::rename(next, &self.offset).unwrap();
    }
}

impl Drop for WallClock {
    fn drop(&mut self) {
        for file in [&self.shim, &self.offset] {
            drop(fs::remove_file(file));
        }
    }
}
