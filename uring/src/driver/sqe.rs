//! Requests as submission queue entries.

use std::mem::MaybeUninit;
use std::ptr::null_mut;

use io_uring::opcode as op;
use io_uring::squeue::{Entry, Entry128, Flags};
use io_uring::types::{Fd, FsyncFlags};

use super::provided::GROUP;
use crate::buf::RECEIVE_SIZE;
use crate::op::{Request, StatOut};

/// Most bytes that Linux moves in one call.
const MOST: usize = 0x7fff_f000;
/// `EPOLLIN | EPOLLEXCLUSIVE`.
const EXCLUSIVE_INPUT: u32 = (libc::EPOLLIN | libc::EPOLLEXCLUSIVE).cast_unsigned();
/// `STATX_BASIC_STATS`.
const BASIC_STATS: u32 = 0x7ff;

/// The opcode of a request, for asking whether the kernel has it.
pub(super) const fn opcode(request: &Request) -> u8 {
    match request {
        Request::Read { .. } => op::Read::CODE,
        Request::Write { .. } => op::Write::CODE,
        Request::Fsync { .. } => op::Fsync::CODE,
        Request::Fallocate { .. } => op::Fallocate::CODE,
        Request::Truncate { .. } => op::Ftruncate::CODE,
        Request::Open { .. } => op::OpenAt2::CODE,
        Request::Stat { .. } => op::Statx::CODE,
        Request::Mkdir { .. } => op::MkDirAt::CODE,
        Request::Unlink { .. } => op::UnlinkAt::CODE,
        Request::Rename { .. } => op::RenameAt::CODE,
        Request::Link { .. } => op::LinkAt::CODE,
        Request::Symlink { .. } => op::SymlinkAt::CODE,
        Request::GetXattr { .. } => op::FGetXattr::CODE,
        Request::SetXattr { .. } => op::FSetXattr::CODE,
        Request::Accept { .. } => op::Accept::CODE,
        Request::Connect { .. } => op::Connect::CODE,
        Request::Recv { .. } | Request::Receive { .. } => op::Recv::CODE,
        Request::Send { .. } => op::SendMsg::CODE,
        Request::Readable { .. } => op::PollAdd::CODE,
        Request::FuseExchange { .. } => op::UringCmd80::CODE,
    }
}

fn length(len: usize) -> u32 {
    u32::try_from(len.min(MOST)).expect("MOST fits")
}

/// The entry for a request, see [`plain`].
pub(super) fn entry(request: &mut Request, fixed: bool) -> Entry128 {
    match request {
        Request::FuseExchange { slot } => slot.entry(),
        request => plain(request, fixed).into(),
    }
}

/// The short entry for a request that needs no more. Its pointers lead to memory that the request owns and that does not move when the request
/// does: buffers, paths, boxes. `fixed` tells that its buffer lies in the memory registered with the ring as buffer 0.
fn plain(request: &mut Request, fixed: bool) -> Entry {
    match request {
        Request::Read { file, buf, from, offset } => {
            let rest = &mut buf[*from..];
            let (fd, to, len) = (Fd(file.fd()), rest.as_mut_ptr(), length(rest.len()));
            if fixed {
                op::ReadFixed::new(fd, to, len, 0).offset(*offset).build()
            } else {
                op::Read::new(fd, to, len).offset(*offset).build()
            }
        }
        Request::Write { file, buf, from, offset } => {
            let rest = &buf[*from..];
            let (fd, at, len) = (Fd(file.fd()), rest.as_ptr(), length(rest.len()));
            if fixed {
                op::WriteFixed::new(fd, at, len, 0).offset(*offset).build()
            } else {
                op::Write::new(fd, at, len).offset(*offset).build()
            }
        }
        Request::Fsync { file, data_only } => {
            let flags = if *data_only { FsyncFlags::DATASYNC } else { FsyncFlags::empty() };
            op::Fsync::new(Fd(file.fd())).flags(flags).build()
        }
        Request::Fallocate { file, mode, offset, len } => {
            op::Fallocate::new(Fd(file.fd()), *len).offset(*offset).mode(mode.cast_signed()).build()
        }
        Request::Truncate { file, len } => op::Ftruncate::new(Fd(file.fd()), *len).build(),
        Request::Open { dir, path, raw, .. } => {
            op::OpenAt2::new(Fd(dir.fd()), path.as_ptr(), &raw const **raw).build()
        }
        Request::Stat { dir, path, out } => {
            // SAFETY: statx is a record of integers, for which all zeroes is a value.
            **out = StatOut::Raw(unsafe { MaybeUninit::<libc::statx>::zeroed().assume_init() });
            let StatOut::Raw(raw) = &mut **out else { unreachable!("just set") };
            op::Statx::new(Fd(dir.fd()), path.as_ptr(), (&raw mut *raw).cast())
                .flags(libc::AT_EMPTY_PATH | libc::AT_SYMLINK_NOFOLLOW)
                .mask(BASIC_STATS)
                .build()
        }
        Request::Mkdir { dir, path, mode } => {
            op::MkDirAt::new(Fd(dir.fd()), path.as_ptr()).mode(*mode).build()
        }
        Request::Unlink { dir, path, flags } => {
            op::UnlinkAt::new(Fd(dir.fd()), path.as_ptr()).flags(flags.bits().cast_signed()).build()
        }
        Request::Rename { from, to, flags } => {
            op::RenameAt::new(Fd(from.0.fd()), from.1.as_ptr(), Fd(to.0.fd()), to.1.as_ptr())
                .flags(flags.bits())
                .build()
        }
        Request::Link { from, to } => {
            op::LinkAt::new(Fd(from.0.fd()), from.1.as_ptr(), Fd(to.0.fd()), to.1.as_ptr()).build()
        }
        Request::Symlink { target, dir, path } => {
            op::SymlinkAt::new(Fd(dir.fd()), target.as_ptr(), path.as_ptr()).build()
        }
        Request::GetXattr { file, name, buf } => {
            let len = length(buf.len());
            op::FGetXattr::new(Fd(file.fd()), name.as_ptr(), buf.as_mut_ptr().cast(), len).build()
        }
        Request::SetXattr { file, name, value, flags } => {
            let len = length(value.len());
            op::FSetXattr::new(Fd(file.fd()), name.as_ptr(), value.as_ptr().cast(), len)
                .flags(flags.bits().cast_signed())
                .build()
        }
        Request::Accept { file, many } => {
            let (fd, flags) = (Fd(file.fd()), libc::SOCK_CLOEXEC);
            if *many {
                op::AcceptMulti::new(fd).flags(flags).build()
            } else {
                op::Accept::new(fd, null_mut(), null_mut()).flags(flags).build()
            }
        }
        Request::Connect { file, raw, .. } => {
            op::Connect::new(Fd(file.fd()), raw.as_ptr().cast(), raw.addr_len()).build()
        }
        Request::Recv { file, buf, from, all } => {
            let rest = &mut buf[*from..];
            let flags = if *all { libc::MSG_WAITALL } else { 0 };
            op::Recv::new(Fd(file.fd()), rest.as_mut_ptr(), length(rest.len())).flags(flags).build()
        }
        Request::Receive { file, many, .. } => {
            let fd = Fd(file.fd());
            if *many {
                op::RecvMulti::new(fd, GROUP).build()
            } else {
                let one = op::Recv::new(fd, null_mut(), length(RECEIVE_SIZE)).buf_group(GROUP);
                one.build().flags(Flags::BUFFER_SELECT)
            }
        }
        Request::Readable { file } => op::PollAdd::new(Fd(file.fd()), EXCLUSIVE_INPUT).build(),
        Request::FuseExchange { .. } => unreachable!("it needs a long entry"),
        Request::Send { file, parts, done, raw } => {
            let fd = Fd(file.fd());
            let header = &raw const *raw.point(parts, *done);
            // Linux 5.19 sends the whole by itself then; the sender sees to it anyway.
            let flags = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
            match raw.single() {
                Some((bytes, len)) => op::Send::new(fd, bytes, length(len)).flags(flags).build(),
                None => op::SendMsg::new(fd, header).flags(flags.cast_unsigned()).build(),
            }
        }
    }
}
