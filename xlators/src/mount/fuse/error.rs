//! How a mount fails to start, in words that say what to do next; and errnos on their way to the kernel.

use std::io;
use std::path::PathBuf;

use kiln_uring::Errno;
use kiln_uring::host::FuseMountError;

/// Why a mount did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MountError {
    /// No such directory.
    #[error("mount point {0} does not exist; make it with `mkdir -p {0}`", .path.display())]
    Missing {
        /// The mount point.
        path: PathBuf,
    },
    /// Something else than a directory.
    #[error("mount point {0} is not a directory", .path.display())]
    NotADirectory {
        /// The mount point.
        path: PathBuf,
    },
    /// A FUSE mount whose server is gone.
    #[error(
        "mount point {0} is a mount whose server is gone; clear it with `fusermount3 -u {0}` (or `umount -l {0}` as root)",
        .path.display()
    )]
    Stale {
        /// The mount point.
        path: PathBuf,
    },
    /// Something is mounted there.
    #[error("mount point {0} is busy: a {kind} file system is mounted on it; choose another, or `umount {0}`", .path.display())]
    Busy {
        /// The mount point.
        path: PathBuf,
        /// Type of what is mounted.
        kind: String,
    },
    /// It cannot be looked at.
    #[error("mount point {0} is not accessible: {source}", .path.display())]
    NotAccessible {
        /// The mount point.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// No FUSE on this machine.
    #[error(
        "/dev/fuse is missing: load the driver with `modprobe fuse` (in a container: pass the device in, as with \
         `docker run --device /dev/fuse --cap-add SYS_ADMIN`)"
    )]
    NoFuse,
    /// The device may not be opened, or mount(2) may not be called.
    #[error(
        "this process may not mount: {reason}; run as root, or install fusermount3 (Debian: `apt install fuse3`) set-uid root"
    )]
    NotPermitted {
        /// What was refused.
        reason: String,
    },
    /// The helper for those who are not root is missing.
    #[error(
        "fusermount3 is missing, and only root mounts without it: install it (Debian: `apt install fuse3`), or run as root"
    )]
    NoHelper,
    /// The helper's own words.
    #[error(
        "fusermount3 refused: {words}{}",
        if .words.contains("user_allow_other") { "; add `user_allow_other` to /etc/fuse.conf" } else { "" }
    )]
    HelperRefused {
        /// What it said.
        words: String,
    },
    /// mount(2) failed otherwise.
    #[error("mounting on {0} failed: {source}", .path.display())]
    Mount {
        /// The mount point.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel and `fuser` did not agree.
    #[error("the FUSE handshake failed: {source}")]
    Handshake {
        /// What went wrong.
        source: io::Error,
    },
    /// FUSE over io_uring was asked for, and cannot be had.
    #[error(
        "FUSE over io_uring is not offered: it needs Linux 6.14 or newer with CONFIG_FUSE_IO_URING, switched on by \
         `echo Y > /sys/module/fuse/parameters/enable_uring`, and an io_uring that takes commands"
    )]
    NoRing,
    /// No core serves requests.
    #[error("core {core} does not serve this mount: it has stopped, or no graph was installed on it")]
    NoGraph {
        /// The core.
        core: usize,
    },
    /// No thread to be had.
    #[error("cannot start a session thread: {source}; check the limit on processes (`ulimit -u`, TasksMax=)")]
    Thread {
        /// What the kernel said.
        source: io::Error,
    },
}

impl MountError {
    /// The failure of looking at a mount point.
    pub(super) fn of_path(path: PathBuf, source: io::Error) -> Self {
        match Errno::from_io_error(&source) {
            Some(Errno::NOENT) => Self::Missing { path },
            Some(Errno::NOTDIR) => Self::NotADirectory { path },
            // The second, when the server died while this waited for its answer.
            Some(Errno::NOTCONN | Errno::CONNABORTED) => Self::Stale { path },
            _ => Self::NotAccessible { path, source },
        }
    }

    /// The failure of the mount itself.
    pub(super) fn of_mount(path: PathBuf, error: FuseMountError) -> Self {
        let errno = |source: &io::Error| Errno::from_io_error(source);
        match error {
            FuseMountError::Device(source) => match errno(&source) {
                Some(Errno::NOENT | Errno::NODEV | Errno::NXIO) => Self::NoFuse,
                _ => Self::NotPermitted { reason: format!("/dev/fuse cannot be opened ({source})") },
            },
            FuseMountError::Mount(source) => match errno(&source) {
                Some(Errno::NODEV) => Self::NoFuse,
                Some(Errno::PERM | Errno::ACCESS) => {
                    Self::NotPermitted { reason: format!("mount(2): {source}") }
                }
                Some(Errno::BUSY) => Self::Busy { path, kind: "FUSE".into() },
                _ => Self::Mount { path, source },
            },
            FuseMountError::Helper(source) if source.kind() == io::ErrorKind::NotFound => Self::NoHelper,
            FuseMountError::Helper(source) => Self::NotPermitted { reason: format!("fusermount3: {source}") },
            FuseMountError::Refused(words) => Self::HelperRefused { words },
        }
    }
}

/// For the kernel. ENOSYS would make it give up that kind of request for good (and take some of them, access and fsync, for
/// granted from then on), while a layer that says so means this one fop.
pub(super) const fn of_fop(errno: Errno) -> Errno {
    match errno {
        Errno::NOSYS => Errno::OPNOTSUPP,
        errno => errno,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_say_what_to_do() {
        let of_path = |errno: Errno| MountError::of_path("/mnt/x".into(), errno.into()).to_string();
        assert!(of_path(Errno::NOTCONN).contains("fusermount3 -u /mnt/x"));
        assert!(of_path(Errno::NOENT).contains("mkdir -p /mnt/x"));
        assert!(of_path(Errno::IO).contains("not accessible"));
        let of_device = |errno: Errno| {
            MountError::of_mount("/m".into(), FuseMountError::Device(errno.into())).to_string()
        };
        assert!(of_device(Errno::NOENT).contains("modprobe fuse"));
        assert!(of_device(Errno::NODEV).contains("modprobe fuse"));
        assert!(of_device(Errno::PERM).contains("run as root"));
        let helper = MountError::of_mount("/m".into(), FuseMountError::Helper(Errno::NOENT.into()));
        assert!(matches!(helper, MountError::NoHelper));
    }

    #[test]
    fn errnos_keep_their_numbers() {
        for errno in [Errno::NOENT, Errno::STALE, Errno::OPNOTSUPP, Errno::NODATA] {
            assert_eq!(of_fop(errno), errno);
        }
        assert_eq!(of_fop(Errno::NOSYS), Errno::OPNOTSUPP);
    }
}
