//! The buffer pool of one core: a buddy allocator over one region, in blocks of 4 KiB to 1 MiB.

use std::cell::RefCell;
use std::sync::Arc;

use super::{ALIGN, Arena, Buf};

/// Block sizes are `ALIGN << order`.
const ORDERS: usize = 9;
/// Largest block in bytes (1 MiB, the longest write of the protocol).
pub(crate) const LARGEST: usize = ALIGN << (ORDERS - 1);

struct Free {
    /// Free blocks per order, as page numbers.
    lists: [Vec<u32>; ORDERS],
    /// Free pages in all lists.
    pages: usize,
    /// Whether a block was freed since neighbours were last joined: if not, joining again is no use.
    fresh: bool,
}

/// Buffers of one core. Taking and giving back on the core itself touches no atomic but the region's reference count.
pub(crate) struct Pool {
    arena: Option<Arc<Arena>>,
    free: RefCell<Free>,
}

fn order_of(size: usize) -> usize {
    size.div_ceil(ALIGN).next_power_of_two().trailing_zeros() as usize
}

impl Pool {
    /// A pool of `size` bytes, rounded up to pages; 0 makes a pool that is always exhausted.
    pub(crate) fn new(size: usize) -> Self {
        let arena = Arena::new(size).map(Arc::new);
        let mut lists: [Vec<u32>; ORDERS] = std::array::from_fn(|_| Vec::new());
        let pages = arena.as_ref().map_or(0, |arena| arena.size() / ALIGN);
        let mut page = 0;
        while page < pages {
            let order = (0..ORDERS)
                .rev()
                .find(|&order| page % (1 << order) == 0 && page + (1 << order) <= pages)
                .unwrap_or(0);
            lists[order].push(u32::try_from(page).unwrap_or(u32::MAX));
            page += 1 << order;
        }
        // Low addresses first.
        lists.iter_mut().for_each(|list| list.reverse());
        Self { arena, free: RefCell::new(Free { lists, pages, fresh: true }) }
    }

    /// The region, for registering it with the ring.
    pub(crate) const fn arena(&self) -> Option<&Arc<Arena>> {
        self.arena.as_ref()
    }

    /// A buffer of `len` bytes; `None` when the pool has nothing that large.
    pub(crate) fn take(&self, len: usize) -> Option<Buf> {
        if len == 0 || len > LARGEST {
            return None;
        }
        let arena = self.arena.as_ref()?;
        let order = order_of(len);
        let page = self.free.borrow_mut().allocate(arena, order)?;
        Some(Buf::pooled(arena.clone(), page as usize * ALIGN, ALIGN << order, len))
    }

    /// Takes a block back if it is this pool's.
    pub(crate) fn give_back(&self, arena: &Arc<Arena>, offset: usize, size: usize) -> bool {
        let mine = self.arena.as_ref().is_some_and(|mine| Arc::ptr_eq(mine, arena));
        if mine {
            self.free.borrow_mut().release(offset, size);
        }
        mine
    }
}

impl Free {
    fn release(&mut self, offset: usize, size: usize) {
        self.fresh = true;
        self.pages += size / ALIGN;
        self.lists[order_of(size)].push(u32::try_from(offset / ALIGN).expect("pages were counted in u32"));
    }

    fn allocate(&mut self, arena: &Arena, order: usize) -> Option<u32> {
        if let Some(page) = self.split(order) {
            return Some(page);
        }
        while let Some((offset, size)) = arena.collect() {
            self.release(offset, size);
        }
        if let Some(page) = self.split(order) {
            return Some(page);
        }
        if !self.fresh || self.pages < (1 << order) {
            return None;
        }
        self.join();
        self.split(order)
    }

    /// Takes a block of this order, cutting a larger one in halves when there is none.
    fn split(&mut self, order: usize) -> Option<u32> {
        let from = (order..ORDERS).find(|&order| !self.lists[order].is_empty())?;
        let page = self.lists[from].pop()?;
        self.pages -= 1 << order;
        for half in (order..from).rev() {
            self.lists[half].push(page + (1 << half));
        }
        Some(page)
    }

    /// Joins free neighbours into larger blocks.
    fn join(&mut self) {
        self.fresh = false;
        for order in 0..ORDERS - 1 {
            let mut list = std::mem::take(&mut self.lists[order]);
            list.sort_unstable();
            let size = 1_u32 << order;
            let mut kept = 0;
            let mut index = 0;
            while let Some(&page) = list.get(index) {
                if page % (2 * size) == 0 && list.get(index + 1) == Some(&(page + size)) {
                    self.lists[order + 1].push(page);
                    index += 2;
                } else {
                    list[kept] = page;
                    kept += 1;
                    index += 1;
                }
            }
            list.truncate(kept);
            self.lists[order] = list;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Step {
        Take(usize),
        Drop(usize),
        DropElsewhere(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        let len = prop_oneof![1..5000_usize, 1..LARGEST + 10];
        prop_oneof![
            3 => len.prop_map(Step::Take),
            2 => any::<usize>().prop_map(Step::Drop),
            1 => any::<usize>().prop_map(Step::DropElsewhere),
        ]
    }

    fn give(pool: &Pool, buf: Buf, here: bool) {
        let arena = pool.arena().unwrap().clone();
        let (offset, size) = (arena.offset_of(buf.block), buf.size);
        if here {
            // What Buf's drop does on the pool's own core.
            assert!(pool.give_back(&arena, offset, size));
            let mut buf = std::mem::ManuallyDrop::new(buf);
            buf.home = super::super::Home::Nowhere;
        } else {
            drop(buf);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// No two live buffers share a byte, and when all came home the largest blocks are whole again.
        #[test]
        fn blocks_are_disjoint_and_come_home(steps in prop::collection::vec(step(), 0..120), extra in 0..40_usize) {
            let size = 2 * LARGEST + extra * ALIGN;
            let pool = Pool::new(size);
            let mut live: Vec<Buf> = Vec::new();
            for step in steps {
                match step {
                    Step::Take(len) => match pool.take(len) {
                        Some(buf) => {
                            prop_assert_eq!(buf.len(), len);
                            prop_assert_eq!(buf.as_ptr().addr() % ALIGN, 0);
                            let range = |buf: &Buf| (buf.block.addr().get(), buf.block.addr().get() + buf.size);
                            let (from, to) = range(&buf);
                            for other in &live {
                                let (start, end) = range(other);
                                prop_assert!(to <= start || end <= from, "two buffers overlap");
                            }
                            live.push(buf);
                        }
                        None => {
                            let used: usize = live.iter().map(|buf| buf.size).sum();
                            prop_assert!(len > LARGEST || used > 0, "an empty pool has room for {len}");
                        }
                    },
                    Step::Drop(which) | Step::DropElsewhere(which) if !live.is_empty() => {
                        let buf = live.swap_remove(which % live.len());
                        give(&pool, buf, matches!(step, Step::Drop(_)));
                    }
                    _ => {}
                }
            }
            for buf in live.drain(..) {
                give(&pool, buf, false);
            }
            let whole: Vec<_> = std::iter::from_fn(|| pool.take(LARGEST)).collect();
            prop_assert_eq!(whole.len(), 2);
        }
    }

    #[test]
    fn a_pool_without_memory_is_always_exhausted() {
        assert!(Pool::new(0).take(1).is_none());
        assert!(Pool::new(8192).take(0).is_none());
        assert!(Pool::new(8192).take(8193).is_none());
    }
}
