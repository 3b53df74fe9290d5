//! Temporary directories and file systems.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::run;

/// A temporary directory with a `brick` and a `mnt`, removed when dropped.
pub struct Scratch {
    dir: tempfile::TempDir,
}

impl Scratch {
    pub fn new() -> Self {
        let scratch = Self { dir: tempfile::Builder::new().prefix("kiln-test-").tempdir().unwrap() };
        std::fs::create_dir(scratch.brick()).unwrap();
        std::fs::create_dir(scratch.mnt()).unwrap();
        scratch
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn brick(&self) -> PathBuf {
        self.path().join("brick")
    }

    pub fn mnt(&self) -> PathBuf {
        self.path().join("mnt")
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Whatever a failed test left mounted below would keep the directory.
        if let Ok(mounts) = std::fs::read_to_string("/proc/self/mounts") {
            let inside = mounts
                .lines()
                .filter_map(|line| line.split(' ').nth(1))
                .filter(|at| Path::new(at).starts_with(self.path()));
            for at in inside {
                let _ = Command::new("umount").args(["-l", at]).output();
            }
        }
    }
}

/// A file system of its own in a file, mounted through a loop device; unmounted when dropped.
pub struct Image {
    at: PathBuf,
}

impl Image {
    /// A journaled ext4 of `megabytes` at `scratch/NAME`.
    pub fn ext4(scratch: &Scratch, name: &str, megabytes: u64) -> Self {
        let file = scratch.join(&format!("{name}.img"));
        std::fs::File::create(&file).unwrap().set_len(megabytes << 20).unwrap();
        run(Command::new("mkfs.ext4").args(["-q", "-F", "-O", "has_journal"]).arg(&file));
        let at = scratch.join(name);
        std::fs::create_dir_all(&at).unwrap();
        run(Command::new("mount").args(["-o", "loop"]).arg(&file).arg(&at));
        Self { at }
    }

    /// A tmpfs of `megabytes` at `scratch/NAME`.
    pub fn tmpfs(scratch: &Scratch, name: &str, megabytes: u64) -> Self {
        let at = scratch.join(name);
        std::fs::create_dir_all(&at).unwrap();
        run(Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "kiln-test"])
            .arg(&at));
        Self { at }
    }

    pub fn path(&self) -> &Path {
        &self.at
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        if !Command::new("umount").arg(&self.at).output().is_ok_and(|output| output.status.success()) {
            let _ = Command::new("umount").arg("-l").arg(&self.at).output();
        }
    }
}
