//! Why a brick cannot be served.

use std::path::PathBuf;

use kiln_uring::Errno;

use crate::types::Gfid;

/// One sentence what is wrong, one what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BootError {
    /// No option `directory`.
    #[error("there is no option `directory`. Name the brick: `option directory /path/of/the/brick`")]
    NoDirectory,
    /// Nothing is there.
    #[error("{0}: the brick does not exist. Create the directory, or mount its file system first")]
    Missing(PathBuf),
    /// A file is there.
    #[error("{0}: the brick is not a directory. Name the directory that holds the files")]
    NotADirectory(PathBuf),
    /// No `trusted.*`.
    #[error(
        "{0}: the file system keeps no `trusted.*` extended attributes, which gfids need. \
         Use ext4, xfs, btrfs, or tmpfs"
    )]
    NoTrustedXattrs(PathBuf),
    /// No right to set `trusted.*`.
    #[error(
        "{0}: no permission to set `trusted.*` extended attributes. Run as root (CAP_SYS_ADMIN), on a writable file system"
    )]
    NotPermitted(PathBuf),
    /// Another process serves it.
    #[error("{path}: the brick is in use by {by}. Stop that process first")]
    InUse {
        /// The brick.
        path: PathBuf,
        /// Who.
        by: String,
    },
    /// It belongs to another volume.
    #[error(
        "{path}: the brick belongs to volume {found}, not to {wanted}. \
         Check the path; a brick is never moved to another volume by itself"
    )]
    OtherVolume {
        /// The brick.
        path: PathBuf,
        /// On disk.
        found: Gfid,
        /// In the volfile.
        wanted: Gfid,
    },
    /// It belongs to no volume.
    #[error(
        "{path}: the brick has no trusted.glusterfs.volume-id, and the volfile wants {wanted}. \
         Is its file system mounted? A new brick gets the attribute when its volume is created"
    )]
    NoVolumeId {
        /// The brick.
        path: PathBuf,
        /// In the volfile.
        wanted: Gfid,
    },
    /// The root has another gfid.
    #[error("{path}: the directory has gfid {found}, so it lies inside a brick. Name the brick's root")]
    NotARoot {
        /// The brick.
        path: PathBuf,
        /// Its gfid.
        found: Gfid,
    },
    /// A system call failed.
    #[error("{path}: cannot {doing}: {errno}")]
    Io {
        /// The brick.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// Why not.
        errno: Errno,
    },
}
