//! A file system of the test's own, small enough to be filled.

use std::{fs, io::Write, path::PathBuf};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::statvfs::statvfs,
};

/// Mounted until it is dropped: declare it before the program that writes there.
pub struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// A tmpfs of so many MiB at `path`.
    pub fn at(path: PathBuf, mib: u32) -> Self {
        Self::mounted(path, &format!("size={mib}m"))
    }

    /// The same with so many inodes.
    pub fn with_inodes(path: PathBuf, mib: u32, inodes: u32) -> Self {
        Self::mounted(path, &format!("size={mib}m,nr_inodes={inodes}"))
    }

    fn mounted(path: PathBuf, options: &str) -> Self {
        fs::create_dir_all(&path).unwrap();
        let source = Some("small");
        let flags = MsFlags::empty();
        mount(source, &path, Some("tmpfs"), flags, Some(options)).unwrap();
        Self { path }
    }

    /// Writes so many MiB, or as much as goes; answers whether all of it went.
    pub fn fill(&self, mib: usize) -> bool {
        let mut file = fs::File::create(self.path.join("filling")).unwrap();
        let chunk = vec![1; 64 << 10];
        (0..mib * 16).all(|_| file.write_all(&chunk).is_ok())
    }

    /// Makes files until no more than so many inodes are left.
    pub fn crowd(&self, left: u64) {
        let folder = self.path.join("crowd");
        fs::create_dir_all(&folder).unwrap();
        for file in 0.. {
            let free = statvfs(&self.path).unwrap().files_free();
            if free <= left {
                return;
            }
            fs::write(folder.join(file.to_string()), "").unwrap();
        }
    }

    pub fn disperse(&self) {
        fs::remove_dir_all(self.path.join("crowd")).unwrap();
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
