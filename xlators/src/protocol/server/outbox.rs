//! What is to be sent on a connection. Replies gather while the core works on other requests and leave together; the bytes of
//! a read leave from the buffer that they were read into.

use std::cell::{Cell, RefCell};

use kiln_uring::Buf;
use kiln_uring::net::Part;

use super::gate::Cost;
use crate::protocol::rpc::message::{Accept, REPLY_HEADER, put_reply_header};
use crate::protocol::rpc::record::{MARK, Mark};
use crate::protocol::xdr::{Wire, Writer};
use crate::types::Gfid;

/// Memory that short records share.
const PAGE: usize = 4096;
/// Parts that are kept allocated between two sends.
const KEPT: usize = 256;

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Outbox {
    parts: RefCell<Vec<Part>>,
    /// The part that is being filled.
    tail: RefCell<Buf>,
    /// What the requests have cost whose replies are in here.
    cost: Cell<Cost>,
    closed: Cell<bool>,
    /// The directory that is the root for the client, unless it is the root.
    root: Cell<Option<Gfid>>,
}

/// What is sent in one go.
#[derive(Debug)]
pub(super) struct Batch {
    pub parts: Vec<Part>,
    pub cost: Cost,
}

impl Outbox {
    /// A successful reply: header and body, then the bytes of a read.
    pub(super) fn reply<'a>(&self, xid: u32, body: &impl Wire<'a>, data: Option<Buf>) {
        let len = REPLY_HEADER + body.size();
        let extra = data.as_ref().map_or(0, |data| data.len());
        self.fill(MARK + len, |to| {
            to.raw(&Mark::whole(len + extra));
            put_reply_header(to, xid, Accept::Success);
            body.put(to);
        });
        if let Some(data) = data.filter(|data| !data.is_empty()) {
            self.seal();
            self.push(data);
        }
    }

    /// The same, before everything that is not being sent yet.
    pub(super) fn reply_first<'a>(&self, xid: u32, body: &impl Wire<'a>) {
        if self.closed.get() {
            return;
        }
        let len = REPLY_HEADER + body.size();
        let mut buf = fresh(MARK + len);
        buf.set_len(MARK + len);
        let mut to = Writer::below(self.root(), &mut buf);
        to.raw(&Mark::whole(len));
        put_reply_header(&mut to, xid, Accept::Success);
        body.put(&mut to);
        self.parts.borrow_mut().insert(0, buf.into());
    }

    /// A record that is complete.
    pub(super) fn record(&self, record: &[u8]) {
        self.fill(record.len(), |to| to.raw(record));
    }

    fn fill(&self, len: usize, write: impl FnOnce(&mut Writer<'_>)) {
        if self.closed.get() {
            return;
        }
        if self.tail.borrow().capacity() < self.tail.borrow().len() + len {
            self.seal();
            *self.tail.borrow_mut() = fresh(len);
        }
        let mut tail = self.tail.borrow_mut();
        let at = tail.len();
        tail.set_len(at + len);
        write(&mut Writer::below(self.root(), tail.get_mut(at..).unwrap_or_default()));
    }

    /// The directory that is the root for the client.
    pub(super) fn root(&self) -> Gfid {
        self.root.get().unwrap_or(Gfid::ROOT)
    }

    /// From now on that directory is.
    pub(super) fn set_root(&self, root: Gfid) {
        self.root.set(Some(root));
    }

    /// Begins a new part.
    fn seal(&self) {
        let tail = self.tail.take();
        if !tail.is_empty() {
            self.push(tail);
        }
    }

    fn push(&self, buf: Buf) {
        if !self.closed.get() {
            self.parts.borrow_mut().push(buf.into());
        }
    }

    /// The reply of a request that has cost this is in here.
    pub(super) fn charge(&self, cost: Cost) {
        let mut all = self.cost.get();
        all.add(cost);
        self.cost.set(all);
    }

    /// Replies to requests that wait to be sent.
    pub(super) fn replies(&self) -> usize {
        self.cost.get().requests
    }

    /// Whether there is nothing to be sent.
    pub(super) fn is_empty(&self) -> bool {
        self.parts.borrow().is_empty() && self.tail.borrow().is_empty() && self.cost.get() == Cost::default()
    }

    /// Everything that is to be sent now; `None` when that is nothing.
    pub(super) fn take(&self) -> Option<Batch> {
        self.seal();
        let cost = self.cost.take();
        let parts = self.parts.take();
        (!parts.is_empty() || cost != Cost::default()).then_some(Batch { parts, cost })
    }

    /// Gives the memory of the list back.
    pub(super) fn recycle(&self, mut parts: Vec<Part>) {
        parts.clear();
        let mut mine = self.parts.borrow_mut();
        if mine.capacity() == 0 && parts.capacity() <= KEPT {
            *mine = parts;
        }
    }

    /// Nothing is taken any more, and what is there is dropped; what it has cost is returned.
    pub(super) fn close(&self) -> Cost {
        self.closed.set(true);
        drop((self.parts.take(), self.tail.take()));
        self.cost.take()
    }
}

/// Memory for at least `len` bytes, without contents.
fn fresh(len: usize) -> Buf {
    let mut buf = Buf::new(len.max(PAGE));
    buf.truncate(0);
    buf
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::rpc::record::whole;

    #[test]
    fn replies_share_memory_and_payloads_keep_theirs() {
        let outbox = Outbox::default();
        outbox.reply(1, &7_u64, None);
        outbox.reply(2, &8_u64, Some(Buf::from_slice(b"payload")));
        outbox.reply(3, &[9_u8; 5000].as_slice(), None);
        outbox.charge(Cost { requests: 3, bytes: 30 });
        let batch = outbox.take().unwrap();
        assert_eq!(batch.cost, Cost { requests: 3, bytes: 30 });
        assert_eq!(batch.parts.len(), 3);
        let stream: Vec<u8> = batch.parts.iter().flat_map(|part| part.to_vec()).collect();
        let mut rest = &stream[..];
        let mut lengths = Vec::new();
        while let Some(record) = whole(rest) {
            lengths.push(record.len());
            rest = &rest[MARK + record.len()..];
        }
        assert!(rest.is_empty());
        assert_eq!(lengths, [32, 39, REPLY_HEADER + 5004]);
        assert!(outbox.take().is_none());
        outbox.reply(6, &7_u64, Some(Buf::from_slice(b"payload")));
        outbox.reply(7, &7_u64, None);
        outbox.reply_first(8, &7_u64);
        let first = outbox.take().unwrap().parts.swap_remove(0);
        assert_eq!(&first[MARK..MARK + 4], [0, 0, 0, 8]);
        assert_eq!(whole(&first).map(<[u8]>::len), Some(first.len() - MARK));
        outbox.reply(4, &1_u32, None);
        outbox.close();
        outbox.reply(5, &1_u32, None);
        assert!(outbox.take().is_none());
    }
}
