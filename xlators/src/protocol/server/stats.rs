//! What one client has done.

use std::cell::{Cell, RefCell};

use serde_json::{Map, Value as Json, json};

use crate::protocol::rpc::programs::fops::{PROCEDURES, name_of};

/// Counters of a connection.
#[derive(Debug)]
pub(super) struct ClientStats {
    calls: RefCell<[u64; PROCEDURES as usize]>,
    pub(super) received: Cell<u64>,
    pub(super) sent: Cell<u64>,
    /// Calls that were refused: unknown, garbled, or before the handshake.
    pub(super) refused: Cell<u64>,
}

impl Default for ClientStats {
    fn default() -> Self {
        Self {
            calls: RefCell::new([0; PROCEDURES as usize]),
            received: Cell::new(0),
            sent: Cell::new(0),
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

    pub(super) fn to_json(&self) -> Json {
        let calls: Map<String, Json> = self
            .calls
            .borrow()
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0)
            .filter_map(|(number, count)| Some((name_of(number as u32)?.to_lowercase(), json!(count))))
            .collect();
        json!({
            "calls": calls,
            "received_bytes": self.received.get(),
            "sent_bytes": self.sent.get(),
            "refused_calls": self.refused.get(),
        })
    }
}
