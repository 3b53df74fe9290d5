//! What one client has done.

use std::cell::{Cell, RefCell};

use serde_json::{Value as Json, json};

use super::report::named;
use crate::protocol::rpc::programs::fops::PROCEDURES;

/// Counters of a connection.
#[derive(Debug)]
pub(super) struct ClientStats {
    calls: RefCell<[u64; PROCEDURES as usize]>,
    pub(super) received: Cell<u64>,
    pub(super) sent: Cell<u64>,
    /// Fops that were answered with an errno.
    pub(super) failed: Cell<u64>,
    /// Calls that were refused: unknown, garbled, or before the handshake.
    pub(super) refused: Cell<u64>,
}

impl Default for ClientStats {
    fn default() -> Self {
        Self {
            calls: RefCell::new([0; PROCEDURES as usize]),
            received: Cell::new(0),
            sent: Cell::new(0),
            failed: Cell::new(0),
            refused: Cell::new(0),
        }
    }
}

pub(super) fn bump(counter: &Cell<u64>, by: usize) {
    counter.set(counter.get().wrapping_add(by as u64));
}

impl ClientStats {
    pub(super) fn called(&self, procedure: u32) {
        if let Some(count) = self.calls.borrow_mut().get_mut(procedure as usize) {
            *count += 1;
        }
    }

    /// Calls of all procedures.
    pub(super) fn requests(&self) -> u64 {
        self.calls.borrow().iter().sum()
    }

    pub(super) fn add_calls(&self, to: &mut [u64; PROCEDURES as usize]) {
        to.iter_mut().zip(self.calls.borrow().iter()).for_each(|(sum, calls)| *sum += calls);
    }

    pub(super) fn to_json(&self) -> Json {
        json!({
            "calls": named(&*self.calls.borrow()),
            "received_bytes": self.received.get(),
            "sent_bytes": self.sent.get(),
            "failed_calls": self.failed.get(),
            "refused_calls": self.refused.get(),
        })
    }
}
