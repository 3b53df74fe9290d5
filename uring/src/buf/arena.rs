//! The memory of a pool: one region that lives until its last block came home.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;

use crossbeam_queue::ArrayQueue;

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
    /// A zeroed region of `size` bytes, rounded up to pages; `None` when that is no page at all.
    pub(crate) fn new(size: usize) -> Option<Self> {
        let size = size.checked_next_multiple_of(ALIGN).filter(|&size| size > 0)?;
        let layout = Layout::from_size_align(size, ALIGN).ok()?;
        // SAFETY: the size is not zero.
        let base = unsafe { alloc_zeroed(layout) };
        let Some(base) = NonNull::new(base) else { handle_alloc_error(layout) };
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
        let layout = Layout::from_size_align(self.size, ALIGN).expect("it was allocated with this layout");
        // SAFETY: allocated in `new` with this layout; every Buf holds an Arc of the arena, so no block is in use.
        unsafe { dealloc(self.base.as_ptr(), layout) };
    }
}
