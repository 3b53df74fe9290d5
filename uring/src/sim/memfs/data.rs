//! The bytes of a regular file: a sparse map of pages, which copies of the file share until one of them changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::sys::{Errno, SysResult};

/// Page and block size in bytes; also the granularity of holes.
pub const PAGE: u64 = 4096;
const PAGE_LEN: usize = PAGE as usize;
/// Longest file, as on ext4 with 4096-byte blocks.
pub const MAX_SIZE: u64 = (1 << 44) - PAGE;

/// Space of a page: with content, or (`None`) reserved and reading as zeros.
type Page = Option<Arc<[u8; PAGE_LEN]>>;

/// The data of a regular file.
#[derive(Clone, Debug, Default)]
pub struct Data {
    size: u64,
    pages: BTreeMap<u64, Page>,
}

/// The piece of the range `from..to` that lies in its first page: page number, offset in it, length.
fn piece(from: u64, to: u64) -> (u64, usize, usize) {
    let within = (from % PAGE) as usize;
    let len = (PAGE_LEN as u64 - from % PAGE).min(to - from) as usize;
    (from / PAGE, within, len)
}

impl Data {
    /// Bytes up to the end of the file.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Pages that occupy space.
    pub fn page_count(&self) -> u64 {
        self.pages.len() as u64
    }

    /// Copies out what lies at `offset`; returns how much.
    pub fn read(&self, offset: u64, buf: &mut [u8]) -> usize {
        let end = self.size.min(offset.saturating_add(buf.len() as u64));
        let mut at = offset;
        let mut rest = buf;
        while at < end {
            let (number, within, len) = piece(at, end);
            let (head, tail) = rest.split_at_mut(len);
            match self.pages.get(&number) {
                Some(Some(bytes)) => head.copy_from_slice(&bytes[within..within + len]),
                _ => head.fill(0),
            }
            rest = tail;
            at += len as u64;
        }
        at.saturating_sub(offset) as usize
    }

    /// Copies in as much of `buf` as `room` more pages and the longest file allow; returns how much.
    pub fn write(&mut self, offset: u64, buf: &[u8], mut room: u64) -> SysResult<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        if offset >= MAX_SIZE {
            return Err(Errno::FBIG);
        }
        let end = offset.saturating_add(buf.len() as u64).min(MAX_SIZE);
        let mut at = offset;
        let mut rest = buf;
        while at < end {
            let (number, within, len) = piece(at, end);
            if !self.pages.contains_key(&number) {
                if room == 0 {
                    break;
                }
                room -= 1;
            }
            let (head, tail) = rest.split_at(len);
            self.page_mut(number)[within..within + len].copy_from_slice(head);
            rest = tail;
            at += len as u64;
        }
        if at == offset {
            return Err(Errno::NOSPC);
        }
        self.size = self.size.max(at);
        Ok((at - offset) as usize)
    }

    /// Sets the length. What is cut off reads as zeros when the file grows again.
    pub fn truncate(&mut self, len: u64) {
        self.pages.split_off(&len.div_ceil(PAGE));
        if len < self.size && !len.is_multiple_of(PAGE) {
            self.zero_piece(len, len.next_multiple_of(PAGE));
        }
        self.size = len;
    }

    /// Reserves space for a range: ENOSPC when that takes more than `room` pages, and nothing is reserved then.
    pub fn reserve(&mut self, offset: u64, len: u64, room: u64) -> SysResult<()> {
        let (first, end) = (offset / PAGE, (offset + len).div_ceil(PAGE));
        let present = self.pages.range(first..end).count() as u64;
        if end - first - present > room {
            return Err(Errno::NOSPC);
        }
        for number in first..end {
            self.pages.entry(number).or_insert(None);
        }
        Ok(())
    }

    /// Gives the space of a range back; it reads as zeros. The length stays.
    pub fn punch(&mut self, offset: u64, len: u64) {
        if offset >= self.size {
            return;
        }
        // A hole past the end takes all of the last page.
        let mut end = offset + len;
        if end > self.size {
            end = self.size.next_multiple_of(PAGE);
        }
        self.zero(offset, end, false);
    }

    /// Zeros a range and keeps or reserves its space, of which there must be enough (see [`Data::reserve`]).
    pub fn zero_range(&mut self, offset: u64, len: u64) {
        self.zero(offset, offset + len, true);
    }

    /// Makes the file at least this long.
    pub fn extend(&mut self, len: u64) {
        self.size = self.size.max(len);
    }

    /// The first offset at or after `offset` that holds data.
    pub fn next_data(&self, offset: u64) -> Option<u64> {
        let mut pages = self.pages.range(offset / PAGE..).filter(|(_, page)| page.is_some());
        let start = pages.next().map(|(number, _)| (number * PAGE).max(offset))?;
        (start < self.size).then_some(start)
    }

    /// The first offset at or after `offset`, which lies in the file, that holds none; the end of the file does not.
    pub fn next_hole(&self, offset: u64) -> u64 {
        let mut number = offset / PAGE;
        while matches!(self.pages.get(&number), Some(Some(_))) {
            number += 1;
        }
        (number * PAGE).max(offset).min(self.size)
    }

    fn zero(&mut self, from: u64, to: u64, keep_space: bool) {
        let (head, tail) = (from.next_multiple_of(PAGE).min(to), (to / PAGE * PAGE).max(from));
        if head < tail {
            let whole: Vec<u64> =
                self.pages.range(head / PAGE..tail / PAGE).map(|(&number, _)| number).collect();
            for number in whole {
                if keep_space {
                    self.pages.insert(number, None);
                } else {
                    self.pages.remove(&number);
                }
            }
        }
        self.zero_piece(from, head);
        self.zero_piece(tail.max(head), to);
    }

    /// Zeros a range within one page; what occupies no space is zero already.
    fn zero_piece(&mut self, from: u64, to: u64) {
        if from >= to {
            return;
        }
        let (number, within, len) = piece(from, to);
        if let Some(Some(bytes)) = self.pages.get_mut(&number) {
            Arc::make_mut(bytes)[within..within + len].fill(0);
        }
    }

    fn page_mut(&mut self, number: u64) -> &mut [u8; PAGE_LEN] {
        let page = self.pages.entry(number).or_insert(None);
        Arc::make_mut(page.get_or_insert_with(|| Arc::new([0; PAGE_LEN])))
    }
}
