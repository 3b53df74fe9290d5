//! The brick directory of `kiln mount --brick DIR`: is it a brick, and may it become one?
//!
//! A brick belongs to a volume, whose id is an extended attribute of its root. `glusterd` sets it when a volume is created; here
//! an empty directory gets a random one, and a directory with files only when the operator says so, because serving it
//! gives every file in it a gfid.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kiln_uring::sys::{How, OpenFlags, XattrFlags, XattrTarget};
use kiln_uring::{Errno, File, Sys};
use kiln_xlators::keys;
use kiln_xlators::types::Gfid;

use crate::exit::Exit;
use crate::failure::{Failure, Outcome};

/// "Relative to the working directory" for the `*at` calls.
const AT_FDCWD: i32 = -100;

/// A directory that can be served.
#[derive(Debug)]
pub struct BrickDir {
    path: PathBuf,
    dir: File,
    volume_id: Gfid,
    /// Whether this process has made it a brick, and takes that back if nothing comes of it.
    fresh: bool,
}

impl BrickDir {
    /// Looks at `dir`; makes a brick of it when it is empty, or when `init` says so.
    pub fn open(dir: &Path, init: bool, sys: &Arc<dyn Sys>) -> Outcome<Self> {
        let named = dir.display();
        let wrong = |what: &str| Failure::new(Exit::Brick, format!("the brick {named} {what}"));
        let path = std::fs::canonicalize(dir).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => wrong("does not exist")
                .next(format!("Make it with `mkdir -p {}`, or mount its file system.", dir.display())),
            _ => wrong("cannot be looked at").because(&error),
        })?;
        if !path.is_dir() {
            return Err(wrong("is not a directory").next("Give the directory that is to be served."));
        }
        let raw = CString::new(path.as_os_str().as_bytes())
            .map_err(|error| wrong("has an odd name").because(&error))?;
        let fd = sys
            .openat2(AT_FDCWD, &raw, How::new(OpenFlags::DIRECTORY))
            .map_err(|errno| wrong("cannot be opened").because(&errno))?;
        let dir = File::new(Arc::clone(sys), fd);
        let mut brick = Self { path, dir, volume_id: Gfid::NULL, fresh: false };
        let mut id = [0; 16];
        match sys.getxattr(brick.target(), keys::VOLUME_ID, &mut id) {
            Ok(16) => brick.volume_id = Gfid::from_bytes(id),
            Ok(_) | Err(Errno::RANGE) => {
                return Err(wrong("has a damaged volume id").next(
                    "`getfattr -d -m. -e hex` shows it: trusted.glusterfs.volume-id must be 16 bytes.",
                ));
            }
            Err(Errno::NODATA) => brick.make(init)?,
            Err(Errno::OPNOTSUPP) => return Err(brick.no_xattrs()),
            Err(errno) => return Err(wrong("has a volume id that cannot be read").because(&errno)),
        }
        Ok(brick)
    }

    fn make(&mut self, init: bool) -> Outcome {
        let wrong = |what: &str| Failure::new(Exit::Brick, format!("{} {what}", self.path.display()));
        // Served without a volume id before, by a hand-written volfile.
        let served = self.dir.sys().getxattr(self.target(), keys::GFID, &mut [0; 16]).is_ok();
        if !init && !served {
            let entries =
                std::fs::read_dir(&self.path).map_err(|error| wrong("cannot be listed").because(&error))?;
            for entry in entries {
                let entry = entry.map_err(|error| wrong("cannot be listed").because(&error))?;
                // `.glusterfs` alone is what a start that failed half-way leaves.
                if entry.file_name() != "lost+found" && entry.file_name() != ".glusterfs" {
                    return Err(wrong("is not empty and was never a brick").next(
                        "Is its file system mounted? With --init it becomes a brick, and each of its files gets a gfid when it is \
                         first seen.",
                    ));
                }
            }
        }
        let mut random = [0; 16];
        self.dir.sys().random(&mut random);
        self.volume_id = Gfid::from_random(random);
        match self.dir.sys().setxattr(
            self.target(),
            keys::VOLUME_ID,
            self.volume_id.as_bytes(),
            XattrFlags::CREATE,
        ) {
            Ok(()) => self.fresh = true,
            Err(Errno::OPNOTSUPP) => return Err(self.no_xattrs()),
            Err(Errno::PERM | Errno::ACCESS) => {
                return Err(wrong("cannot become a brick: only root may set trusted.* attributes")
                    .next("Run as root; a user namespace's root is not enough."));
            }
            Err(errno) => return Err(wrong("cannot become a brick").because(&errno)),
        }
        tracing::info!(volume_id = %self.volume_id, "{} is now a brick", self.path.display());
        Ok(())
    }

    fn no_xattrs(&self) -> Failure {
        let what = format!("the file system of {} keeps no trusted.* attributes", self.path.display());
        Failure::new(Exit::Brick, what)
            .next("Put the brick on XFS, ext4, btrfs or ZFS; NFS, FUSE and FAT will not do.")
    }

    fn target(&self) -> XattrTarget<'_> {
        XattrTarget::Fd(self.dir.fd())
    }

    /// Absolute, without symbolic links.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The volume it belongs to.
    pub const fn volume_id(&self) -> Gfid {
        self.volume_id
    }

    /// The brick is being served: it stays one.
    pub const fn keep(&mut self) {
        self.fresh = false;
    }
}

impl Drop for BrickDir {
    fn drop(&mut self) {
        if self.fresh
            && let Err(errno) = self.dir.sys().removexattr(self.target(), keys::VOLUME_ID)
        {
            tracing::warn!(%errno, "{} keeps the volume id that it has just got", self.path.display());
        }
    }
}
