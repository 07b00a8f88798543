//! A file system of the test's own, small enough to be filled.

use std::{fs, io::Write, path::PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// Mounted until it is dropped: declare it before the program that writes there.
pub struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// A tmpfs of so many MiB at `path`.
    pub fn at(path: PathBuf, mib: u32) -> Self {
        fs::create_dir_all(&path).unwrap();
        let size = format!("size={mib}m");
        let source = Some("small");
        let flags = MsFlags::empty();
        mount(source, &path, Some("tmpfs"), flags, Some(size.as_str())).unwrap();
        Self { path }
    }

    /// Writes so many MiB, or as much as goes; answers whether all of it went.
    pub fn fill(&self, mib: usize) -> bool {
        let mut file = fs::File::create(self.path.join("filling")).unwrap();
        let chunk = vec![1; 64 << 10];
        (0..mib * 16).all(|_| file.write_all(&chunk).is_ok())
    }

    pub fn empty(&self) {
        fs::remove_file(self.path.join("filling")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        unmount(&self.path);
    }
}

/// Takes away whatever is mounted at `path`; absence is success.
pub fn unmount(path: &std::path::Path) {
    while umount2(path, MntFlags::MNT_DETACH).is_ok() {}
}
