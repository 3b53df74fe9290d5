//! Calls on the data of an open file.

use std::sync::Arc;

use super::data::MAX_SIZE;
use super::state::{Open, State};
use crate::sys::{Errno, OpenFlags, RawFd, ReadFlags, SeekFrom, SharedWords, SysResult};

/// What offset and length of direct I/O must be multiples of.
const SECTOR: u64 = 512;

impl State {
    /// Pages that may still be taken.
    const fn room(&self) -> u64 {
        self.limits.pages.saturating_sub(self.used_pages)
    }

    /// Changes the data of a file and keeps count of its pages.
    fn with_data<T>(&mut self, ino: u64, f: impl FnOnce(&mut super::data::Data, u64) -> T) -> SysResult<T> {
        let room = self.room();
        let data = self.live.data_mut(ino)?;
        let before = data.page_count();
        let out = f(data, room);
        let after = data.page_count();
        self.used_pages = (self.used_pages + after).saturating_sub(before);
        Ok(out)
    }

    /// After a change of the data: times, file capabilities, and `O_SYNC`.
    fn written(&mut self, open: Option<Open>, ino: u64) -> SysResult<()> {
        self.touch_content(ino)?;
        self.drop_capabilities(ino)?;
        if open.is_some_and(|open| open.flags.intersects(OpenFlags::DSYNC | OpenFlags::SYNC)) {
            self.commit();
            self.sync_inode(ino);
        }
        Ok(())
    }

    /// A descriptor that is to be read or written (`allowed` tells whether it may be) at a position.
    fn seekable(&self, open: Open, offset: u64, allowed: bool) -> SysResult<()> {
        i64::try_from(offset).map_err(|_| Errno::INVAL)?;
        match self.meta(open.ino)?.kind() {
            libc::S_IFREG | libc::S_IFDIR if !allowed => Err(Errno::BADF),
            libc::S_IFREG => Ok(()),
            libc::S_IFDIR => Err(Errno::ISDIR),
            _ => Err(Errno::SPIPE),
        }
    }

    pub fn pread(&mut self, fd: RawFd, buf: &mut [u8], offset: u64, flags: ReadFlags) -> SysResult<usize> {
        if !ReadFlags::all().contains(flags) {
            return Err(Errno::OPNOTSUPP);
        }
        let open = self.real_file(fd)?;
        self.seekable(open, offset, open.reads())?;
        check_direct(open, offset, buf.len())?;
        if !flags.contains(ReadFlags::NOWAIT) {
            self.cold_data.remove(&open.ino);
        } else if self.cold_data.contains(&open.ino) {
            return Err(Errno::AGAIN);
        }
        let read = self.live.data(open.ino)?.read(offset, buf);
        if !buf.is_empty() && !open.flags.contains(OpenFlags::NOATIME) {
            self.touch_access(open.ino)?;
        }
        Ok(read)
    }

    pub fn pwrite(&mut self, fd: RawFd, buf: &[u8], offset: u64) -> SysResult<usize> {
        let open = self.real_file(fd)?;
        self.seekable(open, offset, open.writes())?;
        if buf.is_empty() {
            return Ok(0);
        }
        let appends = open.flags.contains(OpenFlags::APPEND);
        let offset = if appends { self.live.data(open.ino)?.size() } else { offset };
        check_direct(open, offset, buf.len())?;
        let written = self.with_data(open.ino, |data, room| data.write(offset, buf, room))??;
        self.written(Some(open), open.ino)?;
        Ok(written)
    }

    /// Cuts or grows a regular file.
    pub fn truncate(&mut self, ino: u64, len: u64) -> SysResult<()> {
        if len > MAX_SIZE {
            return Err(Errno::FBIG);
        }
        self.with_data(ino, |data, _| data.truncate(len))?;
        self.written(None, ino)
    }

    pub fn ftruncate(&mut self, fd: RawFd, len: u64) -> SysResult<()> {
        i64::try_from(len).map_err(|_| Errno::INVAL)?;
        let open = self.real_file(fd)?;
        if !open.writes() || self.meta(open.ino)?.kind() != libc::S_IFREG {
            return Err(Errno::INVAL);
        }
        self.truncate(open.ino, len)
    }

    pub fn fallocate(&mut self, fd: RawFd, mode: u32, offset: u64, len: u64) -> SysResult<()> {
        const KEEP_SIZE: u32 = libc::FALLOC_FL_KEEP_SIZE as u32;
        const PUNCH_HOLE: u32 = libc::FALLOC_FL_PUNCH_HOLE as u32;
        const ZERO_RANGE: u32 = libc::FALLOC_FL_ZERO_RANGE as u32;
        let open = self.real_file(fd)?;
        let (signed_offset, signed_len) = (i64::try_from(offset), i64::try_from(len));
        if signed_offset.is_err() || signed_len.is_err() || len == 0 {
            return Err(Errno::INVAL);
        }
        // Collapsing, inserting and unsharing ranges is not offered here.
        let punches = mode == PUNCH_HOLE | KEEP_SIZE;
        if !punches && mode & !(KEEP_SIZE | ZERO_RANGE) != 0 {
            return Err(Errno::OPNOTSUPP);
        }
        if !open.writes() {
            return Err(Errno::BADF);
        }
        match self.meta(open.ino)?.kind() {
            libc::S_IFREG => {}
            libc::S_IFIFO => return Err(Errno::SPIPE),
            libc::S_IFDIR => return Err(Errno::ISDIR),
            _ => return Err(Errno::NODEV),
        }
        let end = offset + len;
        if end > MAX_SIZE {
            return Err(Errno::FBIG);
        }
        self.with_data(open.ino, |data, room| {
            if punches {
                data.punch(offset, len);
                return Ok(());
            }
            data.reserve(offset, len, room)?;
            if mode & ZERO_RANGE != 0 {
                data.zero_range(offset, len);
            }
            if mode & KEEP_SIZE == 0 {
                data.extend(end);
            }
            Ok(())
        })??;
        self.written(Some(open), open.ino)
    }

    pub fn seek(&self, fd: RawFd, to: SeekFrom) -> SysResult<u64> {
        let open = self.real_file(fd)?;
        let kind = self.meta(open.ino)?.kind();
        let (SeekFrom::Data(offset) | SeekFrom::Hole(offset) | SeekFrom::Start(offset)) = to;
        match kind {
            libc::S_IFREG => {}
            libc::S_IFDIR if matches!(to, SeekFrom::Start(_)) => {}
            libc::S_IFDIR => return Err(Errno::INVAL),
            _ => return Err(Errno::SPIPE),
        }
        if let SeekFrom::Start(offset) = to {
            let limit = if kind == libc::S_IFDIR { i64::MAX as u64 } else { MAX_SIZE };
            return if offset <= limit { Ok(offset) } else { Err(Errno::INVAL) };
        }
        let data = self.live.data(open.ino)?;
        if offset >= data.size() {
            return Err(Errno::NXIO);
        }
        match to {
            SeekFrom::Data(_) => data.next_data(offset).ok_or(Errno::NXIO),
            _ => Ok(data.next_hole(offset)),
        }
    }

    pub fn copy_file_range(
        &mut self,
        from: RawFd,
        from_offset: u64,
        to: RawFd,
        to_offset: u64,
        len: usize,
    ) -> SysResult<usize> {
        let (source, target) = (self.real_file(from)?, self.real_file(to)?);
        for open in [source, target] {
            match self.meta(open.ino)?.kind() {
                libc::S_IFREG => {}
                libc::S_IFDIR => return Err(Errno::ISDIR),
                _ => return Err(Errno::INVAL),
            }
        }
        if !source.reads() || !target.writes() || target.flags.contains(OpenFlags::APPEND) {
            return Err(Errno::BADF);
        }
        let (from_end, to_end) =
            (from_offset.saturating_add(len as u64), to_offset.saturating_add(len as u64));
        if i64::try_from(from_end).is_err() || i64::try_from(to_end).is_err() {
            return Err(Errno::OVERFLOW);
        }
        if to_offset >= MAX_SIZE {
            return Err(Errno::FBIG);
        }
        let size = self.live.data(source.ino)?.size();
        let len = (len as u64).min(size.saturating_sub(from_offset)).min(MAX_SIZE - to_offset);
        if source.ino == target.ino && from_offset < to_offset + len && to_offset < from_offset + len {
            return Err(Errno::INVAL);
        }
        if len == 0 {
            return Ok(0);
        }
        // In pieces: the length is the caller's and may be that of a large sparse file.
        let mut piece = vec![0; len.min(1 << 20) as usize];
        let got = self.live.data(source.ino)?.read(from_offset, &mut piece);
        let bytes = piece.get(..got).unwrap_or_default();
        let written = self.with_data(target.ino, |data, room| data.write(to_offset, bytes, room))??;
        if !source.flags.contains(OpenFlags::NOATIME) {
            self.touch_access(source.ino)?;
        }
        self.written(Some(target), target.ino)?;
        Ok(written)
    }

    /// `mmap(2)`: everybody who maps a file gets the same words.
    pub fn map_shared(&mut self, fd: RawFd, len: usize) -> SysResult<Arc<SharedWords>> {
        let open = self.real_file(fd)?;
        let size = self.inode(open.ino)?.stat(open.ino).size;
        if len == 0 || len as u64 * 8 > size {
            return Err(Errno::INVAL);
        }
        let words = self.maps.entry(open.ino).or_insert_with(|| Arc::new(SharedWords::simulated(len)));
        if words.words().len() == len { Ok(Arc::clone(words)) } else { Err(Errno::INVAL) }
    }
}

/// Direct I/O works on whole sectors. How the memory is aligned is not looked at, since that differs from run to run.
fn check_direct(open: Open, offset: u64, len: usize) -> SysResult<()> {
    let aligned = offset.is_multiple_of(SECTOR) && (len as u64).is_multiple_of(SECTOR);
    if open.flags.contains(OpenFlags::DIRECT) && !aligned { Err(Errno::INVAL) } else { Ok(()) }
}
