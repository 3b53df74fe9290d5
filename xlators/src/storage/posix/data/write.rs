//! writev.
//!
//! A short buffered write happens at once, on the core, between two looks at the attributes; nobody else on this core comes
//! in between. Several in one turn store their times together ([`super::together`]). Longer ones, and those past the page
//! cache, go through the ring. Requests that need more than that (a write that must know whether it appended, say) hold the
//! object's stripe from the first look to the last.

use std::sync::Arc;

use kiln_uring::placement::INLINE_WRITE_MAX;
use kiln_uring::sys::{OpenFlags, XattrFlags};
use kiln_uring::{Buf, Class, DataMode, Errno, File, SysResult, Warmth};

use super::fd::PosixFd;
use super::{Site, check_allocated, check_offset, count_opens, is_short_of_space};
use crate::call::Call;
use crate::error::FopResult;
use crate::fop::{reply, request};
use crate::keys;
use crate::storage::posix::mdata::Role;
use crate::storage::posix::{Attrs, Brick, Posix, stripes};
use crate::types::{Value, Xdata};

/// A write on its way.
struct Write {
    site: Site,
    /// The descriptor past the page cache, when that is the way.
    direct: Option<Arc<File>>,
    data: Buf,
    offset: u64,
    /// Every write goes to the end of the file, whatever `offset` says.
    appends: bool,
    /// The reserve is reached, and the caller must respect it.
    short_of_space: bool,
    xdata: Xdata,
}

/// What is known before the bytes move.
struct Before {
    attrs: Attrs,
    is_append: bool,
}

impl Posix {
    pub(in crate::storage::posix) async fn serve_writev(
        &self,
        call: &Call,
        req: request::Writev,
    ) -> FopResult<reply::Written> {
        check_offset(req.offset, req.data.len() as u64)?;
        let file = self.fd_file(&req.fd).await?;
        let opened_with = req.fd.storage::<PosixFd>().map_or(OpenFlags::empty(), |state| state.flags);
        let direct = self.direct_file(&req.fd, req.flags, req.offset, req.data.len()).await;
        let write = Write {
            site: Site { gfid: req.fd.gfid(), file: Arc::clone(&file), times: *call.times() },
            direct,
            data: req.data,
            offset: req.offset,
            appends: opened_with.contains(OpenFlags::APPEND),
            short_of_space: is_short_of_space(&self.brick, call, &req.xdata),
            xdata: req.xdata,
        };
        let written = self.place_write(write).await?;
        if let Some(data_only) = durability(opened_with | OpenFlags::from_bits_retain(req.flags)) {
            self.core.fsync(&file, data_only).await?;
        }
        Ok(written)
    }

    /// Does the write in the right place.
    async fn place_write(&self, write: Write) -> FopResult<reply::Written> {
        let locked = write.needs_lock();
        let key = stripes::object_key(write.site.gfid);
        if write.direct.is_none() && write.data.len() <= INLINE_WRITE_MAX && !write.short_of_space {
            if !locked {
                let has_company = write.moves_times(&self.brick) && self.core.has_others_ready();
                return if has_company { self.write_together(write).await } else { write.here(&self.brick) };
            }
            if let Some(_held) = self.brick.objects.try_lock(&[key]) {
                return write.here(&self.brick);
            }
        } else if !locked && !write.short_of_space {
            return self.write_through_ring(write).await;
        }
        let job = move |brick: &Arc<Brick>| {
            let _held = locked.then(|| brick.objects.lock(&[key]));
            write.here(brick)
        };
        self.run(Class::Background, Warmth::Cold, job).await
    }

    /// As one of several writes of this turn, perhaps, that store their times together.
    async fn write_together(&self, mut write: Write) -> FopResult<reply::Written> {
        let mut before = write.before(&self.brick)?;
        before.attrs = self.together.find(write.site.gfid, &write.site.times, before.attrs);
        let data = std::mem::take(&mut write.data);
        let count = write_all(&self.brick, &write.site.file, &data, write.offset)?;
        let member = self.together.join(&write.site, &self.brick, &before.attrs);
        self.core.yield_now().await;
        let post = member.after()?;
        Ok(write.reply(&self.brick, count, &before, &post))
    }

    async fn write_through_ring(&self, mut write: Write) -> FopResult<reply::Written> {
        let before = write.before(&self.brick)?;
        let data = std::mem::take(&mut write.data);
        let (mut result, data) = match &write.direct {
            Some(direct) => self.core.write(direct, data, write.offset, DataMode::Direct).await,
            None => self.core.write(&write.site.file, data, write.offset, DataMode::Buffered).await,
        };
        if write.direct.is_some() && result == Err(Errno::INVAL) {
            (result, _) = self.core.write(&write.site.file, data, write.offset, DataMode::Buffered).await;
        }
        let count = result?;
        let post = write.site.after_pause(&self.brick)?;
        Ok(write.reply(&self.brick, count, &before, &post))
    }
}

impl Write {
    /// Whether the looks before and after must be of one piece with the write.
    fn needs_lock(&self) -> bool {
        [keys::WRITE_IS_APPEND, keys::WRITE_UPDATE_ATOMIC, keys::AVOID_OVERWRITE, keys::PROTECT_WRITES]
            .iter()
            .any(|key| self.xdata.contains(key))
    }

    /// Whether the client's times move.
    fn moves_times(&self, brick: &Brick) -> bool {
        brick.ctime() && Role::Own.is_moved_by(&self.site.times)
    }

    /// All of it, blocking.
    fn here(mut self, brick: &Arc<Brick>) -> FopResult<reply::Written> {
        let before = self.before(brick)?;
        let data = std::mem::take(&mut self.data);
        let direct = self.direct.as_deref().map(|direct| write_all(brick, direct, &data, self.offset));
        let count = match direct {
            None | Some(Err(Errno::INVAL)) => write_all(brick, &self.site.file, &data, self.offset)?,
            Some(result) => result?,
        };
        let post = self.site.after(brick, &before.attrs)?;
        Ok(self.reply(brick, count, &before, &post))
    }

    fn before(&self, brick: &Brick) -> SysResult<Before> {
        let attrs = self.site.before(brick)?;
        let size = attrs.stat.size;
        // Rebalance copies, a client writes to the copy already: the client's bytes win.
        if self.xdata.contains(keys::AVOID_OVERWRITE) {
            match brick.sys.getxattr(self.site.target(), keys::PROTECT_WRITES, &mut []) {
                Ok(_) => return Err(Errno::BUSY),
                Err(Errno::NODATA) => {}
                Err(errno) => return Err(errno),
            }
        }
        if self.short_of_space {
            let offset = if self.appends { size } else { self.offset };
            check_allocated(brick, &self.site.file, &attrs.stat, offset, self.data.len() as u64)?;
        }
        if let Some(value) = self.xdata.get(keys::PROTECT_WRITES) {
            let value = value.as_bytes().unwrap_or(b"yes");
            brick.sys.setxattr(self.site.target(), keys::PROTECT_WRITES, value, XattrFlags::empty())?;
        }
        Ok(Before { attrs, is_append: self.appends || size == self.offset })
    }

    fn reply(&self, brick: &Brick, count: usize, before: &Before, post: &Attrs) -> reply::Written {
        let mut xdata = Xdata::NONE;
        if !self.xdata.is_none() {
            xdata.make();
            count_opens(brick, self.site.gfid, &self.xdata, &mut xdata);
            if self.xdata.contains(keys::WRITE_IS_APPEND) {
                xdata.make().set(keys::WRITE_IS_APPEND, Value::Uint(u64::from(before.is_append)));
            }
        }
        reply::Written { count, pre: before.attrs.iatt, post: post.iatt, xdata }
    }
}

/// What a write must sync after itself: `Some(true)` the data, `Some(false)` everything.
fn durability(flags: OpenFlags) -> Option<bool> {
    // O_SYNC has O_DSYNC's bit, too.
    if flags.contains(OpenFlags::SYNC) {
        Some(false)
    } else if flags.contains(OpenFlags::DSYNC) {
        Some(true)
    } else {
        None
    }
}

/// Writes all of `data`; what an error in the middle leaves written counts.
pub(super) fn write_all(brick: &Brick, file: &File, data: &[u8], offset: u64) -> SysResult<usize> {
    let mut done = 0;
    while done < data.len() {
        match brick.sys.pwrite(file.fd(), &data[done..], offset.saturating_add(done as u64)) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(Errno::INTR) => {}
            Err(_) if done > 0 => break,
            Err(errno) => return Err(errno),
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stronger_of_both_syncs_counts() {
        assert_eq!(durability(OpenFlags::SYNC | OpenFlags::RDWR), Some(false));
        assert_eq!(durability(OpenFlags::DSYNC), Some(true));
        assert_eq!(durability(OpenFlags::RDWR), None);
    }
}
