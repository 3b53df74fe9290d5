//! Two processes must not serve one brick: their locks and their handles would not agree.
//!
//! Kiln holds an advisory lock on the brick's root directory as long as it runs; the kernel lets go of it when the process
//! ends, however it ends. A stock `glusterfsd` takes no lock, but keeps a descriptor of each directory in `.glusterfs`
//! open, which `/proc` shows.

use std::path::Path;
use std::sync::Arc;

use kiln_uring::{Errno, File, Sys};

use super::BootError;

/// Takes the lock, after a look for others.
pub(super) fn claim(sys: &Arc<dyn Sys>, root: &File, path: &Path) -> Result<(), BootError> {
    match sys.lock_exclusive(root.fd()) {
        Ok(()) => {}
        Err(Errno::AGAIN) => {
            return Err(BootError::InUse { path: path.into(), by: "another Kiln process".into() });
        }
        Err(errno) => return Err(BootError::Io { path: path.into(), doing: "lock the brick's root", errno }),
    }
    // A simulated kernel has no other processes.
    if sys.is_real()
        && let Some(pid) = stock_brick(path)
    {
        return Err(BootError::InUse { path: path.into(), by: format!("glusterfsd (pid {pid})") });
    }
    Ok(())
}

/// The pid of a `glusterfsd` that has a directory of the brick open.
fn stock_brick(path: &Path) -> Option<u32> {
    let dot = std::fs::canonicalize(path).ok()?.join(".glusterfs");
    for entry in std::fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let process = entry.path();
        // The stock brick is the program `glusterfsd`, a link to which may be called `glusterfs`.
        let name = std::fs::read_to_string(process.join("comm")).unwrap_or_default();
        if !name.starts_with("gluster") {
            continue;
        }
        let Ok(descriptors) = std::fs::read_dir(process.join("fd")) else { continue };
        let holds = |fd: std::fs::DirEntry| {
            std::fs::read_link(fd.path()).is_ok_and(|target| target.starts_with(&dot))
        };
        if descriptors.flatten().any(holds) {
            return Some(pid);
        }
    }
    None
}
