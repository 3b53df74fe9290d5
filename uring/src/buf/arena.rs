//! The memory of a pool: one region that lives until its last block came home.

use std::alloc::{Layout, handle_alloc_error};
use std::ptr::{NonNull, null_mut};

use crossbeam_queue::ArrayQueue;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

use super::ALIGN;

/// One page-aligned region, and the blocks that other threads sent home.
pub(crate) struct Arena {
    base: NonNull<u8>,
    size: usize,
    /// (offset, size) of blocks dropped on other threads. Has room for every page, so it is never full.
    returned: ArrayQueue<(usize, usize)>,
}

// SAFETY: the region is handed out block by block, each to one owner at a time; the other fields are thread-safe.
unsafe impl Send for Arena {}
// SAFETY: as above; `base` itself is never written.
unsafe impl Sync for Arena {}

impl Arena {
    /// A zeroed region of `size` bytes, rounded up to pages; `None` when that is no page at all. Mapped, not allocated: an
    /// allocator writes the zeroes of aligned memory itself, and all of it is resident then before anybody has used it.
    pub(crate) fn new(size: usize) -> Option<Self> {
        let size = size.checked_next_multiple_of(ALIGN).filter(|&size| size > 0)?;
        let layout = Layout::from_size_align(size, ALIGN).ok()?;
        // SAFETY: a new mapping, at a place that the kernel chooses.
        let mapped = unsafe {
            mmap_anonymous(null_mut(), size, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)
        };
        let base = mapped.ok().and_then(|base| NonNull::new(base.cast()));
        let Some(base) = base else { handle_alloc_error(layout) };
        Some(Self { base, size, returned: ArrayQueue::new(size / ALIGN) })
    }

    /// Bytes in total.
    pub(crate) const fn size(&self) -> usize {
        self.size
    }

    /// The first byte.
    pub(crate) const fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// The block at `offset`.
    pub(crate) fn at(&self, offset: usize, size: usize) -> NonNull<u8> {
        assert!(
            offset.checked_add(size).is_some_and(|end| end <= self.size),
            "a block lies inside its region"
        );
        // SAFETY: just checked to lie inside the region.
        unsafe { self.base.add(offset) }
    }

    /// Where a block that [`Arena::at`] gave lies.
    pub(crate) fn offset_of(&self, block: NonNull<u8>) -> usize {
        block.addr().get() - self.base.addr().get()
    }

    /// Leaves a block for the pool to collect.
    pub(crate) fn send_home(&self, offset: usize, size: usize) {
        let sent = self.returned.push((offset, size));
        debug_assert!(sent.is_ok(), "there is room for every page");
    }

    /// A block that came home.
    pub(crate) fn collect(&self) -> Option<(usize, usize)> {
        self.returned.pop()
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: mapped in `new` with this size; every Buf holds an Arc of the arena, so no block is in use.
        let unmapped = unsafe { munmap(self.base.as_ptr().cast(), self.size) };
        debug_assert!(unmapped.is_ok(), "a mapping of our own");
    }
}
