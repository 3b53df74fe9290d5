//! From a fop's result to the answer that the kernel gets.

use fuser::{
    FileHandle, FopenFlags, Generation, ReplyAttr, ReplyCreate, ReplyData, ReplyEmpty, ReplyEntry,
    ReplyLseek, ReplyOpen, ReplyWrite,
};
use kiln_uring::Errno;

use super::attr;
use super::error::to_fuse;
use super::front::Front;
use crate::error::FopResult;
use crate::types::Iatt;

/// Nothing but success or failure.
pub(super) fn empty(reply: ReplyEmpty, result: FopResult<()>) {
    match result {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(to_fuse(error.errno)),
    }
}

/// A new or found entry.
pub(super) fn entry(front: &Front, reply: ReplyEntry, result: FopResult<Iatt>) {
    let told = result.map_err(|error| error.errno).and_then(|iatt| front.tell(&iatt));
    match told {
        Ok((attr, generation)) => {
            let config = &front.config;
            reply.entry_with_ttls(&config.attr_timeout, &config.entry_timeout, &attr, Generation(generation));
        }
        Err(errno) => reply.error(to_fuse(errno)),
    }
}

/// A looked-up entry, whose absence the kernel may remember too: as node 0.
pub(super) fn found(front: &Front, reply: ReplyEntry, result: FopResult<Iatt>) {
    let keep = front.config.negative_timeout;
    match result {
        Err(error) if error.errno == Errno::NOENT && !keep.is_zero() => {
            let mut nobody = attr::unknown_attr(fuser::FileType::RegularFile);
            nobody.ino = fuser::INodeNo(0);
            nobody.size = 0;
            reply.entry_with_ttls(&keep, &keep, &nobody, Generation(0));
        }
        result => entry(front, reply, result),
    }
}

/// The attributes of a node.
pub(super) fn attributes(front: &Front, node: u64, reply: ReplyAttr, result: FopResult<Iatt>) {
    match result.map(|iatt| attr::file_attr(&iatt, node)) {
        Ok(Some(attr)) => reply.attr(&front.config.attr_timeout, &attr),
        Ok(None) => reply.error(fuser::Errno::EIO),
        Err(error) => reply.error(to_fuse(error.errno)),
    }
}

/// How the kernel treats an open file.
pub(super) fn file_flags(front: &Front) -> FopenFlags {
    let mut flags = FopenFlags::FOPEN_PARALLEL_DIRECT_WRITES;
    flags.set(FopenFlags::FOPEN_DIRECT_IO, front.config.direct_io);
    flags.set(FopenFlags::FOPEN_KEEP_CACHE, front.config.keep_cache);
    flags.set(FopenFlags::FOPEN_NOFLUSH, !front.offers.flush);
    flags
}

/// An opened file or directory.
pub(super) fn opened(reply: ReplyOpen, result: FopResult<u64>, flags: FopenFlags) {
    match result {
        Ok(handle) => reply.opened(FileHandle(handle), flags),
        Err(error) => reply.error(to_fuse(error.errno)),
    }
}

/// A made and opened file. The answer is `Err` with the handle when the kernel could not be told.
pub(super) fn created(front: &Front, reply: ReplyCreate, result: FopResult<(Iatt, u64)>) -> Result<(), u64> {
    let (iatt, handle) = match result {
        Ok(made) => made,
        Err(error) => {
            reply.error(to_fuse(error.errno));
            return Ok(());
        }
    };
    match front.tell(&iatt) {
        Ok((attr, generation)) => {
            let keep = front.both_timeout();
            reply.created(&keep, &attr, Generation(generation), FileHandle(handle), file_flags(front));
            Ok(())
        }
        Err(errno) => {
            reply.error(to_fuse(errno));
            Err(handle)
        }
    }
}

/// Bytes.
pub(super) fn data(reply: ReplyData, result: FopResult<impl AsRef<[u8]>>) {
    match result {
        Ok(bytes) => reply.data(bytes.as_ref()),
        Err(error) => reply.error(to_fuse(error.errno)),
    }
}

/// A count of bytes.
pub(super) fn written(reply: ReplyWrite, result: FopResult<usize>) {
    match result.map(u32::try_from) {
        Ok(Ok(count)) => reply.written(count),
        Ok(Err(_)) => reply.error(fuser::Errno::EIO),
        Err(error) => reply.error(to_fuse(error.errno)),
    }
}

/// An offset.
pub(super) fn offset(reply: ReplyLseek, result: FopResult<u64>) {
    match result.map(i64::try_from) {
        Ok(Ok(offset)) => reply.offset(offset),
        Ok(Err(_)) => reply.error(fuser::Errno::EOVERFLOW),
        Err(error) => reply.error(to_fuse(error.errno)),
    }
}
