//! File handles: the number of an object and the generation that tells it from others that had the number before.

use super::state::State;
use super::walk::Walk;
use crate::sys::{Errno, OpenFlags, RawFd, Resolve, SysResult};

/// Handle type, one that no real file system uses.
const KIND: u32 = 0x4b;
/// Type, number, generation.
const LEN: usize = 4 + 8 + 4;

impl State {
    pub fn name_to_handle(&mut self, dir: RawFd, path: &[u8]) -> SysResult<Vec<u8>> {
        let ino = match path {
            b"" => self.open_file(dir)?.ino,
            path => Walk::new(self, dir, path, Resolve::empty())?.resolve(self, false)?,
        };
        let mut handle = Vec::with_capacity(LEN);
        handle.extend_from_slice(&KIND.to_ne_bytes());
        handle.extend_from_slice(&ino.to_ne_bytes());
        handle.extend_from_slice(&self.meta(ino)?.generation.to_ne_bytes());
        Ok(handle)
    }

    pub fn open_by_handle(&mut self, mount: RawFd, handle: &[u8], flags: OpenFlags) -> SysResult<RawFd> {
        if mount != libc::AT_FDCWD {
            self.open_file(mount)?;
        }
        // No bytes, or more than the kernel allows.
        if handle.len() <= 4 || handle.len() > 4 + 128 {
            return Err(Errno::INVAL);
        }
        let (kind, rest) = handle.split_first_chunk().ok_or(Errno::INVAL)?;
        let (ino, generation) = rest.split_first_chunk().ok_or(Errno::STALE)?;
        let generation = generation.try_into().map_err(|_| Errno::STALE)?;
        let (ino, generation) = (u64::from_ne_bytes(*ino), u32::from_ne_bytes(generation));
        if u32::from_ne_bytes(*kind) != KIND {
            return Err(Errno::STALE);
        }
        let meta = self.meta(ino).map_err(|_| Errno::STALE)?;
        if meta.generation != generation || meta.nlink == 0 {
            return Err(Errno::STALE);
        }
        if flags.contains(OpenFlags::DIRECTORY) && meta.kind() != libc::S_IFDIR {
            return Err(Errno::NOTDIR);
        }
        if flags.contains(OpenFlags::PATH) {
            return self.install(ino, flags);
        }
        if meta.kind() == libc::S_IFLNK {
            return Err(Errno::LOOP);
        }
        self.open_object(ino, meta.kind(), flags)
    }
}
