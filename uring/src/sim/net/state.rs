//! Sockets and what is on its way between them.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::{FIRST_FD, NetConditions};
use crate::net::{Address, Family};
use crate::sim::rng::Rng;
use crate::sys::{Errno, RawFd, SysResult};
use crate::time::Instant;

/// The first port that is given out, as on Linux by default.
const FIRST_PORT: u16 = 32_768;

/// A socket.
#[derive(Debug)]
pub(super) enum Socket {
    Idle { family: Family, local: Option<Address> },
    Listening(Listening),
    Connected(End),
}

#[derive(Debug)]
pub(super) struct Listening {
    pub(super) at: Address,
    pub(super) backlog: usize,
    pub(super) shared: bool,
    pub(super) shut: bool,
    /// Connections to accept.
    pub(super) waiting: VecDeque<RawFd>,
    /// Sockets that found the backlog full.
    pub(super) knocking: Vec<RawFd>,
}

/// One end of a connection.
#[derive(Debug)]
pub(super) struct End {
    pub(super) local: Address,
    pub(super) remote: Address,
    /// The other end; it may be closed by now.
    pub(super) peer: RawFd,
    /// Arrived bytes.
    pub(super) inbox: VecDeque<u8>,
    /// Bytes on their way here.
    pub(super) coming: usize,
    /// When the last parcel to here arrives.
    pub(super) last: Instant,
    /// The end of the stream has arrived.
    pub(super) ended: bool,
    /// The connection is broken, and the error not yet reported.
    pub(super) broken: Option<Errno>,
    /// The connection is gone.
    pub(super) gone: bool,
    pub(super) shut_read: bool,
    pub(super) shut_write: bool,
}

/// What travels.
#[derive(Debug)]
pub(super) enum Parcel {
    Bytes {
        from: RawFd,
        bytes: Vec<u8>,
    },
    /// The end of the stream.
    End,
    /// The other end is gone.
    Reset,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) rng: Rng,
    pub(super) conditions: NetConditions,
    pub(super) sockets: BTreeMap<RawFd, Socket>,
    /// Parcels by time of arrival, then in the order in which they were sent.
    wire: BTreeMap<(Instant, u64), (RawFd, Parcel)>,
    /// Sockets whose state has changed.
    pub(super) touched: Vec<RawFd>,
    order: u64,
    next_fd: RawFd,
    next_port: u16,
}

impl State {
    pub(super) fn new(rng: Rng) -> Self {
        Self {
            rng,
            conditions: NetConditions::default(),
            sockets: BTreeMap::new(),
            wire: BTreeMap::new(),
            touched: Vec::new(),
            order: 0,
            next_fd: FIRST_FD,
            next_port: FIRST_PORT,
        }
    }

    pub(super) fn add(&mut self, socket: Socket) -> SysResult<RawFd> {
        let fd = self.next_fd;
        self.next_fd = fd.checked_add(1).ok_or(Errno::NFILE)?;
        self.sockets.insert(fd, socket);
        Ok(fd)
    }

    pub(super) fn free_port(&mut self) -> u16 {
        let port = self.next_port;
        self.next_port = port.checked_add(1).unwrap_or(FIRST_PORT);
        port
    }

    pub(super) fn end(&mut self, fd: RawFd) -> SysResult<&mut End> {
        match self.sockets.get_mut(&fd) {
            Some(Socket::Connected(end)) => Ok(end),
            Some(_) => Err(Errno::NOTCONN),
            None => Err(Errno::BADF),
        }
    }

    pub(super) fn touch(&mut self, fd: RawFd) {
        self.touched.push(fd);
    }

    /// Sends a parcel off. Parcels to one end arrive in order.
    pub(super) fn post(&mut self, to: RawFd, parcel: Parcel, now: Instant) {
        let NetConditions { min_delay, max_delay, .. } = self.conditions;
        let spread = u64::try_from(max_delay.saturating_sub(min_delay).as_nanos()).unwrap_or(u64::MAX - 1);
        let mut at = now + min_delay + Duration::from_nanos(self.rng.below(spread + 1));
        if let Ok(end) = self.end(to) {
            at = at.max(end.last);
            end.last = at;
            if let Parcel::Bytes { bytes, .. } = &parcel {
                end.coming += bytes.len();
            }
        }
        self.order += 1;
        self.wire.insert((at, self.order), (to, parcel));
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.wire.first_key_value().map(|((at, _), _)| *at)
    }

    pub(super) fn arrive(&mut self, now: Instant) {
        while let Some(first) = self.wire.first_entry()
            && first.key().0 <= now
        {
            let (to, parcel) = first.remove();
            let Ok(end) = self.end(to) else {
                // Closed meanwhile: bytes that nobody reads break the connection.
                if let Parcel::Bytes { from, .. } = parcel {
                    self.post(from, Parcel::Reset, now);
                }
                continue;
            };
            match parcel {
                Parcel::Bytes { bytes, .. } => {
                    end.coming -= bytes.len();
                    if !end.gone {
                        end.inbox.extend(bytes);
                    }
                }
                Parcel::End => end.ended = true,
                Parcel::Reset => end.break_off(),
            }
            self.touch(to);
        }
    }

    /// Breaks a connection at both ends, now.
    pub(super) fn reset(&mut self, fd: RawFd) {
        let Ok(end) = self.end(fd) else { return };
        let peer = end.peer;
        for fd in [fd, peer] {
            if let Ok(end) = self.end(fd) {
                end.break_off();
                self.touch(fd);
            }
        }
    }

    pub(super) fn reset_all(&mut self) {
        let all: Vec<RawFd> = self.sockets.keys().copied().collect();
        all.into_iter().for_each(|fd| self.reset(fd));
    }
}

impl End {
    pub(super) const fn new(local: Address, remote: Address, peer: RawFd, now: Instant) -> Self {
        Self {
            local,
            remote,
            peer,
            inbox: VecDeque::new(),
            coming: 0,
            last: now,
            ended: false,
            broken: None,
            gone: false,
            shut_read: false,
            shut_write: false,
        }
    }

    /// The other end is gone: bytes that have arrived can still be read, then comes the error, once.
    fn break_off(&mut self) {
        if !self.gone {
            self.gone = true;
            self.broken = Some(Errno::CONNRESET);
        }
    }
}
