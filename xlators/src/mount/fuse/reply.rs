//! From what a fop found to what the kernel is told.

use fuser::FopenFlags;
use kiln_uring::{Errno, StatFs};

use super::attr;
use super::front::Front;
use super::wire::{Attr, EntryOut, Kstatfs, Reply};
use crate::error::FopResult;
use crate::types::Iatt;

/// A new or found entry, which the kernel counts from now on.
pub(super) fn entry(front: &Front, iatt: &Iatt) -> FopResult<Reply> {
    Ok(Reply::Entry(front.tell(iatt)?))
}

/// A looked-up entry, whose absence the kernel may remember too: as node 0.
pub(super) fn found(front: &Front, result: FopResult<Iatt>) -> FopResult<Reply> {
    let keep = front.config.negative_timeout;
    match result {
        Err(error) if error.errno == Errno::NOENT && !keep.is_zero() => {
            let attr = Attr::default();
            Ok(Reply::Entry(EntryOut { node: 0, generation: 0, keep_name: keep, keep_attr: keep, attr }))
        }
        result => entry(front, &result?),
    }
}

/// The attributes of a node.
pub(super) fn attributes(front: &Front, node: u64, iatt: &Iatt) -> FopResult<Reply> {
    let attr = attr::attr(iatt, node).ok_or(Errno::IO)?;
    Ok(Reply::Attr { keep: front.config.attr_timeout, attr })
}

/// How the kernel treats an open file.
pub(super) fn file_flags(front: &Front) -> u32 {
    let mut flags = FopenFlags::FOPEN_PARALLEL_DIRECT_WRITES;
    flags.set(FopenFlags::FOPEN_DIRECT_IO, front.config.direct_io);
    flags.set(FopenFlags::FOPEN_KEEP_CACHE, front.config.keep_cache);
    flags.set(FopenFlags::FOPEN_NOFLUSH, !front.offers.flush);
    flags.bits()
}

/// A count of bytes.
pub(super) fn written(count: usize) -> FopResult<Reply> {
    Ok(Reply::Written(u32::try_from(count).map_err(|_| Errno::IO)?))
}

/// Space of the volume.
pub(super) fn statfs(of: &StatFs) -> Reply {
    let small = |value: u64, otherwise| u32::try_from(value).unwrap_or(otherwise);
    Reply::Statfs(Kstatfs {
        blocks: of.blocks,
        bfree: of.bfree,
        bavail: of.bavail,
        files: of.files,
        ffree: of.ffree,
        bsize: small(of.bsize, 4096),
        namelen: small(of.namemax, 255),
        frsize: small(of.frsize, 4096),
        ..Kstatfs::default()
    })
}
