//! From a request to the fop that it means, and back to its answer.

use kiln_uring::Errno;

use super::attr::brick_device;
use super::dirs;
use super::door::Door;
use super::error::of_fop;
use super::files::{self, End};
use super::inodes;
use super::interrupts::interruptible;
use super::locks;
use super::wire::{Listing, Operation, Reply};
use super::{names, reply, xattrs};
use crate::error::FopResult;
use crate::types::LkCmd;

/// Serves `operation` on `node`. The error is what the kernel is told.
pub(super) async fn serve(door: Door, node: u64, operation: Operation) -> Result<Reply, Errno> {
    perform(door, node, operation).await.map_err(|error| of_fop(error.errno))
}

async fn perform(door: Door, node: u64, operation: Operation) -> FopResult<Reply> {
    match operation {
        // Those that come by far the most, each in a state machine of its own size.
        Operation::Read { handle, offset, size, flags } => {
            let fd = door.front().fd(handle)?;
            let read = interruptible(&door, files::read(&door, fd, size, offset, flags));
            Ok(Reply::Data(read.await?))
        }
        Operation::Write { handle, offset, flags, data } => {
            let fd = door.front().fd(handle)?;
            reply::written(files::write(&door, fd, data, offset, flags).await?)
        }
        Operation::Getattr { handle } => {
            let gfid = door.front().gfid(node)?;
            let fd = handle.map(|handle| door.front().fd(handle)).transpose()?;
            let iatt = interruptible(&door, inodes::getattr(&door, gfid, fd)).await?;
            reply::attributes(door.front(), node, &iatt)
        }
        Operation::Lookup { name } => {
            let door = door.with_groups();
            let loc = door.front().entry(node, name)?;
            reply::found(door.front(), interruptible(&door, names::lookup(&door, loc)).await)
        }
        other => Box::pin(serve_rare(door, node, other)).await,
    }
}

async fn serve_rare(door: Door, node: u64, operation: Operation) -> FopResult<Reply> {
    match operation {
        operation @ (Operation::Getlk { .. }
        | Operation::Setlk { .. }
        | Operation::Flush { .. }
        | Operation::Release { .. }
        | Operation::Fsync { .. }
        | Operation::Fsyncdir { .. }
        | Operation::Fallocate { .. }
        | Operation::Lseek { .. }
        | Operation::CopyFileRange { .. }) => on_file(door, operation).await,
        operation => on_node(door.with_groups(), node, operation).await,
    }
}

/// Requests about something open; the kernel asked its caller's rights when it was opened.
async fn on_file(door: Door, operation: Operation) -> FopResult<Reply> {
    match operation {
        Operation::Getlk { handle, owner, range } => {
            let fd = door.front().fd(handle)?;
            let door = door.with_owner(owner);
            let held = interruptible(&door, locks::lock(&door, fd, LkCmd::Get, range)).await?;
            return Ok(Reply::Lock(locks::from_flock(&held)));
        }
        Operation::Setlk { handle, owner, range, wait } => {
            let fd = door.front().fd(handle)?;
            let door = door.with_owner(owner);
            let cmd = if wait { LkCmd::SetWait } else { LkCmd::Set };
            interruptible(&door, locks::lock(&door, fd, cmd, range)).await?;
        }
        Operation::Flush { handle, owner } => {
            let fd = door.front().fd(handle)?;
            files::flush(&door.with_owner(owner), fd).await?;
        }
        Operation::Release { handle } => files::release(&door, handle)?,
        Operation::Fsync { handle, data_only } => {
            let fd = door.front().fd(handle)?;
            files::fsync(&door, fd, data_only).await?;
        }
        Operation::Fsyncdir { handle, data_only } => {
            let fd = door.front().fd(handle)?;
            files::fsyncdir(&door, fd, data_only).await?;
        }
        Operation::Fallocate { handle, offset, len, mode } => {
            let fd = door.front().fd(handle)?;
            files::fallocate(&door, fd, offset, len, mode).await?;
        }
        Operation::Lseek { handle, offset, whence } => {
            let fd = door.front().fd(handle)?;
            let at = interruptible(&door, files::lseek(&door, fd, offset, whence)).await?;
            return Ok(Reply::Offset(at));
        }
        Operation::CopyFileRange { from, to, len, flags } => {
            let end =
                |(handle, offset)| -> FopResult<End> { Ok(End { fd: door.front().fd(handle)?, offset }) };
            // No flags are defined yet; unknown ones are the brick's to refuse.
            let flags = u32::try_from(flags).unwrap_or(u32::MAX);
            return reply::written(files::copy(&door, end(from)?, end(to)?, len, flags).await?);
        }
        _ => return Err(Errno::NOSYS.into()),
    }
    Ok(Reply::Empty)
}

/// Requests about a node or an entry of it.
async fn on_node(door: Door, node: u64, operation: Operation) -> FopResult<Reply> {
    let front = door.front();
    match operation {
        Operation::Setattr(changes) => {
            let gfid = front.gfid(node)?;
            let fd = changes.handle.map(|handle| front.fd(handle)).transpose()?;
            let iatt = inodes::setattr(&door, gfid, fd, changes).await?;
            return reply::attributes(front, node, &iatt);
        }
        Operation::Readlink => {
            let target = interruptible(&door, names::readlink(&door, front.object(node)?)).await?;
            return Ok(Reply::Bytes(target));
        }
        Operation::Symlink { name, target } => {
            let iatt = names::symlink(&door, target, front.entry(node, name)?).await?;
            return reply::entry(front, &iatt);
        }
        Operation::Mknod { name, mode, rdev, umask } => {
            let loc = front.entry(node, name)?;
            let iatt = names::mknod(&door, loc, mode, brick_device(rdev), umask).await?;
            return reply::entry(front, &iatt);
        }
        Operation::Mkdir { name, mode, umask } => {
            let iatt = names::mkdir(&door, front.entry(node, name)?, mode, umask).await?;
            return reply::entry(front, &iatt);
        }
        Operation::Unlink { name } => names::unlink(&door, front.entry(node, name)?).await?,
        Operation::Rmdir { name } => names::rmdir(&door, front.entry(node, name)?).await?,
        Operation::Rename { name, new_parent, new_name, flags } => {
            let (old, new) = (front.entry(node, name)?, front.entry(new_parent, new_name)?);
            names::rename(&door, old, new, flags).await?;
        }
        Operation::Link { node: old, name } => {
            let iatt = names::link(&door, front.object(old)?, front.entry(node, name)?).await?;
            return reply::entry(front, &iatt);
        }
        Operation::Open { flags } => {
            let handle = files::open(&door, front.object(node)?, flags).await?;
            return Ok(Reply::Opened { handle, flags: reply::file_flags(front) });
        }
        Operation::Create { name, flags, mode, umask } => {
            let loc = front.entry(node, name)?;
            let (iatt, handle) = files::create(&door, loc, flags, mode, umask).await?;
            return match front.tell(&iatt) {
                Ok(entry) => Ok(Reply::Created { entry, handle, flags: reply::file_flags(front) }),
                Err(errno) => {
                    // Nobody will ever close it.
                    let _ = files::release(&door, handle);
                    Err(errno.into())
                }
            };
        }
        Operation::Opendir => {
            let handle = files::opendir(&door, front.object(node)?).await?;
            return Ok(Reply::Opened { handle, flags: 0 });
        }
        Operation::Readdir { handle, offset, size, plus } => {
            let fd = front.fd(handle)?;
            return dirs::list(&door, fd, offset, Listing::new(size, plus)).await;
        }
        Operation::Statfs => {
            let of = interruptible(&door, inodes::statfs(&door, front.object(node)?)).await?;
            return Ok(reply::statfs(&of));
        }
        Operation::Setxattr { name, value, flags } => {
            xattrs::set(&door, front.gfid(node)?, name, value, flags).await?;
        }
        Operation::Getxattr { name, size } => {
            let value = interruptible(&door, xattrs::get(&door, front.gfid(node)?, name)).await?;
            return xattrs::answer(value, size);
        }
        Operation::Listxattr { size } => {
            let names = interruptible(&door, xattrs::list(&door, front.gfid(node)?)).await?;
            return xattrs::answer(names, size);
        }
        Operation::Removexattr { name } => xattrs::remove(&door, front.gfid(node)?, name).await?,
        Operation::Access { mask } => inodes::access(&door, front.object(node)?, mask).await?,
        Operation::Destroy => {}
        _ => return Err(Errno::NOSYS.into()),
    }
    Ok(Reply::Empty)
}
