//! The simulated network: stream sockets between the cores of one simulated machine, in memory.
//!
//! Bytes travel in parcels of arbitrary size with arbitrary delays, in order within one direction of a connection. Sends
//! take a part of what is offered, receives give a part of what is there, connections break; the seed decides when. A
//! call that would have to wait answers EAGAIN, and the simulated ring tries it again when the socket's state has changed.

mod calls;
mod state;

use std::io::IoSlice;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use state::State;

use super::rng::Rng;
use crate::net::{Address, ConnectOptions, Credentials, Family, ListenOptions, Shutdown, StreamOptions};
use crate::sys::{Errno, RawFd, SysResult};
use crate::time::Instant;

/// Sockets have numbers from here on, and each its own: a number is never used again.
const FIRST_FD: RawFd = 1 << 30;

/// What the simulated network is like.
#[derive(Clone, Copy, Debug)]
pub struct NetConditions {
    /// Shortest time that bytes are on their way.
    pub min_delay: Duration,
    /// Longest time that bytes are on their way, unless they queue behind others.
    pub max_delay: Duration,
    /// Most bytes that arrive at once; one parcel in eight is 16 bytes or less. At least 1.
    pub parcel: usize,
    /// Bytes that one direction of a connection holds before the sender has to wait. At least 1.
    pub room: usize,
    /// Of 1000 sends, so many break the connection.
    pub resets: u32,
}

impl Default for NetConditions {
    fn default() -> Self {
        Self {
            min_delay: Duration::from_micros(10),
            max_delay: Duration::from_micros(300),
            parcel: 64 << 10,
            room: 256 << 10,
            resets: 0,
        }
    }
}

/// All sockets of one simulated machine.
#[derive(Debug)]
pub(crate) struct Network(Mutex<State>);

impl Network {
    pub(crate) fn new(seed: u64) -> Self {
        // A stream of its own, as in `Kernel`.
        Self(Mutex::new(State::new(Rng::new(seed ^ 0x4e7_u64.rotate_left(40)))))
    }

    fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) const fn owns(fd: RawFd) -> bool {
        fd >= FIRST_FD
    }

    pub(crate) fn set_conditions(&self, conditions: NetConditions) {
        self.with(|state| state.conditions = conditions);
    }

    pub(crate) fn reset_all(&self) {
        self.with(State::reset_all);
    }

    /// When the next parcel arrives.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.with(|state| state.next())
    }

    /// Lets arrive what is due; the sockets whose state has changed since the last time.
    pub(crate) fn deliver(&self, now: Instant) -> Vec<RawFd> {
        self.with(|state| {
            state.arrive(now);
            std::mem::take(&mut state.touched)
        })
    }

    pub(crate) fn close(&self, fd: RawFd, now: Instant) {
        self.with(|state| state.close(fd, now));
    }

    pub(crate) fn listen(&self, at: &Address, options: &ListenOptions) -> SysResult<RawFd> {
        self.with(|state| state.listen(at, options))
    }

    pub(crate) fn socket(&self, family: Family, options: &ConnectOptions) -> SysResult<RawFd> {
        self.with(|state| state.socket(family, options))
    }

    /// Options change nothing here, but the socket must exist.
    pub(crate) fn configure(&self, fd: RawFd, _: &StreamOptions) -> SysResult<()> {
        self.with(|state| state.local_address(fd).map(drop))
    }

    pub(crate) fn shutdown(&self, fd: RawFd, how: Shutdown, now: Instant) -> SysResult<()> {
        self.with(|state| state.shutdown(fd, how, now))
    }

    pub(crate) fn local_address(&self, fd: RawFd) -> SysResult<Address> {
        self.with(|state| state.local_address(fd))
    }

    pub(crate) fn peer_address(&self, fd: RawFd) -> SysResult<Address> {
        self.with(|state| state.peer_address(fd))
    }

    /// Everybody is process 1 and root here.
    pub(crate) fn peer_credentials(&self, fd: RawFd) -> SysResult<Credentials> {
        match self.with(|state| state.local_address(fd))?.family() {
            Family::Unix => Ok(Credentials { pid: 1, uid: 0, gid: 0 }),
            Family::Inet | Family::Inet6 => Err(Errno::OPNOTSUPP),
        }
    }

    pub(crate) fn connect(&self, fd: RawFd, to: &Address) -> SysResult<()> {
        self.with(|state| state.connect(fd, to))
    }

    pub(crate) fn accept(&self, fd: RawFd) -> SysResult<RawFd> {
        self.with(|state| state.accept(fd))
    }

    pub(crate) fn recv(&self, fd: RawFd, buf: &mut [u8]) -> SysResult<usize> {
        self.with(|state| state.recv(fd, buf))
    }

    pub(crate) fn send(&self, fd: RawFd, parts: &[IoSlice<'_>], now: Instant) -> SysResult<usize> {
        self.with(|state| state.send(fd, parts, now))
    }
}
