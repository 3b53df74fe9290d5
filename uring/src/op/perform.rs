//! Operations as plain system calls: on a simulated kernel, and where the kernel lacks an opcode.

use std::io::IoSlice;

use super::{Request, StatOut};
use crate::net::rest;
use crate::sys::{Errno, ReadFlags, Sys, SysResult, XattrTarget};

fn count(n: usize) -> SysResult<u32> {
    u32::try_from(n).map_err(|_| Errno::OVERFLOW)
}

impl Request {
    /// Does it now, on this thread.
    pub(crate) fn perform(&mut self, sys: &dyn Sys) -> SysResult<u32> {
        match self {
            Self::Read { file, buf, from, offset } => {
                sys.pread(file.fd(), &mut buf[*from..], *offset, ReadFlags::empty()).and_then(count)
            }
            Self::Write { file, buf, from, offset } => {
                sys.pwrite(file.fd(), &buf[*from..], *offset).and_then(count)
            }
            Self::Fsync { file, data_only } => sys.fsync(file.fd(), *data_only).map(|()| 0),
            Self::Fallocate { file, mode, offset, len } => {
                sys.fallocate(file.fd(), *mode, *offset, *len).map(|()| 0)
            }
            Self::Truncate { file, len } => sys.ftruncate(file.fd(), *len).map(|()| 0),
            Self::Open { dir, path, how, .. } => sys.openat2(dir.fd(), path, *how).map(i32::cast_unsigned),
            Self::Stat { dir, path, out } => {
                let stat = if path.is_empty() { sys.stat(dir.fd()) } else { sys.stat_at(dir.fd(), path) }?;
                **out = StatOut::Stat(stat);
                Ok(0)
            }
            Self::Mkdir { dir, path, mode } => sys.mkdir_at(dir.fd(), path, *mode).map(|()| 0),
            Self::Unlink { dir, path, flags } => sys.unlink_at(dir.fd(), path, *flags).map(|()| 0),
            Self::Rename { from, to, flags } => {
                sys.rename_at(from.0.fd(), &from.1, to.0.fd(), &to.1, *flags).map(|()| 0)
            }
            Self::Link { from, to } => sys.link_at(from.0.fd(), &from.1, to.0.fd(), &to.1).map(|()| 0),
            Self::Symlink { target, dir, path } => sys.symlink_at(target, dir.fd(), path).map(|()| 0),
            Self::GetXattr { file, name, buf } => {
                sys.getxattr(XattrTarget::Fd(file.fd()), name, buf).and_then(count)
            }
            Self::SetXattr { file, name, value, flags } => {
                sys.setxattr(XattrTarget::Fd(file.fd()), name, value, *flags).map(|()| 0)
            }
            Self::Accept { file, .. } => sys.net().accept(file.fd()).map(i32::cast_unsigned),
            Self::Connect { file, to, .. } => sys.net().connect(file.fd(), to).map(|()| 0),
            Self::Recv { file, buf, from, .. } => {
                sys.net().recv(file.fd(), &mut buf[*from..]).and_then(count)
            }
            // Only drivers that have buffers to pick from submit it.
            Self::Receive { .. } => Err(Errno::OPNOTSUPP),
            // Real kernels only, and only through the ring.
            Self::Readable { .. } | Self::FuseExchange { .. } => Err(Errno::OPNOTSUPP),
            Self::Send { file, parts, done, .. } => {
                let slices: Vec<IoSlice<'_>> = rest(parts, *done).map(IoSlice::new).collect();
                sys.net().send(file.fd(), &slices).and_then(count)
            }
        }
    }
}
