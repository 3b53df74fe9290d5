//! Opening a brick: is it one, is it ours, is it whole?
//!
//! In this order: the directory is there, its file system keeps `trusted.*` attributes, nobody else serves it, it belongs to
//! the volume, its root has the root's gfid; then the housekeeping directories are made, what an earlier process left
//! unfinished is finished ([`super::entry::recovery`]), and `unlink/` is emptied.

mod error;
mod in_use;

use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use kiln_uring::sys::{How, OpenFlags, XattrFlags, XattrTarget};
use kiln_uring::{Errno, File, Sys};

pub use error::BootError;

use super::brick::{Brick, DOT_GLUSTERFS};
use super::entry::recovery;
use super::handle::{HandlePath, ROOT_TARGET};
use super::intents::{Found, Intents};
use super::options::Settings;
use crate::keys;
use crate::translator::PrepareContext;
use crate::types::Gfid;

/// The descriptors that a brick keeps.
#[derive(Clone, Debug)]
pub struct Directories {
    /// The brick's root.
    pub root: Arc<File>,
    /// `.glusterfs`.
    pub dot: Arc<File>,
    /// `.glusterfs/unlink`.
    pub unlink_dir: Arc<File>,
    /// `.glusterfs/landfill`.
    pub landfill_dir: Arc<File>,
    /// [`TEMP`].
    pub temp_dir: Arc<File>,
}

/// Where directories and handles are made before they get their place, in `.glusterfs`. Stock knows nothing of it and leaves
/// it alone; what a killed process has left there is removed at the next start.
pub const TEMP: &CStr = c"kiln-temp";

/// The descriptor number that stands for "relative to the working directory".
const AT_FDCWD: i32 = -100;

/// Opens the brick of a volfile node.
///
/// # Errors
/// See [`BootError`]; the brick is left as it was.
pub fn open_brick(context: &PrepareContext<'_>) -> Result<Brick, BootError> {
    let settings = Settings::new(context.options);
    let path = Path::new(context.options.text("directory").unwrap_or_default()).to_owned();
    if path.as_os_str().is_empty() {
        return Err(BootError::NoDirectory);
    }
    let sys = Arc::clone(context.sys);
    // Modes come from clients, and the umask has been applied to them.
    sys.clear_umask();
    let root = open_root(&sys, &path)?;
    check_xattrs(&sys, &root, &path)?;
    in_use::claim(&sys, &root, &path)?;
    check_volume(&sys, &root, &path, settings.volume_id)?;
    claim_root_gfid(&sys, &root, &path)?;
    own_root(&sys, &root, &path, &settings)?;
    let dirs = make_directories(&sys, root, &path)?;
    let host = host_name(&sys);
    let io = |errno| BootError::Io { path: path.clone(), doing: "open the record of operations", errno };
    let (intents, found) = Intents::open(&sys, &dirs.dot).map_err(io)?;
    let brick = Brick::new(sys, &path, dirs, intents, host, settings);
    recover(&brick, &path, found)?;
    Ok(brick)
}

/// Opens the root of a brick that nobody may serve as long as it is open.
///
/// # Errors
/// See [`BootError`].
pub(super) fn open_offline(sys: &Arc<dyn Sys>, path: &Path) -> Result<Arc<File>, BootError> {
    let root = open_root(sys, path)?;
    in_use::claim(sys, &root, path)?;
    Ok(root)
}

/// Finishes what an earlier process left in the middle, and removes what nobody can name any more.
fn recover(brick: &Brick, path: &Path, found: Found) -> Result<(), BootError> {
    let io = |errno| BootError::Io { path: path.into(), doing: "empty a directory in .glusterfs", errno };
    // First, so that link counts tell who has no name.
    recovery::empty(brick, &brick.unlink_dir).map_err(io)?;
    recovery::empty(brick, &brick.temp_dir).map_err(io)?;
    if let Found::Unfinished(intents) = &found {
        recovery::recover(brick, intents);
    }
    brick.intents.begin_anew(&brick.sys, found == Found::Unknown);
    Ok(())
}

fn open_root(sys: &Arc<dyn Sys>, path: &Path) -> Result<Arc<File>, BootError> {
    let text = CString::new(path.as_os_str().as_bytes()).map_err(|_| BootError::Missing(path.into()))?;
    match sys.openat2(AT_FDCWD, &text, How::new(OpenFlags::DIRECTORY)) {
        Ok(fd) => Ok(Arc::new(File::new(Arc::clone(sys), fd))),
        Err(Errno::NOENT) => Err(BootError::Missing(path.into())),
        Err(Errno::NOTDIR) => Err(BootError::NotADirectory(path.into())),
        Err(errno) => Err(BootError::Io { path: path.into(), doing: "open the brick", errno }),
    }
}

/// Sets and removes a probe attribute, as only this shows that the file system keeps them and that we may set them.
pub(super) fn check_xattrs(sys: &Arc<dyn Sys>, root: &File, path: &Path) -> Result<(), BootError> {
    const PROBE: &CStr = c"trusted.glusterfs.test";
    let target = XattrTarget::Fd(root.fd());
    match sys.setxattr(target, PROBE, b"working", XattrFlags::empty()) {
        Ok(()) => {
            let _ = sys.removexattr(target, PROBE);
            Ok(())
        }
        Err(Errno::OPNOTSUPP) => Err(BootError::NoTrustedXattrs(path.into())),
        Err(Errno::PERM | Errno::ACCESS) => Err(BootError::NotPermitted(path.into())),
        Err(errno) => {
            Err(BootError::Io { path: path.into(), doing: "set an extended attribute on the brick", errno })
        }
    }
}

fn read_gfid(sys: &Arc<dyn Sys>, root: &File, key: &CStr) -> Result<Option<Gfid>, Errno> {
    let mut bytes = [0; 16];
    match sys.getxattr(XattrTarget::Fd(root.fd()), key, &mut bytes) {
        Ok(16) => Ok(Some(Gfid::from_bytes(bytes))),
        Ok(_) | Err(Errno::RANGE) => Err(Errno::IO),
        Err(Errno::NODATA) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn check_volume(sys: &Arc<dyn Sys>, root: &File, path: &Path, wanted: Option<Gfid>) -> Result<(), BootError> {
    let Some(wanted) = wanted else { return Ok(()) };
    let io = |errno| BootError::Io { path: path.into(), doing: "read trusted.glusterfs.volume-id", errno };
    match read_gfid(sys, root, keys::VOLUME_ID).map_err(io)? {
        Some(found) if found == wanted => Ok(()),
        Some(found) => Err(BootError::OtherVolume { path: path.into(), found, wanted }),
        None => Err(BootError::NoVolumeId { path: path.into(), wanted }),
    }
}

fn claim_root_gfid(sys: &Arc<dyn Sys>, root: &File, path: &Path) -> Result<(), BootError> {
    let io = |errno| BootError::Io { path: path.into(), doing: "read or set the root's trusted.gfid", errno };
    match read_gfid(sys, root, keys::GFID).map_err(io)? {
        Some(Gfid::ROOT) => Ok(()),
        Some(found) => Err(BootError::NotARoot { path: path.into(), found }),
        None => sys
            .setxattr(XattrTarget::Fd(root.fd()), keys::GFID, Gfid::ROOT.as_bytes(), XattrFlags::CREATE)
            .map_err(io),
    }
}

fn own_root(sys: &Arc<dyn Sys>, root: &File, path: &Path, settings: &Settings) -> Result<(), BootError> {
    let keep = kiln_uring::sys::NO_ID;
    let (uid, gid) = (settings.brick_uid.unwrap_or(keep), settings.brick_gid.unwrap_or(keep));
    if (uid, gid) == (keep, keep) {
        return Ok(());
    }
    let io =
        |errno| BootError::Io { path: path.into(), doing: "change the owner of the brick's root", errno };
    sys.chown(root.fd(), uid, gid).map_err(io)
}

fn make_directories(sys: &Arc<dyn Sys>, root: Arc<File>, path: &Path) -> Result<Directories, BootError> {
    let io = |errno| BootError::Io {
        path: path.into(),
        doing: "make the housekeeping directories in .glusterfs",
        errno,
    };
    let make = |dir: &File, name: &CStr, mode: u32| -> Result<Arc<File>, BootError> {
        match sys.mkdir_at(dir.fd(), name, mode) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(io(errno)),
        }
        let fd =
            sys.openat2(dir.fd(), name, How::new(OpenFlags::DIRECTORY | OpenFlags::NOFOLLOW)).map_err(io)?;
        Ok(Arc::new(File::new(Arc::clone(sys), fd)))
    };
    let dot = make(&root, DOT_GLUSTERFS, 0o600)?;
    for first in 0..=255_u8 {
        let name = CString::new(format!("{first:02x}")).unwrap_or_default();
        match sys.mkdir_at(dot.fd(), &name, 0o700) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(io(errno)),
        }
    }
    let handle = HandlePath::new(Gfid::ROOT);
    match sys.mkdir_at(dot.fd(), &handle.leaf_dir(), 0o700) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(io(errno)),
    }
    match sys.symlink_at(ROOT_TARGET, dot.fd(), handle.as_c_str()) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(io(errno)),
    }
    let unlink_dir = make(&dot, c"unlink", 0o600)?;
    let landfill_dir = make(&dot, c"landfill", 0o755)?;
    let temp_dir = make(&dot, TEMP, 0o700)?;
    Ok(Directories { root, dot, unlink_dir, landfill_dir, temp_dir })
}

fn host_name(sys: &Arc<dyn Sys>) -> String {
    let mut name = [0; 256];
    let read = sys
        .openat2(AT_FDCWD, c"/proc/sys/kernel/hostname", How::default())
        .and_then(|fd| {
            let read = sys.pread(fd, &mut name, 0, kiln_uring::sys::ReadFlags::empty());
            sys.close(fd);
            read
        })
        .unwrap_or(0);
    let text = String::from_utf8_lossy(&name[..read]).trim().to_owned();
    if text.is_empty() { "localhost".into() } else { text }
}
