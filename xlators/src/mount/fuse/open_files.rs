//! What is open through a mount: by the number that the kernel holds, and by object.
//!
//! Some requests about an open file name only its inode (fstat, fchmod, fsetxattr …). Once the file has lost its last name
//! nothing but its descriptors leads to it, so those are found by gfid too.

use std::sync::{Mutex, MutexGuard, PoisonError};

use hashbrown::HashMap;
use kiln_uring::Errno;

use crate::fd::{FdRef, FdTable};
use crate::types::Gfid;

const SHARDS: usize = 16;
/// The access mode in `O_*` flags; 0 is read-only.
const O_ACCMODE: u32 = 3;

#[derive(Debug)]
pub(super) struct OpenFiles {
    table: FdTable,
    by_gfid: [Mutex<HashMap<Gfid, Vec<u64>>>; SHARDS],
}

/// A number for a descriptor that is about to be opened. It is given back unless the open succeeds.
#[derive(Debug)]
#[must_use]
pub(super) struct Reserved<'a> {
    files: &'a OpenFiles,
    number: Option<u64>,
}

impl Reserved<'_> {
    /// The descriptor is open; the number is the kernel's from now on.
    pub(super) fn keep(mut self, fd: &FdRef) -> u64 {
        let number = self.number.take().unwrap_or(u64::MAX);
        self.files.shard(fd.gfid()).entry(fd.gfid()).or_default().push(number);
        number
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number.take() {
            self.files.table.remove(number);
        }
    }
}

/// Whether the descriptor can change its file's length.
pub(super) fn is_writable(fd: &FdRef) -> bool {
    fd.flags() & O_ACCMODE != 0
}

impl OpenFiles {
    pub(super) fn new(limit: usize) -> Self {
        Self { table: FdTable::new(limit), by_gfid: Default::default() }
    }

    /// A number for `fd`, before it is opened: when there is none left, nothing has happened yet.
    pub(super) fn reserve(&self, fd: &FdRef) -> Result<Reserved<'_>, Errno> {
        let number = self.table.insert(FdRef::clone(fd))?;
        Ok(Reserved { files: self, number: Some(number) })
    }

    /// The descriptor of a number.
    pub(super) fn get(&self, number: u64) -> Result<FdRef, Errno> {
        self.table.get(number)
    }

    /// A descriptor of that object, writable if need be.
    pub(super) fn find(&self, gfid: Gfid, writable: bool) -> Option<FdRef> {
        let numbers = self.shard(gfid).get(&gfid)?.clone();
        let mut found = numbers.iter().rev().filter_map(|number| self.table.get(*number).ok());
        found.find(|fd| !writable || is_writable(fd))
    }

    /// The kernel gives a number back.
    pub(super) fn remove(&self, number: u64) -> Option<FdRef> {
        let fd = self.table.remove(number)?;
        let mut shard = self.shard(fd.gfid());
        if let Some(numbers) = shard.get_mut(&fd.gfid()) {
            if let Some(at) = numbers.iter().rposition(|known| *known == number) {
                numbers.swap_remove(at);
            }
            if numbers.is_empty() {
                shard.remove(&fd.gfid());
            }
        }
        drop(shard);
        Some(fd)
    }

    /// Takes everything out: the kernel is gone.
    pub(super) fn drain(&self) -> Vec<FdRef> {
        self.by_gfid.iter().for_each(|shard| lock(shard).clear());
        self.table.drain()
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    fn shard(&self, gfid: Gfid) -> MutexGuard<'_, HashMap<Gfid, Vec<u64>>> {
        lock(&self.by_gfid[usize::from(gfid.as_bytes()[15]) % SHARDS])
    }
}

fn lock(shard: &Mutex<HashMap<Gfid, Vec<u64>>>) -> MutexGuard<'_, HashMap<Gfid, Vec<u64>>> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fd::Fd;

    const O_RDWR: u32 = 2;

    #[test]
    fn descriptors_are_found_by_object_while_they_are_open() {
        let files = OpenFiles::new(10);
        let gfid = Gfid::from_bytes([9; 16]);
        let open = |flags| {
            let fd = Fd::file(gfid, flags, 1);
            files.reserve(&fd).unwrap().keep(&fd)
        };
        let (reader, writer) = (open(0), open(O_RDWR));
        assert!(is_writable(&files.find(gfid, true).unwrap()));
        assert!(files.remove(writer).is_some());
        assert!(files.find(gfid, true).is_none());
        assert!(files.find(gfid, false).is_some());
        files.remove(reader);
        assert!(files.find(gfid, false).is_none());
        assert!(files.remove(reader).is_none());
        assert_eq!(files.len(), 0);
    }

    #[test]
    fn a_failed_open_gives_its_number_back() {
        let files = OpenFiles::new(1);
        let fd = Fd::file(Gfid::ROOT, 0, 1);
        drop(files.reserve(&fd).unwrap());
        let kept = files.reserve(&fd).unwrap().keep(&fd);
        assert_eq!(files.reserve(&fd).unwrap_err(), Errno::MFILE);
        assert!(files.get(kept).is_ok());
        assert_eq!(files.drain().len(), 1);
        assert!(files.find(Gfid::ROOT, false).is_none());
    }
}
