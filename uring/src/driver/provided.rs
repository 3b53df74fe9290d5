//! The ring of buffers that receives pick from: the kernel takes one when bytes are there, and only then.

use std::cell::Cell;
use std::io;
use std::mem::size_of;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;

use super::Uring;
use crate::buf::{ALIGN, Arena, Buf, RECEIVE_SIZE};

/// The number under which the ring of buffers is registered.
pub(super) const GROUP: u16 = 0;
/// Most buffers that the kernel takes.
const MOST: usize = 1 << 15;

/// Buffers of [`RECEIVE_SIZE`] bytes, of which some are with the kernel, and the others out as [`Buf`]s.
pub(crate) struct Provided {
    /// The kernel's ring of entries; written by this core alone, read by the kernel.
    entries: Arena,
    mask: u16,
    tail: Cell<u16>,
    memory: Arc<Arena>,
    /// Buffers that are out.
    out: Cell<usize>,
}

impl Provided {
    /// A ring of as many buffers as `bytes` have room for, rounded down to a power of two, registered with `ring`; `None` for
    /// less than one. Refused by kernels before Linux 5.19 (EINVAL).
    pub(crate) fn new(ring: &Uring, bytes: usize) -> io::Result<Option<Self>> {
        let Some(power) = (bytes / RECEIVE_SIZE).min(MOST).checked_ilog2() else { return Ok(None) };
        let n = 1_u16 << power;
        let (Some(entries), Some(memory)) = (
            Arena::new(usize::from(n) * size_of::<BufRingEntry>()),
            Arena::new(usize::from(n) * RECEIVE_SIZE),
        ) else {
            return Ok(None);
        };
        let address = entries.base().as_ptr().expose_provenance() as u64;
        // SAFETY: the region is page-aligned, has room for n entries, and lives as long as the ring (see `Ring`); zeroes are an
        // empty ring.
        unsafe { ring.submitter().register_buf_ring_with_flags(address, n, GROUP, 0)? };
        let this =
            Self { entries, mask: n - 1, tail: Cell::new(0), memory: Arc::new(memory), out: Cell::new(0) };
        (0..n).for_each(|id| this.give(id));
        Ok(Some(this))
    }

    /// The memory of the buffers. Whoever lets the kernel write to them keeps it.
    pub(super) const fn memory(&self) -> &Arc<Arena> {
        &self.memory
    }

    /// Hands buffer `id` to the kernel.
    fn give(&self, id: u16) {
        let offset = usize::from(id) * RECEIVE_SIZE;
        let block = self.memory.at(offset, RECEIVE_SIZE);
        let tail = self.tail.get();
        let place = usize::from(tail & self.mask) * size_of::<BufRingEntry>();
        let entry = self.entries.at(place, size_of::<BufRingEntry>()).cast::<BufRingEntry>();
        // SAFETY: the entry lies in the region, aligned to its size, and between the kernel's head and our tail the kernel does
        // not look at it. The setters leave the last two bytes alone, which in the first entry are the tail.
        unsafe {
            let entry = &mut *entry.as_ptr();
            entry.set_addr(block.as_ptr().expose_provenance() as u64);
            entry.set_len(RECEIVE_SIZE as u32);
            entry.set_bid(id);
        }
        self.tail.set(tail.wrapping_add(1));
        self.tail_in_ring().store(tail.wrapping_add(1), Ordering::Release);
    }

    fn tail_in_ring(&self) -> &AtomicU16 {
        let first = self.entries.base().cast::<BufRingEntry>();
        // SAFETY: the region starts with an initialised entry; its tail is two aligned bytes that this core writes only
        // through this reference, and the kernel reads atomically.
        unsafe {
            let tail = NonNull::new_unchecked(BufRingEntry::tail(first.as_ptr()).cast_mut());
            AtomicU16::from_ptr(tail.as_ptr())
        }
    }

    /// The buffer that the kernel picked, with `len` bytes in it. `None` for a number that the kernel cannot mean.
    pub(super) fn picked(&self, id: u16, len: usize) -> Option<Buf> {
        self.collect();
        if id > self.mask {
            return None;
        }
        self.out.set(self.out.get() + 1);
        let offset = usize::from(id) * RECEIVE_SIZE;
        Some(Buf::pooled(self.memory.clone(), offset, RECEIVE_SIZE, len.min(RECEIVE_SIZE)))
    }

    /// Takes a buffer back, if it is one of these.
    pub(super) fn take_back(&self, arena: &Arc<Arena>, offset: usize) -> bool {
        let mine = Arc::ptr_eq(arena, &self.memory);
        if mine {
            self.back(offset);
        }
        mine
    }

    fn back(&self, offset: usize) {
        self.out.set(self.out.get() - 1);
        self.give(u16::try_from(offset / RECEIVE_SIZE).expect("buffers are numbered in 15 bits"));
    }

    /// Takes back what was dropped on other threads.
    pub(super) fn collect(&self) {
        while self.out.get() > 0
            && let Some((offset, _)) = self.memory.collect()
        {
            self.back(offset);
        }
    }
}

const _: () = assert!(RECEIVE_SIZE.is_multiple_of(ALIGN), "buffers are blocks of an arena");
