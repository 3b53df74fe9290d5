//! The procedures of GlusterFS 4.x v1.

use std::rc::Rc;

use kiln_uring::{Buf, Errno};

use super::shapes::{self as shape, Shape};
use super::translate::{
    device, domain, entry, entrylk_cmd, entrylk_kind, flock, inodelk_cmd, key, lk_cmd, locked_name,
    looked_up, object, open_flags, set_attr, target, xattr_name,
};
use super::{BASE, Job, LONGEST_LIST, LONGEST_READ, Wind};
use crate::fd::{Fd, FdRef};
use crate::fop::request::{self, LeaseSpec, SeekWhat, XattropOp};
use crate::fop::{Fop, reply};
use crate::graph::Next;
use crate::keys;
use crate::protocol::rpc::message::Accept;
use crate::protocol::rpc::programs::PlainRsp;
use crate::protocol::rpc::programs::fops::*;
use crate::protocol::server::connection::Connection;
use crate::protocol::server::gate::Cost;
use crate::protocol::xdr::{LockEntry, Reader, Wire};
use crate::types::{ActiveLock, Dict, EntrylkCmd, Gfid, LkCmd, Xdata};

/// Where READ, READDIR and READDIRP have the size that they ask for.
const SIZE_AT: usize = 32;

/// What a call takes before its arguments are decoded.
pub(super) fn cost(number: u32, arguments: &[u8]) -> Cost {
    let answer = match number {
        procedure::READ => asked(arguments).min(LONGEST_READ),
        procedure::READDIR | procedure::READDIRP => asked(arguments).min(LONGEST_LIST),
        _ => 0,
    };
    // Locks may wait for requests that come after them.
    let waits = matches!(
        number,
        procedure::LK | procedure::INODELK | procedure::FINODELK | procedure::ENTRYLK | procedure::FENTRYLK
    );
    Cost { requests: usize::from(!waits), bytes: BASE + arguments.len() + answer as usize }
}

fn asked(arguments: &[u8]) -> u32 {
    let word = arguments.get(SIZE_AT..).and_then(|rest| rest.first_chunk());
    word.map_or(0, |word| u32::from_be_bytes(*word))
}

/// Decodes the arguments and goes on with them.
fn with<'a, R: Wire<'a>>(job: Job<'_>, from: &mut Reader<'a>, then: impl FnOnce(Job<'_>, R)) {
    match R::get(from) {
        Ok(arguments) => then(job, arguments),
        Err(_) => job.ticket.refuse(Accept::GarbageArguments),
    }
}

/// The same for a write, whose bytes follow its arguments up to the end of the record unless they came separately. How many
/// there are is said once more by `size`.
fn with_payload<'a, R: Wire<'a>>(
    job: Job<'_>,
    from: &mut Reader<'a>,
    separate: Option<Buf>,
    size: impl FnOnce(&R) -> u32,
    then: impl FnOnce(Job<'_>, R, Buf),
) {
    let arguments = R::get(from);
    let len = separate.as_ref().map_or(from.remaining(), |data| data.len());
    match arguments {
        Ok(arguments) if size(&arguments) as usize == len => {
            let data = separate.unwrap_or_else(|| {
                let mut data = job.ticket.connection.door.core.buffer(len);
                data.copy_from_slice(from.rest());
                data
            });
            then(job, arguments, data);
        }
        _ => job.ticket.refuse(Accept::GarbageArguments),
    }
}

/// A request whose making may fail.
fn attempt<R>(make: impl FnOnce() -> Result<R, Errno>) -> Result<R, Errno> {
    make()
}

/// Serves the procedure `number`.
pub(super) fn serve(job: Job<'_>, number: u32, arguments: &[u8], separate: Option<Buf>) {
    let from = &mut Reader::below(job.bound.root, arguments);
    match number {
        0 => job.ticket.answer(&PlainRsp::default()),
        procedure::STAT => with(job, from, |job, r: StatReq| {
            let subject = r.gfid;
            let request = attempt(|| Ok(request::Stat { loc: object(r.gfid)?, xdata: r.xdata }));
            job.run(Fop::Stat, subject, request, Next::stat, &shape::ATTR);
        }),
        procedure::READLINK => with(job, from, |job, r: ReadlinkReq| {
            let subject = r.gfid;
            let request =
                attempt(|| Ok(request::Readlink { loc: object(r.gfid)?, size: r.size, xdata: r.xdata }));
            job.run(Fop::Readlink, subject, request, Next::readlink, &shape::READLINK);
        }),
        procedure::MKNOD => with(job, from, |job, r: MknodReq| {
            let subject = r.pargfid;
            let request = attempt(|| {
                Ok(request::Mknod {
                    loc: entry(r.pargfid, r.bname)?,
                    mode: r.mode,
                    rdev: device(r.dev),
                    umask: r.umask,
                    xdata: r.xdata,
                })
            });
            job.run(Fop::Mknod, subject, request, Next::mknod, &shape::MADE);
        }),
        procedure::MKDIR => with(job, from, |job, r: MkdirReq| {
            let subject = r.pargfid;
            let request = attempt(|| {
                Ok(request::Mkdir {
                    loc: entry(r.pargfid, r.bname)?,
                    mode: r.mode,
                    umask: r.umask,
                    xdata: r.xdata,
                })
            });
            job.run(Fop::Mkdir, subject, request, Next::mkdir, &shape::MADE);
        }),
        procedure::UNLINK => with(job, from, |job, r: UnlinkReq| {
            let subject = r.pargfid;
            let request = attempt(|| {
                Ok(request::Unlink { loc: entry(r.pargfid, r.bname)?, flags: r.xflags, xdata: r.xdata })
            });
            job.run(Fop::Unlink, subject, request, Next::unlink, &shape::REMOVED);
        }),
        procedure::RMDIR => with(job, from, |job, r: RmdirReq| {
            let subject = r.pargfid;
            let request = attempt(|| {
                Ok(request::Rmdir {
                    loc: entry(r.pargfid, r.bname)?,
                    flags: r.xflags.cast_unsigned(),
                    xdata: r.xdata,
                })
            });
            job.run(Fop::Rmdir, subject, request, Next::rmdir, &shape::REMOVED);
        }),
        procedure::SYMLINK => with(job, from, |job, r: SymlinkReq| {
            let subject = r.pargfid;
            let request = attempt(|| {
                Ok(request::Symlink {
                    target: target(r.linkname)?,
                    loc: entry(r.pargfid, r.bname)?,
                    umask: r.umask,
                    xdata: r.xdata,
                })
            });
            job.run(Fop::Symlink, subject, request, Next::symlink, &shape::MADE);
        }),
        procedure::RENAME => with(job, from, |job, r: RenameReq| {
            let subject = r.oldgfid;
            let request = attempt(|| {
                Ok(request::Rename {
                    old: entry(r.oldgfid, r.oldbname)?,
                    new: entry(r.newgfid, r.newbname)?,
                    flags: 0,
                    xdata: r.xdata,
                })
            });
            job.run(Fop::Rename, subject, request, Next::rename, &shape::RENAMED);
        }),
        procedure::LINK => with(job, from, |job, r: LinkReq| {
            let subject = r.oldgfid;
            let request = attempt(|| {
                Ok(request::Link {
                    old: object(r.oldgfid)?,
                    new: entry(r.newgfid, r.newbname)?,
                    xdata: r.xdata,
                })
            });
            job.run(Fop::Link, subject, request, Next::link, &shape::MADE);
        }),
        procedure::TRUNCATE => with(job, from, |job, r: TruncateReq| {
            let subject = r.gfid;
            let request =
                attempt(|| Ok(request::Truncate { loc: object(r.gfid)?, offset: r.offset, xdata: r.xdata }));
            job.run(Fop::Truncate, subject, request, Next::truncate, &shape::CHANGED);
        }),
        procedure::READ => with(job, from, |job, r: ReadReq| {
            let fd = job.fd_for(r.fd, r.gfid, r.flag, false);
            let subject = r.gfid;
            let request = attempt(|| {
                Ok(request::Readv {
                    fd: fd?,
                    size: r.size.min(LONGEST_READ),
                    offset: r.offset,
                    flags: r.flag,
                    xdata: r.xdata,
                })
            });
            job.run(Fop::Readv, subject, request, Next::readv, &shape::READ);
        }),
        procedure::STATFS => with(job, from, |job, r: StatfsReq| {
            let subject = r.gfid;
            let request = attempt(|| Ok(request::Statfs { loc: object(r.gfid)?, xdata: r.xdata }));
            job.run(Fop::Statfs, subject, request, Next::statfs, &shape::STATFS);
        }),
        procedure::FLUSH => with(job, from, |job, r: FlushReq| {
            let fd = job.fd(r.fd, r.gfid);
            let subject = r.gfid;
            let request = attempt(|| Ok(request::Flush { fd: fd?, xdata: r.xdata }));
            job.run(Fop::Flush, subject, request, Next::flush, &shape::DONE);
        }),
        procedure::FSYNC => with(job, from, |job, r: FsyncReq| {
            let fd = job.fd(r.fd, r.gfid);
            let subject = r.gfid;
            let request = attempt(|| Ok(request::Fsync { fd: fd?, data_only: r.data != 0, xdata: r.xdata }));
            job.run(Fop::Fsync, subject, request, Next::fsync, &shape::CHANGED);
        }),
        procedure::SETXATTR => with(job, from, |job, r: SetxattrReq| {
            let subject = r.gfid;
            let request = attempt(|| {
                Ok(request::Setxattr {
                    loc: object(r.gfid)?,
                    dict: there(r.dict)?,
                    flags: r.flags,
                    xdata: r.xdata,
                })
            });
            job.run(Fop::Setxattr, subject, request, Next::setxattr, &shape::DONE);
        }),
        procedure::GETXATTR => with(job, from, |job, r: GetxattrReq| {
            let subject = r.gfid;
            let request = attempt(|| {
                Ok(request::Getxattr {
                    loc: object(r.gfid)?,
                    name: xattr_name(r.namelen, r.name)?,
                    xdata: r.xdata,
                })
            });
            job.run(Fop::Getxattr, subject, request, Next::getxattr, &shape::XATTRS);
        }),
        procedure::REMOVEXATTR => with(job, from, |job, r: RemovexattrReq| {
            let subject = r.gfid;
            let request = attempt(|| {
                Ok(request::Removexattr { loc: object(r.gfid)?, name: key(r.name)?, xdata: r.xdata })
            });
            job.run(Fop::Removexattr, subject, request, Next::removexattr, &shape::DONE);
        }),
        procedure::FSYNCDIR => with(job, from, |job, r: FsyncdirReq| {
            let fd = job.fd(r.fd, r.gfid);
            let subject = r.gfid;
            let request =
                attempt(|| Ok(request::Fsyncdir { fd: fd?, data_only: r.data != 0, xdata: r.xdata }));
            job.run(Fop::Fsyncdir, subject, request, Next::fsyncdir, &shape::DONE);
        }),
        procedure::ACCESS => with(job, from, |job, r: AccessReq| {
            let subject = r.gfid;
            let request =
                attempt(|| Ok(request::Access { loc: object(r.gfid)?, mask: r.mask, xdata: r.xdata }));
            job.run(Fop::Access, subject, request, Next::access, &shape::DONE);
        }),
        procedure::FTRUNCATE => with(job, from, |job, r: FtruncateReq| {
            let fd = job.fd_for(r.fd, r.gfid, 0, true);
            let subject = r.gfid;
            let request = attempt(|| Ok(request::Ftruncate { fd: fd?, offset: r.offset, xdata: r.xdata }));
            job.run(Fop::Ftruncate, subject, request, Next::ftruncate, &shape::CHANGED);
        }),
        procedure::FSTAT => with(job, from, |job, r: FstatReq| {
            let fd = job.fd(r.fd, r.gfid);
            let subject = r.gfid;
            let request = attempt(|| Ok(request::Fstat { fd: fd?, xdata: r.xdata }));
            job.run(Fop::Fstat, subject, request, Next::fstat, &shape::ATTR);
        }),
        procedure::LOOKUP => with(job, from, |job, r: LookupReq| {
            let subject = r.gfid;
            let request = attempt(|| {
                Ok(request::Lookup {
                    loc: looked_up(job.bound.root, r.gfid, r.pargfid, r.bname)?,
                    xdata: r.xdata,
                })
            });
            let shape = if r.bname == b"." { &shape::LOOKUP_SELF } else { &shape::LOOKUP };
            job.run(Fop::Lookup, subject, request, Next::lookup, shape);
        }),
        procedure::READDIR => with(job, from, |job, r: ReaddirReq| {
            let fd = job.fd(r.fd, r.gfid);
            let subject = r.gfid;
            let request = attempt(|| {
                Ok(request::Readdir {
                    fd: fd?,
                    size: r.size.min(LONGEST_LIST),
                    offset: r.offset,
                    xdata: r.xdata,
                })
            });
            job.run(Fop::Readdir, subject, request, Next::readdir, &shape::READDIR);
        }),
        procedure::READDIRP => with(job, from, |job, r: ReaddirpReq| {
            let fd = job.fd(r.fd, r.gfid);
            let subject = r.gfid;
            let request = attempt(|| {
                Ok(request::Readdirp {
                    fd: fd?,
                    size: r.size.min(LONGEST_LIST),
                    offset: r.offset,
                    xdata: r.xdata,
                })
            });
            job.run(Fop::Readdirp, subject, request, Next::readdirp, &shape::READDIRP);
        }),
        procedure::XATTROP => with(job, from, |job, r: XattropReq| {
            let subject = r.gfid;
            let request = attempt(|| {
                Ok(request::Xattrop {
                    loc: object(r.gfid)?,
                    op: xattrop(r.flags)?,
                    dict: there(r.dict)?,
                    xdata: r.xdata,
                })
            });
            job.run(Fop::Xattrop, subject, request, Next::xattrop, &shape::XATTROP);
        }),
        procedure::FXATTROP => with(job, from, |job, r: FxattropReq| {
            let fd = job.fd(r.fd, r.gfid);
            let subject = r.gfid;
            let request = attempt(|| {
                Ok(request::Fxattrop { fd: fd?, op: xattrop(r.flags)?, dict: there(r.dict)?, xdata: r.xdata })
            });
            job.run(Fop::Fxattrop, subject, request, Next::fxattrop, &shape::XATTROP);
        }),
        procedure::FGETXATTR => with(job, from, |job, r: FgetxattrReq| {
            job.ticket.urgent.set(r.name.starts_with(keys::INTERRUPT_LOCKS_PREFIX.to_bytes()));
            let fd = job.fd(r.fd, r.gfid);
            let subject = r.gfid;
            let request = attempt(|| {
                Ok(request::Fgetxattr { fd: fd?, name: xattr_name(r.namelen, r.name)?, xdata: r.xdata })
            });
            job.run(Fop::Fgetxattr, subject, request, Next::fgetxattr, &shape::XATTRS);
        }),
        procedure::FSETXATTR => with(job, from, |job, r: FsetxattrReq| {
            let fd = job.fd(r.fd, r.gfid);
            let subject = r.gfid;
            let request = attempt(|| {
                Ok(request::Fsetxattr { fd: fd?, dict: there(r.dict)?, flags: r.flags, xdata: r.xdata })
            });
            job.run(Fop::Fsetxattr, subject, request, Next::fsetxattr, &shape::DONE);
        }),
        procedure::FREMOVEXATTR => with(job, from, |job, r: FremovexattrReq| {
            let fd = job.fd(r.fd, r.gfid);
            let subject = r.gfid;
            let request =
                attempt(|| Ok(request::Fremovexattr { fd: fd?, name: key(r.name)?, xdata: r.xdata }));
            job.run(Fop::Fremovexattr, subject, request, Next::fremovexattr, &shape::DONE);
        }),
        procedure::RCHECKSUM => with(job, from, |job, r: RchecksumReq| {
            let fd = job.fd(r.fd, r.gfid);
            let subject = r.gfid;
            let request =
                attempt(|| Ok(request::Rchecksum { fd: fd?, offset: r.offset, len: r.len, xdata: r.xdata }));
            job.run(Fop::Rchecksum, subject, request, Next::rchecksum, &shape::RCHECKSUM);
        }),
        procedure::SETATTR => with(job, from, |job, r: SetattrReq| {
            let subject = r.gfid;
            let request = attempt(|| {
                Ok(request::Setattr {
                    loc: object(r.gfid)?,
                    attr: set_attr(&r.stbuf, r.valid),
                    xdata: r.xdata,
                })
            });
            job.run(Fop::Setattr, subject, request, Next::setattr, &shape::CHANGED);
        }),
        procedure::FSETATTR => with(job, from, |job, r: FsetattrReq| {
            let fd = job.fd(r.fd, r.gfid);
            let subject = r.gfid;
            let request = attempt(|| {
                Ok(request::Fsetattr { fd: fd?, attr: set_attr(&r.stbuf, r.valid), xdata: r.xdata })
            });
            job.run(Fop::Fsetattr, subject, request, Next::fsetattr, &shape::CHANGED);
        }),
        procedure::FALLOCATE => with(job, from, |job, r: FallocateReq| {
            let fd = job.fd_for(r.fd, r.gfid, 0, true);
            let subject = r.gfid;
            let request = attempt(|| {
                Ok(request::Fallocate {
                    fd: fd?,
                    mode: r.flags,
                    offset: r.offset,
                    len: r.size,
                    xdata: r.xdata,
                })
            });
            job.run(Fop::Fallocate, subject, request, Next::fallocate, &shape::CHANGED);
        }),
        procedure::DISCARD => with(job, from, |job, r: DiscardReq| {
            let fd = job.fd_for(r.fd, r.gfid, 0, true);
            let subject = r.gfid;
            let request =
                attempt(|| Ok(request::Discard { fd: fd?, offset: r.offset, len: r.size, xdata: r.xdata }));
            job.run(Fop::Discard, subject, request, Next::discard, &shape::CHANGED);
        }),
        procedure::ZEROFILL => with(job, from, |job, r: ZerofillReq| {
            let fd = job.fd_for(r.fd, r.gfid, 0, true);
            let subject = r.gfid;
            let request =
                attempt(|| Ok(request::Zerofill { fd: fd?, offset: r.offset, len: r.size, xdata: r.xdata }));
            job.run(Fop::Zerofill, subject, request, Next::zerofill, &shape::CHANGED);
        }),
        procedure::IPC => with(job, from, |job, r: IpcReq| {
            let subject = Gfid::NULL;
            let request = attempt(|| Ok(request::Ipc { op: r.op, xdata: r.xdata }));
            job.run(Fop::Ipc, subject, request, Next::ipc, &shape::DONE);
        }),
        procedure::SEEK => with(job, from, |job, r: SeekReq| {
            let fd = job.fd(r.fd, r.gfid);
            let subject = r.gfid;
            let request = attempt(|| {
                Ok(request::Seek { fd: fd?, offset: r.offset, what: seek_what(r.what)?, xdata: r.xdata })
            });
            job.run(Fop::Seek, subject, request, Next::seek, &shape::SEEK);
        }),
        procedure::LEASE => with(job, from, |job, r: LeaseReq| {
            let subject = r.gfid;
            let request = attempt(|| {
                Ok(request::Lease {
                    loc: object(r.gfid)?,
                    lease: LeaseSpec {
                        cmd: r.lease.cmd,
                        kind: r.lease.kind,
                        id: r.lease.id,
                        flags: r.lease.flags,
                    },
                    xdata: r.xdata,
                })
            });
            job.run(Fop::Lease, subject, request, Next::lease, &shape::LEASED);
        }),
        procedure::GETACTIVELK => with(job, from, |job, r: GetactivelkReq| {
            let subject = r.gfid;
            let request = attempt(|| Ok(request::Getactivelk { loc: object(r.gfid)?, xdata: r.xdata }));
            job.run(Fop::Getactivelk, subject, request, Next::getactivelk, &shape::ACTIVE_LOCKS);
        }),
        procedure::SETACTIVELK => with(job, from, |job, r: SetactivelkReq| {
            let subject = r.gfid;
            let request = attempt(|| {
                Ok(request::Setactivelk {
                    loc: object(r.gfid)?,
                    locks: active_locks(r.request),
                    xdata: r.xdata,
                })
            });
            job.run(Fop::Setactivelk, subject, request, Next::setactivelk, &shape::DONE);
        }),
        procedure::ICREATE => with(job, from, |job, r: IcreateReq| {
            let subject = r.gfid;
            let request =
                attempt(|| Ok(request::Icreate { loc: object(r.gfid)?, mode: r.mode, xdata: r.xdata }));
            job.run(Fop::Icreate, subject, request, Next::icreate, &shape::ATTR);
        }),
        procedure::NAMELINK => with(job, from, |job, r: NamelinkReq| {
            let subject = r.pargfid;
            let request =
                attempt(|| Ok(request::Namelink { loc: entry(r.pargfid, r.bname)?, xdata: r.xdata }));
            job.run(Fop::Namelink, subject, request, Next::namelink, &shape::REMOVED);
        }),
        procedure::COPY_FILE_RANGE => with(job, from, |job, r: CopyFileRangeReq| {
            let source = job.fd_for(r.fd_in, r.gfid1, 0, false);
            let fd = job.fd_for(r.fd_out, r.gfid2, 0, true);
            let subject = r.gfid2;
            let request = attempt(|| {
                Ok(request::CopyFileRange {
                    fd_in: source?,
                    offset_in: r.off_in,
                    fd: fd?,
                    offset: r.off_out,
                    len: r.size.into(),
                    flags: r.flag,
                    xdata: r.xdata,
                })
            });
            job.run(Fop::CopyFileRange, subject, request, Next::copy_file_range, &shape::COPIED);
        }),
        procedure::LK => with(job, from, |job, r: LkReq| {
            let fd = job.fd(r.fd, r.gfid);
            let request = attempt(|| {
                let flock = flock(r.kind, r.flock, job.credential.owner)?;
                Ok(request::Lk { fd: fd?, cmd: lk_cmd(r.cmd)?, flock, xdata: r.xdata })
            });
            let waits = matches!(lk_cmd(r.cmd), Ok(LkCmd::SetWait | LkCmd::ReserveWait));
            job.lock(waits, Fop::Lk, r.gfid, request, Next::lk, &shape::LK);
        }),
        procedure::INODELK => with(job, from, |job, r: InodelkReq<'_>| {
            let request = attempt(|| {
                let (loc, cmd) = (object(r.gfid)?, inodelk_cmd(r.cmd)?);
                let flock = flock(r.kind, r.flock, job.credential.owner)?;
                Ok(request::Inodelk { loc, domain: domain(r.volume), cmd, flock, xdata: r.xdata })
            });
            let waits = r.cmd == LOCK_WAIT;
            job.lock(waits, Fop::Inodelk, r.gfid, request, Next::inodelk, &shape::DONE);
        }),
        procedure::FINODELK => with(job, from, |job, r: FinodelkReq<'_>| {
            let fd = job.fd(r.fd, r.gfid);
            let request = attempt(|| {
                let (fd, cmd) = (fd?, inodelk_cmd(r.cmd)?);
                let flock = flock(r.kind, r.flock, job.credential.owner)?;
                Ok(request::Finodelk { fd, domain: domain(r.volume), cmd, flock, xdata: r.xdata })
            });
            let waits = r.cmd == LOCK_WAIT;
            job.lock(waits, Fop::Finodelk, r.gfid, request, Next::finodelk, &shape::DONE);
        }),
        procedure::ENTRYLK => with(job, from, |job, r: EntrylkReq<'_>| {
            let request = attempt(|| {
                let (cmd, kind) = (entrylk_cmd(r.cmd)?, entrylk_kind(r.kind)?);
                let (loc, name) = (object(r.gfid)?, locked_name(r.namelen, r.name)?);
                Ok(request::Entrylk { loc, domain: domain(r.volume), name, cmd, kind, xdata: r.xdata })
            });
            let waits = matches!(entrylk_cmd(r.cmd), Ok(EntrylkCmd::Lock));
            job.lock(waits, Fop::Entrylk, r.gfid, request, Next::entrylk, &shape::DONE);
        }),
        procedure::FENTRYLK => with(job, from, |job, r: FentrylkReq<'_>| {
            let fd = job.fd(r.fd, r.gfid);
            let request = attempt(|| {
                let (cmd, kind) = (entrylk_cmd(r.cmd)?, entrylk_kind(r.kind)?);
                let (fd, name) = (fd?, locked_name(r.namelen, r.name)?);
                Ok(request::Fentrylk { fd, domain: domain(r.volume), name, cmd, kind, xdata: r.xdata })
            });
            let waits = matches!(entrylk_cmd(r.cmd), Ok(EntrylkCmd::Lock));
            job.lock(waits, Fop::Fentrylk, r.gfid, request, Next::fentrylk, &shape::DONE);
        }),
        procedure::WRITE => with_payload(
            job,
            from,
            separate,
            |r: &WriteReq| r.size,
            |job, r, data| {
                let fd = job.fd_for(r.fd, r.gfid, r.flag, true);
                let request = attempt(|| {
                    Ok(request::Writev { fd: fd?, data, offset: r.offset, flags: r.flag, xdata: r.xdata })
                });
                job.run(Fop::Writev, r.gfid, request, Next::writev, &shape::WRITTEN);
            },
        ),
        procedure::PUT => with_payload(
            job,
            from,
            separate,
            |r: &PutReq<'_>| r.size,
            |job, r, data| {
                let request = attempt(|| {
                    let loc = entry(r.pargfid, r.bname)?;
                    let (mode, umask, flags) = (r.mode, r.umask, open_flags(r.flag));
                    let xattrs = r.xattr.into_dict().unwrap_or_default();
                    Ok(request::Put {
                        loc,
                        mode,
                        umask,
                        flags,
                        data,
                        offset: r.offset,
                        xattrs,
                        xdata: r.xdata,
                    })
                });
                job.run(Fop::Put, r.pargfid, request, Next::put, &shape::MADE);
            },
        ),
        procedure::OPEN => with(job, from, |job, r: OpenReq| {
            let flags = open_flags(r.flags);
            let fd = Fd::file(r.gfid, flags, job.credential.pid);
            job.open(
                Fop::Open,
                r.gfid,
                fd,
                move |fd| Ok(request::Open { loc: object(r.gfid)?, flags, fd, xdata: r.xdata }),
                Next::open,
            );
        }),
        procedure::OPENDIR => with(job, from, |job, r: OpendirReq| {
            let fd = Fd::directory(r.gfid, job.credential.pid);
            job.open(
                Fop::Opendir,
                r.gfid,
                fd,
                move |fd| Ok(request::Opendir { loc: object(r.gfid)?, fd, xdata: r.xdata }),
                Next::opendir,
            );
        }),
        procedure::CREATE => with(job, from, |job, r: CreateReq<'_>| job.create(r)),
        procedure::RELEASE => with(job, from, |job, r: ReleaseReq| job.release(r.fd)),
        procedure::RELEASEDIR => with(job, from, |job, r: ReleasedirReq| job.release(r.fd)),
        // COMPOUND, which died before 4.0.
        49 => job.ticket.refuse(Accept::GarbageArguments),
        _ => job.ticket.refuse(Accept::ProcedureUnavailable),
    }
}

/// SETLKW of the internal locks.
const LOCK_WAIT: u32 = 2;

/// A dictionary without which the fop makes no sense.
fn there(dict: Xdata) -> Result<Dict, Errno> {
    dict.into_dict().ok_or(Errno::INVAL)
}

fn xattrop(number: u32) -> Result<XattropOp, Errno> {
    XattropOp::from_number(number).ok_or(Errno::INVAL)
}

const fn seek_what(number: i32) -> Result<SeekWhat, Errno> {
    match number {
        0 => Ok(SeekWhat::Data),
        1 => Ok(SeekWhat::Hole),
        _ => Err(Errno::INVAL),
    }
}

fn active_locks(locks: Vec<LockEntry<'_>>) -> Vec<ActiveLock> {
    let own = |lock: LockEntry<'_>| ActiveLock {
        flock: lock.flock,
        client: domain(lock.client),
        flags: lock.flags,
    };
    locks.into_iter().map(own).collect()
}

impl Job<'_> {
    fn lock<R: 'static, P: 'static>(
        self,
        waits: bool,
        fop: Fop,
        subject: Gfid,
        request: Result<R, Errno>,
        wind: Wind<R, P>,
        shape: &'static Shape<P>,
    ) {
        if waits {
            self.run_waiting(fop, subject, request, wind, shape);
        } else {
            self.run(fop, subject, request, wind, shape);
        }
    }

    /// Opens a file or directory. The number is given before the open, when nothing has happened yet.
    fn open<R: 'static>(
        self,
        fop: Fop,
        gfid: Gfid,
        fd: FdRef,
        make: impl FnOnce(FdRef) -> Result<R, Errno>,
        wind: Wind<R, reply::Done>,
    ) {
        let request = make(FdRef::clone(&fd));
        let reserved = request.and_then(|request| Ok((request, Reserved::new(&self, &fd)?)));
        match reserved {
            Ok((request, reserved)) => self.launch(fop, gfid, false, move |task| async move {
                match wind(&task.brick.next, &task.call, request).await {
                    Ok(reply) => shape::opened(reserved.keep(), reply.xdata, &task.ticket),
                    Err(error) => shape::fail_open(error, &task.ticket),
                }
            }),
            Err(errno) => shape::fail_open(errno.into(), &self.ticket),
        }
    }

    fn create(self, r: CreateReq<'_>) {
        let flags = open_flags(r.flags);
        let fd = Fd::file(Gfid::NULL, flags, self.credential.pid);
        let request = attempt(|| {
            let (loc, fd) = (entry(r.pargfid, r.bname)?, FdRef::clone(&fd));
            Ok(request::Create { loc, flags, mode: r.mode, umask: r.umask, fd, xdata: r.xdata })
        });
        let reserved = request.and_then(|request| Ok((request, Reserved::new(&self, &fd)?)));
        match reserved {
            Ok((request, reserved)) => self.launch(Fop::Create, r.pargfid, false, move |task| async move {
                match task.brick.next.create(&task.call, request).await {
                    Ok(reply) => shape::created(reserved.keep(), reply, &task.ticket),
                    Err(error) => shape::fail_create(error, &task.ticket),
                }
            }),
            Err(errno) => shape::fail_create(errno.into(), &self.ticket),
        }
    }

    /// Closes a descriptor. A number that is not known is as good as closed.
    fn release(self, number: i64) {
        let connection = &self.ticket.connection;
        if let Some(fd) = u64::try_from(number).ok().and_then(|number| connection.fds.remove(number)) {
            connection.door.graph.release(&fd);
        }
        shape::done(&self.ticket);
    }
}

/// A number for a descriptor that is about to be opened, given back unless that succeeds.
struct Reserved {
    connection: Rc<Connection>,
    number: Option<u64>,
}

impl Reserved {
    fn new(job: &Job<'_>, fd: &FdRef) -> Result<Self, Errno> {
        let connection = Rc::clone(&job.ticket.connection);
        let number = Some(connection.fds.insert(FdRef::clone(fd))?);
        Ok(Self { connection, number })
    }

    /// It is open: the number is the client's.
    fn keep(mut self) -> u64 {
        self.number.take().unwrap_or(u64::MAX)
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if let Some(number) = self.number.take() {
            self.connection.fds.remove(number);
        }
    }
}
