//! What operators are told of clients: each of them for `kiln stats --clients`, and their sums, which those that are gone
//! stay part of.

use std::any::Any;
use std::cell::RefCell;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};

use super::connection::Connection;
use super::door::{Door, installed};
use crate::protocol::rpc::programs::fops::{PROCEDURES, name_of};

/// One connected client.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ClientReport {
    /// Number of the connection, as requests in a dump name their client.
    pub client: u64,
    /// The core that serves it.
    pub core: usize,
    /// Where it connects from.
    pub address: String,
    /// The address that it has connected to.
    pub local: String,
    /// The brick that it uses; none before its handshake.
    pub brick: Option<String>,
    /// Its own name for itself: host, process, graph and volume.
    pub process: Option<String>,
    /// Its version of GlusterFS, as it says.
    pub version: Option<String>,
    /// Version and suite of its TLS; none when the connection is not encrypted.
    #[serde(default)]
    pub tls: Option<String>,
    /// The common name of its certificate.
    #[serde(default)]
    pub certificate: Option<String>,
    /// When it connected, in seconds since 1970.
    pub since: f64,
    /// How long ago that was, in seconds.
    pub connected_s: f64,
    /// Calls of fops so far.
    pub requests: u64,
    /// Bytes received.
    pub received_bytes: u64,
    /// Bytes sent.
    pub sent_bytes: u64,
    /// Requests that are served now, or whose reply has not been taken yet.
    pub in_flight: usize,
    /// Memory that these hold, in bytes.
    pub held_bytes: usize,
    /// Locks that wait for others.
    pub waiting_locks: usize,
    /// Files and directories that it has open.
    pub open_fds: usize,
    /// Fops that failed, those that looked for what is not there among them.
    pub errors: u64,
    /// Calls that were refused: unknown, garbled, or before the handshake.
    pub refused_calls: u64,
}

impl ClientReport {
    fn of(connection: &Connection) -> Self {
        let core = &connection.door.core;
        let now = core.realtime();
        let connected_s = (core.now() - connection.since).as_secs_f64();
        let (in_use, stats, bound) = (connection.gate.in_use(), &connection.stats, connection.bound.get());
        Self {
            client: connection.client,
            core: core.id(),
            address: connection.peer.to_string(),
            local: connection.local.to_string(),
            brick: bound.map(|bound| bound.brick.name.clone()),
            process: bound.map(|bound| bound.process.clone()),
            version: bound.map(|bound| bound.version.clone()),
            tls: connection.identity.as_ref().map(|identity| identity.cipher.clone()),
            certificate: connection.identity.as_ref().map(|identity| identity.name.clone()),
            since: now.sec as f64 + f64::from(now.nsec) / 1e9 - connected_s,
            connected_s,
            requests: stats.requests(),
            received_bytes: stats.received.get(),
            sent_bytes: stats.sent.get(),
            in_flight: in_use.requests,
            held_bytes: in_use.bytes,
            waiting_locks: connection.waiting(),
            open_fds: connection.fds.len(),
            errors: stats.failed.get(),
            refused_calls: stats.refused.get(),
        }
    }
}

/// The clients of the core that runs on this thread; none where no server is [installed](super::install).
#[must_use]
pub fn clients() -> Vec<ClientReport> {
    installed().map_or_else(Vec::new, |door| door.each_connection(ClientReport::of))
}

/// Counters that only grow.
#[derive(Clone, Debug)]
struct Counters {
    calls: [u64; PROCEDURES as usize],
    received: u64,
    sent: u64,
    errors: u64,
    refused: u64,
}

impl Default for Counters {
    fn default() -> Self {
        Self { calls: [0; PROCEDURES as usize], received: 0, sent: 0, errors: 0, refused: 0 }
    }
}

impl Counters {
    fn add(&mut self, connection: &Connection) {
        let stats = &connection.stats;
        stats.add_calls(&mut self.calls);
        self.received += stats.received.get();
        self.sent += stats.sent.get();
        self.errors += stats.failed.get();
        self.refused += stats.refused.get();
    }

    fn absorb(&mut self, other: &Self) {
        self.calls.iter_mut().zip(&other.calls).for_each(|(sum, calls)| *sum += calls);
        self.received += other.received;
        self.sent += other.sent;
        self.errors += other.errors;
        self.refused += other.refused;
    }
}

/// What one core remembers besides its connections.
#[derive(Debug, Default)]
pub(super) struct Tally(RefCell<Remembered>);

#[derive(Clone, Debug, Default)]
struct Remembered {
    /// Of clients that are gone.
    gone: Counters,
    accepted: u64,
    turned_away: u64,
    refused_handshakes: u64,
}

impl Tally {
    /// A connection begins.
    pub(super) fn accepted(&self) {
        self.0.borrow_mut().accepted += 1;
    }

    /// A connection was closed before it began.
    pub(super) fn turned_away(&self) {
        self.0.borrow_mut().turned_away += 1;
    }

    /// A client was not admitted.
    pub(super) fn refused_handshake(&self) {
        self.0.borrow_mut().refused_handshakes += 1;
    }

    /// A connection is over; its counters stay.
    pub(super) fn gone(&self, connection: &Connection) {
        self.0.borrow_mut().gone.add(connection);
    }
}

/// What one core hands in.
#[derive(Default)]
pub(super) struct Totals {
    remembered: Remembered,
    connections: usize,
    bound: usize,
    in_flight: usize,
    held_bytes: usize,
    waiting_locks: usize,
    open_fds: usize,
}

impl Totals {
    pub(super) fn of(door: &Door) -> Self {
        let mut totals = Self { remembered: door.tally.0.borrow().clone(), ..Self::default() };
        door.each_connection(|connection| {
            let in_use = connection.gate.in_use();
            totals.remembered.gone.add(connection);
            totals.connections += 1;
            totals.bound += usize::from(connection.bound.get().is_some());
            totals.in_flight += in_use.requests;
            totals.held_bytes += in_use.bytes;
            totals.waiting_locks += connection.waiting();
            totals.open_fds += connection.fds.len();
        });
        totals
    }

    fn absorb(&mut self, other: &Self) {
        let (mine, theirs) = (&mut self.remembered, &other.remembered);
        mine.gone.absorb(&theirs.gone);
        mine.accepted += theirs.accepted;
        mine.turned_away += theirs.turned_away;
        mine.refused_handshakes += theirs.refused_handshakes;
        self.connections += other.connections;
        self.bound += other.bound;
        self.in_flight += other.in_flight;
        self.held_bytes += other.held_bytes;
        self.waiting_locks += other.waiting_locks;
        self.open_fds += other.open_fds;
    }
}

/// See [`TranslatorType::merge_stats`](crate::translator::TranslatorType::merge_stats).
pub(super) fn merge(parts: Vec<Box<dyn Any + Send>>) -> Json {
    let mut sum = Totals::default();
    let parts: Vec<Box<Totals>> = parts.into_iter().filter_map(|part| part.downcast().ok()).collect();
    if parts.is_empty() {
        return Json::Null;
    }
    parts.iter().for_each(|part| sum.absorb(part));
    let Remembered { gone: counters, accepted, turned_away, refused_handshakes } = sum.remembered;
    json!({
        "clients": sum.bound,
        "connections": sum.connections,
        "accepted_connections": accepted,
        "turned_away_connections": turned_away,
        "refused_handshakes": refused_handshakes,
        "requests": counters.calls.iter().sum::<u64>(),
        "received_bytes": counters.received,
        "sent_bytes": counters.sent,
        "errors": counters.errors,
        "refused_calls": counters.refused,
        "in_flight": sum.in_flight,
        "held_bytes": sum.held_bytes,
        "waiting_locks": sum.waiting_locks,
        "open_fds": sum.open_fds,
        "calls": named(&counters.calls),
    })
}

/// Calls by the names of their procedures.
pub(super) fn named(calls: &[u64]) -> Map<String, Json> {
    let called = calls.iter().enumerate().filter(|(_, count)| **count > 0);
    called
        .filter_map(|(number, count)| Some((name_of(number as u32)?.to_lowercase(), json!(count))))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_over_all_cores_and_all_time() {
        let part = |calls: u64, connections| {
            let mut totals = Totals { connections, bound: connections, ..Totals::default() };
            totals.remembered.gone.calls[27] = calls;
            totals.remembered.gone.sent = 10 * calls;
            totals.remembered.accepted = 5;
            Box::new(totals) as Box<dyn Any + Send>
        };
        let merged = merge(vec![part(3, 1), part(4, 0)]);
        assert_eq!(merged["requests"], 7);
        assert_eq!(merged["calls"]["lookup"], 7);
        assert_eq!(merged["sent_bytes"], 70);
        assert_eq!(merged["connections"], 1);
        assert_eq!(merged["accepted_connections"], 10);
        assert_eq!(merge(Vec::new()), Json::Null);
    }
}
