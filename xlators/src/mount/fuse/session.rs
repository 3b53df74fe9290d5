//! What the session threads do: each request is translated into arguments of its own, and sent to a core.
//!
//! Everything that `fuser` lends for the time of the call (names, data) is copied here. Nodes and handles are resolved here
//! too, so that a request about nothing ends at once. Nothing in here waits.

use std::cell::Cell;
use std::ffi::{CString, OsStr};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use fuser::{
    AccessFlags, BsdFileFlags, CopyFileRangeFlags, FileHandle, Filesystem, FopenFlags, INodeNo, KernelConfig,
    LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus,
    ReplyEmpty, ReplyEntry, ReplyLock, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr, Request,
    TimeOrNow, WriteFlags,
};
use kiln_uring::{Buf, Errno, host};

use super::attr::brick_device;
use super::dirs::{self, Listing};
use super::door::Ticket;
use super::error::to_fuse;
use super::files::{self, End};
use super::front::Front;
use super::inodes::{self, Changes};
use super::locks::{self, Range};
use super::options::negotiate;
use super::{forgets, names, reply as answer, xattrs};
use crate::types::LkCmd;
use crate::types::dict::key_from_bytes;

thread_local! {
    /// Whether this session thread has found its place.
    static PLACED: Cell<bool> = const { Cell::new(false) };
}

/// The file system that `fuser` sees.
#[derive(Debug)]
pub(super) struct Session {
    front: Arc<Front>,
    /// Session threads that have found their place.
    placed: AtomicUsize,
}

/// The value, or an error reply and the end of the request.
macro_rules! or_reply {
    ($reply:ident, $result:expr) => {
        match $result {
            Ok(value) => value,
            Err(errno) => return $reply.error(to_fuse(errno)),
        }
    };
}

impl Session {
    pub(super) fn new(front: Arc<Front>) -> Self {
        Self { front, placed: AtomicUsize::new(0) }
    }

    /// A request of no particular rights: layers check nobody there.
    fn ticket(&self, request: &Request) -> Ticket {
        if self.front.config.pin_sessions && !PLACED.replace(true) {
            self.place();
        }
        Ticket::new(&self.front, request)
    }

    /// Binds this session thread to the CPU of the core that has its number.
    fn place(&self) {
        let lane = self.placed.fetch_add(1, Ordering::Relaxed) % self.front.lanes.len().max(1);
        if let Some(cpu) = self.front.lanes.cpu(lane)
            && let Err(errno) = host::pin_thread(cpu)
        {
            tracing::warn!(cpu, %errno, "a session thread could not be bound to its CPU");
        }
    }

    /// A request that layers may refuse to its caller.
    fn checked(&self, request: &Request) -> Ticket {
        self.ticket(request).with_groups()
    }
}

#[allow(clippy::too_many_arguments, reason = "the trait is fuser's")]
impl Filesystem for Session {
    fn init(&mut self, _: &Request, kernel: &mut KernelConfig) -> io::Result<()> {
        negotiate(&self.front.config, self.front.offers, kernel);
        Ok(())
    }

    fn lookup(&self, req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let loc = or_reply!(reply, self.front.entry(parent, name));
        self.checked(req).serve(move |door| async move {
            let result = names::lookup(&door, loc).await;
            answer::found(door.front(), reply, result);
        });
    }

    fn forget(&self, _: &Request, node: INodeNo, count: u64) {
        forgets::forget(&self.front, node.0, count);
    }

    fn getattr(&self, req: &Request, node: INodeNo, handle: Option<FileHandle>, reply: ReplyAttr) {
        let gfid = or_reply!(reply, self.front.gfid(node));
        let fd = or_reply!(reply, handle.map(|handle| self.front.fd(handle)).transpose());
        self.ticket(req).serve(move |door| async move {
            let result = inodes::getattr(&door, gfid, fd).await;
            answer::attributes(door.front(), node.0, reply, result);
        });
    }

    fn setattr(
        &self,
        req: &Request,
        node: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        handle: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let object = or_reply!(reply, self.front.gfid(node));
        let fd = or_reply!(reply, handle.map(|handle| self.front.fd(handle)).transpose());
        let changes = Changes { mode, uid, gid, size, atime, mtime };
        self.checked(req).serve(move |door| async move {
            let result = inodes::setattr(&door, object, fd, changes).await;
            answer::attributes(door.front(), node.0, reply, result);
        });
    }

    fn readlink(&self, req: &Request, node: INodeNo, reply: ReplyData) {
        let loc = or_reply!(reply, self.front.object(node));
        self.checked(req).serve(move |door| async move {
            answer::data(reply, names::readlink(&door, loc).await);
        });
    }

    fn mknod(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        rdev: u32,
        reply: ReplyEntry,
    ) {
        let loc = or_reply!(reply, self.front.entry(parent, name));
        self.checked(req).serve(move |door| async move {
            let result = names::mknod(&door, loc, mode, brick_device(rdev), umask).await;
            answer::entry(door.front(), reply, result);
        });
    }

    fn mkdir(&self, req: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry) {
        let loc = or_reply!(reply, self.front.entry(parent, name));
        self.checked(req).serve(move |door| async move {
            let result = names::mkdir(&door, loc, mode, umask).await;
            answer::entry(door.front(), reply, result);
        });
    }

    fn unlink(&self, req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let loc = or_reply!(reply, self.front.entry(parent, name));
        self.checked(req).serve(move |door| async move {
            answer::empty(reply, names::unlink(&door, loc).await);
        });
    }

    fn rmdir(&self, req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let loc = or_reply!(reply, self.front.entry(parent, name));
        self.checked(req).serve(move |door| async move {
            answer::empty(reply, names::rmdir(&door, loc).await);
        });
    }

    fn symlink(&self, req: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let loc = or_reply!(reply, self.front.entry(parent, name));
        let target = or_reply!(reply, CString::new(target.as_os_str().as_bytes()).map_err(|_| Errno::INVAL));
        self.checked(req).serve(move |door| async move {
            let result = names::symlink(&door, target, loc).await;
            answer::entry(door.front(), reply, result);
        });
    }

    fn rename(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let old = or_reply!(reply, self.front.entry(parent, name));
        let new = or_reply!(reply, self.front.entry(new_parent, new_name));
        self.checked(req).serve(move |door| async move {
            answer::empty(reply, names::rename(&door, old, new, flags.bits()).await);
        });
    }

    fn link(&self, req: &Request, node: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let old = or_reply!(reply, self.front.object(node));
        let new = or_reply!(reply, self.front.entry(parent, name));
        self.checked(req).serve(move |door| async move {
            let result = names::link(&door, old, new).await;
            answer::entry(door.front(), reply, result);
        });
    }

    fn open(&self, req: &Request, node: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let loc = or_reply!(reply, self.front.object(node));
        self.checked(req).serve(move |door| async move {
            let result = files::open(&door, loc, flags.0.cast_unsigned()).await;
            answer::opened(reply, result, answer::file_flags(door.front()));
        });
    }

    fn read(
        &self,
        req: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        flags: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let fd = or_reply!(reply, self.front.fd(handle));
        self.ticket(req).serve(move |door| async move {
            answer::data(reply, files::read(&door, fd, size, offset, flags.0.cast_unsigned()).await);
        });
    }

    fn write(
        &self,
        req: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        flags: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let fd = or_reply!(reply, self.front.fd(handle));
        let data = Buf::from_slice(data);
        self.ticket(req).serve(move |door| async move {
            answer::written(reply, files::write(&door, fd, data, offset, flags.0.cast_unsigned()).await);
        });
    }

    fn flush(&self, req: &Request, _: INodeNo, handle: FileHandle, owner: LockOwner, reply: ReplyEmpty) {
        let fd = or_reply!(reply, self.front.fd(handle));
        self.ticket(req).with_owner(owner).serve(move |door| async move {
            answer::empty(reply, files::flush(&door, fd).await);
        });
    }

    fn release(
        &self,
        req: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        self.ticket(req).serve(move |door| async move {
            answer::empty(reply, files::release(&door, handle.0));
        });
    }

    fn fsync(&self, req: &Request, _: INodeNo, handle: FileHandle, data_only: bool, reply: ReplyEmpty) {
        let fd = or_reply!(reply, self.front.fd(handle));
        self.ticket(req).serve(move |door| async move {
            answer::empty(reply, files::fsync(&door, fd, data_only).await);
        });
    }

    fn opendir(&self, req: &Request, node: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let loc = or_reply!(reply, self.front.object(node));
        self.checked(req).serve(move |door| async move {
            answer::opened(reply, files::opendir(&door, loc).await, FopenFlags::empty());
        });
    }

    fn readdir(&self, req: &Request, _: INodeNo, handle: FileHandle, offset: u64, reply: ReplyDirectory) {
        let fd = or_reply!(reply, self.front.fd(handle));
        self.checked(req).serve(move |door| async move {
            dirs::list(&door, fd, offset, Listing::Names(reply)).await;
        });
    }

    fn readdirplus(
        &self,
        req: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        reply: ReplyDirectoryPlus,
    ) {
        let fd = or_reply!(reply, self.front.fd(handle));
        self.checked(req).serve(move |door| async move {
            dirs::list(&door, fd, offset, Listing::WithAttributes(reply)).await;
        });
    }

    fn releasedir(&self, req: &Request, _: INodeNo, handle: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        self.ticket(req).serve(move |door| async move {
            answer::empty(reply, files::release(&door, handle.0));
        });
    }

    fn fsyncdir(&self, req: &Request, _: INodeNo, handle: FileHandle, data_only: bool, reply: ReplyEmpty) {
        let fd = or_reply!(reply, self.front.fd(handle));
        self.ticket(req).serve(move |door| async move {
            answer::empty(reply, files::fsyncdir(&door, fd, data_only).await);
        });
    }

    fn statfs(&self, req: &Request, node: INodeNo, reply: ReplyStatfs) {
        let loc = or_reply!(reply, self.front.object(node));
        self.ticket(req).serve(move |door| async move {
            match inodes::statfs(&door, loc).await {
                Ok(of) => reply.statfs(
                    of.blocks,
                    of.bfree,
                    of.bavail,
                    of.files,
                    of.ffree,
                    u32::try_from(of.bsize).unwrap_or(4096),
                    u32::try_from(of.namemax).unwrap_or(255),
                    u32::try_from(of.frsize).unwrap_or(4096),
                ),
                Err(error) => reply.error(to_fuse(error.errno)),
            }
        });
    }

    fn setxattr(
        &self,
        req: &Request,
        node: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _: u32,
        reply: ReplyEmpty,
    ) {
        let gfid = or_reply!(reply, self.front.gfid(node));
        let name = or_reply!(reply, key_from_bytes(name.as_bytes()));
        let value = value.to_vec();
        self.checked(req).serve(move |door| async move {
            answer::empty(reply, xattrs::set(&door, gfid, name, value, flags.cast_unsigned()).await);
        });
    }

    fn getxattr(&self, req: &Request, node: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        let gfid = or_reply!(reply, self.front.gfid(node));
        let name = or_reply!(reply, key_from_bytes(name.as_bytes()));
        self.checked(req).serve(move |door| async move {
            xattrs::answer(reply, size, xattrs::get(&door, gfid, name).await);
        });
    }

    fn listxattr(&self, req: &Request, node: INodeNo, size: u32, reply: ReplyXattr) {
        let gfid = or_reply!(reply, self.front.gfid(node));
        self.checked(req).serve(move |door| async move {
            xattrs::answer(reply, size, xattrs::list(&door, gfid).await);
        });
    }

    fn removexattr(&self, req: &Request, node: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let gfid = or_reply!(reply, self.front.gfid(node));
        let name = or_reply!(reply, key_from_bytes(name.as_bytes()));
        self.checked(req).serve(move |door| async move {
            answer::empty(reply, xattrs::remove(&door, gfid, name).await);
        });
    }

    fn access(&self, req: &Request, node: INodeNo, mask: AccessFlags, reply: ReplyEmpty) {
        let loc = or_reply!(reply, self.front.object(node));
        self.checked(req).serve(move |door| async move {
            answer::empty(reply, inodes::access(&door, loc, mask.bits().cast_unsigned()).await);
        });
    }

    fn create(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let loc = or_reply!(reply, self.front.entry(parent, name));
        self.checked(req).serve(move |door| async move {
            let result = files::create(&door, loc, flags.cast_unsigned(), mode, umask).await;
            if let Err(handle) = answer::created(door.front(), reply, result) {
                // Nobody will ever close it.
                let _ = files::release(&door, handle);
            }
        });
    }

    fn getlk(
        &self,
        req: &Request,
        _: INodeNo,
        handle: FileHandle,
        owner: LockOwner,
        start: u64,
        end: u64,
        kind: i32,
        pid: u32,
        reply: ReplyLock,
    ) {
        let fd = or_reply!(reply, self.front.fd(handle));
        self.ticket(req).with_owner(owner).serve(move |door| async move {
            let result = locks::lock(&door, fd, LkCmd::Get, Range { start, end, kind, pid }).await;
            locks::answer(reply, result);
        });
    }

    fn setlk(
        &self,
        req: &Request,
        _: INodeNo,
        handle: FileHandle,
        owner: LockOwner,
        start: u64,
        end: u64,
        kind: i32,
        pid: u32,
        sleep: bool,
        reply: ReplyEmpty,
    ) {
        let fd = or_reply!(reply, self.front.fd(handle));
        let cmd = if sleep { LkCmd::SetWait } else { LkCmd::Set };
        self.ticket(req).with_owner(owner).serve(move |door| async move {
            let result = locks::lock(&door, fd, cmd, Range { start, end, kind, pid }).await;
            answer::empty(reply, result.map(drop));
        });
    }

    fn fallocate(
        &self,
        req: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        len: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let fd = or_reply!(reply, self.front.fd(handle));
        self.ticket(req).serve(move |door| async move {
            answer::empty(reply, files::fallocate(&door, fd, offset, len, mode.cast_unsigned()).await);
        });
    }

    fn lseek(
        &self,
        req: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: i64,
        whence: i32,
        reply: ReplyLseek,
    ) {
        let fd = or_reply!(reply, self.front.fd(handle));
        self.ticket(req).serve(move |door| async move {
            answer::offset(reply, files::lseek(&door, fd, offset, whence).await);
        });
    }

    fn copy_file_range(
        &self,
        req: &Request,
        _: INodeNo,
        from: FileHandle,
        from_offset: u64,
        _: INodeNo,
        to: FileHandle,
        to_offset: u64,
        len: u64,
        flags: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        let from = End { fd: or_reply!(reply, self.front.fd(from)), offset: from_offset };
        let to = End { fd: or_reply!(reply, self.front.fd(to)), offset: to_offset };
        // No flags are defined yet; unknown ones are the brick's to refuse.
        let flags = u32::try_from(flags.bits()).unwrap_or(u32::MAX);
        self.ticket(req).serve(move |door| async move {
            answer::written(reply, files::copy(&door, from, to, len, flags).await);
        });
    }
}
