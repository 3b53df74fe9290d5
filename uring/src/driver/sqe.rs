//! Requests as submission queue entries.

use std::mem::MaybeUninit;
use std::sync::Arc;

use io_uring::opcode as op;
use io_uring::squeue::Entry;
use io_uring::types::{Fd, FsyncFlags};

use crate::buf::{Arena, Buf};
use crate::op::{Request, StatOut};

/// Most bytes that Linux moves in one call.
const MOST: usize = 0x7fff_f000;
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
    }
}

fn length(len: usize) -> u32 {
    u32::try_from(len.min(MOST)).expect("MOST fits")
}

fn fixed(buf: &Buf, arena: Option<&Arc<Arena>>) -> bool {
    arena.is_some_and(|arena| buf.belongs_to(arena))
}

/// The entry for a request. Its pointers lead to memory that the request owns and that does not move when the request
/// does: buffers, paths, boxes. `arena` is the region registered with the ring as buffer 0.
pub(super) fn entry(request: &mut Request, arena: Option<&Arc<Arena>>) -> Entry {
    match request {
        Request::Read { file, buf, from, offset } => {
            let registered = fixed(buf, arena);
            let rest = &mut buf[*from..];
            let (fd, to, len) = (Fd(file.fd()), rest.as_mut_ptr(), length(rest.len()));
            if registered {
                op::ReadFixed::new(fd, to, len, 0).offset(*offset).build()
            } else {
                op::Read::new(fd, to, len).offset(*offset).build()
            }
        }
        Request::Write { file, buf, from, offset } => {
            let registered = fixed(buf, arena);
            let rest = &buf[*from..];
            let (fd, at, len) = (Fd(file.fd()), rest.as_ptr(), length(rest.len()));
            if registered {
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
    }
}
