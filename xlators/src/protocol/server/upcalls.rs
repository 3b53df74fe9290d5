//! What layers tell clients of their own accord, as calls of the callback program.

use std::rc::Rc;

use super::connection::Connection;
use super::door::{Door, installed};
use super::shared::Shared;
use crate::protocol::rpc::programs::callback::{self, OldIatt};
use crate::protocol::xdr::LegacyDict;
use crate::types::dict::Value;
use crate::types::{Gfid, Iatt, LockType, Xdata};
use crate::upcall::{Invalidation, Upcall, UpcallEvent};

/// `GF_UPCALL_CACHE_INVALIDATION`
const CACHE_INVALIDATION: u32 = 1;

impl Door {
    /// Carries the upcalls that arise on this core to the cores of their clients.
    pub(super) fn carry_upcalls(self: &Rc<Self>) {
        let (own, peers) = (self.core.id(), self.core.peers().to_vec());
        self.graph.on_upcall(move |upcall| {
            let core = Shared::core_of(upcall.client);
            if core == own {
                // Without borrowing anything that the sender may hold: on the core's loop, like from elsewhere.
                if let Some(here) = installed() {
                    let core = here.core.clone();
                    core.spawn(async move { deliver(&here, &upcall) });
                }
            } else if let Some(peer) = peers.get(core) {
                // A core that has stopped has no clients.
                let _ = peer.post(move |_| {
                    if let Some(there) = installed() {
                        deliver(&there, &upcall);
                    }
                });
            }
        });
    }
}

/// Tells a client of this core; one that is gone needs to hear nothing.
pub(super) fn deliver(door: &Door, upcall: &Upcall) {
    if let Some(connection) = door.connection(upcall.client) {
        tell(&connection, upcall);
    }
}

fn tell(to: &Rc<Connection>, upcall: &Upcall) {
    let root = to.outbox.root();
    let seen = |gfid: Gfid| if gfid == root { Gfid::ROOT } else { gfid };
    let old = |iatt: &Iatt| OldIatt(Iatt { gfid: seen(iatt.gfid), ..*iatt });
    let gfid = seen(upcall.gfid);
    match &upcall.event {
        UpcallEvent::CacheInvalidation(change) => {
            let Invalidation { stale, expires, iatt, parent, old_parent, xdata } = &**change;
            let (text, xdata) = (gfid.to_text(), legacy(xdata));
            let call = callback::CacheInvalidation {
                gfid: &text,
                event_type: CACHE_INVALIDATION,
                flags: stale.bits(),
                expire_time_attr: u32::try_from(expires.as_secs()).unwrap_or(u32::MAX),
                stat: old(iatt),
                parent_stat: old(parent),
                oldparent_stat: old(old_parent),
                xdata: &xdata,
            };
            to.call_back(callback::CACHE_INVALIDATION, &call);
        }
        UpcallEvent::InodelkContention { domain, flock } => {
            let (flock, pid) = (flock.clone(), flock.pid.cast_unsigned());
            let call =
                callback::InodelkContention { gfid, flock, pid, domain: domain.as_bytes(), xdata: b"" };
            to.call_back(callback::INODELK_CONTENTION, &call);
        }
        UpcallEvent::EntrylkContention { domain, name, kind, pid } => {
            let call = callback::EntrylkContention {
                gfid,
                kind: u32::from(*kind == LockType::Write),
                pid: pid.cast_unsigned(),
                name: name.as_ref().map_or(b"", |name| name.as_bytes()),
                domain: domain.as_bytes(),
                xdata: b"",
            };
            to.call_back(callback::ENTRYLK_CONTENTION, &call);
        }
    }
}

/// In the older form; no bytes for no dictionary.
fn legacy(xdata: &Xdata) -> Vec<u8> {
    let Some(dict) = xdata.dict() else { return Vec::new() };
    let mut old = LegacyDict::new();
    for (key, value) in dict.iter() {
        match value {
            Value::Int(number) => old.set_text(&key.to_string_lossy(), &number.to_string()),
            Value::Uint(number) => old.set_text(&key.to_string_lossy(), &number.to_string()),
            Value::Str(text) => old.set_text(&key.to_string_lossy(), text),
            other => {
                if let Some(bytes) = other.as_bytes() {
                    old.set(key.to_bytes(), bytes.to_vec());
                }
            }
        }
    }
    old.to_bytes()
}
