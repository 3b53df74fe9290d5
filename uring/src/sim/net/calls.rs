//! The socket calls.

use std::io::IoSlice;
use std::net::SocketAddr;

use super::state::{End, Listening, Parcel, Socket, State};
use crate::net::{Address, ConnectOptions, Family, ListenOptions, Shutdown};
use crate::sys::{Errno, RawFd, SysResult};
use crate::time::Instant;

/// Whether a connection to `to` reaches a listener at `at`.
fn reaches(to: &Address, at: &Address) -> bool {
    match (to, at) {
        (Address::Ip(to), Address::Ip(at)) => {
            to.port() == at.port()
                && (to.ip() == at.ip() || (at.ip().is_unspecified() && at.is_ipv4() == to.is_ipv4()))
        }
        (Address::Unnamed, _) => false,
        _ => to == at,
    }
}

/// Whether two sockets cannot both have these addresses.
fn collide(a: &Address, b: &Address) -> bool {
    reaches(a, b) || reaches(b, a)
}

impl State {
    fn named(&mut self, at: &Address) -> Address {
        match at {
            Address::Ip(ip) if ip.port() == 0 => Address::Ip(SocketAddr::new(ip.ip(), self.free_port())),
            at => at.clone(),
        }
    }

    pub(super) fn listen(&mut self, at: &Address, options: &ListenOptions) -> SysResult<RawFd> {
        at.to_raw()?;
        if *at == Address::Unnamed {
            return Err(Errno::INVAL);
        }
        let at = self.named(at);
        let taken = self.sockets.values().any(|socket| match socket {
            Socket::Listening(there) => collide(&there.at, &at) && !(there.shared && options.reuse_port),
            Socket::Idle { local: Some(local), .. } => collide(local, &at),
            _ => false,
        });
        if taken {
            return Err(Errno::ADDRINUSE);
        }
        self.add(Socket::Listening(Listening {
            at,
            backlog: options.backlog.max(1) as usize,
            shared: options.reuse_port,
            shut: false,
            waiting: std::collections::VecDeque::new(),
            knocking: Vec::new(),
        }))
    }

    pub(super) fn socket(&mut self, family: Family, options: &ConnectOptions) -> SysResult<RawFd> {
        let local = match &options.bind {
            None => None,
            Some(at) if at.family() != family => return Err(Errno::AFNOSUPPORT),
            Some(at) => Some(self.named(at)),
        };
        self.add(Socket::Idle { family, local })
    }

    pub(super) fn connect(&mut self, fd: RawFd, to: &Address) -> SysResult<()> {
        let local = match self.sockets.get(&fd) {
            Some(Socket::Idle { family, .. }) if *family != to.family() => return Err(Errno::AFNOSUPPORT),
            Some(Socket::Idle { local, .. }) => local.clone(),
            Some(Socket::Connected(_)) => return Err(Errno::ISCONN),
            Some(Socket::Listening(_)) => return Err(Errno::INVAL),
            None => return Err(Errno::BADF),
        };
        let found: Vec<RawFd> = self
            .sockets
            .iter()
            .filter(|(_, socket)| matches!(socket, Socket::Listening(it) if !it.shut && reaches(to, &it.at)))
            .map(|(&fd, _)| fd)
            .collect();
        if found.is_empty() {
            return Err(match to {
                Address::Unix(_) => Errno::NOENT,
                _ => Errno::CONNREFUSED,
            });
        }
        let at = found[self.rng.below(found.len() as u64) as usize];
        let Some(Socket::Listening(listening)) = self.sockets.get_mut(&at) else { return Err(Errno::BADF) };
        if listening.waiting.len() >= listening.backlog {
            listening.knocking.push(fd);
            return Err(Errno::AGAIN);
        }
        let local = match (local, to) {
            (Some(local), _) => local,
            // From the address that it goes to, as over the loopback device.
            (None, Address::Ip(ip)) => Address::Ip(SocketAddr::new(ip.ip(), self.free_port())),
            (None, _) => Address::Unnamed,
        };
        let start = Instant::default();
        let far = self.add(Socket::Connected(End::new(to.clone(), local.clone(), fd, start)))?;
        self.sockets.insert(fd, Socket::Connected(End::new(local, to.clone(), far, start)));
        if let Some(Socket::Listening(listening)) = self.sockets.get_mut(&at) {
            listening.waiting.push_back(far);
        }
        self.touch(at);
        Ok(())
    }

    pub(super) fn accept(&mut self, fd: RawFd) -> SysResult<RawFd> {
        let Some(Socket::Listening(listening)) = self.sockets.get_mut(&fd) else {
            return Err(if self.sockets.contains_key(&fd) { Errno::INVAL } else { Errno::BADF });
        };
        let Some(accepted) = listening.waiting.pop_front() else {
            return Err(if listening.shut { Errno::INVAL } else { Errno::AGAIN });
        };
        self.touched.append(&mut listening.knocking);
        Ok(accepted)
    }

    pub(super) fn recv(&mut self, fd: RawFd, buf: &mut [u8]) -> SysResult<usize> {
        let part = self.rng.chance(125);
        let portion = self.rng.next();
        let end = self.end(fd)?;
        let peer = end.peer;
        let mut n = buf.len().min(end.inbox.len());
        if n == 0 {
            return match end.broken.take() {
                _ if buf.is_empty() => Ok(0),
                Some(errno) => Err(errno),
                None if end.ended || end.gone || end.shut_read => Ok(0),
                None => Err(Errno::AGAIN),
            };
        }
        if part {
            n = 1 + (portion % n as u64) as usize;
        }
        for (to, byte) in buf.iter_mut().zip(end.inbox.drain(..n)) {
            *to = byte;
        }
        // There is room again.
        self.touch(peer);
        Ok(n)
    }

    pub(super) fn send(&mut self, fd: RawFd, parts: &[IoSlice<'_>], now: Instant) -> SysResult<usize> {
        let end = self.end(fd)?;
        if let Some(errno) = end.broken.take() {
            return Err(errno);
        }
        if end.gone || end.shut_write {
            return Err(Errno::PIPE);
        }
        let peer = end.peer;
        let offered: usize = parts.iter().map(|part| part.len()).sum();
        if offered == 0 {
            return Ok(0);
        }
        if self.rng.chance(self.conditions.resets) {
            self.reset(fd);
            // The error is this call's.
            self.end(fd)?.broken = None;
            return Err(Errno::CONNRESET);
        }
        let held = self.end(peer).map_or(0, |end| end.inbox.len() + end.coming);
        let room = self.conditions.room.max(1).saturating_sub(held);
        let mut n = offered.min(room);
        if n == 0 {
            return Err(Errno::AGAIN);
        }
        if self.rng.chance(125) {
            n = 1 + self.rng.below(n as u64) as usize;
        }
        let mut bytes = parts.iter().flat_map(|part| part.iter().copied()).take(n);
        let mut left = n;
        while left > 0 {
            let most = if self.rng.chance(125) { 16 } else { self.conditions.parcel.max(1) };
            let size = (1 + self.rng.below(most as u64) as usize).min(left);
            let parcel = bytes.by_ref().take(size).collect();
            self.post(peer, Parcel::Bytes { from: fd, bytes: parcel }, now);
            left -= size;
        }
        Ok(n)
    }

    pub(super) fn shutdown(&mut self, fd: RawFd, how: Shutdown, now: Instant) -> SysResult<()> {
        if let Some(Socket::Listening(listening)) = self.sockets.get_mut(&fd) {
            listening.shut = true;
            self.touched.append(&mut listening.knocking);
            self.touch(fd);
            return Ok(());
        }
        let end = self.end(fd)?;
        if end.gone {
            return Err(Errno::NOTCONN);
        }
        let peer = end.peer;
        end.shut_read |= how != Shutdown::Write;
        let ends = how != Shutdown::Read && !end.shut_write;
        end.shut_write |= how != Shutdown::Read;
        if ends {
            self.post(peer, Parcel::End, now);
        }
        self.touch(fd);
        Ok(())
    }

    pub(super) fn close(&mut self, fd: RawFd, now: Instant) {
        match self.sockets.remove(&fd) {
            Some(Socket::Connected(end)) if !end.gone => {
                // Bytes that nobody will read break the connection, as TCP does.
                let lost = !end.inbox.is_empty() || end.coming > 0;
                if lost {
                    self.post(end.peer, Parcel::Reset, now);
                } else if !end.shut_write {
                    self.post(end.peer, Parcel::End, now);
                }
            }
            Some(Socket::Listening(listening)) => {
                for waiting in listening.waiting {
                    self.close_unaccepted(waiting, now);
                }
                self.touched.extend(listening.knocking);
            }
            _ => {}
        }
    }

    fn close_unaccepted(&mut self, fd: RawFd, now: Instant) {
        if let Some(Socket::Connected(end)) = self.sockets.remove(&fd) {
            self.post(end.peer, Parcel::Reset, now);
        }
    }

    pub(super) fn local_address(&self, fd: RawFd) -> SysResult<Address> {
        match self.sockets.get(&fd) {
            Some(Socket::Idle { local: Some(at), .. }) => Ok(at.clone()),
            Some(Socket::Idle { family: Family::Inet, .. }) => Ok(Address::Ip(([0; 4], 0).into())),
            Some(Socket::Idle { family: Family::Inet6, .. }) => Ok(Address::Ip(([0_u16; 8], 0).into())),
            Some(Socket::Idle { family: Family::Unix, .. }) => Ok(Address::Unnamed),
            Some(Socket::Listening(listening)) => Ok(listening.at.clone()),
            Some(Socket::Connected(end)) => Ok(end.local.clone()),
            None => Err(Errno::BADF),
        }
    }

    pub(super) fn peer_address(&self, fd: RawFd) -> SysResult<Address> {
        match self.sockets.get(&fd) {
            Some(Socket::Connected(end)) if !end.gone => Ok(end.remote.clone()),
            Some(_) => Err(Errno::NOTCONN),
            None => Err(Errno::BADF),
        }
    }
}
