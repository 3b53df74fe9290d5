//! The built `kiln`, and mounts of it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::wait_for;

/// The built binary, ready for arguments.
pub fn kiln() -> Command {
    Command::new(env!("CARGO_BIN_EXE_kiln"))
}

/// A `kiln mount` in the foreground; ended when dropped.
pub struct KilnMount {
    child: Child,
    mnt: PathBuf,
    log: PathBuf,
}

impl KilnMount {
    /// Mounts `brick` at `mnt` with the defaults.
    pub fn new(brick: &Path, mnt: &Path) -> Self {
        Self::with(mnt, |command| _ = command.arg("--brick").arg(brick))
    }

    /// Mounts with other arguments.
    pub fn with(mnt: &Path, arguments: impl FnOnce(&mut Command)) -> Self {
        let log = mnt.with_extension(format!("log-{}", std::process::id()));
        let out = std::fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let socket = mnt.with_extension("sock");
        let mut command = kiln();
        command.arg("mount").arg("--control-socket").arg(socket);
        if let Some(way) = std::env::var_os("KILN_TEST_TRANSPORT") {
            command.arg("--transport").arg(way);
        }
        arguments(&mut command);
        let child = command
            .arg(mnt)
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .unwrap();
        let mut mount = Self { child, mnt: mnt.to_owned(), log };
        let mut ended = None;
        wait_for("the mount", Duration::from_secs(30), || {
            ended = mount.child.try_wait().unwrap();
            ended.is_some() || is_mounted(mnt)
        });
        assert!(ended.is_none(), "kiln mount ended with {ended:?}:\n{}", mount.log());
        mount
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Stops it as an operator would, and insists on a clean end.
    pub fn stop(mut self) {
        signal(self.pid(), "TERM");
        let mut status = None;
        wait_for("kiln to end", Duration::from_secs(30), || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        assert!(status.unwrap().success(), "kiln ended with {status:?}:\n{}", self.log());
        assert!(!is_mounted(&self.mnt), "still mounted");
    }

    /// `kill -9`, and what an operator does then.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let _ = Command::new("umount").arg("-l").arg(&self.mnt).output();
    }
}

impl Drop for KilnMount {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        let _ = Command::new("umount").arg("-l").arg(&self.mnt).output();
        if std::thread::panicking() {
            let log = self.log();
            let from = log.len().saturating_sub(4000);
            eprintln!("--- log of kiln ---\n{}", log.get(from..).unwrap_or(&log));
        }
    }
}

/// Sends a signal by name.
pub fn signal(pid: u32, name: &str) {
    let _ = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status();
}

/// Whether something is mounted there.
pub fn is_mounted(at: &Path) -> bool {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    mounts.lines().any(|line| line.split(' ').nth(1).is_some_and(|mounted| Path::new(mounted) == at))
}
