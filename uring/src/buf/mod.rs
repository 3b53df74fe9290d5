//! Owned, page-aligned memory for file data.
//!
//! A [`Buf`] comes from the pool of its core, one region that is registered with the core's ring when that first moves file
//! data, or from the heap when the pool has nothing that fits. It can go to any thread and be dropped there; a block of a
//! pool finds its way home.

mod arena;
mod pool;

pub(crate) use arena::Arena;
pub(crate) use pool::Pool;

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::slice;
use std::sync::Arc;

use crate::local;

/// Alignment of every buffer in bytes: a page, enough for O_DIRECT on any block size in use.
pub const ALIGN: usize = 4096;

/// Bytes of a buffer for receives that do not know what comes: a hundred small requests, and little to copy when it is the
/// beginning of a large payload.
pub(crate) const RECEIVE_SIZE: usize = 16 << 10;

/// Lends its alignment to pointers.
#[repr(align(4096))]
struct Page(#[allow(dead_code)] [u8; ALIGN]);

enum Home {
    /// No memory at all.
    Nowhere,
    Heap,
    Pool(Arc<Arena>),
}

/// Owned memory, aligned to [`ALIGN`] bytes until the front is sliced off.
///
/// All bytes up to the capacity are initialised: zero, or what an earlier user in this process left. Whoever fills only a
/// part must shorten the buffer before it leaves the process.
pub struct Buf {
    /// Start of the block.
    block: NonNull<u8>,
    /// Size of the block in bytes.
    size: usize,
    /// First byte of the contents, from the start of the block.
    start: usize,
    /// Bytes of contents; `start + len <= size`.
    len: usize,
    home: Home,
}

// SAFETY: a Buf owns its block alone (an Arena hands out each block once), and the way home is lock-free and thread-safe.
unsafe impl Send for Buf {}
// SAFETY: a shared Buf gives out only shared references to plain bytes.
unsafe impl Sync for Buf {}

impl Buf {
    /// A buffer without memory.
    #[must_use]
    pub const fn empty() -> Self {
        // A page-aligned address that is never dereferenced, for slices of length 0.
        const NOWHERE: NonNull<u8> = NonNull::<Page>::dangling().cast();
        Self { block: NOWHERE, size: 0, start: 0, len: 0, home: Home::Nowhere }
    }

    /// Zeroed memory from the heap, for threads that are not a core's. `len` is rounded up to pages for the capacity.
    #[must_use]
    pub fn heap(len: usize) -> Self {
        if len == 0 {
            return Self::empty();
        }
        let size = len.next_multiple_of(ALIGN);
        let layout = layout(size);
        // SAFETY: the layout's size is not zero.
        let block = unsafe { alloc_zeroed(layout) };
        let Some(block) = NonNull::new(block) else { handle_alloc_error(layout) };
        Self { block, size, start: 0, len, home: Home::Heap }
    }

    /// `len` bytes from the pool of the core that runs on this thread, or from the heap.
    #[must_use]
    pub fn new(len: usize) -> Self {
        local::with_current(|core| core.pool.take(len)).flatten().unwrap_or_else(|| Self::heap(len))
    }

    /// A copy of `bytes`, on any thread.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Self {
        let mut buf = Self::new(bytes.len());
        buf.copy_from_slice(bytes);
        buf
    }

    /// A block of a pool. `offset` and `size` name a block of `arena` that nobody else holds.
    pub(crate) fn pooled(arena: Arc<Arena>, offset: usize, size: usize, len: usize) -> Self {
        let block = arena.at(offset, size);
        Self { block, size, start: 0, len, home: Home::Pool(arena) }
    }

    /// Bytes of contents.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no contents.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes from the start of the contents to the end of the memory.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.size - self.start
    }

    /// Makes the contents `len` bytes long, at most the capacity (longer is cut to it). Bytes that come into view are
    /// whatever the memory holds.
    pub fn set_len(&mut self, len: usize) {
        debug_assert!(len <= self.capacity(), "{len} bytes in a buffer of {}", self.capacity());
        self.len = len.min(self.capacity());
    }

    /// Shortens the contents to `len` bytes; nothing happens when they are shorter already.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Cuts `n` bytes off the front (all, when there are fewer) without moving the rest.
    pub fn advance(&mut self, n: usize) {
        let n = n.min(self.len);
        self.start += n;
        self.len -= n;
    }

    /// Whether the memory belongs to the pool of a core.
    #[must_use]
    pub const fn is_pooled(&self) -> bool {
        matches!(&self.home, Home::Pool(_))
    }

    /// Whether the memory belongs to this arena.
    pub(crate) fn belongs_to(&self, arena: &Arc<Arena>) -> bool {
        matches!(&self.home, Home::Pool(mine) if Arc::ptr_eq(mine, arena))
    }

    /// The first byte of the contents.
    pub(crate) fn address(&self) -> NonNull<u8> {
        // SAFETY: start <= size, so the result points into the block or one past its end.
        unsafe { self.block.add(self.start) }
    }
}

fn layout(size: usize) -> Layout {
    Layout::from_size_align(size, ALIGN)
        .expect("the size is a multiple of the alignment and below isize::MAX")
}

impl Drop for Buf {
    fn drop(&mut self) {
        match std::mem::replace(&mut self.home, Home::Nowhere) {
            Home::Nowhere => {}
            // SAFETY: the block came from alloc_zeroed with this very layout, and this is its only owner.
            Home::Heap => unsafe { dealloc(self.block.as_ptr(), layout(self.size)) },
            Home::Pool(arena) => {
                let offset = arena.offset_of(self.block);
                let kept = local::with_current(|core| {
                    core.pool.give_back(&arena, offset, self.size) || core.driver.take_back(&arena, offset)
                });
                if kept != Some(true) {
                    arena.send_home(offset, self.size);
                }
            }
        }
    }
}

impl Deref for Buf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: start + len <= size, all bytes of a block are initialised, and self owns them.
        unsafe { slice::from_raw_parts(self.address().as_ptr(), self.len) }
    }
}

impl DerefMut for Buf {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in deref, and self is borrowed exclusively.
        unsafe { slice::from_raw_parts_mut(self.address().as_ptr(), self.len) }
    }
}

impl Default for Buf {
    fn default() -> Self {
        Self::empty()
    }
}

impl AsRef<[u8]> for Buf {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl PartialEq for Buf {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Buf {}

impl fmt::Debug for Buf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let home = match &self.home {
            Home::Nowhere => "nowhere",
            Home::Heap => "heap",
            Home::Pool(_) => "pool",
        };
        f.debug_struct("Buf")
            .field("len", &self.len)
            .field("capacity", &self.capacity())
            .field("home", &home)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slicing_off_the_front_keeps_the_rest_in_place() {
        let mut buf = Buf::from_slice(b"head and tail");
        assert_eq!(buf.as_ptr().addr() % ALIGN, 0);
        let tail = buf.as_ptr().addr() + 9;
        buf.advance(9);
        assert_eq!(&*buf, b"tail");
        assert_eq!(buf.as_ptr().addr(), tail);
        assert_eq!(buf.capacity(), ALIGN - 9);
        buf.truncate(2);
        buf.advance(100);
        assert!(buf.is_empty());
    }

    #[test]
    fn no_bytes_need_no_memory() {
        let buf = Buf::heap(0);
        assert_eq!((buf.len(), buf.capacity()), (0, 0));
        assert_eq!(&*buf, b"");
        assert!(!buf.is_pooled());
    }

    #[test]
    fn fresh_heap_memory_is_zero_and_lengths_hold() {
        let mut buf = Buf::heap(5000);
        assert!(buf.iter().all(|&byte| byte == 0));
        assert_eq!((buf.len(), buf.capacity()), (5000, 8192));
        buf.set_len(8192);
        buf[8191] = 1;
    }
}
