//! Opening and closing.

use super::inode::Body;
use super::state::{Open, State};
use super::tree::Seed;
use super::walk::{Last, Spot, Walk};
use crate::sys::{Errno, How, OpenFlags, RawFd, Resolve, SysResult};

/// The flags that `openat2(2)` knows; others are EINVAL.
const KNOWN: u32 = (libc::O_ACCMODE
    | libc::O_CREAT
    | libc::O_EXCL
    | libc::O_NOCTTY
    | libc::O_TRUNC
    | libc::O_APPEND
    | libc::O_NONBLOCK
    | libc::O_SYNC
    | libc::O_ASYNC
    | libc::O_DIRECT
    | libc::O_LARGEFILE
    | libc::O_DIRECTORY
    | libc::O_NOFOLLOW
    | libc::O_NOATIME
    | libc::O_CLOEXEC
    | libc::O_PATH
    | libc::O_TMPFILE) as u32;
/// The flags that may come with `O_PATH`.
const WITH_PATH: u32 = (libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC) as u32;

impl State {
    /// `openat2(2)`.
    pub fn openat2(&mut self, dir: RawFd, path: &[u8], how: How) -> SysResult<RawFd> {
        let flags = how.flags;
        check_flags(flags, how.resolve)?;
        let tmpfile = flags.contains(OpenFlags::TMPFILE);
        let creates = flags.contains(OpenFlags::CREAT);
        if how.resolve.contains(Resolve::CACHED) && (creates || tmpfile || flags.contains(OpenFlags::TRUNC)) {
            return Err(Errno::AGAIN);
        }
        let exclusive = creates && flags.contains(OpenFlags::EXCL);
        let follow = !flags.contains(OpenFlags::NOFOLLOW) && !exclusive;
        let mut walk = Walk::new(self, dir, path, how.resolve)?;
        if tmpfile {
            let dir = walk.resolve(self, follow)?;
            return self.open_tmpfile(dir, how);
        }
        let (spot, ino) = loop {
            let spot = walk.parent(self)?;
            if creates && spot.slash && spot.last != Last::Root {
                return Err(Errno::ISDIR);
            }
            let Some(ino) = walk.last(self, &spot)? else {
                if creates {
                    return self.open_new(&spot, how);
                }
                return Err(Errno::NOENT);
            };
            let is_link = matches!(self.inode(ino)?.body, Body::Symlink(_));
            if !is_link || !(follow || spot.slash) {
                break (spot, ino);
            }
            walk.follow_last(self, &spot, ino)?;
        };
        if exclusive {
            return Err(Errno::EXIST);
        }
        self.open_found(ino, &spot, how)
    }

    /// Opens what is there.
    fn open_found(&mut self, ino: u64, spot: &Spot, how: How) -> SysResult<RawFd> {
        let flags = how.flags;
        let kind = self.meta(ino)?.kind();
        let is_dir = kind == libc::S_IFDIR;
        if is_dir && flags.contains(OpenFlags::CREAT) {
            return Err(Errno::ISDIR);
        }
        if flags.contains(OpenFlags::CREAT) {
            self.check_sticky(spot.dir, ino)?;
        }
        if !is_dir && (spot.slash || flags.contains(OpenFlags::DIRECTORY)) {
            return Err(Errno::NOTDIR);
        }
        if flags.contains(OpenFlags::PATH) {
            return self.install(ino, flags);
        }
        if kind == libc::S_IFLNK {
            // Not followed because of NOFOLLOW, or of NO_SYMLINKS which fails the walk the same way.
            return Err(Errno::LOOP);
        }
        self.open_object(ino, kind, flags)
    }

    /// The part that opening by name and by handle share.
    pub fn open_object(&mut self, ino: u64, kind: u32, flags: OpenFlags) -> SysResult<RawFd> {
        let writes = flags.intersects(OpenFlags::WRONLY | OpenFlags::RDWR);
        match kind {
            libc::S_IFDIR if writes || flags.contains(OpenFlags::TRUNC) => return Err(Errno::ISDIR),
            libc::S_IFDIR if flags.contains(OpenFlags::DIRECT) => return Err(Errno::INVAL),
            libc::S_IFREG | libc::S_IFDIR => {}
            // A fifo that would wait for its other end is refused, like a writer that does not wait.
            libc::S_IFIFO if self.fifo_opens(ino, flags) => {}
            // Sockets cannot be opened; no driver is behind device nodes.
            _ => return Err(Errno::NXIO),
        }
        if kind == libc::S_IFREG && flags.contains(OpenFlags::TRUNC) {
            self.truncate(ino, 0)?;
        }
        self.install(ino, flags)
    }

    /// Whether a fifo opens at once: for both directions, or when the other end is open, or to read without waiting.
    fn fifo_opens(&self, ino: u64, flags: OpenFlags) -> bool {
        let other_end = |wanted: fn(&Open) -> bool| self.fds.values().any(|o| o.ino == ino && wanted(o));
        if flags.contains(OpenFlags::RDWR) {
            true
        } else if flags.contains(OpenFlags::WRONLY) {
            other_end(Open::reads)
        } else {
            flags.contains(OpenFlags::NONBLOCK) || other_end(Open::writes)
        }
    }

    /// Creating what turns out to be there is refused where others could have planted it: in a sticky directory that
    /// everybody may write, when it is neither the caller's nor of the directory's owner. Regular files and fifos are
    /// exempt, as with `fs.protected_regular` and `fs.protected_fifos` at 0.
    fn check_sticky(&self, dir: u64, ino: u64) -> SysResult<()> {
        let (dir, object) = (self.meta(dir)?, self.meta(ino)?);
        let exempt = matches!(object.kind(), libc::S_IFREG | libc::S_IFIFO);
        let trusted = object.uid == dir.uid || object.uid == 0;
        let open_to_all = dir.mode & (libc::S_ISVTX | libc::S_IWOTH) == libc::S_ISVTX | libc::S_IWOTH;
        if open_to_all && !exempt && !trusted { Err(Errno::ACCESS) } else { Ok(()) }
    }

    fn open_new(&mut self, spot: &Spot, how: How) -> SysResult<RawFd> {
        let Last::Name(name) = &spot.last else { return Err(Errno::ISDIR) };
        self.may_create(spot.dir)?;
        let ino = self.create(spot.dir, libc::S_IFREG | (how.mode & 0o7777), 0, Seed::File, 1)?;
        self.enter(spot.dir, name, ino)?;
        self.touch_content(spot.dir)?;
        self.install(ino, how.flags)
    }

    fn open_tmpfile(&mut self, dir: u64, how: How) -> SysResult<RawFd> {
        self.live.dir(dir)?;
        let ino = self.create(dir, libc::S_IFREG | (how.mode & 0o7777), 0, Seed::File, 0)?;
        let linkable = !how.flags.contains(OpenFlags::EXCL);
        self.update(ino, |m| m.linkable = linkable)?;
        self.install(ino, how.flags)
    }

    /// `fcntl(F_SETFL)` of `O_DIRECT` and `O_APPEND`.
    pub fn set_flags(&mut self, fd: RawFd, flags: OpenFlags) -> SysResult<()> {
        let switched = OpenFlags::DIRECT | OpenFlags::APPEND;
        let open = self.real_file(fd)?;
        if flags.contains(OpenFlags::DIRECT) && self.meta(open.ino)?.kind() != libc::S_IFREG {
            return Err(Errno::INVAL);
        }
        if let Some(open) = self.fds.get_mut(&fd) {
            open.flags = (open.flags - switched) | (flags & switched);
        }
        Ok(())
    }

    /// `flock(LOCK_EX | LOCK_NB)`.
    pub fn lock_exclusive(&mut self, fd: RawFd) -> SysResult<()> {
        let open = self.real_file(fd)?;
        match *self.locks.entry(open.ino).or_insert(fd) {
            holder if holder == fd => Ok(()),
            _ => Err(Errno::WOULDBLOCK),
        }
    }
}

fn check_flags(flags: OpenFlags, resolve: Resolve) -> SysResult<()> {
    let bits = flags.bits();
    let has_tmpfile_bit = bits & (libc::O_TMPFILE & !libc::O_DIRECTORY) as u32 != 0;
    let writes = flags.intersects(OpenFlags::WRONLY | OpenFlags::RDWR);
    let directory = flags.contains(OpenFlags::DIRECTORY);
    let creates = flags.contains(OpenFlags::CREAT);
    let wrong = bits & !KNOWN != 0
        || resolve.bits() & !Resolve::all().bits() != 0
        || (flags.contains(OpenFlags::PATH) && bits & !WITH_PATH != 0)
        || (creates && directory)
        || (has_tmpfile_bit && (!directory || !writes));
    if wrong { Err(Errno::INVAL) } else { Ok(()) }
}
